//! What is written is what is read.

use std::io::Cursor;

use crate::captures::{header, numbered, read, runs, write};
use bytes::Bytes;
use capture_format::{
    BootTime, Event, EventBlock, EventFlags, EventKind, FdType, Reader, Run, RunIndex, Summary,
    Tid, WriteError, Writer,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn header_runs_and_events_come_back() {
    let runs = runs(3, 20_000);
    let (bytes, summary) = write(&header(), &runs);
    assert_eq!(
        summary,
        Summary {
            events: 60_000,
            bytes: bytes.len() as u64,
            runs: 3
        }
    );
    let found = read(&bytes).unwrap();
    assert_eq!(found.header, header());
    assert_eq!(
        found.runs,
        runs.iter().map(|(run, _)| run.clone()).collect::<Vec<_>>()
    );
    assert!(found.events == numbered(&runs), "events differ");
    assert_eq!(found.damage, []);
}

#[test]
fn a_capture_without_runs_and_a_run_without_events_are_whole() {
    let (bytes, summary) = write(&header(), &[]);
    assert_eq!((summary.events, summary.runs), (0, 0));
    let found = read(&bytes).unwrap();
    assert_eq!((found.runs.len(), found.damage.len()), (0, 0));

    let (bytes, _) = write(&header(), &[(Run::default(), Vec::new())]);
    let found = read(&bytes).unwrap();
    assert_eq!(
        (found.runs, found.events, found.damage),
        (vec![Run::default()], vec![vec![]], vec![])
    );
}

#[test]
fn a_run_that_is_not_there_has_no_events() {
    let (bytes, _) = write(&header(), &runs(1, 1));
    let mut reader = Reader::open(Cursor::new(bytes)).unwrap();
    assert!(reader.events(RunIndex(1)).next().is_none());
}

#[test]
fn a_copy_of_blocks_is_what_writing_the_events_makes() {
    let runs = runs(3, 20_000);
    let (whole, _) = write(&header(), &runs);
    let mut reader = Reader::open(Cursor::new(&whole)).unwrap();
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let mut block = EventBlock::default();
    // One run less: the numbers of all events are others.
    for (index, (run, _)) in runs.iter().enumerate().skip(1) {
        writer.begin_run(run).unwrap();
        for part in 0.. {
            match reader.open_block(RunIndex(index), part, &mut block) {
                Some(opened) => opened.unwrap(),
                None => break,
            }
            writer.block(&block).unwrap();
        }
    }
    let (copy, summary) = writer.finish().unwrap();
    assert_eq!((copy, summary), write(&header(), &runs[1..]));
}

#[test]
fn blocks_stand_in_runs() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let outside = writer.block(&EventBlock::default());
    assert!(matches!(outside, Err(WriteError::NoRun)));
}

fn any_event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 1..40),
        vec(Just(0u8), 1..40),
        vec(any::<u8>(), 4096),
    ];
    let time = prop_oneof![any::<u64>(), 0..1000u64];
    let number = prop_oneof![Just(0), any::<u32>(), 1..5u32];
    let value = prop_oneof![Just(0), any::<i64>(), -100..100i64];
    (
        (time, number.clone(), number, any::<u16>()),
        (
            any::<u8>(),
            any::<u8>(),
            value.clone(),
            [value.clone(), value.clone(), value],
        ),
        (payload.clone(), payload),
    )
        .prop_map(
            |((time, pid, tid, kind), (flags, fd_type, ret, args), (name, data))| Event {
                time: BootTime(time),
                pid,
                tid: Tid(tid),
                kind: EventKind(kind),
                flags: EventFlags(flags),
                fd_type: FdType(fd_type),
                ret,
                args,
                name: Bytes::from(name),
                data: Bytes::from(data),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_events_come_back(events in vec(vec(any_event(), 0..30), 0..4)) {
        let runs: Vec<_> = events.into_iter().map(|events| (Run::default(), events)).collect();
        let found = read(&write(&header(), &runs).0).unwrap();
        prop_assert_eq!(found.events, numbered(&runs));
        prop_assert_eq!(found.damage, vec![]);
    }
}
