//! The times at which the runs of a container started.

use std::{collections::BTreeMap, time::Duration};

use crate::{RestartRule, Time};

/// Starts by run. If the time of a start is not known, the earliest possible time is kept. So a restart is never
/// counted in a window that it was not in.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    starts: BTreeMap<u32, Start>,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    at: Time,
    seen: bool,
}

impl History {
    /// How many starts are kept: one more than any rule can count.
    const LONGEST: u32 = RestartRule::MOST + 1;

    /// The start of a run was seen. Returns whether the numbering of runs has begun anew, which happens when the
    /// kubelet has lost the old containers. Then what was known about the old runs is dropped.
    pub(crate) fn started(&mut self, run: u32, at: Time) -> bool {
        let anew = self
            .starts
            .last_key_value()
            .is_some_and(|(newest, start)| run < *newest && start.seen && at > start.at);
        if anew {
            self.starts.clear();
        }
        self.fill(run, Time::default());
        self.starts.insert(run, Start { at, seen: true });
        self.prune();
        anew
    }

    /// The run with this number has started, at some time after `since` and `last`.
    pub(crate) fn reached(&mut self, run: u32, since: Option<Time>, last: Option<Time>) {
        self.fill(run, since.unwrap_or_default());
        if let (Some(start), Some(last)) = (self.starts.get_mut(&run), last)
            && !start.seen
        {
            start.at = start.at.max(last);
        }
        self.prune();
    }

    /// Adds the runs up to `run` that nobody saw. None of them was before `since` or before the newest known run.
    fn fill(&mut self, run: u32, since: Time) {
        let (first, since) = match self.starts.last_key_value() {
            Some((newest, start)) => (newest.saturating_add(1), since.max(start.at)),
            None => (1, since),
        };
        let unseen = Start {
            at: since,
            seen: false,
        };
        for missing in first.max(run.saturating_sub(Self::LONGEST))..=run {
            self.starts.insert(missing, unseen);
        }
    }

    fn prune(&mut self) {
        while self.starts.len() > Self::LONGEST as usize {
            self.starts.pop_first();
        }
    }

    /// When a run started, if that was seen.
    pub(crate) fn start_of(&self, run: u32) -> Option<Time> {
        self.starts
            .get(&run)
            .filter(|start| start.seen)
            .map(|start| start.at)
    }

    /// The newest run.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.starts.last_key_value().map(|(run, _)| *run)
    }

    /// How many restarts were within this time before `now`.
    pub(crate) fn restarts(&self, now: Time, within: Duration) -> u32 {
        let inside = |(run, start): &(&u32, &Start)| **run > 1 && now.since(start.at) <= within;
        self.starts.iter().filter(inside).count() as u32
    }

    /// Takes over what was known under other run numbers, which are too low by `offset`.
    pub(crate) fn merge(&mut self, other: &Self, offset: u32) {
        for (run, start) in &other.starts {
            let run = run.saturating_add(offset);
            if start.seen {
                self.fill(run, Time::default());
                self.starts.insert(run, *start);
            }
        }
        self.prune();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn the_first_start_is_no_restart() {
        let mut history = History::default();
        for run in 1..=5 {
            history.started(run, at(1000 + u64::from(run)));
        }
        assert_eq!(history.restarts(at(1005), MINUTE), 4);
        assert_eq!(history.restarts(at(1064), MINUTE), 2);
        assert_eq!(history.restarts(at(1066), MINUTE), 0);
        // This start is reported again, and late.
        history.started(4, at(1004));
        history.started(5, at(1005));
        assert_eq!(history.restarts(at(1005), MINUTE), 4);
    }

    #[test]
    fn what_nobody_saw_counts_only_where_it_must_have_been() {
        let mut history = History::default();
        // There were three restarts. The last one is within the window; the others may be.
        history.reached(4, None, Some(at(1000)));
        assert_eq!(history.restarts(at(1010), MINUTE), 1);
        // In a pod that is half a minute old, all of them are.
        let mut history = History::default();
        history.reached(4, Some(at(980)), Some(at(1000)));
        assert_eq!(history.restarts(at(1010), MINUTE), 3);
        // Those between two that were seen.
        history.started(9, at(1020));
        assert_eq!(history.restarts(at(1020), MINUTE), 8);
        assert_eq!(history.restarts(at(1055), MINUTE), 6);
        assert_eq!(history.restarts(at(1075), MINUTE), 1);
    }

    #[test]
    fn what_is_seen_corrects_what_was_assumed() {
        let mut history = History::default();
        history.reached(2, Some(at(0)), None);
        assert_eq!(history.restarts(at(1000), MINUTE), 0);
        history.started(2, at(990));
        assert_eq!(history.restarts(at(1000), MINUTE), 1);
        history.reached(2, None, Some(at(1)));
        assert_eq!(history.start_of(2), Some(at(990)));
    }

    #[test]
    fn numbers_may_begin_anew() {
        let mut history = History::default();
        assert!(!history.started(7, at(100)));
        assert!(!history.started(6, at(90)));
        assert!(history.started(1, at(200)));
        assert_eq!(history.newest(), Some(1));
        assert_eq!(history.start_of(7), None);
    }

    #[test]
    fn is_bounded() {
        let mut history = History::default();
        history.reached(u32::MAX - 5000, None, None);
        for run in u32::MAX - 4999..=u32::MAX {
            history.started(run, at(1));
        }
        assert_eq!(history.starts.len(), History::LONGEST as usize);
        assert_eq!(history.restarts(at(1), MINUTE), History::LONGEST);
    }
}
