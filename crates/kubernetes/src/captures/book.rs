//! What one node's agent has to do about Captures. The book is pure: observations and times in, duties out.
//!
//! It has the Captures that are labelled with its node, and those without a label: requests that nobody has taken yet,
//! and what agents of earlier versions made. Everything else is the business of other agents, or of the [`super::sweep`].
//!
//! | a Capture that | for | is |
//! |---|---|---|
//! | is Pending | | offered, every 5 s |
//! | is Pending | 3 to 33 s | looked after: Failed if there is no such pod, labelled if its pod is on a node |
//! | is Pending | 1 to 2 min since the last change | looked after again; after 5 min Failed: no agent took it |
//! | has been taken by this node, and has no label | | labelled |
//! | is Capturing, by this node, when the agent starts | | offered once more, the second time Failed |
//! | is Capturing, by this node | 10 min | Failed: the agent did not finish |
//! | is this node's, and finished | its time to live | deleted, if the API server's clock agrees |
//!
//! All agents see a pending Capture without a label. Each waits a different time, and the first one wins: what it does
//! is a change that the others see, and that starts their waiting anew. So the number of requests does not depend on the
//! number of nodes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::Offer;
use crate::{
    Change,
    capture::{Capture, CaptureSpec, CaptureStatus, NODE_LABEL, Phase},
    name::node_label,
};

const OFFER_EVERY: Duration = Duration::from_secs(5);
const LOOK_AFTER: Duration = Duration::from_secs(3);
const LOOK_SPREAD: Duration = Duration::from_secs(30);
const LATE_AFTER: Duration = Duration::from_secs(5 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_SPREAD: Duration = Duration::from_secs(60);
const STUCK_AFTER: Duration = Duration::from_secs(10 * 60);
/// A Capture that gets a label leaves one watch and appears in the other. How long it may be in neither.
const MOVES_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before something that failed is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// An entry is looked at this often at least, in case this node's clock jumps.
const AT_LEAST: Duration = Duration::from_secs(3600);
/// How long the book may wait for changes.
const PACE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30);
/// How many times the agent of a node may take the same Capture.
const ATTEMPTS: i32 = 2;

/// The watch that reports a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// Of the Captures with the label of this node.
    Labelled,
    /// Of the Captures without a label.
    Unlabelled,
}

/// A Capture, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) spec: CaptureSpec,
    /// Its label `lastword.dev/node`.
    pub(super) label: Option<String>,
    pub(super) phase: Phase,
    pub(super) node: Option<String>,
    attempts: i32,
    /// When it was made, by the API server's clock.
    pub(super) created: Timestamp,
    /// When it was finished, by its node's clock.
    pub(super) finished: Option<Timestamp>,
}

impl Seen {
    /// A Capture without name, UID or version is ignored.
    pub(super) fn of(capture: Capture) -> Option<Self> {
        let phase = capture.phase();
        let metadata = capture.metadata;
        let status = capture.status.unwrap_or_default();
        let mut labels = metadata.labels.unwrap_or_default();
        Some(Self {
            namespace: metadata.namespace?,
            name: metadata.name?,
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            spec: capture.spec,
            label: labels.remove(NODE_LABEL),
            phase,
            node: status.node,
            attempts: status.attempts.unwrap_or(0),
            created: metadata.creation_timestamp?.0,
            finished: status.finished_at.map(|time| time.0),
        })
    }

    /// Its status, as far as it is known here.
    pub(super) fn status(&self) -> CaptureStatus {
        CaptureStatus {
            phase: self.phase,
            node: self.node.clone(),
            attempts: Some(self.attempts),
            ..CaptureStatus::default()
        }
    }

    /// When its time to live is over, if that begins at `from`; `keep` is the time of those that say nothing else.
    pub(super) fn expiry(&self, from: Timestamp, keep: Duration) -> Timestamp {
        let ttl = self.spec.ttl.as_deref();
        let ttl = ttl.and_then(|ttl| humantime::parse_duration(ttl).ok());
        let keep = SignedDuration::try_from(ttl.unwrap_or(keep)).ok();
        keep.and_then(|keep| from.checked_add(keep).ok())
            .unwrap_or(Timestamp::MAX)
    }

    fn offer(&self) -> Offer {
        Offer {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            spec: self.spec.clone(),
            attempts: self.attempts,
            resource_version: self.resource_version.clone(),
        }
    }
}

/// The node of a pod.
pub(super) struct PodPlace {
    pub(super) uid: String,
    pub(super) node: Option<String>,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Offer(Offer),
    /// Look whether its pod exists. The flag says that an agent should have taken it by now.
    LookForPod(Seen, bool),
    Fail(Seen, &'static str, String),
    /// Label it with this node.
    Label(Seen),
    /// It is gone: tell the caller.
    Gone(Seen),
    /// Delete it, if this time is over by the API server's clock too. If nobody knows that clock, this node's decides.
    Expire(Seen, Timestamp),
}

/// What becomes of a pending Capture whose pod was looked for.
#[derive(Debug, PartialEq)]
pub(super) enum Judged {
    /// It fails: reason and message.
    Fails(&'static str, String),
    /// It goes on waiting: message.
    Waits(String),
    /// Its pod is on this node, whose agent has not taken it yet: message.
    IsAt(String, String),
}

pub(super) fn judge(seen: &Seen, pod: Option<&PodPlace>, late: bool) -> Judged {
    let Seen {
        namespace, spec, ..
    } = seen;
    let pod_name = &spec.pod_name;
    let Some(pod) = pod else {
        let message = format!("pod {namespace}/{pod_name} not found");
        return Judged::Fails("PodNotFound", message);
    };
    if let Some(uid) = spec.pod_uid.as_ref().filter(|uid| **uid != pod.uid) {
        let message = format!(
            "pod {namespace}/{pod_name} with UID {uid} not found: there is another of that name"
        );
        return Judged::Fails("PodNotFound", message);
    }
    let minutes = LATE_AFTER.as_secs() / 60;
    match &pod.node {
        None if !late => Judged::Waits(format!("pod {namespace}/{pod_name} is on no node yet")),
        Some(node) if !late => Judged::IsAt(
            node.clone(),
            format!("the agent of node {node} has not taken it yet"),
        ),
        None => Judged::Fails(
            "PodNotScheduled",
            format!("pod {namespace}/{pod_name} is on no node after {minutes} min"),
        ),
        Some(node) => Judged::Fails(
            "NoAgent",
            format!(
                "no agent on node {node} took it within {minutes} min; see `kubectl get pods -A -o wide -l app.kubernetes.io/name=lastword`"
            ),
        ),
    }
}

struct Entry {
    seen: Seen,
    /// Whether it is in the watch of this node's Captures, and in that of Captures without a label.
    labelled: bool,
    unlabelled: bool,
    /// When it was first seen in its present phase.
    since: Instant,
    /// Whether it was being captured by this node when the agent started.
    interrupted: bool,
    /// When its next duty is due, if there is one.
    due: Instant,
    /// When its pod is looked for.
    look: Instant,
    /// Its place in [`Book::order`].
    at: Instant,
}

/// The Captures that this node's agent sees.
pub(super) struct Book {
    node: String,
    label: String,
    keep: Duration,
    /// Whether each watch has reported everything.
    has_labelled: bool,
    has_unlabelled: bool,
    /// By UID.
    entries: HashMap<String, Entry>,
    /// When each entry is looked at next, with its UID.
    order: BTreeSet<(Instant, String)>,
}

impl Book {
    pub(super) fn new(node: &str, keep: Duration) -> Self {
        Self {
            node: node.to_owned(),
            label: node_label(node),
            keep,
            has_labelled: false,
            has_unlabelled: false,
            entries: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Takes a change from a watch.
    pub(super) fn observe(&mut self, from: Feed, change: Change<Seen>, now: Instant) {
        match (change, from) {
            (Change::Synced, Feed::Labelled) => self.has_labelled = true,
            (Change::Synced, Feed::Unlabelled) => self.has_unlabelled = true,
            (Change::Changed(seen), _) => self.record(from, seen, now),
            (Change::Gone { uid }, _) => self.left(from, &uid, now),
        }
    }

    /// Whether both watches have reported everything.
    pub(super) fn is_synced(&self) -> bool {
        self.has_labelled && self.has_unlabelled
    }

    fn is_ours(&self, seen: &Seen) -> bool {
        match &seen.node {
            Some(node) => *node == self.node,
            None => seen.label.as_ref() == Some(&self.label),
        }
    }

    /// A Capture has left one of the watches: it was deleted, or its label has changed.
    fn left(&mut self, from: Feed, uid: &str, now: Instant) {
        let Some(mut entry) = self.remove(uid) else {
            return;
        };
        match from {
            Feed::Labelled => {
                entry.labelled = false;
                entry.seen.label = None;
            }
            Feed::Unlabelled => entry.unlabelled = false,
        }
        let elsewhere = entry.labelled || entry.unlabelled;
        let taken = entry.seen.node.as_ref() == Some(&self.node);
        let at = match from {
            _ if elsewhere => now,
            Feed::Unlabelled if taken => now + MOVES_WITHIN,
            // A file can only belong to what was labelled, or taken, here.
            Feed::Unlabelled => return,
            Feed::Labelled => now,
        };
        self.insert(at, entry);
    }

    fn remove(&mut self, uid: &str) -> Option<Entry> {
        let (uid, entry) = self.entries.remove_entry(uid)?;
        self.order.remove(&(entry.at, uid));
        Some(entry)
    }

    fn insert(&mut self, at: Instant, entry: Entry) {
        let uid = entry.seen.uid.clone();
        self.order.insert((at, uid.clone()));
        self.entries.insert(uid, Entry { at, ..entry });
    }

    fn record(&mut self, from: Feed, seen: Seen, now: Instant) {
        let capturing_here =
            seen.phase == Phase::Capturing && seen.node.as_deref() == Some(&self.node);
        let former = self.remove(&seen.uid);
        let (was_labelled, was_unlabelled) = former
            .as_ref()
            .map_or((false, false), |entry| (entry.labelled, entry.unlabelled));
        let labelled = was_labelled || from == Feed::Labelled;
        let unlabelled = was_unlabelled || from == Feed::Unlabelled;
        // The watch of labelled Captures has the newer state of one that is in both.
        let seen = match &former {
            Some(entry) if was_labelled && from == Feed::Unlabelled => entry.seen.clone(),
            _ => seen,
        };
        let same = former
            .filter(|entry| entry.seen.phase == seen.phase && entry.seen.attempts == seen.attempts);
        let entry = match same {
            Some(entry) if entry.seen.resource_version == seen.resource_version => entry,
            // Somebody has looked after it.
            Some(entry) => Entry {
                look: now + LOOK_AGAIN + self.wait(&seen.uid, LOOK_AGAIN_SPREAD),
                seen,
                ..entry
            },
            None => Entry {
                since: now,
                interrupted: capturing_here && !self.is_synced(),
                due: now,
                look: now + LOOK_AFTER + self.wait(&seen.uid, LOOK_SPREAD),
                at: now,
                labelled,
                unlabelled,
                seen,
            },
        };
        let moved = (was_labelled, was_unlabelled) != (labelled, unlabelled);
        let entry = Entry {
            labelled,
            unlabelled,
            due: if moved { now } else { entry.due },
            ..entry
        };
        self.insert(now, entry);
    }

    /// Namespace and name of the Captures that this node's agent took, or that nobody has taken yet.
    pub(super) fn ours(&self) -> HashSet<(String, String)> {
        let seen = self.entries.values().map(|entry| &entry.seen);
        let ours = seen.filter(|seen| seen.node.as_ref().is_none_or(|node| *node == self.node));
        ours.map(|seen| (seen.namespace.clone(), seen.name.clone()))
            .collect()
    }

    /// How long nothing new can become due, if nothing is observed; rounded to what is sensible to wait for.
    pub(super) fn pace(&self, now: Instant) -> Duration {
        let next = self.order.first().map(|(at, _)| at.duration_since(now));
        let next = next.filter(|_| self.is_synced()).unwrap_or(*PACE.end());
        next.clamp(*PACE.start(), *PACE.end())
    }

    /// What is to be done now. Each duty is returned once, and again later if there is still reason for it.
    pub(super) fn due(&mut self, now: Instant, clock: Timestamp) -> Vec<Duty> {
        if !self.is_synced() {
            return Vec::new();
        }
        let mut duties = Vec::new();
        while let Some((_, uid)) = self.order.first().filter(|(at, _)| *at <= now).cloned() {
            let Some(mut entry) = self.remove(&uid) else {
                break;
            };
            if !entry.labelled && !entry.unlabelled {
                duties.push(Duty::Gone(entry.seen));
                continue;
            }
            let pending = entry.seen.phase == Phase::Pending;
            if pending && now >= entry.look {
                let late = now >= entry.since + LATE_AFTER;
                duties.push(Duty::LookForPod(entry.seen.clone(), late));
                entry.look = now + LOOK_AGAIN + self.wait(&uid, LOOK_AGAIN_SPREAD);
            }
            if now >= entry.due {
                let (duty, again) = self.duty(&entry, now, clock);
                duties.extend(duty);
                entry.due = now + again;
                let taken = entry.seen.node.as_ref() == Some(&self.node);
                if taken && !entry.labelled {
                    duties.push(Duty::Label(entry.seen.clone()));
                    entry.due = now + again.min(AGAIN);
                }
            }
            let next = match pending {
                true => entry.due.min(entry.look),
                false => entry.due,
            };
            self.insert(next, entry);
        }
        // Somebody is waiting for offers; what needs requests is not urgent.
        duties.sort_by_key(|duty| !matches!(duty, Duty::Offer(_) | Duty::Gone(_)));
        duties
    }

    /// What is to be done about an entry now, if anything, and when it is to be looked at again.
    fn duty(&self, entry: &Entry, now: Instant, clock: Timestamp) -> (Option<Duty>, Duration) {
        let seen = &entry.seen;
        match seen.phase {
            Phase::Pending => (Some(Duty::Offer(seen.offer())), OFFER_EVERY),
            // Its own agent's business, or the sweep's.
            _ if !self.is_ours(seen) => (None, AT_LEAST),
            Phase::Capturing if entry.interrupted && seen.attempts >= ATTEMPTS => {
                let message = format!(
                    "the agent of node {} ended {} times while it wrote the capture",
                    self.node, seen.attempts
                );
                let duty = Duty::Fail(seen.clone(), "Interrupted", message);
                (Some(duty), AGAIN)
            }
            Phase::Capturing if entry.interrupted => (Some(Duty::Offer(seen.offer())), OFFER_EVERY),
            Phase::Capturing => {
                let stuck = entry.since + STUCK_AFTER;
                let message = format!(
                    "the agent of node {} took it and did not finish within {} min",
                    self.node,
                    STUCK_AFTER.as_secs() / 60
                );
                match stuck
                    .checked_duration_since(now)
                    .filter(|left| !left.is_zero())
                {
                    Some(left) => (None, left),
                    None => {
                        let duty = Duty::Fail(seen.clone(), "NotFinished", message);
                        (Some(duty), AGAIN)
                    }
                }
            }
            Phase::Complete | Phase::Failed => {
                // A node's clock may be behind; nothing ends before it was made.
                let from = seen
                    .finished
                    .map_or(seen.created, |at| at.max(seen.created));
                let expiry = seen.expiry(from, self.keep);
                let left = Duration::try_from(expiry.duration_since(clock)).unwrap_or_default();
                match left.is_zero() {
                    true => (Some(Duty::Expire(seen.clone(), expiry)), AGAIN),
                    false => (None, left.min(AT_LEAST)),
                }
            }
        }
    }

    /// A part of `spread`, which differs between nodes and, on one node, between Captures.
    fn wait(&self, uid: &str, spread: Duration) -> Duration {
        let mut hash = DefaultHasher::new();
        (&self.node, uid).hash(&mut hash);
        spread.mul_f64((hash.finish() % 1000) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: &str = "2026-01-01T00:00:00Z";

    struct Scene {
        book: Book,
        start: Instant,
        clock: Timestamp,
    }

    impl Scene {
        fn new(seen: &[Seen]) -> Self {
            let start = Instant::now();
            let mut book = Book::new("here", Duration::from_secs(3600));
            for seen in seen {
                book.observe(feed(seen), Change::Changed(seen.clone()), start);
            }
            book.observe(Feed::Labelled, Change::Synced, start);
            book.observe(Feed::Unlabelled, Change::Synced, start);
            Self {
                book,
                start,
                clock: CLOCK.parse().unwrap(),
            }
        }

        /// The watch that its label belongs to reports it.
        fn see(&mut self, seconds: u64, seen: Seen) {
            self.observe(seconds, feed(&seen), Change::Changed(seen));
        }

        fn gone(&mut self, seconds: u64, from: Feed, name: &str) {
            let uid = format!("uid-{name}");
            self.observe(seconds, from, Change::Gone { uid });
        }

        fn observe(&mut self, seconds: u64, from: Feed, change: Change<Seen>) {
            let at = self.start + Duration::from_secs(seconds);
            self.book.observe(from, change, at);
        }

        fn due(&mut self, seconds: u64) -> Vec<String> {
            let clock = self.clock + SignedDuration::from_secs(seconds as i64);
            let now = self.start + Duration::from_secs(seconds);
            let told = |duty: Duty| match duty {
                Duty::Offer(offer) => format!("offer {} after {}", offer.name, offer.attempts),
                Duty::LookForPod(seen, late) => format!("look {} late={late}", seen.name),
                Duty::Fail(seen, reason, _) => format!("fail {} {reason}", seen.name),
                Duty::Label(seen) => format!("label {}", seen.name),
                Duty::Gone(seen) => format!("gone {}", seen.name),
                Duty::Expire(seen, _) => format!("delete {}", seen.name),
            };
            let mut duties: Vec<_> = self.book.due(now, clock).into_iter().map(told).collect();
            duties.sort();
            duties
        }
    }

    fn feed(seen: &Seen) -> Feed {
        match seen.label {
            Some(_) => Feed::Labelled,
            None => Feed::Unlabelled,
        }
    }

    /// A Capture that is labelled with this node if its agent took it.
    fn seen(name: &str, phase: Phase, node: Option<&str>) -> Seen {
        Seen {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            resource_version: "1".to_owned(),
            spec: CaptureSpec {
                pod_name: "web".to_owned(),
                ..CaptureSpec::default()
            },
            phase,
            label: node.filter(|node| *node == "here").map(str::to_owned),
            node: node.map(str::to_owned),
            attempts: i32::from(phase == Phase::Capturing),
            created: CLOCK.parse().unwrap(),
            finished: None,
        }
    }

    #[test]
    fn a_pending_one_is_offered_until_it_is_taken_and_not_before_all_are_known() {
        let pending = seen("p", Phase::Pending, None);
        let mut scene = Scene::new(&[]);
        (scene.book.has_labelled, scene.book.has_unlabelled) = (false, false);
        scene.see(0, pending.clone());
        scene.observe(0, Feed::Labelled, Change::Synced);
        assert_eq!(scene.due(0), [""; 0]);
        scene.observe(0, Feed::Unlabelled, Change::Synced);
        assert_eq!(scene.due(0), ["offer p after 0"]);
        assert_eq!(scene.due(2), [""; 0]);
        let taken = unlabelled(seen("p", Phase::Capturing, Some("here")));
        scene.see(6, taken.clone());
        assert_eq!(scene.due(6), ["label p"], "taken by this very process");
        assert_eq!(scene.due(7), [""; 0]);
        assert_eq!(scene.due(66), ["label p"], "tried again");
    }

    fn unlabelled(seen: Seen) -> Seen {
        Seen {
            label: None,
            ..seen
        }
    }

    /// The two watches report a change of the label in any order.
    #[test]
    fn one_that_gets_its_label_is_not_taken_for_deleted() {
        let labelled = seen("p", Phase::Capturing, Some("here"));
        for watches in [
            [Feed::Labelled, Feed::Unlabelled],
            [Feed::Unlabelled, Feed::Labelled],
        ] {
            let mut scene = Scene::new(&[seen("p", Phase::Pending, None)]);
            scene.see(1, unlabelled(labelled.clone()));
            scene.due(1);
            for (second, watch) in (2..).zip(watches) {
                match watch {
                    Feed::Labelled => scene.see(second, labelled.clone()),
                    Feed::Unlabelled => scene.gone(second, watch, "p"),
                }
                assert_eq!(scene.due(second), [""; 0], "{watches:?}");
            }
            assert_eq!(scene.due(30), [""; 0], "{watches:?}");
            assert_eq!(scene.book.ours().len(), 1);
            scene.gone(40, Feed::Labelled, "p");
            assert_eq!(scene.due(40), ["gone p"], "{watches:?}");
            assert_eq!(scene.due(41), [""; 0]);
        }
    }

    #[test]
    fn a_label_that_somebody_removed_is_written_again() {
        let labelled = seen("c", Phase::Complete, Some("here"));
        for first in [Feed::Labelled, Feed::Unlabelled] {
            let mut scene = Scene::new(std::slice::from_ref(&labelled));
            assert_eq!(scene.due(0), [""; 0]);
            if first == Feed::Labelled {
                scene.gone(1, Feed::Labelled, "c");
            }
            scene.see(1, unlabelled(labelled.clone()));
            if first == Feed::Unlabelled {
                scene.gone(1, Feed::Labelled, "c");
            }
            assert_eq!(scene.due(1), ["label c"], "{first:?}");
        }
    }

    #[test]
    fn deleted_ones_are_told_of_if_this_node_has_their_file() {
        let mut scene = Scene::new(&[
            seen("ours", Phase::Complete, Some("here")),
            unlabelled(seen("older", Phase::Complete, Some("here"))),
            unlabelled(seen("theirs", Phase::Complete, Some("there"))),
            seen("nobodys", Phase::Pending, None),
        ]);
        assert!(scene.due(0).contains(&"label older".to_owned()));
        scene.gone(1, Feed::Labelled, "ours");
        for name in ["older", "theirs", "nobodys"] {
            scene.gone(1, Feed::Unlabelled, name);
        }
        assert_eq!(scene.due(1), ["gone ours"]);
        assert_eq!(scene.due(11), ["gone older"]);
        assert!(scene.book.entries.is_empty() && scene.book.order.is_empty());
    }

    #[test]
    fn what_agents_of_other_nodes_took_is_left_alone() {
        let mut scene = Scene::new(&[
            unlabelled(seen("older", Phase::Complete, Some("there"))),
            unlabelled(seen("stuck", Phase::Capturing, Some("there"))),
            unlabelled(seen("nobodys", Phase::Failed, None)),
            Seen {
                label: Some("here".to_owned()),
                ..seen("false", Phase::Complete, Some("there"))
            },
        ]);
        for second in [0, 700, 7200, 86_400] {
            assert_eq!(scene.due(second), [""; 0]);
        }
    }

    #[test]
    fn the_pod_of_a_pending_one_is_looked_for_once_early_and_then_late() {
        let mut scene = Scene::new(&[seen("p", Phase::Pending, None)]);
        let mut looks = Vec::new();
        for second in 0..600 {
            let told = scene.due(second);
            looks.extend(
                told.into_iter()
                    .filter(|duty| duty.starts_with("look"))
                    .map(|duty| (second, duty)),
            );
        }
        assert!((3..=33).contains(&looks[0].0), "{looks:?}");
        for pair in looks.windows(2) {
            let pause = pair[1].0 - pair[0].0;
            assert!((60..=121).contains(&pause), "{looks:?}");
        }
        for (second, look) in &looks {
            assert_eq!(*look, format!("look p late={}", *second >= 300));
        }
    }

    /// Each look is a change that all agents see a second later.
    #[test]
    fn the_number_of_looks_does_not_depend_on_the_number_of_nodes() {
        let looks = |nodes: usize| {
            let pending = seen("p", Phase::Pending, None);
            let mut scenes: Vec<Scene> = (0..nodes)
                .map(|node| {
                    let mut scene = Scene::new(&[]);
                    scene.book.node = format!("node-{node}");
                    scene.book.label = scene.book.node.clone();
                    scene.see(0, pending.clone());
                    scene
                })
                .collect();
            let (mut all, mut version) = (0, 1);
            for second in 0..300 {
                let told = scenes.iter_mut().flat_map(|scene| scene.due(second));
                let looks = told.filter(|duty| duty.starts_with("look")).count();
                all += looks;
                if looks > 0 {
                    version += 1;
                    for scene in &mut scenes {
                        let resource_version = version.to_string();
                        scene.see(
                            second,
                            Seen {
                                resource_version,
                                ..pending.clone()
                            },
                        );
                    }
                }
            }
            all
        };
        let (one, many) = (looks(1), looks(500));
        // Within a second several may look before they see what the first one wrote.
        assert!(one >= 2 && many <= 20 * one, "{one} {many}");
    }

    #[test]
    fn a_change_costs_nothing_for_those_that_are_not_due() {
        let mut scene = Scene::new(&[]);
        for number in 0..20_000 {
            scene.see(0, seen(&number.to_string(), Phase::Complete, Some("here")));
        }
        scene.due(1);
        assert!(
            scene
                .book
                .order
                .iter()
                .all(|(at, _)| *at > scene.start + Duration::from_secs(3000))
        );
        assert_eq!(scene.book.order.len(), scene.book.entries.len());
        assert_eq!(scene.book.pace(scene.start), *PACE.end());
    }

    #[test]
    fn what_the_former_agent_left_is_redone_once_and_then_fails() {
        let mut scene = Scene::new(&[seen("c", Phase::Capturing, Some("here"))]);
        assert_eq!(scene.due(0), ["offer c after 1"]);
        let again = Seen {
            attempts: 2,
            ..seen("c", Phase::Capturing, Some("here"))
        };
        scene.see(1, again.clone());
        assert_eq!(scene.due(10), [""; 0], "this process is at it");

        assert_eq!(Scene::new(&[again]).due(0), ["fail c Interrupted"]);
        let elsewhere = seen("c", Phase::Capturing, Some("there"));
        assert_eq!(Scene::new(&[elsewhere]).due(10), [""; 0]);
    }

    #[test]
    fn one_that_is_never_finished_fails() {
        let mut scene = Scene::new(&[]);
        scene.see(0, seen("c", Phase::Capturing, Some("here")));
        assert_eq!(scene.due(599), [""; 0]);
        assert_eq!(scene.due(660), ["fail c NotFinished"]);
        assert_eq!(scene.due(661), [""; 0], "once is enough");
    }

    #[test]
    fn finished_ones_go_when_their_time_is_over() {
        let short = Seen {
            spec: CaptureSpec {
                ttl: Some("1m30s".to_owned()),
                ..CaptureSpec::default()
            },
            ..seen("short", Phase::Failed, Some("here"))
        };
        let mut scene = Scene::new(&[
            short,
            seen("ours", Phase::Complete, Some("here")),
            Seen {
                label: Some("here".to_owned()),
                ..seen("failed", Phase::Failed, None)
            },
        ]);
        assert_eq!(scene.due(89), [""; 0]);
        assert_eq!(scene.due(90), ["delete short"]);
        scene.gone(91, Feed::Labelled, "short");
        assert_eq!(scene.due(3599), ["gone short"]);
        assert_eq!(scene.due(3600), ["delete failed", "delete ours"]);
        assert_eq!(
            scene.due(3660),
            ["delete failed", "delete ours"],
            "tried again"
        );
    }

    #[test]
    fn why_a_pending_one_fails_says_what_was_not_there() {
        let mut pending = seen("p", Phase::Pending, None);
        let place = |node: Option<&str>| PodPlace {
            uid: "u1".to_owned(),
            node: node.map(str::to_owned),
        };
        let message = |judged: Judged| match judged {
            Judged::Fails(_, message) | Judged::Waits(message) | Judged::IsAt(_, message) => {
                message
            }
        };
        assert_eq!(
            message(judge(&pending, None, false)),
            "pod shop/web not found"
        );
        assert_eq!(
            judge(&pending, Some(&place(None)), false),
            Judged::Waits("pod shop/web is on no node yet".to_owned())
        );
        assert_eq!(
            judge(&pending, Some(&place(Some("n1"))), false),
            Judged::IsAt(
                "n1".to_owned(),
                "the agent of node n1 has not taken it yet".to_owned()
            )
        );
        assert_eq!(
            message(judge(&pending, Some(&place(None)), true)),
            "pod shop/web is on no node after 5 min"
        );
        let no_agent = message(judge(&pending, Some(&place(Some("n1"))), true));
        assert!(
            no_agent.starts_with("no agent on node n1 took it within 5 min"),
            "{no_agent}"
        );
        pending.spec.pod_uid = Some("u0".to_owned());
        let another = message(judge(&pending, Some(&place(Some("n1"))), false));
        assert!(another.contains("UID u0 not found"), "{another}");
    }
}
