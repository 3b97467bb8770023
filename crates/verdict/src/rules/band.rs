//! How sure a verdict is, in words that a reader can rely on.
//!
//! A rule gives a score, which orders findings. A score between 0 and 100 says more than anybody knows, so a reader sees
//! a band instead, and with it how many of a hundred verdicts in that band were right on all captures of this
//! repository. `cargo test -p verdict --test measure` counts that, and fails if a share is not true.

use std::fmt;

use serde::Serialize;

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Band {
    /// Nothing that was recorded explains the end.
    Unknown,
    /// No cause is named; the last words, and what else was found, may lead to it.
    Lead,
    /// The cause fits what was recorded, and something else may have ended the run.
    Plausible,
    /// What failed and what the program said about it fit together.
    Likely,
    /// The kernel, the kubelet or the runtime said how the run ended.
    Certain,
}

impl Band {
    /// The band of a score.
    pub(crate) fn of(score: u8) -> Self {
        match score {
            95.. => Self::Certain,
            80.. => Self::Likely,
            50.. => Self::Plausible,
            10.. => Self::Lead,
            _ => Self::Unknown,
        }
    }

    /// Of a hundred verdicts in this band, how many were right, as measured and rounded down. A lead and an unknown end
    /// name no cause that could be right.
    #[must_use]
    pub fn share(self) -> u8 {
        match self {
            Self::Certain => 99,
            Self::Likely => 97,
            Self::Plausible => 75,
            Self::Lead => 40,
            Self::Unknown => 5,
        }
    }

    /// The band in words, with its share if the verdict names a cause: `likely (97 % of such verdicts are right)`.
    #[must_use]
    pub fn in_words(self) -> String {
        match self {
            Self::Lead | Self::Unknown => self.to_string(),
            _ => format!("{self} ({} % of such verdicts are right)", self.share()),
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Plausible => "plausible",
            Self::Lead => "a lead",
            Self::Unknown => "unknown",
        })
    }
}
