//! Where each part of the screen is.

use ratatui::layout::{Constraint, Layout, Rect};

/// Smallest terminal that is drawn on.
pub(crate) const MIN: (u16, u16) = (60, 16);
/// Columns of the lists of runs and processes.
const SIDE: u16 = 26;
/// Most rows of the list of runs, including its border.
const MAX_RUNS: u16 = 7;

/// The parts of the screen. Each except title and footer includes its border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) title: Rect,
    pub(crate) verdict: Rect,
    pub(crate) runs: Rect,
    pub(crate) processes: Rect,
    pub(crate) body: Rect,
    pub(crate) footer: Rect,
}

/// Divides a screen; `None` if it is too small.
pub(crate) fn parts(screen: Rect, runs: usize) -> Option<Parts> {
    if screen.width < MIN.0 || screen.height < MIN.1 {
        return None;
    }
    let verdict = (screen.height / 3).clamp(6, 12);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(verdict),
        Constraint::Fill(1),
        Constraint::Length(2),
    ];
    let [title, verdict, middle, footer] = Layout::vertical(rows).areas(screen);
    let columns = [Constraint::Length(SIDE), Constraint::Fill(1)];
    let [side, body] = Layout::horizontal(columns).areas(middle);
    let runs = u16::try_from(runs + 2).unwrap_or(MAX_RUNS);
    let runs = runs.clamp(3, MAX_RUNS.min(side.height / 2).max(3));
    let sides = [Constraint::Length(runs), Constraint::Fill(1)];
    let [runs, processes] = Layout::vertical(sides).areas(side);
    Some(Parts {
        title,
        verdict,
        runs,
        processes,
        body,
        footer,
    })
}

/// The area inside a border.
pub(crate) fn inner(part: Rect) -> Rect {
    part.inner(ratatui::layout::Margin::new(1, 1))
}
