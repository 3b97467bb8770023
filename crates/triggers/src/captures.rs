//! The captures that a loop has given, and whether another capture is worth it.

use std::time::Duration;

use crate::{Captured, Time};

/// How many different causes of one loop are captured.
const MOST_CAUSES: usize = 8;

/// The captures of a crash loop, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Captures(Vec<Known>);

#[derive(Debug)]
struct Known {
    id: String,
    at: Time,
    /// The cause that it was decided for, the cause of its verdict, and the causes of captures that it has replaced.
    causes: Vec<Option<String>>,
    /// Whether no better capture is possible: it holds as many runs as a capture can, or was taken when there were as
    /// many.
    complete: bool,
}

impl Known {
    /// Whether the cause of its runs is unknown.
    fn shows_none(&self) -> bool {
        self.causes.iter().all(Option::is_none)
    }
}

/// What a capture would be good for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It would show a cause that no other capture shows.
    New,
    /// It would have more runs than the capture with this id, or a cause which that one lacks.
    Replaces(String),
    Nothing,
}

impl Captures {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a capture for this cause would be good for. `fuller` says that it would hold as many runs as a capture can.
    pub(crate) fn worth(&self, cause: Option<&str>, fuller: bool) -> Worth {
        let shows = |known: &&Known| known.causes.iter().any(|shown| shown.as_deref() == cause);
        match self.0.iter().rev().find(shows) {
            Some(known) if fuller && !known.complete => Worth::Replaces(known.id.clone()),
            Some(_) => Worth::Nothing,
            None if self.0.is_empty() => Worth::New,
            // An unknown cause is nothing new, and no reason to replace a capture that shows a cause.
            None if cause.is_none() => Worth::Nothing,
            None => match self.0.iter().rev().find(|known| known.shows_none()) {
                Some(known) => Worth::Replaces(known.id.clone()),
                None if self.0.len() < MOST_CAUSES => Worth::New,
                None => Worth::Nothing,
            },
        }
    }

    /// Adds a capture. `decided_for` are further causes, besides the one that the capture shows.
    pub(crate) fn add(
        &mut self,
        captured: Captured,
        decided_for: impl IntoIterator<Item = Option<String>>,
        complete: bool,
    ) {
        self.0.retain(|known| known.id != captured.id);
        let mut causes = vec![captured.cause];
        causes.extend(decided_for);
        if causes.iter().any(Option::is_some) {
            causes.retain(Option::is_some);
        }
        self.0.push(Known {
            id: captured.id,
            at: captured.at,
            causes,
            complete,
        });
    }

    /// Removes a capture. Returns the causes that it showed.
    pub(crate) fn remove(&mut self, id: &str) -> Vec<Option<String>> {
        let removed = self.0.extract_if(.., |known| known.id == id);
        removed.flat_map(|known| known.causes).collect()
    }

    /// The loop is over at this time: drops the captures that are older than the cool-down.
    pub(crate) fn forget(&mut self, at: Time, cool_down: Duration) {
        self.0.retain(|known| at.since(known.at) < cool_down);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}
