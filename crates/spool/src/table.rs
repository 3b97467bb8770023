//! What is known of each capture of a spool, in memory. Nothing here waits for the disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Entry, quota};

/// How many captures that could not be written are remembered, the newest ones, until they have been announced.
const NOTED: usize = 256;

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of captures and sidecars, counted as for [`Limits::bytes`](crate::Limits::bytes).
    pub bytes: u64,
    /// Captures in the spool.
    pub captures: usize,
    /// How many of these captures are not in a store, except those that another capture stands for: they stay here.
    pub not_uploaded: usize,
    /// Records of captures that are only in a store.
    pub records: usize,
    /// How many captures were dropped since it was opened, for any limit.
    pub dropped: u64,
    /// How many of these were in no store, plus the captures that somebody else removed: evidence that is lost.
    pub lost: u64,
}

/// The entries of a spool by id, and what happened to them since the spool was opened.
#[derive(Debug)]
pub(crate) struct Table {
    entries: BTreeMap<String, Entry>,
    /// Entries whose sidecar is out of date because it could not be written.
    unsaved: BTreeSet<String>,
    dropped: u64,
    lost: u64,
    trouble: Option<String>,
}

impl Table {
    /// A table of what was found on the disk. The sidecars of `unsaved` have to be written.
    pub(crate) fn new(entries: BTreeMap<String, Entry>, unsaved: BTreeSet<String>) -> Self {
        Self {
            entries,
            unsaved,
            dropped: 0,
            lost: 0,
            trouble: None,
        }
    }

    /// An entry.
    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// The entries for which `wanted` returns true, the oldest first.
    pub(crate) fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut entries: Vec<_> = self.entries.values().filter(|e| wanted(e)).collect();
        entries.sort_by_key(|entry| entry.order());
        entries.into_iter().cloned().collect()
    }

    /// All entries that are on the disk, except one.
    pub(crate) fn others<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        let entries = self.entries.values();
        entries.filter(move |entry| entry.id != id && !is_noted(entry))
    }

    /// The entries whose sidecars have to be written.
    pub(crate) fn unsaved(&self) -> Vec<Entry> {
        let entries = self.unsaved.iter().filter_map(|id| self.get(id));
        entries.cloned().collect()
    }

    /// Adds an entry, or replaces the entry of the same id. `saved`: its sidecar is up to date.
    pub(crate) fn put(&mut self, entry: Entry, saved: bool) {
        match saved {
            true => self.unsaved.remove(&entry.id),
            false => self.unsaved.insert(entry.id.clone()),
        };
        self.entries.insert(entry.id.clone(), entry);
    }

    /// Adds the entries of a later scan that are not known yet.
    pub(crate) fn add_missing(&mut self, found: BTreeMap<String, Entry>) {
        for (id, entry) in found {
            self.entries.entry(id).or_insert(entry);
        }
    }

    /// Adds the entry of a capture that could not be written. Returns false if a capture with this id exists; that one
    /// is kept.
    pub(crate) fn note(&mut self, entry: Entry) -> bool {
        if self.get(&entry.id).is_some_and(|old| !is_noted(old)) {
            return false;
        }
        self.entries.insert(entry.id.clone(), entry);
        let noted = self.entries.values().filter(|entry| is_noted(entry));
        let (count, oldest) = (noted.clone().count(), noted.min_by_key(|e| e.info.created));
        if let Some(oldest) = oldest.map(|oldest| oldest.id.clone())
            && count > NOTED
        {
            self.entries.remove(&oldest);
        }
        true
    }

    /// Changes the entry of a capture that could not be written. Returns false if this is the entry of another capture.
    pub(crate) fn change_noted(&mut self, entry: &Entry) -> bool {
        if is_noted(entry) {
            self.entries.insert(entry.id.clone(), entry.clone());
        }
        is_noted(entry)
    }

    /// Removes a capture that could not be written. Returns whether there was one.
    pub(crate) fn forget(&mut self, id: &str) -> bool {
        let noted = self.get(id).is_some_and(is_noted);
        if noted {
            self.entries.remove(id);
        }
        noted
    }

    /// The file of a capture was removed; its record remains.
    pub(crate) fn keep_record(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.present = false;
        }
    }

    /// A capture was removed with its record.
    pub(crate) fn remove(&mut self, id: &str) {
        self.entries.remove(id);
        self.unsaved.remove(id);
    }

    /// Counts a capture that was dropped to keep within the limits.
    pub(crate) fn count_dropped(&mut self, entry: &Entry) {
        self.dropped += 1;
        self.lost += u64::from(!entry.is_uploaded());
    }

    /// Forgets captures whose file somebody removed. Returns how many of them were in no store.
    pub(crate) fn forget_gone(&mut self, is_there: impl Fn(&str) -> bool) -> usize {
        let mut lost = 0;
        self.entries.retain(|id, entry| {
            let there = !entry.present || is_there(id);
            lost += usize::from(!there && !entry.is_uploaded());
            entry.present &= there;
            there || entry.is_uploaded()
        });
        self.unsaved.retain(|id| self.entries.contains_key(id));
        self.lost += lost as u64;
        lost
    }

    /// What was wrong at the last attempt to write, or at the last check.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Sets what is wrong; `None` if nothing is.
    pub(crate) fn set_trouble(&mut self, trouble: Option<String>) {
        self.trouble = trouble;
    }

    /// How full the spool is.
    pub(crate) fn usage(&self) -> Usage {
        let captures = self.entries.values().filter(|entry| entry.present);
        let count = captures.clone().count();
        Usage {
            bytes: quota::used(self.entries.values()),
            captures: count,
            not_uploaded: captures
                .filter(|entry| !entry.is_uploaded() && !entry.is_similar())
                .count(),
            records: self.entries.len() - count,
            dropped: self.dropped,
            lost: self.lost,
        }
    }
}

/// Whether this is a capture that could not be written.
fn is_noted(entry: &Entry) -> bool {
    entry.state.unwritten.is_some()
}

#[cfg(test)]
mod tests {
    use capture_format::WallTime;

    use super::*;
    use crate::{Info, State};

    fn noted(created: u64) -> Entry {
        Entry {
            id: format!("shop/{created}"),
            present: false,
            info: Info {
                created: WallTime(created),
                ..Info::default()
            },
            state: State {
                unwritten: Some("the disk is full".into()),
                ..State::default()
            },
        }
    }

    #[test]
    fn of_captures_that_could_not_be_written_the_newest_are_remembered() {
        let mut table = Table::new(BTreeMap::new(), BTreeSet::new());
        let all = NOTED as u64 + 1;
        assert!((0..all).all(|created| table.note(noted(created))));
        assert_eq!(table.find(|_| true).len(), NOTED);
        assert!(table.get("shop/0").is_none() && table.get("shop/1").is_some());
    }

    #[test]
    fn a_capture_that_was_written_is_not_replaced_by_one_that_was_not() {
        let mut table = Table::new(BTreeMap::new(), BTreeSet::new());
        let written = Entry {
            present: true,
            state: State::default(),
            ..noted(1)
        };
        table.put(written.clone(), true);
        assert!(!table.note(noted(1)));
        assert!(!table.forget("shop/1"));
        assert_eq!(table.get("shop/1"), Some(&written));
    }
}
