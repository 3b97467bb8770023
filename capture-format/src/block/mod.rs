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

/// What a segment holds. Numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    /// Difference to the event before (of the first: to the summary's earliest time), zigzag varints.
    Time = 1,
    /// Positions in the summary's set of kinds, varints.
    Kind = 2,
    /// Positions in the summary's set of pids, varints.
    Pid = 3,
    /// tid - pid, zigzag varints.
    Tid = 4,
    /// A byte an event.
    Flags = 5,
    /// A byte an event.
    FdType = 6,
    /// Zigzag varints, as are the arguments.
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

/// How a segment's bytes are stored. Numbers are stable.
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// Values of [`Column::Name`]. As a new name has one number, columns of ever new names compress to nothing.
mod name {
    pub(super) const EMPTY: u64 = 0;
    /// The first of the block's strings that no event before had.
    pub(super) const NEXT: u64 = 1;
    /// The block's first string; the others follow.
    pub(super) const FIRST: u64 = 2;
}
