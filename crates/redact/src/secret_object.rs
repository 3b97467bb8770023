//! Kubernetes Secret objects in YAML and JSON: all values below `data` and `stringData`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

const KIND: &str = r#"(?i-u)\\?["']?kind\\?["']?:[ \t]*\\?["']?secret\b"#;
const DATA: &str = r#"(?-u)\\?["']?\b(?:data|stringData)\\?["']?:"#;
/// How many bytes of an object are looked at, before and after its kind.
const OBJECT: usize = 32 << 10;

#[expect(clippy::expect_used, reason = "constants that the tests compile")]
static PATTERNS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    let json = r#"(?-u)\\?"[A-Za-z0-9._-]+\\?"[ \t\r\n]*:[ \t\r\n]*\\?"([^"\\]+)"#;
    [KIND, DATA, json].map(|pattern| Regex::new(pattern).expect("it compiles"))
});

/// The places of the values.
pub(crate) fn find(text: &[u8]) -> Vec<Range<usize>> {
    let [kind, data, json] = &*PATTERNS;
    let mut places = Vec::new();
    let mut done = 0;
    for kind in kind.find_iter(text) {
        let from = kind.start().saturating_sub(OBJECT).max(done);
        let document = |at: usize| text[at..].starts_with(b"---");
        let object = &text[from..text.len().min(kind.end() + OBJECT)];
        for found in data.find_iter(object) {
            let start = from + found.end();
            let rest = &text[start..text.len().min(start + OBJECT)];
            let blank = rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            if rest.get(blank) == Some(&b'{') {
                let end = rest
                    .iter()
                    .position(|byte| *byte == b'}')
                    .unwrap_or(rest.len());
                let values = json
                    .captures_iter(&rest[..end])
                    .filter_map(|found| found.get(1));
                places.extend(values.map(|value| start + value.start()..start + value.end()));
                done = start + end;
            } else {
                let line = text[..from + found.start()]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let indent = from + found.start() - line;
                done = lines(text, start, rest.len(), indent, &mut places);
            }
            if document(done) {
                break;
            }
        }
    }
    places
}

/// Adds the values of the lines that are indented more than the key. Returns where the first other line starts.
fn lines(
    text: &[u8],
    start: usize,
    length: usize,
    indent: usize,
    places: &mut Vec<Range<usize>>,
) -> usize {
    let mut at = start;
    let mut inside = false;
    for line in text[start..start + length].split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        let own = line
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let content = line.trim_ascii();
        if inside && own <= indent && !content.is_empty() {
            return at;
        }
        inside |= !content.is_empty();
        let key = content
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
            .count();
        let value = match content.get(key..) {
            Some([b':', rest @ ..]) if key > 0 => rest.trim_ascii(),
            // A line of a block.
            _ => content,
        };
        let value = value
            .strip_prefix(b"\"")
            .or(value.strip_prefix(b"'"))
            .unwrap_or(value);
        let value = value
            .strip_suffix(b"\"")
            .or(value.strip_suffix(b"'"))
            .unwrap_or(value);
        let block = matches!(value, [b'|' | b'>', ..]) && value.len() < 4;
        if !value.is_empty() && !block {
            // `value` is a part of `text`, after the blanks and the key of its line.
            let offset = value.as_ptr().addr() - text.as_ptr().addr();
            places.push(offset..offset + value.len());
        }
        at = end;
    }
    at
}
