//! Which captures are removed when there are too many: a pure function from entries to victims.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;

use crate::{Entry, Info};

/// Disks allocate blocks of this size.
const BLOCK: u64 = 4096;
/// Bytes that are counted for a sidecar.
const SIDECAR: u64 = BLOCK;
/// How many captures there may be, however small: each takes some 1 KiB of the agent's memory.
const CAPTURES: usize = 4096;
/// How many records there may be of captures that are only in the store, if they take no more than a sixteenth of the
/// bytes.
const RECORDS: u64 = 256;

/// How much the spool may hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of captures and sidecars. Each is counted in whole blocks of 4 KiB. There are never more than 4,096
    /// captures.
    pub bytes: u64,
    /// Captures of one pod.
    pub per_pod: usize,
    /// How long a capture is kept; only time in which the machine runs counts.
    #[serde(with = "humantime_serde")]
    pub age: Duration,
}

impl Default for Limits {
    /// 1 GiB, 10 captures a pod, 7 days.
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            per_pod: 10,
            age: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// A capture that is about to be written, or was just written. Room is made for it, and it is not dropped itself.
pub(crate) struct Coming<'a> {
    pub(crate) info: &'a Info,
    pub(crate) bytes: u64,
}

/// A capture that is to be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) id: String,
    /// Whether the record of an uploaded capture is dropped, too.
    pub(crate) record: bool,
}

/// How many bytes a capture of this size takes, including its sidecar.
pub(crate) fn footprint(bytes: u64) -> u64 {
    bytes
        .div_ceil(BLOCK)
        .saturating_mul(BLOCK)
        .saturating_add(SIDECAR)
}

/// How many bytes the entries take.
pub(crate) fn used<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
    let sizes = entries.into_iter().map(|entry| match entry.present {
        true => footprint(entry.info.bytes),
        false => SIDECAR,
    });
    sizes.fold(0, u64::saturating_add)
}

/// What must be dropped so that the entries and the coming capture stay within the limits at the time `now` (of the
/// spool's own clock). First goes what is too old, then what is too much for one pod, then what is too much in all.
///
/// Captures of the least worth go first: captures that are not pinned, captures that another one stands for, captures
/// whose subject (pod and container) has a newer one, captures that are in the store, and among these the oldest. A pinned capture is dropped only for the
/// limit of bytes. A capture that is in the store leaves a record, which is dropped by age, or when there are too many
/// records.
pub(crate) fn victims<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    limits: &Limits,
    now: u64,
    coming: Option<&Coming>,
) -> Vec<Victim> {
    let mut entries: Vec<&Entry> = entries.into_iter().collect();
    sort_by_worth(&mut entries, coming.map(|coming| coming.info));
    let mut dropped = Dropped::default();

    let age = u64::try_from(limits.age.as_nanos()).unwrap_or(u64::MAX);
    for entry in &entries {
        if !entry.info.pinned && entry.state.since.saturating_add(age) < now {
            dropped.add(entry, true);
        }
    }

    let mut of_pod: HashMap<_, usize> = HashMap::new();
    let counted = |entry: &&&Entry| entry.present && !entry.info.pinned;
    for entry in entries.iter().filter(counted) {
        if !dropped.holds(entry) {
            *of_pod.entry(entry.info.pod_key()).or_default() += 1;
        }
    }
    if let Some(coming) = coming {
        *of_pod.entry(coming.info.pod_key()).or_default() += 1;
    }
    for entry in entries.iter().filter(counted) {
        let count = of_pod.entry(entry.info.pod_key()).or_default();
        if *count > limits.per_pod && !dropped.holds(entry) {
            *count -= 1;
            dropped.add(entry, false);
        }
    }

    let mut records = RECORDS.min(limits.bytes / 16 / SIDECAR);
    for entry in entries.iter().rev() {
        if entry.present || dropped.holds(entry) {
            continue;
        }
        match records.checked_sub(1) {
            Some(left) => records = left,
            None => dropped.add(entry, true),
        }
    }

    let total = used(entries.iter().copied())
        .saturating_add(coming.map_or(0, |coming| footprint(coming.bytes)));
    let captures =
        entries.iter().filter(|entry| entry.present).count() + usize::from(coming.is_some());
    for with_record in [false, true] {
        for entry in &entries {
            let excess = total.saturating_sub(dropped.bytes) > limits.bytes
                || captures - dropped.captures > CAPTURES;
            if excess && (with_record || entry.present) {
                dropped.add(entry, with_record);
            }
        }
    }
    dropped.victims
}

/// Sorts by worth, the least worth first. Records are sorted among the captures by their age.
fn sort_by_worth(entries: &mut [&Entry], coming: Option<&Info>) {
    fn subject(info: &Info) -> ((&str, &str), &str) {
        (info.pod_key(), &info.container)
    }
    let mut newest_first: Vec<&Entry> = entries
        .iter()
        .copied()
        .filter(|entry| entry.present)
        .collect();
    newest_first.sort_by_key(|entry| Reverse((entry.order(), &entry.id)));
    let mut subjects: HashSet<_> = coming.map(subject).into_iter().collect();
    let newest: HashSet<&str> = newest_first
        .into_iter()
        .filter(|entry| subjects.insert(subject(&entry.info)))
        .map(|entry| &*entry.id)
        .collect();
    entries.sort_by_cached_key(|entry| {
        let newest = newest.contains(&*entry.id);
        (
            entry.info.pinned,
            !entry.is_similar(),
            newest,
            !entry.is_uploaded(),
            entry.order(),
            entry.id.clone(),
        )
    });
}

#[derive(Default)]
struct Dropped<'a> {
    victims: Vec<Victim>,
    /// Their positions, by id.
    index: HashMap<&'a str, usize>,
    /// How many bytes dropping them frees.
    bytes: u64,
    /// How many of them are captures.
    captures: usize,
}

impl<'a> Dropped<'a> {
    fn holds(&self, entry: &Entry) -> bool {
        self.index.contains_key(&*entry.id)
    }

    fn add(&mut self, entry: &'a Entry, record: bool) {
        let record = record || !entry.is_uploaded();
        let sidecar = if record { SIDECAR } else { 0 };
        match self
            .index
            .get(&*entry.id)
            .map(|index| &mut self.victims[*index])
        {
            Some(victim) if victim.record || !record => {}
            Some(victim) => {
                victim.record = true;
                self.bytes += sidecar;
            }
            None => {
                self.index.insert(&entry.id, self.victims.len());
                let id = entry.id.clone();
                self.victims.push(Victim { id, record });
                self.bytes += sidecar;
                if entry.present {
                    self.bytes += footprint(entry.info.bytes) - SIDECAR;
                    self.captures += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use capture_format::WallTime;

    use super::*;
    use crate::{Similar, State, Upload};

    const LIMITS: Limits = Limits {
        bytes: 1 << 30,
        per_pod: 100,
        age: Duration::from_nanos(1_000),
    };

    /// A capture of two blocks, with its sidecar.
    fn entry(id: &str, pod: &str, created: u64) -> Entry {
        let info = Info {
            pod_uid: pod.into(),
            bytes: 5_000,
            created: WallTime(created),
            ..Info::default()
        };
        Entry {
            id: id.into(),
            present: true,
            info,
            state: State {
                since: created,
                ..State::default()
            },
        }
    }

    fn uploaded(entry: Entry) -> Entry {
        let upload = Upload {
            location: Some("s3://b/k".into()),
            ..Upload::default()
        };
        Entry {
            state: State {
                upload,
                ..entry.state
            },
            ..entry
        }
    }

    fn pinned(mut entry: Entry) -> Entry {
        entry.info.pinned = true;
        entry
    }

    fn record(entry: Entry) -> Entry {
        Entry {
            present: false,
            ..uploaded(entry)
        }
    }

    fn ids(entries: &[Entry], limits: &Limits, coming: Option<&Coming>) -> Vec<String> {
        let victims = victims(entries, limits, 1_000, coming);
        victims.into_iter().map(|victim| victim.id).collect()
    }

    /// The ids of all entries in the order in which they would be dropped for the limit of bytes.
    fn order(entries: &[Entry]) -> Vec<String> {
        ids(entries, &Limits { bytes: 0, ..LIMITS }, None)
    }

    #[test]
    fn nothing_goes_while_there_is_room() {
        assert_eq!(
            ids(
                &[entry("a", "p", 1), pinned(entry("b", "p", 2))],
                &LIMITS,
                None
            ),
            [""; 0]
        );
    }

    #[test]
    fn the_oldest_goes_first() {
        let entries = [entry("b", "p", 2), entry("a", "p", 1), entry("c", "p", 3)];
        assert_eq!(order(&entries), ["a", "b", "c"]);
    }

    #[test]
    fn the_newest_of_each_subject_goes_last() {
        let entries = [
            entry("old", "quiet", 1),
            entry("a", "busy", 2),
            entry("b", "busy", 3),
            entry("c", "busy", 4),
        ];
        assert_eq!(order(&entries), ["a", "b", "old", "c"]);
    }

    #[test]
    fn containers_of_a_pod_are_subjects_of_their_own() {
        let mut sidecar = entry("sidecar", "p", 1);
        sidecar.info.container = "sidecar".into();
        assert_eq!(
            order(&[sidecar, entry("a", "p", 2), entry("b", "p", 3)]),
            ["a", "sidecar", "b"]
        );
    }

    #[test]
    fn what_comes_is_the_newest_of_its_subject() {
        let (entries, info) = (
            [entry("a", "p", 2), entry("b", "q", 1)],
            Info {
                pod_uid: "p".into(),
                ..Info::default()
            },
        );
        let limits = Limits {
            bytes: 2 * footprint(5_000),
            ..LIMITS
        };
        assert_eq!(
            ids(
                &entries,
                &limits,
                Some(&Coming {
                    info: &info,
                    bytes: 5_000
                })
            ),
            ["a"]
        );
    }

    #[test]
    fn what_is_not_uploaded_goes_after_what_is() {
        let entries = [
            entry("a", "p", 1),
            uploaded(entry("b", "p", 2)),
            entry("c", "p", 3),
        ];
        assert_eq!(order(&entries)[..2], ["b", "a"]);
    }

    #[test]
    fn what_another_capture_stands_for_goes_before_the_only_one_of_its_subject() {
        let mut similar = entry("similar", "r", 9);
        similar.state.similar = Some(Similar::default());
        let entries = [entry("a", "p", 1), entry("b", "q", 2), similar];
        assert_eq!(order(&entries), ["similar", "a", "b"]);
    }

    #[test]
    fn pinned_ones_go_for_bytes_alone() {
        let entries = [
            pinned(entry("a", "p", 1)),
            entry("b", "p", 2),
            entry("c", "p", 3),
        ];
        assert_eq!(order(&entries), ["b", "c", "a"]);
        let none = Limits {
            per_pod: 0,
            age: Duration::ZERO,
            ..LIMITS
        };
        assert_eq!(ids(&entries, &none, None), ["b", "c"]);
    }

    #[test]
    fn no_more_goes_than_must() {
        let entries = [entry("a", "p", 1), entry("b", "p", 2), entry("c", "p", 3)];
        let bytes = used(&entries);
        assert_eq!(bytes, 3 * (2 + 1) * BLOCK);
        assert_eq!(ids(&entries, &Limits { bytes, ..LIMITS }, None), [""; 0]);
        assert_eq!(
            ids(
                &entries,
                &Limits {
                    bytes: bytes - 1,
                    ..LIMITS
                },
                None
            ),
            ["a"]
        );
        let coming = Coming {
            info: &Info::default(),
            bytes: 1,
        };
        assert_eq!(
            ids(&entries, &Limits { bytes, ..LIMITS }, Some(&coming)),
            ["a"]
        );
    }

    #[test]
    fn each_pod_has_so_many() {
        let entries = [
            entry("a", "p", 1),
            entry("b", "q", 2),
            entry("c", "p", 3),
            entry("d", "p", 4),
        ];
        let limits = Limits {
            per_pod: 2,
            ..LIMITS
        };
        assert_eq!(ids(&entries, &limits, None), ["a"]);
        let info = Info {
            pod_uid: "p".into(),
            ..Info::default()
        };
        assert_eq!(
            ids(
                &entries,
                &limits,
                Some(&Coming {
                    info: &info,
                    bytes: 1
                })
            ),
            ["a", "c"]
        );
    }

    #[test]
    fn pods_without_uid_are_told_apart_by_what_is_known() {
        let named = |id: &str, namespace: &str, pod: &str, container: &str| {
            let mut entry = entry(id, "", 1);
            (entry.info.namespace, entry.info.pod) = (namespace.into(), pod.into());
            entry.info.container_id = container.into();
            entry
        };
        let entries = [
            named("a", "n", "p", "1"),
            named("b", "m", "p", "2"),
            named("c", "", "", "3"),
            named("d", "", "", "4"),
        ];
        assert_eq!(
            ids(
                &entries,
                &Limits {
                    per_pod: 1,
                    ..LIMITS
                },
                None
            ),
            [""; 0]
        );
    }

    #[test]
    fn what_is_too_old_goes_with_its_record() {
        let entries = [
            uploaded(entry("a", "p", 1)),
            record(entry("b", "p", 2)),
            entry("c", "p", 3),
        ];
        let limits = Limits {
            age: Duration::from_nanos(997),
            ..LIMITS
        };
        let gone = |id: &str| Victim {
            id: id.into(),
            record: true,
        };
        assert_eq!(
            victims(&entries, &limits, 1_000, None),
            [gone("a"), gone("b")]
        );
    }

    #[test]
    fn the_record_of_an_uploaded_capture_stays() {
        let entries = [uploaded(entry("a", "p", 1)), entry("b", "p", 2)];
        let limits = Limits {
            per_pod: 1,
            ..LIMITS
        };
        assert_eq!(
            victims(&entries, &limits, 1_000, None),
            [Victim {
                id: "a".into(),
                record: false
            }]
        );
    }

    #[test]
    fn records_are_few() {
        let entries: Vec<_> = (0..300)
            .map(|n| record(entry(&format!("r{n:03}"), "p", n)))
            .collect();
        let limits = Limits {
            bytes: 1 << 40,
            ..LIMITS
        };
        let mut victims = ids(&entries, &limits, None);
        victims.sort();
        assert_eq!((victims.len(), &*victims[43]), (44, "r043"));
    }

    #[test]
    fn records_do_not_crowd_captures_out() {
        let mut entries: Vec<_> = (0..100)
            .map(|n| record(entry(&format!("r{n:02}"), "p", n)))
            .collect();
        entries.push(entry("a", "p", 500));
        let limits = Limits {
            bytes: 16 * 10 * SIDECAR,
            ..LIMITS
        };
        let victims = ids(&entries, &limits, None);
        assert_eq!(victims.len(), 90);
        assert!(
            !victims.contains(&"a".into()) && !victims.contains(&"r99".into()),
            "{victims:?}"
        );
    }

    #[test]
    fn there_are_so_many_captures_however_small() {
        let entries: Vec<_> = (0..CAPTURES as u64 + 2)
            .map(|n| uploaded(entry(&format!("{n:04}"), &format!("pod {n}"), n)))
            .collect();
        let limits = Limits {
            age: Duration::MAX,
            ..LIMITS
        };
        assert_eq!(ids(&entries, &limits, None), ["0000", "0001"]);
        let coming = Coming {
            info: &Info::default(),
            bytes: 1,
        };
        assert_eq!(
            ids(&entries, &limits, Some(&coming)),
            ["0000", "0001", "0002"]
        );
    }

    #[test]
    fn nothing_remains_where_nothing_is_allowed() {
        let entries = [
            uploaded(entry("a", "p", 1)),
            record(entry("b", "p", 2)),
            entry("c", "p", 3),
        ];
        let victims = victims(&entries, &Limits { bytes: 0, ..LIMITS }, 1_000, None);
        assert!(
            victims.len() == 3 && victims.iter().all(|victim| victim.record),
            "{victims:?}"
        );
    }
}
