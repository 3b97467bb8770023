//! Text that is cut to a limit.

/// `text` cut to at most `limit` bytes without splitting a character, with an ellipsis if something was cut off.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_never_beyond_the_limit() {
        assert_eq!(cut("nginx exited 1", 14), "nginx exited 1");
        assert_eq!(cut("nginx exited 1", 13), "nginx exit…");
        let umlauts = "ä".repeat(600);
        let short = cut(&umlauts, 1024);
        assert_eq!(short, format!("{}…", "ä".repeat(510)));
        assert!(short.len() <= 1024);
    }
}
