//! The structures of the file that have a fixed size, their limits, and their encoding as bytes. The documentation of
//! the crate says what they mean.

use std::fmt;

/// First bytes of every capture. As in PNG, the high bit, the line endings and the end-of-file character show how a
/// transfer in text mode has changed the file.
pub(crate) const MAGIC: [u8; 8] = *b"\x89LWC\r\n\x1a\n";
/// First bytes of every block.
pub(crate) const MARKER: [u8; 4] = *b"\xb7LWB";

pub(crate) const PREAMBLE_SIZE: usize = 20;
pub(crate) const BLOCK_HEADER_SIZE: usize = 28;
pub(crate) const END_PAYLOAD_SIZE: usize = 16;
pub(crate) const FOOTER_SIZE: usize = BLOCK_HEADER_SIZE + END_PAYLOAD_SIZE;
pub(crate) const RUN_SUMMARY_SIZE: usize = 12;

/// Most bytes a block may have after its header.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;
/// Most bytes of a header or run document.
pub(crate) const MAX_DOCUMENT: usize = 1 << 20;
/// Most bytes of a block's columns together, uncompressed.
pub(crate) const MAX_RAW: usize = 8 << 20;
/// Most events in a block.
pub(crate) const MAX_EVENTS: u32 = 1 << 16;
/// Most bytes that the events of a capture may take once unpacked: the first number for any file, and the second number
/// for each byte of the file. Twenty runs (the most that are kept) of full rings (16,384 records and 1 MiB of payload
/// each) need less than half of the first number. Without a limit, 200 KB of columns that are all zero would be 100
/// million events.
pub(crate) const UNPACKED: (u64, u64) = (128 << 20, 128);
/// Bytes that the numbers of an event take once unpacked, however small the compressed columns are.
pub(crate) const EVENT_SIZE: u64 = 64;
/// Most bytes of an event's name and data together.
pub(crate) const MAX_EVENT: usize = 1 << 20;

/// Version of the format. A new major number means that old readers cannot read new files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Readers open only captures of the major version that they know.
    pub major: u16,
    /// Readers open any minor version. They skip what a newer one added.
    pub minor: u16,
}

impl Version {
    /// The version that this crate writes.
    pub const CURRENT: Self = Self { major: 1, minor: 1 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a block contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockType(pub(crate) u16);

impl BlockType {
    pub(crate) const HEADER: Self = Self(1);
    pub(crate) const RUN: Self = Self(2);
    pub(crate) const EVENTS: Self = Self(3);
    pub(crate) const INDEX: Self = Self(4);
    pub(crate) const END: Self = Self(5);
}

/// The block is necessary to understand the capture: a reader that does not know its type reports that.
pub(crate) const CRITICAL: u16 = 1;

/// Start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) version: Version,
    pub(crate) capture_id: u32,
}

impl Preamble {
    pub(crate) fn encode(self) -> [u8; PREAMBLE_SIZE] {
        let mut out = [0; PREAMBLE_SIZE];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.version.major.to_le_bytes());
        out[10..12].copy_from_slice(&self.version.minor.to_le_bytes());
        out[12..16].copy_from_slice(&self.capture_id.to_le_bytes());
        let crc = crc32fast::hash(&out[..16]);
        out[16..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the magic number or the checksum is wrong.
    pub(crate) fn decode(bytes: &[u8; PREAMBLE_SIZE]) -> Option<Self> {
        let (body, crc) = bytes.split_at(16);
        let mut rest = body.strip_prefix(&MAGIC)?;
        if crc != crc32fast::hash(body).to_le_bytes() {
            return None;
        }
        Some(Self {
            version: Version {
                major: take_u16(&mut rest)?,
                minor: take_u16(&mut rest)?,
            },
            capture_id: take_u32(&mut rest)?,
        })
    }
}

/// Start of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) capture_id: u32,
    pub(crate) sequence: u32,
    pub(crate) kind: BlockType,
    pub(crate) flags: u16,
    pub(crate) length: u32,
    pub(crate) payload_crc: u32,
}

impl BlockHeader {
    pub(crate) fn encode(self) -> [u8; BLOCK_HEADER_SIZE] {
        let mut out = [0; BLOCK_HEADER_SIZE];
        out[..4].copy_from_slice(&MARKER);
        out[4..8].copy_from_slice(&self.capture_id.to_le_bytes());
        out[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        out[12..14].copy_from_slice(&self.kind.0.to_le_bytes());
        out[14..16].copy_from_slice(&self.flags.to_le_bytes());
        out[16..20].copy_from_slice(&self.length.to_le_bytes());
        out[20..24].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..24]);
        out[24..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if this is not a block header: marker, checksum or length are wrong.
    pub(crate) fn decode(bytes: &[u8; BLOCK_HEADER_SIZE]) -> Option<Self> {
        let (body, crc) = bytes.split_at(24);
        let mut rest = body.strip_prefix(&MARKER)?;
        if crc != crc32fast::hash(body).to_le_bytes() {
            return None;
        }
        let header = Self {
            capture_id: take_u32(&mut rest)?,
            sequence: take_u32(&mut rest)?,
            kind: BlockType(take_u16(&mut rest)?),
            flags: take_u16(&mut rest)?,
            length: take_u32(&mut rest)?,
            payload_crc: take_u32(&mut rest)?,
        };
        (header.length as usize <= MAX_PAYLOAD).then_some(header)
    }

    /// Bytes of the whole block.
    pub(crate) fn size(&self) -> u64 {
        BLOCK_HEADER_SIZE as u64 + u64::from(self.length)
    }
}

/// Payload of the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Offset of the index; 0 if there is none.
    pub(crate) index_offset: u64,
    /// Number of events of all runs.
    pub(crate) events: u64,
}

impl End {
    pub(crate) fn encode(self) -> [u8; END_PAYLOAD_SIZE] {
        let mut out = [0; END_PAYLOAD_SIZE];
        out[..8].copy_from_slice(&self.index_offset.to_le_bytes());
        out[8..].copy_from_slice(&self.events.to_le_bytes());
        out
    }

    pub(crate) fn decode(mut payload: &[u8]) -> Option<Self> {
        Some(Self {
            index_offset: take_u64(&mut payload)?,
            events: take_u64(&mut payload)?,
        })
    }
}

/// First bytes of a run block, before its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunSummary {
    /// Position of the run in the capture, from 0.
    pub(crate) run: u32,
    /// Number of its first event; if it has no events, the number that the first one would have.
    pub(crate) first: u64,
}

impl RunSummary {
    pub(crate) fn encode(self) -> [u8; RUN_SUMMARY_SIZE] {
        let mut out = [0; RUN_SUMMARY_SIZE];
        out[..4].copy_from_slice(&self.run.to_le_bytes());
        out[4..].copy_from_slice(&self.first.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            run: take_u32(bytes)?,
            first: take_u64(bytes)?,
        })
    }
}

pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

pub(crate) fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    let (&value, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(value)
}

pub(crate) fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take_bytes(bytes, 2)?
        .try_into()
        .ok()
        .map(u16::from_le_bytes)
}

pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take_bytes(bytes, 4)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

pub(crate) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take_bytes(bytes, 8)?
        .try_into()
        .ok()
        .map(u64::from_le_bytes)
}
