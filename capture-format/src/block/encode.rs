//! Collects events and encodes them as the payload of a block.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::name::{EMPTY, FIRST, NEXT};
use super::{BlockSummary, COLUMNS, Column, STORED, ZSTD};
use crate::varint::{self, zigzag};
use crate::{Event, EventKind};

/// zstd level; docs/format.md has what was measured.
const LEVEL: i32 = 3;
/// A block is full at this many events. All of them are lost if the block is damaged, and a filter decodes them
/// together.
const FULL_EVENTS: usize = 8192;
/// A block is also full at this many bytes of names and payloads.
const FULL_BYTES: usize = 1 << 20;

/// The events of the block being filled.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    events: Vec<Event>,
    bytes: usize,
}

impl BlockBuilder {
    pub(crate) fn push(&mut self, event: &Event) {
        self.bytes += event.name.len() + event.data.len();
        self.events.push(event.clone());
    }

    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= FULL_EVENTS || self.bytes >= FULL_BYTES
    }

    pub(crate) fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// The block's summary and payload; `None` if there are no events. The next block begins.
    pub(crate) fn take(&mut self, run: u32, first: u64) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let (Some(earliest), Some(latest)) = (
            self.events.iter().map(|event| event.time).min(),
            self.events.iter().map(|event| event.time).max(),
        ) else {
            return Ok(None);
        };
        let summary = BlockSummary {
            run,
            count: self.events.len() as u32,
            first,
            time: (earliest, latest),
            kinds: set(self.events.iter().map(|event| event.kind.0))
                .into_iter()
                .map(EventKind)
                .collect(),
            pids: set(self.events.iter().map(|event| event.pid)),
        };
        let columns = Columns::of(&self.events, &summary);
        self.events.clear();
        self.bytes = 0;

        let summary = summary.encode();
        let mut payload = Vec::new();
        payload.extend_from_slice(&(summary.len() as u32).to_le_bytes());
        payload.extend_from_slice(&summary);
        columns.append_segments(&mut payload)?;
        Ok(Some((summary, payload)))
    }
}

fn set<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut set: Vec<T> = values.collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// The bytes of each column; its index is the column's number - 1.
struct Columns([Vec<u8>; COLUMNS]);

impl Columns {
    fn of(events: &[Event], summary: &BlockSummary) -> Self {
        let mut columns = Self(Default::default());
        let mut strings: HashMap<&Bytes, u64> = HashMap::new();
        let mut before = summary.time.0;
        for event in events {
            // Every field has its column: a new field without one is a compile error here.
            let Event {
                time,
                pid,
                tid,
                kind,
                flags,
                fd_type,
                ret,
                args,
                name,
                data,
            } = event;
            columns.put(Column::Time, zigzag(time.0.wrapping_sub(before.0) as i64));
            before = *time;
            columns.put(
                Column::Kind,
                summary.kinds.partition_point(|other| other.0 < kind.0) as u64,
            );
            columns.put(
                Column::Pid,
                summary.pids.partition_point(|other| other < pid) as u64,
            );
            columns.put(Column::Tid, zigzag(i64::from(tid.0) - i64::from(*pid)));
            columns.of_kind(Column::Flags).push(flags.0);
            columns.of_kind(Column::FdType).push(fd_type.0);
            columns.put(Column::Ret, zigzag(*ret));
            for (column, value) in [Column::Arg0, Column::Arg1, Column::Arg2]
                .into_iter()
                .zip(args)
            {
                columns.put(column, zigzag(*value));
            }
            let position = if name.is_empty() {
                EMPTY
            } else if let Some(&earlier) = strings.get(name) {
                earlier
            } else {
                strings.insert(name, strings.len() as u64 + FIRST);
                columns.put(Column::Strings, name.len() as u64);
                columns.of_kind(Column::Strings).extend_from_slice(name);
                NEXT
            };
            columns.put(Column::Name, position);
            columns.put(Column::DataLength, data.len() as u64);
            columns.of_kind(Column::Data).extend_from_slice(data);
        }
        columns
    }

    fn of_kind(&mut self, column: Column) -> &mut Vec<u8> {
        &mut self.0[column as usize - 1]
    }

    fn put(&mut self, column: Column, value: u64) {
        varint::put(self.of_kind(column), value);
    }

    /// Appends the table of segments and the segments.
    fn append_segments(&self, payload: &mut Vec<u8>) -> io::Result<()> {
        let mut compressor = Compressor::new(LEVEL)?;
        let mut table = Vec::new();
        let mut segments = Vec::new();
        let mut count = 0u8;
        for (column, raw) in (1u8..).zip(&self.0) {
            // The payloads are never left out: a column that is left out means zero for every event, but zero bytes are
            // bytes.
            let zero = column != Column::Data as u8 && raw.iter().all(|&byte| byte == 0);
            if zero || raw.is_empty() {
                continue;
            }
            let packed = compressor.compress(raw)?;
            let (encoding, stored) = if packed.len() < raw.len() {
                (ZSTD, &packed)
            } else {
                (STORED, raw)
            };
            table.extend_from_slice(&[column, encoding]);
            varint::put(&mut table, raw.len() as u64);
            varint::put(&mut table, stored.len() as u64);
            segments.extend_from_slice(stored);
            count += 1;
        }
        payload.push(count);
        payload.extend_from_slice(&table);
        payload.extend_from_slice(&segments);
        Ok(())
    }
}
