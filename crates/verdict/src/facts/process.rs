//! Processes of a run: who started whom, what they executed, how they ended.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use capture_format::{BootTime, Event, EventKind, ExitStatus};

use super::output::Output;
use super::program::Program;
use super::shell::{Script, is_many};
use crate::runtimes;
use events::basename;
use events::escape::escaped;
use events::own;

/// How many processes are kept. If there are more, those that ended first are dropped.
const MAX_PROCESSES: usize = 1024;

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// The process that forked this one, if seen.
    pub parent: Option<u32>,
    /// The fork that made this process, if seen.
    pub start: Option<Start>,
    /// The last successful exec, if seen.
    pub exec: Option<Exec>,
    /// Command name while no exec was seen: the parent's name, or the name with which the process ended.
    comm: Bytes,
    /// Its pid in its own pid namespace; 0 if unknown.
    namespace_pid: i64,
    /// Whether forks and ends were overwritten after this process was seen, so that a later event with its pid may be of
    /// another process.
    before_gap: bool,
    /// Whether the process or an ancestor of it came into the container's cgroup from outside: nobody in the container
    /// forked it.
    came_in: bool,
    /// How the process ended.
    pub exit: Option<Exit>,
    /// Number of the last fork that the process made.
    pub last_fork: Option<u64>,
    /// Number of the last event that is neither a close nor the exit.
    pub last_call: Option<u64>,
    /// Number of the last event that began something new: a file opened for reading, a connection, a process.
    pub last_work: Option<u64>,
    /// What is known of the script, if the process is a shell.
    pub script: Script,
    /// What the process executed and loaded, by which the catalogue of messages knows it.
    pub program: Program,
    /// What the process printed.
    pub output: Output,
}

/// The beginning of a process.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Number of the fork.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
}

/// A successful exec.
#[derive(Clone, Debug)]
pub struct Exec {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The file as passed to execve(2).
    pub path: Bytes,
    /// Arguments.
    pub argv: Vec<Bytes>,
}

/// The end of a process.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// How.
    pub status: ExitStatus,
}

impl Process {
    fn new(pid: u32) -> Self {
        Self {
            pid,
            parent: None,
            start: None,
            exec: None,
            comm: Bytes::new(),
            namespace_pid: 0,
            before_gap: false,
            came_in: false,
            exit: None,
            last_fork: None,
            last_call: None,
            last_work: None,
            script: Script::default(),
            program: Program::default(),
            output: Output::default(),
        }
    }

    /// Whether the process belongs to a container runtime or came in from outside, or descends from such a process, as
    /// far as was seen.
    pub(super) fn is_from_outside(&self) -> bool {
        self.came_in || runtimes::is_runtime(&self.comm)
    }

    /// Whether the process started a process or executed something after this event.
    #[must_use]
    pub(crate) fn went_on_after(&self, event: u64) -> bool {
        let executed = self.exec.as_ref().map(|exec| exec.event);
        self.last_fork.max(executed) > Some(event)
    }

    /// Name for people, escaped: the last component of the executed file, else the command name, else the pid. A
    /// program that executes itself again, as busybox does for each of its commands, has the name by which it calls
    /// itself. Busybox itself has the name of the command that it is to be.
    #[must_use]
    pub fn name(&self) -> String {
        let path = match &self.exec {
            Some(exec) if *exec.path == *b"/proc/self/exe" => {
                exec.argv.first().unwrap_or(&exec.path)
            }
            Some(exec) => &exec.path,
            None => &self.comm,
        };
        let exec = self.exec.as_ref();
        let itself = exec.and_then(|exec| exec.applet().filter(|_| is_many(path)));
        match itself.map_or(basename(path), |(applet, _)| applet) {
            b"" => format!("process {}", self.pid),
            name => escaped(name).to_string(),
        }
    }
}

/// The processes of a run.
#[derive(Debug, Default)]
pub struct Processes {
    by_pid: HashMap<u32, Process>,
    ended: VecDeque<u32>,
    first: Option<u32>,
    /// From this time on every fork is seen: see [`Processes::begin`].
    sees_forks: Option<BootTime>,
}

impl Processes {
    /// The process with this id.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.by_pid.get(&pid)
    }

    /// All processes that are kept, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.by_pid.values()
    }

    /// The process that the earliest event with a process id names.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.first
    }

    /// Declares that no fork is missing among the events of this time or later, in nanoseconds of CLOCK_BOOTTIME.
    pub(super) fn begin(&mut self, time: BootTime) {
        self.sees_forks = Some(time);
    }

    pub(super) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.by_pid.get_mut(&pid)
    }

    /// Notes that events of processes' lives are missing before this one. Whoever lived may have started others.
    pub(super) fn gap(&mut self, number: u64) {
        self.sees_forks = None;
        for process in self.by_pid.values_mut() {
            process.before_gap = true;
            if process.exit.is_none() {
                let last = [
                    &mut process.last_fork,
                    &mut process.last_call,
                    &mut process.last_work,
                ];
                last.into_iter().for_each(|last| *last = Some(number));
            }
        }
    }

    /// Notes that output of all processes is missing before the next event: stdout, or what is written elsewhere.
    pub(super) fn output_gap(&mut self, of_stdout: bool) {
        for process in self.by_pid.values_mut() {
            process.output.gap(of_stdout);
        }
    }

    /// Forgets a process from before a gap whose pid another process has now, as the event shows.
    fn replace_if_reused(&mut self, event: &Event) {
        let has_ended = |process: &Process| process.exit.is_some();
        let is_named = matches!(event.kind, EventKind::EXEC | EventKind::EXIT);
        let is_other = |process: &Process| {
            is_named && process.namespace_pid != 0 && process.namespace_pid != event.args[0]
        };
        let is_reused = self
            .by_pid
            .get(&event.pid)
            .is_some_and(|process| process.before_gap && (has_ended(process) || is_other(process)));
        if is_reused {
            self.by_pid.remove(&event.pid);
        }
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event) {
        self.replace_if_reused(event);
        let is_new = !self.by_pid.contains_key(&event.pid);
        let came_in = is_new && self.sees_forks.is_some_and(|since| since <= event.time);
        let Some(process) = self.entry(event.pid) else {
            return;
        };
        process.came_in |= came_in;
        match event.kind {
            EventKind::EXEC => {
                let argv = event.data.split(|&b| b == 0).map(own);
                let mut argv: Vec<Bytes> = argv.collect();
                argv.pop_if(|last| last.is_empty());
                let exec = Exec {
                    event: number,
                    time: event.time,
                    path: own(&event.name),
                    argv,
                };
                process.namespace_pid = event.args[0];
                process.program = Program::of(&exec, std::mem::take(&mut process.program));
                process.exec = Some(exec);
            }
            EventKind::FORK => {
                process.last_fork = Some(number);
                if process.exec.is_none() && process.comm.is_empty() {
                    process.comm = own(&event.name);
                }
                let (parent, exec, comm) =
                    (process.pid, process.exec.clone(), process.comm.clone());
                let came_in = process.came_in;
                let (script, program) = (process.script.clone(), process.program.clone());
                let child = event.ret as u32;
                self.by_pid.remove(&child);
                if let Some(child) = self.entry(child) {
                    (child.parent, child.exec, child.comm) = (Some(parent), exec, comm);
                    child.came_in = came_in;
                    child.namespace_pid = event.args[0];
                    (child.script, child.program) = (script, program);
                    child.start = Some(Start {
                        event: number,
                        time: event.time,
                    });
                } else {
                    self.sees_forks = None;
                }
                return;
            }
            EventKind::EXIT => {
                process.output.end();
                if process.exec.is_none() {
                    process.comm = own(&event.name);
                }
                let status = ExitStatus::from_wait(event.ret as i32);
                process.exit = Some(Exit {
                    event: number,
                    time: event.time,
                    status,
                });
                self.ended.push_back(event.pid);
                if self.ended.len() > 2 * MAX_PROCESSES {
                    self.ended.pop_front();
                }
                return;
            }
            // Programs try with a duplicate of stdout whether it can be flushed.
            EventKind::DUP
            | EventKind::CLOSE
            | EventKind::CLOSE_RANGE
            | EventKind::SIGNAL_GENERATE
            | EventKind::SIGNAL_DELIVER
            | EventKind::INTERRUPTED => return,
            _ => {}
        }
        process.last_call = Some(number);
    }

    /// Notes the event if it begins something new; `path` is what it opened.
    pub(super) fn went_on(&mut self, number: u64, event: &Event, path: &[u8]) {
        use EventKind as K;
        let begins = match event.kind {
            K::FORK | K::EXEC => true,
            K::CONNECT | K::LISTEN | K::ACCEPT | K::ACCEPT4 => event.ret >= 0,
            K::OPEN | K::OPENAT | K::OPENAT2 => {
                event.ret >= 0 && is_read_only(event) && !is_incidental(path)
            }
            _ => false,
        };
        if begins && let Some(process) = self.by_pid.get_mut(&event.pid) {
            process.last_work = Some(number);
        }
    }

    fn entry(&mut self, pid: u32) -> Option<&mut Process> {
        self.first.get_or_insert(pid);
        if !self.by_pid.contains_key(&pid) {
            while self.by_pid.len() >= MAX_PROCESSES {
                let oldest = self.ended.pop_front()?;
                if Some(oldest) != self.first {
                    self.by_pid.remove(&oldest);
                }
            }
        }
        Some(self.by_pid.entry(pid).or_insert_with(|| Process::new(pid)))
    }
}

/// Whether an open is for reading only: `O_ACCMODE` of open(2) is the same on every architecture.
fn is_read_only(event: &Event) -> bool {
    event.args[1] & 0o3 == 0
}

/// Files that programs open while they exit, or to report that they failed: libraries, translations, their own source.
fn is_incidental(path: &[u8]) -> bool {
    const BEGINNINGS: &[&[u8]] = &[
        b"/proc/",
        b"/sys/",
        b"/dev/",
        b"/usr/",
        b"/lib",
        b"/etc/ld.so",
        b"/etc/localtime",
    ];
    const ENDINGS: &[&[u8]] = &[
        b".py", b".pyc", b".js", b".rb", b".pl", b".php", b".so", b".mo",
    ];
    BEGINNINGS.iter().any(|start| path.starts_with(start))
        || ENDINGS.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script};
    use capture_format::lane;

    #[test]
    fn forks_make_a_tree_and_exec_gives_names() {
        let mut s = Script::new(&["/bin/sh", "-c", "x"]);
        s.fork(INIT, 200)
            .fork(INIT, 201)
            .exec(200, &["python3", "app.py"])
            .exit(200, 3);
        let mut processes = Processes::default();
        s.numbered()
            .for_each(|(number, event)| processes.observe(number, event));
        let (python, sh) = (processes.get(200).unwrap(), processes.get(201).unwrap());
        assert_eq!(
            (python.name().as_str(), python.parent),
            ("python3", Some(INIT))
        );
        assert_eq!(python.exec.as_ref().unwrap().argv, ["python3", "app.py"]);
        assert_eq!(python.exit.unwrap().status, ExitStatus::Code(3));
        assert_eq!(sh.name(), "sh");
    }

    #[test]
    fn a_command_of_busybox_has_its_name() {
        let mut s = Script::new(&["/bin/sh"]);
        s.call(
            INIT,
            EventKind::EXEC,
            100,
            [1, 7, 0],
            "/proc/self/exe",
            "nc\0-w\0",
        );
        let mut processes = Processes::default();
        s.numbered()
            .for_each(|(number, event)| processes.observe(number, event));
        assert_eq!(processes.get(INIT).unwrap().name(), "nc");
    }

    #[test]
    fn after_a_gap_a_pid_may_be_anothers() {
        let mut s = Script::new(&["/bin/sh"]);
        s.fork(INIT, 200)
            .exec(200, &["app"])
            .fork(INIT, 201)
            .exec(201, &["probe"])
            .exit(201, 1)
            .gap(lane::LIFE, 900);
        let same = |pid: u32, namespace_pid: i64, expected: Option<&str>| {
            let mut s = s.clone();
            s.call(pid, EventKind::EXIT, 256, [namespace_pid, 0, 0], "x", "");
            let mut processes = Processes::default();
            for (number, event) in s.numbered() {
                match event.kind {
                    EventKind::GAP => processes.gap(number),
                    _ => processes.observe(number, event),
                }
            }
            let process = processes.get(pid).unwrap();
            let name = process.exec.as_ref().map(|_| process.name());
            assert_eq!(name.as_deref(), expected);
            let init = processes.get(INIT).unwrap();
            assert!(init.went_on_after(9), "it may have started others");
        };
        same(200, 200, Some("app"));
        same(200, 77, None);
        same(201, 201, None);
    }

    #[test]
    fn a_fork_bomb_does_not_grow_the_table() {
        let mut processes = Processes::default();
        let mut event = Event {
            pid: INIT,
            kind: EventKind::FORK,
            ..Event::default()
        };
        for pid in 1000..5000 {
            processes.observe(
                1,
                &Event {
                    ret: pid,
                    pid: INIT,
                    kind: EventKind::FORK,
                    ..Event::default()
                },
            );
            event = Event {
                pid: pid as u32,
                kind: EventKind::EXIT,
                ..event
            };
            processes.observe(1, &event);
        }
        assert!(processes.by_pid.len() <= MAX_PROCESSES);
        assert!(processes.get(INIT).is_some() && processes.get(4999).is_some());
    }
}
