//! JSON that is safe in a terminal: characters that a terminal acts on, or hides, are escaped as `\uXXXX`.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use events::escape::is_harmful;

/// Writes a document on several lines, so that people can read it, too.
///
/// # Errors
/// When `out` fails.
pub fn write_pretty(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    write(value, out, PrettyFormatter::new())
}

/// Writes a document on one line.
///
/// # Errors
/// When `out` fails.
pub(crate) fn write_line(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    write(value, out, CompactFormatter)
}

fn write(value: &impl Serialize, out: &mut dyn Write, formatter: impl Formatter) -> io::Result<()> {
    let formatter = Harmless(formatter);
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, formatter,
    ))?;
    writeln!(out)
}

/// A payload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Data<'e> {
    Text(&'e str),
    Base64(String),
}

impl<'e> Data<'e> {
    /// Text if the bytes are UTF-8; `cut` says that the last character may be incomplete. Otherwise Base64.
    pub(crate) fn of(bytes: &'e [u8], cut: bool) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) if error.error_len().is_none() && cut => {
                Self::Text(std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default())
            }
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }
}

/// Escapes characters that `F` would leave as they are.
struct Harmless<F>(F);

/// Passes a method on to the inner formatter.
macro_rules! hand_on {
    ($($method:ident($($argument:ident: $type:ty),*);)+) => {
        $(fn $method<W: ?Sized + Write>(&mut self, writer: &mut W, $($argument: $type),*) -> io::Result<()> {
            self.0.$method(writer, $($argument),*)
        })+
    };
}

impl<F: Formatter> Formatter for Harmless<F> {
    hand_on! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for part in fragment.split_inclusive(is_harmful) {
            let mut chars = part.chars();
            match chars.next_back().filter(|&c| is_harmful(c)) {
                Some(c) => {
                    writer.write_all(chars.as_str().as_bytes())?;
                    for unit in c.encode_utf16(&mut units) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
                None => writer.write_all(part.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped_in_keys_and_values() {
        let value = serde_json::json!({"a\u{9b}b": ["\x1b[2J", "\u{202e}x", "起動 ü", {}]});
        for write in [write_pretty, write_line] {
            let mut out = Vec::new();
            write(&value, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.chars().all(|c| c == '\n' || !is_harmful(c)), "{text}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                value
            );
            assert!(text.contains("起動 ü"));
        }
    }
}
