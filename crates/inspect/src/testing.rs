//! Builders of events and messages for tests: they say what the kernel would have recorded.

use std::io::Cursor;

use bytes::Bytes;
use capture_format::{
    Container, Event, EventFlags, EventKind, ExitStatus, FdType, Header, Host, Probe, Reader, Run,
    SignalOrigin, Trigger, Writer,
};

/// Start of every test run: CLOCK_BOOTTIME in nanoseconds.
pub(crate) const START: u64 = 1_000_000_000_000;
/// Host pid of the container's first process in test runs.
pub(crate) const INIT: u32 = 100;

/// A run being written down: each call appends one event, 1 ms after the one before.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) run: Run,
    pub(crate) events: Vec<Event>,
    now: u64,
}

impl Script {
    /// A run whose first process executes `argv`, with pipes as descriptors 0 to 2.
    pub(crate) fn new(argv: &[&str]) -> Self {
        let run = Run {
            number: 1,
            init_pid: INIT,
            start: START,
            ..Run::default()
        };
        let mut script = Self {
            run,
            events: Vec::new(),
            now: START,
        };
        script.exec(INIT, argv);
        script
    }

    /// A run of which nothing is known.
    pub(crate) fn empty() -> Self {
        Self {
            run: Run {
                number: 1,
                start: START,
                ..Run::default()
            },
            events: Vec::new(),
            now: START,
        }
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, milliseconds: u64) -> &mut Self {
        self.now += milliseconds * 1_000_000;
        self
    }

    /// Appends an event; its time is set here.
    pub(crate) fn push(&mut self, event: Event) -> &mut Self {
        self.wait(1);
        self.events.push(Event {
            time: self.now,
            ..event
        });
        self
    }

    /// A call with everything said.
    pub(crate) fn call(
        &mut self,
        pid: u32,
        kind: EventKind,
        ret: i64,
        args: [i64; 3],
        name: impl AsRef<[u8]>,
        data: impl AsRef<[u8]>,
    ) -> &mut Self {
        let fd_type = if (EventKind::CONNECT..=EventKind::RECVMMSG).contains(&kind) {
            FdType::SOCKET
        } else {
            FdType::UNKNOWN
        };
        self.push(Event {
            pid,
            tid: pid,
            kind,
            ret,
            args,
            fd_type,
            name: bytes(name),
            data: bytes(data),
            ..Event::default()
        })
    }

    pub(crate) fn exec(&mut self, pid: u32, argv: &[&str]) -> &mut Self {
        let path = if argv[0].contains('/') {
            argv[0].to_owned()
        } else {
            format!("/usr/bin/{}", argv[0])
        };
        self.call(
            pid,
            EventKind::EXEC,
            i64::from(pid),
            [if pid == INIT { 1 } else { pid.into() }, 7, 0],
            path,
            argv_bytes(argv),
        );
        let stdio: Vec<u8> = [9001u64, 0o010_600, 9002, 0o010_600, 9003, 0o010_600]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        self.call(pid, EventKind::STDIO, 0, [0; 3], "", stdio)
    }

    pub(crate) fn fork(&mut self, parent: u32, child: u32) -> &mut Self {
        self.call(parent, EventKind::FORK, i64::from(child), [0; 3], "", "")
    }

    /// openat(2); `ret` is the descriptor or `-errno`.
    pub(crate) fn open(&mut self, pid: u32, path: &str, ret: i64) -> &mut Self {
        self.call(pid, EventKind::OPENAT, ret, [-100, 0, 0], path, "")
    }

    /// newfstatat(2) that fails.
    pub(crate) fn stat(&mut self, pid: u32, path: &str, errno: i64) -> &mut Self {
        self.call(pid, EventKind::NEWFSTATAT, -errno, [-100, 0, 0], path, "")
    }

    pub(crate) fn close(&mut self, pid: u32, fd: i64) -> &mut Self {
        self.call(pid, EventKind::CLOSE, 0, [fd, 0, 0], "", "")
    }

    pub(crate) fn read(&mut self, pid: u32, fd: i64, name: &str, data: &str) -> &mut Self {
        self.call(
            pid,
            EventKind::READ,
            data.len() as i64,
            [fd, 0, 8192],
            name,
            data,
        )
    }

    pub(crate) fn write(&mut self, pid: u32, fd: i64, data: &str) -> &mut Self {
        self.call(
            pid,
            EventKind::WRITE,
            data.len() as i64,
            [fd, 0, data.len() as i64],
            "",
            data,
        )
    }

    /// A write(2) of which only `data` was recorded, though `whole` bytes went out.
    pub(crate) fn write_cut(&mut self, pid: u32, fd: i64, data: &str, whole: i64) -> &mut Self {
        self.push(Event {
            pid,
            tid: pid,
            kind: EventKind::WRITE,
            ret: whole,
            args: [fd, 0, whole],
            data: bytes(data),
            flags: EventFlags::TRUNCATED,
            ..Event::default()
        })
    }

    pub(crate) fn connect(&mut self, pid: u32, fd: i64, address: &[u8], ret: i64) -> &mut Self {
        self.call(pid, EventKind::CONNECT, ret, [fd, 0, 0], address, "")
    }

    /// socket(2) and connect(2) of a UDP socket to a name server.
    pub(crate) fn resolver_socket(&mut self, pid: u32, fd: i64, server: [u8; 4]) -> &mut Self {
        self.call(pid, EventKind::SOCKET, fd, [2, 2 | 0o2_004_000, 0], "", "");
        self.connect(pid, fd, &inet(server, 53), 0)
    }

    /// A and AAAA by one sendmmsg, as glibc asks.
    pub(crate) fn ask(&mut self, pid: u32, fd: i64, id: u16, name: &str) -> &mut Self {
        for (index, qtype) in [(0, 1), (1, 28)] {
            let query = dns::query(id + index, name, qtype);
            self.call(
                pid,
                EventKind::SENDMMSG,
                query.len() as i64,
                [fd, i64::from(index), query.len() as i64],
                "",
                query,
            );
        }
        self
    }

    /// A response as recvfrom gives it.
    pub(crate) fn reply(
        &mut self,
        pid: u32,
        fd: i64,
        server: [u8; 4],
        message: Vec<u8>,
    ) -> &mut Self {
        self.call(
            pid,
            EventKind::RECVFROM,
            message.len() as i64,
            [fd, 0, 2048],
            inet(server, 53),
            message,
        )
    }

    /// Both responses to [`Script::ask`] with one response code.
    pub(crate) fn replies(
        &mut self,
        pid: u32,
        fd: i64,
        server: [u8; 4],
        id: u16,
        name: &str,
        rcode: u8,
    ) -> &mut Self {
        self.reply(pid, fd, server, dns::response(id, name, 1, rcode));
        self.reply(pid, fd, server, dns::response(id + 1, name, 28, rcode))
    }

    /// A signal that is sent to `target`.
    pub(crate) fn signal(
        &mut self,
        target: u32,
        signal: i64,
        si_code: i64,
        sender: (u32, &str),
        origin: SignalOrigin,
    ) -> &mut Self {
        self.call(
            target,
            EventKind::SIGNAL_GENERATE,
            signal,
            [si_code, i64::from(sender.0), origin as i64],
            sender.1,
            "",
        )
    }

    /// The end of a process: a wait status.
    pub(crate) fn exit_status(&mut self, pid: u32, status: i32) -> &mut Self {
        self.call(pid, EventKind::EXIT, i64::from(status), [0; 3], "", "");
        if pid == self.run.init_pid {
            self.run.end = Some(self.now);
            self.run.status = Some(ExitStatus::from_wait(status));
        }
        self
    }

    pub(crate) fn exit(&mut self, pid: u32, code: i32) -> &mut Self {
        self.exit_status(pid, code << 8)
    }

    /// The events with their numbers, from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, &Event)> {
        (1..).zip(&self.events)
    }
}

fn bytes(from: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(from.as_ref())
}

/// Arguments as an exec event holds them.
pub(crate) fn argv_bytes(argv: &[&str]) -> Vec<u8> {
    argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect()
}

/// `struct sockaddr_in`.
pub(crate) fn inet(address: [u8; 4], port: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend(address);
    bytes.extend([0; 8]);
    bytes
}

/// `struct sockaddr_un`.
pub(crate) fn unix(path: &str) -> Vec<u8> {
    [b"\x01\0", path.as_bytes(), b"\0"].concat()
}

/// DNS messages, byte by byte.
pub(crate) mod dns {
    fn message(id: u16, flags: u16, answers: u16, name: &str, qtype: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [id, flags, 1, answers, 0, 0] {
            bytes.extend(field.to_be_bytes());
        }
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes.extend(qtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
        message(id, 0x0100, 0, name, qtype)
    }

    pub(crate) fn response(id: u16, name: &str, qtype: u16, rcode: u8) -> Vec<u8> {
        message(id, 0x8180 | u16::from(rcode), 0, name, qtype)
    }

    /// A records.
    pub(crate) fn answer(id: u16, name: &str, addresses: &[[u8; 4]]) -> Vec<u8> {
        let mut bytes = message(id, 0x8180, addresses.len() as u16, name, 1);
        for address in addresses {
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
            bytes.extend(address);
        }
        bytes
    }
}

/// The verdict on a script's run.
pub(crate) fn verdict(script: &Script) -> crate::rules::Verdict {
    verdict_with(&header(), script)
}

/// The same in a capture with this header.
pub(crate) fn verdict_with(header: &Header, script: &Script) -> crate::rules::Verdict {
    let facts = crate::facts::Facts::of(&script.run, script.numbered());
    crate::rules::judge(&facts, &script.run, header)
}

/// Debian's nginx whose upstream `flask` does not exist, as strace(1) shows it: the resolver is glibc's.
pub(crate) fn nginx() -> Script {
    const SERVER: [u8; 4] = [10, 96, 0, 10];
    let mut s = Script::new(&["nginx", "-g", "daemon off;"]);
    s.open(INIT, "/var/log/nginx/error.log", 3)
        .open(INIT, "/etc/nginx/nginx.conf", 4);
    s.connect(INIT, 5, &unix("/var/run/nscd/socket"), -2)
        .close(INIT, 5);
    s.open(INIT, "/etc/resolv.conf", 5);
    s.read(INIT, 5, "resolv.conf", "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
    s.read(INIT, 5, "", "").close(INIT, 5);
    let names = [
        "flask.default.svc.cluster.local",
        "flask.svc.cluster.local",
        "flask.cluster.local",
        "flask",
    ];
    for (id, name) in (1000..).step_by(10).zip(names) {
        s.resolver_socket(INIT, 5, SERVER)
            .ask(INIT, 5, id, name)
            .replies(INIT, 5, SERVER, id, name, 3)
            .close(INIT, 5);
    }
    let message = "host not found in upstream \"flask\" in /etc/nginx/nginx.conf:5\n";
    s.write(
        INIT,
        3,
        &format!("2026/11/20 23:36:04 [emerg] 100#100: {message}"),
    );
    s.write(INIT, 2, &format!("nginx: [emerg] {message}"))
        .exit(INIT, 1);
    s
}

/// A capture with these runs, written and opened again.
pub(crate) fn capture(scripts: &[Script]) -> Reader<Cursor<Vec<u8>>> {
    capture_with(&header(), scripts)
}

/// The header of captures that `lastword run` would have written.
pub(crate) fn header() -> Header {
    let host = Host {
        name: "node-1".into(),
        kernel: "6.12.107-cloud-amd64".into(),
        arch: "x86_64".into(),
        clock_offset: 1_795_216_000_000_000_000,
    };
    Header {
        program: "lastword 0.1.0".into(),
        created: 1_795_217_764_000_000_000,
        host,
        container: Container {
            name: "nginx".into(),
            command: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
            ..Container::default()
        },
        trigger: Trigger {
            kind: "run".into(),
            detail: "the command exited 2 times".into(),
        },
        probes: vec![Probe {
            name: "sys_exit".into(),
            attach: "tp_btf".into(),
            reason: "cheapest, and loses nothing here".into(),
        }],
        ..Header::default()
    }
}

/// A capture with this header and these runs.
pub(crate) fn capture_with(header: &Header, scripts: &[Script]) -> Reader<Cursor<Vec<u8>>> {
    Reader::open(Cursor::new(bytes_with(header, scripts))).unwrap()
}

/// The bytes of a capture with these runs.
pub(crate) fn capture_bytes(scripts: &[Script]) -> Vec<u8> {
    bytes_with(&header(), scripts)
}

fn bytes_with(header: &Header, scripts: &[Script]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for (number, script) in (1..).zip(scripts) {
        writer
            .begin_run(&Run {
                number,
                ..script.run.clone()
            })
            .unwrap();
        script
            .events
            .iter()
            .for_each(|event| writer.event(event).unwrap());
        writer.end_run().unwrap();
    }
    writer.finish().unwrap().0
}
