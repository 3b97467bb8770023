//! A connection that was refused, timed out or found no route, and a program that gave up over it.

use std::net::SocketAddr;

use super::words::names;
use super::{Case, Cause, Evidence, Verdict};
use crate::decode::Errno;
use crate::facts::connections::Connection;
use crate::facts::lookup::Lookup;
use crate::facts::output::Line;

/// Which errors this is about, and how programs say them, in lower case.
const ERRORS: &[(Errno, Cause, &[&str])] = &[
    (
        Errno::ECONNREFUSED,
        Cause::ConnectionRefused,
        &[
            "connection refused",
            "econnrefused",
            "actively refused",
            "connect failed: refused",
            "refused the connection",
            "could not connect",
            "couldn't connect",
            "failed to connect",
            "can't connect",
            "cannot connect",
        ],
    ),
    (
        Errno::ETIMEDOUT,
        Cause::ConnectionTimedOut,
        &[
            "connection timed out",
            "etimedout",
            "connect timed out",
            "timed out",
            "timeout",
        ],
    ),
    (
        Errno::EHOSTUNREACH,
        Cause::HostUnreachable,
        &["no route to host", "ehostunreach", "host is unreachable"],
    ),
    (
        Errno::ENETUNREACH,
        Cause::HostUnreachable,
        &["network is unreachable", "enetunreach"],
    ),
];

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    case.exit_code().filter(|&code| code != 0)?;
    let failed: Vec<(&Connection, Errno)> = case
        .facts
        .connections
        .iter()
        .filter_map(|c| Some((c, failure(case, c)?)))
        .collect();
    let lookups = case.facts.lookups();
    let (last, last_errno) = *failed.last()?;
    let mut said: Option<(&Connection, Errno, &Line, bool)> = None;
    for &(connection, errno) in &failed {
        let texts = ERRORS
            .iter()
            .find(|(of, ..)| *of == errno)
            .map_or(&[][..], |(_, _, texts)| texts);
        let speaks = |text: &str| {
            texts
                .iter()
                .any(|words| text.to_lowercase().contains(words))
        };
        let Some(line) = case.words.find(speaks) else {
            continue;
        };
        let named = case
            .words
            .find(|text| is_named(text, connection, &lookups))
            .is_some();
        if named || !said.is_some_and(|(.., named)| named) {
            said = Some((connection, errno, line, named));
        }
    }
    match said {
        Some((connection, errno, line, true)) => Some(verdict(
            case,
            connection,
            errno,
            Some(line),
            91,
            "the connect failed, and the last words name the address and the error",
        )),
        Some((connection, errno, line, false)) => Some(verdict(
            case,
            connection,
            errno,
            Some(line),
            81,
            "the last words name the error, and this was the last connect that failed with it",
        )),
        None if case.words.is_empty() && is_last_act(case, last) => Some(verdict(
            case,
            last,
            last_errno,
            None,
            60,
            "it said nothing, but ended right after the failed connect",
        )),
        None => None,
    }
}

/// Why the connection failed; none if it did not, or was made good by a later one to the same address.
fn failure(case: &Case<'_>, connection: &Connection) -> Option<Errno> {
    let errno = connection.outcome?.error?;
    ERRORS.iter().find(|(of, ..)| *of == errno)?;
    let made_good = case
        .facts
        .connections
        .iter()
        .filter(|later| later.event > connection.event);
    let mut made_good = made_good.filter(|later| later.address == connection.address);
    let good = made_good.any(|later| later.outcome.is_some_and(|outcome| outcome.error.is_none()));
    (case.below_chain(connection.pid) && !good).then_some(errno)
}

/// By address and port, by address, by a host name DNS gave that address for, or by the path of a Unix socket.
fn is_named(text: &str, connection: &Connection, lookups: &[Lookup]) -> bool {
    let Some(address) = connection.address.inet() else {
        return names(text, &connection.address.to_string());
    };
    let host_of = |lookup: &&Lookup| {
        let records = lookup
            .exchanges
            .iter()
            .filter_map(|exchange| exchange.answer.as_ref())
            .flat_map(|answer| &answer.records);
        let mut addresses =
            records.filter_map(|record| record.split_once(' ').map(|(_, data)| data));
        addresses.any(|data| data == address.ip().to_string())
    };
    let is_local = address.ip().is_loopback() && names(text, "localhost");
    names(text, &address.ip().to_string())
        || is_local
        || lookups
            .iter()
            .filter(host_of)
            .any(|lookup| names(text, &lookup.host))
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
    errno: Errno,
    line: Option<&Line>,
    confidence: u8,
    why: &str,
) -> Verdict {
    let cause = ERRORS
        .iter()
        .find(|(of, ..)| *of == errno)
        .map_or(Cause::ConnectionRefused, |(_, cause, _)| *cause);
    let same = |other: &&Connection| {
        other.address == connection.address
            && other.outcome.and_then(|outcome| outcome.error) == Some(errno)
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
    let evidence = tries.iter().rev().take(4).filter_map(|tried| {
        Some(Evidence::new(
            tried.outcome?.event,
            format!("connect to {address}: {errno} ({})", errno.text()),
        ))
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

/// The name DNS gave the address for.
fn host_of(case: &Case<'_>, address: SocketAddr) -> Option<String> {
    let record = address.ip().to_string();
    let lookup = case.facts.lookups().into_iter().rev().find(|lookup| {
        let mut answers = lookup
            .exchanges
            .iter()
            .filter_map(|exchange| exchange.answer.as_ref());
        answers.any(|answer| {
            answer
                .records
                .iter()
                .any(|r| r.split_once(' ').is_some_and(|(_, data)| data == record))
        })
    })?;
    Some(crate::escape::escaped_to(lookup.host.as_bytes(), 200).to_string())
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
}
