//! Made-up captures that look like recorded ones: a server that cannot start, a script that fails, a busy server.

use std::path::Path;

use bytes::Bytes;
use capture_format::{BootTime, Event, EventKind, FdType, Header, Run, Tid, write_file};

use crate::Capture;

pub(crate) fn captures() -> Vec<Capture> {
    vec![
        capture("nginx without upstream", 3, nginx),
        capture("failing script", 3, script),
        capture("busy server", 3, busy),
        capture("chatty logger", 1, chatty),
    ]
}

/// Most events of a run that [`make`] makes, so that no single run is most of the capture.
const MOST: usize = 30_000;

/// Writes a capture with this many events: the runs of all captures, repeated.
pub(crate) fn make(events: usize, path: &Path) -> crate::Result<()> {
    let captures = captures();
    let mut header = captures.first().ok_or("no captures")?.header.clone();
    header.host.arch = "x86_64".into();
    header.host.clock_offset = 1_700_000_000_000_000_000;
    let runs = captures.iter().flat_map(|capture| &capture.runs).cycle();
    write_file(path, &header, |writer| {
        let mut left = events;
        for (number, (run, events)) in (1..).zip(runs) {
            if left == 0 {
                break;
            }
            writer.begin_run(&Run {
                number,
                ..run.clone()
            })?;
            let events = &events[..events.len().min(MOST).min(left)];
            events.iter().try_for_each(|event| writer.event(event))?;
            left -= events.len();
        }
        Ok(())
    })?;
    Ok(())
}

fn capture(name: &str, runs: u32, fill: impl Fn(&mut Recorder)) -> Capture {
    let run = |number| {
        let mut recorder = Recorder {
            time: 5_000_000_000_000 + u64::from(number) * 20_000_000_000,
            pid: 21_000 + 37 * number,
            random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(number),
            events: Vec::new(),
        };
        fill(&mut recorder);
        (
            Run {
                number,
                start: BootTime(1),
                ..Run::default()
            },
            recorder.events,
        )
    };
    let header = Header {
        program: "lastword 0.1.0".into(),
        ..Header::default()
    };
    Capture {
        name: name.into(),
        header,
        runs: (1..=runs).map(run).collect(),
    }
}

struct Recorder {
    time: u64,
    pid: u32,
    random: u64,
    events: Vec<Event>,
}

impl Recorder {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn add(&mut self, kind: EventKind, ret: i64, args: [i64; 3], name: &[u8], data: &[u8]) {
        self.time += 1_500 + self.random(20_000);
        self.events.push(Event {
            time: BootTime(self.time),
            pid: self.pid,
            tid: Tid(self.pid),
            kind,
            ret,
            args,
            fd_type: match kind {
                EventKind::READ | EventKind::WRITE | EventKind::CLOSE => FdType::REGULAR,
                EventKind::SENDTO | EventKind::RECVFROM => FdType::SOCKET,
                _ => FdType::UNKNOWN,
            },
            name: Bytes::copy_from_slice(name),
            data: Bytes::copy_from_slice(data),
            ..Event::default()
        });
    }

    /// Adds the open, the read of the beginning, and the close of a file.
    fn file(&mut self, path: &str, content: &[u8]) {
        let base = path.rsplit('/').next().unwrap_or(path);
        let inode = 1_000_000 + i64::from(crc32fast::hash(path.as_bytes()) % 100_000);
        self.add(
            EventKind::OPENAT,
            3,
            [-100, 0o2_000_000, 0],
            path.as_bytes(),
            b"",
        );
        self.add(
            EventKind::READ,
            832,
            [3, inode, 832],
            base.as_bytes(),
            content,
        );
        self.add(EventKind::CLOSE, 0, [3, 0, 0], b"", b"");
    }

    fn write(&mut self, [fd, inode]: [i64; 2], name: &[u8], line: &[u8]) {
        let length = line.len() as i64;
        self.add(EventKind::WRITE, length, [fd, inode, length], name, line);
    }

    fn missing(&mut self, kind: EventKind, path: &str) {
        self.add(kind, -2, [-100, 0, 0], path.as_bytes(), b"");
    }

    fn libraries(&mut self, names: &[&str]) {
        self.missing(EventKind::ACCESS, "/etc/ld.so.preload");
        for name in names {
            self.missing(EventKind::OPENAT, &format!("/usr/local/lib/{name}"));
            self.file(
                &format!("/lib/x86_64-linux-gnu/{name}"),
                b"\x7fELF\x02\x01\x01\x03",
            );
        }
    }
}

fn nginx(recorder: &mut Recorder) {
    recorder.add(
        EventKind::EXEC,
        1,
        [1, 4711, 0],
        b"/usr/sbin/nginx",
        b"nginx\0-g\0daemon off;\0",
    );
    recorder.libraries(&[
        "libcrypt.so.1",
        "libpcre2-8.so.0",
        "libssl.so.3",
        "libcrypto.so.3",
        "libz.so.1",
        "libc.so.6",
    ]);
    recorder.file("/etc/nginx/nginx.conf", CONFIGURATION);
    recorder.file("/etc/nginx/conf.d/default.conf", b"upstream app {\n  server flask:5000;\n}\nserver { listen 80; location / { proxy_pass http://app; } }\n");
    recorder.file("/etc/resolv.conf", b"search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n");
    recorder.file(
        "/etc/hosts",
        b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.1.0.34 nginx-5796d5bc7c-2jdr5\n",
    );
    for suffix in [
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "",
    ] {
        let address = b"\x02\x00\x00\x35\x0a\x60\x00\x0a\0\0\0\0\0\0\0\0";
        recorder.add(EventKind::SOCKET, 4, [2, 2, 0], b"", b"");
        recorder.add(EventKind::CONNECT, 0, [4, 0, 16], address, b"");
        for kind in [1, 28] {
            let id = recorder.random(65_536) as u16;
            let query = [
                &id.to_be_bytes()[..],
                b"\x01\0\0\x01\0\0\0\0\0\0\x05flask",
                suffix.as_bytes(),
                &[0, 0, kind, 0, 1],
            ]
            .concat();
            recorder.add(
                EventKind::SENDTO,
                query.len() as i64,
                [4, 0, query.len() as i64],
                address,
                &query,
            );
            let mut answer = query.clone();
            answer[2..4].copy_from_slice(&[0x81, 0x83]);
            recorder.add(
                EventKind::RECVFROM,
                answer.len() as i64,
                [4, 0, 1024],
                address,
                &answer,
            );
        }
        recorder.add(EventKind::CLOSE, 0, [4, 0, 0], b"", b"");
    }
    let line = b"2026/03/02 10:11:12 [emerg] 1#1: host not found in upstream \"flask:5000\" in /etc/nginx/conf.d/default.conf:2\n";
    recorder.write([5, 77], b"error.log", line);
    recorder.write([2, 0], b"", line);
    recorder.add(EventKind::EXIT, 256, [1, 0, 0], b"nginx", b"");
}

const CONFIGURATION: &[u8] = b"user nginx;\nworker_processes auto;\nerror_log /var/log/nginx/error.log notice;\npid /var/run/nginx.pid;\n\
    events {\n  worker_connections 1024;\n}\nhttp {\n  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n\
    access_log /var/log/nginx/access.log main;\n  sendfile on;\n  keepalive_timeout 65;\n  include /etc/nginx/conf.d/*.conf;\n}\n";

fn script(recorder: &mut Recorder) {
    recorder.add(
        EventKind::EXEC,
        1,
        [1, 4711, 0],
        b"/usr/bin/python3",
        b"python3\0/app/main.py\0",
    );
    recorder.libraries(&["libm.so.6", "libexpat.so.1", "libz.so.1", "libc.so.6"]);
    for module in 0..120 {
        let module = format!("module{module:03}");
        for directory in ["/app", "/usr/lib/python311.zip", "/usr/lib/python3.11"] {
            for suffix in ["", ".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"] {
                recorder.missing(
                    EventKind::NEWFSTATAT,
                    &format!("{directory}/{module}{suffix}"),
                );
            }
        }
        let code: Vec<u8> = (0..64).map(|_| recorder.random(256) as u8).collect();
        recorder.file(
            &format!("/usr/lib/python3.11/__pycache__/{module}.cpython-311.pyc"),
            &code,
        );
    }
    for line in [
        "Traceback (most recent call last):\n",
        "  File \"/app/main.py\", line 3, in <module>\n    import flask\n",
        "ModuleNotFoundError: No module named 'flask'\n",
    ] {
        recorder.write([2, 0], b"", line.as_bytes());
    }
    recorder.add(EventKind::EXIT, 256, [1, 0, 0], b"python3", b"");
}

fn busy(recorder: &mut Recorder) {
    let first = recorder.pid;
    for request in 0..4000 {
        recorder.pid = first + recorder.random(4) as u32;
        let port = 1024 + recorder.random(60_000) as u16;
        let address = [
            &[2, 0][..],
            &port.to_be_bytes(),
            &[10, 1, 0, recorder.random(30) as u8],
            &[0; 8],
        ]
        .concat();
        let path = format!("/srv/www/page{}.html", recorder.random(40));
        recorder.add(EventKind::ACCEPT4, 9, [6, 0, 0], &address, b"");
        recorder.add(EventKind::RECVFROM, 412, [9, 0, 1024], b"", b"");
        recorder.add(
            EventKind::OPENAT,
            10,
            [-100, 0o4000, 0],
            path.as_bytes(),
            b"",
        );
        recorder.add(
            EventKind::READ,
            4096,
            [10, 1_000_000 + port as i64 % 40, 4096],
            b"",
            b"<!doctype html><title>page</title>",
        );
        recorder.add(EventKind::WRITEV, 4300, [9, 0, 2], b"", b"");
        recorder.add(EventKind::CLOSE, 0, [10, 0, 0], b"", b"");
        let line = format!(
            "10.1.0.{} - - [02/Mar/2026:10:{:02}:{:02} +0000] \"GET {path} HTTP/1.1\" 200 {} \"-\" \"curl/8.5.0\"\n",
            address[7],
            request / 60 % 60,
            request % 60,
            4000 + recorder.random(300)
        );
        recorder.write([5, 77], b"access.log", line.as_bytes());
        recorder.add(EventKind::CLOSE, 0, [9, 0, 0], b"", b"");
    }
    recorder.add(EventKind::SIGNAL_GENERATE, 11, [1, 0, 2], b"", b"");
    recorder.add(EventKind::EXIT, 139, [1, 0, 0], b"server", b"");
}

fn chatty(recorder: &mut Recorder) {
    for line in 0..100_000 {
        let line = format!(
            "INFO request {line} handled in {} ms\n",
            recorder.random(1000)
        );
        recorder.write([1, 5], b"", line.as_bytes());
    }
}
