//! Damage: what is missing from a capture, and why.

use std::fmt;
use std::ops::RangeInclusive;

use crate::RunIndex;

/// A part of a capture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub cause: DamageCause,
    /// Where in the file the damaged part starts, in bytes.
    pub offset: u64,
    /// How many bytes of the file are damaged; 0 if bytes are missing from the file.
    pub length: u64,
    /// What the damaged part contained.
    pub lost: Lost,
}

/// What is wrong with a damaged part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageCause {
    /// The bytes are not those that were written: they are not a block, or the block's checksum is wrong.
    Changed,
    /// Blocks that were written are not in the file.
    Missing,
    /// The file has no end block: it is cut off, or its end is damaged.
    CutOff,
    /// The checksum is right, but the writer made a mistake.
    Malformed(&'static str),
    /// A newer version wrote a block and marked it as necessary to understand the capture.
    NotUnderstood {
        /// Type of the block.
        block_type: u16,
    },
    /// The events would take more memory than an honest file of this size can need: the file may have been made to do
    /// harm.
    TooMuch {
        /// How many bytes all events together may take.
        limit: u64,
    },
    /// This part of the file could not be read; the text is the system's error.
    Unreadable(String),
}

/// What a damaged part contained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// No header, run or event: the preamble, an index, or bytes that do not belong to the capture.
    Nothing,
    /// The header: the capture shows an empty one.
    Header,
    /// The metadata of runs. Events of the runs are still there if they are undamaged. `None`: it is not known which
    /// runs.
    Run {
        /// Which run, if there are events of it.
        index: Option<RunIndex>,
    },
    /// Events, by number.
    Events(RangeInclusive<u64>),
    /// All events from this number on, if there were any; nobody knows how many.
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
                    index.0 + 1
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
