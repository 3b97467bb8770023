//! Text of a capture that cannot be displayed unescaped.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use events::escape::escaped;
use events::own;

/// Bytes that a recorded process chose: a path, an argument. They are escaped when displayed. In JSON they are not
/// changed, except that U+FFFD replaces what is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// A copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(own(bytes))
    }

    /// The bytes as they are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(&self.0).fmt(f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A command line as a person would type it: arguments with blanks are quoted.
pub(crate) fn command_line(argv: &[Text]) -> String {
    let quoted = argv.iter().map(|argument| {
        let text = argument.to_string();
        match text.is_empty() || text.contains([' ', '\'', '"', '\\']) {
            true => format!("'{text}'"),
            false => text,
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_it_is_escaped_and_as_json_it_is_what_it_was() {
        let text = Text::new(b"a\x1b[2J\\\xff");
        assert_eq!(text.to_string(), r"a\x1b[2J\\\xff");
        assert_eq!(serde_json::to_value(&text).unwrap(), "a\u{1b}[2J\\\u{fffd}");
    }

    #[test]
    fn arguments_stay_apart() {
        let argv = ["sh", "-c", "exit 3", ""].map(|it| Text::new(it.as_bytes()));
        assert_eq!(command_line(&argv), "sh -c 'exit 3' ''");
    }
}
