//! A block of events that was read from a file. Only the columns that are needed are decoded.

use bytes::Bytes;

use super::columns::Columns;
use super::name::{EMPTY, FIRST, NEXT};
use super::segments::{Segments, Zstd};
use super::{BlockSummary, Column};
use crate::layout::{BLOCK_HEADER_SIZE, EVENT_SIZE, take_bytes, take_u32};
use crate::varint::{self, unzigzag};
use crate::{BootTime, Damage, DamageCause, Event, EventFlags, EventKind, FdType, Lost, Tid};

/// A block of events: see [`Reader::open_block`](crate::Reader::open_block).
///
/// Its columns are decoded when they are asked for, into arrays with a value for each event. Memory and decompressor
/// are reused for the next block.
///
/// ```
/// # use capture_format::*;
/// # let mut writer = Writer::new(Vec::new(), &Header::default())?;
/// # writer.begin_run(&Run::default())?;
/// # writer.event(&Event { kind: EventKind::EXIT, ret: 9, ..Event::default() })?;
/// # let capture = writer.finish()?.0;
/// let mut reader = Reader::open(std::io::Cursor::new(capture))?;
/// let mut block = EventBlock::default();
/// for part in 0.. {
///     match reader.open_block(RunIndex(0), part, &mut block) {
///         None => break,
///         Some(Err(damage)) => println!("{damage}"),
///         Some(Ok(())) => {
///             // Kinds alone are decoded, and the events of one kind; the payloads of blocks without it stay compressed.
///             block.load(Columns::KIND)?;
///             for row in 0..block.readable() {
///                 if block.kinds()[row] == EventKind::EXIT {
///                     println!("{}: {}", block.number(row), block.event(row)?.ret);
///                 }
///             }
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct EventBlock {
    pub(crate) payload: Vec<u8>,
    /// Where in the file the block starts.
    offset: u64,
    summary: BlockSummary,
    segments: Segments,
    loaded: Columns,
    /// How many events have valid values in all loaded columns.
    readable: usize,
    values: Values,
    zstd: Zstd,
    scratch: Vec<u8>,
}

/// The decoded columns. Each ends where the column is cut off or invalid.
#[derive(Default)]
struct Values {
    times: Vec<BootTime>,
    kinds: Vec<EventKind>,
    pids: Vec<u32>,
    tids: Vec<Tid>,
    flags: Vec<EventFlags>,
    fd_types: Vec<FdType>,
    rets: Vec<i64>,
    args: [Vec<i64>; 3],
    /// Positions in `strings`, from 1; 0 means the empty name.
    names: Vec<u32>,
    strings: Vec<Bytes>,
    /// Where in `data` each payload ends.
    ends: Vec<u32>,
    data: Bytes,
}

impl EventBlock {
    /// Makes this the block at `offset`, whose payload is in `payload` and has the right checksum. An error says what
    /// the writer of the file did wrong; then the block is empty.
    pub(crate) fn open(
        &mut self,
        offset: u64,
        expected: &BlockSummary,
    ) -> Result<(), &'static str> {
        self.close();
        let rest = &mut self.payload.as_slice();
        let summary = Self::summary_of(rest).ok_or("its summary is senseless")?;
        let table = self.payload.len() - rest.len();
        let segments = Segments::parse(&self.payload, table)?;
        if summary != *expected {
            return Err("its summary is not the one in the index");
        }
        self.readable = summary.count as usize;
        (self.offset, self.summary, self.segments) = (offset, summary, segments);
        Ok(())
    }

    /// Makes the block empty.
    pub(crate) fn close(&mut self) {
        self.summary = BlockSummary::default();
        self.segments = Segments::default();
        self.loaded = Columns::NONE;
        self.readable = 0;
    }

    /// Takes the summary from the front of a payload.
    pub(crate) fn summary_of(payload: &mut &[u8]) -> Option<BlockSummary> {
        let size = take_u32(payload)?;
        BlockSummary::decode(take_bytes(payload, size as usize)?)
    }

    /// Its summary and payload, for a run with this position and a first event with this number; `None` without events.
    pub(crate) fn renumbered(&self, run: u32, first: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        let rest = &mut self.payload.as_slice();
        if self.summary.count == 0 {
            return None;
        }
        Self::summary_of(rest)?;
        let summary = BlockSummary {
            run,
            first,
            ..self.summary.clone()
        };
        let summary = summary.encode();
        let size = (summary.len() as u32).to_le_bytes();
        let payload = [&size[..], &summary, rest].concat();
        Some((summary, payload))
    }

    /// How much memory its events take once all columns are decoded, in bytes.
    pub(crate) fn unpacked(&self) -> u64 {
        u64::from(self.summary.count) * EVENT_SIZE + self.segments.total()
    }

    /// What the block says about itself.
    #[must_use]
    pub fn summary(&self) -> &BlockSummary {
        &self.summary
    }

    /// Number of the event in a row of the block's columns; rows are counted from 0.
    #[must_use]
    pub fn number(&self, row: usize) -> u64 {
        self.summary.first + row as u64
    }

    /// How many of the block's events are valid in the columns loaded so far. The events after an invalid one cannot be
    /// decoded: [`EventBlock::event`] then returns an error.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.readable
    }

    /// Decodes these columns, unless that was done before.
    ///
    /// # Errors
    /// If a column cannot be decompressed: the whole block is lost then.
    pub fn load(&mut self, columns: Columns) -> Result<(), Damage> {
        let missing = columns.without(self.loaded);
        if missing == Columns::NONE {
            return Ok(());
        }
        self.decode(missing)
            .map_err(|why| self.damage(0, DamageCause::Malformed(why)))?;
        self.loaded = self.loaded | columns;
        Ok(())
    }

    /// The event in a row, from 0.
    ///
    /// # Errors
    /// What is missing from this event on: a column cannot be decompressed, ends before the row, or is invalid there.
    pub fn event(&mut self, row: usize) -> Result<Event, Damage> {
        self.load(Columns::ALL)?;
        if row >= self.readable {
            let cause = DamageCause::Malformed("a column ends early or is senseless");
            return Err(self.damage(self.readable, cause));
        }
        Ok(self.values.event(row))
    }

    /// The damage that the block's events are missing from a row on.
    fn damage(&self, row: usize, cause: DamageCause) -> Damage {
        Damage {
            cause,
            offset: self.offset,
            length: (BLOCK_HEADER_SIZE + self.payload.len()) as u64,
            lost: Lost::Events(self.number(row)..=self.summary.next().saturating_sub(1)),
        }
    }

    /// Times of the events; empty until [`Columns::TIME`] is loaded. Once loaded, this and the columns below have at
    /// least [`EventBlock::readable`] values.
    #[must_use]
    pub fn times(&self) -> &[BootTime] {
        self.loaded(Columns::TIME, &self.values.times)
    }

    /// Kinds of the events; empty until [`Columns::KIND`] is loaded.
    #[must_use]
    pub fn kinds(&self) -> &[EventKind] {
        self.loaded(Columns::KIND, &self.values.kinds)
    }

    /// Processes of the events; empty until [`Columns::PID`] is loaded.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        self.loaded(Columns::PID, &self.values.pids)
    }

    /// Threads of the events; empty until [`Columns::TID`] is loaded.
    #[must_use]
    pub fn tids(&self) -> &[Tid] {
        self.loaded(Columns::TID, &self.values.tids)
    }

    /// Flags of the events; empty until [`Columns::FLAGS`] is loaded.
    #[must_use]
    pub fn flags(&self) -> &[EventFlags] {
        self.loaded(Columns::FLAGS, &self.values.flags)
    }

    /// What the descriptors of the events refer to; empty until [`Columns::FD_TYPE`] is loaded.
    #[must_use]
    pub fn fd_types(&self) -> &[FdType] {
        self.loaded(Columns::FD_TYPE, &self.values.fd_types)
    }

    /// Return values of the events; empty until [`Columns::RET`] is loaded.
    #[must_use]
    pub fn rets(&self) -> &[i64] {
        self.loaded(Columns::RET, &self.values.rets)
    }

    /// Arguments of the events by position; each empty until [`Columns::ARGS`] is loaded.
    #[must_use]
    pub fn args(&self) -> [&[i64]; 3] {
        self.values
            .args
            .each_ref()
            .map(|values| self.loaded(Columns::ARGS, values.as_slice()))
    }

    /// Name of the event in a row, from 0; empty until [`Columns::NAME`] is loaded, and if the row does not exist.
    #[must_use]
    pub fn name(&self, row: usize) -> &[u8] {
        let names = self.loaded(Columns::NAME, &self.values.names);
        match names.get(row).map(|&name| name as usize) {
            None | Some(0) => &[],
            Some(name) => &self.values.strings[name - 1],
        }
    }

    fn loaded<'v, T>(&self, column: Columns, values: &'v [T]) -> &'v [T] {
        if self.loaded.contains(column) {
            values
        } else {
            &[]
        }
    }

    fn decode(&mut self, missing: Columns) -> Result<(), &'static str> {
        let Self {
            payload,
            summary,
            segments,
            values,
            zstd,
            scratch,
            readable,
            ..
        } = self;
        let mut source = Decoding {
            payload,
            segments,
            zstd,
            scratch,
            count: summary.count as usize,
        };
        let wanted = |column| missing.contains(Columns::of(column));
        let mut keep = |decoded: usize| *readable = decoded.min(*readable);
        if wanted(Column::Time) {
            let mut time = summary.time.0.0;
            keep(
                source.varints(Column::Time, &mut values.times, |difference| {
                    time = time.wrapping_add(unzigzag(difference) as u64);
                    Some(BootTime(time))
                })?,
            );
        }
        if wanted(Column::Kind) {
            let set = &summary.kinds;
            let kind = |position| set.get(usize::try_from(position).ok()?).copied();
            keep(source.varints(Column::Kind, &mut values.kinds, kind)?);
        }
        if wanted(Column::Pid) {
            let set = &summary.pids;
            let pid = |position| set.get(usize::try_from(position).ok()?).copied();
            keep(source.varints(Column::Pid, &mut values.pids, pid)?);
        }
        if wanted(Column::Tid) {
            let mut pids = values.pids.iter();
            keep(source.varints(Column::Tid, &mut values.tids, |difference| {
                let pid = i64::from(*pids.next()?);
                u32::try_from(pid.checked_add(unzigzag(difference))?)
                    .ok()
                    .map(Tid)
            })?);
        }
        if wanted(Column::Flags) {
            keep(source.bytes(Column::Flags, &mut values.flags, EventFlags)?);
        }
        if wanted(Column::FdType) {
            keep(source.bytes(Column::FdType, &mut values.fd_types, FdType)?);
        }
        let [arg0, arg1, arg2] = &mut values.args;
        for (column, numbers) in [
            (Column::Ret, &mut values.rets),
            (Column::Arg0, arg0),
            (Column::Arg1, arg1),
            (Column::Arg2, arg2),
        ] {
            if wanted(column) {
                keep(source.varints(column, numbers, |value| Some(unzigzag(value)))?);
            }
        }
        if wanted(Column::Name) {
            source.strings(&mut values.strings)?;
            keep(source.names(values.strings.len(), &mut values.names)?);
        }
        if wanted(Column::Data) {
            keep(source.lengths(&mut values.ends)?);
            source.data(&mut values.data)?;
        }
        Ok(())
    }
}

impl Values {
    /// The event in a row that exists in all columns.
    fn event(&self, row: usize) -> Event {
        let [arg0, arg1, arg2] = &self.args;
        let start = match row.checked_sub(1) {
            None => 0,
            Some(before) => self.ends[before] as usize,
        };
        let end = self.ends[row] as usize;
        Event {
            time: self.times[row],
            pid: self.pids[row],
            tid: self.tids[row],
            kind: self.kinds[row],
            flags: self.flags[row],
            fd_type: self.fd_types[row],
            ret: self.rets[row],
            args: [arg0[row], arg1[row], arg2[row]],
            name: match self.names[row] {
                0 => Bytes::new(),
                name => self.strings[name as usize - 1].clone(),
            },
            data: if start == end {
                Bytes::new()
            } else {
                self.data.slice(start..end)
            },
        }
    }
}

/// What columns are decoded from.
struct Decoding<'b> {
    payload: &'b [u8],
    segments: &'b Segments,
    zstd: &'b mut Zstd,
    scratch: &'b mut Vec<u8>,
    /// How many events the block has.
    count: usize,
}

impl Decoding<'_> {
    fn raw(&mut self, column: Column) -> Result<Option<&[u8]>, &'static str> {
        self.segments
            .bytes(column, self.payload, self.zstd, self.scratch)
    }

    /// Decodes varints as long as they are valid. Returns how many were.
    fn varints<T: Clone>(
        &mut self,
        column: Column,
        out: &mut Vec<T>,
        mut value: impl FnMut(u64) -> Option<T>,
    ) -> Result<usize, &'static str> {
        let count = self.count;
        out.clear();
        out.reserve(count);
        match self.raw(column)? {
            Some(raw) => varint::for_each(raw, count, |number| match value(number) {
                Some(value) => {
                    out.push(value);
                    true
                }
                None => false,
            }),
            None => out.extend((0..count).map_while(|_| value(0))),
        }
        Ok(out.len())
    }

    /// Decodes one byte for each event. Returns how many there are.
    fn bytes<T>(
        &mut self,
        column: Column,
        out: &mut Vec<T>,
        value: impl Fn(u8) -> T,
    ) -> Result<usize, &'static str> {
        let count = self.count;
        out.clear();
        match self.raw(column)? {
            Some(raw) => out.extend(raw.iter().take(count).map(|&byte| value(byte))),
            None => out.extend((0..count).map(|_| value(0))),
        }
        Ok(out.len())
    }

    /// Decodes the table of strings, which has at most as many strings as the block has events.
    fn strings(&mut self, out: &mut Vec<Bytes>) -> Result<(), &'static str> {
        const SENSELESS: &str = "its table of strings is senseless";
        let most = self.count;
        out.clear();
        let mut all = Vec::new();
        self.segments
            .take(Column::Strings, self.payload, self.zstd, &mut all)?;
        let all = Bytes::from(all);
        let mut rest = &all[..];
        while !rest.is_empty() {
            if out.len() == most {
                return Err(SENSELESS);
            }
            let length = varint::take(&mut rest).ok_or(SENSELESS)?;
            let length = usize::try_from(length).map_err(|_| SENSELESS)?;
            let start = all.len() - rest.len();
            take_bytes(&mut rest, length).ok_or(SENSELESS)?;
            out.push(all.slice(start..start + length));
        }
        Ok(())
    }

    /// Decodes the name of each event: its position among the strings, from 1.
    fn names(&mut self, strings: usize, out: &mut Vec<u32>) -> Result<usize, &'static str> {
        let mut used = 0;
        self.varints(Column::Name, out, |name| {
            let position = match name {
                EMPTY => return Some(0),
                NEXT => {
                    used += 1;
                    used
                }
                earlier => (earlier - FIRST).checked_add(1)?,
            };
            (position <= strings as u64).then_some(position as u32)
        })
    }

    /// Decodes where each payload ends, as long as the end is inside the column of payloads.
    fn lengths(&mut self, out: &mut Vec<u32>) -> Result<usize, &'static str> {
        let size = self.segments.size(Column::Data).unwrap_or(0) as u64;
        let mut end = 0u64;
        self.varints(Column::DataLength, out, |length| {
            end = end.checked_add(length).filter(|&end| end <= size)?;
            Some(end as u32)
        })
    }

    /// Decodes the column of payloads. Memory is reused if no event uses it any more.
    fn data(&mut self, out: &mut Bytes) -> Result<(), &'static str> {
        let before = std::mem::take(out);
        let mut data = if before.is_unique() {
            Vec::from(before)
        } else {
            Vec::new()
        };
        self.segments
            .take(Column::Data, self.payload, self.zstd, &mut data)?;
        *out = data.into();
        Ok(())
    }
}
