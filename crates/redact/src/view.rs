//! A text without the control sequences of terminals, because colours may be between a key and its value, or inside
//! the value.

/// A text as a terminal shows it, and the places of its bytes in the raw text.
pub(crate) struct View {
    pub(crate) text: Vec<u8>,
    /// The place of each byte in the raw text.
    places: Vec<u32>,
}

impl View {
    /// `None` if the text has no control sequence.
    pub(crate) fn of(raw: &[u8]) -> Option<Self> {
        memchr::memchr(ESCAPE, raw)?;
        let mut view = Self {
            text: Vec::with_capacity(raw.len()),
            places: Vec::with_capacity(raw.len()),
        };
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            let skipped = sequence(&raw[at..]);
            if skipped == 0 {
                view.text.push(byte);
                view.places.push(u32::try_from(at).ok()?);
            }
            at += skipped.max(1);
        }
        Some(view)
    }

    /// Copies the bytes back to their places.
    pub(crate) fn write_back(&self, raw: &mut [u8]) {
        for (byte, at) in self.text.iter().zip(&self.places) {
            if let Some(raw) = raw.get_mut(*at as usize) {
                *raw = *byte;
            }
        }
    }
}

const ESCAPE: u8 = 0x1b;
/// How many bytes of a sequence are looked at: xterm's titles are the longest sequences.
const LONGEST: usize = 256;

/// Length of the control sequence with which a text starts (ECMA-48): CSI, OSC, or two bytes.
fn sequence(text: &[u8]) -> usize {
    let text = &text[..text.len().min(LONGEST)];
    match text {
        [ESCAPE, b'[', rest @ ..] => {
            let parameters = rest
                .iter()
                .take_while(|byte| matches!(byte, 0x20..=0x3f))
                .count();
            2 + parameters
                + usize::from(
                    rest.get(parameters)
                        .is_some_and(|byte| matches!(byte, 0x40..=0x7e)),
                )
        }
        [ESCAPE, b']', rest @ ..] => {
            let end = rest
                .iter()
                .position(|byte| matches!(*byte, 7 | ESCAPE | b'\n'));
            // A sequence without its end hides nothing.
            end.map_or(1, |end| match rest[end..] {
                [7, ..] => end + 3,
                [ESCAPE, b'\\', ..] => end + 4,
                _ => 1,
            })
        }
        [ESCAPE, 0x40..=0x5f | b'(' | b')', ..] => 2,
        [ESCAPE, ..] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_reads() {
        for (raw, text) in [
            ("a\x1b[32mb\x1b[0m\n", "ab\n"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;http://x\x1b\\y", "y"),
            ("\x1b]0;unended\nz", "]0;unended\nz"),
            ("\x1b[", ""),
            ("\x1b", ""),
        ] {
            let view = View::of(raw.as_bytes()).unwrap();
            assert_eq!(view.text, text.as_bytes(), "{raw:?}");
        }
        assert!(View::of(b"plain").is_none());
    }
}
