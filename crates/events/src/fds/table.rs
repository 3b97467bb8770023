//! The table of descriptors, and how each kind of event changes it.

use bytes::Bytes;
use capture_format::{Event, EventKind, FdType, lane};
use foldhash::HashMap;

use super::{Fd, NameRole, Stdio, Target, changes, has_descriptor, name_role, starts_at_fd};
use crate::decode::interrupted::Socket;
use crate::decode::open_flags::O_CLOEXEC;
use crate::decode::{Interrupted, SockAddr};
use crate::own;

/// How many descriptors of all processes together are followed; one with a long path counts as several ([`weight`]). If
/// there are more, the whole table is dropped, so that a capture cannot make its reader allocate without limit. A
/// container's ring holds a hundredth of this.
const MAX_DESCRIPTORS: usize = 1 << 18;
/// How many bytes of a path are kept: PATH_MAX. A recorder's names are shorter, but relative directories can be entered
/// one after another.
const MAX_PATH: usize = 4096;
/// How many working directories, and how many empty tables, are kept.
const MAX_PROCESSES: usize = 1 << 16;
const AT_FDCWD: i64 = -100;
const F_DUPFD_CLOEXEC: i64 = 1030;
const CLOSE_RANGE_CLOEXEC: i64 = 4;

#[derive(Clone, Debug, Default)]
struct Process {
    fds: HashMap<i64, Fd>,
    cwd: Option<Bytes>,
}

/// The descriptors of every process of a run.
#[derive(Clone, Debug, Default)]
pub struct Fds {
    processes: HashMap<u32, Process>,
    descriptors: usize,
}

/// With the address that an interrupted call's socket has by itself: a connect that was interrupted was never recorded.
fn with_address(mut fd: Fd, event: &Event) -> Fd {
    let socket = Interrupted::of(event).and_then(|interrupted| interrupted.socket);
    if let (Target::Socket { local, peer, .. }, Some(socket)) = (&mut fd.target, socket) {
        match socket {
            Socket::Peer(address) => *peer = Some(address),
            Socket::Own(address) => *local = Some(address),
        }
    }
    fd
}

impl Fds {
    /// Takes the next event of the run. Returns what the event's descriptor referred to when the event happened.
    pub fn observe(&mut self, event: &Event) -> Option<Fd> {
        let fd = has_descriptor(event).then(|| self.resolve(event)).flatten();
        self.apply(event, fd.as_ref());
        fd
    }

    /// `name` of the event as an absolute path if the table knows the directory, else as it was passed; then it shares
    /// memory with the event.
    #[must_use]
    pub fn path(&self, event: &Event) -> Bytes {
        self.joined(event).unwrap_or_else(|| event.name.clone())
    }

    /// Like [`path`](Self::path), but it shares no memory with the event, so it may be kept.
    fn own_path(&self, event: &Event) -> Bytes {
        let passed = || own(&event.name[..event.name.len().min(MAX_PATH)]);
        self.joined(event).unwrap_or_else(passed)
    }

    /// A relative `name` of the event, joined to the directory from which it starts, if the table knows that directory.
    fn joined(&self, event: &Event) -> Option<Bytes> {
        if event.name.starts_with(b"/") || event.name.is_empty() {
            return None;
        }
        let process = self.processes.get(&event.pid)?;
        let base = if starts_at_fd(event.kind) && event.args[0] != AT_FDCWD {
            process.fds.get(&event.args[0]).and_then(Fd::path)
        } else {
            process.cwd.as_ref()
        };
        let fits = |base: &&Bytes| base.len() + event.name.len() < MAX_PATH;
        let base = base.filter(|base| base.starts_with(b"/")).filter(fits)?;
        Some(join(base, &event.name))
    }

    /// Another process that has a file open now; if there are several, the one with the lowest pid.
    #[must_use]
    pub fn other_with(&self, path: &Bytes, pid: u32) -> Option<u32> {
        let has = |process: &Process| process.fds.values().any(|fd| fd.path() == Some(path));
        let others = self.processes.iter().filter(|(other, _)| **other != pid);
        others
            .filter(|(_, process)| has(process))
            .map(|(other, _)| *other)
            .min()
    }

    /// What a standard descriptor of a process refers to now, if known.
    #[must_use]
    pub fn standard(&self, pid: u32, stdio: Stdio) -> Option<&Fd> {
        self.processes.get(&pid)?.fds.get(&stdio.number())
    }

    /// The working directory of a process, if known.
    #[must_use]
    pub fn cwd(&self, pid: u32) -> Option<&Bytes> {
        self.processes.get(&pid)?.cwd.as_ref()
    }

    fn resolve(&self, event: &Event) -> Option<Fd> {
        let known = self
            .processes
            .get(&event.pid)
            .and_then(|process| process.fds.get(&event.args[0]));
        if let Some(fd) = known.filter(|fd| fd.agrees_with(event.fd_type)) {
            return Some(with_address(fd.clone(), event));
        }
        let has_name = name_role(event) == NameRole::File;
        let target = match event.fd_type {
            FdType::SOCKET => Target::Socket {
                domain: None,
                stype: None,
                local: None,
                peer: None,
                serves: false,
            },
            FdType::FIFO => Target::Pipe,
            _ if has_name && !event.name.is_empty() => Target::Name(event.name.clone()),
            FdType::UNKNOWN => return None,
            other => Target::Inherited(other),
        };
        let fd = Fd {
            target,
            stdio: known.and_then(|fd| fd.stdio),
            cloexec: false,
        };
        Some(with_address(fd, event))
    }

    fn apply(&mut self, event: &Event, fd: Option<&Fd>) {
        use EventKind as K;
        let (pid, [first, second, third], ret) = (event.pid, event.args, event.ret);
        if !changes(event.kind) || event.kind.is_syscall() && ret < 0 && event.kind != K::CONNECT {
            return;
        }
        match event.kind {
            K::FORK => self.fork(pid, ret as u32),
            K::EXIT => self.forget(pid),
            K::EXEC => self.retain(pid, |_, fd| !fd.cloexec),
            K::STDIO => self.stdio(pid, &event.data),
            K::GAP if event.name == lane::FILES || event.name == lane::LIFE => self.gap(),
            K::OPEN | K::OPENAT | K::OPENAT2 | K::CREAT => {
                let cloexec = event.kind != K::CREAT && second & O_CLOEXEC != 0;
                let path = self.own_path(event);
                self.insert(pid, ret, Fd::new(Target::Path(path), cloexec));
            }
            K::CLOSE => self.remove(pid, first),
            K::CLOSE_RANGE if third & CLOSE_RANGE_CLOEXEC != 0 => {
                let in_range = |number: &i64| (first..=range_end(second)).contains(number);
                let fds = self
                    .processes
                    .get_mut(&pid)
                    .into_iter()
                    .flat_map(|process| &mut process.fds);
                fds.filter(|(number, _)| in_range(number))
                    .for_each(|(_, fd)| fd.cloexec = true);
            }
            K::CLOSE_RANGE => self.retain(pid, |number, _| {
                !(first..=range_end(second)).contains(&number)
            }),
            K::DUP | K::DUP2 | K::DUP3 | K::FCNTL => self.dup(event, fd),
            K::PIPE | K::PIPE2 => {
                let cloexec = event.kind == K::PIPE2 && third & O_CLOEXEC != 0;
                self.insert(pid, first, Fd::new(Target::Pipe, cloexec));
                self.insert(pid, second, Fd::new(Target::Pipe, cloexec));
            }
            K::CHDIR => {
                let path = self.own_path(event);
                self.chdir(pid, path.starts_with(b"/").then_some(path));
            }
            K::FCHDIR => self.chdir(
                pid,
                fd.and_then(Fd::path)
                    .filter(|path| path.starts_with(b"/"))
                    .cloned(),
            ),
            K::SOCKET => {
                let target = Target::Socket {
                    domain: u16::try_from(first).ok(),
                    stype: Some((second & 0xf) as u8),
                    local: None,
                    peer: None,
                    serves: false,
                };
                self.insert(pid, ret, Fd::new(target, second & O_CLOEXEC != 0));
            }
            K::ACCEPT | K::ACCEPT4 => {
                let listening = fd.map(|fd| &fd.target);
                let (domain, stype, local) = match listening.cloned() {
                    Some(Target::Socket {
                        domain,
                        stype,
                        local,
                        ..
                    }) => (domain, stype, local),
                    _ => (None, None, None),
                };
                let target = Target::Socket {
                    domain,
                    stype,
                    local,
                    peer: SockAddr::parse(&event.name),
                    serves: true,
                };
                self.insert(pid, ret, Fd::new(target, false));
            }
            K::CONNECT | K::BIND | K::LISTEN => self.name_socket(event, fd),
            _ => {}
        }
    }

    /// Handles connect and bind, which give a socket its addresses; a connect to AF_UNSPEC removes the peer.
    fn name_socket(&mut self, event: &Event, fd: Option<&Fd>) {
        let Some(address) = SockAddr::parse(&event.name) else {
            return;
        };
        let mut fd = fd.cloned().unwrap_or(Fd::new(
            Target::Socket {
                domain: None,
                stype: None,
                local: None,
                peer: None,
                serves: false,
            },
            false,
        ));
        let Target::Socket {
            local,
            peer,
            serves,
            ..
        } = &mut fd.target
        else {
            return;
        };
        *serves |= event.kind == EventKind::LISTEN;
        match event.kind {
            EventKind::CONNECT => *peer = (address != SockAddr::Other(0)).then_some(address),
            _ => *local = Some(address),
        }
        self.insert(event.pid, event.args[0], fd);
    }

    fn dup(&mut self, event: &Event, fd: Option<&Fd>) {
        let cloexec = match event.kind {
            EventKind::DUP3 => event.args[2] & O_CLOEXEC != 0,
            EventKind::FCNTL => event.args[1] == F_DUPFD_CLOEXEC,
            _ => false,
        };
        if event.ret == event.args[0] {
            return;
        }
        match fd {
            Some(fd) => self.insert(
                event.pid,
                event.ret,
                Fd {
                    cloexec,
                    ..fd.clone()
                },
            ),
            None => self.remove(event.pid, event.ret),
        }
    }

    /// Descriptors 0 to 2 at exec: what the event says replaces what the table has. What a process writes into a pipe
    /// that the run itself made is for another process of the run, so it is no standard output.
    fn stdio(&mut self, pid: u32, data: &[u8]) {
        for (number, entry) in (0..).zip(data.chunks_exact(16).take(3)) {
            let Some((_, mode)) = entry.split_first_chunk::<8>() else {
                continue;
            };
            let mode = mode
                .first_chunk::<8>()
                .map_or(0, |mode| u64::from_le_bytes(*mode));
            if mode == 0 {
                self.remove(pid, number);
                continue;
            }
            let found = FdType((mode >> 12 & 0xf) as u8);
            let known = self
                .processes
                .get(&pid)
                .and_then(|process| process.fds.get(&number));
            let known = known.filter(|fd| fd.agrees_with(found));
            let stdio = Stdio::of(number);
            let is_piped = stdio == Some(Stdio::Stdout) && known.is_some_and(Fd::is_own_pipe);
            let target = match known {
                Some(fd) => fd.target.clone(),
                None => Target::Inherited(found),
            };
            self.insert(
                pid,
                number,
                Fd {
                    target,
                    stdio: stdio.filter(|_| !is_piped),
                    cloexec: false,
                },
            );
        }
    }

    fn fork(&mut self, parent: u32, child: u32) {
        let Some(process) = self.processes.get(&parent).cloned() else {
            return;
        };
        self.forget(child);
        self.descriptors += weight_of_all(&process);
        self.processes.insert(child, process);
        self.stay_bounded();
    }

    fn insert(&mut self, pid: u32, number: i64, fd: Fd) {
        self.descriptors += weight(&fd);
        let before = self
            .processes
            .entry(pid)
            .or_default()
            .fds
            .insert(number, fd);
        self.descriptors -= before.as_ref().map_or(0, weight);
        self.stay_bounded();
    }

    fn chdir(&mut self, pid: u32, cwd: Option<Bytes>) {
        self.processes.entry(pid).or_default().cwd = cwd;
        self.stay_bounded();
    }

    fn retain(&mut self, pid: u32, keep: impl Fn(i64, &Fd) -> bool) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let before = weight_of_all(process);
        process.fds.retain(|&number, fd| keep(number, fd));
        self.descriptors -= before - weight_of_all(process);
    }

    fn remove(&mut self, pid: u32, number: i64) {
        let removed = self
            .processes
            .get_mut(&pid)
            .and_then(|process| process.fds.remove(&number));
        self.descriptors -= removed.as_ref().map_or(0, weight);
    }

    /// Events that change descriptors are missing: only standard descriptors are still believed to be what they were.
    fn gap(&mut self) {
        for process in self.processes.values_mut() {
            process.fds.retain(|_, fd| fd.stdio.is_some());
            process.cwd = None;
        }
        self.descriptors = self.processes.values().map(weight_of_all).sum();
    }

    fn forget(&mut self, pid: u32) {
        self.descriptors -= self
            .processes
            .remove(&pid)
            .as_ref()
            .map_or(0, weight_of_all);
    }

    fn stay_bounded(&mut self) {
        if self.descriptors > MAX_DESCRIPTORS || self.processes.len() > MAX_PROCESSES {
            *self = Self::default();
        }
    }
}

/// How many descriptors a descriptor counts as.
fn weight(fd: &Fd) -> usize {
    1 + fd.path().map_or(0, |path| path.len() / 256)
}

fn weight_of_all(process: &Process) -> usize {
    process.fds.values().map(weight).sum()
}

/// close_range's last descriptor is unsigned: ~0U means all.
fn range_end(last: i64) -> i64 {
    if last < 0 { i64::MAX } else { last }
}

fn join(base: &[u8], path: &[u8]) -> Bytes {
    let separator: &[u8] = if base.ends_with(b"/") { b"" } else { b"/" };
    Bytes::from([base, separator, path.strip_prefix(b"./").unwrap_or(path)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture_format::EventKind as K;
    use fixtures::{INIT, Script, inet};

    /// What the descriptor of a read by `pid` at the end of the script refers to.
    fn resolve(script: &mut Script, pid: u32, fd: i64) -> Option<String> {
        let mut fds = Fds::default();
        script.read(pid, fd, "", "");
        script
            .events
            .iter()
            .map(|event| fds.observe(event))
            .last()
            .flatten()
            .map(|fd| fd.to_string())
    }

    fn script() -> Script {
        Script::new(&["sh"])
    }

    #[test]
    fn an_open_names_its_descriptor_until_close() {
        let mut s = script();
        s.open(INIT, "/etc/a", 3);
        assert_eq!(resolve(&mut s, INIT, 3).as_deref(), Some("/etc/a"));
        s.close(INIT, 3);
        assert_eq!(resolve(&mut s, INIT, 3), None);
    }

    #[test]
    fn what_goes_into_a_pipe_of_the_run_is_no_standard_output() {
        let mut s = script();
        s.call(INIT, K::PIPE, 0, [3, 4, 0], "", "")
            .fork(INIT, 200)
            .call(200, K::DUP2, 1, [4, 0, 0], "", "");
        assert_eq!(resolve(&mut s.clone(), 200, 1).as_deref(), Some("pipe"));
        s.exec(200, &["grep"]);
        assert_eq!(resolve(&mut s.clone(), 200, 1).as_deref(), Some("pipe"));
        assert_eq!(resolve(&mut s.clone(), 200, 2).as_deref(), Some("stderr"));
        assert_eq!(resolve(&mut s, INIT, 1).as_deref(), Some("stdout"));
    }

    #[test]
    fn a_failed_open_names_nothing() {
        let mut s = script();
        s.open(INIT, "/etc/a", -2);
        assert_eq!(resolve(&mut s, INIT, -2), None);
    }

    #[test]
    fn fork_copies_and_exec_closes_what_is_marked() {
        let mut s = script();
        s.open(INIT, "/kept", 3)
            .call(INIT, K::OPENAT, 4, [-100, O_CLOEXEC, 0], "/closed", "");
        s.fork(INIT, 200).close(INIT, 3);
        assert_eq!(resolve(&mut s, 200, 4).as_deref(), Some("/closed"));
        s.exec(200, &["cat"]);
        assert_eq!(resolve(&mut s, 200, 3).as_deref(), Some("/kept"));
        assert_eq!(resolve(&mut s, 200, 4), None);
        assert_eq!(resolve(&mut s, INIT, 4).as_deref(), Some("/closed"));
    }

    #[test]
    fn dups_follow_and_close_range_ends_them() {
        let mut s = script();
        s.call(INIT, K::DUP2, 7, [2, 0, 0], "", "");
        assert_eq!(resolve(&mut s, INIT, 7).as_deref(), Some("stderr"));
        s.open(INIT, "/log", 3)
            .call(INIT, K::DUP2, 2, [3, 0, 0], "", "");
        assert_eq!(resolve(&mut s, INIT, 2).as_deref(), Some("/log"));
        s.call(INIT, K::CLOSE_RANGE, 0, [3, 0xffff_ffff, 0], "", "");
        assert_eq!(resolve(&mut s, INIT, 7), None);
        assert_eq!(resolve(&mut s, INIT, 2).as_deref(), Some("/log"));
    }

    #[test]
    fn relative_paths_become_absolute_only_where_the_directory_is_known() {
        let mut s = script();
        s.open(INIT, "app.conf", 3);
        assert_eq!(resolve(&mut s, INIT, 3).as_deref(), Some("app.conf"));
        s.call(INIT, K::CHDIR, 0, [0; 3], "/srv", "")
            .open(INIT, "app.conf", 3);
        assert_eq!(resolve(&mut s, INIT, 3).as_deref(), Some("/srv/app.conf"));
        s.open(INIT, "/data", 4)
            .call(INIT, K::OPENAT, 5, [4, 0, 0], "x", "");
        assert_eq!(resolve(&mut s, INIT, 5).as_deref(), Some("/data/x"));
        s.call(INIT, K::OPENAT, 6, [99, 0, 0], "x", "");
        assert_eq!(resolve(&mut s, INIT, 6).as_deref(), Some("x"));
    }

    #[test]
    fn sockets_get_their_peer() {
        let mut s = script();
        s.resolver_socket(INIT, 5, [10, 96, 0, 10]);
        assert_eq!(
            resolve(&mut s, INIT, 5).as_deref(),
            Some("AF_INET to 10.96.0.10:53")
        );
        s.call(INIT, K::ACCEPT4, 6, [5, 0, 0], inet([10, 0, 0, 1], 999), "");
        assert_eq!(
            resolve(&mut s, INIT, 6).as_deref(),
            Some("AF_INET to 10.0.0.1:999")
        );
    }

    #[test]
    fn what_the_probe_saw_overrules_a_table_that_missed_a_close() {
        let mut s = script();
        s.open(INIT, "/etc/a", 3);
        let mut fds = Fds::default();
        s.events.iter().for_each(|event| drop(fds.observe(event)));
        let socket = Event {
            pid: INIT,
            kind: K::WRITE,
            args: [3, 0, 1],
            fd_type: FdType::SOCKET,
            ..Event::default()
        };
        assert_eq!(fds.observe(&socket).unwrap().to_string(), "socket");
    }

    #[test]
    fn a_name_without_its_open_says_that_the_directory_is_unknown() {
        let mut s = script();
        s.read(INIT, 9, "resolv.conf", "");
        let mut fds = Fds::default();
        let last = s
            .events
            .iter()
            .map(|event| fds.observe(event))
            .last()
            .flatten();
        assert_eq!(last.unwrap().to_string(), "…/resolv.conf");
    }

    #[test]
    fn endless_forks_do_not_grow_the_table_without_end() {
        let mut fds = Fds::default();
        let mut s = script();
        for fd in 3..1003 {
            s.open(INIT, "/x", fd);
        }
        s.events.iter().for_each(|event| drop(fds.observe(event)));
        for child in 1000..3000 {
            fds.observe(&Event {
                pid: INIT,
                kind: K::FORK,
                ret: child,
                ..Event::default()
            });
            assert!(fds.descriptors <= MAX_DESCRIPTORS);
            let counted: usize = fds
                .processes
                .values()
                .map(|process| process.fds.len())
                .sum();
            assert_eq!(counted, fds.descriptors);
        }
    }

    /// A string is stored once in a block, however many events name it.
    #[test]
    fn long_paths_do_not_grow_the_table_without_end() {
        let mut fds = Fds::default();
        let name = Bytes::from(["/", &"x".repeat(1 << 20)].concat());
        let event = |kind, ret, args, name: &Bytes| Event {
            pid: INIT,
            kind,
            ret,
            args,
            name: name.clone(),
            ..Event::default()
        };
        for number in 3..40_000 {
            fds.observe(&event(K::OPENAT, number, [AT_FDCWD, 0, 0], &name));
        }
        let kept = |fds: &Fds| -> usize {
            let all = fds.processes.values().flat_map(|it| it.fds.values());
            all.filter_map(Fd::path).map(Bytes::len).sum()
        };
        assert!((1..=64 << 20).contains(&kept(&fds)), "{}", kept(&fds));
        // A directory that is entered again and again does not make it grow either.
        fds.observe(&event(K::CHDIR, 0, [0; 3], &Bytes::from_static(b"/")));
        for _ in 0..10_000 {
            fds.observe(&event(K::CHDIR, 0, [0; 3], &Bytes::from_static(b"a")));
            assert!(fds.cwd(INIT).is_none_or(|cwd| cwd.len() <= MAX_PATH));
        }
    }
}
