//! Turns the payload of a block back into events, one at a time.

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::name::{EMPTY, FIRST, NEXT};
use super::{BlockSummary, COLUMNS, Column, STORED, ZSTD};
use crate::layout::{MAX_RAW, take_bytes, take_u8, take_u32};
use crate::varint::{self, unzigzag};
use crate::{Event, EventFlags, EventKind, FdType};

/// The events of one block that are still to come.
pub(crate) struct BlockEvents {
    summary: BlockSummary,
    /// Events already taken.
    taken: u32,
    time: u64,
    columns: [Cursor; COLUMNS],
    strings: Vec<Bytes>,
    /// Strings that were some event's name already.
    strings_used: usize,
}

impl BlockEvents {
    /// Opens a payload whose checksum is right. An error says what its writer did wrong.
    pub(crate) fn open(payload: &[u8]) -> Result<Self, &'static str> {
        let rest = &mut &payload[..];
        let summary = Self::summary(rest).ok_or("its summary is senseless")?;
        let mut columns = segments(rest)?;
        let strings = columns[Column::Strings as usize - 1]
            .strings(summary.count)
            .ok_or("its table of strings is senseless")?;
        Ok(Self {
            taken: 0,
            time: summary.time.0,
            summary,
            columns,
            strings,
            strings_used: 0,
        })
    }

    /// Takes the summary off the front of a payload.
    pub(crate) fn summary(payload: &mut &[u8]) -> Option<BlockSummary> {
        let size = take_u32(payload)?;
        BlockSummary::decode(take_bytes(payload, size as usize)?)
    }

    pub(crate) fn block(&self) -> &BlockSummary {
        &self.summary
    }

    /// Number of the next event.
    pub(crate) fn number(&self) -> u64 {
        self.summary.first + u64::from(self.taken)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.taken == self.summary.count
    }

    /// The next event; none when a column ends early or holds what cannot be.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.time = self.time.wrapping_add(self.signed(Column::Time)? as u64);
        let kind = self.unsigned(Column::Kind)?;
        let kind = *self.summary.kinds.get(usize::try_from(kind).ok()?)?;
        let pid = self.unsigned(Column::Pid)?;
        let pid = *self.summary.pids.get(usize::try_from(pid).ok()?)?;
        let tid = u32::try_from(i64::from(pid).checked_add(self.signed(Column::Tid)?)?).ok()?;
        let event = Event {
            time: self.time,
            pid,
            tid,
            kind: EventKind(kind),
            flags: EventFlags(self.of_kind(Column::Flags).byte()?),
            fd_type: FdType(self.of_kind(Column::FdType).byte()?),
            ret: self.signed(Column::Ret)?,
            args: [
                self.signed(Column::Arg0)?,
                self.signed(Column::Arg1)?,
                self.signed(Column::Arg2)?,
            ],
            name: self.name()?,
            data: match self.unsigned(Column::DataLength)? {
                0 => Bytes::new(),
                length => self.of_kind(Column::Data).bytes(length)?,
            },
        };
        self.taken += 1;
        Some(event)
    }

    fn name(&mut self) -> Option<Bytes> {
        let position = match self.unsigned(Column::Name)? {
            EMPTY => return Some(Bytes::new()),
            NEXT => {
                self.strings_used += 1;
                self.strings_used - 1
            }
            earlier => usize::try_from(earlier - FIRST).ok()?,
        };
        self.strings.get(position).cloned()
    }

    fn of_kind(&mut self, column: Column) -> &mut Cursor {
        &mut self.columns[column as usize - 1]
    }

    fn unsigned(&mut self, column: Column) -> Option<u64> {
        self.of_kind(column).varint()
    }

    fn signed(&mut self, column: Column) -> Option<i64> {
        self.unsigned(column).map(unzigzag)
    }
}

/// Takes the table of segments and the segments, and decompresses those of known columns.
fn segments(rest: &mut &[u8]) -> Result<[Cursor; COLUMNS], &'static str> {
    let count = take_u8(rest).ok_or("it has no table of segments")?;
    let mut table = Vec::with_capacity(usize::from(count));
    let mut total = 0u64;
    for _ in 0..count {
        let segment = Segment::take(rest).ok_or("its table of segments is cut off")?;
        total = total.saturating_add(segment.raw);
        table.push(segment);
    }
    if total > MAX_RAW as u64 {
        return Err("its columns are larger than the format allows");
    }
    let mut columns: [Cursor; COLUMNS] = Default::default();
    let mut zstd = Decompressor::new().map_err(|_| "there is no memory to decompress it")?;
    for segment in table {
        let stored = usize::try_from(segment.stored)
            .ok()
            .and_then(|size| take_bytes(rest, size))
            .ok_or("a column is cut off")?;
        let Some(column) = usize::from(segment.column)
            .checked_sub(1)
            .and_then(|position| columns.get_mut(position))
        else {
            continue;
        };
        if column.bytes.is_some() {
            return Err("a column occurs twice");
        }
        let raw = segment.raw as usize;
        let bytes = match segment.encoding {
            STORED => stored.to_vec(),
            ZSTD => zstd
                .decompress(stored, raw)
                .map_err(|_| "a column does not decompress")?,
            _ => return Err("a column is compressed in a way this version does not know"),
        };
        if bytes.len() != raw {
            return Err("a column is not as long as the block says");
        }
        column.bytes = Some(Bytes::from(bytes));
    }
    Ok(columns)
}

struct Segment {
    column: u8,
    encoding: u8,
    raw: u64,
    stored: u64,
}

impl Segment {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            column: take_u8(bytes)?,
            encoding: take_u8(bytes)?,
            raw: varint::take(bytes)?,
            stored: varint::take(bytes)?,
        })
    }
}

/// What is still to be taken from a column; none: the block left it out, so that every value is zero.
#[derive(Default)]
struct Cursor {
    bytes: Option<Bytes>,
    at: usize,
}

impl Cursor {
    fn varint(&mut self) -> Option<u64> {
        let Some(bytes) = &self.bytes else {
            return Some(0);
        };
        let mut rest = &bytes[self.at..];
        let value = varint::take(&mut rest)?;
        self.at = bytes.len() - rest.len();
        Some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        let Some(bytes) = &self.bytes else {
            return Some(0);
        };
        let value = *bytes.get(self.at)?;
        self.at += 1;
        Some(value)
    }

    /// Shares the next `count` bytes.
    fn bytes(&mut self, count: u64) -> Option<Bytes> {
        let bytes = self.bytes.as_ref()?;
        let end = usize::try_from(count).ok()?.checked_add(self.at)?;
        let taken = (end <= bytes.len()).then(|| bytes.slice(self.at..end))?;
        self.at = end;
        Some(taken)
    }

    /// All strings of the table, of which there are at most as many as events.
    fn strings(&mut self, most: u32) -> Option<Vec<Bytes>> {
        let mut strings = Vec::new();
        while self
            .bytes
            .as_ref()
            .is_some_and(|bytes| self.at < bytes.len())
        {
            if strings.len() == most as usize {
                return None;
            }
            let length = self.varint()?;
            strings.push(self.bytes(length)?);
        }
        Some(strings)
    }
}
