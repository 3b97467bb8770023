//! How the rules find phrases in what programs say.
//!
//! A phrase matches whole words, and does not match inside of a path or URL. Two things are said together if they are
//! in one sentence of a line. Where it matters, a phrase that is negated does not count: `no errors`, `failed=0`.
//!
//! Only English is understood. What a program says in another language is cited, but proves nothing.

use std::ops::Range;

use events::decode::Errno;

/// Words that negate what follows them: `no errors`, `not optional`.
const NEGATIONS: &[&str] = &[
    "no", "not", "never", "nothing", "neither", "without", "zero", "0", "none", "nor", "cannot",
    "don't", "isn't", "aren't", "mustn't", "won't", "can't",
];
/// How many words may be between a negation and what it negates.
const NEAR: usize = 3;

/// Whether a text contains one of the phrases, which are in lower case. Phrases match whole words; a capital letter
/// also begins a word (`FileNotFoundError`). `*` at the end of a phrase stands for any end of its last word. What is
/// part of a path or URL does not count.
pub(crate) fn says<P: AsRef<str>>(text: &str, phrases: &[P]) -> bool {
    said(text, phrases).next().is_some()
}

/// Where a text contains one of the phrases.
pub(crate) fn said<'t, P: AsRef<str>>(
    text: &'t str,
    phrases: &'t [P],
) -> impl Iterator<Item = Range<usize>> + 't {
    let lower = text.to_ascii_lowercase();
    phrases.iter().flat_map(move |phrase| {
        let phrase = phrase.as_ref();
        let (phrase, open) = match phrase.strip_suffix('*') {
            Some(phrase) => (phrase, true),
            None => (phrase, false),
        };
        let places: Vec<_> = lower.match_indices(phrase).map(|(at, _)| at).collect();
        places
            .into_iter()
            .map(move |at| at..at + phrase.len())
            .filter(move |place| {
                starts_word(text, place.start)
                    && (open || ends_word(text, place.end))
                    && !is_in_path(text, place.start)
            })
    })
}

/// Like [`says`], but only if no word before or after negates the phrase: `no errors`, `failed=0`.
pub(crate) fn affirms<P: AsRef<str>>(text: &str, phrases: &[P]) -> bool {
    sentences(text)
        .any(|sentence| said(sentence, phrases).any(|place| !is_negated(sentence, &place)))
}

/// The sentences of a line. A sentence ends with `.`, `!` or `?` before a blank, or with `;`.
pub(crate) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().find_map(|(at, c)| {
            let after = at + c.len_utf8();
            let blank = rest[after..].starts_with([' ', '\t']);
            let begins = rest[after..]
                .trim_start()
                .starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '\'' | '/' | '('));
            let ends = match c {
                ';' => blank,
                '.' | '!' | '?' => blank && begins,
                _ => false,
            };
            ends.then_some(after)
        });
        let (sentence, next) = rest.split_at(end.unwrap_or(rest.len()));
        rest = next;
        Some(sentence)
    })
}

/// Whether a text gives an error as callers of the kernel do: by its name, or in the words of strerror(3) with nothing
/// else after them. `Connection refused by policy` is an error of something else.
pub(crate) fn gives(text: &str, errno: Errno) -> bool {
    let name = errno.to_string().to_ascii_lowercase();
    let words = errno.text().to_ascii_lowercase();
    says(text, &[name])
        || said(text, &[words]).any(|place| {
            let rest = text[place.end..].trim_start();
            let whole = !rest.starts_with(|c: char| c.is_alphanumeric());
            // `Permission denied (publickey)` comes from a server. Rust adds `(os error 13)`.
            let of_server = rest.strip_prefix('(').is_some_and(|inner| {
                let number = inner.trim_start_matches(|c: char| !c.is_ascii_digit() && c != ')');
                !number.starts_with(|c: char| c.is_ascii_digit())
            });
            whole && !of_server
        })
}

/// Whether the text at `place` is negated by a word before it, or by a 0 after it.
fn is_negated(text: &str, place: &Range<usize>) -> bool {
    let before = text[..place.start].to_ascii_lowercase();
    let words = before
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '_')))
        .filter(|word| !word.is_empty());
    let mut near = words.rev().take(NEAR);
    // `non-fatal` and `0 errors` are negated; in `no such host: error` the error is not.
    let clause = before.rfind([':', ',', '(']).map_or(0, |at| at + 1);
    let in_clause = before[clause..]
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '_')))
        .filter(|word| !word.is_empty())
        .count();
    let near = near.by_ref().take(in_clause);
    let taken_back = near.into_iter().any(|word| NEGATIONS.contains(&word));
    let tail = &text[place.end..];
    let tail = tail.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let none = tail
        .strip_prefix(['=', ':'])
        .map(|value| value.trim_start().trim_start_matches(['"', '\'']))
        .and_then(|value| value.strip_prefix('0'))
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '.'));
    taken_back || none || before.ends_with("non-") || before.ends_with("non")
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn starts_word(text: &str, at: usize) -> bool {
    let Some(first) = text[at..].chars().next().filter(|&c| in_word(c)) else {
        return true;
    };
    let Some(before) = text[..at].chars().next_back().filter(|&c| in_word(c)) else {
        return true;
    };
    let then_lower = text[at..]
        .chars()
        .nth(1)
        .is_some_and(|c| c.is_ascii_lowercase());
    first.is_ascii_uppercase()
        && (before.is_ascii_lowercase() || before.is_ascii_uppercase() && then_lower)
}

fn ends_word(text: &str, at: usize) -> bool {
    let Some(last) = text[..at].chars().next_back().filter(|&c| in_word(c)) else {
        return true;
    };
    match text[at..].chars().next().filter(|&c| in_word(c)) {
        None => true,
        Some(next) => next.is_ascii_uppercase() && last.is_ascii_lowercase(),
    }
}

/// Whether the text at this place is part of a path or URL.
fn is_in_path(text: &str, at: usize) -> bool {
    let breaks = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '`' | '(' | ')' | ',' | '<' | '>' | '[' | ']' | '='
            )
    };
    let start = text[..at].rfind(breaks).map_or(0, |before| {
        before + text[before..].chars().next().map_or(1, char::len_utf8)
    });
    let word = &text[start..at];
    // After `: ` a new word begins; after `:` alone the same word may go on.
    word.starts_with(['/', '~']) || word.starts_with("./") || word.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_only_as_a_whole() {
        for (text, phrase) in [
            ("an error came", "error"),
            ("FileNotFoundError: x", "error"),
            ("IOError", "error"),
            ("java.io.FileNotFoundException: x", "exception*"),
            ("it failed", "fail*"),
            ("Connection refused", "connection refused"),
            ("ECONNREFUSED", "econnrefused"),
            ("x: ./y: not found", "not found"),
        ] {
            assert!(says(text, &[phrase]), "{text}");
        }
        for (text, phrase) in [
            ("unexpected token", "expected"),
            ("connect_mode=direct", "connect"),
            ("terrors of the deep", "error"),
            ("open /etc/missing/app.conf", "missing"),
            ("GET http://host/error", "error"),
            ("errors", "error"),
        ] {
            assert!(!says(text, &[phrase]), "{text}");
        }
    }

    #[test]
    fn what_is_taken_back_is_not_affirmed() {
        for text in [
            "finished with no errors",
            "0 errors, 0 warnings",
            "ok=3 failed=0",
            "errors: 0",
            "non-fatal",
            "without an error",
            "no errors found, nothing failed",
        ] {
            assert!(!affirms(text, &["error*", "fail*", "fatal*"]), "{text}");
        }
        for text in [
            "no space: fatal error",
            "error: no such thing",
            "failed=2",
            "errors: 07",
        ] {
            assert!(affirms(text, &["error*", "fail*", "fatal*"]), "{text}");
        }
    }

    #[test]
    fn a_line_has_sentences() {
        let of = |text| sentences(text).map(str::trim).collect::<Vec<_>>();
        assert_eq!(
            of("cannot start. See /etc/app.conf for more; bye"),
            ["cannot start.", "See /etc/app.conf for more;", "bye"]
        );
        assert_eq!(of("v1.2.3 of app.py failed"), ["v1.2.3 of app.py failed"]);
    }

    #[test]
    fn an_error_of_a_call_stands_alone() {
        let refused = |text| gives(text, Errno::ECONNREFUSED);
        assert!(refused("[Errno 111] Connection refused"));
        assert!(refused("dial: connection refused: db"));
        assert!(refused("Connection refused (os error 111)"));
        assert!(refused("connect ECONNREFUSED 10.0.0.7:80"));
        assert!(!refused("connection refused by policy"));
        assert!(!gives("Permission denied (publickey).", Errno::EACCES));
        assert!(gives("open (13: Permission denied)", Errno::EACCES));
        assert!(!gives("permission denied for table users", Errno::EACCES));
    }
}
