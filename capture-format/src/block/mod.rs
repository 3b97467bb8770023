//! Blocks of events: a summary, then the events as columns. Each column is a segment.
//!
//! A column whose values are all zero is left out. A segment is compressed if that makes it smaller.

mod columns;
mod encode;
mod events;
mod segments;
mod summary;

pub use columns::Columns;
pub(crate) use encode::BlockBuilder;
pub use events::EventBlock;
pub use summary::BlockSummary;

/// What a segment contains. The numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    /// Difference to the time of the event before (for the first event: to the summary's earliest time), zigzag
    /// varints.
    Time = 1,
    /// Indexes into the summary's set of kinds, varints.
    Kind = 2,
    /// Indexes into the summary's set of pids, varints.
    Pid = 3,
    /// tid - pid, zigzag varints.
    Tid = 4,
    /// One byte for each event.
    Flags = 5,
    /// One byte for each event.
    FdType = 6,
    /// Zigzag varints, like the arguments.
    Ret = 7,
    Arg0 = 8,
    Arg1 = 9,
    Arg2 = 10,
    /// Varints: see [`name`].
    Name = 11,
    /// For each string of the block a varint length, then its bytes.
    Strings = 12,
    /// Lengths of the payloads, varints.
    DataLength = 13,
    /// The payloads, end to end.
    Data = 14,
}

const COLUMNS: usize = 14;

/// How the bytes of a segment are stored. The numbers never change.
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// Values of [`Column::Name`]. Every new name has the same number, so a column in which every name is new compresses to
/// nothing.
mod name {
    pub(super) const EMPTY: u64 = 0;
    /// The first string of the block that no earlier event had.
    pub(super) const NEXT: u64 = 1;
    /// The block's first string; the other strings follow.
    pub(super) const FIRST: u64 = 2;
}
