//! Ties: what connects a candidate with the end of a run. There is one search for all candidates.
//!
//! | tie | meaning |
//! |---|---|
//! | named | one sentence of the last words names the candidate's entity, and says what went wrong |
//! | nearby | the last words say what went wrong, and name the entity in another sentence |
//! | given | the last words give the error as a call's, and nothing else that it could be about; only this met it |
//! | tried again | the last words say that something did not come, and all that was tried again and again was this |
//! | said | the last words say what went wrong, and this was the last that did |
//! | before | the last words report a failure, and this was the last that went wrong before them |
//! | silence | nothing was said, and this was the last thing that the process did |
//!
//! The last words are the headline and what follows it. A line before the headline may be the real reason, if the
//! headline only follows from it: `could not bind: Address already in use`, then `could not create any sockets`. So
//! earlier lines that name a candidate count, if what was said after them adds nothing to them.

use super::candidate::{Candidate, Naming, What, newest_of_each};
use crate::facts::is_noise;
use crate::facts::lookup::Outcome;
use crate::facts::output::Line;
use crate::rules::Case;
use crate::rules::doubt::{is_tolerated, is_warning};
use crate::rules::phrase::{gives, says, sentences};
use crate::rules::words::{Follows, is_frame};
use crate::symptom::{Calls, tried};
use capture_format::Class;

/// Whatever happens less than this time before the last words counts as right before them: 5 s, in nanoseconds.
pub(crate) const CLOSE: u64 = 5_000_000_000;
/// A resolver may wait this long for an answer: twice the longest `timeout` of resolv.conf(5), in nanoseconds.
const PATIENCE: u64 = 60_000_000_000;
/// After this many failed attempts at one address, the program was waiting for that address.
const MIN_TRIES: usize = 2;

/// What connects a candidate with the end, strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tie {
    Silence,
    Before,
    Said,
    Given { sure: bool },
    Nearby,
    TriedAgain,
    Named(Naming),
}

/// A candidate that is tied to the end.
#[derive(Clone, Debug)]
pub(crate) struct Tied<'a> {
    pub(crate) candidate: Candidate<'a>,
    /// What was said about it.
    pub(crate) line: Option<&'a Line>,
    pub(crate) tie: Tie,
    /// What was said after the line.
    pub(crate) follows: Follows,
}

impl Tied<'_> {
    /// How strong the tie is, in percent, and why.
    pub(crate) fn strength(&self) -> (u8, &'static str) {
        match self.follows {
            Follows::Nothing => self.strength_of_tie(),
            Follows::TheSame => (
                78,
                "it failed, and a line that names it and the error came right before a line about the same",
            ),
            Follows::NothingNew | Follows::AnotherFailure => (
                72,
                "it failed, and a line that names it and the error came right before last words that only say that something failed",
            ),
        }
    }

    fn strength_of_tie(&self) -> (u8, &'static str) {
        let rare = self.candidate.symptom.rare;
        let of_connection = !matches!(self.candidate.what, What::Call(_));
        match self.tie {
            Tie::Named(Naming::Whole) => (
                91,
                "it failed, and the last words name what it was about and the error",
            ),
            Tie::Named(_) => (
                85,
                "it failed, and the last words name a part of what it was about, and the error",
            ),
            Tie::TriedAgain => (
                74,
                "the last words say that something is not there, and all it tried again and again was this",
            ),
            Tie::Nearby => (
                72,
                "it failed, and the last words name the error and, apart from it, what it was about",
            ),
            Tie::Given { sure: true } if rare || of_connection => {
                (84, "the last words give the error, and only this met it")
            }
            Tie::Given { .. } => (
                68,
                "the last words give the error, and this met it; they do not name what it was about",
            ),
            Tie::Said => (
                68,
                "the last words name the error, and this met it; they may speak of something else",
            ),
            Tie::Before => (
                68,
                "it was the last that failed before the last words, which do not name the error",
            ),
            Tie::Silence => (55, "it said nothing, but ended right after this failed"),
        }
    }
}

/// The candidate that is tied best to the end of the run.
pub(crate) fn strongest<'a>(case: &Case<'a>, candidates: Vec<Candidate<'a>>) -> Option<Tied<'a>> {
    let mut groups: Vec<Vec<Candidate<'a>>> = Vec::new();
    for candidate in newest_of_each(candidates) {
        let same = |group: &&mut Vec<Candidate<'a>>| {
            group
                .first()
                .is_some_and(|first| std::ptr::eq(first.symptom, candidate.symptom))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    let tied = groups.iter().filter_map(|group| of_group(case, group));
    tied.max_by_key(|tied| (tied.strength().0, tied.tie, tied.candidate.event()))
}

/// The best tie of candidates with one symptom, the earliest candidate first.
fn of_group<'a>(case: &Case<'a>, group: &[Candidate<'a>]) -> Option<Tied<'a>> {
    let symptom = group.first()?.symptom;
    if symptom.only_if_said && case.words.find(|text| symptom.is_said(text)).is_none() {
        return None;
    }
    let tied = |candidate, line, tie| Tied {
        candidate,
        line,
        tie,
        follows: Follows::Nothing,
    };
    if let Some((candidate, line, naming)) = named(case, group) {
        return Some(tied(candidate, Some(line), Tie::Named(naming)));
    }
    if let Some(earlier) = named_earlier(case, group).or_else(|| near_earlier(case, group)) {
        return Some(earlier);
    }
    let last = group.last()?;
    let spoken = case.words.find(|text| last.is_spoken_of(text));
    if let Some(line) = spoken {
        let before = || group.iter().rev().filter(|one| one.event() < line.event);
        let near = before().find(|candidate| is_named_near(case, candidate, line));
        if let Some(candidate) = near {
            return Some(tied(candidate.clone(), Some(line), Tie::Nearby));
        }
    }
    if let Some(line) = case.words.find(|text| says_it(last, text)) {
        return said(case, group, line).map(|(candidate, tie)| tied(candidate, Some(line), tie));
    }
    let again =
        tried_again(case, group).map(|line| tied(last.clone(), Some(line), Tie::TriedAgain));
    again.or_else(|| match case.words.headline() {
        Some(line) => {
            is_last_before(case, last, line).then(|| tied(last.clone(), Some(line), Tie::Before))
        }
        None => last
            .is_last_act(case)
            .then(|| tied(last.clone(), None, Tie::Silence)),
    })
}

/// The candidate that one sentence of the last words names, and says what went wrong with.
fn named<'a>(
    case: &Case<'a>,
    group: &[Candidate<'a>],
) -> Option<(Candidate<'a>, &'a Line, Naming)> {
    let named = group.iter().rev().filter_map(|candidate| {
        let best = |text: &str| best_sentence(candidate, text);
        let whole = case.words.find(|text| best(text) == Naming::Whole);
        let (line, naming) = match whole {
            Some(line) => (line, Naming::Whole),
            None => (
                case.words.find(|text| best(text) > Naming::No)?,
                Naming::Part,
            ),
        };
        (candidate.event() < line.event).then(|| (candidate.clone(), line, naming))
    });
    // Of equals the first one, which is the latest.
    named.reduce(|best, next| if next.2 > best.2 { next } else { best })
}

fn best_sentence(candidate: &Candidate<'_>, text: &str) -> Naming {
    // Thousands of calls may have failed: most of them are named nowhere.
    if !candidate.may_be_named(text) {
        return Naming::No;
    }
    let told = sentences(text).map(|sentence| candidate.told_by(sentence));
    told.max().unwrap_or(Naming::No)
}

/// The candidate that a line before the headline names, if what was said after that line adds nothing to it.
fn named_earlier<'a>(case: &Case<'a>, group: &[Candidate<'a>]) -> Option<Tied<'a>> {
    let mut lines = case.words.earlier();
    lines.find_map(|line| {
        if is_frame(line.said()) || is_warning(line) || is_tolerated(line.said()) {
            return None;
        }
        let before = group.iter().rev().filter(|one| one.event() < line.event);
        let named = before.map(|one| (one, best_sentence(one, line.said())));
        let (candidate, naming) =
            named.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let follows = case.words.follows(line, &candidate.label());
        (naming > Naming::No && follows != Follows::AnotherFailure).then(|| Tied {
            candidate: candidate.clone(),
            line: Some(line),
            tie: Tie::Named(naming),
            follows,
        })
    })
}

/// The candidate that lines before the headline name and say what went wrong with, in different lines, if what was said
/// after them adds nothing.
fn near_earlier<'a>(case: &Case<'a>, group: &[Candidate<'a>]) -> Option<Tied<'a>> {
    let symptom = group.first()?.symptom;
    let mut lines = case.words.earlier();
    lines.find_map(|line| {
        let told = symptom.is_said(line.said()) && !is_warning(line);
        let mut before = group
            .iter()
            .rev()
            .filter(|one| told && one.event() < line.event);
        let candidate = before.find(|one| {
            let mut near = case
                .words
                .between(one.event(), line.event + 1)
                .chain(case.words.after(line));
            near.any(|near| one.naming(near.said()) == Naming::Whole)
        })?;
        let follows = case.words.follows(line, &candidate.label());
        (follows != Follows::AnotherFailure).then(|| Tied {
            candidate: candidate.clone(),
            line: Some(line),
            tie: Tie::Nearby,
            follows,
        })
    })
}

/// Whether a line near the one that says what went wrong names the candidate.
fn is_named_near(case: &Case<'_>, candidate: &Candidate<'_>, line: &Line) -> bool {
    let block = case.words.block().iter().copied();
    let mut near = block.chain(case.words.between(candidate.event(), line.event));
    near.any(|near| candidate.naming(near.said()) > Naming::No)
}

/// Whether a text says what went wrong, without a word about what it was about.
fn says_it(candidate: &Candidate<'_>, text: &str) -> bool {
    match candidate.what {
        What::Lookup(_) => says(text, &candidate.symptom.alone),
        What::Connection(_) if candidate.is_pending() => {
            candidate.symptom.is_said(text) || says(text, &tried().waiting)
        }
        _ => candidate.symptom.is_said(text),
    }
}

/// The last words say what went wrong, and do not name what it was about.
fn said<'a>(case: &Case<'a>, group: &[Candidate<'a>], line: &Line) -> Option<(Candidate<'a>, Tie)> {
    let before = || group.iter().rev().filter(|one| one.event() < line.event);
    let last = before().next()?.clone();
    let learned = last.learned().unwrap_or(line.time);
    let limit = match last.what {
        What::Lookup(lookup) if lookup.outcome() == Outcome::NoAnswer => PATIENCE,
        _ => CLOSE,
    };
    if line.time < learned || line.time.since(learned) > limit {
        return None;
    }
    let text = line.said();
    let only = before().all(|one| one.label() == last.label());
    match last.what {
        What::Call(failure) => {
            let given = gives(text, failure.errno);
            let sure = given && only && !names_a_path(text);
            let last_of_all = || is_last_of_all(case, &last, line);
            // `name 'orders' is already in use` says what it is about: not this call.
            let likely = last.symptom.rare && (given || !quotes(text));
            match () {
                () if last.symptom.calls == Calls::Paths => {
                    let opens = failure.kind.class() == Class::Opens;
                    (given && opens && !names_a_path(text) && last_of_all())
                        .then_some((last, Tie::Given { sure: false }))
                }
                () if sure => Some((last, Tie::Given { sure: true })),
                () if likely => Some((last, Tie::Said)),
                () => None,
            }
        }
        What::Connection(connection) => {
            let names_another = case
                .words
                .block()
                .iter()
                .any(|line| names_an_address(line.said()));
            let given = match (connection.broken(), connection.outcome) {
                (Some(_), _) => says(text, &last.symptom.alone),
                (None, Some(outcome)) => outcome.error.is_some_and(|errno| gives(text, errno)),
                (None, None) => true,
            };
            let tie = match only && given {
                true => Tie::Given { sure: true },
                false => Tie::Said,
            };
            (!names_another).then_some((last, tie))
        }
        What::Lookup(_) => last
            .is_last_lookup()
            .then_some((last, Tie::Given { sure: true })),
    }
}

/// Whether no other call of the process failed between this one and the line.
fn is_last_of_all(case: &Case<'_>, candidate: &Candidate<'_>, line: &Line) -> bool {
    let mut failures = case.facts.failures.iter().rev();
    let last = failures.find(|failure| {
        failure.pid == line.pid && failure.event < line.event && !is_noise(failure)
    });
    last.is_some_and(|last| last.event == candidate.event())
}

/// The line that says that something did not come, if the program had tried this and nothing else again and again.
fn tried_again<'a>(case: &Case<'a>, group: &[Candidate<'a>]) -> Option<&'a Line> {
    let last = group.last()?;
    let What::Connection(connection) = last.what else {
        return None;
    };
    let all = case.facts.connections.iter();
    let failed: Vec<_> = all
        .filter(|one| one.outcome.is_none_or(|outcome| outcome.error.is_some()))
        .collect();
    let only = failed.iter().all(|one| one.address == connection.address);
    let line = case.words.find(|text| says(text, &tried().again))?;
    (only && failed.len() >= MIN_TRIES && line.event > connection.event).then_some(line)
}

/// Whether nothing else went wrong between the candidate and a line that reports a failure.
fn is_last_before(case: &Case<'_>, candidate: &Candidate<'_>, line: &Line) -> bool {
    let What::Call(last) = candidate.what else {
        return false;
    };
    if !candidate.symptom.rare || last.event >= line.event || line.time.since(last.time) > CLOSE {
        return false;
    }
    let mut others = case.facts.failures.iter().filter(|other| {
        other.pid == last.pid && other.event > last.event && other.event < line.event
    });
    // The program reported the error and said that it goes on without: `cache disabled: Read-only file system`.
    let mut said = case.words.between(last.event, line.event);
    let tolerated =
        said.any(|line| is_tolerated(line.said()) && candidate.symptom.is_said(line.said()));
    !tolerated && !others.any(|other| other.path != last.path)
}

/// Whether a line contains a name in quotes.
fn quotes(text: &str) -> bool {
    let starts = |c: char| c.is_whitespace() || matches!(c, '(' | ':' | '=');
    let mut words = text.split(starts);
    words.any(|word| word.len() > 2 && word.starts_with(['"', '\'', '`']))
}

/// Whether a line names an absolute path.
pub(crate) fn names_a_path(text: &str) -> bool {
    let mut words = text.split(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | ':' | ',')
    });
    words.any(|word| word.starts_with('/') && word.len() > 2)
}

/// Whether a line has an IPv4 address with its port.
fn names_an_address(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')));
    words
        .map(|word| word.trim_end_matches(['.', ':']))
        .any(|word| word.parse::<std::net::SocketAddrV4>().is_ok())
}
