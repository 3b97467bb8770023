//! A program gave up because a connection was refused, timed out or found no route, because nobody had answered yet when
//! it stopped waiting, or because the other end closed or reset the connection.

use std::net::SocketAddr;

use super::tied::Described;
use super::{Case, Cause, Evidence};
use crate::facts::connections::Connection;
use crate::symptom::Symptom;
use events::decode::Errno;
use events::escape::escaped_to;

/// How many attempts are cited.
const MAX_EVIDENCE: usize = 4;

pub(super) fn describe(case: &Case<'_>, connection: &Connection, symptom: &Symptom) -> Described {
    let address = connection.address.to_string();
    let of = connection
        .address
        .inet()
        .and_then(|address| host_of(case, address));
    let host = of.map_or_else(String::new, |host| format!(" ({host})"));
    let times = match tries(case, connection).len() {
        0 | 1 => String::new(),
        tries => format!(" ({tries} times)"),
    };
    let cause = symptom.cause;
    let what = match cause {
        Cause::ConnectionRefused => format!("{address}{host} refused the connection{times}"),
        Cause::ConnectionTimedOut => format!("the connection to {address}{host} timed out{times}"),
        Cause::ConnectionClosed => {
            let reset = connection
                .broken()
                .is_some_and(|broken| broken.error.is_some());
            let how = match reset {
                true => "reset the connection",
                false => "closed the connection without an answer",
            };
            format!("{address}{host} {how}{times}")
        }
        _ => format!(
            "{address}{host} cannot be reached: {}{times}",
            error(connection).text()
        ),
    };
    let next_step = match cause {
        Cause::ConnectionRefused => format!(
            "Nothing listens at {address}: check that the server there runs and is ready, and that host and port are right (in a container, localhost is the container itself)."
        ),
        Cause::ConnectionClosed => format!(
            "Look into the log of the server at {address} for that time: it may have ended, refuse this client, or expect another protocol (TLS or none)."
        ),
        _ => format!(
            "Check the way to {address}: network policies, firewalls, routes, and that the host is up."
        ),
    };
    Described {
        cause,
        subject: address,
        what: format!(": {what}"),
        next_step,
        more: Vec::new(),
    }
}

/// The last attempts at the same address that ended in the same way.
pub(super) fn evidence(case: &Case<'_>, connection: &Connection) -> Vec<Evidence> {
    let tries = tries(case, connection).into_iter().rev().take(MAX_EVIDENCE);
    let evidence = tries.map(|tried| {
        let address = &tried.address;
        if let Some(broken) = tried.broken() {
            let how = match broken.error {
                Some(errno) => format!("{errno} ({})", errno.text()),
                None => "closed by the other end, which had sent nothing".to_owned(),
            };
            let text = format!("connection to {address}: {how}");
            return Evidence::new(broken.event, broken.time, text);
        }
        let errno = error(tried);
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
    evidence.collect()
}

fn tries<'a>(case: &Case<'a>, connection: &Connection) -> Vec<&'a Connection> {
    let end = |one: &Connection| {
        let made = one.outcome.map(|outcome| outcome.error);
        (made, one.broken().map(|broken| broken.error))
    };
    let same =
        |other: &&Connection| other.address == connection.address && end(other) == end(connection);
    case.facts.connections.iter().filter(same).collect()
}

/// Why the connection was not made; ETIMEDOUT if nobody had answered yet.
fn error(connection: &Connection) -> Errno {
    let outcome = connection.outcome.and_then(|outcome| outcome.error);
    outcome.unwrap_or(Errno::ETIMEDOUT)
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
    use capture_format::EventKind;
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
            (verdict.cause, verdict.score),
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
            (verdict.cause, verdict.score, verdict.subject.as_str()),
            (Cause::ConnectionRefused, 84, "10.0.0.7:5432")
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
        assert_eq!(verdict.score, 85);
    }

    /// A client that sends a request and gets this result from recvfrom(2).
    fn asked(result: i64, words: &str) -> crate::rules::Verdict {
        let mut s = Script::new(&["app"]);
        s.call(INIT, EventKind::SOCKET, 4, [2, 1, 0], "", "")
            .connect(INIT, 4, &inet([10, 0, 0, 7], 5432), 0)
            .call(INIT, EventKind::SENDTO, 8, [4, 0, 8], "", "")
            .call(INIT, EventKind::RECVFROM, result, [4, 0, 4096], "", "")
            .write(INIT, 2, words);
        verdict(s.exit(INIT, 1))
    }

    #[test]
    fn a_server_that_closes_without_an_answer_is_why() {
        for (result, words, how, score) in [
            (
                0,
                "error: 10.0.0.7:5432: server closed the connection unexpectedly\n",
                "10.0.0.7:5432 closed the connection without an answer",
                91,
            ),
            (
                -104,
                "ConnectionResetError: [Errno 104] Connection reset by peer\n",
                "10.0.0.7:5432 reset the connection",
                84,
            ),
            (
                0,
                "http.client.RemoteDisconnected: Remote end closed connection without response\n",
                "10.0.0.7:5432 closed the connection without an answer",
                84,
            ),
        ] {
            let verdict = asked(result, words);
            assert_eq!(
                (verdict.cause, verdict.score),
                (Cause::ConnectionClosed, score),
                "{words}"
            );
            assert!(verdict.sentence.contains(how), "{}", verdict.sentence);
        }
    }

    #[test]
    fn an_answer_or_an_unrelated_end_of_file_is_no_closed_connection() {
        assert_eq!(
            asked(5, "error: server closed the connection\n").cause,
            Cause::ExitedNonZero
        );
        for words in ["rules.json: unexpected EOF\n", "fatal: bad port\n"] {
            assert_ne!(asked(0, words).band, crate::rules::Band::Likely, "{words}");
        }
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
            (verdict.cause, verdict.score),
            (Cause::ConnectionRefused, 55)
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
            (verdict.cause, verdict.score),
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
