//! Text in columns of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The lines of an already escaped text, broken at blanks if possible.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let blank = usize::from(!line.is_empty());
        if line.width() + blank + word.width() <= width {
            if blank > 0 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or_default() > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// The rest of a text when this many of its columns are moved out at the left.
pub(crate) fn shifted(text: &str, columns: usize) -> &str {
    let mut gone = 0;
    let start = text.char_indices().find(|(_, c)| {
        let is_out = gone < columns;
        gone += c.width().unwrap_or_default();
        !is_out
    });
    start.map_or("", |(at, _)| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("起動失敗 x", 4), ["起動", "失敗", "x"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("abcdef", 0).len(), 6);
    }

    #[test]
    fn a_shift_never_splits_a_character() {
        assert_eq!(shifted("起動x", 1), "動x");
        assert_eq!(shifted("abc", 0), "abc");
        assert_eq!(shifted("abc", 9), "");
    }
}
