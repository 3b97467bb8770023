//! A program gave up over something that went wrong: a failed call, a connection that was not made, a name that was not
//! resolved.
//!
//! The module `candidate` lists what went wrong, and the module `tie` finds what the last words speak of. Each cause has
//! a file that puts it into words, and says what to do next.
//!
//! The rule is wrong if the program had coped with what went wrong and gave up over something else, or if several things
//! went wrong in the same way and the last words are about another one.

use super::words::Follows;
use super::{
    Case, Cause, Evidence, Finding, call_failed, disk_full, dns, locked, missing_file,
    no_such_address, permission, port_in_use, process_refused, read_only, refused, too_many_files,
};
use crate::candidate::{Candidate, What, candidates, label};
use crate::facts::Failure;
use crate::facts::output::Line;
use crate::tie::{Tie, Tied, strongest};

/// How many calls are cited.
const MAX_EVIDENCE: usize = 4;

/// What ended a run, in words.
pub(super) struct Described {
    pub(super) cause: Cause,
    /// What it is about, escaped.
    pub(super) subject: String,
    /// What happened, as the continuation of `nginx exited 1`, with the punctuation before it.
    pub(super) what: String,
    pub(super) next_step: String,
    /// Evidence beside what went wrong and what was said.
    pub(super) more: Vec<Evidence>,
}

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let lookups = case.facts.lookups();
    let candidates = candidates(case, &lookups);
    let tied = strongest(case, candidates)?;
    Some(verdict(case, &tied))
}

fn verdict(case: &Case<'_>, tied: &Tied<'_>) -> Finding {
    let described = match tied.candidate.what {
        What::Call(failure) => describe(case, tied, failure),
        What::Connection(connection) => refused::describe(case, connection, tied.candidate.symptom),
        What::Lookup(lookup) => dns::describe(case, lookup, tied.line),
    };
    let (score, why) = tied.strength();
    let cited = tied
        .line
        .map_or_else(String::new, |line| format!("; {}", line.cited()));
    let evidence = match tied.candidate.what {
        What::Call(failure) => tries(case, failure),
        What::Connection(connection) => refused::evidence(case, connection),
        What::Lookup(lookup) => dns::evidence(lookup),
    };
    let named = matches!(tied.tie, Tie::Named(_)) && !waited(&tied.candidate);
    Finding {
        rests_on: tied
            .line
            .filter(|_| tied.follows != Follows::Nothing)
            .map(|line| line.event),
        sentence: format!("{}{}{cited}", case.ended(), described.what),
        cause: described.cause,
        subject: described.subject,
        score,
        why: why.into(),
        evidence: tied
            .line
            .map(Line::evidence)
            .into_iter()
            .chain(evidence)
            .chain(described.more)
            .collect(),
        next_step: described.next_step,
        weakened_by: if named {
            Vec::new()
        } else {
            case.missing_events()
        },
    }
}

fn describe(case: &Case<'_>, tied: &Tied<'_>, failure: &Failure) -> Described {
    match tied.candidate.symptom.cause {
        Cause::MissingFile => missing_file::describe(case, failure, tied),
        Cause::ReadOnlyFileSystem => read_only::describe(case, failure),
        Cause::DiskFull => disk_full::describe(case, failure),
        Cause::TooManyOpenFiles => too_many_files::describe(case, failure),
        Cause::PortInUse => port_in_use::describe(case, failure),
        Cause::AddressNotAvailable => no_such_address::describe(case, failure),
        Cause::Locked => locked::describe(case, failure),
        Cause::ProcessRefused => process_refused::describe(case, failure),
        Cause::PermissionDenied => permission::describe(case, failure),
        _ => call_failed::describe(failure),
    }
}

/// Whether it was no answer that went wrong: then an answer may be among what was not recorded.
fn waited(candidate: &Candidate<'_>) -> bool {
    candidate.is_pending()
        || matches!(candidate.what, What::Lookup(lookup) if lookup.outcome() == crate::facts::lookup::Outcome::NoAnswer)
}

/// The last calls that failed in the same way, as evidence.
fn tries(case: &Case<'_>, failure: &Failure) -> Vec<Evidence> {
    let same = |other: &&Failure| {
        (other.pid, other.kind, other.errno) == (failure.pid, failure.kind, failure.errno)
            && label(other) == label(failure)
    };
    let failures = case.facts.failures.iter().rev();
    failures
        .filter(same)
        .take(MAX_EVIDENCE)
        .map(evidence)
        .collect()
}

/// The call as evidence: `openat /data/x: EROFS (Read-only file system)`.
pub(crate) fn evidence(failure: &Failure) -> Evidence {
    let call = failure.kind.name().unwrap_or("call");
    let label = label(failure);
    let about = if label.is_empty() {
        String::new()
    } else {
        format!(" {label}")
    };
    Evidence::new(
        failure.event,
        failure.time,
        format!(
            "{call}{about}: {} ({})",
            failure.errno,
            failure.errno.text()
        ),
    )
}
