//! A capture as one HTML page. The page can be attached to a ticket, and opens anywhere without a network.
//!
//! ```text
//! explain ─► verdicts ─┐
//! info ────► header ───┼─► gather   each run: its views, facts, listed events, marks of the timeline
//!                      └────► sections ─► page
//! ```
//!
//! A container must not be able to run a script in its reader's browser. Three things prevent that. First, all text
//! comes from [`shown::Shown`], in which nothing is invisible or reorders its neighbours. Second, the template escapes
//! whatever is written as text or as an attribute, and no text of a capture appears in a script, a style, an address
//! or an identifier. Third, the page's content security policy admits only the one script and the one style sheet
//! whose hashes it names, and nothing from anywhere else.
//!
//! The page is complete without its script, which filters rows and moves between them. [`Room`] bounds its size.

use std::io::{self, Read, Seek, Write};

use capture_format::Reader;
use maud::Markup;

mod about;
mod axis;
mod bounded;
mod compare;
mod events;
mod failures;
mod files;
mod gather;
mod network;
mod overview;
mod page;
mod processes;
mod run;
mod shown;
mod streams;
mod timeline;

use crate::info::Info;
use gather::{Gathered, gather};
use run::Place;
use verdict::explain::{Explanation, explain};

/// How many runs are described completely: the newest ones. Earlier runs have a line in the comparison.
const MAX_RUNS: usize = 20;
/// How many of the newest events are listed: of the last run, and of each earlier run.
const NEWEST: (u64, u64) = (1_000, 150);

/// How much of the page the parts of a run may take.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Bytes of markup of the events.
    events: usize,
    /// Bytes of markup of the timeline's marks.
    timeline: usize,
    /// Bytes of markup of each of the other tables.
    table: usize,
    /// Lanes of the timeline.
    lanes: usize,
}

impl Room {
    /// The room of the last run.
    const LAST: Self = Self {
        events: 400_000,
        timeline: 80_000,
        table: 40_000,
        lanes: 14,
    };
    /// The room of all earlier runs together; only the number of lanes is for each of them.
    const EARLIER: Self = Self {
        events: 160_000,
        timeline: 60_000,
        table: 20_000,
        lanes: 6,
    };

    fn shared_by(self, runs: usize) -> Self {
        let runs = runs.max(1);
        Self {
            events: self.events / runs,
            timeline: self.timeline / runs,
            table: self.table / runs,
            lanes: self.lanes,
        }
    }
}

/// Writes the page.
///
/// # Errors
/// When `out` fails. Damage to the capture is shown, not returned.
pub fn write<R: Read + Seek>(reader: &mut Reader<R>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(page(reader).into_string().as_bytes())
}

fn page<R: Read + Seek>(reader: &mut Reader<R>) -> Markup {
    let explanation = explain(reader);
    let info = Info::of(reader);
    let runs = newest_runs(reader, &explanation, &info);
    let place = |at| match at {
        0 if runs.len() == 1 => Place::Only,
        0 => Place::Last,
        _ => Place::Earlier,
    };
    let parts = page::Parts {
        overview: overview::overview(&explanation, &info, &runs),
        runs: runs
            .iter()
            .enumerate()
            .map(|(at, run)| run::article(run, place(at)))
            .collect(),
        about: about::about(&info),
    };
    page::page(&info, &explanation, &parts)
}

/// The newest runs, last one first.
fn newest_runs<R: Read + Seek>(
    reader: &mut Reader<R>,
    explanation: &Explanation,
    info: &Info,
) -> Vec<Gathered> {
    let count = info.runs.len();
    let earlier = Room::EARLIER.shared_by(count.min(MAX_RUNS).saturating_sub(1));
    let mut runs = Vec::new();
    for index in (count.saturating_sub(MAX_RUNS)..count).rev() {
        let about = (&info.runs[index], &explanation.runs[index]);
        let (newest, room) = if index + 1 == count {
            (NEWEST.0, Room::LAST)
        } else {
            (NEWEST.1, earlier)
        };
        let mut run = gather(reader, index, about, (newest, room));
        events::fit(&mut run);
        runs.push(run);
    }
    runs
}
