//! The window: the lines around the cursor, of all the lines there are.

use std::collections::VecDeque;

use crate::pager::{Ends, Line};

/// How many lines are held at most.
pub(crate) const MAX_LINES: usize = 600;
/// How many lines are requested at once.
pub(crate) const PAGE: usize = 200;
/// If the cursor is nearer than this to an end of the window, more lines are requested.
const MARGIN: usize = 100;

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) lines: VecDeque<Line>,
    /// Position of the cursor among the lines.
    pub(crate) cursor: usize,
    /// Position of the first line on the screen.
    pub(crate) top: usize,
    pub(crate) ends: Ends,
}

/// The side at which lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// Before the event of this number.
    Before(u64),
    /// From the event of this number on.
    After(u64),
}

impl Window {
    pub(crate) fn current(&self) -> Option<&Line> {
        self.lines.get(self.cursor)
    }

    /// Adds lines at the end. Drops the first ones if there are too many.
    pub(crate) fn append(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
        let surplus = self.lines.len().saturating_sub(MAX_LINES).min(self.cursor);
        if surplus > 0 {
            self.lines.drain(..surplus);
            self.cursor -= surplus;
            self.top = self.top.saturating_sub(surplus);
            self.ends.start = false;
        }
        self.cut_end();
    }

    /// Adds lines at the beginning. Drops the last ones if there are too many.
    pub(crate) fn prepend(&mut self, lines: Vec<Line>) {
        self.cursor += lines.len();
        self.top += lines.len();
        for line in lines.into_iter().rev() {
            self.lines.push_front(line);
        }
        self.cut_end();
    }

    fn cut_end(&mut self) {
        let keep = MAX_LINES.max(self.cursor + 1);
        if self.lines.len() > keep {
            self.lines.truncate(keep);
            self.ends.end = false;
        }
    }

    /// Moves the cursor by this many lines, as far as there are lines.
    pub(crate) fn step(&mut self, by: isize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// Puts the cursor on the event with this number; if it is missing, on the next one; else on the last one.
    pub(crate) fn go_to(&mut self, number: u64) {
        let at = self.lines.partition_point(|line| line.number < number);
        self.cursor = at.min(self.lines.len().saturating_sub(1));
    }

    /// Whether the event is in the range of the lines that are held.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.lines.iter().any(|line| line.number == number)
    }

    /// Scrolls so that the cursor is visible on a screen of this height.
    pub(crate) fn scroll(&mut self, height: usize) {
        let height = height.max(1);
        self.top = self
            .top
            .clamp((self.cursor + 1).saturating_sub(height), self.cursor);
        // There must be no empty lines below the last one.
        self.top = self.top.min(self.lines.len().saturating_sub(height));
    }

    /// Which lines to request, given the position of the cursor.
    pub(crate) fn wants(&self) -> Option<More> {
        let (first, last) = (self.lines.front()?, self.lines.back()?);
        if !self.ends.end && self.cursor + MARGIN >= self.lines.len() {
            Some(More::After(last.number + 1))
        } else if !self.ends.start && self.cursor < MARGIN {
            Some(More::Before(first.number))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pager::LineKind;

    fn lines(numbers: std::ops::Range<u64>) -> Vec<Line> {
        numbers
            .map(|number| Line {
                number,
                text: String::new(),
                kind: LineKind::Event,
            })
            .collect()
    }

    #[test]
    fn lines_far_from_the_cursor_are_forgotten() {
        let mut window = Window::default();
        window.append(lines(1000..1600));
        window.ends = Ends {
            start: true,
            end: true,
        };
        window.cursor = 599;
        window.append(lines(1600..1800));
        assert_eq!(window.lines.len(), MAX_LINES);
        assert_eq!(window.current().unwrap().number, 1599);
        assert!(!window.ends.start && window.ends.end);
        window.cursor = 0;
        window.prepend(lines(900..1200));
        assert_eq!(window.lines.len(), MAX_LINES);
        assert!(!window.ends.end);
    }

    #[test]
    fn the_cursor_stays_on_the_screen() {
        let mut window = Window::default();
        window.append(lines(1..101));
        window.step(30);
        window.scroll(10);
        assert_eq!((window.top, window.cursor), (21, 30));
        window.step(-25);
        window.scroll(10);
        assert_eq!((window.top, window.cursor), (5, 5));
        window.step(isize::MAX);
        window.scroll(10);
        assert_eq!((window.top, window.cursor), (90, 99));
    }

    #[test]
    fn more_is_asked_for_near_an_end_that_is_none() {
        let mut window = Window::default();
        assert_eq!(window.wants(), None);
        window.append(lines(50..450));
        assert_eq!(window.wants(), Some(More::Before(50)));
        window.cursor = 200;
        assert_eq!(window.wants(), None);
        window.cursor = 390;
        assert_eq!(window.wants(), Some(More::After(450)));
        window.ends.end = true;
        assert_eq!(window.wants(), None);
    }
}
