//! Damage: what is missing from a capture, and why.

use std::fmt;
use std::ops::RangeInclusive;

/// A part of a capture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub cause: DamageCause,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// Bytes of the file concerned; 0 where bytes are missing from it.
    pub length: u64,
    /// What was there.
    pub lost: Lost,
}

/// What is wrong with a damaged part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageCause {
    /// The bytes are not those that were written: no block, or one whose checksum is wrong.
    Changed,
    /// Blocks that were written are not in the file.
    Missing,
    /// The file has no end block: it is cut off, or its end is damaged.
    CutOff,
    /// The checksum is right, but the writer made a mistake.
    Malformed(&'static str),
    /// A newer version wrote it, and marked it as needed to understand the capture.
    NotUnderstood {
        /// Type of the block.
        block_type: u16,
    },
    /// The events would take more memory than a file of this size can honestly hold: it may have been made to harm.
    TooMuch {
        /// Bytes that all events together may take.
        limit: u64,
    },
    /// The file could not be read there; what the system said.
    Unreadable(String),
}

/// What a damaged part held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// No header, run or event: the preamble, an index, bytes that do not belong to the capture.
    Nothing,
    /// The header: the capture shows an empty one.
    Header,
    /// The metadata of runs; their events are still there where they are whole. None: which ones cannot be told.
    Run {
        /// Position in [`Reader::runs`](crate::Reader::runs), where there are events of it.
        index: Option<usize>,
    },
    /// Events, by number.
    Events(RangeInclusive<u64>),
    /// Everything from this event number on, if there was more; how much, nobody can tell.
    EventsFrom(u64),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lost {
            Lost::Nothing => write!(f, "no events are missing")?,
            Lost::Header => write!(f, "the header is missing")?,
            Lost::Run { index: Some(index) } => {
                write!(
                    f,
                    "the metadata of the {}. run in the file is missing",
                    index + 1
                )?;
            }
            Lost::Run { index: None } => write!(f, "the metadata of a run is missing")?,
            Lost::Events(numbers) if numbers.start() == numbers.end() => {
                write!(f, "event {} is missing", numbers.start())?;
            }
            Lost::Events(numbers) => {
                write!(
                    f,
                    "events {} to {} are missing",
                    numbers.start(),
                    numbers.end()
                )?;
            }
            Lost::EventsFrom(number) => {
                write!(f, "whatever came from event {number} on is missing")?
            }
        }
        let Self { offset, length, .. } = self;
        match &self.cause {
            DamageCause::Changed => write!(f, ": {length} bytes at offset {offset} are damaged"),
            DamageCause::Missing => write!(f, ": blocks were cut out at offset {offset}"),
            DamageCause::CutOff => write!(
                f,
                ": the file is cut off, or damaged from offset {offset} to its end"
            ),
            DamageCause::Malformed(why) => {
                write!(
                    f,
                    ": the block at offset {offset} was written wrongly: {why}"
                )
            }
            DamageCause::NotUnderstood { block_type } => write!(
                f,
                ": the block at offset {offset} has type {block_type}, which only a newer lastword understands"
            ),
            DamageCause::TooMuch { limit } => write!(
                f,
                ": unpacked, the events up to offset {offset} take more than the {} MiB that are read of a file of this size; it may have been made to harm",
                limit >> 20
            ),
            DamageCause::Unreadable(why) => {
                write!(
                    f,
                    ": {length} bytes at offset {offset} could not be read: {why}"
                )
            }
        }
    }
}

impl std::error::Error for Damage {}
