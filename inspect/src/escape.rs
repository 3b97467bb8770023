//! The one way bytes of a capture become text for people.
//!
//! Whatever a recorded process wrote, a terminal must not act on it and a line must stay a line: control
//! characters (C0, DEL, C1), line separators and the invisible characters that reorder or hide text are written as
//! `\n`, `\t`, `\x1b`, `\u{202e}`; bytes that are no UTF-8 as `\xff`; everything else stays as it is.

use std::fmt::{self, Write};

/// Displays bytes escaped, whole.
#[must_use]
pub fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped {
        bytes,
        limit: usize::MAX,
    }
}

/// Displays bytes escaped, and `…` after `limit` bytes of input (the character that crosses the limit is left out).
#[must_use]
pub fn escaped_to(bytes: &[u8], limit: usize) -> Escaped<'_> {
    Escaped { bytes, limit }
}

/// See [`escaped`] and [`escaped_to`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    limit: usize,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.limit;
        for chunk in self.bytes.utf8_chunks() {
            let valid = chunk.valid();
            if valid.len() <= left && !valid.contains(|c| c == '\\' || is_harmful(c)) {
                left -= valid.len();
                f.write_str(valid)?;
            } else {
                for c in valid.chars() {
                    let Some(rest) = left.checked_sub(c.len_utf8()) else {
                        return f.write_char('…');
                    };
                    left = rest;
                    write_char(f, c)?;
                }
            }
            for byte in chunk.invalid() {
                let Some(rest) = left.checked_sub(1) else {
                    return f.write_char('…');
                };
                left = rest;
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether bytes are worth showing as text: no NUL, and more than half of them printable characters.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    let unprintable = |chunk: std::str::Utf8Chunk<'_>| {
        let harmful = |c: &char| is_harmful(*c) && !matches!(c, '\n' | '\r' | '\t' | '\x1b');
        let valid: usize = chunk
            .valid()
            .chars()
            .filter(harmful)
            .map(char::len_utf8)
            .sum();
        valid + chunk.invalid().len()
    };
    !bytes.contains(&0)
        && bytes.utf8_chunks().map(unprintable).sum::<usize>() * 2 < bytes.len().max(1)
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\\' => f.write_str("\\\\"),
        c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32),
        c if is_harmful(c) => write!(f, "\\u{{{:x}}}", c as u32),
        c => f.write_char(c),
    }
}

/// Whether a terminal may act on the character, or hide it or its neighbours.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Format characters that change how their neighbours look, and the two line separators.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_acts_on_gets_through() {
        let evil = "a\x1b[31mred\x07\r\n\tb\u{9b}2J\u{202e}c\u{7f}".as_bytes();
        let text = escaped(evil).to_string();
        assert_eq!(text, r"a\x1b[31mred\x07\r\n\tb\u{9b}2J\u{202e}c\x7f");
        for byte in 0..=255u8 {
            assert!(
                escaped(&[byte])
                    .to_string()
                    .chars()
                    .all(|c| !c.is_control()),
                "{byte}"
            );
        }
    }

    #[test]
    fn text_in_any_language_stays() {
        assert_eq!(
            escaped("flask läuft nicht — 起動失敗".as_bytes()).to_string(),
            "flask läuft nicht — 起動失敗"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart_from_text_that_looks_alike() {
        assert_eq!(escaped(b"\xff\\xff").to_string(), r"\xff\\xff");
    }

    #[test]
    fn text_is_told_from_other_bytes() {
        for text in ["", "a\n", "\x1b[31mred\x1b[0m\r\n", "起動失敗"] {
            assert!(is_text(text.as_bytes()), "{text:?}");
        }
        assert!(is_text(b"caf\xe9 au lait"));
        for bytes in [
            &b"a\0"[..],
            b"\x01",
            b"\xa7\r\r\n\x8c\x0f",
            b"\x7f\x01\x02abc",
        ] {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_limit_cuts_between_characters() {
        assert_eq!(escaped_to("ééé".as_bytes(), 5).to_string(), "éé…");
        assert_eq!(escaped_to(b"abc", 3).to_string(), "abc");
        assert_eq!(escaped_to(b"\xff\xff", 1).to_string(), "\\xff…");
    }
}
