//! A list of rows with a cursor.

/// The row with the cursor, and the first row on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) cursor: usize,
    pub(crate) top: usize,
}

impl List {
    /// Moves the cursor by `by` rows, within `count` rows.
    pub(crate) fn step(&mut self, by: isize, count: usize) {
        let last = count.saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// Scrolls so that the cursor is visible on a screen of `height` rows.
    pub(crate) fn scroll(&mut self, height: usize, count: usize) {
        let height = height.max(1);
        self.cursor = self.cursor.min(count.saturating_sub(1));
        let lowest = (self.cursor + 1).saturating_sub(height);
        self.top = self.top.clamp(lowest, self.cursor);
        self.top = self.top.min(count.saturating_sub(height));
    }
}
