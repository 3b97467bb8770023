//! Facts: what happened in a run, in the terms from which a verdict can be built. Every fact has the numbers of its
//! events.
//!
//! Facts are collected in one pass over the events. Memory is bounded whatever the capture holds: what repeats is
//! counted, and the newest is kept.

use bytes::Bytes;
use capture_format::{
    BootTime, Class, Event, EventFlags, EventKind, ExitStatus, FdType, Losses, OomScope, Run, lane,
};

mod binds;
pub mod config_files;
pub mod connections;
pub mod dns;
pub mod interruptions;
pub mod lookup;
mod noise;
pub mod output;
pub mod process;
pub mod program;
mod recent;
pub mod resolv_conf;
pub mod shell;
pub mod signals;
pub mod texts;

pub(crate) use noise::INSTALLED;
pub use noise::{fails_anyway, is_noise, is_optional};
pub use process::Process;
pub use recent::Recent;

use crate::entity::names;
pub use binds::Bind;
use resolv_conf::ResolvConf;

use events::decode::Errno;
use events::fds::{Fds, Stdio, creates, has_path};
use events::own;

/// How many failed calls are searched for those that a successful open makes good.
const MAX_MADE_GOOD: usize = 256;
/// How many failed calls are kept.
const MAX_FAILURES: usize = 4096;
/// Generations of processes that are followed.
const MAX_DEPTH: usize = 64;
/// If a child dies by a signal and its parent dies by the same signal within this time, it counts as the same signal;
/// later it is another one. 5 s, in nanoseconds.
const SAME_SIGNAL: u64 = 5_000_000_000;
/// How many bound addresses are kept.
const MAX_BINDS: usize = 256;
/// How long a shell may clean up after a child that failed: 5 s, in nanoseconds.
const TIDYING: u64 = 5_000_000_000;
/// Exit codes that tests and `exit 1` in scripts give, too. So if a shell ends with such a code of its child, that
/// proves little.
pub(crate) const COMMON_CODES: std::ops::RangeInclusive<u8> = 0..=2;
/// How many of the pipes that shells read from are kept.
const MAX_CAPTURED: usize = 1024;
/// How many refused locks are kept for which another process of the container has the file open.
const MAX_ALSO_OPEN: usize = 64;
/// How many gaps are kept: a run has one a lane.
const MAX_GAPS: usize = 16;
/// How many OOM kills are kept.
const MAX_OOM_KILLS: usize = 64;

/// A system call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The process.
    pub pid: u32,
    /// The call.
    pub kind: EventKind,
    /// Why the call failed.
    pub errno: Errno,
    /// The path as passed, or the address of bind(2) and listen(2); empty if the call has neither.
    pub name: Bytes,
    /// The path, made absolute if the working directory is known. Of a call on a descriptor it is the path that the
    /// descriptor was opened with.
    pub path: Bytes,
    /// Whether the call should have created what `path` names.
    pub creates: bool,
    /// Whether the same process opened the same path later.
    pub made_good: bool,
    /// Whether the call was a try of a search that went on and succeeded: see [`is_noise`].
    pub found_elsewhere: bool,
}

/// A process that the OOM killer chose, or killed together with the chosen one.
#[derive(Clone, Debug)]
pub struct OomKill {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The victim.
    pub pid: u32,
    /// The victim's command name, if known.
    pub name: Bytes,
    /// Which cgroup had no memory left, if known.
    pub scope: Option<OomScope>,
    /// The memory limit of that cgroup in bytes, if known.
    pub limit: Option<u64>,
}

/// Events of a lane that newer ones overwrote; the lane's first events are there.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Number of the event that says so.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds at which the lane goes on.
    pub time: BootTime,
    /// The lane: one of [`lane`].
    pub lane: Bytes,
    /// How many events.
    pub events: i64,
}

/// What happened in one run.
#[derive(Debug)]
pub struct Facts {
    /// The processes.
    pub processes: process::Processes,
    /// Signals that can end a process.
    pub signals: signals::Signals,
    /// What threads were doing when a signal came.
    pub interruptions: interruptions::Interruptions,
    /// Victims of the OOM killer.
    pub oom_kills: Recent<OomKill>,
    /// Failed calls of the application, except connects.
    pub failures: Recent<Failure>,
    /// Failed calls of visitors, which are processes that the runtime executed in the container besides the
    /// application: see [`Facts::is_visitor`].
    pub visitors_failures: Recent<Failure>,
    /// DNS questions and answers.
    pub dns: dns::Dns,
    /// Connects and their outcomes.
    pub connections: connections::Connections,
    /// Addresses that were bound.
    pub binds: Recent<Bind>,
    /// Configuration files that were read.
    pub config_files: config_files::ConfigFiles,
    /// Texts that were read from configuration.
    pub texts: texts::Texts,
    /// What resolv.conf said when it was last read.
    pub resolv_conf: Option<ResolvConf>,
    /// What was overwritten between the first events and the newest ones.
    pub gaps: Recent<Gap>,
    /// Number of the events.
    pub events: u64,
    /// If the container already ran when the recorder came: the time at which it came, CLOCK_BOOTTIME in nanoseconds.
    pub adopted: Option<BootTime>,
    fds: Fds,
    init: u32,
    /// For each refused lock: the event number, and the process that also has the file open.
    also_open: Recent<(u64, u32)>,
    /// Pipes through which shells read what commands print, by inode number.
    captured: Recent<u64>,
    searches: noise::Searches,
    /// The standard streams of the first process, known once its exec was seen.
    standard: output::Standard,
    losses: Losses,
}

impl Facts {
    /// Facts of a run of which no event was observed yet.
    #[must_use]
    pub fn new(run: &Run) -> Self {
        Self {
            processes: process::Processes::default(),
            signals: signals::Signals::default(),
            interruptions: interruptions::Interruptions::default(),
            oom_kills: Recent::new(MAX_OOM_KILLS),
            failures: Recent::new(MAX_FAILURES),
            visitors_failures: Recent::new(MAX_FAILURES),
            dns: dns::Dns::default(),
            connections: connections::Connections::default(),
            binds: Recent::new(MAX_BINDS),
            config_files: config_files::ConfigFiles::default(),
            texts: texts::Texts::default(),
            resolv_conf: None,
            gaps: Recent::new(MAX_GAPS),
            events: 0,
            adopted: None,
            fds: Fds::default(),
            init: run.init_pid,
            also_open: Recent::new(MAX_ALSO_OPEN),
            captured: Recent::new(MAX_CAPTURED),
            searches: noise::Searches::default(),
            standard: output::Standard::default(),
            losses: run.losses,
        }
    }

    /// Facts of a run with these events; each event comes with its number.
    #[must_use]
    pub fn of<'e>(run: &Run, events: impl IntoIterator<Item = (u64, &'e Event)>) -> Self {
        let mut facts = Self::new(run);
        events
            .into_iter()
            .for_each(|(number, event)| facts.observe(number, event));
        facts
    }

    /// Takes the next event, in the order of the capture.
    pub fn observe(&mut self, number: u64, event: &Event) {
        self.events += 1;
        if event.flags.contains(EventFlags::ADOPTED) {
            self.adopted.get_or_insert(event.time);
        }
        if event.kind == EventKind::GAP {
            self.gap(number, event);
            return;
        }
        let path = if has_path(event.kind) {
            self.fds.path(event)
        } else {
            Bytes::new()
        };
        let fd = self.fds.observe(event);
        if event.kind == EventKind::EXEC {
            self.before_exec(event);
        }
        self.processes.observe(number, event);
        if event.kind == EventKind::EXEC {
            self.found(number, event, &path);
            if event.pid == self.init {
                self.before_forks(event);
            }
        }
        self.processes.went_on(number, event, &path);
        if let Some(process) = self.processes.get_mut(event.pid) {
            shell::observe(process, event, fd.as_ref());
            if event.kind.class() == Class::Opens {
                process.program.opens(event, &path);
            }
        }
        match event.kind {
            EventKind::SIGNAL_GENERATE | EventKind::SIGNAL_DELIVER => {
                self.signals.observe(number, event)
            }
            EventKind::INTERRUPTED => self.interruptions.observe(number, event, fd.as_ref()),
            EventKind::STDIO
                if event.pid == self.init && self.standard == output::Standard::default() =>
            {
                self.standard = output::Standard::of(event);
            }
            EventKind::OOM_KILL => self.oom_kills.push(OomKill {
                event: number,
                time: event.time,
                pid: event.pid,
                name: own(&event.name),
                scope: OomScope::from_code(event.args[0]),
                limit: u64::try_from(event.args[1]).ok().filter(|limit| *limit > 0),
            }),
            _ => {}
        }
        if !event.kind.is_syscall() {
            return;
        }
        if event.kind.class() == Class::Writes
            && let Some(process) = self.processes.get_mut(event.pid)
        {
            let stderr = self.fds.standard(event.pid, Stdio::Stderr);
            process
                .output
                .observe(number, event, fd.as_ref(), stderr, &self.standard);
        }
        if event.kind == EventKind::READ && event.fd_type == FdType::FIFO && event.ret > 0 {
            self.captures(event);
        }
        let is_visitor = self.is_visitor(event.pid);
        let class = event.kind.class();
        if !is_visitor
            && (class.moves_bytes() || class.is_on_socket() || class == Class::CreatesSocket)
        {
            self.dns.observe(number, event, fd.as_ref());
            self.connections.observe(number, event, fd.as_ref());
        }
        if !is_visitor
            && class == Class::Reads
            && fd
                .as_ref()
                .and_then(|fd| fd.path())
                .is_some_and(|path| events::basename(path) == b"resolv.conf")
        {
            self.resolv_conf = ResolvConf::read(self.resolv_conf.take(), number, event);
        }
        if !is_visitor {
            self.config_files.observe(number, event, fd.as_ref());
            self.texts.observe(number, event, fd.as_ref());
            self.binds.extend(Bind::of(number, event));
        }
        if event.ret < 0
            && matches!(event.kind, EventKind::FLOCK | EventKind::FCNTL)
            && let Some(path) = fd.as_ref().and_then(events::fds::Fd::path)
        {
            let other = self.fds.other_with(path, event.pid);
            self.also_open.extend(other.map(|pid| (number, pid)));
        }
        match Errno::from_ret(event.ret) {
            Some(_) if event.kind == EventKind::CONNECT => {}
            Some(errno) => self.failures_of(is_visitor).push(Failure {
                event: number,
                time: event.time,
                pid: event.pid,
                kind: event.kind,
                errno,
                name: own(&event.name),
                path: match fd.as_ref().and_then(events::fds::Fd::path) {
                    Some(of_fd) if path.is_empty() => own(of_fd),
                    _ => own(&path),
                },
                creates: creates(event),
                made_good: false,
                found_elsewhere: false,
            }),
            None if class == Class::Opens => {
                if events::basename(&path) == b"resolv.conf"
                    && let Some(conf) = &mut self.resolv_conf
                {
                    conf.opened_again();
                }
                let earlier = self.failures.iter_mut().rev().take(MAX_MADE_GOOD);
                let same =
                    earlier.filter(|failure| failure.pid == event.pid && failure.path == path);
                same.for_each(|failure| failure.made_good = true);
                self.found(number, event, &path);
            }
            None => {}
        }
    }

    /// Events of a lane are missing between the first ones and those that follow. The container lived on after what
    /// failed before, and may have made it good.
    fn gap(&mut self, number: u64, event: &Event) {
        self.gaps.push(Gap {
            event: number,
            time: event.time,
            lane: own(&event.name),
            events: event.args[0],
        });
        self.fds.observe(event);
        if event.name == lane::LIFE {
            self.processes.gap(number);
        }
        if event.name == lane::NETWORK {
            (self.dns, self.connections) = Default::default();
        }
        if event.name == lane::FAILURES || event.name == lane::FILES {
            let failures = self
                .failures
                .iter_mut()
                .chain(self.visitors_failures.iter_mut());
            failures.for_each(|failure| failure.made_good = true);
            self.searches = noise::Searches::default();
        }
        if event.name == lane::ERRORS || event.name == lane::OUTPUT {
            self.processes.output_gap(event.name == lane::OUTPUT);
        }
    }

    /// Notes that a process opened or executed a file.
    fn found(&mut self, number: u64, event: &Event, path: &[u8]) {
        let process = self.processes.get(event.pid);
        let parent = process.and_then(|process| process.parent);
        let find = noise::Find {
            event: number,
            time: event.time,
            pid: event.pid,
            parent: parent.filter(|_| event.kind == EventKind::EXEC),
            path,
            creates: creates(event),
        };
        let failures = match self.is_visitor(event.pid) {
            true => &mut self.visitors_failures,
            false => &mut self.failures,
        };
        self.searches.found(find, failures);
    }

    /// Notes the pipe that a shell reads. What a command between `$(` and `)` prints is for the shell, and not for
    /// whoever reads the container's stdout.
    fn captures(&mut self, event: &Event) {
        let inode = event.args[1] as u64;
        let is_shell = self.processes.get(event.pid).is_some_and(Process::is_shell);
        let is_known = || self.captured.iter().rev().any(|&other| other == inode);
        if is_shell && inode != 0 && !self.standard.has(inode) && !is_known() {
            self.captured.push(inode);
        }
    }

    /// Whether a line of stdout was printed for a shell of this run, which used it as a value.
    #[must_use]
    pub(crate) fn is_captured(&self, line: &output::Line) -> bool {
        matches!(line.stream, output::Stream::Stdout | output::Stream::Pipe)
            && line.inode != 0
            && self.captured.iter().any(|&inode| inode == line.inode)
    }

    /// The lock on a file was refused at this event: returns another process of the container that had the file open.
    #[must_use]
    pub(crate) fn also_open_at(&self, event: u64) -> Option<u32> {
        let mut all = self.also_open.iter();
        all.find_map(|&(at, pid)| (at == event).then_some(pid))
    }

    fn failures_of(&mut self, visitor: bool) -> &mut Recent<Failure> {
        if visitor {
            &mut self.visitors_failures
        } else {
            &mut self.failures
        }
    }

    /// Notices the point from which on every fork is seen.
    ///
    /// The event by which the container's first process executes its command is in the same lane of the ring as forks.
    /// So no fork after it was overwritten. Of a container that already ran, the recorder lists every process before
    /// the ring's events. If the first process is pid 1 of its pid namespace, it inherits orphans; so every process
    /// that nobody forked has come in from outside. A lost or torn event may have been a fork.
    fn before_forks(&mut self, event: &Event) {
        if self.losses.lost != 0 || self.losses.torn != 0 {
            return;
        }
        if !event.flags.contains(EventFlags::ADOPTED) {
            self.processes.begin(BootTime(0));
        } else if self.losses.overwritten == 0 && event.args[0] == 1 {
            self.processes.begin(event.time);
        }
    }

    /// What the runtime tries before it executes the container's command is not done by the application. If the command
    /// was never executed, the runtime's calls are all that is known.
    fn before_exec(&mut self, event: &Event) {
        if self.init == 0 && event.args[0] == 1 {
            self.init = event.pid;
        }
        let init = match self.init {
            0 => self.processes.first().unwrap_or(event.pid),
            init => init,
        };
        let process = self.processes.get(event.pid);
        let is_first = event.pid == init && process.is_none_or(|process| process.exec.is_none());
        if is_first {
            self.failures = Recent::new(MAX_FAILURES);
        }
    }

    /// Whether this process is a visitor: the runtime executed it in the container besides the application. Visitors
    /// are probes, hooks, a person's `kubectl exec`, and the runtime's own steps.
    #[must_use]
    pub fn is_visitor(&self, pid: u32) -> bool {
        let Some(process) = self
            .processes
            .get(pid)
            .filter(|process| process.is_from_outside())
        else {
            return false;
        };
        let init = self.init().map(|init| init.pid);
        let is_init = |process: &Process| Some(process.pid) == init;
        !is_init(process) && !self.ancestors(process).into_iter().any(is_init)
    }

    /// Numbers of the failed calls that are noise, of the application and of visitors: see [`is_noise`].
    pub fn noise(&self) -> impl Iterator<Item = u64> {
        let failures = self.failures.iter().chain(self.visitors_failures.iter());
        failures
            .filter(|failure| is_noise(failure))
            .map(|failure| failure.event)
    }

    /// The look-ups, in the order of their first questions.
    #[must_use]
    pub fn lookups(&self) -> Vec<lookup::Lookup> {
        lookup::lookups(&self.dns, self.resolv_conf.as_ref())
    }

    /// The container's first process.
    #[must_use]
    pub fn init(&self) -> Option<&Process> {
        let pid = if self.init == 0 {
            self.processes.first()?
        } else {
            self.init
        };
        self.processes.get(pid)
    }

    /// The container's first process, then the child whose end it handed on, and so on down to the process that ended
    /// first. A shell hands on the end of its last command: it exits with the command's code, or with 128 + the signal
    /// that killed the command.
    #[must_use]
    pub fn chain(&self) -> Vec<&Process> {
        let mut chain: Vec<&Process> = self.init().into_iter().collect();
        while let Some(child) = chain.last().and_then(|parent| self.handed_on(parent)) {
            chain.push(child);
        }
        chain
    }

    /// The processes below `process` that failed, and after whose end neither `process` nor any process between them
    /// started anything. So the end of `process` may follow from theirs.
    #[must_use]
    pub(crate) fn failed_last(&self, process: &Process) -> Vec<&Process> {
        let end = process.exit.map_or(u64::MAX, |exit| exit.event);
        let failed = |child: &&Process| {
            let Some(exit) = child.exit.filter(|exit| exit.status != ExitStatus::Code(0)) else {
                return false;
            };
            let above = self.ancestors(child);
            let between = above.iter().take_while(|other| other.pid != process.pid);
            above.iter().any(|other| other.pid == process.pid)
                && exit.event < end
                && !process.went_on_after(exit.event)
                && between
                    .into_iter()
                    .all(|other| !other.went_on_after(exit.event))
        };
        let mut children: Vec<&Process> = self.processes.iter().filter(failed).collect();
        children.sort_by_key(|child| child.exit.map(|exit| exit.event));
        children
    }

    /// The process that started this one, the one that started that, and so on.
    #[must_use]
    pub fn ancestors(&self, process: &Process) -> Vec<&Process> {
        let mut above = Vec::new();
        let mut next = process.parent;
        while let Some(parent) = next.and_then(|pid| self.processes.get(pid)) {
            if above.len() == MAX_DEPTH {
                break;
            }
            above.push(parent);
            next = parent.parent;
        }
        above
    }

    /// The child whose end a process handed on: the child that failed last. If the process is a shell that only cleaned
    /// up after that child, it is the last child with the shell's exit code.
    fn handed_on(&self, parent: &Process) -> Option<&Process> {
        let exit = parent.exit?;
        let children = self
            .processes
            .iter()
            .filter(|child| child.parent == Some(parent.pid));
        let ended = children.filter_map(|child| Some((child, child.exit?)));
        let failed = ended.filter(|(child, end)| {
            end.status != ExitStatus::Code(0)
                && end.event < exit.event
                && hands_on(parent, exit, child, *end)
        });
        let (child, end) = failed.max_by_key(|(_, end)| end.event)?;
        let went_on = parent.went_on_after(end.event);
        (!went_on || tidied_up(parent, exit, end)).then_some(child)
    }
}

/// Whether a process ended as its child did before, in the way in which a shell hands on an end.
fn hands_on(parent: &Process, exit: process::Exit, child: &Process, end: process::Exit) -> bool {
    let lines = parent.output.lines();
    let after = lines.filter(|line| line.event > end.event && line.fate == output::Fate::Written);
    let after: Vec<&output::Line> = after.collect();
    match (exit.status, end.status) {
        (ExitStatus::Code(code), ExitStatus::Code(childs)) => {
            let name = child.name();
            let speaks_of_it = after.iter().any(|line| names(&line.text, &name));
            code == childs && (after.is_empty() || speaks_of_it)
        }
        (ExitStatus::Code(code), ExitStatus::Signal { signal, .. }) => code == 128 + signal,
        (ExitStatus::Signal { signal, .. }, ExitStatus::Signal { signal: childs, .. }) => {
            signal == childs && exit.time.since(end.time) < SAME_SIGNAL
        }
        (ExitStatus::Signal { .. }, ExitStatus::Code(_)) => false,
    }
}

/// Whether a shell started something after its child had failed and still ended because of that failure: it ended right
/// after it, with a code that says so.
fn tidied_up(shell: &Process, exit: process::Exit, end: process::Exit) -> bool {
    let executed = shell.exec.as_ref().map(|exec| exec.event);
    let code = match exit.status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { .. } => return false,
    };
    shell.is_shell()
        && executed < Some(end.event)
        && exit.time.since(end.time) <= TIDYING
        && (shell.script.hands_on || !COMMON_CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script};

    fn facts(s: &Script) -> Facts {
        Facts::of(&s.run, s.numbered())
    }

    #[test]
    fn what_failed_before_a_gap_is_no_last_failure() {
        for lane in [lane::FAILURES, lane::FILES] {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/etc/app.yaml", -2).gap(lane, 900);
            let facts = facts(&s);
            assert!(facts.failures.last().unwrap().made_good, "{lane}");
        }
    }

    #[test]
    fn a_descriptor_means_nothing_after_a_gap() {
        for (lane, expected) in [(lane::CONFIG, "/data/a.db"), (lane::FILES, "")] {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/data/a.db", 3).gap(lane, 900).call(
                INIT,
                EventKind::FLOCK,
                -11,
                [3, 6, 0],
                "",
                "",
            );
            assert_eq!(facts(&s).failures.last().unwrap().path, expected, "{lane}");
        }
    }

    #[test]
    fn the_last_lines_are_those_after_a_gap() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "cannot reach db, will try aga")
            .write(INIT, 1, "ready\n")
            .gap(lane::ERRORS, 900)
            .write(INIT, 2, "in: bye\n");
        let facts = facts(&s);
        let lines = facts.processes.get(INIT).unwrap().output.lines();
        let lines: Vec<&str> = lines.map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["ready", "in: bye"]);
    }
}
