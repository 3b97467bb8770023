//! The events at the beginning of an adopted container's run. They have the flag [`EventFlags::ADOPTED`].

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use capture_format::{BootTime, CgroupId, Event, EventFlags, EventKind as K, FdType, Tid};

use super::{
    Running,
    process::{self, Process, Target},
    sockets::{self, Socket},
};
use crate::recorder::ContainerShape;

/// How many processes are reported. A reader keeps fewer, so it then knows that it does not know all of them.
const MAX_PROCESSES: usize = 2048;
/// How many descriptors are reported, of a process and in all. A descriptor that is not reported remains unknown to the
/// reader.
const MAX_DESCRIPTORS: usize = 512;
const MAX_DESCRIPTORS_IN_ALL: usize = 4096;
/// Bytes of a command name (`TASK_COMM_LEN` of include/linux/sched.h, without NUL).
const COMM_MAX: usize = 15;
/// The part of an open's flags that says whether the file is read or written (`O_ACCMODE`).
const O_ACCMODE: i64 = libc::O_ACCMODE as i64;
const O_WRONLY: i64 = libc::O_WRONLY as i64;
const O_CLOEXEC: i64 = libc::O_CLOEXEC as i64;

/// Makes the events: processes and what they execute, working directories, descriptors, standard streams. At most 2048
/// processes and 4096 descriptors are reported.
///
/// `now` returns the time of all these events, in nanoseconds of CLOCK_BOOTTIME; it is called when the processes have
/// been read. Call this function when the container has its ring: then any process without a fork, here or later in the
/// ring, is known to have come in from outside.
#[must_use]
pub fn preface(
    proc: &Path,
    running: &Running,
    shapes: &[ContainerShape],
    now: impl FnOnce() -> BootTime,
) -> Vec<Event> {
    let processes = read(proc, running, shapes);
    let time = now();
    let mut writer = Writer {
        proc,
        cgroup: running.cgroup,
        time,
        events: Vec::new(),
    };
    // All processes come before any descriptor. Otherwise a child would get copies of its parent's present descriptors.
    let in_order = writer.tree(&processes);
    let open = open(proc, &in_order);
    let wanted: HashSet<u64> = open
        .iter()
        .flat_map(|descriptors| descriptors.iter())
        .filter_map(|descriptor| match descriptor.target {
            Target::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let sockets = sockets::find(&proc.join(running.eldest.to_string()), &wanted);
    for (process, descriptors) in in_order.iter().zip(&open) {
        writer.descriptors(process.pid, descriptors, &sockets);
    }
    writer.events
}

/// Makes events of the processes that had started before a time and are still there, as of that time. What they
/// execute is what they execute now. Nothing is said of their descriptors, which may be others by now.
#[must_use]
pub fn survivors(
    proc: &Path,
    running: &Running,
    shapes: &[ContainerShape],
    time: BootTime,
) -> Vec<Event> {
    let mut processes = read(proc, running, shapes);
    // Times of processes are cut to whole ticks.
    processes.retain(|process| process.start.plus(process::NANOSECONDS_PER_TICK) < time);
    let mut writer = Writer {
        proc,
        cgroup: running.cgroup,
        time,
        events: Vec::new(),
    };
    writer.tree(&processes);
    writer.events
}

/// The processes of a container: the eldest one first, and parents before their children, even if pids have wrapped
/// around.
fn read(proc: &Path, running: &Running, shapes: &[ContainerShape]) -> Vec<Process> {
    let pids = super::pids(&running.directory, shapes).into_iter();
    let read = pids.take(MAX_PROCESSES);
    let mut processes: Vec<Process> = read.filter_map(|pid| Process::read(proc, pid)).collect();
    processes.sort_by_key(|process| (process.pid != running.eldest, process.start, process.pid));
    processes
}

/// An open descriptor.
struct Descriptor {
    number: u32,
    target: Target,
    /// `flags` of open(2).
    flags: i64,
}

fn open(proc: &Path, processes: &[&Process]) -> Vec<Vec<Descriptor>> {
    let mut left = MAX_DESCRIPTORS_IN_ALL;
    let mut all = Vec::new();
    for process in processes {
        let own = proc.join(process.pid.to_string());
        let numbers = process::descriptors(&own, MAX_DESCRIPTORS.min(left));
        left -= numbers.len();
        let open = numbers.into_iter().filter_map(|number| {
            Some(Descriptor {
                number,
                target: Target::read(&own, number)?,
                flags: process::open_flags(&own, number),
            })
        });
        all.push(open.collect());
    }
    all
}

struct Writer<'a> {
    proc: &'a Path,
    cgroup: CgroupId,
    time: BootTime,
    events: Vec<Event>,
}

impl Writer<'_> {
    fn push(&mut self, pid: u32, kind: K, event: Event) {
        self.events.push(Event {
            time: self.time,
            pid,
            tid: Tid::first_of(pid),
            kind,
            flags: event.flags | EventFlags::ADOPTED,
            ..event
        });
    }

    fn folder(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// Writes what each process executes, and a fork if the parent is among the processes. Returns the processes in the
    /// order in which they were written.
    fn tree<'p>(&mut self, processes: &'p [Process]) -> Vec<&'p Process> {
        let pids: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
        let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
        let mut queue = VecDeque::new();
        for process in processes {
            if pids.contains(&process.parent) && process.parent != process.pid {
                children.entry(process.parent).or_default().push(process);
            } else {
                queue.push_back((process, None));
            }
        }
        let mut in_order = Vec::new();
        while let Some((process, of_parent)) = queue.pop_front() {
            let program = Program::read(&self.folder(process.pid), &process.comm);
            if program.path.is_some() && Some(&program) != of_parent.as_ref() {
                self.exec(process, &program);
            }
            for child in children.remove(&process.pid).unwrap_or_default() {
                let fork = Event {
                    ret: child.pid.into(),
                    args: [child.namespace_pid.0.into(), 0, 0],
                    name: process.comm.clone().into(),
                    ..Event::default()
                };
                self.push(process.pid, K::FORK, fork);
                queue.push_back((child, Some(program.clone())));
            }
            in_order.push(process);
        }
        in_order
    }

    fn exec(&mut self, process: &Process, program: &Program) {
        let event = Event {
            flags: if program.is_cut {
                EventFlags::TRUNCATED
            } else {
                EventFlags::default()
            },
            ret: process.pid.into(),
            args: [process.namespace_pid.0.into(), self.cgroup.0 as i64, 0],
            name: program.path.clone().unwrap_or_default().into(),
            data: program.arguments.clone().into(),
            ..Event::default()
        };
        self.push(process.pid, K::EXEC, event);
    }

    fn descriptors(&mut self, pid: u32, open: &[Descriptor], sockets: &HashMap<u64, Socket>) {
        if let Some(directory) = process::directory(&self.folder(pid)) {
            let chdir = Event {
                name: directory.into(),
                ..Event::default()
            };
            self.push(pid, K::CHDIR, chdir);
        }
        for descriptor in open {
            match &descriptor.target {
                Target::File { path, .. } => {
                    let event = Event {
                        ret: descriptor.number.into(),
                        args: [libc::AT_FDCWD.into(), descriptor.flags, 0],
                        name: path.clone().into(),
                        ..Event::default()
                    };
                    self.push(pid, K::OPENAT, event);
                }
                Target::Pipe(inode) => self.pipe(pid, descriptor, *inode, open),
                Target::Socket(inode) => {
                    if let Some(socket) = sockets.get(inode) {
                        self.socket(pid, descriptor, socket, open, sockets);
                    }
                }
                Target::Other => {}
            }
        }
        self.stdio(pid, open);
    }

    /// Writes a pipe when its end with the lower number is reached. Standard streams are written by
    /// [`stdio`](Self::stdio).
    fn pipe(&mut self, pid: u32, descriptor: &Descriptor, inode: u64, open: &[Descriptor]) {
        let is_other_end = |other: &&Descriptor| {
            other.target == Target::Pipe(inode)
                && (other.flags ^ descriptor.flags) & O_ACCMODE != 0
                && other.number > 2
        };
        if descriptor.number <= 2 {
            return;
        }
        let other = open.iter().find(is_other_end);
        if other.is_some_and(|other| other.number < descriptor.number) {
            return;
        }
        let (own, other) = (
            i64::from(descriptor.number),
            i64::from(other.unwrap_or(descriptor).number),
        );
        let [reads, writes] = if descriptor.flags & O_ACCMODE == O_WRONLY {
            [other, own]
        } else {
            [own, other]
        };
        let event = Event {
            args: [reads, writes, descriptor.flags],
            ..Event::default()
        };
        self.push(pid, K::PIPE2, event);
    }

    fn socket(
        &mut self,
        pid: u32,
        descriptor: &Descriptor,
        socket: &Socket,
        open: &[Descriptor],
        sockets: &HashMap<u64, Socket>,
    ) {
        let number = i64::from(descriptor.number);
        let named = |address: &[u8]| Event {
            args: [number, 0, 0],
            fd_type: FdType::SOCKET,
            name: address.to_vec().into(),
            ..Event::default()
        };
        if socket.accepted {
            let event = Event {
                ret: number,
                args: [listener(socket, open, sockets), 0, 0],
                ..named(&socket.peer)
            };
            self.push(pid, K::ACCEPT4, event);
            return;
        }
        let event = Event {
            ret: number,
            args: [
                socket.domain.into(),
                i64::from(socket.kind) | descriptor.flags & O_CLOEXEC,
                0,
            ],
            ..Event::default()
        };
        self.push(pid, K::SOCKET, event);
        if socket.listens {
            self.push(pid, K::LISTEN, named(&socket.local));
        } else if !socket.peer.is_empty() {
            self.push(pid, K::CONNECT, named(&socket.peer));
        } else if !socket.local.is_empty() {
            self.push(pid, K::BIND, named(&socket.local));
        }
    }

    fn stdio(&mut self, pid: u32, open: &[Descriptor]) {
        let mut data = Vec::with_capacity(48);
        for number in 0..3 {
            let target = open
                .iter()
                .find(|descriptor| descriptor.number == number)
                .map(|descriptor| &descriptor.target);
            data.extend(target.map_or(0, Target::inode).to_le_bytes());
            data.extend(target.map_or(0, Target::mode).to_le_bytes());
        }
        // If nothing could be read, it is not known whether they are closed.
        if open.is_empty() {
            return;
        }
        let event = Event {
            data: data.into(),
            ..Event::default()
        };
        self.push(pid, K::STDIO, event);
    }
}

/// The descriptor of the socket that accepted this one; -1 if the process does not have it.
fn listener(accepted: &Socket, open: &[Descriptor], sockets: &HashMap<u64, Socket>) -> i64 {
    let is_listener = |descriptor: &&Descriptor| match descriptor.target {
        Target::Socket(inode) => sockets.get(&inode).is_some_and(|socket| {
            socket.listens && sockets::port(&socket.local) == sockets::port(&accepted.local)
        }),
        _ => false,
    };
    open.iter()
        .find(is_listener)
        .map_or(-1, |descriptor| descriptor.number.into())
}

/// What a process executes.
#[derive(Clone, PartialEq, Eq)]
struct Program {
    path: Option<Vec<u8>>,
    arguments: Vec<u8>,
    is_cut: bool,
}

impl Program {
    /// The path is the first argument if that fits the command name: for a program with many names (busybox), the file
    /// does not say which one.
    fn read(process: &Path, comm: &[u8]) -> Self {
        let (arguments, is_cut) = process::arguments(process);
        let first = arguments
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let base = first
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default();
        let fits = !base.is_empty() && base[..base.len().min(COMM_MAX)] == *comm;
        let executable = process::executable(process);
        Self {
            path: executable.map(|path| if fits { first.to_vec() } else { path }),
            arguments,
            is_cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ID, Tree};
    use super::*;

    fn told(tree: &Tree, pids: &[u32], time: BootTime) -> Vec<Event> {
        let name = format!("docker-{ID}.scope");
        tree.cgroup(&name, pids);
        let running = Running {
            path: format!("/{name}"),
            directory: tree.cgroups().join(&name),
            cgroup: CgroupId(99),
            outermost: CgroupId(99),
            init_pid: pids[0],
            eldest: pids[0],
            start: BootTime(1),
        };
        preface(&tree.proc(), &running, &ContainerShape::runtimes(), || time)
    }

    /// One line an event: kind, pid, ret, name.
    fn lines(events: &[Event]) -> Vec<String> {
        let line = |event: &Event| {
            let name = String::from_utf8_lossy(&event.name);
            let kind = event.kind.name().unwrap();
            format!("{} {kind} {} {name}", event.pid, event.ret)
        };
        events.iter().map(line).collect()
    }

    #[test]
    fn tells_processes_before_descriptors() {
        let tree = Tree::new();
        tree.process(10, 1, &[10, 1], 1)
            .process(11, 10, &[11, 7], 2)
            .process(12, 11, &[12, 8], 3);
        for pid in [10, 11] {
            tree.link(pid, "exe", "/bin/master")
                .file(pid, "cmdline", "master\0-d\0");
        }
        tree.link(12, "exe", "/bin/worker (deleted)")
            .file(12, "cmdline", "worker\0");
        tree.link(10, "cwd", "/srv")
            .descriptor(10, 3, "/etc/app.conf", "02100000");
        let events = told(&tree, &[10, 12, 11], BootTime(77));
        assert_eq!(
            lines(&events),
            [
                "10 exec 10 /bin/master",
                "10 fork 11 a) b",
                "11 fork 12 a) b",
                "12 exec 12 /bin/worker",
                "10 chdir 0 /srv",
                "10 openat 3 /etc/app.conf",
                "10 stdio 0 ",
            ]
        );
        let exec = &events[0];
        assert_eq!(
            (exec.args, &exec.data[..]),
            ([1, 99, 0], &b"master\0-d\0"[..])
        );
        assert_eq!(events[5].args[1], 0o2100000);
        let is_marked =
            |event: &Event| event.flags.contains(EventFlags::ADOPTED) && event.time == BootTime(77);
        assert!(events.iter().all(is_marked));
    }

    #[test]
    fn tells_pipes_sockets_and_standard_streams() {
        let tree = Tree::new();
        tree.process(10, 1, &[10, 1], 1);
        tree.descriptor(10, 0, "/dev/null", "0100000")
            .descriptor(10, 1, "pipe:[500]", "01")
            .descriptor(10, 2, "pipe:[501]", "01")
            .descriptor(10, 3, "socket:[101]", "02004002")
            .descriptor(10, 4, "socket:[102]", "02")
            .descriptor(10, 5, "pipe:[600]", "00")
            .descriptor(10, 6, "pipe:[600]", "01")
            .descriptor(10, 7, "pipe:[601]", "01")
            .descriptor(10, 8, "anon_inode:[eventpoll]", "02");
        tree.file(
            10,
            "net/tcp",
            "heading\n0: 00000000:1F90 00000000:0000 0A 0:0 0:0 0 0 0 101 1\n\
             1: 0A00060A:1F90 0B00060A:C350 01 0:0 0:0 0 0 0 102 1\n",
        );
        let events = told(&tree, &[10], BootTime(77));
        let calls: Vec<(&str, i64, [i64; 3])> = events
            .iter()
            .map(|event| (event.kind.name().unwrap(), event.ret, event.args))
            .collect();
        assert_eq!(
            calls,
            [
                ("openat", 0, [-100, 0o100000, 0]),
                ("socket", 3, [2, 1 | 0o2000000, 0]),
                ("listen", 0, [3, 0, 0]),
                ("accept4", 4, [3, 0, 0]),
                ("pipe2", 0, [5, 6, 0]),
                ("pipe2", 0, [7, 7, 1]),
                ("stdio", 0, [0, 0, 0]),
            ]
        );
        let stdio = &events[6].data;
        assert_eq!(stdio[16..24], 500u64.to_le_bytes());
        assert_eq!(stdio[24..32], 0o010_000u64.to_le_bytes());
    }

    #[test]
    fn a_program_of_many_names_has_that_of_its_command() {
        let tree = Tree::new();
        let named = |arguments: &str, comm: &[u8]| {
            tree.file(10, "cmdline", arguments);
            Program::read(&tree.proc().join("10"), comm).path.unwrap()
        };
        tree.link(10, "exe", "/bin/busybox");
        assert_eq!(named("sleep\x0010\0", b"sleep"), b"sleep");
        assert_eq!(
            named("/bin/a-name-of-many-bytes\0", b"a-name-of-many-"),
            b"/bin/a-name-of-many-bytes"
        );
        assert_eq!(named("worker: idle\0", b"worker"), b"/bin/busybox");
        assert_eq!(named("", b"worker"), b"/bin/busybox");
    }

    #[test]
    fn a_process_with_endless_descriptors_is_cut() {
        let tree = Tree::new();
        tree.process(10, 1, &[10, 1], 1);
        for number in 0..700 {
            tree.descriptor(10, number, "/data", "0");
        }
        let events = told(&tree, &[10], BootTime(1));
        assert_eq!(events.len(), MAX_DESCRIPTORS + 1);
    }

    #[test]
    fn what_has_ended_is_left_out() {
        assert_eq!(told(&Tree::new(), &[10], BootTime(1)), []);
    }
}
