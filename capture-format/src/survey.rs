//! From the blocks that were found to the capture's runs, and to what is missing between their blocks.

use crate::block::BlockSummary;
use crate::index::{Block, Content};
use crate::layout::{CRITICAL, PREAMBLE_SIZE};
use crate::{Damage, DamageCause, Lost, RunIndex};

/// What a capture consists of.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) header: Option<Block>,
    pub(crate) runs: Vec<RunPlan>,
    pub(crate) damage: Vec<Damage>,
}

/// One run.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// Position of the run according to its blocks. It differs from the position in `runs` if an earlier run is
    /// completely missing.
    ordinal: u32,
    /// The block with the run's metadata; `None` if only events of the run are left.
    pub(crate) metadata: Option<Block>,
    pub(crate) items: Vec<Item>,
}

/// What follows next in a run.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Events {
        block: Block,
        summary: BlockSummary,
        /// Whether its events are in [`Reader::unpacked`](crate::Reader).
        counted: bool,
    },
    Missing(Damage),
}

/// Goes through the blocks in the order in which they are in the file.
pub(crate) fn survey(blocks: Vec<Block>, size: u64) -> Survey {
    let mut surveyor = Surveyor {
        at: PREAMBLE_SIZE as u64,
        next_event: 1,
        ..Surveyor::default()
    };
    for block in blocks {
        surveyor.pass(block);
    }
    surveyor.finish(size)
}

#[derive(Default)]
struct Surveyor {
    survey: Survey,
    /// End of the block before.
    at: u64,
    /// Sequence number, and number of the event, that should follow.
    sequence: u64,
    next_event: u64,
    /// Ordinal of the run that should follow.
    next_run: u32,
    /// What is wrong since the last block that gave an event number.
    gap: Option<Gap>,
    /// Whether the last block is there, which says how many events there are.
    counted: bool,
    ended: bool,
}

struct Gap {
    cause: DamageCause,
    from: u64,
    to: u64,
    /// Whether its loss has been reported.
    told: bool,
}

impl Surveyor {
    fn pass(&mut self, block: Block) {
        if block.offset > self.at {
            self.gap(DamageCause::Changed, self.at, block.offset);
        } else if u64::from(block.sequence) > self.sequence {
            self.gap(DamageCause::Missing, block.offset, block.offset);
        }
        if self.sequence == 0 && block.sequence > 0 {
            self.report(Lost::Header);
        }
        self.at = block.end();
        self.sequence = u64::from(block.sequence) + 1;
        match block.content.clone() {
            Content::Header => self.survey.header = Some(block),
            Content::Run(run) => self.run(block, run.run, run.first),
            Content::Events(summary) => self.events(block, summary),
            Content::Index { next } => {
                self.counted = true;
                self.lost_up_to(next);
                self.close_gap();
            }
            Content::End { events } => {
                self.counted = true;
                self.ended = true;
                self.lost_up_to(events.saturating_add(1));
                self.close_gap();
            }
            Content::Unknown if block.flags & CRITICAL == 0 => {}
            Content::Unknown => {
                let cause = DamageCause::NotUnderstood {
                    block_type: block.kind.0,
                };
                self.gap(cause, block.offset, block.end());
            }
            Content::Malformed(why) => {
                self.gap(DamageCause::Malformed(why), block.offset, block.end());
            }
        }
    }

    fn run(&mut self, block: Block, ordinal: u32, first: u64) {
        if ordinal < self.next_run || first < self.next_event {
            return self.repeats(&block);
        }
        self.lost_up_to(first);
        if ordinal > self.next_run {
            self.report(Lost::Run { index: None });
        }
        self.close_gap();
        self.add_run(ordinal, Some(block));
    }

    fn events(&mut self, block: Block, summary: BlockSummary) {
        let current = self.survey.runs.last().map(|run| run.ordinal);
        if current.is_some_and(|ordinal| summary.run < ordinal) || summary.first < self.next_event {
            return self.repeats(&block);
        }
        self.lost_up_to(summary.first);
        if current != Some(summary.run) {
            if summary.run > self.next_run {
                self.report(Lost::Run { index: None });
            }
            self.report(Lost::Run {
                index: Some(RunIndex(self.survey.runs.len())),
            });
            self.add_run(summary.run, None);
        }
        self.close_gap();
        self.next_event = summary.next();
        if let Some(run) = self.survey.runs.last_mut() {
            run.items.push(Item::Events {
                block,
                summary,
                counted: false,
            });
        }
    }

    fn repeats(&mut self, block: &Block) {
        let cause = DamageCause::Malformed("it repeats a run or an event number");
        self.gap(cause, block.offset, block.end());
    }

    fn add_run(&mut self, ordinal: u32, metadata: Option<Block>) {
        self.next_run = ordinal.saturating_add(1);
        self.survey.runs.push(RunPlan {
            ordinal,
            metadata,
            items: Vec::new(),
        });
    }

    /// Notes a gap. It is joined with the gap before, including what is between them.
    fn gap(&mut self, cause: DamageCause, from: u64, to: u64) {
        match &mut self.gap {
            Some(gap) => gap.to = to,
            None => {
                self.gap = Some(Gap {
                    cause,
                    from,
                    to,
                    told: false,
                })
            }
        }
    }

    /// Reports what was lost in the gap. Without a gap, blocks are missing here.
    fn report(&mut self, lost: Lost) -> Damage {
        let damage = match &mut self.gap {
            Some(gap) => {
                gap.told = true;
                Damage {
                    cause: gap.cause.clone(),
                    offset: gap.from,
                    length: gap.to - gap.from,
                    lost,
                }
            }
            None => Damage {
                cause: DamageCause::Missing,
                offset: self.at,
                length: 0,
                lost,
            },
        };
        self.survey.damage.push(damage.clone());
        damage
    }

    /// The next event has this number: the events before it are lost. As far as is known, they belonged to the current
    /// run.
    fn lost_up_to(&mut self, next: u64) {
        if next > self.next_event {
            let damage = self.report(Lost::Events(self.next_event..=next - 1));
            self.missing_here(damage);
            self.next_event = next;
        }
    }

    fn missing_here(&mut self, damage: Damage) {
        if let Some(run) = self.survey.runs.last_mut() {
            run.items.push(Item::Missing(damage));
        }
    }

    fn close_gap(&mut self) {
        if self.gap.as_ref().is_some_and(|gap| !gap.told) {
            self.report(Lost::Nothing);
        }
        self.gap = None;
    }

    fn finish(mut self, size: u64) -> Survey {
        if !self.ended {
            self.gap(DamageCause::CutOff, self.at, size);
            if let Some(gap) = &mut self.gap {
                (gap.cause, gap.to) = (DamageCause::CutOff, size);
            }
            if !self.counted {
                let damage = self.report(Lost::EventsFrom(self.next_event));
                self.missing_here(damage);
            }
        } else if size > self.at {
            self.gap(DamageCause::Changed, self.at, size);
        }
        self.close_gap();
        self.survey
    }
}
