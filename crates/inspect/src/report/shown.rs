//! Text of a capture in a form that is safe in a page.

use maud::Render;

use events::escape::{escaped_to, is_harmful};

/// Text of limited length that hides nothing: control characters, invisible characters and characters that change the
/// direction of text are spelt out. When the text is written, the template escapes what is special in HTML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown(String);

impl Shown {
    /// Bytes of a capture, at most `limit` of them.
    pub(super) fn raw(bytes: impl AsRef<[u8]>, limit: usize) -> Self {
        Self(escaped_to(bytes.as_ref(), limit).to_string())
    }

    /// Text that this crate made for people, at most `limit` characters of it. Bytes of a capture in it are already
    /// escaped; if that was forgotten, they are escaped here.
    pub(super) fn said(text: &str, limit: usize) -> Self {
        let mut shown = String::with_capacity(text.len().min(limit));
        let mut characters = text.chars();
        for c in characters.by_ref().take(limit) {
            if is_harmful(c) {
                shown.extend(c.escape_unicode());
            } else {
                shown.push(c);
            }
        }
        if characters.next().is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Render for Shown {
    fn render_to(&self, page: &mut String) {
        self.0.render_to(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_stays_and_the_rest_is_escaped() {
        assert_eq!(Shown::said(r"a\n\x1b", 9), Shown(r"a\n\x1b".into()));
        assert_eq!(
            Shown::said("a\u{202e}b\0\n", 9),
            Shown(r"a\u{202e}b\u{0}\u{a}".into())
        );
        assert_eq!(Shown::said("éééé", 3), Shown("ééé…".into()));
        assert_eq!(
            Shown::raw(b"<\xff\\", 9).render().into_string(),
            r"&lt;\xff\\"
        );
    }
}
