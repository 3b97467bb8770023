//! What was masked, and how often.

use std::collections::BTreeMap;

use capture_format::Redaction;

/// Names of rules, and in how many places each masked something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    counts: BTreeMap<String, u64>,
}

impl Manifest {
    /// Counts one place.
    pub(crate) fn count(&mut self, rule: &str) {
        match self.counts.get_mut(rule) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(rule.to_owned(), 1);
            }
        }
    }

    /// Whether nothing was masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many places one rule masked.
    #[must_use]
    pub fn of(&self, rule: &str) -> u64 {
        self.counts.get(rule).copied().unwrap_or(0)
    }

    /// Adds another manifest, such as that of another run of the same capture.
    pub fn add(&mut self, other: &Redaction) {
        for (rule, count) in &other.masked {
            *self.counts.entry(rule.clone()).or_default() += count;
        }
    }

    /// The form that a capture's header has, ordered by rule name.
    #[must_use]
    pub fn redaction(&self) -> Redaction {
        let counts = self.counts.iter();
        Redaction {
            masked: counts.map(|(rule, count)| (rule.clone(), *count)).collect(),
        }
    }
}
