//! Captures for tests.

use std::io::Cursor;
use std::ops::Range;

use bytes::Bytes;
use capture_format::{
    BootTime, Damage, Event, EventFlags, EventKind, FdType, Header, Host, NumberedEvent, OpenError,
    Reader, Run, Summary, Tid, WallTime, Writer,
};

/// Metadata of a run and its events.
pub(crate) type RunWithEvents = (Run, Vec<Event>);

/// Runs of a few events each, as a server makes them that crashes repeatedly.
pub(crate) fn runs(count: u32, events: usize) -> Vec<RunWithEvents> {
    let run = |number| {
        let run = Run {
            number,
            start: BootTime(u64::from(number) * 1000),
            ..Run::default()
        };
        (
            run,
            (0..events)
                .map(|index| event(number, index as u64))
                .collect(),
        )
    };
    (1..=count).map(run).collect()
}

fn event(run: u32, index: u64) -> Event {
    Event {
        time: BootTime(u64::from(run) * 1_000_000 + index * 317),
        pid: 100 + run,
        tid: Tid(100 + run + (index % 2) as u32),
        kind: [EventKind::OPENAT, EventKind::READ, EventKind::WRITE][(index % 3) as usize],
        flags: if index.is_multiple_of(5) {
            EventFlags::TRUNCATED
        } else {
            EventFlags::default()
        },
        fd_type: FdType::REGULAR,
        ret: if index.is_multiple_of(7) {
            -2
        } else {
            index as i64
        },
        args: [-100, index as i64, 4096],
        name: Bytes::from(format!("/etc/file{}", index % 4)),
        data: Bytes::from(format!("run {run} line {index}\n")),
    }
}

pub(crate) fn header() -> Header {
    let host = Host {
        name: "node-1".into(),
        clock_offset: -5,
        ..Host::default()
    };
    Header {
        program: "lastword 0.1.0".into(),
        created: WallTime(7),
        host,
        ..Header::default()
    }
}

pub(crate) fn write(header: &Header, runs: &[RunWithEvents]) -> (Vec<u8>, Summary) {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for (run, events) in runs {
        writer.begin_run(run).unwrap();
        for event in events {
            writer.event(event).unwrap();
        }
        writer.end_run().unwrap();
    }
    writer.finish().unwrap()
}

/// Everything that a reader can read from a capture.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) header: Header,
    pub(crate) runs: Vec<Run>,
    /// By run.
    pub(crate) events: Vec<Vec<NumberedEvent>>,
    /// Damage between the events, by run.
    pub(crate) missing: Vec<Vec<Damage>>,
    pub(crate) damage: Vec<Damage>,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Read, OpenError> {
    let mut reader = Reader::open(Cursor::new(bytes))?;
    let (mut events, mut missing) = (Vec::new(), Vec::new());
    for run in reader.indexes() {
        let (good, bad): (Vec<_>, Vec<_>) = reader.events(run).partition(Result::is_ok);
        events.push(good.into_iter().filter_map(Result::ok).collect());
        missing.push(bad.into_iter().filter_map(Result::err).collect());
    }
    crate::columns::compare(bytes, &events, &missing);
    Ok(Read {
        header: reader.header().clone(),
        runs: reader.runs().to_vec(),
        events,
        missing,
        damage: reader.damage().to_vec(),
    })
}

/// The events, with the numbers that the writer gives them.
pub(crate) fn numbered(runs: &[RunWithEvents]) -> Vec<Vec<NumberedEvent>> {
    let mut number = 0;
    let mut next = |event: &Event| {
        number += 1;
        NumberedEvent {
            number,
            event: event.clone(),
        }
    };
    runs.iter()
        .map(|(_, events)| events.iter().map(&mut next).collect())
        .collect()
}

/// A block, parsed according to the specification: so the reader is checked against something other than itself.
pub(crate) struct Block {
    pub(crate) bytes: Range<usize>,
    pub(crate) kind: u16,
}

pub(crate) const RUN: u16 = 2;
pub(crate) const EVENTS: u16 = 3;

pub(crate) fn blocks(capture: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut start = 20;
    while start < capture.len() {
        assert_eq!(capture[start..start + 4], *b"\xb7LWB");
        let kind = u16::from_le_bytes([capture[start + 12], capture[start + 13]]);
        let length = u32::from_le_bytes(capture[start + 16..start + 20].try_into().unwrap());
        let end = start + 28 + length as usize;
        blocks.push(Block {
            bytes: start..end,
            kind,
        });
        start = end;
    }
    blocks
}

/// A block of this capture with a right checksum.
pub(crate) fn block(
    capture: &[u8],
    sequence: u32,
    kind: u16,
    flags: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut block = b"\xb7LWB".to_vec();
    block.extend_from_slice(&capture[12..16]);
    block.extend_from_slice(&sequence.to_le_bytes());
    block.extend_from_slice(&kind.to_le_bytes());
    block.extend_from_slice(&flags.to_le_bytes());
    block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    block.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    block.extend_from_slice(&crc32fast::hash(&block).to_le_bytes());
    block.extend_from_slice(payload);
    block
}
