//! Looks for what went wrong in a run.

use std::collections::HashMap;

use capture_format::{BootTime, Class, EventKind, ExitStatus};

use super::sign::Sign;
use super::{MAX_TROUBLES, READ, Trouble};
use crate::candidate::{Candidate, Naming, What, candidates};
use crate::entity::names;
use crate::facts::config_files::ConfigFile;
use crate::facts::connections::Connection;
use crate::facts::lookup::{Lookup, Outcome};
use crate::facts::output::{Line, Stream};
use crate::facts::process::Process;
use crate::facts::{Failure, INSTALLED, is_noise, is_optional};
use crate::rules::doubt::is_warning;
use crate::rules::phrase::gives;
use crate::rules::words::{LastWords, Words, complaints, says_nothing};
use crate::rules::{Case, Evidence, how, tied};
use crate::symptom::closes;
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;

/// What happened less than this time before the last words, or before the end, may be why: 5 s, in nanoseconds.
const CLOSE: u64 = 5_000_000_000;
/// What happened less than this number of events before the last words, or before the end, may be why.
const NEAR: u64 = 1000;
/// The same, if nothing was said before the end.
const NEAR_OF_SILENCE: u64 = 100;
/// A word must be at least this long to be looked for in the last words.
const MIN_WORD: usize = 3;
/// A name must be at least this long to be looked for in texts.
const MIN_NAME: usize = 4;
/// If more than this number of different calls met one error, programs carry on after it.
const MAX_RARE: usize = 2;
/// How many characters of a path are shown.
const MAX_PATH: usize = 300;
/// Configuration that C libraries and OpenSSL read in every program.
const OF_LIBRARIES: &[&[u8]] = &[
    b"/etc/resolv.conf",
    b"/etc/host.conf",
    b"/etc/nsswitch.conf",
    b"/etc/gai.conf",
    b"/etc/ld.so.conf",
    b"/etc/ssl/openssl.cnf",
    b"/etc/pki/tls/openssl.cnf",
];
/// Errors that are answers as often as they are failures: asked whether something exists, or can be done.
const ANSWERS: &[Errno] = &[
    Errno::ENOENT,
    Errno::ENOTDIR,
    Errno::EINVAL,
    Errno::EBADF,
    Errno::ESRCH,
    Errno(10),  // ECHILD
    Errno(17),  // EEXIST
    Errno(25),  // ENOTTY
    Errno(29),  // ESPIPE
    Errno(38),  // ENOSYS
    Errno(61),  // ENODATA
    Errno(92),  // ENOPROTOOPT
    Errno(95),  // EOPNOTSUPP
    Errno(97),  // EAFNOSUPPORT
    Errno(107), // ENOTCONN
];

/// Errors after which hardly any program carries on, whatever the call.
const SERIOUS: &[Errno] = &[
    Errno::ENOSPC,
    Errno::EMFILE,
    Errno::ENOEXEC,
    Errno::EADDRINUSE,
    Errno::EADDRNOTAVAIL,
    Errno(23),  // ENFILE
    Errno(122), // EDQUOT
];

/// What makes several failures one trouble.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    /// A call: its kind, its error, and the path or address.
    Call(EventKind, Errno, &'a [u8]),
    /// A connection: the address.
    Connection(String),
    /// A look-up: the host.
    Lookup(&'a str),
}

impl<'a> Key<'a> {
    fn of(candidate: &Candidate<'a>) -> Self {
        match candidate.what {
            What::Call(failure) if failure.path.is_empty() => {
                Self::Call(failure.kind, failure.errno, &failure.name)
            }
            What::Call(failure) => Self::Call(failure.kind, failure.errno, &failure.path),
            What::Connection(connection) => Self::Connection(connection.address.to_string()),
            What::Lookup(lookup) => Self::Lookup(&lookup.host),
        }
    }
}

/// Failures that are one trouble.
struct Group<'a> {
    newest: Candidate<'a>,
    /// How often it failed.
    times: u64,
}

/// Looks for the troubles of one run.
pub(super) struct Search<'a, 'c> {
    case: &'c Case<'a>,
    /// The line that says why the run ended, as far as one does.
    line: Option<&'a Line>,
    /// Sentences of the last words that speak of a failure.
    complaints: Vec<&'a str>,
    /// The same of the lines before them.
    earlier: Vec<&'a str>,
    lookups: Vec<Lookup>,
    /// Number and time of what a trouble has to come before: the last words, or the end.
    mark: (u64, BootTime),
}

impl<'a, 'c> Search<'a, 'c> {
    pub(super) fn of(case: &'c Case<'a>) -> Self {
        let line = case.words.headline().or_else(|| case.said.headline());
        let end = case.exit().map(|exit| (exit.event, exit.time));
        let end = end.unwrap_or((u64::MAX, case.end().unwrap_or(BootTime(u64::MAX))));
        let block = case.words.block();
        let from = block.first().map_or(u64::MAX, |first| first.event);
        let earlier = case.words.between(0, from);
        Self {
            case,
            line,
            complaints: block.iter().flat_map(|line| complaints(line)).collect(),
            earlier: earlier.flat_map(complaints).collect(),
            lookups: case.facts.lookups(),
            mark: line.map_or(end, |line| (line.event, line.time)),
        }
    }

    /// All troubles, in the order of their last events.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = self.failed();
        troubles.extend(self.children());
        troubles.sort_by_key(Trouble::event);
        self.mark_last(&mut troubles);
        troubles.extend(self.configuration());
        for trouble in &mut troubles {
            self.mark_distance(trouble);
        }
        troubles
    }

    /// What failed: calls, connections and look-ups.
    fn failed(&self) -> Vec<Trouble> {
        let mut groups: HashMap<Key<'_>, Group<'_>> = HashMap::new();
        let candidates = candidates(self.case, &self.lookups).into_iter();
        for candidate in candidates.filter(|candidate| self.may_matter(candidate)) {
            let event = candidate.event();
            let group = groups.entry(Key::of(&candidate)).or_insert(Group {
                newest: candidate.clone(),
                times: 0,
            });
            // A call with several symptoms is a candidate for each.
            group.times += u64::from(group.times == 0 || group.newest.event() != event);
            group.newest = candidate;
        }
        let mut met: HashMap<Errno, usize> = HashMap::new();
        for key in groups.keys() {
            if let Key::Call(_, errno, _) = key {
                *met.entry(*errno).or_default() += 1;
            }
        }
        let mut groups: Vec<Group<'_>> = groups.into_values().collect();
        groups.sort_by_key(|group| group.newest.event());
        groups.drain(..groups.len().saturating_sub(MAX_TROUBLES));
        let troubles = groups.iter().filter_map(|group| self.trouble(group, &met));
        troubles.collect()
    }

    fn may_matter(&self, candidate: &Candidate<'_>) -> bool {
        candidate.event() < self.mark.0
            && match candidate.what {
                What::Call(failure) => !is_noise(failure),
                What::Connection(connection) => {
                    !is_optional(&connection.address) && !self.answered_elsewhere(connection)
                }
                What::Lookup(_) => true,
            }
    }

    /// Whether a later connection to the same port succeeded: programs try each address of a host.
    fn answered_elsewhere(&self, connection: &Connection) -> bool {
        let port = connection.address.inet().map(|address| address.port());
        let mut later = self.case.facts.connections.iter();
        port.is_some()
            && later.any(|other| {
                other.event > connection.event
                    && other.address.inet().map(|address| address.port()) == port
                    && other.outcome.is_some_and(|outcome| outcome.error.is_none())
                    && other.broken().is_none()
            })
    }

    fn trouble(&self, group: &Group<'_>, met: &HashMap<Errno, usize>) -> Option<Trouble> {
        let candidate = &group.newest;
        let (kind, evidence) = match candidate.what {
            What::Call(failure) => (
                format!("{:?} {}", failure.kind, failure.errno),
                tied::evidence(failure),
            ),
            What::Connection(connection) => self.connection(connection),
            What::Lookup(lookup) => ("look-up".to_owned(), of_lookup(lookup)?),
        };
        let what = format!("{}{}", evidence.text, repeated(group.times));
        let mut trouble = Trouble::new(kind, candidate.label(), what, vec![evidence])?;
        trouble.signs = self.signs(group, met);
        Some(trouble)
    }

    /// The name for which DNS gave the address of a connection: ` (db)`.
    fn host_of(&self, connection: &Connection) -> String {
        let address = connection.address.inet();
        let lookup =
            address.and_then(|inet| self.lookups.iter().rev().find(|it| it.gave(inet.ip())));
        lookup.map_or_else(String::new, |lookup| {
            format!(" ({})", escaped_to(lookup.host.as_bytes(), MAX_PATH))
        })
    }

    fn connection(&self, connection: &Connection) -> (String, Evidence) {
        let address = &connection.address;
        let host = self.host_of(connection);
        if let Some(broken) = connection.broken() {
            let error = broken.error.map(|errno| format!(", {errno}"));
            let error = error.unwrap_or_default();
            let text = format!("{address}{host} closed the connection before it answered{error}");
            let evidence = Evidence::new(broken.event, broken.time, text);
            return ("closed".to_owned(), evidence);
        }
        let (event, time) = match connection.outcome {
            Some(outcome) => (outcome.event, outcome.time),
            None => (connection.event, connection.time),
        };
        let (kind, ended) = match connection.outcome.and_then(|outcome| outcome.error) {
            Some(errno) => (errno.to_string(), format!("{errno} ({})", errno.text())),
            None => ("pending".to_owned(), "no answer was recorded".to_owned()),
        };
        let text = format!("connect {address}{host}: {ended}");
        (format!("connect {kind}"), Evidence::new(event, time, text))
    }

    fn signs(&self, group: &Group<'_>, met: &HashMap<Errno, usize>) -> Vec<Sign> {
        let candidate = &group.newest;
        let mut signs = Vec::new();
        let is_named = |text: &str| candidate.naming(text) != Naming::No;
        signs.extend(self.complained_of(&is_named));
        let names = match candidate.what {
            What::Call(failure) => {
                self.signs_of_call(failure, &is_named, met, &mut signs);
                let mut names = vec![text_of(&failure.path), text_of(&failure.name)];
                names.dedup();
                names
            }
            What::Connection(connection) => {
                let error = connection.outcome.and_then(|outcome| outcome.error);
                signs.extend(error.and_then(|errno| self.error_in_words(errno)));
                let mut complaints = self.complaints.iter();
                let closes = connection.broken().is_some() && complaints.any(|it| closes(it));
                signs.extend(closes.then_some(Sign::ErrorInWords));
                signs.push(Sign::NeverSucceeded);
                signs.extend((group.times > 1).then_some(Sign::Repeated));
                vec![candidate.label()]
            }
            What::Lookup(lookup) => {
                signs.push(Sign::NeverSucceeded);
                vec![lookup.host.clone()]
            }
        };
        signs.extend(self.named_by(candidate.pid(), candidate.event(), &names));
        signs
    }

    fn signs_of_call(
        &self,
        failure: &Failure,
        is_named: &dyn Fn(&str) -> bool,
        met: &HashMap<Errno, usize>,
        signs: &mut Vec<Sign>,
    ) {
        let errno = failure.errno;
        let only_asks = failure.kind.class() == Class::LooksUp;
        let gives_both = |text: &str| is_named(text) && gives(text, errno);
        match signs[..] {
            [Sign::InEarlierWords] if self.earlier.iter().any(|it| gives_both(it)) => {
                signs.push(Sign::ErrorInEarlierWords);
            }
            [] if !only_asks && self.complaints.iter().any(|it| names_place(it, failure)) => {
                signs.push(Sign::InWords);
            }
            _ => {}
        }
        signs.extend(self.error_in_words(errno));
        if signs.is_empty() && self.has_every_word(failure) {
            signs.push(Sign::WordForWord);
        }
        let is_answer = ANSWERS.contains(&errno);
        if SERIOUS.contains(&errno) {
            signs.push(Sign::Serious);
        } else if !is_answer && met.get(&errno).is_some_and(|&met| met <= MAX_RARE) {
            signs.push(Sign::Rare);
        }
        if is_answer && only_asks {
            signs.push(Sign::OnlyAsked);
        }
        let mut directories = INSTALLED.iter();
        if is_answer && directories.any(|start| failure.path.starts_with(start)) {
            signs.push(Sign::Installed);
        }
    }

    /// Where something that a process tried was named before: on its command line, or in a configuration.
    fn named_by(&self, pid: u32, event: u64, candidates: &[String]) -> Option<Sign> {
        let is_name = |name: &&String| name.len() >= MIN_NAME && name.contains(['/', '.', ':']);
        let mut candidates = candidates.iter().filter(is_name);
        candidates.find_map(|name| {
            let process = self.case.facts.processes.get(pid);
            let exec = process.and_then(|process| process.exec.as_ref());
            let mut arguments = exec.iter().flat_map(|exec| exec.argv.iter().skip(1));
            if arguments.any(|argument| names(&String::from_utf8_lossy(argument), name)) {
                return Some(Sign::InArguments);
            }
            let text = self.case.facts.texts.naming(name, event)?;
            Some(Sign::InText(escaped_to(text, MAX_PATH).to_string()))
        })
    }

    /// Whether the last words, or a line before them, complain of something.
    fn complained_of(&self, is_named: &dyn Fn(&str) -> bool) -> Option<Sign> {
        let any = |sentences: &[&str]| sentences.iter().any(|sentence| is_named(sentence));
        let named = self.case.words.find(is_named);
        if any(&self.complaints) {
            Some(Sign::InWords)
        } else if named.is_some_and(|line| !is_warning(line)) {
            Some(Sign::Mentioned)
        } else {
            any(&self.earlier).then_some(Sign::InEarlierWords)
        }
    }

    /// Whether the last words have every word of the last component of a call's path, which are several words.
    fn has_every_word(&self, failure: &Failure) -> bool {
        let name = String::from_utf8_lossy(basename(&failure.path)).to_lowercase();
        let words = name.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| word.len() >= MIN_WORD).collect();
        let line = self.case.words.complaint();
        let has = |line: &Words| {
            let text = line.said().to_lowercase();
            words.iter().all(|word| names(&text, word))
        };
        words.len() > 1 && line.is_some_and(has)
    }

    /// Whether the last words give an error.
    fn error_in_words(&self, errno: Errno) -> Option<Sign> {
        let mut complaints = self.complaints.iter();
        complaints
            .any(|sentence| gives(sentence, errno))
            .then_some(Sign::ErrorInWords)
    }

    fn children(&self) -> Vec<Trouble> {
        let Some(culprit) = self.case.culprit() else {
            return Vec::new();
        };
        let failed = self.case.facts.failed_last(culprit).into_iter();
        let failed = failed.filter(|child| !self.case.in_chain(child.pid));
        failed.filter_map(|child| self.child(child)).collect()
    }

    fn child(&self, child: &Process) -> Option<Trouble> {
        let exit = child.exit?;
        let lines = child.output.lines();
        let words = LastWords::of(lines.filter(|line| !self.case.facts.is_captured(line)));
        let said = words.headline();
        let ended = format!("{} (pid {}) {}", child.name(), child.pid, how(exit.status));
        let cited = said.map_or_else(String::new, |line| format!("; {}", line.cited()));
        let mut evidence: Vec<Evidence> = said.map(Words::evidence).into_iter().collect();
        evidence.push(Evidence::new(exit.event, exit.time, ended));
        let what = format!("{} {}{cited}", child.name(), how(exit.status));
        let kind = format!("child {:?}", exit.status);
        let mut trouble = Trouble::new(kind, child.name(), what, evidence)?;
        trouble.signs.push(Sign::ChildLast);
        trouble
            .signs
            .extend(words.complaint().map(|_| Sign::ChildComplained));
        if let ExitStatus::Signal { .. } = exit.status {
            trouble.signs.push(Sign::ChildKilled);
        }
        Some(trouble)
    }

    fn configuration(&self) -> Option<Trouble> {
        let read = self.case.facts.config_files.iter().rev().filter(|file| {
            let path = &*file.path;
            self.case.below_chain(file.pid)
                && file.event < self.mark.0
                && !OF_LIBRARIES.contains(&path)
                && !INSTALLED.iter().any(|start| path.starts_with(start))
        });
        let read: Vec<&ConfigFile> = read.collect();
        let named = |file: &ConfigFile| {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            let name = String::from_utf8_lossy(basename(&file.path)).into_owned();
            self.complained_of(&|text| names(text, &path) || names(text, &name))
        };
        let told = read.iter().find(|file| named(file) == Some(Sign::InWords));
        let file = told.or(read.first()).copied()?;
        let path = escaped_to(&file.path, MAX_PATH).to_string();
        let evidence = Evidence::new(file.event, file.time, format!("read {path}"));
        let what = format!("{path} was read");
        let mut trouble = Trouble::new(READ.to_owned(), path, what, vec![evidence])?;
        if read.first().is_some_and(|last| last.event == file.event) {
            trouble.signs.push(Sign::ReadLast);
        }
        trouble.signs.extend(named(file));
        let path = String::from_utf8_lossy(&file.path);
        let name = String::from_utf8_lossy(basename(&file.path));
        trouble.signs.extend(self.named_by(
            file.pid,
            file.event,
            &[path.into_owned(), name.into_owned()],
        ));
        if file.empty {
            trouble.signs.push(Sign::Empty);
        }
        Some(trouble)
    }

    /// Marks what went wrong last.
    fn mark_last(&self, troubles: &mut [Trouble]) {
        let is_weak = |trouble: &Trouble| trouble.signs.contains(&Sign::Installed);
        let before = |trouble: &&mut Trouble| trouble.event < self.mark.0 && !is_weak(trouble);
        if let Some(last) = troubles.iter_mut().rev().find(before) {
            let complains = self.line.is_some_and(|line| {
                let on_stderr = line.stream == Stream::Stderr;
                !says_nothing(line) && (on_stderr || !self.complaints.is_empty())
            });
            last.signs.push(match self.line {
                Some(_) if complains => Sign::LastBeforeComplaint,
                Some(_) => Sign::LastBeforeWords,
                None => Sign::LastOfSilence,
            });
        }
    }

    fn mark_distance(&self, trouble: &mut Trouble) {
        let events = self.mark.0.saturating_sub(trouble.event);
        let near = match self.line {
            Some(_) => NEAR,
            None => NEAR_OF_SILENCE,
        };
        let is_near = self.mark.0 == u64::MAX || events <= near;
        if !is_near || self.mark.1.since(trouble.time) > CLOSE {
            trouble.signs.push(Sign::LongBefore);
        }
    }
}

/// Whether a text names the directory in which a call looked for a file.
fn names_place(text: &str, failure: &Failure) -> bool {
    let path = String::from_utf8_lossy(&failure.path);
    let place = path.rsplit_once('/').map_or("", |(place, _)| place);
    place.matches('/').count() > 1 && names(text, place)
}

/// What was asked in vain, as evidence.
fn of_lookup(lookup: &Lookup) -> Option<Evidence> {
    let host = escaped_to(lookup.host.as_bytes(), MAX_PATH);
    let from: Vec<String> = lookup.servers().iter().map(ToString::to_string).collect();
    let from = from.join(", ");
    let outcome = match lookup.outcome() {
        Outcome::NoSuchName => format!("NXDOMAIN from {from}"),
        Outcome::NoRecords => format!("no address, says {from}"),
        Outcome::ServerFailed(rcode) => format!("{rcode} from {from}"),
        Outcome::NoAnswer if from.is_empty() => "no answer".to_owned(),
        Outcome::NoAnswer => format!("no answer from {from}"),
        Outcome::Resolved => return None,
    };
    let last = lookup.exchanges.last()?;
    let (event, time) = match (&last.answer, last.error) {
        (Some(answer), _) => (answer.event, answer.time),
        (None, Some(error)) => (error.event, error.time),
        (None, None) => last.attempts.last().map(|it| (it.event, it.time))?,
    };
    let text = format!("DNS look-up of {host}: {outcome}");
    Some(Evidence::new(event, time, text))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How often something happened, if several times: ` (3 times)`.
fn repeated(times: u64) -> String {
    match times {
        0 | 1 => String::new(),
        times => format!(" ({times} times)"),
    }
}
