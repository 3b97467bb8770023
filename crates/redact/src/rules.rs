//! What is known to be a credential: `rules.yaml`, read and compiled.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::Error;
use crate::value::{self, Words};

/// How many bytes of intermediate results an expression may keep in each thread; hostile texts fill them.
const MAX_CACHE: usize = 256 << 10;

const RULES: &str = include_str!("rules.yaml");

#[derive(Deserialize)]
struct File {
    tokens: Vec<TokenRow>,
    patterns: Vec<PatternRow>,
    keys: KeyRows,
    statuses: Vec<String>,
    grammar: Vec<String>,
    references: Vec<String>,
}

#[derive(Deserialize)]
struct TokenRow {
    issuer: String,
    prefixes: Vec<String>,
    alphabet: String,
    at_least: usize,
}

#[derive(Deserialize)]
struct PatternRow {
    rule: String,
    keywords: Vec<String>,
    pattern: String,
    #[serde(default)]
    accept: Accept,
}

#[derive(Deserialize)]
struct KeyRows {
    passwords: Vec<String>,
    secrets: Vec<String>,
    several: Vec<String>,
    short: HashSet<String>,
    not_pass: HashSet<String>,
    suffixes: HashSet<String>,
    opens: HashSet<String>,
    points: HashSet<String>,
}

/// What the group of a pattern must look like, because prose may be in the same place.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accept {
    #[default]
    Any,
    Header,
    Random,
    Hash,
    Pairs,
}

impl Accept {
    /// Whether a place of a text can hold a credential.
    pub(crate) fn holds(self, words: &Words, text: &[u8], place: Range<usize>) -> bool {
        let value = &text[place.clone()];
        match self {
            Self::Any => true,
            Self::Header => {
                let line = text[place.start..].iter().take(MAX_SENTENCE).enumerate();
                // What follows an element of XML says nothing about the element.
                let line = line
                    .take_while(|(at, byte)| match byte {
                        b'\n' | b'\r' | b'"' | b'\'' | 0 => false,
                        b'<' => *at < value.len(),
                        _ => true,
                    })
                    .count();
                let sentence = &text[place.start..place.start + line];
                !value.starts_with(b"**")
                    && !words.tells_nothing(value)
                    && !words.is_prose(sentence)
            }
            Self::Random => value::looks_random(value),
            Self::Hash => value::looks_hashed(value),
            Self::Pairs => value.contains(&b'=') && !words.is_prose(value),
        }
    }
}

/// How many bytes of a line are searched for words of prose.
const MAX_SENTENCE: usize = 256;

/// A regular expression. Its first group is masked.
pub(crate) struct Pattern {
    pub(crate) rule: String,
    pub(crate) regex: Regex,
    pub(crate) accept: Accept,
}

/// What follows the prefix of an issuer's tokens.
pub(crate) struct Token {
    alphabet: [bool; 256],
    at_least: usize,
}

impl Token {
    /// Length of the text after a prefix, if it makes a token; `cut` says that the text was cut off at its end.
    pub(crate) fn length(&self, rest: &[u8], cut: bool) -> Option<usize> {
        let length = rest
            .iter()
            .take_while(|&&byte| self.alphabet[usize::from(byte)])
            .count();
        let whole = length >= self.at_least && value::looks_random(&rest[..length]);
        let begun =
            cut && length == rest.len() && length >= 4 && rest.iter().any(u8::is_ascii_digit);
        if !whole && !begun {
            return None;
        }
        let more = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        Some(length + rest[length..].iter().take_while(more).count())
    }
}

/// The rule that a keyword in a text calls for.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A token's prefix: the number of the token, and the prefix's length.
    Token(usize, usize),
    /// The number of a pattern.
    Pattern(usize),
    Found(Own),
}

/// Rules that are written as code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Own {
    Key,
    Pair,
    Environment,
    PrivateKey,
    SecretObject,
    Option,
}

/// The keywords that call for rules that are written as code.
const OWN: &[(Own, &[&str])] = &[
    (
        Own::Key,
        &[
            "pass",
            "pwd",
            "pw",
            "secret",
            "token",
            "cred",
            "key",
            "auth",
            "sig",
            "psk",
            "session",
            "sid",
            "conn",
            "otp",
            "kennwort",
            "senha",
            "contrasena",
            "motdepasse",
            "mdp",
            "sharedaccess",
            "dockerconfigjson",
            "code",
            "id_rsa",
            "id-rsa",
            "registry",
        ],
    ),
    (Own::Pair, &["value"]),
    (Own::Environment, crate::environment::KEYWORDS),
    (Own::PrivateKey, &["private key"]),
    (Own::SecretObject, &["secret"]),
    (Own::Option, &[" -", "--", "\n-", "\"-", "'-"]),
];

/// The compiled rules.
pub(crate) struct Rules {
    pub(crate) keywords: AhoCorasick,
    /// The rule that each keyword calls for, by the keyword's number.
    pub(crate) calls: Vec<Call>,
    /// The prefixes as issuers write them, by the number of their keyword; empty for other keywords.
    pub(crate) prefixes: Vec<Vec<u8>>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) keys: KeyWords,
    pub(crate) words: Words,
}

impl Rules {
    /// Reads the rules that are compiled into the program.
    ///
    /// # Errors
    /// If they are wrong. Tests check that they are not.
    pub(crate) fn new() -> Result<Self, Error> {
        let file: File =
            serde_saphyr::from_str(RULES).map_err(|error| Error::Rules(error.to_string()))?;
        let (mut keywords, mut calls, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |keyword: &str, call: Call, prefix: &[u8]| {
            keywords.push(keyword.to_owned());
            calls.push(call);
            prefixes.push(prefix.to_vec());
        };
        let mut tokens = Vec::new();
        for row in &file.tokens {
            for prefix in &row.prefixes {
                add(
                    prefix,
                    Call::Token(tokens.len(), prefix.len()),
                    prefix.as_bytes(),
                );
            }
            tokens.push(Token {
                alphabet: alphabet(&row.alphabet)
                    .ok_or_else(|| Error::Rules(format!("alphabet of {}", row.issuer)))?,
                at_least: row.at_least,
            });
        }
        let mut patterns = Vec::new();
        for row in file.patterns {
            for keyword in &row.keywords {
                add(keyword, Call::Pattern(patterns.len()), b"");
            }
            patterns.push(Pattern {
                regex: RegexBuilder::new(&format!("(?-u){}", row.pattern))
                    .dfa_size_limit(MAX_CACHE)
                    .build()
                    .map_err(|error| Error::Pattern {
                        name: row.rule.clone(),
                        error: error.into(),
                    })?,
                rule: row.rule,
                accept: row.accept,
            });
        }
        for (own, words) in OWN {
            for word in *words {
                add(word, Call::Found(*own), b"");
            }
        }
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(keywords)
            .map_err(|error| Error::Rules(error.to_string()))?;
        Ok(Self {
            keywords,
            calls,
            prefixes,
            tokens,
            patterns,
            keys: KeyWords::new(file.keys),
            words: Words::new(file.statuses, file.grammar, file.references),
        })
    }

    /// Whether a rule with this name exists among them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.rule == name)
    }
}

/// `A-Za-z0-9_-` as a set of bytes.
fn alphabet(classes: &str) -> Option<[bool; 256]> {
    let mut set = [false; 256];
    let mut rest = classes.as_bytes();
    while let [first, after @ ..] = rest {
        let last = match after {
            [b'-', last, tail @ ..] => {
                rest = tail;
                *last
            }
            _ => {
                rest = after;
                *first
            }
        };
        set.get_mut(usize::from(*first)..=usize::from(last))?
            .fill(true);
    }
    Some(set)
}

/// How much a key says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Password,
    /// The key of a secret, and more than a single word: `client_secret`.
    Secret,
    /// `secret`, `token`: words that error messages use, too.
    Bare,
    /// The key of something unknown: only a value that looks random is secret.
    Weak,
    /// `pass`, `auth`: words that are also parts of other words.
    Short,
}

/// The words that keys consist of.
pub(crate) struct KeyWords {
    rows: KeyRows,
}

/// How many parts of a key are looked at.
const MAX_PARTS: usize = 8;

impl KeyWords {
    fn new(rows: KeyRows) -> Self {
        Self { rows }
    }

    /// The class of a key such as `spring.datasource.password`, `dbPassword`, `JWT_KEY`.
    pub(crate) fn class(&self, key: &[u8]) -> Option<Class> {
        // The most frequent key means nothing.
        if key.eq_ignore_ascii_case(b"key") {
            return None;
        }
        let parts = parts(key);
        let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let rows = &self.rows;
        loop {
            let joined = parts.join(" ");
            if rows
                .several
                .iter()
                .any(|several| joined.ends_with(several.as_str()))
            {
                return Some(Class::Secret);
            }
            if let Some(class) = self.of_last(&parts, key) {
                return class;
            }
            let last = parts.pop()?;
            if parts.is_empty()
                || !(rows.suffixes.contains(last) || last.bytes().all(|byte| byte.is_ascii_digit()))
            {
                return None;
            }
        }
    }

    /// The class according to the last part of a key. `None` if that part is not a word of a key; `Some(None)` if it is
    /// a word of a key that holds no secret.
    fn of_last(&self, parts: &[&str], key: &[u8]) -> Option<Option<Class>> {
        let rows = &self.rows;
        let (last, before) = parts.split_last()?;
        let last = last.trim_end_matches(|c: char| c.is_ascii_digit());
        if before.last() == Some(&"no") {
            return Some(None);
        }
        if rows
            .passwords
            .iter()
            .any(|word| last.ends_with(word.as_str()))
        {
            return Some(Some(Class::Password));
        }
        if let Some(word) = rows
            .secrets
            .iter()
            .find(|word| last.ends_with(word.as_str()))
        {
            if before
                .last()
                .is_some_and(|before| rows.points.contains(*before))
            {
                return Some(None);
            }
            let bare = before.is_empty() && last.len() == word.len();
            return Some(Some(
                if bare && matches!(last, "secret" | "token" | "credential" | "credentials") {
                    Class::Bare
                } else {
                    Class::Secret
                },
            ));
        }
        if last == "key" || last == "keys" && before.last() == Some(&"unseal") {
            let before = before.last()?;
            let upper = key.iter().all(|byte| !byte.is_ascii_lowercase());
            return Some(if rows.points.contains(*before) {
                None
            } else if rows.opens.contains(*before) || upper {
                Some(Class::Secret)
            } else {
                Some(Class::Weak)
            });
        }
        if rows.short.contains(last) {
            return Some(Some(
                if matches!(last, "pw" | "psw" | "pass") && !before.is_empty() {
                    Class::Password
                } else {
                    Class::Short
                },
            ));
        }
        let pass = last.ends_with("pass") && !rows.not_pass.contains(last);
        pass.then_some(Some(Class::Password))
    }

    /// Whether the word before ` key` makes it a secret's key, as in `API key: …`.
    pub(crate) fn opens(&self, word: &[u8]) -> bool {
        self.rows
            .opens
            .contains(&*String::from_utf8_lossy(word).to_ascii_lowercase())
    }
}

/// The last parts of a key, in small letters. It is split at `_`, `.`, `-`, and where a capital follows a small letter
/// or starts a word.
fn parts(key: &[u8]) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (at, &byte) in key.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            parts.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map_or(0, |at| key[at]);
        let after = key.get(at + 1).copied().unwrap_or(0);
        let starts = byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || (before.is_ascii_uppercase() && after.is_ascii_lowercase()));
        if starts {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    parts.retain(|part| !part.is_empty());
    let start = parts.len().saturating_sub(MAX_PARTS);
    parts.split_off(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_classed_by_their_words() {
        let rules = Rules::new().unwrap();
        let class = |key: &str| rules.keys.class(key.as_bytes());
        for key in [
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "spring.datasource.password",
            "MYSQL_PWD",
            "DB_PW",
            "PASSCODE",
            "userpass",
            "SMTP_PASS",
            "password2",
            "new_password",
            "passwordConfirmation",
            "DB-PASSWORD",
            "rootpw.pass",
        ] {
            assert_eq!(class(key), Some(Class::Password), "{key}");
        }
        for key in [
            "client_secret",
            "clientSecret",
            "APP_KEY",
            "JWT_KEY",
            "STRIPE_KEY",
            "SSH_KEY",
            "CREDS",
            "apiKey",
            "APIKey",
            "api-key",
            "secretKeyBase",
            "client-key-data",
            "_authToken",
            "ACME_KEY",
            "aws_secret_access_key",
            "X_TOKEN_VALUE",
            "sharedKey",
        ] {
            assert_eq!(class(key), Some(Class::Secret), "{key}");
        }
        assert_eq!(class("token"), Some(Class::Bare));
        assert_eq!(class("acme_key"), Some(Class::Weak));
        assert_eq!(class("sig"), Some(Class::Short));
        for key in [
            "key",
            "PRIMARY_KEY",
            "foreignKey",
            "public_key",
            "bypass",
            "compass",
            "max_tokens",
            "token_type",
            "secretName",
            "passed",
            "keyboard",
            "author",
            "monkey",
            "tokens",
            "PASSWORD_FILE",
            "eos_token",
            "x",
            "",
            "_",
        ] {
            assert_eq!(class(key), None, "{key}");
        }
    }
}
