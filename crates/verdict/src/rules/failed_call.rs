//! Which failed call do the last words speak of? This is the search that all rules on one kind of error share.
//!
//! A rule describes its kind of error: the errno, how programs say it, and which calls are meant. The search considers
//! calls of the chain's processes and their descendants that failed in this way and were not repeated with success. It
//! takes the one that the last words are tied to best, and the strength of the tie decides how sure the verdict is.
//!
//! The search is wrong if several calls met the same error and the last words are about another one, or if the program
//! had coped with the error and gave up over something else.

use capture_format::EventKind;

use super::case::CLOSE;
use super::doubt::is_tolerated;
use super::phrase::{self, gives, says, sentences};
use super::{Case, Cause, Evidence, Verdict};
use crate::entity::{names, places};
use crate::facts::Failure;
use crate::facts::output::Line;
use events::basename;
use events::decode::{Errno, SockAddr};
use events::escape::escaped_to;

/// The last component of a path must be at least this long to be looked for without its directory.
const MIN_NAME: usize = 4;
/// How many calls are cited.
const MAX_EVIDENCE: usize = 4;

/// A kind of error.
pub(super) struct Kind {
    /// The errors of the calls.
    pub(super) errnos: &'static [Errno],
    /// How programs say the error itself, in lower case.
    pub(super) says: &'static [&'static str],
    /// Whether hardly any program goes on after this error.
    pub(super) rare: bool,
    /// Which calls are meant.
    pub(super) concerns: fn(&Failure) -> bool,
}

/// What connects a failed call with the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// The last words name the path or address, and the error.
    Name,
    /// The last words name the error, and not far from it the path or address.
    Nearby,
    /// The last words give the error as the call's and nothing else that it could be about, and no other call met it.
    Given,
    /// The last words name the error, and this is the call that met it.
    Error,
    /// The last words report a failure, and this was the last call that failed before them.
    Before,
    /// There are no last words, and the call was the last thing that the process did.
    Silence,
}

/// A failed call that may be why a run ended.
pub(super) struct Found<'a> {
    /// The call.
    pub(super) failure: &'a Failure,
    /// What was said about the call.
    pub(super) line: Option<&'a Line>,
    tie: Tie,
    rare: bool,
}

/// The failed call that most likely ended the run, judged by the last words.
pub(super) fn find<'a>(case: &Case<'a>, kind: &Kind) -> Option<Found<'a>> {
    case.gave_up()?;
    let failures = || {
        case.facts.failures.iter().rev().filter(|failure| {
            kind.errnos.contains(&failure.errno)
                && (kind.concerns)(failure)
                && !failure.made_good
                && case.below_chain(failure.pid)
        })
    };
    let found = |failure, line, tie| Found {
        failure,
        line,
        tie,
        rare: kind.rare,
    };
    let in_sentence = |failure: &Failure| {
        case.words.find(|text| {
            sentences(text).any(|sentence| says(sentence, kind.says) && is_named(sentence, failure))
        })
    };
    let mut named = failures().filter_map(|failure| Some((failure, in_sentence(failure)?)));
    if let Some((failure, line)) = named.find(|(failure, line)| failure.event < line.event) {
        return Some(found(failure, Some(line), Tie::Name));
    }
    if let Some(line) = case.words.find(|text| says(text, kind.says)) {
        let before = || failures().filter(|failure| failure.event < line.event);
        let block = case.words.block();
        let nearby = |failure: &&Failure| block.iter().any(|line| is_named(line.said(), failure));
        if let Some(failure) = before().find(nearby) {
            return Some(found(failure, Some(line), Tie::Nearby));
        }
        let last = before()
            .next()
            .filter(|last| line.time.since(last.time) <= CLOSE)?;
        let only = before().all(|failure| label(failure) == label(last));
        let given = gives(line.said(), last.errno);
        let sure = given && only && !names_a_path(line.said());
        let tie = if sure { Tie::Given } else { Tie::Error };
        // `name 'orders' is already in use` says what it is about: not this call.
        let likely = kind.rare && (given || !quotes(line.said()));
        return (sure || likely).then(|| found(last, Some(line), tie));
    }
    let last = failures().next()?;
    match case.words.headline() {
        Some(line) if kind.rare => {
            let between = |other: &Failure| other.event > last.event && other.event < line.event;
            let is_last =
                !case.facts.failures.iter().any(|other| {
                    other.pid == last.pid && between(other) && other.path != last.path
                });
            let close = last.event < line.event && line.time.since(last.time) <= CLOSE;
            // The program reported the error and said that it goes on without: `cache disabled: Read-only file system`.
            let mut said = case.words.between(last.event, line.event);
            let tolerated =
                said.any(|line| is_tolerated(line.said()) && says(line.said(), kind.says));
            (is_last && close && !tolerated).then(|| found(last, Some(line), Tie::Before))
        }
        Some(_) => None,
        None => {
            let culprit = case.culprit().filter(|culprit| culprit.pid == last.pid);
            (culprit.and_then(|culprit| culprit.last_call) == Some(last.event))
                .then(|| found(last, None, Tie::Silence))
        }
    }
}

impl Found<'_> {
    /// Path or address, escaped.
    pub(super) fn label(&self) -> String {
        label(self.failure)
    }

    fn confidence(&self) -> (u8, &'static str) {
        match (self.tie, self.rare) {
            (Tie::Name, _) => (
                91,
                "the call failed, and the last words name what it was about and the error",
            ),
            (Tie::Nearby, _) => (
                74,
                "the call failed, and the last words name the error and, apart from it, what it was about",
            ),
            (Tie::Given, true) => (
                86,
                "the last words give the error, and only this call met it",
            ),
            (Tie::Given, false) => (
                70,
                "the last words give the error, and only this call met it; they do not name what it was about",
            ),
            (Tie::Error, _) => (
                68,
                "the last words name the error, and this call met it; they may speak of something else",
            ),
            (Tie::Before, _) => (
                68,
                "it was the last call that failed before the last words, which do not name the error",
            ),
            (Tie::Silence, _) => (
                55,
                "it said nothing, but ended right after this failed call",
            ),
        }
    }

    /// The verdict; `what` is the clause that says what happened.
    pub(super) fn verdict(
        &self,
        case: &Case<'_>,
        cause: Cause,
        subject: String,
        what: &str,
        next_step: String,
    ) -> Verdict {
        let (confidence, why) = self.confidence();
        let cited = self
            .line
            .map_or_else(String::new, |line| format!("; {}", line.cited()));
        let same = |other: &&Failure| {
            (other.pid, other.kind, other.errno)
                == (self.failure.pid, self.failure.kind, self.failure.errno)
                && label(other) == label(self.failure)
        };
        let tries = case
            .facts
            .failures
            .iter()
            .rev()
            .filter(same)
            .take(MAX_EVIDENCE);
        let evidence = tries.map(evidence).chain(self.line.map(Line::evidence));
        Verdict {
            sentence: format!("{}: {what}{cited}", case.ended()),
            cause,
            subject,
            confidence,
            why: why.into(),
            evidence: evidence.collect(),
            next_step,
            weakened_by: if self.tie == Tie::Name {
                Vec::new()
            } else {
                case.missing_events()
            },
        }
    }
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

/// Path or address of a call, escaped; empty if it has neither.
pub(crate) fn label(failure: &Failure) -> String {
    match address(failure) {
        Some(address) => address.to_string(),
        None => escaped_to(&failure.path, 300).to_string(),
    }
}

/// The address of bind(2) or listen(2).
pub(super) fn address(failure: &Failure) -> Option<SockAddr> {
    let binds = matches!(failure.kind, EventKind::BIND | EventKind::LISTEN);
    SockAddr::parse(&failure.name)
        .filter(|_| binds)
        .map(SockAddr::canonical)
}

/// Whether a call should start a process or thread.
pub(super) fn is_of_processes(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(kind, K::SYS_FORK | K::VFORK | K::CLONE | K::CLONE3)
}

/// Whether a text names the call's path, name or port; for a call that starts a process or thread, whether it mentions
/// that.
fn is_named(text: &str, failure: &Failure) -> bool {
    const OF_PROCESSES: &[&str] = &[
        "thread*",
        "pthread*",
        "uv_thread*",
        "native thread",
        "os thread",
        "fork*",
        "vfork",
        "clone*",
        "spawn*",
        "subprocess*",
        "child process*",
        "new process*",
        "newosproc",
    ];
    if is_of_processes(failure.kind) {
        return phrase::says(text, OF_PROCESSES);
    }
    let says = |name: &str| names(text, name);
    if let Some(address) = address(failure) {
        return match address.inet() {
            Some(address) => names_port(text, address.port()),
            None => says(&address.to_string()),
        };
    }
    let [path, name] = [&failure.path, &failure.name].map(|path| String::from_utf8_lossy(path));
    let last = String::from_utf8_lossy(basename(&failure.path));
    let is_name = last.len() >= MIN_NAME && last.contains('.');
    (path.len() > 1 && says(&path)) || (name.len() > 1 && says(&name)) || is_name && says(&last)
}

/// Whether a text names a number as a port: `0.0.0.0:80`, `port 80`, `listen on 80`.
fn names_port(text: &str, port: u16) -> bool {
    places(text, &port.to_string()).any(|place| {
        let before = text[..place.start].trim_end_matches(['"', '\'', '(', '=', '#']);
        let word = before.trim_end().to_ascii_lowercase();
        before.ends_with(':')
            || ["port", "on", "ports", "bind", "listen", "at"]
                .iter()
                .any(|said| said_last(&word, said))
    })
}

/// Whether a text ends with a word, or with `word:`.
fn said_last(text: &str, word: &str) -> bool {
    let text = text.trim_end_matches([':', '=']).trim_end();
    let before = text.strip_suffix(word);
    before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric()))
}

/// Whether a line contains a name in quotes.
fn quotes(text: &str) -> bool {
    let starts = |c: char| c.is_whitespace() || matches!(c, '(' | ':' | '=');
    let mut words = text.split(starts);
    words.any(|word| word.len() > 2 && word.starts_with(['"', '\'', '`']))
}

/// Whether a line names an absolute path.
pub(super) fn names_a_path(text: &str) -> bool {
    let mut words = text.split(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | ':' | ',')
    });
    words.any(|word| word.starts_with('/') && word.len() > 2)
}
