//! Whether the API server can be reached: one value, which everything that talks to the API server keeps up to date,
//! and which anyone can watch.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::{Error, Retry};

/// The state of the connection to the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the API server has answered at all.
    pub answered: bool,
    /// What does not work now, by the part that asked: `pods`, `namespaces`, `captures`, `requests`, `announce`.
    pub troubles: BTreeMap<&'static str, Trouble>,
}

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether the API server is away. If not, somebody has to repair something.
    pub away: bool,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Standing {
    /// Whether the API server answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.answered && !self.troubles.values().any(|trouble| trouble.away)
    }
}

/// Shared access to the [`Standing`]; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<watch::Sender<Standing>>);

impl Health {
    /// The state before anything was asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Access to the value and its changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// Notes that `who` got an answer.
    pub(crate) fn well(&self, who: &'static str) {
        self.0.send_if_modified(|standing| {
            let first = !std::mem::replace(&mut standing.answered, true);
            let mended = standing.troubles.remove(who).is_some();
            if mended {
                tracing::info!(who, "the API server answers again");
            }
            first || mended
        });
    }

    /// Notes that `who` got an error. It is logged once as long as it stays the same.
    pub(crate) fn ill(&self, who: &'static str, error: &Error) {
        let trouble = Trouble {
            away: error.retry() == Retry::Soon,
            message: error.to_string(),
        };
        self.0.send_if_modified(|standing| {
            if standing.troubles.get(who) == Some(&trouble) {
                return false;
            }
            tracing::warn!(who, "{}", trouble.message);
            standing.answered |= !trouble.away;
            standing.troubles.insert(who, trouble);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_up_once_it_answered_and_until_one_of_them_finds_it_away() {
        let health = Health::new();
        let mut watched = health.subscribe();
        assert!(!watched.borrow().is_up());
        health.ill("pods", &Error::Away("refused".to_owned()));
        assert!(!watched.borrow().is_up());
        health.well("pods");
        assert!(watched.borrow_and_update().is_up());
        health.ill("captures", &Error::CrdMissing);
        assert!(watched.borrow_and_update().is_up(), "it did answer");
        health.ill("pods", &Error::Away("refused".to_owned()));
        assert!(!watched.borrow_and_update().is_up());
        health.ill("pods", &Error::Away("refused".to_owned()));
        assert!(
            !watched.has_changed().unwrap(),
            "the same trouble again is no news"
        );
        health.well("pods");
        assert!(watched.borrow().is_up());
        assert_eq!(watched.borrow().troubles.len(), 1);
    }
}
