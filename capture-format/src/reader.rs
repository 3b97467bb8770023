//! Reading a capture.

use std::io::{Read, Seek};

use crate::block::{BlockSummary, EventBlock};
use crate::foreign;
use crate::index::Block;
use crate::layout::{
    BLOCK_HEADER_SIZE, MAX_DOCUMENT, PREAMBLE_SIZE, Preamble, RUN_SUMMARY_SIZE, UNPACKED,
};
use crate::scan;
use crate::source::Source;
use crate::survey::{Item, Survey, survey};
use crate::{Damage, DamageCause, Event, Header, Lost, OpenError, Run, RunIndex, Version};

/// Reads a capture: header and runs when it is opened, events when they are asked for, a block at a time.
///
/// Damaged parts are left out and reported ([`Reader::damage`]); everything else is read.
#[derive(Clone)]
pub struct Reader<R> {
    source: Source<R>,
    version: Version,
    header: Header,
    runs: Vec<Run>,
    items: Vec<Vec<Item>>,
    damage: Vec<Damage>,
    /// Bytes that the events of the blocks opened so far take, each block counted once.
    unpacked: u64,
}

/// An event and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Position in the capture, from 1, over all runs. Damage to other events does not change it.
    pub number: u64,
    /// The event. Its name and data share memory with other events of its block, so copy them to keep a few events for
    /// long.
    pub event: Event,
}

impl<R: Read + Seek> Reader<R> {
    /// Opens a capture. If its index is undamaged, this reads a few kilobytes; otherwise it reads the whole file.
    ///
    /// # Errors
    /// If reading fails; if this is not a capture, or one of another major version; if it is cut off before the end of
    /// its first block.
    pub fn open(inner: R) -> Result<Self, OpenError> {
        let mut source = Source::new(inner)?;
        let size = source.size();
        let start = source
            .read(0, size.min(PREAMBLE_SIZE as u64) as usize)?
            .unwrap_or_default();
        let preamble = start.first_chunk().and_then(Preamble::decode);
        let (version, blocks) = match preamble {
            Some(Preamble { version, .. }) if version.major != Version::CURRENT.major => {
                return Err(OpenError::UnsupportedVersion { found: version });
            }
            Some(Preamble {
                version,
                capture_id,
            }) => {
                let blocks = match scan::by_index(&mut source, capture_id)? {
                    Some(blocks) => blocks,
                    None => scan::by_walking(&mut source, Some(capture_id))?,
                };
                (version, blocks)
            }
            None => {
                let first = source.block_header(PREAMBLE_SIZE as u64)?;
                if first.is_none() {
                    foreign::check(&start)?;
                }
                (
                    Version::CURRENT,
                    scan::by_walking(&mut source, first.map(|it| it.capture_id))?,
                )
            }
        };
        if blocks.is_empty() {
            return Err(OpenError::CutOff { size });
        }
        let mut reader = Self {
            source,
            version,
            header: Header::default(),
            runs: Vec::new(),
            items: Vec::new(),
            damage: Vec::new(),
            unpacked: 0,
        };
        if preamble.is_none() {
            let length = PREAMBLE_SIZE as u64;
            let (cause, lost) = (DamageCause::Changed, Lost::Nothing);
            reader.damage.push(Damage {
                cause,
                offset: 0,
                length,
                lost,
            });
        }
        reader.take(survey(blocks, size));
        Ok(reader)
    }

    fn take(&mut self, survey: Survey) {
        let Survey {
            header,
            runs,
            damage,
        } = survey;
        self.damage.extend(damage);
        if let Some(block) = header {
            self.header = self.document(&block, 0, Lost::Header).unwrap_or_default();
        }
        for (index, run) in runs.into_iter().enumerate() {
            let lost = Lost::Run {
                index: Some(RunIndex(index)),
            };
            let document = run
                .metadata
                .and_then(|block| self.document(&block, RUN_SUMMARY_SIZE, lost));
            self.runs.push(document.unwrap_or_default());
            self.items.push(run.items);
        }
    }

    /// The JSON document of a block, from `start` on. If it cannot be read, the damage is noted and `None` is returned.
    fn document<T: serde::de::DeserializeOwned>(
        &mut self,
        block: &Block,
        start: usize,
        lost: Lost,
    ) -> Option<T> {
        let mut payload = Vec::new();
        let document = payload_of(&mut self.source, block, &mut payload).and_then(|()| {
            let json = payload.get(start..).unwrap_or_default();
            if json.len() > MAX_DOCUMENT {
                return Err(DamageCause::Malformed(
                    "its document is larger than the format allows",
                ));
            }
            serde_json::from_slice(json)
                .map_err(|_| DamageCause::Malformed("its document is not the JSON expected"))
        });
        document
            .map_err(|cause| self.damage.push(damage(cause, block, lost)))
            .ok()
    }

    /// The same reader with another source of the same bytes, which `into` makes from the present one: a box, for
    /// example.
    pub fn map_source<T>(self, into: impl FnOnce(R) -> T) -> Reader<T> {
        let Self {
            source,
            version,
            header,
            runs,
            items,
            damage,
            unpacked,
        } = self;
        Reader {
            source: source.map(into),
            version,
            header,
            runs,
            items,
            damage,
            unpacked,
        }
    }

    /// The format version of the file.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What the capture is about; empty if the header is damaged.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The runs, the first one first. A run with damaged metadata is empty and has the number 0.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The positions of the runs, the first one first.
    #[must_use]
    pub fn indexes(&self) -> impl DoubleEndedIterator<Item = RunIndex> + use<R> {
        (0..self.runs.len()).map(RunIndex)
    }

    /// The run at a position.
    #[must_use]
    pub fn run(&self, run_index: RunIndex) -> Option<&Run> {
        self.runs.get(run_index.0)
    }

    /// What is known to be missing. Damage to events may be found only when the events are read.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The events of a run; empty if the run does not exist.
    ///
    /// Where events are missing, there is an error; later events follow it.
    pub fn events(&mut self, run_index: RunIndex) -> Events<'_, R> {
        Events {
            reader: self,
            run: run_index,
            part: 0,
            block: EventBlock::default(),
            row: 0,
        }
    }

    /// Like [`Reader::events`], beginning with the block that contains the event of this number; earlier blocks are not
    /// read. A few events before that one may come first, and an error if something is missing right before the block.
    pub fn events_from(&mut self, run_index: RunIndex, number: u64) -> Events<'_, R> {
        let items = self.items.get(run_index.0).map_or(&[][..], Vec::as_slice);
        let is_before =
            |item: &Item| matches!(item, Item::Events { summary, .. } if summary.next() <= number);
        let next = items.iter().rposition(is_before).map_or(0, |at| at + 1);
        Events {
            reader: self,
            run: run_index,
            part: next,
            block: EventBlock::default(),
            row: 0,
        }
    }

    /// The numbers of a run's first event and of the one after its last, according to its blocks; nothing is read.
    /// `None` for a run without events.
    #[must_use]
    pub fn numbers(&self, run_index: RunIndex) -> Option<std::ops::Range<u64>> {
        let mut blocks = self
            .items
            .get(run_index.0)?
            .iter()
            .filter_map(|item| match item {
                Item::Events { summary, .. } => Some(summary),
                Item::Missing(_) => None,
            });
        let first = blocks.next()?;
        let last = blocks.next_back().unwrap_or(first);
        Some(first.first..last.next())
    }

    /// A part of a run, which is given by the position of the part, from 0; `None` after the last part. Nothing is read.
    #[must_use]
    pub fn part(&self, run_index: RunIndex, part: usize) -> Option<Part<'_>> {
        Some(match self.items.get(run_index.0)?.get(part)? {
            Item::Events { summary, .. } => Part::Block(summary),
            Item::Missing(damage) => Part::Missing(damage),
        })
    }

    /// Reads a part of a run ([`Reader::part`]) into `block`; `None` after the last part. Columns are not decoded yet.
    ///
    /// # Errors
    /// What is missing: the whole part, or its bytes are damaged. Then `block` is empty, and the damage is noted in
    /// [`Reader::damage`]. Damage that is found later, inside the block, must be [noted](Reader::note) by the caller. A
    /// block also counts as missing if the events of the blocks opened before leave no memory for its own events
    /// ([`DamageCause::TooMuch`]).
    pub fn open_block(
        &mut self,
        run_index: RunIndex,
        part: usize,
        block: &mut EventBlock,
    ) -> Option<Result<(), Damage>> {
        block.close();
        let limit = UNPACKED
            .0
            .max(self.source.size().saturating_mul(UNPACKED.1));
        let (at, summary, counted) = match self.items.get_mut(run_index.0)?.get_mut(part)? {
            // This has been known since the capture was opened.
            Item::Missing(damage) => return Some(Err(damage.clone())),
            Item::Events {
                block: at,
                summary,
                counted,
            } => (at, summary, counted),
        };
        let mut opened = open_block(&mut self.source, at, summary, block);
        if opened.is_ok() && !*counted {
            let with = self.unpacked.saturating_add(block.unpacked());
            if with <= limit {
                (self.unpacked, *counted) = (with, true);
            } else {
                block.close();
                let last = self.numbers(run_index).map_or(0, |numbers| numbers.end - 1);
                let items = self.items.get_mut(run_index.0)?;
                let Item::Events {
                    block: at, summary, ..
                } = &items[part]
                else {
                    return None;
                };
                let lost = Lost::Events(summary.first..=last);
                let missing = damage(DamageCause::TooMuch { limit }, at, lost);
                // A single error stands for everything that follows in the run.
                items.truncate(part);
                items.push(Item::Missing(missing.clone()));
                opened = Err(missing);
            }
        }
        if let Err(damage) = &opened {
            self.note(damage);
        }
        Some(opened)
    }

    /// Adds damage that was found while reading a block to [`Reader::damage`], unless it is already there.
    pub fn note(&mut self, damage: &Damage) {
        if !self.damage.contains(damage) {
            self.damage.push(damage.clone());
        }
    }
}

/// A part of a run: see [`Reader::part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'r> {
    /// A block of events, as the index describes it.
    Block(&'r BlockSummary),
    /// Something is missing here.
    Missing(&'r Damage),
}

fn open_block<R: Read + Seek>(
    source: &mut Source<R>,
    at: &Block,
    summary: &BlockSummary,
    block: &mut EventBlock,
) -> Result<(), Damage> {
    let payload = payload_of(source, at, &mut block.payload);
    let opened = payload.and_then(|()| {
        block
            .open(at.offset, summary)
            .map_err(DamageCause::Malformed)
    });
    opened.map_err(|cause| {
        block.close();
        damage(cause, at, Lost::Events(summary.first..=summary.next() - 1))
    })
}

/// Reads the payload of a block.
fn payload_of<R: Read + Seek>(
    source: &mut Source<R>,
    block: &Block,
    payload: &mut Vec<u8>,
) -> Result<(), DamageCause> {
    let unreadable = |error: std::io::Error| DamageCause::Unreadable(error.to_string());
    let header = source.block_header(block.offset).map_err(unreadable)?;
    let header = header
        .filter(|header| block.matches(header))
        .ok_or(DamageCause::Changed)?;
    let whole = source.payload_into(block.offset, &header, payload);
    if whole.map_err(unreadable)? {
        Ok(())
    } else {
        Err(DamageCause::Changed)
    }
}

fn damage(cause: DamageCause, block: &Block, lost: Lost) -> Damage {
    let length = BLOCK_HEADER_SIZE as u64 + u64::from(block.length);
    Damage {
        cause,
        offset: block.offset,
        length,
        lost,
    }
}

/// Events of a run, or errors where events are missing: see [`Reader::events`].
pub struct Events<'a, R> {
    reader: &'a mut Reader<R>,
    run: RunIndex,
    /// Part of the run that follows `block`.
    part: usize,
    block: EventBlock,
    /// The block's row that comes next.
    row: usize,
}

impl<R: Read + Seek> Iterator for Events<'_, R> {
    type Item = Result<NumberedEvent, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.row >= self.block.summary().count as usize {
            self.row = 0;
            let opened = self
                .reader
                .open_block(self.run, self.part, &mut self.block)?;
            self.part += 1;
            if let Err(damage) = opened {
                return Some(Err(damage));
            }
        }
        let number = self.block.number(self.row);
        let event = self.block.event(self.row);
        self.row += 1;
        if let Err(damage) = &event {
            self.reader.note(damage);
            self.row = usize::MAX;
        }
        Some(event.map(|event| NumberedEvent { number, event }))
    }
}
