//! A capture in which every text attacks the person who reads its report.

use std::io::Cursor;

use bytes::Bytes;
use capture_format::{
    BootTime, Container, Event, EventKind, Header, Host, Kubernetes, Pod, PodEvent, Probe, Reader,
    Redaction, Resources, Run, Tid, Trigger, WallTime, Writer,
};

/// What a page, an address, a style sheet or a terminal might act on. Each would call `hostile()`, which a test looks for, or load something.
pub(crate) const PAYLOADS: [&str; 10] = [
    "<script>hostile()</script>",
    "</style><script>hostile()</script>",
    "</script><script>hostile()</script>",
    "\" onmouseover=\"hostile()\" autofocus onfocus=\"hostile()",
    "' onload='hostile()",
    "javascript:hostile()",
    "<img src=http://198.51.100.1/x onerror=hostile()>",
    "<svg onload=hostile()><a xlink:href=javascript:hostile()>",
    "--><!--<iframe srcdoc=\"<script>parent.hostile()</script>\">&lt;script&gt;",
    "@import url(http://198.51.100.1/x);{{constructor.constructor('hostile()')()}}",
];

/// All of it at once, and what hides or reorders text.
pub(crate) fn text() -> String {
    format!(
        "{}\u{202e}gnp.exe\u{0}\u{200b}\u{2028}\x1b[2J\r\n\t",
        PAYLOADS.join(" ")
    )
}

fn bytes() -> Vec<u8> {
    [text().as_bytes(), b"\xff\xfe\xc0\x80"].concat()
}

fn header() -> Header {
    Header {
        program: text(),
        created: WallTime(u64::MAX),
        host: Host {
            name: text(),
            kernel: text(),
            arch: text(),
            clock_offset: i64::MIN,
        },
        container: Container {
            id: text(),
            name: text(),
            kind: text(),
            image: text(),
            image_id: text(),
            command: vec![text(), text()],
            resources: Some(Resources {
                limits: [(text(), text())].into(),
                requests: [(text(), text())].into(),
            }),
        },
        pod: Some(Pod {
            namespace: text(),
            name: text(),
            uid: text(),
        }),
        kubernetes: Some(Kubernetes {
            pod: serde_json::json!({ text(): [text(), { "name": text() }] }),
            events: vec![PodEvent {
                kind: text(),
                reason: text(),
                message: text(),
                count: u32::MAX,
                first: Some(WallTime(0)),
                last: Some(WallTime(u64::MAX)),
                source: text(),
                field_path: format!("spec.containers{{{}}}", text()),
            }],
        }),
        trigger: Trigger {
            kind: text(),
            detail: text(),
        },
        redaction: Redaction {
            masked: vec![(text(), u64::MAX)],
        },
        probes: vec![Probe {
            name: text(),
            attach: text(),
            reason: text(),
        }],
        omitted: vec![text()],
    }
}

/// Every kind of event with hostile texts, in an order in which they mean something: opened, connected, asked, written, ended.
fn events(start: u64) -> Vec<Event> {
    let event = |kind: EventKind, ret: i64, args: [i64; 3], name: &[u8], data: &[u8]| Event {
        pid: 100,
        tid: Tid(100),
        kind,
        ret,
        args,
        name: Bytes::copy_from_slice(name),
        data: Bytes::copy_from_slice(data),
        ..Event::default()
    };
    let mut query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    let label = b"<script>hostile()</script>\"\x1b";
    query.push(label.len() as u8);
    query.extend(label);
    query.extend(b"\0\0\x01\0\x01");
    let mut refusal = query.clone();
    (refusal[2], refusal[3]) = (0x81, 0x83);
    let server = b"\x02\0\0\x35\x0a\0\0\x01\0\0\0\0\0\0\0\0";
    let unix = [b"\x01\0", &bytes()[..90]].concat();
    let huge = vec![b'<'; 1 << 20];
    let log = [&bytes()[..], b".log"].concat();
    let mut events = vec![
        event(
            EventKind::EXEC,
            100,
            [1, 7, 0],
            &bytes(),
            &[&bytes()[..], b"\0x\0"].concat(),
        ),
        event(EventKind::FORK, 101, [2, 0, 0], &bytes(), b""),
        event(EventKind::OPENAT, 3, [-100, 0, 0], &bytes(), b""),
        event(EventKind::READ, 900, [3, 0, 900], b"", &bytes()),
        event(EventKind::OPENAT, -2, [-100, 0, 0], &bytes(), b""),
        event(EventKind::OPENAT, -13, [-100, 0, 0], &huge, b""),
        event(EventKind::OPENAT, 4, [-100, 0, 0], &log, b""),
        event(EventKind::WRITE, 900, [4, 0, 900], b"", &bytes()),
        event(EventKind::SOCKET, 5, [2, 2, 0], b"", b""),
        event(EventKind::CONNECT, 0, [5, 0, 0], server, b""),
        event(
            EventKind::SENDTO,
            query.len() as i64,
            [5, 0, 40],
            b"",
            &query,
        ),
        event(
            EventKind::RECVFROM,
            refusal.len() as i64,
            [5, 0, 40],
            server,
            &refusal,
        ),
        event(EventKind::SOCKET, 6, [1, 1, 0], b"", b""),
        event(EventKind::CONNECT, -111, [6, 0, 0], &unix, b""),
        event(EventKind::WRITE, i64::MAX, [2, 0, 900], b"", &bytes()),
        event(EventKind::WRITE, 900, [1, 0, 900], b"", &bytes()),
        event(EventKind::SIGNAL_GENERATE, 9, [0, 812, 1], &bytes(), b""),
    ];
    for kind in EventKind::ALL.iter().copied().chain([EventKind(60_000)]) {
        events.push(event(kind, -5, [7, 1, 1], &bytes(), &bytes()));
    }
    events.push(event(EventKind::EXIT, 256, [1, 0, 0], &bytes(), b""));
    for (at, event) in (0..).zip(&mut events) {
        event.time = BootTime(start + at * 1_000_000);
    }
    events
}

/// The capture: two runs of it.
pub(crate) fn capture() -> Reader<Cursor<Vec<u8>>> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for number in 1..=2 {
        let run = Run {
            number,
            init_pid: 100,
            start: BootTime(1_000_000_000),
            end: Some(BootTime(1_400_000_000)),
            status: Some(capture_format::ExitStatus::Code(1)),
            start_error: (number == 1).then(text),
            terminated: Some(capture_format::Terminated {
                reason: text(),
                message: text(),
                exit_code: Some(i32::MIN),
                ..Default::default()
            }),
            ..Run::default()
        };
        writer.begin_run(&run).unwrap();
        for event in events(run.start.0) {
            writer.event(&event).unwrap();
        }
        writer.end_run().unwrap();
    }
    let (bytes, _) = writer.finish().unwrap();
    Reader::open(Cursor::new(bytes)).unwrap()
}
