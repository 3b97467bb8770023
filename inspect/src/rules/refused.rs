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
