//! Texts in which `§` marks the beginning and the end of what must be masked.

/// The text without its marks, and what it must become.
pub(crate) fn parts(text: &str) -> (String, String) {
    let given = text.replace('§', "");
    let expected = text.split('§').enumerate().map(|(at, part)| {
        if at % 2 == 1 {
            part.replace(|c| !matches!(c, '\n' | '\r' | '\0'), "*")
        } else {
            part.to_owned()
        }
    });
    (given, expected.collect())
}
