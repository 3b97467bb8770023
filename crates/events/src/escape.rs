//! The only way from bytes of a capture to text for people.
//!
//! Whatever a recorded process wrote, a terminal must not act on it, and a line must stay one line. So control
//! characters (C0, DEL, C1), line separators, and invisible characters that reorder or hide text are written as `\n`,
//! `\t`, `\x1b`, `\u{202e}`. Bytes that are not UTF-8 are written as `\xff`. Everything else stays as it is.

use std::fmt::{self, Write};

/// Displays all bytes, escaped.
#[must_use]
pub fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped {
        bytes,
        limit: usize::MAX,
    }
}

/// Displays bytes escaped, with `…` after `limit` bytes of input. A character that crosses the limit is left out.
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
        self.write(f)
    }
}

impl Escaped<'_> {
    /// Appends the text: the same as [`ToString`], but faster.
    pub fn push_to(self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = self.write(out);
    }

    fn write(self, out: &mut impl Write) -> fmt::Result {
        let Self {
            bytes: mut rest,
            mut limit,
        } = self;
        while !rest.is_empty() {
            let (run, after) = rest.split_at(prefix(rest, is_clean));
            out.write_str(ascii(&run[..run.len().min(limit)]))?;
            let Some(left) = limit.checked_sub(run.len()) else {
                return out.write_char('…');
            };
            // Bytes that are not clean ASCII are decoded up to the next clean ASCII byte, which always begins a new
            // character.
            let end = after.iter().position(|&byte| is_clean(byte));
            let (run, after) = after.split_at(end.unwrap_or(after.len()));
            let Some(left) = write_unclean(run, left, out)? else {
                return Ok(());
            };
            (rest, limit) = (after, left);
        }
        Ok(())
    }
}

/// Whether the byte is a printable ASCII character that needs no escape.
fn is_clean(byte: u8) -> bool {
    is_printable(byte) & (byte != b'\\')
}

/// Whether the byte is a printable ASCII character.
pub fn is_printable(byte: u8) -> bool {
    byte.wrapping_sub(b' ') < b'\x7f' - b' '
}

/// How many bytes at the front pass a test. The test should have no branch, so that many bytes can be tested at once.
pub fn prefix(bytes: &[u8], passes: impl Fn(u8) -> bool) -> usize {
    let all = |chunk: &&[u8; 16]| chunk.iter().fold(true, |all, &byte| all & passes(byte));
    let (chunks, _) = bytes.as_chunks::<16>();
    let whole = 16 * chunks.iter().take_while(all).count();
    let rest = bytes[whole..].iter().take_while(|&&byte| passes(byte));
    whole + rest.count()
}

/// Clean bytes as text.
fn ascii(clean: &[u8]) -> &str {
    std::str::from_utf8(clean).unwrap_or_default()
}

/// Writes up to `left` bytes, each character escaped if necessary. Returns how many more bytes fit, `None` after the
/// `…`.
fn write_unclean(
    bytes: &[u8],
    mut left: usize,
    out: &mut impl Write,
) -> Result<Option<usize>, fmt::Error> {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let Some(rest) = left.checked_sub(c.len_utf8()) else {
                out.write_char('…')?;
                return Ok(None);
            };
            left = rest;
            write_char(out, c)?;
        }
        for byte in chunk.invalid() {
            let Some(rest) = left.checked_sub(1) else {
                out.write_char('…')?;
                return Ok(None);
            };
            left = rest;
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(Some(left))
}

/// Whether bytes should be shown as text: they have no NUL, and more than half of them are printable characters.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    if bytes.is_ascii() {
        let unprintable = |byte: u8| byte.is_ascii_control() && !is_common_control(byte.into());
        let count = bytes.iter().filter(|&&byte| unprintable(byte)).count();
        return !bytes.contains(&0) && count * 2 < bytes.len().max(1);
    }
    let unprintable = |chunk: std::str::Utf8Chunk<'_>| {
        let harmful = |c: &char| is_harmful(*c) && !is_common_control(*c);
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

/// Whether a control character is common in texts.
const fn is_common_control(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\x1b')
}

fn write_char(f: &mut impl Write, c: char) -> fmt::Result {
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

/// Whether a terminal may act on the character, or may hide it or its neighbours.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Whether a character is a format character that changes how its neighbours look, or one of the two line separators.
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

    /// Escaping a text at once gives the same as escaping its characters one by one.
    #[test]
    fn runs_of_clean_ascii_change_nothing() {
        let parts: [&[u8]; 9] = [
            b"a",
            b" plain~",
            b"\\",
            b"\n",
            "é".as_bytes(),
            "\u{202e}".as_bytes(),
            b"\xff",
            b"\xe2\x82",
            b"\x7f",
        ];
        let slowly = |bytes: &[u8], limit: usize| {
            let mut out = String::new();
            write_unclean(bytes, limit, &mut out).unwrap();
            out
        };
        for (i, j, k) in (0..729).map(|n| (n / 81, n / 9 % 9, n % 9)) {
            let bytes = [parts[i], parts[j], parts[k], parts[i]].concat();
            for limit in (0..bytes.len() + 2).chain([usize::MAX]) {
                let mut pushed = String::new();
                escaped_to(&bytes, limit).push_to(&mut pushed);
                assert_eq!(pushed, slowly(&bytes, limit), "{bytes:?} to {limit}");
                assert_eq!(pushed, escaped_to(&bytes, limit).to_string());
            }
        }
    }

    #[test]
    fn a_limit_cuts_between_characters() {
        assert_eq!(escaped_to("ééé".as_bytes(), 5).to_string(), "éé…");
        assert_eq!(escaped_to(b"abc", 3).to_string(), "abc");
        assert_eq!(escaped_to(b"\xff\xff", 1).to_string(), "\\xff…");
    }
}
