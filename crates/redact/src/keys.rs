//! Values of keys that name a credential: `password=…`, `"apiKey": "…"`, `client_secret: …`,
//! `define('DB_PASSWORD', '…')`.
//!
//! At each `=`, `:` and `,` the key before it is classified by its words (`rules.yaml`). What surrounds the value
//! decides where the value ends, and whether it is a value at all. Error messages use the same words
//! (`cannot open token: No such file`), and must survive.

use std::ops::Range;

use memchr::memchr3_iter;

use crate::mask::is_masked;
use crate::rules::{Class, Rules};
use crate::value::{is_name, is_path, is_strong, looks_random, trimmed};

/// How many bytes before a sign may be its key.
const LONGEST_KEY: usize = 64;
/// How many blanks, and quotes with their backslashes, may be between a key and its sign.
const LONGEST_GAP: usize = 8;
/// How many bytes of a line before a key are looked at.
const LONGEST_LINE: usize = 256;

/// Where a text comes from. Error messages are written by programs, not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Bytes that were read, usually from a file.
    Read,
    /// Bytes that were written, or a text from somewhere else.
    Written,
}

/// The places of values to mask. `hits` are the places at which words of keys end, in ascending order.
pub(crate) fn find(
    rules: &Rules,
    text: &[u8],
    hits: &[usize],
    source: Source,
) -> Vec<Range<usize>> {
    let mut places: Vec<Range<usize>> = Vec::new();
    let (mut end, mut passed) = (0, 0);
    for sign in memchr3_iter(b'=', b':', b',', text) {
        while hits.get(passed).is_some_and(|hit| *hit <= sign) {
            passed += 1;
        }
        let Some(hit) = passed.checked_sub(1).and_then(|at| hits.get(at)) else {
            continue;
        };
        if sign < end || sign - hit > LONGEST_KEY {
            continue;
        }
        let Some(key) = Key::new(rules, text, sign, *hit) else {
            continue;
        };
        if let Some(place) = key.value(rules, text, source) {
            end = place.end;
            places.push(place);
        }
    }
    places
}

/// The place of the key that ends at `end`, without quotes around it, and whether it is quoted.
pub(crate) fn key_before(text: &[u8], end: usize) -> (Range<usize>, bool) {
    let back = |end: usize, most: usize, is: fn(u8) -> bool| {
        let skipped = text[..end]
            .iter()
            .rev()
            .take(most)
            .take_while(|byte| is(**byte));
        end - skipped.count()
    };
    let blanks = back(end, LONGEST_GAP, |byte| matches!(byte, b' ' | b'\t'));
    let bracket = back(blanks, 1, |byte| byte == b']');
    let end = back(bracket, LONGEST_GAP, |byte| {
        matches!(byte, b'"' | b'\'' | b'\\' | b'`')
    });
    let quoted = end < bracket;
    // `$config[password]` has no key, but `$config['password']` has one.
    let end = if quoted { end } else { blanks };
    let start = back(end, LONGEST_KEY, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
    });
    (start..end, quoted)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equals,
    Colon,
    /// A comma between two arguments.
    Comma,
}

struct Key<'t> {
    class: Class,
    is_pwd: bool,
    /// Whether the key ends with `pass` or `pw`.
    is_pass: bool,
    sign: Sign,
    /// Whether only blanks, dashes, or words such as `export` come before the key on its line.
    starts_line: bool,
    /// Whether the key is quoted.
    quoted: bool,
    /// The byte before the key and its quotes; blanks are skipped.
    before: Option<u8>,
    /// The text before the key on its line.
    line: &'t [u8],
    /// Whether a dash comes before the key: it is an option of a command line.
    is_option: bool,
    /// The place at which the value may start.
    after: usize,
}

impl<'t> Key<'t> {
    /// `hit` is the place at which the last word of a key ended before the sign. The key must contain it, otherwise it
    /// is not a key.
    fn new(rules: &Rules, text: &'t [u8], at: usize, hit: usize) -> Option<Self> {
        let (sign, after) = sign(text, at)?;
        let (place, quoted) = key_before(text, at);
        if hit <= place.start || hit > place.end {
            return None;
        }
        let key = &text[place.clone()];
        // In Erlang, keys are atoms: `{password, "…"}`.
        if key.is_empty()
            || (sign == Sign::Comma && !quoted && !text[..place.start].ends_with(b"{"))
        {
            return None;
        }
        let mut head = &text[..place.start];
        while quoted && let Some((b'"' | b'\'' | b'\\' | b'`', rest)) = head.split_last() {
            head = rest;
        }
        let line = &head[head.len().saturating_sub(LONGEST_LINE)..];
        let line = line
            .iter()
            .rposition(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .map_or(line, |at| &line[at + 1..]);
        let opened = line.ends_with(b" ") && rules.keys.opens(last_word(line));
        let class = match rules.keys.class(key) {
            Some(Class::Bare) if opened => Class::Secret,
            None if opened && key.eq_ignore_ascii_case(b"key") => Class::Weak,
            class => class?,
        };
        let trimmed_line = line.trim_ascii();
        let starts_line = trimmed_line.is_empty()
            || matches!(
                trimmed_line,
                b"-" | b"#"
                    | b";"
                    | b"export"
                    | b"set"
                    | b"declare -x"
                    | b"ENV"
                    | b"//"
                    | b"+"
                    | b"const"
                    | b"let"
                    | b"var"
                    | b"ARG"
            );
        Some(Self {
            class,
            is_pass: [&b"pass"[..], b"pw", b"psw"]
                .iter()
                .any(|word| key.to_ascii_lowercase().ends_with(word)),
            is_pwd: [&b"PWD"[..], b"OLDPWD"].contains(&key),
            sign,
            starts_line,
            quoted,
            before: head.trim_ascii_end().last().copied(),
            line: trimmed_line,
            is_option: key.starts_with(b"-"),
            after,
        })
    }

    fn value(&self, rules: &Rules, text: &[u8], source: Source) -> Option<Range<usize>> {
        let rest = &text[self.after..];
        let json = self.quoted && self.sign == Sign::Colon;
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
                let place = start..start + quote.value(&text[start..]);
                self.may_quote(rules, &text[place.clone()], text, place.end)
                    .then_some(place)
            }
            None if self.is_block(&text[start..]) => {
                Some(start..start + block_length(&text[start..]))
            }
            None => {
                let near = &text[..text.len().min(start + LONGEST_LOOK)];
                let length = self.bare(rules, near, start, blanks, source)?;
                let cut = start + length == near.len() && length == LONGEST_LOOK;
                Some(
                    start
                        ..start
                            + length
                            + if cut {
                                rest_of_value(&text[near.len()..])
                            } else {
                                0
                            },
                )
            }
        }?;
        let value = text.get(place.clone())?;
        self.may_hold(value).then_some(place)
    }

    /// Whether a quoted value can be the value of the key.
    fn may_quote(&self, rules: &Rules, value: &[u8], text: &[u8], end: usize) -> bool {
        if rules.words.tells_nothing(value) || rules.words.is_prose(value) {
            return false;
        }
        let field = self.is_field();
        match self.sign {
            Sign::Equals => true,
            Sign::Comma => self.is_argument(value, text, end),
            Sign::Colon => match self.class {
                Class::Password => true,
                Class::Short => self.quoted || field || self.starts_line,
                _ if self.quoted || field || self.starts_line => true,
                // `missing secret: "db-password"`, `unknown token: '}'`.
                Class::Secret => !self.is_searched() || is_strong(value),
                Class::Bare | Class::Weak => is_strong(value) && !self.is_parsed(),
            },
        }
    }

    /// Whether the value is an argument of a call such as `define('DB_PASSWORD', 'x')`; but not in `missing:
    /// ("password", "username")`.
    fn is_argument(&self, value: &[u8], text: &[u8], end: usize) -> bool {
        const SETTERS: &[&[u8]] = &[
            b"define",
            b"set",
            b"put",
            b"add",
            b"env",
            b"header",
            b"config",
            b"property",
            b"append",
            b"store",
            b"insert",
            b"update",
            b"param",
            b"attr",
            b"field",
            b"bind",
            b"with",
            b"default",
            b"write",
            b"setex",
            b"pair",
            b"basicauth",
            b"auth",
            b"option",
        ];
        let Some(callee) = self
            .line
            .strip_suffix(b"(")
            .or(self.line.strip_suffix(b"{"))
        else {
            return false;
        };
        let after = text
            .get(end..text.len().min(end + LONGEST_GAP))
            .unwrap_or_default();
        let after = after
            .iter()
            .find(|byte| !matches!(byte, b'"' | b'\'' | b'\\' | b' '));
        let closes = matches!(after, None | Some(b')' | b',' | b'}'));
        let callee = last_word(callee).to_ascii_lowercase();
        let sets = SETTERS.iter().any(|setter| callee.ends_with(setter));
        closes && (sets || is_strong(value) || (self.class == Class::Password && !is_name(value)))
    }

    fn is_field(&self) -> bool {
        matches!(self.before, None | Some(b'{' | b',' | b'(' | b'['))
    }

    /// Whether the key is the word of a parser, as in `unexpected token`.
    fn is_parsed(&self) -> bool {
        const PARSED: &[&[u8]] = &[
            b"unexpected",
            b"unknown",
            b"illegal",
            b"unrecognized",
            b"expected",
            b"next",
            b"near",
        ];
        let word = last_word(self.line).to_ascii_lowercase();
        PARSED.contains(&word.as_slice())
    }

    /// Whether the value is the name of something that is missing, as in `missing secret: db`.
    fn is_searched(&self) -> bool {
        const SEARCHED: &[&[u8]] = &[
            b"missing",
            b"no",
            b"such",
            b"find",
            b"found",
            b"read",
            b"open",
            b"load",
            b"create",
            b"get",
            b"fetch",
            b"undefined",
            b"unsupported",
            b"required",
            b"duplicate",
            b"the",
            b"for",
            b"of",
            b"named",
            b"kubernetes",
            b"k8s",
            b"mount",
            b"volume",
        ];
        let word = last_word(self.line).to_ascii_lowercase();
        SEARCHED.contains(&word.as_slice()) || self.is_parsed()
    }

    /// Whether the lines of a YAML block follow.
    fn is_block(&self, rest: &[u8]) -> bool {
        let stands = self.starts_line || self.before == Some(b'-');
        self.sign == Sign::Colon
            && self.class != Class::Short
            && stands
            && matches!(rest, [b'|' | b'>', ..])
    }

    /// Length of an unquoted value.
    fn bare(
        &self,
        rules: &Rules,
        text: &[u8],
        start: usize,
        blanks: usize,
        source: Source,
    ) -> Option<usize> {
        let rest = &text[start..];
        let line = rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .unwrap_or(rest.len());
        let whole = rest[..line].trim_ascii_end();
        let until = |ends: &[u8]| {
            let end = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || ends.contains(byte);
            rest[..line].iter().position(end).unwrap_or(line)
        };
        let says = |value: &[u8]| !rules.words.tells_nothing(value) && !is_code(value);
        if self.class == Class::Short && self.sign == Sign::Colon {
            // `pass: b1gBadger` is alone on its line, but `PASS: check12` is the output of a test.
            let alone = self.is_pass && self.starts_line && !whole.contains(&b' ');
            let tests = text[..start].trim_ascii_end().ends_with(b"PASS:");
            let tells = says(whole) && is_strong(whole) && !is_path(whole);
            return (alone && !tests && tells).then_some(whole.len());
        }
        if self.sign == Sign::Comma {
            return None;
        }
        let query = self.sign == Sign::Equals && whole.contains(&b'&');
        let all = (source == Source::Read || self.is_option)
            && !(self.quoted && self.sign == Sign::Colon);
        if self.starts_line && all && !query {
            let first = &rest[..until(b"")];
            return (says(first) && !rules.words.is_prose(whole)).then_some(whole.len());
        }
        match self.sign {
            Sign::Equals => {
                // If a line has only one assignment, all of it is the value.
                let only = self.starts_line && !whole.contains(&b'=');
                let ends: &[u8] = if only { b"\"'`" } else { b"&;\"'<`" };
                let length = self.token(rest, until(ends));
                let value = &rest[..length];
                if !says(value) || (length < 3 && blanks > 0) || self.is_parsed() {
                    return None;
                }
                if self.class == Class::Short && !self.is_pass && !looks_random(value) {
                    return None;
                }
                // `pass=41 fail=3` are counts.
                if self.class == Class::Short
                    && value.len() < 4
                    && value.iter().all(u8::is_ascii_digit)
                {
                    return None;
                }
                let after = rest[length..line].trim_ascii();
                if blanks > 0 && source == Source::Written && is_attribute(value) {
                    return None;
                }
                if matches!(self.class, Class::Bare | Class::Weak | Class::Secret)
                    && (is_path(value)
                        || (self.class == Class::Bare
                            && is_name(value)
                            && rules.words.is_prose(&rest[..line])))
                {
                    return None;
                }
                if self.class == Class::Weak && !is_strong(value) {
                    return None;
                }
                let sentence = rules.words.is_prose(after) || rules.words.is_status(trimmed(after));
                // It must not be another field, nor a command, which is recognised by its options and paths.
                let command = |word: &[u8]| {
                    matches!(
                        word,
                        [b'-' | b'/' | b'.' | b'|' | b'>' | b'<' | b'&' | b';', ..]
                    )
                };
                let alone =
                    !after.contains(&b'=') && !after.split(|byte| *byte == b' ').any(command);
                Some(if self.starts_line && alone && !sentence {
                    whole.len().max(length)
                } else {
                    length
                })
            }
            _ => self.behind_colon(rules, text, start, blanks, whole, until(b"{}()[],;\"'<")),
        }
    }

    /// The length of a value that ends before a comma that another key follows, or before the bracket that was opened
    /// before the value.
    fn token(&self, rest: &[u8], length: usize) -> usize {
        let mut value = &rest[..length];
        if let Some(comma) = value.iter().position(|byte| *byte == b',')
            && value[comma..].contains(&b'=')
        {
            value = &value[..comma];
        }
        while let [head @ .., last] = value {
            let opens = match last {
                b')' => b'(',
                b']' => b'[',
                b'}' => b'{',
                b',' | b':' => 0,
                _ => break,
            };
            if head.contains(&opens) {
                break;
            }
            value = head;
        }
        value.len()
    }

    /// Length of an unquoted value after a colon: the last word of its line, or a text that is clearly a secret.
    fn behind_colon(
        &self,
        rules: &Rules,
        text: &[u8],
        start: usize,
        blanks: usize,
        whole: &[u8],
        token: usize,
    ) -> Option<usize> {
        let value = text.get(start..start + token)?;
        if rules.words.tells_nothing(value) || is_code(whole) || self.is_parsed() {
            return None;
        }
        if self.quoted {
            // In JSON an unquoted value is a number; in YAML it is the last word of its line.
            let number = value
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'.');
            let last = token == whole.len() && self.starts_line && blanks > 0;
            return (number || last || is_strong(value)).then_some(token);
        }
        let after = whole.get(token..).unwrap_or_default().trim_ascii_start();
        let strong = is_strong(value);
        let points = self.class != Class::Password && is_path(value);
        if points || (self.class == Class::Weak && !strong) {
            return None;
        }
        if self.starts_line && blanks > 0 {
            // This is YAML in a log; a message would have several words.
            let words =
                after.is_empty() || (self.class != Class::Bare && !rules.words.is_prose(whole));
            let number = value.iter().all(u8::is_ascii_digit);
            return if words && (after.is_empty() || !number) {
                Some(whole.len())
            } else {
                (strong && self.class != Class::Bare).then_some(token)
            };
        }
        let field = self.is_field() || self.line.contains(&b'{') || self.starts_line;
        if blanks == 0 && field {
            return (token >= 3).then_some(token);
        }
        let closes = after.is_empty()
            || matches!(after[0], b',' | b'}' | b']' | b')' | b';')
            || is_pair(after);
        let told = if self.class == Class::Bare {
            strong || (field && self.is_field())
        } else {
            !self.is_searched() || strong
        };
        ((closes && told) || (strong && self.class != Class::Bare)).then(|| {
            // A password that is alone may contain signs.
            if after.is_empty() || rules.words.is_prose(after) || self.is_field() {
                token
            } else {
                token.max(value_length(whole, token))
            }
        })
    }

    /// Whether a value can be a credential: it is not masked already, and not the place or size of something.
    fn may_hold(&self, value: &[u8]) -> bool {
        let value = trimmed(value);
        if value.is_empty() || is_masked(value) || (self.is_pwd && value.starts_with(b"/")) {
            return false;
        }
        match self.class {
            Class::Password | Class::Short => true,
            // This excludes a limit such as max_token=4096.
            _ => value.len() > 6 || !value.iter().all(u8::is_ascii_digit),
        }
    }
}

/// How many bytes of an unquoted value, and of what follows it, are looked at to judge it.
const LONGEST_LOOK: usize = 512;

/// How many more bytes a long value has.
fn rest_of_value(text: &[u8]) -> usize {
    let ends = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, 0 | b'"' | b'\'' | b'&' | b';' | b',' | b'<')
    };
    text.iter().position(ends).unwrap_or(text.len())
}

/// Length of the value up to the next blank, if a sign such as `[` ended it early.
fn value_length(whole: &[u8], token: usize) -> usize {
    let signs = matches!(whole.get(token), Some(b'[' | b'(' | b'{' | b'<'));
    if signs {
        whole
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(whole.len())
    } else {
        token
    }
}

/// What separates a key from its value at a place, and the place at which the value may start.
fn sign(text: &[u8], at: usize) -> Option<(Sign, usize)> {
    let before = at.checked_sub(1).map_or(0, |at| text[at]);
    let next = text.get(at + 1).copied().unwrap_or(0);
    match text.get(at)? {
        b'=' if matches!(before, b'!' | b'<' | b'>' | b'=' | b'~' | b'+' | b':')
            || matches!(next, b'=' | b'~') =>
        {
            None
        }
        b'=' => Some((Sign::Equals, at + if next == b'>' { 2 } else { 1 })),
        b':' if before == b':' || next == b':' || text[at + 1..].starts_with(b"//") => None,
        b':' if next == b'=' => Some((Sign::Equals, at + 2)),
        b':' => Some((Sign::Colon, at + 1)),
        _ => Some((Sign::Comma, at + 1)),
    }
}

fn last_word(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    let text = &text[text.len().saturating_sub(LONGEST_KEY)..];
    let start = text
        .iter()
        .rposition(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    &text[start.map_or(0, |at| at + 1)..]
}

/// Whether another field follows, as in `user: app` or `user=app`.
fn is_pair(text: &[u8]) -> bool {
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        .count();
    length > 0 && matches!(text.get(length), Some(b'=' | b':'))
}

/// Whether a value is code as tracebacks print it: `os.environ["X"]`, `getenv('X')`.
fn is_code(value: &[u8]) -> bool {
    let name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'!');
    let length = value.iter().take_while(|byte| name(byte)).count();
    let calls = matches!(value.get(length), Some(b'(' | b'['));
    let argument = value.get(length + 1);
    length > 0
        && calls
        && argument
            .is_none_or(|byte| matches!(byte, b'"' | b'\'' | b')') || byte.is_ascii_alphabetic())
        && !value[..length].iter().any(u8::is_ascii_digit)
}

/// Whether a text says where a value comes from, and is not the value: `self.token`, `config.db.password`, `None`,
/// `await`.
fn is_attribute(value: &[u8]) -> bool {
    let identifier = |part: &[u8]| {
        part.first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
            && part
                .iter()
                .all(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
    };
    let dotted = value.contains(&b'.') && value.split(|byte| *byte == b'.').all(identifier);
    dotted || [&b"await"[..], b"new", b"self", b"this", b"input"].contains(&value)
}

/// Length of the indented lines below a YAML `|` or `>`, including the line of that sign.
fn block_length(rest: &[u8]) -> usize {
    let mut length = 0;
    for (number, line) in rest.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if number > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        length += line.len();
    }
    rest[..length].trim_ascii_end().len()
}

/// A quotation mark: with backslashes if the text is itself quoted, and with Python's prefixes.
struct Quote {
    prefix: usize,
    backslashes: usize,
    mark: u8,
}

fn quote(text: &[u8]) -> Option<Quote> {
    let prefix = usize::from(matches!(
        text,
        [b'b' | b'u' | b'r' | b'f' | b'@', b'"' | b'\'', ..]
    ));
    let backslashes = text[prefix..]
        .iter()
        .take(LONGEST_GAP)
        .take_while(|&&byte| byte == b'\\')
        .count();
    let mark = *text.get(prefix + backslashes)?;
    (matches!(mark, b'"' | b'\'' | b'`') && backslashes < LONGEST_GAP).then_some(Quote {
        prefix,
        backslashes,
        mark,
    })
}

impl Quote {
    fn len(&self) -> usize {
        self.prefix + self.backslashes + 1
    }

    /// Length of the value up to the same mark after the same number of backslashes. If the end is missing, the value
    /// goes to the end of the line.
    fn value(&self, text: &[u8]) -> usize {
        let text = &text[..text.len().min(LONGEST_VALUE)];
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

/// How many bytes of a quoted value are looked at: keys in kubeconfigs have 3 KiB, chains of certificates 16.
const LONGEST_VALUE: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_behind_its_quotes() {
        let key = |text: &str| {
            let (place, quoted) = key_before(text.as_bytes(), text.len());
            (text[place].to_owned(), quoted)
        };
        assert_eq!(key("x db.pass-word"), ("db.pass-word".into(), false));
        assert_eq!(key("{\\\"apiKey\\\" "), ("apiKey".into(), true));
        assert_eq!(key("$config['password']"), ("password".into(), true));
        assert_eq!(key("list[0]"), (String::new(), false));
        assert_eq!(key(""), (String::new(), false));
    }
}
