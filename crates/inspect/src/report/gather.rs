//! Gathers what the report shows of a run: its views, and, in one more pass, its facts, the events to list, and the
//! marks of its timeline.
//!
//! Memory is bounded by the limits below, whatever the capture holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{Read, Seek};

use capture_format::{BootTime, Class, Event, EventKind, Host, Reader, RunIndex};

use super::Room;
use super::shown::Shown;
use crate::info::RunInfo;
use crate::show::{Options, text::Printer};
use crate::views::{self, dns::Dns, errors::Errors, files::Files, net::Net, ps::Ps};
use events::context::{Context, Seen};
use events::decode::Errno;
use events::fds::{Fd, is_on_socket};
use verdict::explain::RunVerdict;
use verdict::facts::{Facts, fails_anyway};

/// How many failed events of a run are listed, in addition to the newest events.
const MAX_FAILED: usize = 500;
/// How many marks of a timeline there are, and how many moments of activity between them.
const MAX_MARKS: usize = 2_000;
const MAX_ACTIVITY: usize = 20_000;
/// How many names of processes are kept.
const MAX_NAMES: usize = 1_024;
/// Characters of an event's text, and bytes of a payload in it.
const MAX_WHAT: usize = 600;
const MAX_PAYLOAD: usize = 200;
/// Characters of a mark's label.
const MAX_LABEL: usize = 160;

/// What the report says about a run.
pub(super) struct Gathered {
    /// The run, and how many events it has.
    pub(super) info: RunInfo,
    /// How much of the page its parts may take.
    pub(super) room: Room,
    pub(super) facts: Facts,
    /// The listed events, by number.
    pub(super) events: BTreeMap<u64, Row>,
    /// What is missing from the file in this run.
    pub(super) missing: Vec<Shown>,
    /// The newest marks of the timeline, and when anything else happened.
    pub(super) marks: VecDeque<Mark>,
    pub(super) activity: VecDeque<(BootTime, u32)>,
    pub(super) views: Views,
}

/// Views of the run that are also shown as commands.
pub(super) struct Views {
    pub(super) ps: Ps,
    pub(super) errors: Errors,
    pub(super) files: Files,
    pub(super) dns: Dns,
    pub(super) net: Net,
}

impl Views {
    fn of<R: Read + Seek>(reader: &mut Reader<R>, index: RunIndex) -> Self {
        Self {
            ps: views::ps(reader, index),
            errors: views::errors(reader, index),
            files: views::files(reader, index),
            dns: views::dns(reader, index),
            net: views::net(reader, index),
        }
    }
}

/// One listed event.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) time: Shown,
    pub(super) pid: u32,
    pub(super) process: Shown,
    pub(super) what: Shown,
    pub(super) group: Group,
    pub(super) failed: bool,
    pub(super) cited: bool,
}

/// The topic of an event, for the filter and for marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Process,
    Signal,
    Dns,
    Network,
    Output,
    File,
    Other,
}

impl Group {
    pub(super) const ALL: [Self; 7] = [
        Self::Process,
        Self::Signal,
        Self::Dns,
        Self::Network,
        Self::Output,
        Self::File,
        Self::Other,
    ];

    /// The topic as a word, which the page's script uses, too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Signal => "signal",
            Self::Dns => "dns",
            Self::Network => "network",
            Self::Output => "output",
            Self::File => "file",
            Self::Other => "other",
        }
    }

    fn of(seen: &Seen<'_>) -> Self {
        use EventKind as K;
        let (event, fd) = (seen.event, seen.fd.as_ref());
        match event.kind {
            K::EXEC | K::FORK | K::EXIT | K::STDIO | K::OOM_KILL => Self::Process,
            kind if kind.class() == Class::StartsProcess => Self::Process,
            K::SIGNAL_GENERATE | K::SIGNAL_DELIVER | K::INTERRUPTED | K::KILL => Self::Signal,
            _ if is_on_socket(event, fd) || event.kind == K::SOCKET => {
                let port = fd.and_then(|fd| fd.peer()).and_then(|peer| peer.inet());
                let named = events::decode::SockAddr::parse(&event.name)
                    .filter(|_| event.kind.class().is_on_socket())
                    .and_then(|address| address.inet());
                if port.or(named).is_some_and(|address| address.port() == 53) {
                    Self::Dns
                } else {
                    Self::Network
                }
            }
            kind if kind.class() == Class::Writes && is_output(seen) => Self::Output,
            kind => match kind.class() {
                Class::Opens
                | Class::ChangesDescriptor
                | Class::ChangesDirectory
                | Class::Reads
                | Class::Writes => Self::File,
                _ if events::fds::has_path(kind) => Self::File,
                _ => Self::Other,
            },
        }
    }
}

fn is_output(seen: &Seen<'_>) -> bool {
    let fd = seen.fd.as_ref();
    fd.is_some_and(|fd| fd.stdio.is_some())
        || seen.event.args[0] == 2
        || seen.event.args[0] == 1 && !fd.is_some_and(Fd::is_own_pipe)
        || fd
            .and_then(|fd| fd.path())
            .is_some_and(|path| path.ends_with(b".log"))
}

/// One mark of a timeline.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) event: u64,
    pub(super) time: BootTime,
    pub(super) pid: u32,
    pub(super) shape: Shape,
    pub(super) cited: bool,
    pub(super) label: Shown,
}

/// What a mark means; later variants are drawn above earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Shape {
    /// An event that is evidence and nothing of the following.
    Event,
    Connect,
    Dns,
    Output,
    Exec,
    Failure,
    Signal,
    Exit,
}

impl Shape {
    fn of(seen: &Seen<'_>, group: Group) -> Option<Self> {
        use EventKind as K;
        let event = seen.event;
        match (event.kind, group) {
            (K::EXEC, _) => Some(Self::Exec),
            (K::EXIT | K::OOM_KILL, _) => Some(Self::Exit),
            (K::SIGNAL_GENERATE | K::SIGNAL_DELIVER | K::INTERRUPTED, _) => Some(Self::Signal),
            (K::CONNECT, Group::Network) if is_failure(event) => Some(Self::Failure),
            (K::CONNECT, Group::Network) => Some(Self::Connect),
            (_, Group::Dns) if !event.data.is_empty() => Some(Self::Dns),
            (_, Group::Output) if !is_stdout(seen) => Some(Self::Output),
            _ if is_failure(event) => Some(Self::Failure),
            _ => None,
        }
    }
}

fn is_stdout(seen: &Seen<'_>) -> bool {
    let stdio = seen.fd.as_ref().and_then(|fd| fd.stdio);
    seen.event.args[0] == 1 || stdio == Some(events::fds::Stdio::Stdout)
}

/// Whether a call failed, and not in the way in which such calls fail in nearly every program's life.
fn is_failure(event: &Event) -> bool {
    event.kind.is_syscall()
        && Errno::from_ret(event.ret)
            .is_some_and(|errno| !fails_anyway(event.kind, errno, &event.name))
}

/// Reads the run with this index. The events that are listed are the cited ones, the newest failures, and the last
/// `newest` events.
pub(super) fn gather<R: Read + Seek>(
    reader: &mut Reader<R>,
    index: usize,
    (info, verdict): (&RunInfo, &RunVerdict),
    bounds: (u64, Room),
) -> Gathered {
    let host = reader.header().host.clone();
    let views = Views::of(reader, RunIndex(index));
    let options = Options {
        payload: MAX_PAYLOAD,
        ..Options::default()
    };
    let mut pass = Pass::new(&host, info, verdict, bounds, views, &options);
    for item in reader.events(RunIndex(index)) {
        match item {
            Ok(event) => pass.observe(event.number, &event.event),
            Err(damage) => pass.missing(&damage.to_string()),
        }
    }
    pass.quiet();
    pass.to
}

struct Pass<'a> {
    printer: Printer<'a>,
    context: Context,
    cited: BTreeSet<u64>,
    /// All events from this number on are listed.
    newest_from: u64,
    failed: VecDeque<u64>,
    labels: HashMap<u32, Shown>,
    to: Gathered,
}

impl<'a> Pass<'a> {
    fn new(
        host: &'a Host,
        info: &'a RunInfo,
        verdict: &RunVerdict,
        (newest, room): (u64, Room),
        views: Views,
        options: &'a Options,
    ) -> Self {
        let first = info.first_event.unwrap_or_default();
        let of_leads = verdict.leads.iter().flat_map(|lead| &lead.evidence);
        let evidence = verdict.verdict.evidence.iter().chain(of_leads);
        Self {
            printer: Printer::new(host, &info.run, options),
            context: Context::default(),
            cited: evidence.map(|evidence| evidence.event).collect(),
            newest_from: first + info.events.saturating_sub(newest),
            failed: VecDeque::new(),
            labels: HashMap::new(),
            to: Gathered {
                facts: Facts::new(&info.run),
                info: info.clone(),
                room,
                events: BTreeMap::new(),
                missing: Vec::new(),
                marks: VecDeque::new(),
                activity: VecDeque::new(),
                views,
            },
        }
    }

    fn observe(&mut self, number: u64, event: &Event) {
        self.to.facts.observe(number, event);
        let seen = self.context.observe(number, event);
        let group = Group::of(&seen);
        let (shape, failed) = (Shape::of(&seen, group), is_failure(event));
        let cited = self.cited.contains(&number);
        let listed = cited || failed || number >= self.newest_from;
        let what = (listed || shape.is_some()).then(|| Shown::said(&self.what(&seen), MAX_WHAT));
        push(&mut self.to.activity, (event.time, event.pid), MAX_ACTIVITY);
        if let Some(shape) = shape.or(cited.then_some(Shape::Event)) {
            self.mark(&seen, shape, what.as_ref(), cited);
        }
        if listed && let Some(what) = what {
            self.list(&seen, what, group, failed);
        }
    }

    /// Removes the marks of failed calls that turned out to be noise.
    fn quiet(&mut self) {
        let noise: HashSet<u64> = self.to.facts.noise().collect();
        let is_noise = |mark: &Mark| mark.shape == Shape::Failure && noise.contains(&mark.event);
        self.to.marks.retain(|mark| mark.cited || !is_noise(mark));
    }

    fn what(&mut self, seen: &Seen<'_>) -> String {
        let mut what = String::new();
        self.printer.what(&mut what, seen);
        what
    }

    fn time(&mut self, event: &Event) -> String {
        let mut time = String::new();
        self.printer.time(&mut time, event.time);
        time
    }

    fn mark(&mut self, seen: &Seen<'_>, shape: Shape, what: Option<&Shown>, cited: bool) {
        let what = what.map(Shown::as_str).unwrap_or_default();
        let time = self.time(seen.event);
        let label = format!("#{} {time} {}: {what}", seen.number, seen.program.label);
        let mark = Mark {
            event: seen.number,
            time: seen.event.time,
            pid: seen.event.pid,
            shape,
            cited,
            label: Shown::said(&label, MAX_LABEL),
        };
        push(&mut self.to.marks, mark, MAX_MARKS);
    }

    fn list(&mut self, seen: &Seen<'_>, what: Shown, group: Group, failed: bool) {
        let cited = self.cited.contains(&seen.number);
        let row = Row {
            number: seen.number,
            time: Shown::said(&self.time(seen.event), MAX_LABEL),
            pid: seen.event.pid,
            process: self.process(seen),
            what,
            group,
            failed,
            cited,
        };
        self.to.events.insert(seen.number, row);
        if failed && !cited && seen.number < self.newest_from {
            self.failed.push_back(seen.number);
            if self.failed.len() > MAX_FAILED
                && let Some(oldest) = self.failed.pop_front()
            {
                self.to.events.remove(&oldest);
            }
        }
    }

    /// The process's name; if this event does not have it, the name from an earlier event of the same process.
    fn process(&mut self, seen: &Seen<'_>) -> Shown {
        if self.labels.len() > MAX_NAMES {
            self.labels.clear();
        }
        if seen.program.label.is_empty() {
            return self
                .labels
                .get(&seen.event.pid)
                .cloned()
                .unwrap_or_default();
        }
        let label = Shown::said(&seen.program.label, MAX_LABEL);
        self.labels.insert(seen.event.pid, label.clone());
        label
    }

    fn missing(&mut self, what: &str) {
        if self.to.missing.len() < MAX_FAILED {
            self.to.missing.push(Shown::said(what, MAX_LABEL * 2));
        }
    }
}

fn push<T>(to: &mut VecDeque<T>, item: T, limit: usize) {
    if to.len() == limit {
        to.pop_front();
    }
    to.push_back(item);
}
