//! Values of keys that name a credential: `password=…`, `"apiKey": "…"`, `token: …`, `--client-secret=…`.
//!
//! A regular expression finds a word and the `=` or `:` after it; what the key is, and where its value ends, is decided
//! here by what stands around it. Error messages use the same words (`cannot open token: No such file`), and must survive.

use std::ops::Range;

use regex::bytes::Regex;

use crate::mask::is_masked;

/// The word a key ends with, and the sign after it.
pub(crate) const TRIGGER: &str = r#"(?i)(?:(?P<password>passw(?:or)?d|passphrase|passwort|pwd)|(?P<key>secret|token|credentials?|(?:api|access|account|auth|encryption|signing|master|private|secret|shared|subscription|client|license|function|storage)[_.-]?key(?:[_.-]?(?:base|data))?|client[_-]?key[_-]?data|session[_-]?id|connection[_-]?string)|(?P<short>pass|auth|sig|signature))(?:[_.-]?(?:b64|base64|value)|[0-9]{1,3})?\\{0,3}["']?[ \t]{0,8}(?::=|=>|=|:)"#;

/// Bytes before a key that are looked at.
const LONGEST_KEY: usize = 64;

/// Where a text comes from: error messages are written, not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Bytes read, from a file as a rule.
    Read,
    /// Bytes written, or said by somebody.
    Written,
}

/// The values to mask.
pub(crate) fn find(trigger: &Regex, text: &[u8], source: Source) -> Vec<Range<usize>> {
    let found = trigger.captures_iter(text);
    let places = found.filter_map(|found| {
        let (all, word) = (found.get(0)?, found.iter().skip(1).flatten().next()?);
        let class = match (found.name("password"), found.name("short")) {
            (Some(_), _) => Class::Password,
            (_, Some(_)) => Class::Short,
            _ => Class::Key,
        };
        Key::new(text, word.range(), all.range(), class)?.value(text, source)
    });
    places.collect()
}

/// How much a word says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Password,
    Key,
    /// Also the end of other words: `bypass`.
    Short,
}

struct Key {
    class: Class,
    is_pwd: bool,
    /// Only blanks, dashes, or words such as `export` stand before it on its line.
    starts_line: bool,
    /// It stands in quotes.
    quoted: bool,
    /// Byte before it and its quotes, blanks skipped.
    before: Option<u8>,
    /// A dash stands before it: an option of a command line.
    is_option: bool,
    colon: bool,
    /// Where the value may start.
    after: usize,
}

impl Key {
    fn new(text: &[u8], word: Range<usize>, all: Range<usize>, class: Class) -> Option<Self> {
        let is_key =
            |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let lead = text[..word.start].iter().rev();
        let lead = lead.take(LONGEST_KEY).take_while(is_key).count();
        let start = word.start - lead;
        let own = text.get(word.start).copied()?;
        let previous = text[start..word.start].last().copied();
        // `bypass`, but not `dbPass`.
        let inside = previous.is_some_and(|byte| byte.is_ascii_alphabetic())
            && !(own.is_ascii_uppercase()
                && previous.is_some_and(|byte| byte.is_ascii_lowercase()));
        if class == Class::Short && inside {
            return None;
        }
        let is_option = text[start..word.start].first() == Some(&b'-');
        let sign = text[..all.end].last().copied()?;
        if text.get(all.end) == Some(&b'=') || (sign == b':' && text.get(all.end) == Some(&b':')) {
            return None;
        }
        let mut head = &text[..start];
        let quoted = matches!(head.last(), Some(b'"' | b'\''));
        while let Some((b'"' | b'\'' | b'\\', rest)) = head.split_last() {
            head = rest;
        }
        let line = head
            .iter()
            .rposition(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .map_or(head, |at| &head[at + 1..]);
        let line = line.trim_ascii();
        let starts_line = line.is_empty()
            || matches!(
                line,
                b"-" | b"#" | b";" | b"export" | b"set" | b"declare -x" | b"ENV" | b"//"
            );
        if line.to_ascii_lowercase().ends_with(b"unexpected") {
            return None;
        }
        Some(Self {
            class,
            is_pwd: text[word.clone()].eq_ignore_ascii_case(b"pwd"),
            starts_line,
            quoted,
            before: head.trim_ascii_end().last().copied(),
            is_option,
            colon: sign == b':',
            after: all.end,
        })
    }

    fn value(&self, text: &[u8], source: Source) -> Option<Range<usize>> {
        let rest = &text[self.after..];
        let json = self.quoted && self.colon;
        let blanks = rest
            .iter()
            .take_while(|byte| match byte {
                b' ' | b'\t' => true,
                b'\n' | b'\r' => json,
                _ => false,
            })
            .count();
        let start = self.after + blanks;
        let place = match quote(&text[start..]) {
            Some(quote) => {
                let start = start + quote.len();
                start..start + quote.value(&text[start..])
            }
            None => start..start + self.bare(text, start, blanks, source)?,
        };
        let value = text.get(place.clone())?;
        let quoted = place.start > start;
        if !self.may_hold(value, quoted) {
            return None;
        }
        Some(place)
    }

    /// Length of a value without quotes.
    fn bare(&self, text: &[u8], start: usize, blanks: usize, source: Source) -> Option<usize> {
        let rest = &text[start..];
        let line = rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .unwrap_or(rest.len());
        let whole_line = rest[..line].trim_ascii_end().len();
        let until = |ends: &[u8]| {
            let end = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || ends.contains(byte);
            rest.iter().position(end).unwrap_or(rest.len())
        };
        if self.class == Class::Short && self.colon {
            return None;
        }
        if self.quoted && self.colon {
            // JSON: without quotes it is a number, and anything else is prose.
            let number = rest.first().is_some_and(u8::is_ascii_digit);
            return number.then(|| until(b",}]"));
        }
        if self.starts_line && (source == Source::Read || self.is_option) {
            return Some(match rest {
                [b'|' | b'>', ..] if self.colon => block(rest),
                _ => whole_line,
            });
        }
        if !self.colon {
            let length = until(b"&;\"'<");
            return (length >= 3 || blanks == 0).then_some(length);
        }
        let token = until(b"{}()[],;\"'<");
        if self.starts_line && blanks > 0 {
            // YAML in a log; a message would be of several words.
            return (token == whole_line).then_some(token);
        }
        let fields =
            matches!(self.before, None | Some(b'{' | b',' | b'(' | b'[')) || self.starts_line;
        let in_struct = blanks == 0 && (fields || text[..start].contains(&b'{'));
        (in_struct && token >= 4).then_some(token)
    }

    /// Whether a value can be a credential, and is not a placeholder, code, or prose.
    fn may_hold(&self, value: &[u8], quoted: bool) -> bool {
        const NOTHING: &[&[u8]] = &[
            b"true",
            b"false",
            b"yes",
            b"no",
            b"null",
            b"nil",
            b"none",
            b"undefined",
            b"missing",
            b"empty",
            b"required",
            b"unset",
            b"<nil>",
            b"<none>",
            b"[redacted]",
            b"<redacted>",
        ];
        let trimmed = value.trim_ascii_end();
        let trimmed = trimmed
            .strip_suffix(b",")
            .or(trimmed.strip_suffix(b")"))
            .unwrap_or(trimmed);
        if trimmed.is_empty() || is_masked(value) {
            return false;
        }
        if NOTHING
            .iter()
            .any(|word| trimmed.eq_ignore_ascii_case(word))
        {
            return false;
        }
        // passwd of nsswitch.conf(5).
        if trimmed.starts_with(b"files") || trimmed.starts_with(b"compat") {
            return false;
        }
        // Templates and references: ${VAR}, $(VAR), $VAR, {{ … }}, %(…)s.
        if let [b'$', next, ..] = trimmed
            && (next.is_ascii_uppercase() || matches!(next, b'{' | b'('))
        {
            return false;
        }
        if trimmed.starts_with(b"{{") || (!quoted && is_code(trimmed)) {
            return false;
        }
        if self.is_pwd && trimmed.starts_with(b"/") {
            return false;
        }
        let prose = quoted && self.colon && !self.quoted && !self.starts_line;
        let field = matches!(self.before, None | Some(b'{' | b',' | b'(' | b'['));
        match self.class {
            // `missing secret: "db-password"`, `unknown token: '}'`.
            Class::Key if prose && !field => false,
            // A limit such as max_token=4096.
            Class::Key => trimmed.len() > 6 || !trimmed.iter().all(u8::is_ascii_digit),
            Class::Short if self.colon => quoted && (self.quoted || field || self.starts_line),
            _ => true,
        }
    }
}

/// `os.environ["X"]`, `getenv('X')`: code as tracebacks print it.
fn is_code(value: &[u8]) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':');
    let length = value.iter().take_while(|byte| name(byte)).count();
    let calls = matches!(value.get(length), Some(b'(' | b'['));
    let argument = value.get(length + 1);
    value.starts_with(b"process.env.")
        || (length > 0 && calls && argument.is_none_or(|byte| matches!(byte, b'"' | b'\'' | b')')))
}

/// Length of the indented lines below a YAML `|` or `>`, that line included.
fn block(rest: &[u8]) -> usize {
    let mut length = 0;
    for (number, line) in rest.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if number > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        length += line.len();
    }
    rest[..length].trim_ascii_end().len()
}

/// A quotation mark, with backslashes where the text is itself quoted, and Python's prefixes.
struct Quote {
    prefix: usize,
    backslashes: usize,
    mark: u8,
}

fn quote(text: &[u8]) -> Option<Quote> {
    let prefix = usize::from(matches!(text, [b'b' | b'u' | b'r', b'"' | b'\'', ..]));
    let backslashes = text[prefix..]
        .iter()
        .take_while(|&&byte| byte == b'\\')
        .count();
    let mark = *text.get(prefix + backslashes)?;
    (matches!(mark, b'"' | b'\'' | b'`') && backslashes < 8).then_some(Quote {
        prefix,
        backslashes,
        mark,
    })
}

impl Quote {
    fn len(&self) -> usize {
        self.prefix + self.backslashes + 1
    }

    /// Length of the value up to the same mark behind as many backslashes; where that was cut off, to the end of the line.
    fn value(&self, text: &[u8]) -> usize {
        let mut backslashes = 0;
        for (at, &byte) in text.iter().enumerate() {
            let ends = match self.backslashes {
                0 => backslashes % 2 == 0,
                own => backslashes == own,
            };
            match byte {
                b'\\' => backslashes += 1,
                0 => return at,
                _ if byte == self.mark && ends => return at - self.backslashes,
                _ => backslashes = 0,
            }
        }
        let line = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        line.unwrap_or(text.len())
    }
}
