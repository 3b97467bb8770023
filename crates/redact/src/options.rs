//! Options whose value is the next argument: `--password hunter2`, `-token 'x'`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::rules::{Class, Rules};
use crate::value::{is_path, is_strong};

const OPTION: &str = r#"(?-u)(?:^|[\s"'=(\[])--?([A-Za-z][A-Za-z0-9_.-]{1,60})[ \t]+(?:"([^"\n\x00]+)"|'([^'\n\x00]+)'|([^\s"'\x00]+))"#;

#[expect(clippy::expect_used, reason = "a constant that the tests compile")]
static OPTIONS: LazyLock<Regex> = LazyLock::new(|| Regex::new(OPTION).expect("OPTION compiles"));

/// The places of values. `typed` says that the text is a command line and not prose.
pub(crate) fn find(rules: &Rules, text: &[u8], typed: bool) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(found) = OPTIONS.captures_at(text, at) {
        let (Some(name), Some(value)) = (found.get(1), found.iter().skip(2).flatten().next())
        else {
            break;
        };
        // The value may itself look like an option.
        at = name.end();
        let class = rules.keys.class(name.as_bytes());
        let holds = match class {
            // For `--pass`, but not for `--auth`.
            Some(Class::Short) => {
                name.as_bytes().ends_with(b"pass")
                    && may_hold(rules, text, value.range(), Class::Password, typed)
            }
            None | Some(Class::Weak) => false,
            Some(class) => may_hold(rules, text, value.range(), class, typed),
        };
        if holds {
            at = value.end();
            places.push(value.range());
        }
    }
    places
}

fn may_hold(rules: &Rules, text: &[u8], place: Range<usize>, class: Class, typed: bool) -> bool {
    let value = &text[place.clone()];
    let quoted = matches!(text.get(place.start.wrapping_sub(1)), Some(b'"' | b'\''));
    if (value.starts_with(b"-") && !quoted) || (class != Class::Password && is_path(value)) {
        return false;
    }
    if typed {
        return !value.starts_with(b"$");
    }
    let line = text[..place.start]
        .iter()
        .rev()
        .take(256)
        .position(|byte| *byte == b'\n');
    let line = &text[line.map_or(place.start.saturating_sub(256), |at| place.start - at)..];
    // A line that `sh -x` prints, or that a transcript has.
    let traced = line.starts_with(b"+ ") || line.starts_with(b"$ ") || line.starts_with(b"# ");
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = &text[place.start..text.len().min(place.start + 128)];
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let placeholder = value
        .iter()
        .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'<' | b'>' | b'[' | b']'));
    let usage = line
        .trim_ascii_start()
        .to_ascii_lowercase()
        .starts_with(b"usage")
        || placeholder;
    if rules.words.tells_nothing(value) || usage {
        return false;
    }
    traced || is_strong(value) || !rules.words.is_prose(rest)
}
