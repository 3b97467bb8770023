//! A program gave up because DNS did not resolve a name.
//!
//! A look-up is everything that a resolver asked about one host name, with the answers. Names that are resolved without
//! DNS messages of the container, as by a caching daemon outside of it, are not seen.

use capture_format::BootTime;

use super::tied::Described;
use super::{Case, Cause, Evidence};
use crate::facts::lookup::{Lookup, Outcome};
use crate::facts::output::Line;
use events::decode::Rcode;
use events::decode::time::duration;
use events::escape::escaped_to;

/// No resolver waits a shorter time for an answer: 100 ms, in nanoseconds.
const AT_ONCE: u64 = 100_000_000;
/// How many questions and answers are cited.
const MAX_EVIDENCE: usize = 8;

pub(super) fn describe(case: &Case<'_>, lookup: &Lookup, line: Option<&Line>) -> Described {
    let gave_up = line.map(|line| line.time).or(case.end());
    let names = lookup.names();
    let host = escaped_to(lookup.host.as_bytes(), 200).to_string();
    let servers: Vec<String> = lookup.servers().iter().map(ToString::to_string).collect();
    let mut inside = lookup.exchanges.iter();
    let inside = inside.find_map(|exchange| case.facts.dns.server_inside(exchange));
    let inside = inside.map(|pid| {
        let process = case.facts.processes.get(pid);
        let name = process.map_or_else(|| "a process".to_owned(), |process| process.name());
        format!("{name} (pid {pid}) of this container")
    });
    let from = match (&servers[..], &inside) {
        ([], None) => String::new(),
        ([], Some(inside)) => format!(" from {inside}"),
        (_, None) => format!(" from {}", list(&servers)),
        (_, Some(inside)) => format!(" from {}, which is {inside}", list(&servers)),
    };
    let tried = match names[..] {
        [name] if name.eq_ignore_ascii_case(&host) => String::new(),
        [] => String::new(),
        [first, ref others @ ..] => {
            let more = match others.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(" for {}{more}", escaped_to(first.as_bytes(), 200))
        }
    };
    // The inserted clause must end before the sentence goes on.
    let tried = match (&inside, &*tried) {
        (None, _) | (_, "") => tried,
        (Some(_), _) => format!(",{tried}"),
    };
    let server = servers
        .first()
        .map_or_else(|| "the name server".to_owned(), Clone::clone);
    let in_cluster = names
        .iter()
        .any(|name| name.ends_with(".svc.cluster.local"));
    let service = host.split('.').next().unwrap_or_default();
    let (cause, what, next_step) = match lookup.outcome() {
        Outcome::NoSuchName | Outcome::Resolved => (
            Cause::DnsNoSuchHost,
            format!("DNS says no such host \"{host}\" (NXDOMAIN{from}{tried})"),
            match in_cluster {
                true => format!(
                    "kubectl get service {service} --all-namespaces: create the Service, or correct the name or its namespace."
                ),
                false => format!("dig @{server} {host}: correct the name, or add it to DNS."),
            },
        ),
        Outcome::NoRecords => (
            Cause::DnsNoAddress,
            format!("DNS knows no address of \"{host}\" (empty answer{from}{tried})"),
            format!("dig @{server} {host} A AAAA: the name exists, but has no address record."),
        ),
        Outcome::ServerFailed(rcode) => (
            Cause::DnsServerFailed,
            format!("DNS could not resolve \"{host}\" ({rcode}{from}{tried})"),
            case.advice(
                format!(
                    "dig @{server} {host}: the server or the one behind it fails; in a cluster, `kubectl -n kube-system logs -l k8s-app=kube-dns`."
                ),
                format!("dig @{server} {host}: the server or the one behind it fails."),
            ),
        ),
        Outcome::NoAnswer => (
            Cause::DnsNoAnswer,
            format!(
                "no DNS answer for \"{host}\" ({}{tried})",
                unanswered(lookup, &servers, gave_up)
            ),
            case.advice(
                format!(
                    "Check that {server} is the right name server (/etc/resolv.conf) and can be reached: network policies, kube-dns pods, `dig @{server} {host}`."
                ),
                format!(
                    "Check that {server} is the right name server (/etc/resolv.conf) and can be reached: `dig @{server} {host}`."
                ),
            ),
        ),
    };
    let next_step = match inside {
        Some(inside) => {
            format!("{next_step} The server that said so is {inside}: look at what it serves, too.")
        }
        None => next_step,
    };
    let resolv_conf = case.facts.resolv_conf.as_ref().map(|conf| {
        let text = escaped_to(&conf.content, 300).to_string();
        Evidence::new(conf.event, conf.time, format!("resolv.conf: {text}"))
    });
    Described {
        cause,
        subject: host,
        what: format!(": {what}"),
        next_step,
        more: resolv_conf.into_iter().collect(),
    }
}

/// `asked 10.96.0.10 4 times in 10 s`, counted until it gave up; an error of the socket is mentioned.
fn unanswered(lookup: &Lookup, servers: &[String], gave_up: Option<BootTime>) -> String {
    let exchanges = || lookup.exchanges.iter();
    let attempts = || exchanges().flat_map(|exchange| &exchange.attempts);
    let first = attempts().map(|attempt| attempt.time).min();
    let last = attempts().map(|attempt| attempt.time).max();
    let waited = |since: Option<BootTime>| Some(gave_up.or(last)?.since(since?));
    let servers = if servers.is_empty() {
        "a name server".to_owned()
    } else {
        list(servers)
    };
    let times = match exchanges().map(|exchange| exchange.attempts.len()).max() {
        None | Some(0 | 1) => "once".to_owned(),
        Some(times) => format!("{times} times"),
    };
    let error = exchanges().find_map(|exchange| exchange.error);
    let how = match (error, waited(first)) {
        (Some(error), _) => format!("; {}", error.errno.text()),
        (None, Some(waited)) if waited < AT_ONCE => {
            "; it gave up at once, as where nothing listens".to_owned()
        }
        (None, waited) => {
            waited.map_or_else(String::new, |waited| format!(" in {}", duration(waited)))
        }
    };
    format!("asked {servers} {times}{how}")
}

pub(super) fn evidence(lookup: &Lookup) -> Vec<Evidence> {
    let mut all = Vec::new();
    let mut answered: Vec<(&str, Rcode)> = Vec::new();
    for exchange in lookup.exchanges.iter().take(MAX_EVIDENCE) {
        // Resolvers ask for A and AAAA of each name.
        let answer = exchange.answer.as_ref().filter(|answer| !answer.answered);
        if let Some(answer) = answer {
            let known = (exchange.name.as_str(), answer.rcode);
            if answered.contains(&known) {
                continue;
            }
            answered.push(known);
        }
        let question = format!(
            "{} {}",
            escaped_to(exchange.name.as_bytes(), 200),
            exchange.qtype
        );
        if let Some(answer) = &exchange.answer {
            let server = answer
                .server
                .map_or_else(String::new, |server| format!(" from {server}"));
            let after = exchange.latency().map_or_else(String::new, |latency| {
                format!(" after {}", duration(latency))
            });
            all.push(Evidence::new(
                answer.event,
                answer.time,
                format!("DNS answer{server}{after}: {question}: {}", answer.rcode),
            ));
        } else {
            for attempt in exchange.attempts.iter().take(2) {
                let server = attempt
                    .server
                    .map_or_else(String::new, |server| format!(" to {server}"));
                all.push(Evidence::new(
                    attempt.event,
                    attempt.time,
                    format!("DNS question{server}: {question}"),
                ));
            }
        }
        all.extend(exchange.error.map(|error| {
            let text = format!("{question}: {}", error.errno.text());
            Evidence::new(error.event, error.time, text)
        }));
    }
    all
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, dns, nginx, verdict};

    const SERVER: [u8; 4] = [10, 96, 0, 10];

    /// A program that asks for `flask` once, gets these response codes, and gives up with these words.
    fn gives_up(argv0: &str, replies: &[Vec<u8>], words: &str) -> Verdict {
        let mut s = Script::new(&[argv0]);
        s.resolver_socket(INIT, 3, SERVER).ask(INIT, 3, 7, "flask");
        for message in replies {
            s.reply(INIT, 3, SERVER, message.clone());
        }
        if !words.is_empty() {
            s.write(INIT, 2, words);
        }
        verdict(s.close(INIT, 3).exit(INIT, 1))
    }

    fn both(rcode: u8) -> [Vec<u8>; 2] {
        [
            dns::response(7, "flask", 1, rcode),
            dns::response(8, "flask", 28, rcode),
        ]
    }

    #[test]
    fn nginx_without_its_upstream() {
        let verdict = verdict(&nginx());
        assert_eq!(
            verdict.sentence,
            "nginx exited 1, 41 ms after start: DNS says no such host \"flask\" (NXDOMAIN from 10.96.0.10 for \
             flask.default.svc.cluster.local and 3 more); \
             error.log: host not found in upstream \"flask\" in /etc/nginx/nginx.conf:5"
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::DnsNoSuchHost, 91));
        assert!(
            verdict.next_step.starts_with("kubectl get service flask"),
            "{}",
            verdict.next_step
        );
    }

    #[test]
    fn a_server_in_the_container_itself_is_told() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200).exec(200, &["dnsmasq"]);
        s.fork(INIT, 201).exec(201, &["app"]);
        s.resolver_socket(201, 3, [127, 0, 0, 1])
            .ask(201, 3, 7, "flask");
        let answer = dns::response(7, "flask", 1, 3);
        s.call(
            200,
            capture_format::EventKind::SENDTO,
            answer.len() as i64,
            [4, 0, answer.len() as i64],
            crate::testing::inet([127, 0, 0, 1], 40_123),
            &answer,
        );
        s.reply(201, 3, [127, 0, 0, 1], answer)
            .write(201, 2, "host not found: flask\n")
            .exit(201, 4);
        let verdict = verdict(s.exit(INIT, 4));
        assert!(
            verdict.sentence.contains(
                "(NXDOMAIN from 127.0.0.1, which is dnsmasq (pid 200) of this container)"
            ),
            "{}",
            verdict.sentence
        );
        assert!(verdict.next_step.contains("dnsmasq (pid 200)"));
    }

    #[test]
    fn nxdomain_servfail_no_answer_and_no_address_are_told_apart() {
        let python = "socket.gaierror: [Errno -3] Temporary failure in name resolution\n";
        let cause = |replies: &[Vec<u8>]| gives_up("python3", replies, python).cause;
        assert_eq!(cause(&both(3)), Cause::DnsNoSuchHost);
        assert_eq!(cause(&both(2)), Cause::DnsServerFailed);
        assert_eq!(cause(&both(0)), Cause::DnsNoAddress);
        assert_eq!(cause(&[]), Cause::DnsNoAnswer);
    }

    #[test]
    fn an_unanswered_question_says_how_often_it_was_asked_and_what_was_lost() {
        let mut s = Script::new(&["node", "app.js"]);
        s.run.losses.lost = 3;
        s.resolver_socket(INIT, 3, SERVER)
            .ask(INIT, 3, 7, "flask")
            .wait(5000)
            .ask(INIT, 3, 7, "flask")
            .wait(5000);
        s.write(INIT, 2, "Error: getaddrinfo EAI_AGAIN flask\n    at GetAddrInfoReqWrap.onlookupall [as oncomplete]\n").exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "node exited 1, 10 s after start: no DNS answer for \"flask\" (asked 10.96.0.10 2 times in 10 s); stderr: Error: getaddrinfo EAI_AGAIN flask"
        );
        assert_eq!(
            verdict.weakened_by,
            ["3 events lost (never recorded): another failure may be among them"]
        );
    }

    #[test]
    fn a_failed_aaaa_beside_a_good_a_is_no_failure() {
        let replies = [
            dns::answer(7, "flask", &[[10, 0, 0, 7]]),
            dns::response(8, "flask", 28, 2),
        ];
        assert_eq!(
            gives_up("app", &replies, "error: lookup flask: broken\n").cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn go_says_which_name_it_looked_up() {
        let go = "panic: dial tcp: lookup flask on 10.96.0.10:53: no such host\n\ngoroutine 1 [running]:\nmain.main()\n";
        let verdict = gives_up("server", &both(3), go);
        assert_eq!((verdict.cause, verdict.score), (Cause::DnsNoSuchHost, 91));
    }

    #[test]
    fn an_optional_name_that_failed_is_not_why_it_gave_up() {
        assert_eq!(
            gives_up("app", &both(3), "fatal: PORT is not a number\n").cause,
            Cause::ExitedNonZero
        );
        let about_another =
            "error: metrics: lookup flask: no such host\nfatal: PORT is not a number\n";
        assert_eq!(
            gives_up("app", &both(3), about_another).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn a_name_that_resolved_in_the_end_did_not_fail() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 3, SERVER)
            .ask(INIT, 3, 7, "flask")
            .replies(INIT, 3, SERVER, 7, "flask", 3);
        s.wait(1000).ask(INIT, 3, 70, "flask").reply(
            INIT,
            3,
            SERVER,
            dns::answer(70, "flask", &[[10, 0, 0, 7]]),
        );
        s.write(INIT, 2, "error: could not resolve the schema of flask\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_silent_end_right_after_the_answer_is_likely_it_but_not_later() {
        let verdict = gives_up("curl", &both(3), "");
        assert_eq!((verdict.cause, verdict.score), (Cause::DnsNoSuchHost, 55));
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 3, SERVER)
            .ask(INIT, 3, 7, "flask")
            .replies(INIT, 3, SERVER, 7, "flask", 3);
        s.open(INIT, "/data", 4).exit(INIT, 1);
        assert_eq!(crate::testing::verdict(&s).cause, Cause::Unknown);
    }

    #[test]
    fn words_that_name_another_host_are_about_another_host() {
        assert_eq!(
            gives_up("node", &both(3), "Error: getaddrinfo ENOTFOUND db\n").cause,
            Cause::ExitedNonZero
        );
        assert_eq!(
            gives_up("app", &both(3), "error: write failed: Bad address\n").cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn a_stack_frame_that_speaks_of_resolving_does_not() {
        let frames = "    at Resolver.resolve (/app/resolver.js:3:1)\n";
        let words = format!("Error: flask is no valid theme\n{frames}");
        assert_eq!(
            gives_up("node", &both(3), &words).cause,
            Cause::ExitedNonZero
        );
        let verdict = gives_up(
            "node",
            &[],
            &format!("Error: queryA ETIMEOUT flask\n{frames}"),
        );
        assert!(
            verdict
                .sentence
                .ends_with("stderr: Error: queryA ETIMEOUT flask"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn glibc_waits_5_s_for_each_answer_and_then_says_so() {
        let mut s = Script::new(&["python3", "app.py"]);
        s.resolver_socket(INIT, 3, [10, 0, 0, 1]);
        s.ask(INIT, 3, 7, "db")
            .wait(5005)
            .ask(INIT, 3, 7, "db")
            .wait(5005);
        let words = "socket.gaierror: [Errno -3] Temporary failure in name resolution\n";
        let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
        assert_eq!(verdict.cause, Cause::DnsNoAnswer);
        assert!(
            verdict
                .sentence
                .contains("(asked 10.0.0.1 2 times in 10 s)"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_server_that_does_not_exist_is_not_waited_for() {
        let mut s = Script::new(&["python3", "app.py"]);
        s.resolver_socket(INIT, 3, [10, 0, 0, 1])
            .ask(INIT, 3, 7, "db");
        let words = "socket.gaierror: [Errno -3] Temporary failure in name resolution\n";
        let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
        assert!(
            verdict
                .sentence
                .contains("asked 10.0.0.1 once; it gave up at once"),
            "{}",
            verdict.sentence
        );
    }
}
