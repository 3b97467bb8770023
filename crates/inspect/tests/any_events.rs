//! Arbitrary events: every view and the verdict come to an end without a panic, and cite only events that exist.

use std::io::Cursor;

use bytes::Bytes;
use capture_format::{
    BootTime, Event, EventFlags, EventKind, ExitStatus, FdType, Header, Reader, Run, RunIndex, Tid,
    Writer,
};
use inspect::diff::{Side, diff};
use inspect::export::{otlp, pcapng, perfetto, scap};
use inspect::info::Info;
use inspect::select::Selection;
use inspect::show::{Options, show};
use inspect::views::streams::{Format, Printer, streams};
use inspect::views::{self, Look, View};
use proptest::prelude::*;
use verdict::explain::explain;

/// Few pids, descriptors and names, so that events concern one another.
fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        8 => prop::sample::select(EventKind::ALL.to_vec()),
        1 => any::<u16>().prop_map(EventKind),
    ];
    let number = prop_oneof![8 => -3i64..12, 1 => Just(-100i64), 1 => any::<i64>()];
    let ret =
        prop_oneof![4 => -120i64..12, 2 => 100i64..104, 1 => 0i64..0x1_0000, 1 => any::<i64>()];
    let address = b"\x02\0\0\x35\x0a\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x05flask\x02io\0\0\x01\0\x01".to_vec();
    let refusal = b"\0\x07\x81\x83\0\x01\0\0\0\0\0\0\x05flask\x02io\0\0\x01\0\x01".to_vec();
    let bytes = prop_oneof![
        Just(b"/etc/app.conf".to_vec()),
        Just(b"resolv.conf".to_vec()),
        Just(address),
        Just(query),
        Just(refusal),
        Just(b"error: flask: Name or service not known\nsh: 1: foo: not found\n".to_vec()),
        Just(b"error: /etc/app.conf: No such file or directory".to_vec()),
        Just(b"connection refused".to_vec()),
        Just(
            b"OSError: No space left on device: '/etc/app.conf'\nbind: Address already in use\n"
                .to_vec()
        ),
        Just(b"error: \x1b[31mCannot find module 'x\x1b]0;y\x07'\nset -e; exit $?".to_vec()),
        Just(
            b"sh: 1: X\x1b[31m: parameter not set\ninvalid: /etc/app.conf:3: parse error".to_vec()
        ),
        prop::collection::vec(any::<u8>(), 0..64),
    ];
    let fd_type = prop::sample::select(vec![0u8, 1, 2, 8, 12, 99]);
    let time = prop_oneof![9 => 0u64..1 << 40, 1 => any::<u64>()];
    (
        kind,
        100u32..104,
        time,
        ret,
        [number.clone(), number.clone(), number],
        bytes.clone(),
        bytes,
        fd_type,
        any::<u8>(),
    )
        .prop_map(
            |(kind, pid, time, ret, args, name, data, fd_type, flags)| Event {
                time: BootTime(time),
                pid,
                tid: Tid(pid),
                kind,
                flags: EventFlags(flags & 31),
                fd_type: FdType(fd_type),
                ret,
                args,
                name: Bytes::from(name),
                data: Bytes::from(data),
            },
        )
}

fn status() -> impl Strategy<Value = Option<ExitStatus>> {
    prop_oneof![
        Just(None),
        any::<u8>().prop_map(|code| Some(ExitStatus::Code(code))),
        (1u8..128, any::<bool>())
            .prop_map(|(signal, core)| Some(ExitStatus::Signal { signal, core })),
    ]
}

/// A view as text and as JSON.
fn write(view: &impl View, out: &mut Vec<u8>) {
    for look in [
        Look::default(),
        Look {
            width: Some(40),
            colours: false,
        },
    ] {
        view.write_text(look, out).unwrap();
    }
    inspect::json::write_pretty(view, out).unwrap();
}

fn write_views(reader: &mut Reader<Cursor<Vec<u8>>>, out: &mut Vec<u8>) {
    write(&views::runs(reader), out);
    write(&views::ps(reader, RunIndex(0)), out);
    write(&views::errors(reader, RunIndex(0)), out);
    write(&views::files(reader, RunIndex(0)), out);
    write(&views::dns(reader, RunIndex(0)), out);
    write(&views::net(reader, RunIndex(0)), out);
    write(&views::timeline(reader, RunIndex(0)), out);
    let [one, other] = [0, 1].map(|index| Side::of("x\n", reader, RunIndex(index)));
    write(&diff(&one, &other), out);
    write(&diff(&other, &one), out);
    for what in ["stdout", "5", "100:1", "app.conf"] {
        for format in [Format::Text, Format::Hex, Format::Json] {
            let mut printer = Printer::new(format, Look::default(), out);
            let what = what.parse().unwrap();
            streams(reader, RunIndex(0), &what, None, &mut |piece| {
                printer.piece(&piece)
            })
            .unwrap();
            printer.end().unwrap();
        }
    }
}

type Capture = Reader<Cursor<Vec<u8>>>;
type Export = fn(&mut Capture, &Selection, &mut Vec<u8>) -> std::io::Result<()>;

const EXPORTS: [Export; 5] = [
    |reader, select, out| scap::write(reader, select, scap::Flavour::Modern, out),
    |reader, select, out| scap::write(reader, select, scap::Flavour::Classic, out),
    |reader, select, out| pcapng::write(reader, select, out),
    |reader, select, out| perfetto::write(reader, select, out),
    |reader, select, out| otlp::write(reader, select, out),
];

/// Both scap and pcapng start with such a block.
const SECTION: &[u8] = &[0x0a, 0x0d, 0x0d, 0x0a];

/// Number of blocks: each has its length at both ends, and the last ends with the file.
fn blocks(mut file: &[u8]) -> usize {
    let word = |at: &[u8]| u32::from_le_bytes(*at.first_chunk().unwrap()) as usize;
    let mut count = 0;
    while !file.is_empty() {
        let length = word(&file[4..]);
        assert!(length >= 12 && length.is_multiple_of(4), "{length}");
        let (block, rest) = file.split_at(length);
        assert_eq!(word(&block[length - 4..]), length);
        (file, count) = (rest, count + 1);
    }
    count
}

proptest! {
    #[test]
    fn every_view_ends_and_cites_what_exists(
        events in prop::collection::vec(event(), 0..120),
        status in status(),
        start in any::<u64>(),
        init_pid in prop::sample::select(vec![0u32, 100, 7]),
    ) {
        let run = Run { number: 1, init_pid, start: BootTime(start), end: Some(BootTime(1 << 40)), status, ..Run::default() };
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        writer.begin_run(&run).unwrap();
        for event in &events {
            writer.event(event).unwrap();
        }
        writer.end_run().unwrap();
        let (bytes, _) = writer.finish().unwrap();
        let mut reader = Reader::open(Cursor::new(bytes)).unwrap();

        let explanation = explain(&mut reader);
        for evidence in &explanation.runs[0].verdict.evidence {
            prop_assert!((1..=events.len() as u64).contains(&evidence.event));
        }
        let mut out = Vec::new();
        explanation.write_text(&mut out).unwrap();
        Info::of(&mut reader).write_text(&mut out).unwrap();
        show(&mut reader, &mut out, &Options::default()).unwrap();
        write_views(&mut reader, &mut out);
        let mut json = Vec::new();
        show(&mut reader, &mut json, &Options { json: true, ..Options::default() }).unwrap();
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(json.lines().count(), events.len());
        for line in json.lines() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
        }
        inspect::report::write(&mut reader, &mut out).unwrap();
        for export in EXPORTS {
            let mut out = Vec::new();
            export(&mut reader, &Selection::default(), &mut out).unwrap();
            prop_assert!(!out.is_empty());
            if out.starts_with(SECTION) {
                prop_assert!(blocks(&out) > 0);
            }
        }
        let text = String::from_utf8(out).unwrap() + &json;
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
