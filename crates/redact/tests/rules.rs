//! The data of the rules: every prefix, example and counterexample is tried.

use std::fmt::Write;
use std::sync::LazyLock;

use redact::{Config, Manifest, Redactor};
use serde::Deserialize;

#[path = "support/marked.rs"]
mod marked;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Config::default()).unwrap());

/// The file, except for fields that no test needs. A field that is not named here is a misspelling.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    tokens: Vec<Token>,
    patterns: Vec<Pattern>,
    #[serde(rename = "keys")]
    _keys: serde::de::IgnoredAny,
    statuses: Vec<String>,
    grammar: Vec<String>,
    references: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    issuer: String,
    source: String,
    prefixes: Vec<String>,
    alphabet: String,
    at_least: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    rule: String,
    keywords: Vec<String>,
    pattern: String,
    #[serde(rename = "accept")]
    _accept: Option<String>,
    masked: Vec<String>,
    kept: Vec<String>,
}

fn rules() -> Rules {
    serde_saphyr::from_str(include_str!("../src/rules.yaml")).unwrap()
}

fn masked(text: &str) -> (String, Manifest) {
    let (mut text, mut manifest) = (text.to_owned(), Manifest::default());
    REDACTOR.text(&mut text, &mut manifest);
    (text, manifest)
}

/// `length` characters of the alphabet, alternately letters and digits.
fn body(alphabet: &str, length: usize) -> String {
    let letters: Vec<char> = ('A'..='Z')
        .zip('a'..='z')
        .flat_map(|(upper, lower)| [upper, lower])
        .collect();
    let set = regex::Regex::new(&format!("[{alphabet}]")).unwrap();
    let is_in = |c: &char| set.is_match(&c.to_string());
    let letters: Vec<char> = letters.into_iter().filter(is_in).collect();
    let digits: Vec<char> = ('0'..='9').filter(is_in).collect();
    (0..length)
        .map(|at| {
            if at % 2 == 0 {
                letters[at / 2 % letters.len()]
            } else {
                digits[at / 2 % digits.len()]
            }
        })
        .collect()
}

#[test]
fn every_prefix_makes_a_token_and_a_short_or_inner_one_does_not() {
    let (mut wrong, mut prefixes) = (String::new(), 0);
    for token in rules().tokens {
        assert!(
            ["gitleaks", "issuer"].contains(&&*token.source),
            "{}",
            token.issuer
        );
        for prefix in &token.prefixes {
            prefixes += 1;
            let secret = format!("{prefix}{}", body(&token.alphabet, token.at_least));
            let stars = "*".repeat(secret.len());
            for (before, after) in [
                ("using ", " for it\n"),
                ("\"", "\"\n"),
                ("\\n", "\\n"),
                ("%3D", "&x"),
                ("\u{1b}[32m", "\u{1b}[0m\n"),
            ] {
                let (text, manifest) = masked(&format!("{before}{secret}{after}"));
                if text != format!("{before}{stars}{after}") || manifest.is_empty() {
                    writeln!(wrong, "{}: {before:?} {secret}: {text:?}", token.issuer).unwrap();
                }
            }
            let short = format!(
                "see {prefix}{} there\n",
                body(&token.alphabet, token.at_least.min(8) - 1)
            );
            let word = format!("see {prefix}{} there\n", "unremarkable".repeat(4));
            // A text that starts like a JWT is one.
            for kept in [short, word]
                .into_iter()
                .filter(|_| !prefix.contains("eyJ"))
            {
                if masked(&kept).0 != kept {
                    writeln!(wrong, "{}: {kept:?} was masked", token.issuer).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(prefixes >= 200, "{prefixes}");
}

#[test]
fn every_pattern_masks_its_examples_and_keeps_its_counterexamples() {
    let mut wrong = String::new();
    for Pattern {
        rule,
        pattern,
        keywords,
        masked: examples,
        kept,
        ..
    } in rules().patterns
    {
        assert!(
            !examples.is_empty() && !kept.is_empty() && !keywords.is_empty(),
            "{pattern}"
        );
        let regex = regex::bytes::Regex::new(&format!("(?-u){pattern}")).unwrap();
        assert!(regex.captures_len() == 2, "{pattern}");
        for example in &examples {
            let (given, expected) = marked::parts(example);
            let (text, manifest) = masked(&given);
            if text != expected || !regex.is_match(given.as_bytes()) || manifest.of(&rule) == 0 {
                writeln!(
                    wrong,
                    "{rule}: {text:?}\n    not {expected:?}: {:?}",
                    manifest.redaction().masked
                )
                .unwrap();
            }
        }
        for kept in &kept {
            let (text, manifest) = masked(kept);
            if text != *kept {
                writeln!(
                    wrong,
                    "{rule}: {text:?}\n   kept {kept:?}: {:?}",
                    manifest.redaction().masked
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn words_are_small_letters_and_stand_once() {
    let rules = rules();
    for words in [rules.statuses, rules.grammar, rules.references] {
        for (at, word) in words.iter().enumerate() {
            assert_eq!(*word, word.to_ascii_lowercase());
            assert!(!words[..at].contains(word), "{word} stands twice");
        }
    }
}
