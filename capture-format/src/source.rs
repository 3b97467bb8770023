//! The bytes of a file: reading at an offset, reading a block, searching for the next block.

use std::io::{self, Read, Seek, SeekFrom};

use crate::layout::{BLOCK_HEADER_SIZE, BlockHeader, MARKER};

/// Bytes read at once while looking for blocks.
const WINDOW: usize = 64 << 10;

#[derive(Clone)]
pub(crate) struct Source<R> {
    inner: R,
    size: u64,
    /// The bytes at `window_offset`. They are kept so that headers of neighbouring blocks need only one read.
    window: Vec<u8>,
    window_offset: u64,
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(mut inner: R) -> io::Result<Self> {
        let size = inner.seek(SeekFrom::End(0))?;
        Ok(Self {
            inner,
            size,
            window: Vec::new(),
            window_offset: 0,
        })
    }

    pub(crate) fn map<T>(self, into: impl FnOnce(R) -> T) -> Source<T> {
        let Self {
            inner,
            size,
            window,
            window_offset,
        } = self;
        Source {
            inner: into(inner),
            size,
            window,
            window_offset,
        }
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes at `offset`; `None` if the file has fewer, which is checked before anything is allocated.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        Ok(self.read_into(offset, length, &mut bytes)?.then_some(bytes))
    }

    /// Like `read`, into `bytes`, whose memory is reused. Returns whether the file has the bytes.
    fn read_into(&mut self, offset: u64, length: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        bytes.clear();
        if offset
            .checked_add(length as u64)
            .is_none_or(|end| end > self.size)
        {
            return Ok(false);
        }
        bytes.resize(length, 0);
        self.inner.seek(SeekFrom::Start(offset))?;
        self.inner.read_exact(bytes)?;
        Ok(true)
    }

    /// The block header at `offset`; `None` if there is none.
    pub(crate) fn block_header(&mut self, offset: u64) -> io::Result<Option<BlockHeader>> {
        let bytes = self.window(offset)?.first_chunk::<BLOCK_HEADER_SIZE>();
        Ok(bytes.and_then(BlockHeader::decode))
    }

    /// The payload of a block; `None` if it is cut off or its checksum is wrong.
    pub(crate) fn payload(
        &mut self,
        offset: u64,
        header: &BlockHeader,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut payload = Vec::new();
        let whole = self.payload_into(offset, header, &mut payload)?;
        Ok(whole.then_some(payload))
    }

    /// Like `payload`, into `payload`, whose memory is reused. Returns whether the payload is undamaged.
    pub(crate) fn payload_into(
        &mut self,
        offset: u64,
        header: &BlockHeader,
        payload: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let start = offset + BLOCK_HEADER_SIZE as u64;
        Ok(self.read_into(start, header.length as usize, payload)?
            && crc32fast::hash(payload) == header.payload_crc)
    }

    /// The place of the next block header, from `offset` on, that `wanted` accepts.
    pub(crate) fn find(
        &mut self,
        mut offset: u64,
        wanted: impl Fn(&BlockHeader) -> bool,
    ) -> io::Result<Option<u64>> {
        loop {
            let window = self.window(offset)?;
            let Some(starts) = (window.len() + 1)
                .checked_sub(BLOCK_HEADER_SIZE)
                .filter(|&n| n > 0)
            else {
                return Ok(None);
            };
            for start in 0..starts {
                let found = window[start..].starts_with(&MARKER)
                    && window[start..]
                        .first_chunk()
                        .and_then(BlockHeader::decode)
                        .is_some_and(|header| wanted(&header));
                if found {
                    return Ok(Some(offset + start as u64));
                }
            }
            offset += starts as u64;
        }
    }

    /// The bytes from `offset` on: at least those of a block header, unless the file ends before.
    fn window(&mut self, offset: u64) -> io::Result<&[u8]> {
        let needed = self
            .size
            .saturating_sub(offset)
            .min(BLOCK_HEADER_SIZE as u64);
        let covered = offset >= self.window_offset
            && offset + needed <= self.window_offset + self.window.len() as u64;
        if !covered {
            let length = self.size.saturating_sub(offset).min(WINDOW as u64);
            self.window = self.read(offset, length as usize)?.unwrap_or_default();
            self.window_offset = offset;
        }
        let start = (offset - self.window_offset).min(self.window.len() as u64);
        Ok(&self.window[start as usize..])
    }
}
