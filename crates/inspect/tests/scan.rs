//! A scan finds the same events as a walk over all events, and knows the same about them from earlier events.

use std::io::{Cursor, Read, Seek};

use bytes::Bytes;
use capture_format::{
    BlockSummary, BootTime, Columns, Event, EventBlock, EventFlags, EventKind, FdType, Header,
    Reader, Run, Tid, Writer,
};
use events::context::{Context, Seen};
use inspect::filter::Filter;
use inspect::scan::{All, Candidate, Found, Select, scan};
use inspect::select::Selection;
use inspect::show::{Options, show};
use proptest::prelude::*;

/// Most bytes of name and payload of an event: one such fills a block.
const FULL: usize = 1 << 20;

/// Few pids, descriptors and names, so that events concern one another.
fn event() -> impl Strategy<Value = Event> {
    use EventKind as K;
    let kind = prop_oneof![
        4 => prop::sample::select(vec![
            K::EXEC, K::FORK, K::EXIT, K::OPENAT, K::OPEN, K::CLOSE, K::DUP2, K::READ, K::WRITE, K::CONNECT, K::SOCKET, K::CHDIR,
        ]),
        1 => prop::sample::select(K::ALL.to_vec()),
    ];
    let number = prop_oneof![8 => -1i64..6, 1 => Just(-100i64), 1 => any::<i64>()];
    let ret = prop_oneof![4 => -3i64..6, 2 => 100i64..104];
    let name = prop::sample::select(vec![
        &b""[..],
        b"/etc/app.conf",
        b"relative",
        b"/srv",
        b"\x02\0\0\x35\x0a\0\0\x01\0\0\0\0\0\0\0\0",
    ]);
    let data = prop_oneof![
        14 => Just(Bytes::from_static(b"text")),
        1 => Just(Bytes::from(vec![0; FULL - 32])),
    ];
    let fd_type = prop::sample::select(vec![0u8, 0, 1, 8, 12]);
    (
        kind,
        100u32..104,
        ret,
        [number.clone(), number.clone(), number],
        name,
        data,
        fd_type,
    )
        .prop_map(|(kind, pid, ret, args, name, data, fd_type)| Event {
            time: BootTime(7),
            pid,
            tid: Tid(pid),
            kind,
            flags: EventFlags::default(),
            fd_type: FdType(fd_type),
            ret,
            args,
            name: Bytes::from_static(name),
            data,
        })
}

/// Asks for events of some kinds and numbers, in one of the ways there are.
#[derive(Clone, Debug)]
struct Asked {
    kinds: Vec<EventKind>,
    /// Of those every so many.
    every: u64,
    by_summary: bool,
    by_column: bool,
    /// Whether the decision looks at what earlier events tell.
    looks: bool,
}

impl Asked {
    fn wants(&self, kind: EventKind, number: u64) -> bool {
        self.kinds.contains(&kind) && number.is_multiple_of(self.every)
    }
}

impl Select for &Asked {
    fn excludes(&self, block: &BlockSummary) -> bool {
        self.by_summary && !block.kinds.iter().any(|kind| self.kinds.contains(kind))
    }

    fn columns(&self) -> Columns {
        if self.by_column {
            Columns::KIND
        } else {
            Columns::NONE
        }
    }

    fn may_match(&self, block: &EventBlock, row: usize) -> bool {
        !self.by_column || self.wants(block.kinds()[row], block.number(row))
    }

    fn matches(&self, candidate: &mut Candidate<'_, '_>) -> bool {
        if self.looks {
            let number = candidate.number();
            assert_eq!(candidate.look().0.number, number);
        }
        self.wants(candidate.event().kind, candidate.number())
    }
}

fn some() -> impl Strategy<Value = Asked> {
    let kinds = prop::sample::subsequence(EventKind::ALL.to_vec(), 1..EventKind::ALL.len());
    let one = prop::sample::select(EventKind::ALL[..30].to_vec()).prop_map(|kind| vec![kind]);
    (
        prop_oneof![kinds, one],
        1u64..8,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(kinds, every, by_summary, by_column, looks)| Asked {
            kinds,
            every,
            by_summary,
            by_column,
            looks,
        })
}

fn capture(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
    for (number, events) in (1..).zip([&events[..events.len() / 4], &events[events.len() / 4..]]) {
        let run = Run {
            number,
            ..Run::default()
        };
        writer.begin_run(&run).unwrap();
        events.iter().for_each(|event| writer.event(event).unwrap());
    }
    writer.finish().unwrap().0
}

fn said(seen: &Seen<'_>) -> String {
    let Seen {
        number,
        event,
        program,
        fd,
        path,
        ..
    } = seen;
    let kind = event.kind.0;
    let parent = program.parent;
    format!(
        "{number} {kind} {} {parent:?} {fd:?} {path:?}",
        program.label
    )
}

/// What a walk over everything finds, of what `wants` says.
fn plainly<R: Read + Seek>(
    reader: &mut Reader<R>,
    wants: impl Fn(EventKind, u64) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for run in reader.indexes() {
        let mut context = Context::default();
        for item in reader.events(run).filter_map(Result::ok) {
            let seen = context.observe(item.number, &item.event);
            if wants(item.event.kind, item.number) {
                found.push(said(&seen));
            }
        }
    }
    found
}

fn scanned<R: Read + Seek>(reader: &mut Reader<R>, select: &impl Select) -> Vec<String> {
    let mut found = Vec::new();
    for run in reader.indexes() {
        let walked = scan(reader, run, select, |item| {
            if let Found::Event(candidate) = item {
                found.push(said(candidate.look().0));
            }
            Ok::<_, ()>(())
        });
        walked.unwrap();
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_finds_what_a_walk_over_everything_finds(
        events in prop::collection::vec(event(), 0..120),
        some in some(),
        damaged_at in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = capture(&events);
        if let Some(index) = damaged_at {
            let at = index.index(bytes.len());
            bytes[at] ^= 0x55;
        }
        let Ok(mut reader) = Reader::open(Cursor::new(bytes)) else {
            return Ok(());
        };
        let wanted = plainly(&mut reader, |kind, number| some.wants(kind, number));
        prop_assert_eq!(scanned(&mut reader, &&some), wanted);
        prop_assert_eq!(scanned(&mut reader, &All), plainly(&mut reader, |_, _| true));
    }

    #[test]
    fn lines_of_some_events_are_those_of_all(
        events in prop::collection::vec(event(), 1..60),
        at in any::<prop::sample::Index>(),
    ) {
        let kind = events[at.index(events.len())].kind;
        let mut reader = Reader::open(Cursor::new(capture(&events))).unwrap();
        let mut shown = |filter: Option<Filter>| {
            let select = Selection { filter, ..Selection::default() };
            let mut out = Vec::new();
            show(&mut reader, &mut out, &Options { select, ..Options::default() }).unwrap();
            String::from_utf8(out).unwrap()
        };
        let Some(name) = kind.name() else {
            return Ok(());
        };
        let (all, few) = (shown(None), shown(Filter::parse(&format!("evt.type = {name}")).ok()));
        // A program that was executed is an execve, too.
        let named = |found: EventKind| {
            found == kind || (found, kind) == (EventKind::EXEC, EventKind::EXECVE)
        };
        let wanted = |line: &&str| match line.split_whitespace().next().unwrap().parse::<u64>() {
            Ok(number) => named(events[number as usize - 1].kind),
            // A heading stands where events follow.
            Err(_) => false,
        };
        let wanted: Vec<&str> = all.lines().filter(wanted).collect();
        let few: Vec<&str> = few.lines().filter(|line| !line.starts_with("run ")).collect();
        prop_assert_eq!(few, wanted);
    }
}

/// A reader of memory that counts what is read.
struct Counted<'b>(Cursor<&'b [u8]>, &'b std::cell::Cell<usize>);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

/// Excluded blocks are read only where a later line needs to know what they changed.
#[test]
fn excluded_blocks_are_left_alone() {
    let noise = |pid| Event {
        kind: EventKind::WRITE,
        pid,
        tid: Tid(pid),
        data: (0..FULL as u32 - 32)
            .map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8)
            .collect::<Vec<_>>()
            .into(),
        ..Event::default()
    };
    let call = |kind, ret, name: &'static str| Event {
        kind,
        pid: 5,
        tid: Tid(5),
        ret,
        args: [ret, 0, 0],
        name: Bytes::from_static(name.as_bytes()),
        ..Event::default()
    };
    let mut events = vec![call(EventKind::OPEN, 3, "/etc/x")];
    events.extend((0..20).map(|_| noise(5)));
    let read_for = |last: Event, expected: &str| {
        let kind = last.kind;
        let mut events = events.clone();
        events.push(last);
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        writer.begin_run(&Run::default()).unwrap();
        events.iter().for_each(|event| writer.event(event).unwrap());
        let (bytes, _) = writer.finish().unwrap();
        let read = std::cell::Cell::new(0);
        let mut reader = Reader::open(Counted(Cursor::new(&bytes), &read)).unwrap();
        let last = Asked {
            kinds: vec![kind],
            every: 22,
            by_summary: true,
            by_column: true,
            looks: true,
        };
        let found = scanned(&mut reader, &&last);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        (read.get(), bytes.len())
    };
    let (read, size) = read_for(call(EventKind::SIGNAL_DELIVER, 15, ""), "22 5");
    assert!(
        read < 400_000,
        "{read} bytes read of {size}: nothing changes who a process is"
    );
    let (read, size) = read_for(call(EventKind::CLOSE, 3, ""), "/etc/x");
    assert!(
        read < 2_000_000,
        "{read} bytes read of {size}: one block opens files"
    );
}
