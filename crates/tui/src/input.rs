//! A line that a person edits.

/// Length of the longest line, in characters.
const MAX: usize = 4096;

/// The line, with its cursor between characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    text: Vec<char>,
    cursor: usize,
}

impl Input {
    pub(crate) fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        Self {
            cursor: text.len(),
            text,
        }
    }

    pub(crate) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// The text to the left of the cursor.
    pub(crate) fn before(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    pub(crate) fn insert(&mut self, c: char) {
        // A terminal must not act on what was typed or pasted either.
        if !c.is_control() && self.text.len() < MAX {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    pub(crate) fn backspace(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
    }

    pub(crate) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub(crate) fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_by_characters() {
        let mut input = Input::new("aüc");
        input.left();
        input.backspace();
        input.insert('b');
        input.insert('\x1b');
        assert_eq!((input.text(), input.before()), ("abc".into(), "ab".into()));
        input.home();
        input.delete();
        input.left();
        input.end();
        input.right();
        input.insert('d');
        assert_eq!(input.text(), "bcd");
        input.clear();
        input.backspace();
        assert_eq!(input, Input::default());
    }
}
