//! Words of English that say something whatever the program is: `knowledge/words.toml`. They choose which line says why a
//! run ended, and weigh what is said; none of them names a cause on its own.

use std::sync::LazyLock;

use serde::Deserialize;

const FILE: &str = include_str!("../knowledge/words.toml");

/// A list of words, in lower case.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    pub(crate) words: Vec<String>,
}

/// All lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lexicon {
    /// Words that report a failure.
    pub(crate) failure: List,
    /// Words that report a success. A program that says them after it reported a failure has recovered.
    pub(crate) success: List,
    /// Words that only say that the program ends, if nothing after them says why.
    pub(crate) closing: List,
    /// How lines begin that say what to do about a failure. The name of the program may come before.
    pub(crate) hint: List,
    /// How lines begin that continue the message before them.
    pub(crate) continuation: List,
    /// Words that say that the program goes on without the thing that is missing.
    pub(crate) tolerated: List,
    /// How programs speak of a child that died.
    pub(crate) of_children: List,
    /// What a process says after its child was killed.
    pub(crate) of_deaths: List,
    /// How parsers report an error, if the name of a file is beside it.
    pub(crate) beside_file: List,
    /// Messages that only parsers give.
    pub(crate) of_parsers: List,
    /// How programs call an environment variable.
    pub(crate) environment: List,
    /// How programs say that a variable is missing.
    pub(crate) unset: List,
    /// How programs say that they won't run, although they exit 0.
    pub(crate) wont_run: List,
    /// What a program says when the signal itself made it fail.
    pub(crate) over_signal: List,
    /// What a program says when it ends because it was asked to.
    pub(crate) going: List,
}

static LEXICON: LazyLock<Lexicon> =
    LazyLock::new(|| toml::from_str(FILE).expect("a test reads the lists"));

/// The lists.
pub(crate) fn lexicon() -> &'static Lexicon {
    &LEXICON
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rules::phrase::{affirms, says};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tested {
        how: How,
        words: Vec<String>,
        examples: Vec<String>,
        counterexamples: Vec<String>,
    }

    #[derive(Clone, Copy, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum How {
        Said,
        Affirmed,
        Begins,
        Written,
        Contained,
    }

    #[test]
    fn each_list_has_words_that_its_examples_say() {
        let lists: BTreeMap<String, Tested> = toml::from_str(FILE).unwrap();
        for (name, list) in lists {
            let found = |text: &str| {
                let lower = text.to_lowercase();
                let mut words = list.words.iter();
                match list.how {
                    How::Said => says(text, &list.words),
                    How::Affirmed => affirms(text, &list.words),
                    How::Begins => words.any(|word| lower.starts_with(word)),
                    How::Written => words.any(|word| text.starts_with(word)),
                    How::Contained => words.any(|word| lower.contains(word)),
                }
            };
            assert!(!list.examples.is_empty() && !list.counterexamples.is_empty());
            for text in &list.examples {
                assert!(found(text), "{name}: {text}");
            }
            for text in &list.counterexamples {
                assert!(!found(text), "{name}: {text}");
            }
        }
        assert!(!lexicon().failure.words.is_empty());
    }
}
