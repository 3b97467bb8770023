//! A program gave up because a connection was refused, timed out or found no route.
//!
//! The rule considers connects that failed in this way, or that had no answer yet when the program gave up, if no later
//! connect to the same address succeeded. Something has to tie the connection to the end of the run. In the order of
//! strength: one sentence of the last words names the other end and the error; the last words give the error, and only
//! this connect met it; they say that something is not there, and the program had tried this address again and again;
//! they name the other end beside some failure; there are no last words, and the failed connect was the last thing that
//! the process did. A host name counts as naming an address if DNS gave that address for it.
//!
//! The rule is wrong if the program could do without that connection and gave up over something else.

use std::net::SocketAddr;

use super::case::CLOSE;
use super::phrase::{gives, says, sentences};
use super::{Case, Cause, Evidence, Verdict};
use crate::entity::names;
use crate::facts::connections::Connection;
use crate::facts::lookup::Lookup;
use crate::facts::output::Line;
use events::decode::Errno;
use events::escape::escaped_to;

/// An error of connect(2): what it means, and how programs say it, in lower case. The phrases of the last list count
/// only beside the address.
struct Kind {
    errno: Errno,
    cause: Cause,
    error: &'static [&'static str],
    beside_address: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        errno: Errno::ECONNREFUSED,
        cause: Cause::ConnectionRefused,
        error: &["connection refused", "econnrefused", "actively refused"],
        beside_address: &["refused", "unreachable", "unavailable"],
    },
    Kind {
        errno: Errno::ETIMEDOUT,
        cause: Cause::ConnectionTimedOut,
        error: &["connection timed out", "etimedout", "connect timed out"],
        beside_address: &["timed out", "timeout", "deadline exceeded", "took too long"],
    },
    Kind {
        errno: Errno::EHOSTUNREACH,
        cause: Cause::HostUnreachable,
        error: &["no route to host", "ehostunreach", "host is unreachable"],
        beside_address: &["unreachable"],
    },
    Kind {
        errno: Errno::ENETUNREACH,
        cause: Cause::HostUnreachable,
        error: &["network is unreachable", "enetunreach"],
        beside_address: &["unreachable"],
    },
];

/// How programs say that a connection failed, whatever the error was, in lower case. These phrases count only beside
/// the connection's address.
const NOT_CONNECTED: &[&str] = &[
    "cannot connect",
    "can't connect",
    "can not connect",
    "could not connect",
    "couldn't connect",
    "unable to connect",
    "failed to connect",
    "fail to connect",
    "failed connecting",
    "failure connecting",
    "error connecting",
    "connecting failed",
    "connect failed",
    "connect error",
    "connect() failed",
    "connection failed",
    "connection failure",
    "connection error",
    "connection could not",
    "cannot reach",
    "can't reach",
    "could not reach",
    "unable to reach",
    "failed to reach",
    "not reachable",
    "connectionerror",
    "connectexception",
    "connect:",
    "dial tcp",
    "dial:",
    "dial error",
    "failed to dial",
    "giving up on",
    "is down",
    "not up",
];

/// How programs say that they stopped waiting, in lower case.
const TOO_LONG: &[&str] = &["timed out", "timeout", "deadline exceeded", "took too long"];

/// How programs say that what they waited for did not come, in lower case.
const GIVES_UP: &[&str] = &[
    "giving up",
    "gave up",
    "unavailable",
    "not available",
    "not ready",
    "unreachable",
    "not reachable",
    "attempt*",
    "retries",
    "retry",
    "waiting for",
];
/// After this many failed attempts at one address, the program was waiting for that address.
const MIN_TRIES: usize = 2;

fn kind(errno: Errno) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.errno == errno)
}

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    case.gave_up()?;
    let lookups = case.facts.lookups();
    let connections = case.facts.connections.iter();
    let failed: Vec<(&Connection, &Kind)> = connections
        .filter_map(|connection| Some((connection, failure(case, connection)?)))
        .collect();
    let tied = failed.iter().filter_map(|&(connection, kind)| {
        let (tie, line) = tie(case, connection, kind, &lookups)?;
        Some((tie, connection, kind, line))
    });
    if let Some((tie, connection, kind, line)) =
        tied.max_by_key(|(tie, connection, ..)| (*tie, connection.event))
    {
        let (confidence, why) = match tie {
            Tie::Sentence(_) => (
                91,
                "the connect failed, and the last words name its address and the error",
            ),
            Tie::Nearby(_) => (
                70,
                "the connect failed, and the last words name its address beside a failure that may be another",
            ),
        };
        return Some(verdict(case, connection, kind, Some(line), confidence, why));
    }
    let &(last, kind) = failed.last()?;
    let pending = last.outcome.is_none();
    let met = |text: &str| says(text, kind.error) || pending && says(text, TOO_LONG);
    if let Some(line) = case.words.find(met) {
        let told = last.outcome.map_or(line.time, |outcome| outcome.time);
        let close = line.time >= told && line.time.since(told) <= CLOSE && line.event > last.event;
        let names_another = case
            .words
            .block()
            .iter()
            .any(|line| names_an_address(line.said()));
        let only = failed
            .iter()
            .all(|(other, _)| other.address == last.address);
        let given = gives(line.said(), kind.errno) || pending;
        let (confidence, why) = match only && given {
            true => (
                81,
                "the last words give the error, and only this connect met it",
            ),
            false => (
                68,
                "the last words name the error, and this was the last connect that failed",
            ),
        };
        return (close && !names_another)
            .then(|| verdict(case, last, kind, Some(line), confidence, why));
    }
    let tries = failed
        .iter()
        .filter(|(other, _)| other.address == last.address);
    if let Some(line) = case.words.find(|text| says(text, GIVES_UP))
        && tries.count() >= MIN_TRIES
        && line.event > last.event
    {
        let why = "the last words say that something is not there, and all it tried again and again was this";
        let only = failed
            .iter()
            .all(|(other, _)| other.address == last.address);
        return only.then(|| verdict(case, last, kind, Some(line), 74, why));
    }
    let silent = case.words.is_empty() && is_last_act(case, last);
    silent.then(|| {
        verdict(
            case,
            last,
            kind,
            None,
            60,
            "it said nothing, but ended right after the failed connect",
        )
    })
}

/// What connects the last words with a connection, weakest first. The better the connection is named, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    /// The last words name the address, and a failure not far from it.
    Nearby(Naming),
    /// One sentence names the address and the error.
    Sentence(Naming),
}

fn tie<'a>(
    case: &Case<'a>,
    connection: &Connection,
    kind: &Kind,
    lookups: &[Lookup],
) -> Option<(Tie, &'a Line)> {
    let errs = |text: &str| says(text, kind.error) || says(text, NOT_CONNECTED);
    let fails = |text: &str| errs(text) || says(text, kind.beside_address);
    let in_sentence = |text: &str| {
        let named = sentences(text).map(|sentence| {
            let naming = naming(sentence, connection, lookups);
            // `localhost is refused here` is not about a connection, but `localhost:80 is refused` is.
            let ties = errs(sentence) || naming == Naming::HostAndPort && fails(sentence);
            if ties { naming } else { Naming::No }
        });
        named.max()
    };
    let sentence = case.words.find(|text| in_sentence(text) > Some(Naming::No));
    if let Some(line) = sentence {
        let naming = in_sentence(line.said()).unwrap_or(Naming::Host);
        return Some((Tie::Sentence(naming), line));
    }
    let block = case.words.block().iter();
    let named = block
        .map(|line| naming(line.said(), connection, lookups))
        .max()?;
    let line = case.words.find(fails).filter(|_| named > Naming::No)?;
    Some((Tie::Nearby(named), line))
}

/// Why the connection failed; `None` if it did not fail, or if a later connection to the same address succeeded.
fn failure(case: &Case<'_>, connection: &Connection) -> Option<&'static Kind> {
    // Nobody has answered yet: a program that gives up now has waited in vain.
    let kind = match connection.outcome {
        Some(outcome) => kind(outcome.error?)?,
        None => kind(Errno::ETIMEDOUT)?,
    };
    let later = case
        .facts
        .connections
        .iter()
        .filter(|later| later.event > connection.event);
    let mut later = later.filter(|later| later.address == connection.address);
    let made_good = later.any(|later| later.outcome.is_some_and(|outcome| outcome.error.is_none()));
    (case.below_chain(connection.pid) && !made_good).then_some(kind)
}

/// How well a line names the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Naming {
    No,
    Host,
    HostAndPort,
}

/// How a text names the connection's other end: by its address, by a host name for which DNS gave that address, or by
/// the path of a Unix socket. A text that names another port does not count.
fn naming(text: &str, connection: &Connection, lookups: &[Lookup]) -> Naming {
    let Some(address) = connection.address.inet() else {
        return if names(text, &connection.address.to_string()) {
            Naming::HostAndPort
        } else {
            Naming::No
        };
    };
    let resolved = lookups
        .iter()
        .filter(|lookup| lookup.gave(address.ip()))
        .map(|lookup| lookup.host.clone());
    let local = address.ip().is_loopback().then(|| "localhost".to_owned());
    let hosts = [address.ip().to_string(), format!("[{}]", address.ip())]
        .into_iter()
        .chain(resolved)
        .chain(local);
    let port = address.port();
    let of_host = |host: String| match port_after(text, &host) {
        Some(named) if named != port => Naming::No,
        Some(_) => Naming::HostAndPort,
        None if names(text, &host) => Naming::Host,
        None => Naming::No,
    };
    hosts.map(of_host).max().unwrap_or(Naming::No)
}

/// The port in `host:port`, `host port 80`, `"host" (address), port 80`.
fn port_after(text: &str, host: &str) -> Option<u16> {
    text.match_indices(host).find_map(|(at, _)| {
        let rest = &text[at + host.len()..];
        let words = rest.trim_start_matches([')', '"', '\'', ',', ' ']);
        let port = rest
            .strip_prefix(':')
            .or_else(|| words.strip_prefix("port "))?;
        port[..port
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(port.len())]
            .parse()
            .ok()
    })
}

/// Whether a line has an IPv4 address with its port.
fn names_an_address(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')));
    words
        .map(|word| word.trim_end_matches(['.', ':']))
        .any(|word| word.parse::<std::net::SocketAddrV4>().is_ok())
}

fn is_last_act(case: &Case<'_>, connection: &Connection) -> bool {
    let culprit = case
        .culprit()
        .filter(|culprit| culprit.pid == connection.pid);
    let told = connection.outcome.map(|outcome| outcome.event);
    culprit
        .and_then(|culprit| culprit.last_call)
        .zip(told)
        .is_some_and(|(last, told)| last <= told)
}

fn verdict(
    case: &Case<'_>,
    connection: &Connection,
    kind: &Kind,
    line: Option<&Line>,
    confidence: u8,
    why: &str,
) -> Verdict {
    let &Kind { errno, cause, .. } = kind;
    let same = |other: &&Connection| {
        other.address == connection.address
            && other.outcome.and_then(|outcome| outcome.error)
                == connection.outcome.and_then(|outcome| outcome.error)
    };
    let tries: Vec<&Connection> = case.facts.connections.iter().filter(same).collect();
    let address = connection.address.to_string();
    let of = connection
        .address
        .inet()
        .and_then(|address| host_of(case, address));
    let host = of.map_or_else(String::new, |host| format!(" ({host})"));
    let times = if tries.len() > 1 {
        format!(" ({} times)", tries.len())
    } else {
        String::new()
    };
    let what = match cause {
        Cause::ConnectionRefused => format!("{address}{host} refused the connection{times}"),
        Cause::ConnectionTimedOut => format!("the connection to {address}{host} timed out{times}"),
        _ => format!("{address}{host} cannot be reached: {}{times}", errno.text()),
    };
    let cited = line.map_or_else(String::new, |line| format!("; {}", line.cited()));
    let evidence = tries.iter().rev().take(4).map(|tried| {
        let (event, time, how) = match tried.outcome {
            Some(outcome) => (
                outcome.event,
                outcome.time,
                format!("{errno} ({})", errno.text()),
            ),
            None => (
                tried.event,
                tried.time,
                "no answer before it gave up".to_owned(),
            ),
        };
        Evidence::new(event, time, format!("connect to {address}: {how}"))
    });
    Verdict {
        sentence: format!("{}: {what}{cited}", case.ended()),
        cause,
        subject: address.clone(),
        confidence,
        why: why.into(),
        evidence: evidence.chain(line.map(Line::evidence)).collect(),
        next_step: match cause {
            Cause::ConnectionRefused => format!(
                "Nothing listens at {address}: check that the server there runs and is ready, and that host and port are right (in a container, localhost is the container itself)."
            ),
            _ => format!(
                "Check the way to {address}: network policies, firewalls, routes, and that the host is up."
            ),
        },
        weakened_by: if line.is_none() {
            case.missing_events()
        } else {
            Vec::new()
        },
    }
}

/// The name for which DNS gave the address.
pub(crate) fn host_of(case: &Case<'_>, address: SocketAddr) -> Option<String> {
    let lookup = case
        .facts
        .lookups()
        .into_iter()
        .rev()
        .find(|lookup| lookup.gave(address.ip()))?;
    Some(escaped_to(lookup.host.as_bytes(), 200).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, dns, inet, unix, verdict};
    use capture_format::EventKind as K;

    const REFUSED: i64 = -111;

    fn script(address: &[u8], ret: i64, words: &str) -> Script {
        let mut s = Script::new(&["app"]);
        s.call(INIT, K::SOCKET, 3, [2, 1, 0], "", "")
            .connect(INIT, 3, address, ret)
            .close(INIT, 3);
        if !words.is_empty() {
            s.write(INIT, 2, words);
        }
        s
    }

    fn cause(address: &[u8], ret: i64, words: &str) -> Cause {
        verdict(script(address, ret, words).exit(INIT, 1)).cause
    }

    #[test]
    fn node_learns_it_by_getsockopt() {
        let mut s = Script::new(&["node", "app.js"]);
        s.call(INIT, K::SOCKET, 19, [2, 1, 0], "", "").connect(
            INIT,
            19,
            &inet([127, 0, 0, 1], 3999),
            -115,
        );
        s.call(INIT, K::GETSOCKOPT, 0, [19, 111, 0], "", "");
        s.write(INIT, 2, "node:events:502\n      throw er;\n\nError: connect ECONNREFUSED 127.0.0.1:3999\n    at TCPConnectWrap\n  port: 3999\n}\n");
        s.write(INIT, 2, "\nNode.js v20.20.2\n").exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "node exited 1, 8 ms after start: 127.0.0.1:3999 refused the connection; stderr: Error: connect ECONNREFUSED 127.0.0.1:3999"
        );
        assert_eq!(
            (verdict.cause, verdict.confidence),
            (Cause::ConnectionRefused, 91)
        );
    }

    #[test]
    fn python_names_the_error_but_not_the_address() {
        let mut s = Script::new(&["python3", "app.py"]);
        s.connect(INIT, 3, &inet([10, 0, 0, 7], 5432), REFUSED);
        for piece in [
            "urllib.error",
            ".",
            "URLError",
            ": ",
            "<urlopen error [Errno 111] Connection refused>",
            "\n",
        ] {
            s.write(INIT, 2, piece);
        }
        let verdict = verdict(s.exit(INIT, 1));
        assert_eq!(
            (verdict.cause, verdict.confidence, verdict.subject.as_str()),
            (Cause::ConnectionRefused, 81, "10.0.0.7:5432")
        );
    }

    #[test]
    fn the_host_dns_gave_the_address_for_is_told() {
        let mut s = Script::new(&["app"]);
        s.resolver_socket(INIT, 3, [10, 0, 0, 1])
            .ask(INIT, 3, 7, "db")
            .reply(
                INIT,
                3,
                [10, 0, 0, 1],
                dns::answer(7, "db", &[[10, 0, 0, 7]]),
            );
        s.connect(INIT, 4, &inet([10, 0, 0, 7], 5432), REFUSED)
            .write(INIT, 2, "db: connection refused\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert!(
            verdict
                .sentence
                .contains("10.0.0.7:5432 (db) refused the connection"),
            "{}",
            verdict.sentence
        );
        assert_eq!(verdict.confidence, 91);
    }

    #[test]
    fn other_errors_of_a_connect() {
        let address = inet([10, 0, 0, 7], 80);
        assert_eq!(
            cause(
                &address,
                -110,
                "error: dial 10.0.0.7: connection timed out\n"
            ),
            Cause::ConnectionTimedOut
        );
        assert_eq!(
            cause(&address, -113, "error: dial 10.0.0.7: No route to host\n"),
            Cause::HostUnreachable
        );
    }

    #[test]
    fn a_retry_that_succeeded_makes_good() {
        let mut s = script(&inet([10, 0, 0, 7], 80), REFUSED, "");
        s.connect(INIT, 3, &inet([10, 0, 0, 7], 80), 0)
            .write(INIT, 2, "error: Connection refused by policy\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_refused_connection_nobody_speaks_of_is_not_the_cause() {
        assert_eq!(
            cause(
                &inet([10, 0, 0, 7], 80),
                REFUSED,
                "fatal: PORT is not a number\n"
            ),
            Cause::ExitedNonZero
        );
        let warned = "warn: metrics 10.0.0.7:80: connection refused\nfatal: PORT is not a number\n";
        assert_eq!(
            cause(&inet([10, 0, 0, 7], 80), REFUSED, warned),
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn the_name_service_cache_that_hardly_anybody_runs_is_noise() {
        let mut s = script(&unix("/var/run/nscd/socket"), -2, "");
        assert_eq!(verdict(s.exit(INIT, 1)).cause, Cause::Unknown);
    }

    #[test]
    fn of_several_the_one_that_is_named_counts() {
        let mut s = script(&inet([10, 0, 0, 7], 80), REFUSED, "");
        s.connect(INIT, 3, &inet([10, 0, 0, 8], 80), REFUSED);
        s.write(INIT, 2, "error: 10.0.0.7: connection refused\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).subject, "10.0.0.7:80");
    }

    #[test]
    fn a_silent_end_right_after_it_is_likely_it() {
        let verdict = verdict(script(&inet([10, 0, 0, 7], 80), REFUSED, "").exit(INIT, 1));
        assert_eq!(
            (verdict.cause, verdict.confidence),
            (Cause::ConnectionRefused, 60)
        );
    }

    #[test]
    fn another_port_or_another_address_in_the_words_is_another_connection() {
        let words = "error: connect 10.0.0.7:5432: connection refused\n";
        assert_eq!(
            cause(&inet([10, 0, 0, 7], 80), REFUSED, words),
            Cause::ExitedNonZero
        );
        assert_eq!(
            cause(&inet([10, 0, 0, 9], 5432), REFUSED, words),
            Cause::ExitedNonZero
        );
        assert_eq!(
            cause(&inet([10, 0, 0, 7], 5432), REFUSED, words),
            Cause::ConnectionRefused
        );
    }

    #[test]
    fn a_refusal_long_before_words_that_do_not_name_it_is_not_the_cause() {
        let mut s = script(&inet([10, 0, 0, 7], 80), REFUSED, "");
        s.wait(60_000)
            .write(INIT, 2, "error: connection refused by policy\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn who_gives_up_after_trying_one_address_again_gave_up_on_that() {
        let mut s = Script::new(&["app"]);
        for fd in 3..6 {
            s.connect(INIT, fd, &inet([10, 0, 0, 7], 5672), -111).write(
                INIT,
                1,
                "broker unavailable\n",
            );
        }
        let verdict = verdict(
            s.write(INIT, 2, "giving up after 3 attempts\n")
                .exit(INIT, 1),
        );
        assert_eq!(
            (verdict.cause, verdict.confidence),
            (Cause::ConnectionRefused, 74)
        );
    }

    #[test]
    fn the_last_of_several_tries_counts() {
        let mut s = Script::new(&["python3", "app.py"]);
        for _ in 0..3 {
            s.connect(INIT, 3, &inet([127, 0, 0, 1], 5432), REFUSED)
                .close(INIT, 3)
                .write(INIT, 2, "db not ready: [Errno 111] Connection refused\n");
        }
        let verdict = verdict(
            s.write(INIT, 2, "giving up on the database\n")
                .exit(INIT, 1),
        );
        assert!(
            verdict
                .sentence
                .contains("127.0.0.1:5432 refused the connection (3 times)"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn java_connects_to_ipv4_by_ipv6() {
        let mut address = vec![10, 0, 0x15, 0x38, 0, 0, 0, 0];
        address.extend([0; 10]);
        address.extend([0xff, 0xff, 127, 0, 0, 1, 0, 0, 0, 0]);
        let mut s = script(
            &address,
            REFUSED,
            "java.net.ConnectException: Connection refused\n",
        );
        assert_eq!(verdict(s.exit(INIT, 1)).subject, "127.0.0.1:5432");
    }
}
