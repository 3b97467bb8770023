//! Blocks of a `.scap` file, and the encoding of their content: little-endian, packed.

use std::io::{self, Write};

use capture_format::WallTime;

/// Longest value of a parameter, in bytes: an event is at most 64 KiB.
const MAX_VALUE: usize = 60_000;
/// Longest string of a process entry.
const MAX_STRING: usize = 1024;
/// Longest list of arguments or cgroups of a process entry.
pub(super) const MAX_LIST: usize = 4096;

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const MACHINE: u32 = 0x201;
/// An event.
pub(super) const EVENT: u32 = 0x216;
/// An event whose parameters have lengths of 32 bits.
pub(super) const LARGE_EVENT: u32 = 0x221;
/// Processes, version 9.
pub(super) const PROCESSES: u32 = 0x215;
/// Descriptors of a process, version 2.
pub(super) const DESCRIPTORS: u32 = 0x218;

/// Writes one block.
pub(super) fn write_block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let padded = body.len().next_multiple_of(4);
    let total = u32::try_from(12 + padded).map_err(io::Error::other)?;
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&total.to_le_bytes())?;
    out.write_all(body)?;
    out.write_all(&[0; 3][..padded - body.len()])?;
    out.write_all(&total.to_le_bytes())
}

/// Appends to the body of a block.
pub(super) trait Body {
    fn u8(&mut self, value: u8) -> &mut Self;
    fn u16(&mut self, value: u16) -> &mut Self;
    fn u32(&mut self, value: u32) -> &mut Self;
    fn u64(&mut self, value: u64) -> &mut Self;
    /// A string of a table: its length in two bytes, then its bytes, of which only the first `limit` are written.
    fn s16(&mut self, bytes: &[u8], limit: usize) -> &mut Self;
    /// Like `s16`, with the limit that most strings have.
    fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.s16(bytes, MAX_STRING)
    }
    /// An entry that starts with its own length; the length includes itself.
    fn entry(&mut self, entry: &[u8]) -> &mut Self;
}

impl Body for Vec<u8> {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.push(value);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.extend(value.to_le_bytes());
        self
    }

    fn s16(&mut self, bytes: &[u8], limit: usize) -> &mut Self {
        let bytes = &bytes[..bytes.len().min(limit)];
        self.u16(bytes.len() as u16).extend_from_slice(bytes);
        self
    }

    fn entry(&mut self, entry: &[u8]) -> &mut Self {
        self.u32(entry.len() as u32 + 4).extend_from_slice(entry);
        self
    }
}

/// The parameters of an event, in the order of the reader's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
}

impl Parameters {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// An argument of a system call that the reader takes for a number of 32 bits.
    pub(super) fn low(self, value: i64) -> Self {
        self.u32(value as u32)
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// The bytes as they are, at most the first 60,000.
    pub(super) fn bytes(mut self, value: &[u8]) -> Self {
        self.bytes
            .extend_from_slice(&value[..value.len().min(MAX_VALUE)]);
        self.ends.push(self.bytes.len());
        self
    }

    /// A string: it ends before its first NUL, and a NUL is appended.
    pub(super) fn text(self, value: &[u8]) -> Self {
        let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = &text[..text.len().min(MAX_STRING * 4)];
        self.bytes(&[text, b"\0"].concat())
    }

    /// Keeps only the first `count` parameters.
    pub(super) fn first(mut self, count: usize) -> Self {
        self.ends.truncate(count);
        self.bytes
            .truncate(self.ends.last().copied().unwrap_or_default());
        self
    }

    /// Writes the event that the parameters belong to.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        (time, tid, kind): (WallTime, u64, u16),
    ) -> io::Result<()> {
        let large = kind == super::tables::CONTAINER;
        let width = if large { 4 } else { 2 };
        let total = 26 + self.ends.len() * width + self.bytes.len();
        let mut body = Vec::with_capacity(2 + total);
        body.u16(0).u64(time.0).u64(tid);
        body.u32(total as u32).u16(kind).u32(self.ends.len() as u32);
        let mut start = 0;
        for &end in &self.ends {
            let length = end - start;
            if large {
                body.u32(length as u32);
            } else {
                body.u16(length as u16);
            }
            start = end;
        }
        body.extend_from_slice(&self.bytes);
        write_block(out, if large { LARGE_EVENT } else { EVENT }, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_padded_and_has_its_length_at_both_ends() {
        let mut out = Vec::new();
        write_block(&mut out, 7, b"abcde").unwrap();
        assert_eq!(
            out,
            [
                7, 0, 0, 0, 20, 0, 0, 0, b'a', b'b', b'c', b'd', b'e', 0, 0, 0, 20, 0, 0, 0
            ]
        );
    }

    #[test]
    fn a_string_ends_at_its_first_nul() {
        let parameters = Parameters::new().text(b"/etc/x\0evil").u8(7);
        assert_eq!(parameters.bytes, b"/etc/x\0\x07");
        assert_eq!(parameters.ends, [7, 8]);
        assert_eq!(parameters.first(1).bytes, b"/etc/x\0");
    }

    #[test]
    fn no_event_is_larger_than_readers_take() {
        let mut out = Vec::new();
        let payload = vec![b'x'; 1 << 20];
        let parameters = Parameters::new().text(&payload).bytes(&payload);
        parameters.write(&mut out, (WallTime(1), 2, 7)).unwrap();
        assert!(out.len() < 1 << 16, "{}", out.len());
    }
}
