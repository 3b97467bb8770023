//! A program gave up because an environment variable is not set.
//!
//! Reading a variable is no system call, so only the last words can tell: a sentence that calls a name an environment
//! variable and says that it is missing. What shells, Python and Node say of it is in the catalogue.
//!
//! The rule is wrong if the program could do without the variable and gave up over something else, or if the name in
//! the sentence is something else that is written in capitals. The verdict has the variable's name only, never a value.

use super::phrase::{said, sentences};
use super::{Case, Cause, Finding};
use crate::facts::output::Line;
use crate::lexicon::lexicon;

/// How many words may be between the name and the words that call it a variable.
const MAX_BETWEEN: usize = 2;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let named = |line: &&'_ Line| sentences(&line.text).find_map(called_a_variable).is_some();
    let line = case.words.block().iter().copied().find(named)?;
    let name = sentences(&line.text).find_map(called_a_variable)?;
    Some(Finding {
        rests_on: None,
        sentence: format!(
            "{}: the environment variable {name} is not set",
            case.ended()
        ),
        cause: Cause::MissingVariable,
        subject: name.to_owned(),
        score: 85,
        why: "the last words call it a variable of the environment, and missing".into(),
        evidence: vec![line.evidence()],
        next_step: case.advice(
            format!(
                "Set {name} in the container's env or envFrom, and check that the ConfigMap or Secret it comes from has that key."
            ),
            format!("Set {name} in the environment of the command."),
        ),
        weakened_by: Vec::new(),
    })
}

/// The name beside words that call it an environment variable, in a sentence that says that it is missing.
fn called_a_variable(sentence: &str) -> Option<&str> {
    let place = said(sentence, &lexicon().environment.words).next()?;
    let near = |text: &str| {
        // The words that say that it is missing may be in between: `environment variables not set: A`.
        let rest = &lexicon()
            .unset
            .words
            .iter()
            .fold(text.to_ascii_lowercase(), |text, missing| {
                text.replace(missing, "")
            });
        let words = rest
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        words.count() <= MAX_BETWEEN
    };
    let after = &sentence[place.end..];
    let after = variables(after).find(|(at, _)| near(&after[..*at]));
    let before = || {
        let before = &sentence[..place.start];
        let last = variables(before).last();
        last.filter(|(at, name)| near(&before[at + name.len()..]))
    };
    let (at, name) = match after {
        Some((at, name)) => (place.end + at, name),
        None => before()?,
    };
    // `variable HOME is set, but the table is missing` is about a table.
    let all = at.min(place.start)..(at + name.len()).max(place.end);
    let is_missing = said(sentence, &lexicon().unset.words).any(|missing| {
        let between = if missing.start >= all.end {
            &sentence[all.end..missing.start]
        } else if missing.end <= all.start {
            &sentence[missing.end..all.start]
        } else {
            ""
        };
        near(between)
    });
    is_missing.then_some(name)
}

/// The words of a text that are written like environment variables, and their places.
fn variables(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut next = 0;
    let words = text.split_inclusive(is_end).map(move |word| {
        let at = next;
        next += word.len();
        (at, word.trim_end_matches(is_end))
    });
    words.filter(|(_, word)| is_variable(word))
}

/// Whether a word is written like an environment variable: `DATABASE_URL`, `PORT`; but not the error `EADDRINUSE`, or a
/// log level.
fn is_variable(word: &str) -> bool {
    const NONE: &[&str] = &[
        "ERROR", "FATAL", "WARN", "WARNING", "CRITICAL", "INFO", "DEBUG", "PANIC", "EMERG", "HTTP",
        "JSON", "YAML", "SSL", "TLS", "DNS", "TCP", "API", "URL", "UTC", "NOT", "SQL",
    ];
    let errno = word.starts_with('E') && !word.contains('_') && word.len() > 4;
    is_name(word)
        && word.len() > 2
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !errno
        && !word.starts_with("ERR_")
        && !NONE.contains(&word)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    fn said(argv0: &str, words: &str) -> (Cause, String, u8) {
        let mut s = Script::new(&[argv0]);
        let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
        (verdict.cause, verdict.subject, verdict.score)
    }

    #[test]
    fn a_program_that_calls_it_so_is_believed_more() {
        assert_eq!(
            said("node", "Error: environment variable PORT is not set\n"),
            (Cause::MissingVariable, "PORT".into(), 85)
        );
        for words in [
            "Missing required environment variables: SESSION_SECRET\n",
            "config: SESSION_SECRET environment variable is required\n",
            "Required env vars not set: SESSION_SECRET, OTHER\n",
            "SESSION_SECRET missing from environment\n",
            "process.env.SESSION_SECRET is undefined\n",
        ] {
            assert_eq!(
                said("app", words),
                (Cause::MissingVariable, "SESSION_SECRET".into(), 85),
                "{words}"
            );
        }
    }

    #[test]
    fn capitals_are_no_variable() {
        for words in [
            "fatal: SESSION_SECRET is required\n",
            "java.lang.IllegalStateException: Expected BEGIN_OBJECT but was STRING at line 1 column 1\n",
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key Identifier\n",
            "fatal: environment variable table is full. KEY_FILE is missing\n",
            "fatal: environment variable HOME is set to /root, but the profile table is missing\n",
            "fatal: the environment variable block of job NIGHTLY_RUN has a table that is missing\n",
        ] {
            assert_eq!(said("app", words).0, Cause::ExitedNonZero, "{words}");
        }
    }

    #[test]
    fn other_words_in_capitals_are_none() {
        assert_eq!(
            said("app", "FATAL ERROR: licence is required\n").0,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn the_value_of_another_variable_is_not_in_the_sentence() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "env var TOKEN missing (MODE=s3cr3t)\n")
            .exit(INIT, 1);
        assert!(!verdict(&s).sentence.contains("s3cr3t"));
    }
}
