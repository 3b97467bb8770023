//! Candidates: what went wrong in a run and may be why the run ended. A failed call, a connection that was not made, and
//! a look-up without an address have one shape here, so that the last words can be compared with all of them.
//!
//! What was made good later is no candidate: a file that was found in the end, a connection to the same address that
//! succeeded, a name that was resolved, a process that could be started after all.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use capture_format::{BootTime, EventKind};
use events::basename;
use events::decode::{Errno, SockAddr};
use events::escape::escaped_to;

use crate::entity::{names, places};
use crate::facts::Failure;
use crate::facts::connections::Connection;
use crate::facts::lookup::{Lookup, Outcome};
use crate::rules::Case;
use crate::rules::phrase::{said, says};
use crate::symptom::{self, Calls, Symptom, is_of_processes, tried};

/// The last component of a path must be at least this long to be looked for without its directory. It must also have an
/// extension, since a mere word is not a file name.
const MIN_NAME: usize = 4;
/// How many words may be between what was tried and a path.
const MAX_BETWEEN: usize = 4;

/// What went wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    /// A failed call.
    Call(&'a Failure),
    /// A connection that was not made, or not yet.
    Connection(&'a Connection),
    /// A look-up without an address.
    Lookup(&'a Lookup),
}

/// Something that went wrong, and how.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) what: What<'a>,
    pub(crate) symptom: &'static Symptom,
    lookups: &'a [Lookup],
    /// The path of a call, if it has one.
    path: Option<Rc<Path>>,
}

/// A path as text: absolute, as it was passed, and its last component.
#[derive(Debug)]
struct Path {
    path: String,
    name: String,
    last: String,
}

/// How well a text names what a candidate is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Naming {
    /// Not at all.
    No,
    /// By a part of its name: the last component of a path, a host without the port, the name of the call.
    Part,
    /// By its whole name.
    Whole,
}

/// Everything that went wrong in a run and was not made good, the earliest first within each kind.
pub(crate) fn candidates<'a>(case: &Case<'a>, lookups: &'a [Lookup]) -> Vec<Candidate<'a>> {
    let candidate = |what, symptom, path| Candidate {
        what,
        symptom,
        lookups,
        path,
    };
    let failures = case.facts.failures.iter();
    let calls = failures.filter(|failure| {
        !failure.made_good && case.below_chain(failure.pid) && !is_tried_again(case, failure)
    });
    let calls = calls.flat_map(|failure| {
        let path = Path::of(failure).map(Rc::new);
        symptom::of_call(failure)
            .map(move |symptom| candidate(What::Call(failure), symptom, path.clone()))
    });
    let connections = case.facts.connections.iter().filter_map(|connection| {
        let (calls, error) = went_wrong(connection)?;
        let mut symptoms = symptom::all().iter();
        let symptom = symptoms.find(|symptom| {
            symptom.calls == calls && error.is_none_or(|error| symptom.is_error(error))
        })?;
        let stands = case.below_chain(connection.pid) && !is_connected_later(case, connection);
        stands.then(|| candidate(What::Connection(connection), symptom, None))
    });
    let unresolved = lookups.iter().filter(|lookup| {
        case.below_chain(lookup.pid)
            && lookup.outcome() != Outcome::Resolved
            && !is_resolved_later(lookups, lookup)
    });
    let of_names = symptom::all()
        .iter()
        .find(|symptom| symptom.calls == Calls::Lookups);
    let unresolved =
        unresolved.filter_map(|lookup| Some(candidate(What::Lookup(lookup), of_names?, None)));
    calls.chain(connections).chain(unresolved).collect()
}

/// Of what went wrong again and again in the same way, the newest: the last words are about that one.
pub(crate) fn newest_of_each(all: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    let mut seen = HashSet::new();
    let mut newest: Vec<Candidate<'_>> = all
        .into_iter()
        .rev()
        .filter(|one| {
            let path = one.path.as_ref().map(|path| path.path.clone());
            let is_call = matches!(one.what, What::Call(_));
            path.is_none_or(|path| {
                !is_call || seen.insert((one.pid(), std::ptr::from_ref(one.symptom), path))
            })
        })
        .collect();
    newest.reverse();
    newest
}

/// The program was asked to try again, and then a process could be started.
fn is_tried_again(case: &Case<'_>, failure: &Failure) -> bool {
    let mut processes = case.facts.processes.iter();
    is_of_processes(failure.kind)
        && processes.any(|process| {
            let start = process.start.as_ref();
            process.parent == Some(failure.pid)
                && start.is_some_and(|start| start.event > failure.event)
        })
}

/// What went wrong with a connection, and the error if there was one.
fn went_wrong(connection: &Connection) -> Option<(Calls, Option<Errno>)> {
    match (connection.outcome, connection.broken()) {
        (_, Some(broken)) => Some((Calls::Closes, broken.error)),
        (Some(outcome), None) => Some((Calls::Connects, Some(outcome.error?))),
        // Nobody has answered yet: a program that gives up now has waited in vain.
        (None, None) => Some((Calls::Connects, Some(Errno::ETIMEDOUT))),
    }
}

/// Whether a later connection to the same address was made, and not broken as well.
fn is_connected_later(case: &Case<'_>, connection: &Connection) -> bool {
    let connections = case.facts.connections.iter();
    let mut later = connections
        .filter(|later| later.event > connection.event && later.address == connection.address);
    later.any(|later| went_wrong(later).is_none())
}

fn is_resolved_later(lookups: &[Lookup], lookup: &Lookup) -> bool {
    let mut later = lookups
        .iter()
        .filter(|other| other.last_event() > lookup.last_event());
    later.any(|other| {
        other.outcome() == Outcome::Resolved && other.host.eq_ignore_ascii_case(&lookup.host)
    })
}

impl<'a> Candidate<'a> {
    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        match self.what {
            What::Call(failure) => failure.pid,
            What::Connection(connection) => connection.pid,
            What::Lookup(lookup) => lookup.pid,
        }
    }

    /// Number of the event from which on words can be about it.
    pub(crate) fn event(&self) -> u64 {
        match self.what {
            What::Call(failure) => failure.event,
            What::Connection(connection) => {
                let broken = connection.broken();
                broken.map_or(connection.event, |broken| broken.event)
            }
            What::Lookup(lookup) => {
                let exchanges = lookup.exchanges.iter();
                let asked = exchanges.filter_map(|exchange| exchange.attempts.first());
                asked.map(|attempt| attempt.event).min().unwrap_or_default()
            }
        }
    }

    /// When the program learned of it; `None` if it was still waiting.
    pub(crate) fn learned(&self) -> Option<BootTime> {
        match self.what {
            What::Call(failure) => Some(failure.time),
            What::Connection(connection) => {
                let known = connection.broken().or(connection.outcome);
                known.map(|outcome| outcome.time)
            }
            What::Lookup(lookup) => {
                let exchanges = lookup.exchanges.iter();
                let asked = exchanges.filter_map(|exchange| exchange.attempts.last());
                asked.map(|attempt| attempt.time).max()
            }
        }
    }

    /// Whether the program was still waiting when it gave up.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.what, What::Connection(connection) if connection.outcome.is_none())
    }

    /// What it is about, escaped: a path, an address, a host; empty if it is about nothing that has a name.
    pub(crate) fn label(&self) -> String {
        match self.what {
            What::Call(failure) => label(failure),
            What::Connection(connection) => connection.address.to_string(),
            What::Lookup(lookup) => escaped_to(lookup.host.as_bytes(), 200).to_string(),
        }
    }

    /// Whether a text has what each way to name the candidate has: a quick check before the others.
    pub(crate) fn may_be_named(&self, text: &str) -> bool {
        self.path
            .as_ref()
            .is_none_or(|path| text.contains(&path.last))
    }

    /// How well a text names what the candidate is about.
    pub(crate) fn naming(&self, text: &str) -> Naming {
        match self.what {
            What::Call(failure) => match &self.path {
                Some(path) => path.naming(text, failure),
                None => naming_of_call(text, failure),
            },
            What::Connection(connection) => naming_of_connection(text, connection, self.lookups),
            What::Lookup(lookup) if is_host_named(text, lookup) => Naming::Whole,
            What::Lookup(_) => Naming::No,
        }
    }

    /// How well a sentence names the candidate, if it also says that this went wrong.
    pub(crate) fn told_by(&self, sentence: &str) -> Naming {
        let naming = self.naming(sentence);
        if naming == Naming::No {
            return Naming::No;
        }
        let whole = naming == Naming::Whole;
        let told = match self.what {
            What::Call(_) => match &self.path {
                Some(path) => {
                    let rest = path.removed_from(sentence);
                    let beside =
                        || is_beside(sentence, &path.places(sentence), &self.symptom.beside);
                    self.symptom.is_said(&rest)
                        || whole && beside() && !self.symptom.is_contradicted(&rest)
                }
                None => self.symptom.is_said(sentence),
            },
            // `localhost is refused here` is not about a connection, but `localhost:80 is refused` is.
            What::Connection(_) => {
                self.symptom.is_said(sentence)
                    || says(sentence, &tried().connection)
                    || whole && says(sentence, &self.symptom.with)
            }
            What::Lookup(_) => self.symptom.is_said(sentence),
        };
        if told { naming } else { Naming::No }
    }

    /// Whether a text says that something like this went wrong, whatever it names.
    pub(crate) fn is_spoken_of(&self, text: &str) -> bool {
        let connects = || {
            says(text, &tried().connection)
                || says(text, &self.symptom.with)
                || self.is_pending() && says(text, &tried().waiting)
        };
        self.symptom.is_said(text)
            || match self.what {
                What::Call(_) => false,
                What::Connection(_) => connects(),
                What::Lookup(_) => says(text, &tried().name),
            }
    }

    /// Whether it is a look-up after which its process looked up nothing else.
    pub(crate) fn is_last_lookup(&self) -> bool {
        let What::Lookup(lookup) = self.what else {
            return false;
        };
        let mut of_process = self.lookups.iter().filter(|other| other.pid == lookup.pid);
        of_process.all(|other| other.last_event() <= lookup.last_event())
    }

    /// Whether the process did nothing but close descriptors between this and its end.
    pub(crate) fn is_last_act(&self, case: &Case<'_>) -> bool {
        let culprit = case.culprit().filter(|culprit| culprit.pid == self.pid());
        let Some(last) = culprit.and_then(|culprit| culprit.last_call) else {
            return false;
        };
        match self.what {
            What::Call(failure) => last == failure.event && self.symptom.ends_in_silence(failure),
            What::Connection(connection) => {
                let known = connection.broken().or(connection.outcome);
                known.is_some_and(|outcome| last <= outcome.event)
            }
            What::Lookup(lookup) => {
                let exchanges = &lookup.exchanges;
                let asked_again = || exchanges.iter().any(|one| one.attempts.len() > 1);
                (lookup.outcome() != Outcome::NoAnswer || asked_again())
                    && last <= lookup.last_event()
            }
        }
    }
}

/// Path or address of a call, escaped; empty if it has neither.
pub(crate) fn label(failure: &Failure) -> String {
    match address(failure) {
        Some(address) => address.to_string(),
        None => escaped_to(&failure.path, 300).to_string(),
    }
}

/// The address of bind(2) or listen(2).
pub(crate) fn address(failure: &Failure) -> Option<SockAddr> {
    let binds = matches!(failure.kind, EventKind::BIND | EventKind::LISTEN);
    SockAddr::parse(&failure.name)
        .filter(|_| binds)
        .map(SockAddr::canonical)
}

impl Path {
    /// The path of a call, if it has one.
    fn of(failure: &Failure) -> Option<Self> {
        let is_path = failure.path.len() > 1 && address(failure).is_none();
        is_path.then(|| {
            let [path, name] = [&failure.path, &failure.name]
                .map(|path| String::from_utf8_lossy(path).into_owned());
            let last = String::from_utf8_lossy(basename(path.as_bytes())).into_owned();
            Self { path, name, last }
        })
    }

    fn naming(&self, text: &str, failure: &Failure) -> Naming {
        // Each way to name the path has its last component. This check saves the others for most texts.
        if !text.contains(&self.last) {
            return Naming::No;
        }
        if !self.places(text).is_empty() {
            return Naming::Whole;
        }
        let last = &*self.last;
        let is_name = last.len() >= MIN_NAME && last.contains('.');
        // As perror(3) writes it: `settings: No such file or directory`, whatever the name is.
        let by_perror = || text.trim() == format!("{last}: {}", failure.errno.text());
        match is_name && names(text, last) || !last.is_empty() && by_perror() {
            true => Naming::Part,
            false => Naming::No,
        }
    }

    /// Where a text names the path: absolute, as it was passed, or by its end, as programs name files relative to a
    /// directory of theirs (`vendor/autoload.php`).
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut all: Vec<_> = [&self.path, &self.name]
            .into_iter()
            .filter(|path| path.len() > 1)
            .flat_map(|path| places(text, path))
            .collect();
        if all.is_empty() {
            all.extend(place_of_end(text, &self.path));
        }
        all
    }

    /// A sentence without the path: words of the path are not what the program says (`missing.conf`).
    fn removed_from(&self, sentence: &str) -> String {
        let rest = sentence.replace(&self.path, "/");
        match self.name.is_empty() {
            true => rest,
            false => rest.replace(&self.name, "/"),
        }
    }
}

/// How a text names a call that has no path.
fn naming_of_call(text: &str, failure: &Failure) -> Naming {
    if is_of_processes(failure.kind) {
        return whole_if(says(text, &tried().process));
    }
    if let Some(address) = address(failure) {
        return match address.inet() {
            Some(address) if names_port(text, address.port()) => Naming::Whole,
            Some(address) if names(text, &address.ip().to_string()) => Naming::Part,
            Some(_) => Naming::No,
            None => whole_if(names(text, &address.to_string())),
        };
    }
    let call = failure.kind.name().unwrap_or_default();
    match names(text, call) {
        true => Naming::Part,
        false => Naming::No,
    }
}

fn whole_if(is_named: bool) -> Naming {
    if is_named { Naming::Whole } else { Naming::No }
}

fn place_of_end(text: &str, path: &str) -> Option<Range<usize>> {
    let is_separator =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | ':' | ',');
    let mut next = 0;
    let mut words = text.split_inclusive(is_separator).map(|word| {
        let at = next;
        next += word.len();
        (at, word.trim_end_matches(is_separator))
    });
    words.find_map(|(at, word)| {
        let rest = word.strip_prefix("./").unwrap_or(word);
        let is_end = rest.contains('/')
            && !rest.starts_with(['/', '.'])
            && path
                .strip_suffix(rest)
                .is_some_and(|start| start.ends_with('/'));
        is_end.then(|| at..at + word.len())
    })
}

/// Whether a sentence says right beside a path what is wrong with the path, or what was tried with it in vain:
/// `/etc/app.conf is missing`, `cannot open the file /etc/app.conf`; but not `/etc/app.conf: missing port` or `cannot
/// find user bob in /etc/users`.
fn is_beside(sentence: &str, paths: &[Range<usize>], beside: &[String]) -> bool {
    let words_of = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect()
    };
    let joins = |text: &str| {
        words_of(text)
            .iter()
            .all(|word| tried().between.contains(word))
    };
    let leads_there = |text: &str| {
        let words = words_of(text);
        words.len() <= MAX_BETWEEN && !words.iter().any(|word| tried().leads_away.contains(word))
    };
    // `missing privilege separation directory: /run/sshd`
    let calls_it = |text: &str| {
        let words = words_of(text);
        leads_there(text)
            && words
                .last()
                .is_none_or(|word| tried().between.contains(word))
    };
    let each = |phrases: &[String], leads: &dyn Fn(&str) -> bool| {
        said(sentence, phrases).any(|word| {
            let rest = sentence[word.end..].trim_start();
            let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '"' | '\''));
            paths.iter().any(|path| {
                path.end <= word.start && ends && joins(&sentence[path.end..word.start])
                    || word.end <= path.start && leads(&sentence[word.end..path.start])
            })
        })
    };
    each(beside, &calls_it) || each(&tried().path, &leads_there)
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

/// How a text names a connection's other end: by its address, by a host name for which DNS gave that address, or by the
/// path of a Unix socket. A text that names another port does not count.
fn naming_of_connection(text: &str, connection: &Connection, lookups: &[Lookup]) -> Naming {
    let Some(address) = connection.address.inet() else {
        return whole_if(names(text, &connection.address.to_string()));
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
        Some(_) => Naming::Whole,
        None if names(text, &host) => Naming::Part,
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

fn is_host_named(text: &str, lookup: &Lookup) -> bool {
    let lower = text.to_lowercase();
    let says = |name: &str| names(&lower, &name.to_lowercase());
    says(&lookup.host) || lookup.names().into_iter().any(says) || is_head_named(text, lookup)
}

/// If the search list was not seen, the host of the look-up is the expanded name. The name that the program gave is
/// then its beginning.
fn is_head_named(text: &str, lookup: &Lookup) -> bool {
    let quoted = |head: &str| {
        [('"', '"'), ('\'', '\''), (' ', ':'), ('@', ':')]
            .iter()
            .any(|(a, b)| text.contains(&format!("{a}{head}{b}")))
    };
    lookup
        .host
        .match_indices('.')
        .any(|(dot, _)| quoted(&lookup.host[..dot]))
}
