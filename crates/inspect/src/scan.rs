//! Walks over a run's events, and reads no more of the capture than those who asked for some of the events need.
//!
//! ```text
//! block's summary ─► excluded? ─► columns ─► row ruled out? ─► event ─► candidate ─► state, only where it is asked for
//! ```
//!
//! What an event means depends on earlier events ([`Context`]): which program its process runs, what its descriptor
//! refers to. So the scan remembers where events are that change such state. It takes them when a later candidate that
//! needs the state is [looked at](Candidate::look). Blocks whose events change nothing are not read for that. The scan
//! finds the same events as a walk that reads everything, but it finds only the damage that lies in what was read.

use std::io::{Read, Seek};

use capture_format::{
    BlockSummary, Columns, Damage, Event, EventBlock, Part as RunPart, Reader, RunIndex,
};

use events::context::{Context, Part, Seen};

/// Says which events of a run are asked for. The methods that rule events out may err in one direction only: they may
/// leave too many events in, because those are still looked at.
pub trait Select {
    /// Whether none of a block's events is asked for. The block's kinds and pids are certain; its times are what its
    /// writer claims.
    fn excludes(&self, _block: &BlockSummary) -> bool {
        false
    }

    /// The columns that [`Select::may_match`] looks at.
    fn columns(&self) -> Columns {
        Columns::NONE
    }

    /// Whether the event in a row may be asked for, judged by those columns only.
    fn may_match(&self, _block: &EventBlock, _row: usize) -> bool {
        true
    }

    /// Whether the event is asked for.
    fn matches(&self, _candidate: &mut Candidate<'_, '_>) -> bool {
        true
    }
}

/// All events.
#[derive(Clone, Copy, Debug)]
pub struct All;

impl Select for All {}

/// What a scan finds, in the order of the capture.
pub enum Found<'c, 'w, 'e> {
    /// An event that was asked for.
    Event(&'c mut Candidate<'w, 'e>),
    /// Events are missing here, in a part that the scan had to read.
    Missing(Damage),
}

/// An event that may be asked for.
pub struct Candidate<'w, 'e> {
    number: u64,
    event: &'e Event,
    seen: Option<Seen<'e>>,
    state: &'w mut dyn State,
}

impl<'e> Candidate<'_, 'e> {
    /// Its number in the capture.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The event itself, without reading anything else.
    #[must_use]
    pub fn event(&self) -> &'e Event {
        self.event
    }

    /// The event with what is known from earlier events, and the context. Earlier events may have to be read for that.
    /// Descriptors and working directories are followed up to this event if the event needs them.
    pub fn look(&mut self) -> (&Seen<'e>, &Context) {
        let Self {
            number,
            event,
            seen,
            state,
        } = self;
        let seen = seen.get_or_insert_with(|| state.observe(*number, event));
        (seen, state.context())
    }
}

/// The state that is used to look at candidates.
trait State {
    /// Takes the event at which the walk is.
    fn observe<'e>(&mut self, number: u64, event: &'e Event) -> Seen<'e>;
    fn context(&self) -> &Context;
}

/// Passes on the selected events of a run, which is given by its position in [`Reader::runs`].
///
/// # Errors
/// The error that `each` returned. Damage to the capture is passed on, and noted in [`Reader::damage`].
pub fn scan<R: Read + Seek, E>(
    reader: &mut Reader<R>,
    run_index: RunIndex,
    select: &impl Select,
    mut each: impl FnMut(Found<'_, '_, '_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = Walk {
        reader,
        run: run_index,
        at: Position::default(),
        block: EventBlock::default(),
        context: Context::default(),
        followed: [Position::default(); 2],
        earlier: EventBlock::default(),
    };
    while let Some(part) = walk.reader.part(run_index, walk.at.part) {
        let read = match part {
            RunPart::Block(summary) => !select.excludes(summary),
            RunPart::Missing(_) => true,
        };
        if read && let Err(damage) = walk.rows(select, &mut each)? {
            each(Found::Missing(damage))?;
        }
        walk.end_part();
    }
    Ok(())
}

/// An event's place in a run: the part of the run, and the row in the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    part: usize,
    row: usize,
}

impl Position {
    /// The first row of the same part.
    fn start(self) -> Self {
        Self { row: 0, ..self }
    }
}

struct Walk<'r, R> {
    reader: &'r mut Reader<R>,
    run: RunIndex,
    /// The place in `block` of the event that is looked at.
    at: Position,
    block: EventBlock,
    context: Context,
    /// For each part of the context, the first event that it has not observed.
    followed: [Position; 2],
    /// A block that is read again for the context.
    earlier: EventBlock,
}

impl<R: Read + Seek> Walk<'_, R> {
    /// Goes through the rows of the part at which the walk is.
    fn rows<E>(
        &mut self,
        select: &impl Select,
        each: &mut impl FnMut(Found<'_, '_, '_>) -> Result<(), E>,
    ) -> Result<Result<(), Damage>, E> {
        let opened = self
            .reader
            .open_block(self.run, self.at.part, &mut self.block);
        if let Some(Err(damage)) = opened {
            return Ok(Err(damage));
        }
        if let Err(damage) = self.block.load(select.columns()) {
            return Ok(Err(self.noted(damage)));
        }
        while self.at.row < self.block.readable() {
            if select.may_match(&self.block, self.at.row) {
                let event = match self.block.event(self.at.row) {
                    Ok(event) => event,
                    Err(damage) => return Ok(Err(self.noted(damage))),
                };
                let candidate = &mut Candidate {
                    number: self.block.number(self.at.row),
                    event: &event,
                    seen: None,
                    state: self,
                };
                if select.matches(candidate) {
                    each(Found::Event(candidate))?;
                }
            }
            self.at.row += 1;
        }
        // A column that was looked at may end before the block does.
        let is_whole = self.at.row >= self.block.summary().count as usize;
        if !is_whole && let Err(damage) = self.block.event(self.at.row) {
            return Ok(Err(self.noted(damage)));
        }
        Ok(Ok(()))
    }

    fn noted(&mut self, damage: Damage) -> Damage {
        self.reader.note(&damage);
        damage
    }

    /// Leaves the part. A part of the context that has observed some of its events now observes the others, because
    /// they are decoded already. A part of the context that none of its events changes has observed them all.
    fn end_part(&mut self) {
        let next = Position {
            part: self.at.part + 1,
            row: 0,
        };
        for part in Part::ALL {
            let followed = self.followed[part as usize];
            if followed.part == self.at.part && followed.row > 0 {
                self.at.row = self.block.readable();
                self.catch_up(&[part]);
                self.followed[part as usize] = next;
            } else if followed == self.at.start() && !self.changes(part, self.at.part) {
                self.followed[part as usize] = next;
            }
        }
        self.at = next;
    }

    /// Whether a part of the run may change a part of the context.
    fn changes(&self, part: Part, of_run: usize) -> bool {
        match self.reader.part(self.run, of_run) {
            Some(RunPart::Block(summary)) => {
                summary.kinds.iter().any(|&kind| part.is_changed_by(kind))
            }
            _ => false,
        }
    }

    /// Lets these parts of the context observe all events before the one that is looked at.
    fn catch_up(&mut self, parts: &[Part]) {
        let first = parts.iter().map(|&part| self.followed[part as usize].part);
        for of_run in first.min().unwrap_or(self.at.part)..self.at.part {
            let behind = |part: &&Part| {
                self.followed[**part as usize].part <= of_run && self.changes(**part, of_run)
            };
            let behind: Vec<Part> = parts.iter().filter(behind).copied().collect();
            // Damaged events are missing here, as they are for a reader of everything.
            if !behind.is_empty()
                && let Some(Ok(())) = self.reader.open_block(self.run, of_run, &mut self.earlier)
            {
                let from = behind.iter().map(|&part| {
                    let followed = self.followed[part as usize];
                    (
                        part,
                        if followed.part == of_run {
                            followed.row
                        } else {
                            0
                        },
                    )
                });
                for (part, row) in from {
                    follow(&mut self.context, part, &mut self.earlier, row..usize::MAX);
                }
                let whole = self.earlier.summary().count as usize;
                if let Err(damage) = self.earlier.event(whole - 1) {
                    self.reader.note(&damage);
                }
            }
        }
        for &part in parts {
            let followed = &mut self.followed[part as usize];
            let row = if followed.part == self.at.part {
                followed.row
            } else {
                0
            };
            *followed = self.at;
            follow(&mut self.context, part, &mut self.block, row..self.at.row);
        }
    }
}

/// Lets a part of the context observe those of a block's events that change it, as far as they are readable.
fn follow(context: &mut Context, part: Part, block: &mut EventBlock, rows: std::ops::Range<usize>) {
    if rows.is_empty() || block.load(Columns::ALL).is_err() {
        return;
    }
    for row in rows.start..rows.end.min(block.readable()) {
        if part.is_changed_by(block.kinds()[row])
            && let Ok(event) = block.event(row)
        {
            context.follow(part, &event);
        }
    }
}

impl<R: Read + Seek> State for Walk<'_, R> {
    fn observe<'e>(&mut self, number: u64, event: &'e Event) -> Seen<'e> {
        if self.followed != [self.at; 2] {
            let needed = Part::ALL
                .into_iter()
                .filter(|part| part.is_needed_by(event));
            self.catch_up(&needed.collect::<Vec<_>>());
        }
        let next = Position {
            row: self.at.row + 1,
            ..self.at
        };
        if self.followed == [self.at; 2] {
            self.followed = [next; 2];
            self.context.observe(number, event)
        } else {
            self.followed[Part::Programs as usize] = next;
            self.context.observe_without_descriptors(number, event)
        }
    }

    fn context(&self) -> &Context {
        &self.context
    }
}
