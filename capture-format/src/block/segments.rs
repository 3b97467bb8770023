//! The table of segments in a block, and the bytes of one segment.

use std::ops::Range;

use zstd::bulk::Decompressor;

use super::{COLUMNS, Column, STORED, ZSTD};
use crate::layout::{MAX_RAW, take_u8};
use crate::varint;

/// Where the columns are in a block's payload. `None`: the block left the column out, so every value is zero.
#[derive(Default)]
pub(super) struct Segments([Option<Segment>; COLUMNS]);

struct Segment {
    compressed: bool,
    /// Bytes after decompression.
    raw: usize,
    /// Place in the payload.
    stored: Range<usize>,
}

impl Segments {
    /// Parses the table at `at` of a payload; the segments follow it. An error says what the writer of the file did
    /// wrong.
    pub(super) fn parse(payload: &[u8], at: usize) -> Result<Self, &'static str> {
        let rest = &mut payload.get(at..).unwrap_or_default();
        let count = take_u8(rest).ok_or("it has no table of segments")?;
        let mut table = Vec::with_capacity(usize::from(count));
        let mut total = 0u64;
        for _ in 0..count {
            let row = Row::take(rest).ok_or("its table of segments is cut off")?;
            total = total.saturating_add(row.raw);
            table.push(row);
        }
        if total > MAX_RAW as u64 {
            return Err("its columns are larger than the format allows");
        }
        let mut start = payload.len() - rest.len();
        let mut segments = Self::default();
        for row in table {
            let end = usize::try_from(row.stored)
                .ok()
                .and_then(|size| start.checked_add(size))
                .filter(|&end| end <= payload.len())
                .ok_or("a column is cut off")?;
            let stored = start..end;
            start = end;
            let Some(segment) = usize::from(row.column)
                .checked_sub(1)
                .and_then(|position| segments.0.get_mut(position))
            else {
                continue;
            };
            if segment.is_some() {
                return Err("a column occurs twice");
            }
            let compressed = match row.encoding {
                STORED => false,
                ZSTD => true,
                _ => return Err("a column is compressed in a way this version does not know"),
            };
            let raw = row.raw as usize;
            if !compressed && stored.len() != raw {
                return Err("a column is not as long as the block says");
            }
            *segment = Some(Segment {
                compressed,
                raw,
                stored,
            });
        }
        Ok(segments)
    }

    /// Bytes of all columns after decompression.
    pub(super) fn total(&self) -> u64 {
        self.0
            .iter()
            .flatten()
            .map(|segment| segment.raw as u64)
            .sum()
    }

    /// Bytes of a column after decompression; `None` if the column was left out.
    pub(super) fn size(&self, column: Column) -> Option<usize> {
        self.get(column).map(|segment| segment.raw)
    }

    /// The bytes of a column, either as they are or decompressed into `out`; `None` if the column was left out.
    pub(super) fn bytes<'b>(
        &self,
        column: Column,
        payload: &'b [u8],
        zstd: &mut Zstd,
        out: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, &'static str> {
        let Some(segment) = self.get(column) else {
            return Ok(None);
        };
        let stored = &payload[segment.stored.clone()];
        if !segment.compressed {
            return Ok(Some(stored));
        }
        zstd.decompress(stored, segment.raw, out)?;
        Ok(Some(out))
    }

    /// Fills `out` with the bytes of a column; with nothing if the column was left out.
    pub(super) fn take(
        &self,
        column: Column,
        payload: &[u8],
        zstd: &mut Zstd,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        out.clear();
        match self.get(column) {
            None => Ok(()),
            Some(segment) if segment.compressed => {
                zstd.decompress(&payload[segment.stored.clone()], segment.raw, out)
            }
            Some(segment) => {
                out.extend_from_slice(&payload[segment.stored.clone()]);
                Ok(())
            }
        }
    }

    fn get(&self, column: Column) -> Option<&Segment> {
        self.0[column as usize - 1].as_ref()
    }
}

/// A row of the table.
struct Row {
    column: u8,
    encoding: u8,
    raw: u64,
    stored: u64,
}

impl Row {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            column: take_u8(bytes)?,
            encoding: take_u8(bytes)?,
            raw: varint::take(bytes)?,
            stored: varint::take(bytes)?,
        })
    }
}

/// A decompressor. It is made when it is first needed and then kept: making one costs as much as a small block.
#[derive(Default)]
pub(super) struct Zstd(Option<Decompressor<'static>>);

impl Zstd {
    /// Fills `out` with the `raw` bytes of a frame.
    fn decompress(
        &mut self,
        frame: &[u8],
        raw: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let zstd = match &mut self.0 {
            Some(zstd) => zstd,
            none => {
                let zstd =
                    Decompressor::new().map_err(|_| "there is no memory to decompress it")?;
                none.insert(zstd)
            }
        };
        // If a frame gives its size, that must be the size in the table: nothing is allocated for any other size.
        if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(frame)
            && size != raw as u64
        {
            return Err("a column is not as long as the block says");
        }
        out.clear();
        out.reserve(raw);
        zstd.decompress_to_buffer(frame, out)
            .map_err(|_| "a column does not decompress")?;
        if out.len() != raw {
            return Err("a column is not as long as the block says");
        }
        Ok(())
    }
}
