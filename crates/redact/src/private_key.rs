//! Private keys in PEM (RFC 7468) and OpenPGP armour, even where a payload begins or ends inside a key.

use std::ops::Range;

use memchr::memmem;

use crate::mask::is_masked;

/// Longest line of a block: usually 64 characters; RFC 4880 allows 76.
const LONGEST_LINE: usize = 76;
/// Bytes between the first and the last line of a block: RSA keys of 16,384 bits have 13 KiB.
const LONGEST_BLOCK: usize = 32 << 10;
/// Length from which on base64 without a blank cannot be a word of prose.
const SHORTEST_BODY: usize = 16;

/// The places to mask, and whether the text ends inside a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) places: Vec<Range<usize>>,
    pub(crate) open: bool,
}

/// Looks for blocks. `inside` says that the text continues one that ended inside a block.
pub(crate) fn find(text: &[u8], inside: bool) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    if inside {
        at = match marker(text, 0, b"-----END ") {
            Some(end) if is_body(&text[..end]) => {
                found.places.push(0..end);
                end
            }
            _ => {
                let body = body(text);
                found.places.push(0..body);
                found.open = body == text.len();
                body
            }
        };
    } else if let Some(end) = body_without_start(text) {
        found.places.push(0..end);
        // Whether that was a key is not known, so what follows is looked at anew.
        at = end;
    }
    while let Some(begin) = marker(text, at, b"-----BEGIN ") {
        let name = &text[begin + 11..];
        let name = &name[..name.len().min(64)];
        let line = name
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r' | b'\\'));
        let label = &name[..line.unwrap_or(name.len())];
        at = begin + 11;
        let Some(dashes) = memmem::find(label, b"-----") else {
            continue;
        };
        let start = begin + 11 + dashes + 5;
        if memmem::find(&label[..dashes], b"PRIVATE KEY").is_none() {
            continue;
        }
        let rest = &text[start..text.len().min(start + LONGEST_BLOCK)];
        // Blocks do not nest: the next line of either kind ends this block, or it has no end.
        let lines = [b"-----BEGIN ".as_slice(), b"-----END "];
        let next = lines.iter().filter_map(|line| marker(rest, 0, line));
        let next = next.min().unwrap_or(rest.len());
        let ended = rest[next..].starts_with(b"-----END ");
        // Messages may name the line that is missing.
        let block =
            ended && (has_body(&rest[..next]) || matches!(rest, [b'\n' | b'\r' | b'\\', ..]));
        let length = if block { next } else { body(&rest[..next]) };
        if !block && !has_body(&rest[..length]) && !rest[..next].trim_ascii().is_empty() {
            continue;
        }
        found.places.push(start..start + length);
        found.open = start + length == text.len();
        at = start + length;
    }
    found.places.retain(|place| !place.is_empty());
    found
}

/// Whether a text has base64 that is not a word.
fn has_body(text: &[u8]) -> bool {
    let base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'*');
    text.split(|byte| !base64(byte))
        .any(|part| part.len() >= SHORTEST_BODY)
}

/// Where the body of a block ends that began before this text. It ends with the END line of a key, or with the text.
fn body_without_start(text: &[u8]) -> Option<usize> {
    match marker(text, 0, b"-----END ") {
        Some(end) => {
            let name = &text[end..text.len().min(end + 64)];
            (memmem::find(name, b"PRIVATE KEY").is_some() && is_body(&text[..end])).then_some(end)
        }
        None => {
            let length = body(text);
            let lines = text[..length].split(|&byte| byte == b'\n');
            let full = lines.filter(|line| line.len() >= 48).count();
            (length == text.len() && full >= 3).then_some(length)
        }
    }
}

/// Length of the lines of base64, or of a key's headers, at the start of the text.
fn body(text: &[u8]) -> usize {
    let mut length = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if !is_body(line) {
            break;
        }
        length += line.len();
    }
    length
}

/// Whether all lines are base64 or, in an encrypted key, headers. Blanks and the `
/// ` of a JSON string are ignored.
fn is_body(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').all(|line| {
        let line = line.trim_ascii();
        let base64 = |byte: &u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\\' | b'*')
        };
        line.len() <= LONGEST_LINE && line.iter().all(base64)
            || line.starts_with(b"Proc-Type:")
            || line.starts_with(b"DEK-Info:")
            || (line.contains(&b'\\') && line.iter().all(base64))
            || is_masked(line)
    })
}

fn marker(text: &[u8], from: usize, marker: &[u8]) -> Option<usize> {
    memmem::find(text.get(from..)?, marker).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";

    fn masked(text: &str, inside: bool) -> (String, bool) {
        let found = find(text.as_bytes(), inside);
        let mut bytes = text.as_bytes().to_vec();
        for place in found.places {
            bytes[place].fill(b'*');
        }
        (
            String::from_utf8(bytes).unwrap().replace('*', ""),
            found.open,
        )
    }

    #[test]
    fn dashes_do_not_end_a_key() {
        let text = "-----BEGIN PRIVATE KEY-----\na-----00\n-----END PRIVATE KEY-----\n";
        let expected = "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----\n";
        assert_eq!(masked(text, false), (expected.into(), false));
    }

    #[test]
    fn a_whole_block_keeps_its_two_lines() {
        let (begin, end) = (
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----END RSA PRIVATE KEY-----\n",
        );
        let text = format!("ok\n{begin}\n{LINE}{LINE}{end}more\n");
        assert_eq!(
            masked(&text, false),
            (format!("ok\n{begin}{end}more\n"), false)
        );
    }

    #[test]
    fn a_block_cut_at_its_end_stays_open_over_events() {
        let text = format!("-----BEGIN PRIVATE KEY-----\n{LINE}");
        assert_eq!(
            masked(&text, false),
            ("-----BEGIN PRIVATE KEY-----".into(), true)
        );
        assert_eq!(masked(LINE, true), (String::new(), true));
        let last = format!("{LINE}-----END PRIVATE KEY-----\nrest\n");
        assert_eq!(
            masked(&last, true),
            ("-----END PRIVATE KEY-----\nrest\n".into(), false)
        );
        // The file ended there, and something else is read.
        assert_eq!(masked("server { }\n", true), ("server { }\n".into(), false));
    }

    #[test]
    fn a_block_cut_at_its_start_is_known_by_its_end_or_its_lines() {
        let end = format!("{LINE}{LINE}-----END PRIVATE KEY-----\n");
        assert_eq!(masked(&end[20..], false).0, "-----END PRIVATE KEY-----\n");
        let middle = LINE.repeat(4);
        assert_eq!(masked(&middle[20..], false).0, "");
    }

    #[test]
    fn certificates_and_public_keys_stay() {
        for label in ["CERTIFICATE", "PUBLIC KEY"] {
            let text = format!("-----BEGIN {label}-----\n{LINE}{LINE}-----END {label}-----\n");
            assert_eq!(masked(&text, false), (text.clone(), false));
            let cut = &text[text.find('\n').unwrap() + 9..];
            assert_eq!(masked(cut, false).0, cut);
        }
    }

    #[test]
    fn messages_that_name_a_line_of_a_key_stay() {
        for text in [
            "tls: no -----BEGIN PRIVATE KEY----- line in /etc/x\nexit 1\n",
            "neither -----BEGIN PRIVATE KEY----- nor -----END PRIVATE KEY----- found\n",
            "expected -----BEGIN RSA PRIVATE KEY-----\nlistening\n",
        ] {
            assert_eq!(masked(text, false).0, text);
        }
    }

    #[test]
    fn a_key_in_a_json_string_is_masked() {
        let text = r#"{"k": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhk\nIBAD\n-----END PRIVATE KEY-----\n", "x": 1}"#;
        let expected = r#"{"k": "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----\n", "x": 1}"#;
        assert_eq!(masked(text, false), (expected.into(), false));
    }
}
