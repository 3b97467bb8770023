//! Counters by key that do not grow without limit.

use std::collections::HashMap;
use std::hash::Hash;

/// How many groups are kept at once.
const MAX_GROUPS: usize = 1 << 14;

/// Counters by key. If there are too many, the half with the oldest last use is dropped and counted.
#[derive(Debug)]
pub(crate) struct Tally<K, V> {
    groups: HashMap<K, (u64, V)>,
    limit: usize,
    dropped: u64,
}

impl<K: Hash + Eq, V> Default for Tally<K, V> {
    fn default() -> Self {
        Self::with_limit(MAX_GROUPS)
    }
}

impl<K: Hash + Eq, V> Tally<K, V> {
    fn with_limit(limit: usize) -> Self {
        Self {
            groups: HashMap::new(),
            limit,
            dropped: 0,
        }
    }

    /// The counter of a key that this event uses; `new` makes a counter that does not exist yet.
    pub(crate) fn entry(&mut self, event: u64, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.groups.len() >= self.limit && !self.groups.contains_key(&key) {
            self.drop_half();
        }
        let (last, value) = self.groups.entry(key).or_insert_with(|| (event, new()));
        *last = event;
        value
    }

    fn drop_half(&mut self) {
        let mut last: Vec<u64> = self.groups.values().map(|&(last, _)| last).collect();
        let middle = last.len() / 2;
        let (_, &mut middle, _) = last.select_nth_unstable(middle);
        let before = self.groups.len();
        self.groups.retain(|_, (last, _)| *last > middle);
        self.dropped += (before - self.groups.len()) as u64;
    }

    /// The groups, in no order, and how many groups were dropped.
    pub(crate) fn into_groups(self) -> (Vec<(K, V)>, u64) {
        let groups = self.groups.into_iter();
        let groups = groups.map(|(key, (_, value))| (key, value)).collect();
        (groups, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_used_last_stay_and_the_others_are_counted() {
        let mut tally: Tally<u64, u64> = Tally::with_limit(100);
        for event in 0..1000 {
            *tally.entry(event, event, || 0) += 1;
            *tally.entry(event, 0, || 0) += 1;
        }
        let (groups, dropped) = tally.into_groups();
        assert!(groups.len() <= 100 && dropped + groups.len() as u64 == 1000);
        let find = |wanted| groups.iter().find(|(key, _)| *key == wanted);
        assert_eq!(find(0), Some(&(0, 1001)));
        assert_eq!(find(999), Some(&(999, 1)));
    }

    #[test]
    fn events_that_all_have_one_number_do_not_keep_it_growing() {
        let mut tally: Tally<u64, ()> = Tally::with_limit(10);
        (0..1000).for_each(|key| *tally.entry(7, key, || ()) = ());
        assert!(tally.into_groups().0.len() <= 10);
    }
}
