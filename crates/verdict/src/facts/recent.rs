//! The newest of what repeats, and how often it happened.

use std::collections::VecDeque;

/// Keeps the last `limit` items and counts all of them.
#[derive(Clone, Debug)]
pub struct Recent<T> {
    items: VecDeque<T>,
    limit: usize,
    total: u64,
}

impl<T> Recent<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            items: VecDeque::new(),
            limit,
            total: 0,
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.items.len() == self.limit {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.total += 1;
    }

    pub(crate) fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    /// The kept items, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.iter()
    }

    pub(crate) fn iter_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut T> + ExactSizeIterator {
        self.items.iter_mut()
    }

    /// Forgets the items that are not wanted; they still count.
    pub(crate) fn retain(&mut self, wanted: impl FnMut(&T) -> bool) {
        self.items.retain(wanted);
    }

    /// The newest item.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.items.back()
    }

    /// How many items there were, kept or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_is_still_counted() {
        let mut recent = Recent::new(2);
        (1..=5).for_each(|n| recent.push(n));
        assert_eq!(recent.iter().copied().collect::<Vec<_>>(), [4, 5]);
        assert_eq!((recent.total(), recent.last()), (5, Some(&5)));
    }
}
