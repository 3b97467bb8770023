//! Whether a text names something.

use std::ops::Range;

/// Whether `text` has `name` as a whole: no letter, digit or other character of names right before or after it.
#[must_use]
pub fn names(text: &str, name: &str) -> bool {
    places(text, name).next().is_some()
}

/// Where `text` has `name` as a whole.
pub(crate) fn places(text: &str, name: &str) -> impl Iterator<Item = Range<usize>> {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let is_whole = move |&(at, _): &(usize, &str)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let mut next = after.chars();
        let ends = match next.next() {
            // A dot or slash ends the name unless it goes on after it.
            Some('.' | '/') => !next.next().is_some_and(in_name),
            Some(c) => !in_name(c),
            None => true,
        };
        let starts = name.starts_with('/')
            || !before
                .chars()
                .next_back()
                .is_some_and(|c| in_name(c) || matches!(c, '.' | '/'));
        ends && starts
    };
    // Searching prepares itself by the name, which for one that cannot be there is all its cost.
    let possible = !name.is_empty() && name.len() <= text.len();
    let matches = possible.then(|| text.match_indices(name));
    let whole = matches.into_iter().flatten().filter(is_whole);
    whole.map(|(at, name)| at..at + name.len())
}

/// The last component of a path.
pub(crate) fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/')
        .find(|part| !part.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_only_as_a_whole() {
        assert!(names("open() \"/etc/app.conf\" failed", "/etc/app.conf"));
        assert!(names("cannot resolve flask.", "flask"));
        assert!(names("lookup flask: no such host", "flask"));
        assert!(!names(
            "open /etc/app.conf.d: no such file",
            "/etc/app.conf"
        ));
        assert!(!names(
            "open /etc/app.conf/x: no such file",
            "/etc/app.conf"
        ));
        assert!(!names("my-flask: no", "flask"));
        assert!(!names("host flask.example.com not found", "flask"));
        assert!(!names("anything", ""));
    }
}
