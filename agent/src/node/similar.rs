//! Captures that another one stands for: when which of them are counted.
//!
//! All captures of a fault that wait are counted together, in one addition. The first addition comes after a random part
//! of a minute, so that not all nodes add at the same time, and the next one a minute later at the earliest. Which
//! captures are in an addition is written down before it is tried: an agent that starts anew tries the same one again.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use capture_format::WallTime;
use kubernetes::{Timestamp, capture::SimilarPod, faults::Fault, owner::Owner, random};
use spool::Entry;
use tokio::time::Instant;

use super::order::REQUESTED;

/// The time between two additions to a fault.
const EVERY: Duration = Duration::from_secs(60);
/// How many digits of a checksum name an addition.
const NAME: usize = 16;

/// A fault in a namespace.
pub(super) type Key = (String, Fault);

/// Captures that are to be counted together.
#[derive(Clone, Debug)]
pub(super) struct Addition {
    pub(super) key: Key,
    /// Its name, which no other addition has.
    pub(super) name: String,
    /// The oldest first.
    pub(super) captures: Vec<Entry>,
}

/// When additions are due.
#[derive(Default)]
pub(super) struct Additions {
    due: HashMap<Key, Instant>,
}

/// The fault that a capture is about; none if somebody asked for the capture, or if too little is known.
pub(super) fn fault_of(entry: &Entry) -> Option<Fault> {
    let info = &entry.info;
    let owner = info.owner.as_ref().filter(|_| info.rank < REQUESTED)?;
    Some(Fault {
        owner: Owner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        },
        container: info.container.clone(),
        fingerprint: info.fingerprint.clone()?,
    })
}

/// Whether the Capture object of this name may stand for a capture, as one of those of its fault.
pub(crate) fn stands_for(name: &str, entry: &Entry) -> bool {
    fault_of(entry).is_some_and(|fault| fault.slots().any(|slot| slot == name))
}

/// Name of a capture's file, without its suffix. (On the disk it is shortened if it is too long.)
pub(super) fn file_of(entry: &Entry) -> &str {
    &entry.info.name
}

/// Whether a capture is to be counted.
pub(super) fn is_uncounted(entry: &Entry) -> bool {
    entry
        .state
        .similar
        .as_ref()
        .is_some_and(|similar| !similar.counted)
}

impl Additions {
    /// The next addition, of these captures that are to be counted; none if nothing is due.
    pub(super) fn next(&mut self, uncounted: Vec<Entry>, now: Instant) -> Option<Addition> {
        let mut faults: BTreeMap<Key, Vec<Entry>> = BTreeMap::new();
        for entry in uncounted {
            if let Some(mut fault) = fault_of(&entry) {
                // The pods of one owner may disagree about it.
                fault.owner.uid = None;
                let key = (entry.info.namespace.clone(), fault);
                faults.entry(key).or_default().push(entry);
            }
        }
        self.due
            .retain(|key, due| *due > now || faults.contains_key(key));
        for key in faults.keys() {
            let due = || now + EVERY.mul_f64(random::fraction());
            self.due.entry(key.clone()).or_insert_with(due);
        }
        let (key, _) = self
            .due
            .iter()
            .filter(|(_, due)| **due <= now)
            .min_by_key(|(_, due)| **due)?;
        let mut captures = faults.remove(key)?;
        let begun = |entry: &Entry| entry.state.similar.as_ref()?.addition.clone();
        let name = match captures.iter().find_map(begun) {
            Some(name) => {
                captures.retain(|entry| begun(entry).as_ref() == Some(&name));
                name
            }
            None => {
                let sum = &captures.first()?.info.sha256;
                sum.get(..NAME).unwrap_or(sum).to_owned()
            }
        };
        Some(Addition {
            key: key.clone(),
            name,
            captures,
        })
    }

    /// When an addition is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// An addition is over.
    pub(super) fn done(&mut self, key: Key, now: Instant) {
        self.due.insert(key, now + EVERY);
    }

    /// An addition failed.
    pub(super) fn failed(&mut self, key: Key, now: Instant) {
        self.due
            .insert(key, now + EVERY.mul_f64(random::fraction()));
    }
}

impl Addition {
    /// What is added.
    pub(super) fn files(&self, node: &str) -> Vec<SimilarPod> {
        let file = |entry: &Entry| SimilarPod {
            pod_name: entry.info.pod.clone(),
            node: node.to_owned(),
            file: file_of(entry).to_owned(),
            taken_at: Some(to_second(entry.info.created).into()),
        };
        self.captures.iter().map(file).collect()
    }
}

/// A time as the API server keeps it.
fn to_second(WallTime(nanoseconds): WallTime) -> Timestamp {
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use spool::{Info, Similar, State};

    use super::*;

    fn entry(pod: &str, fingerprint: &str, addition: Option<&str>) -> Entry {
        Entry {
            id: format!("shop/{pod}-main-1"),
            info: Info {
                namespace: "shop".into(),
                name: format!("{pod}-main-1"),
                pod: pod.into(),
                container: "main".into(),
                owner: Some(spool::Owner {
                    kind: "StatefulSet".into(),
                    name: "db".into(),
                    ..spool::Owner::default()
                }),
                fingerprint: Some(fingerprint.into()),
                sha256: format!("{pod:0>64}"),
                ..Info::default()
            },
            state: State {
                similar: Some(Similar {
                    addition: addition.map(str::to_owned),
                    counted: false,
                }),
                ..State::default()
            },
            ..Entry::default()
        }
    }

    /// The pods of the addition that is due after this time.
    fn pods(additions: &mut Additions, entries: &[Entry], now: Instant) -> Option<Vec<String>> {
        let addition = additions.next(entries.to_vec(), now)?;
        additions.done(addition.key.clone(), now);
        Some(
            addition
                .captures
                .into_iter()
                .map(|entry| entry.info.pod)
                .collect(),
        )
    }

    #[test]
    fn what_waits_is_added_together_once_a_minute() {
        let mut additions = Additions::default();
        let now = Instant::now();
        let entries = [
            entry("db-0", "a", None),
            entry("db-1", "a", None),
            entry("db-2", "b", None),
        ];
        assert!(additions.next(entries.to_vec(), now).is_none());
        let first = additions.next_due().unwrap();
        assert!(first > now && first <= now + EVERY);
        let later = now + EVERY;
        let mut both = [0, 1].map(|_| pods(&mut additions, &entries, later).unwrap());
        both.sort();
        assert_eq!(both.concat(), ["db-0", "db-1", "db-2"]);
        assert_eq!(pods(&mut additions, &entries, later), None);
        assert_eq!(pods(&mut additions, &entries[..1], later + EVERY / 2), None);
        assert_eq!(
            pods(&mut additions, &entries[..1], later + EVERY),
            Some(vec!["db-0".to_owned()])
        );
    }

    #[test]
    fn an_addition_that_was_begun_is_tried_again_without_what_came_later() {
        let mut additions = Additions::default();
        let now = Instant::now();
        let entries = [
            entry("db-0", "a", None),
            entry("db-1", "a", Some("x")),
            entry("db-2", "a", Some("x")),
        ];
        additions.next(entries.to_vec(), now);
        let addition = additions.next(entries.to_vec(), now + EVERY).unwrap();
        assert_eq!(addition.name, "x");
        let files = addition.files("n1");
        let named: Vec<_> = files
            .iter()
            .map(|file| (&*file.pod_name, &*file.file))
            .collect();
        assert_eq!(named, [("db-1", "db-1-main-1"), ("db-2", "db-2-main-1")]);
    }

    #[test]
    fn what_somebody_asked_for_has_a_capture_of_its_own() {
        let mut asked = entry("db-0", "a", None);
        assert!(fault_of(&asked).is_some());
        asked.info.rank = REQUESTED;
        assert_eq!(fault_of(&asked), None);
        let mut unknown = entry("db-0", "a", None);
        unknown.info.owner = None;
        assert_eq!(fault_of(&unknown), None);
    }
}
