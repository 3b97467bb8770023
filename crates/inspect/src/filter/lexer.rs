//! Splits an expression into words, from left to right. What counts as a word depends on what is expected: a field, an
//! operator or a value.

use std::ops::Range;

use super::error::{Fault, quoted};

/// Reads an expression from left to right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'e> {
    text: &'e str,
    at: usize,
}

/// A value as it was written.
#[derive(Debug)]
pub(super) struct Word<'e> {
    /// Its place, including the quotes.
    pub(super) at: Range<usize>,
    /// Its text without the quotes; escapes are still in it.
    pub(super) raw: &'e str,
    /// The quote around it, if any.
    pub(super) quote: Option<char>,
}

impl<'e> Lexer<'e> {
    pub(super) fn new(text: &'e str) -> Self {
        Self { text, at: 0 }
    }

    /// The place where the next word begins.
    pub(super) fn at(&mut self) -> usize {
        let blank = self.rest().len() - self.rest().trim_start().len();
        self.at += blank;
        self.at
    }

    fn rest(&self) -> &'e str {
        &self.text[self.at..]
    }

    fn take(&mut self, length: usize) -> &'e str {
        let taken = &self.rest()[..length];
        self.at += length;
        taken
    }

    /// Converts the place of a byte into a count of characters, from 1.
    pub(super) fn column(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.at() == self.text.len()
    }

    /// Takes the character if it comes next.
    pub(super) fn eat(&mut self, c: char) -> bool {
        self.at();
        let is_next = self.rest().starts_with(c);
        if is_next {
            self.take(c.len_utf8());
        }
        is_next
    }

    /// The next field, keyword or operator that is made of letters; empty if something else comes next.
    pub(super) fn name(&mut self) -> (&'e str, Range<usize>) {
        let start = self.at();
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let rest = self.rest();
        let length = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        (self.take(length), start..start + length)
    }

    /// Takes the word if it comes next.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let before = *self;
        let found = self.name().0 == keyword;
        if !found {
            *self = before;
        }
        found
    }

    /// The argument in brackets that directly follows a field, without a blank.
    pub(super) fn argument(&mut self) -> Result<Option<(&'e str, Range<usize>)>, Fault> {
        if !self.rest().starts_with('[') {
            return Ok(None);
        }
        let start = self.at;
        let Some(length) = self.rest().find(']') else {
            return Err(Fault::new(start..start + 1, "this bracket is not closed"));
        };
        self.take(1);
        let inside = self.take(length - 1);
        self.take(1);
        Ok(Some((inside, start..self.at)))
    }

    /// The next operator, made of signs or letters; empty if something else comes next.
    pub(super) fn operator(&mut self) -> (&'e str, Range<usize>) {
        const SIGNS: [&str; 7] = ["==", "!=", "<=", ">=", "=", "<", ">"];
        let start = self.at();
        match SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            Some(sign) => (self.take(sign.len()), start..start + sign.len()),
            None => self.name(),
        }
    }

    /// The next value: in quotes, or everything up to a blank, a parenthesis, a comma, an equals sign or a quote.
    pub(super) fn value(&mut self) -> Result<Word<'e>, Fault> {
        let start = self.at();
        if let Some(quote) = self.rest().chars().next().filter(|c| is_quote(*c)) {
            return self.quoted(quote);
        }
        let ends = |c: char| c.is_whitespace() || is_quote(c) || matches!(c, '(' | ')' | ',' | '=');
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.expected("a value"));
        }
        Ok(Word {
            raw: self.take(length),
            at: start..start + length,
            quote: None,
        })
    }

    fn quoted(&mut self, quote: char) -> Result<Word<'e>, Fault> {
        let start = self.at;
        self.take(1);
        let mut escaped = false;
        let end = self.rest().find(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(length) = end else {
            return Err(Fault::new(start..start + 1, "this quote is not closed"));
        };
        let raw = self.take(length);
        self.take(1);
        Ok(Word {
            raw,
            at: start..self.at,
            quote: Some(quote),
        })
    }

    /// The fault that `what` was expected and something else comes next.
    pub(super) fn expected(&mut self, what: &str) -> Fault {
        let start = self.at();
        let rest = self.rest();
        let ends = |(at, c): (usize, char)| {
            (at > 0 && (c.is_whitespace() || matches!(c, '(' | ')' | ','))).then_some(at)
        };
        let length = rest.char_indices().find_map(ends).unwrap_or(rest.len());
        let found = match &rest[..length] {
            "" => "the filter ends".to_owned(),
            word => format!("found {}", quoted(word)),
        };
        Fault::new(
            start..start + length,
            format!("expected {what}, but {found}"),
        )
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

impl Word<'_> {
    /// The bytes that the word means. In quotes, the escapes that `lastword show` prints are replaced.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Fault> {
        if self.quote.is_none() {
            return Ok(self.raw.as_bytes().to_vec());
        }
        let mut bytes = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at..];
            let Some((replaced, length)) = escape(rest) else {
                let start = self.at.start + 1 + (self.raw.len() - rest.len());
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                let fault = Fault::new(start..start + length, "this escape has no meaning");
                return Err(fault.help(
                    "escapes are \\\\ \\\" \\' \\n \\r \\t \\0 \\xff \\u{202e}; write \\\\ for a backslash"
                        .to_owned(),
                ));
            };
            bytes.extend_from_slice(&replaced);
            rest = &rest[length..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(bytes)
    }

    /// The pattern that the word means. Only escaped quotes are replaced, because a pattern has its own escapes.
    pub(super) fn pattern(&self) -> String {
        if self.quote.is_none() {
            return self.raw.to_owned();
        }
        let mut pattern = String::with_capacity(self.raw.len());
        let mut chars = self.raw.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next()) {
                ('\\', Some(next)) => {
                    if !is_quote(next) {
                        pattern.push(c);
                    }
                    pattern.push(next);
                    chars.next();
                }
                _ => pattern.push(c),
            }
        }
        pattern
    }
}

/// The bytes of the escape that `text` starts with, and its length.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let after = text.get(2..)?;
    let byte = match text.as_bytes()[1] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        quoted @ (b'\\' | b'"' | b'\'') => quoted,
        b'x' => {
            let digits = after.get(..2).filter(|digits| is_hex(digits))?;
            return Some((vec![u8::from_str_radix(digits, 16).ok()?], 4));
        }
        b'u' => {
            let digits = after.strip_prefix('{')?.split_once('}')?.0;
            let code = u32::from_str_radix(Some(digits).filter(|it| is_hex(it))?, 16).ok()?;
            let c = char::from_u32(code)?;
            return Some((c.to_string().into_bytes(), digits.len() + 4));
        }
        _ => return None,
    };
    Some((vec![byte], 2))
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}
