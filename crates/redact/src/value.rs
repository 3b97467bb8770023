//! Whether a value is a secret or a word of prose.

use std::collections::HashSet;

use crate::mask::is_masked;

/// Longer words are in none of the lists.
const LONGEST_WORD: usize = 24;

/// Words that are not secrets.
pub(crate) struct Words {
    statuses: HashSet<Vec<u8>>,
    grammar: HashSet<Vec<u8>>,
    references: Vec<Vec<u8>>,
}

impl Words {
    pub(crate) fn new(
        statuses: Vec<String>,
        grammar: Vec<String>,
        references: Vec<String>,
    ) -> Self {
        let set = |words: Vec<String>| words.into_iter().map(String::into_bytes).collect();
        Self {
            statuses: set(statuses),
            grammar: set(grammar),
            references: references.into_iter().map(String::into_bytes).collect(),
        }
    }

    /// Whether a single value is a status, a placeholder or a template, or only says where the secret is.
    pub(crate) fn tells_nothing(&self, value: &[u8]) -> bool {
        let value = trimmed(value);
        value.is_empty()
            || is_masked(value)
            || self.is_status(value)
            || is_template(value)
            || self.is_reference(value)
            || matches!(value, [b'<', .., b'>'] if !value.contains(&b' '))
    }

    /// Whether a word is a status or a type: `expired`, `null`, `string`.
    pub(crate) fn is_status(&self, word: &[u8]) -> bool {
        contains(&self.statuses, word)
    }

    /// Whether a value is a reference: `vault:kv/db`, `arn:aws:…`.
    pub(crate) fn is_reference(&self, value: &[u8]) -> bool {
        let start = |reference: &Vec<u8>| {
            value
                .get(..reference.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(reference))
        };
        self.references.iter().any(start)
    }

    /// Whether a text is a sentence: it has several words, one of them a word of grammar or a status, and none that is
    /// clearly a secret.
    pub(crate) fn is_prose(&self, text: &[u8]) -> bool {
        let text = &text[..text.len().min(512)];
        let (mut count, mut says) = (0, false);
        for (at, word) in text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .enumerate()
        {
            count += 1;
            let word = trimmed(word);
            says |= contains(&self.grammar, word) || contains(&self.statuses, word);
            // This is the value itself, and a sentence follows it.
            if at == 0 && is_strong(word) {
                return false;
            }
        }
        count >= 2 && says
    }
}

fn contains(set: &HashSet<Vec<u8>>, word: &[u8]) -> bool {
    word.len() <= LONGEST_WORD && set.contains(&word.to_ascii_lowercase())
}

/// The value without the characters that end a field or a sentence.
pub(crate) fn trimmed(value: &[u8]) -> &[u8] {
    let mut value = value.trim_ascii();
    while let [head @ .., b',' | b';' | b'.' | b':' | b'!'] = value {
        value = head;
    }
    for (open, close) in [(b'(', b')'), (b'{', b'}'), (b'[', b']')] {
        if value.last() == Some(&close) && !value.contains(&open) {
            value = &value[..value.len() - 1];
        }
    }
    value
}

/// Whether a value is a template: `${VAR}`, `$(VAR)`, `$VAR`, `{{ … }}`, `%(…)s`, `%VAR%`, `<%= … %>`, `#{…}`.
fn is_template(value: &[u8]) -> bool {
    match value {
        [b'$', next, ..] => next.is_ascii_uppercase() || matches!(next, b'{' | b'('),
        [b'{', b'{', ..] | [b'%', b'(' | b's', ..] | [b'<', b'%', ..] | [b'#', b'{', ..] => true,
        [b'%', name @ .., b'%'] => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
        }
        _ => {
            value.len() > 1
                && value
                    .iter()
                    .all(|byte| matches!(byte, b'x' | b'X' | b'.' | b'-' | b'_' | b'?' | b'#'))
        }
    }
}

/// Whether a value cannot be a word of prose: it has a digit, base64's padding, or a capital after a small letter.
pub(crate) fn looks_random(value: &[u8]) -> bool {
    let mixed = value
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    let padded = value.ends_with(b"=") && value.len().is_multiple_of(4);
    value.len() >= 6 && (mixed || padded || value.iter().any(u8::is_ascii_digit))
}

/// Whether a value has letters of both cases and a digit or sign, and is not a name in camel case.
pub(crate) fn looks_hashed(value: &[u8]) -> bool {
    let any = |is: fn(&u8) -> bool| value.iter().any(is);
    let capitals = value
        .iter()
        .filter(|byte| byte.is_ascii_uppercase())
        .count();
    any(u8::is_ascii_lowercase) && capitals >= 2 && any(|byte| !byte.is_ascii_alphabetic())
        || (capitals >= 4
            && value
                .iter()
                .filter(|byte| byte.is_ascii_lowercase())
                .count()
                >= 3
            && value
                .windows(2)
                .any(|pair| pair[0].is_ascii_uppercase() && pair[1].is_ascii_uppercase()))
}

/// Whether a value cannot be part of a sentence: it has letters with digits or signs among them, and is not a version,
/// an address, a path, or a number with its unit.
pub(crate) fn is_strong(value: &[u8]) -> bool {
    let letters = value
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let signs = value.iter().any(|byte| {
        matches!(
            byte,
            b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'~'
        )
    });
    let leads = value.first().is_some_and(u8::is_ascii_digit);
    let unit = leads
        && letters <= 3
        && value
            .iter()
            .skip_while(|byte| byte.is_ascii_digit())
            .count()
            == letters;
    let version = matches!(value, [b'v', next, ..] if next.is_ascii_digit()) && value.len() < 12;
    let place = value.iter().any(|byte| {
        matches!(
            byte,
            b'/' | b':' | b'(' | b')' | b'[' | b'<' | b'>' | b'"' | b'\'' | b'=' | b','
        )
    }) || value.iter().filter(|byte| **byte == b'.').count() >= 2;
    value.len() >= 6 && letters >= 2 && (digits >= 1 || signs) && !unit && !version && !place
}

/// Whether a value is a name of Kubernetes, a file name or a word: small letters, digits only after them, parts joined
/// by `-`, `.`, `_`.
pub(crate) fn is_name(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_lowercase)
        && value
            .split(|byte| matches!(byte, b'-' | b'.' | b'_' | b'/' | b':'))
            .all(|part| {
                let letters = part
                    .iter()
                    .take_while(|byte| byte.is_ascii_lowercase())
                    .count();
                part[letters..].iter().all(u8::is_ascii_digit)
                    && (letters > 0 || part.len() <= 2)
                    && part.len() - letters <= 3
            })
}

/// Whether a value is an absolute path with the characters that paths usually have.
pub(crate) fn is_path(value: &[u8]) -> bool {
    const ROOTS: &[&[u8]] = &[
        b"app",
        b"bin",
        b"certs",
        b"config",
        b"data",
        b"dev",
        b"etc",
        b"home",
        b"lib",
        b"mnt",
        b"opt",
        b"private",
        b"proc",
        b"root",
        b"run",
        b"secrets",
        b"srv",
        b"sys",
        b"tmp",
        b"usr",
        b"var",
        b"vault",
        b"workspace",
        b"keys",
        b"ssl",
        b"credentials",
    ];
    let value = trimmed(value);
    if let Some(rest) = value
        .strip_prefix(b"./")
        .or(value.strip_prefix(b"../"))
        .or(value.strip_prefix(b"~/"))
    {
        return !rest.is_empty();
    }
    value.strip_prefix(b"/").is_some_and(|rest| {
        let root = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        rest.contains(&b'/') && ROOTS.contains(&root)
    })
}
