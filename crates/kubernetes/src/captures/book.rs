//! What has to be done about the Captures of the cluster. The book is pure: observations and times in, duties out.
//!
//! | a Capture that | for | is |
//! |---|---|---|
//! | is Pending | | offered, every 5 s |
//! | is Pending | 3 to 33 s | looked after: Failed if there is no such pod, else its message says where the pod is |
//! | is Pending | 1 to 2 min since the last change | looked after again; after 5 min Failed: no agent took it |
//! | is Capturing, by this node, when the agent starts | | offered once more, the second time Failed |
//! | is Capturing | 10 min | Failed: whoever took it did not finish |
//! | is finished | its time to live | deleted by its node's agent, if the API server's clock agrees |
//! | is finished | its time to live and 10 min | deleted by any agent, likewise: its node is gone, or no agent took it |
//!
//! Where any agent may act, each agent waits a different time, and the first one wins: what it does is a change that the
//! others see, and that starts their waiting anew. So the number of requests does not depend on the number of nodes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::Offer;
use crate::{
    Change,
    capture::{Capture, CaptureSpec, CaptureStatus, Phase},
};

const OFFER_EVERY: Duration = Duration::from_secs(5);
const LOOK_AFTER: Duration = Duration::from_secs(3);
const LOOK_SPREAD: Duration = Duration::from_secs(30);
const LATE_AFTER: Duration = Duration::from_secs(5 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_SPREAD: Duration = Duration::from_secs(60);
const STUCK_AFTER: Duration = Duration::from_secs(10 * 60);
const OTHERS_AFTER: Duration = Duration::from_secs(10 * 60);
const SPREAD: Duration = Duration::from_secs(60);
/// How long to wait before something that failed is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// An entry is looked at this often at least, in case this node's clock jumps.
const AT_LEAST: Duration = Duration::from_secs(3600);
/// How long the book may wait for changes.
const PACE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30);
/// How many times the agent of a node may take the same Capture.
const ATTEMPTS: i32 = 2;

/// A Capture, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) spec: CaptureSpec,
    phase: Phase,
    node: Option<String>,
    attempts: i32,
    /// When it was finished; at the earliest when it was made, which is a time of the API server's clock.
    finished: Timestamp,
}

impl Seen {
    /// A Capture without name, UID or version is ignored.
    pub(super) fn of(capture: Capture) -> Option<Self> {
        let phase = capture.phase();
        let metadata = capture.metadata;
        let status = capture.status.unwrap_or_default();
        let times = [status.finished_at, metadata.creation_timestamp];
        Some(Self {
            namespace: metadata.namespace?,
            name: metadata.name?,
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            spec: capture.spec,
            phase,
            node: status.node,
            attempts: status.attempts.unwrap_or(0),
            finished: times.into_iter().flatten().map(|time| time.0).max()?,
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
    /// Delete it, if it has also expired by a clock other than this node's.
    Expire(Seen, Expiry),
}

/// When a Capture expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) at: Timestamp,
    /// Whether the agent of this node took it.
    pub(super) ours: bool,
}

impl Expiry {
    /// Whether it has expired by the API server's clock. If that clock is not known, this node's clock decides, but
    /// only about Captures that this node's agent took.
    pub(super) fn is_over(self, clock: Option<Timestamp>) -> bool {
        clock.map_or(self.ours, |now| now >= self.at)
    }
}

/// What becomes of a pending Capture whose pod was looked for.
#[derive(Debug, PartialEq)]
pub(super) enum Judged {
    /// It fails: reason and message.
    Fails(&'static str, String),
    /// It goes on waiting: message.
    Waits(String),
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
        Some(node) if !late => {
            Judged::Waits(format!("the agent of node {node} has not taken it yet"))
        }
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

/// All existing Captures.
pub(super) struct Book {
    node: String,
    keep: Duration,
    synced: bool,
    /// By UID.
    entries: HashMap<String, Entry>,
    /// When each entry is looked at next, with its UID.
    order: BTreeSet<(Instant, String)>,
}

impl Book {
    pub(super) fn new(node: &str, keep: Duration) -> Self {
        Self {
            node: node.to_owned(),
            keep,
            synced: false,
            entries: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Takes a change from the watch. Returns the Capture if one was deleted.
    pub(super) fn observe(&mut self, change: Change<Seen>, now: Instant) -> Option<Seen> {
        match change {
            Change::Synced => self.synced = true,
            Change::Gone { uid } => return self.remove(&uid).map(|entry| entry.seen),
            Change::Changed(seen) => self.record(seen, now),
        }
        None
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

    fn record(&mut self, seen: Seen, now: Instant) {
        let capturing_here =
            seen.phase == Phase::Capturing && seen.node.as_deref() == Some(&self.node);
        let former = self.remove(&seen.uid);
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
                interrupted: capturing_here && !self.synced,
                due: now,
                look: now + LOOK_AFTER + self.wait(&seen.uid, LOOK_SPREAD),
                at: now,
                seen,
            },
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
        let next = next.filter(|_| self.synced).unwrap_or(*PACE.end());
        next.clamp(*PACE.start(), *PACE.end())
    }

    /// What is to be done now. Each duty is returned once, and again later if there is still reason for it.
    pub(super) fn due(&mut self, now: Instant, clock: Timestamp) -> Vec<Duty> {
        if !self.synced {
            return Vec::new();
        }
        let mut duties = Vec::new();
        while let Some((_, uid)) = self.order.first().filter(|(at, _)| *at <= now).cloned() {
            let Some(mut entry) = self.remove(&uid) else {
                break;
            };
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
            }
            let next = match pending {
                true => entry.due.min(entry.look),
                false => entry.due,
            };
            self.insert(next, entry);
        }
        // Somebody is waiting for offers; the other duties are not urgent.
        duties.sort_by_key(|duty| !matches!(duty, Duty::Offer(_)));
        duties
    }

    /// What is to be done about an entry now, if anything, and when it is to be looked at again.
    fn duty(&self, entry: &Entry, now: Instant, clock: Timestamp) -> (Option<Duty>, Duration) {
        let seen = &entry.seen;
        match seen.phase {
            Phase::Pending => (Some(Duty::Offer(seen.offer())), OFFER_EVERY),
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
                let stuck = entry.since + STUCK_AFTER + self.wait(&seen.uid, SPREAD);
                let node = seen.node.as_deref().unwrap_or("?");
                let message = format!(
                    "the agent of node {node} took it and did not finish within {} min",
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
                let expiry = self.expiry(seen);
                let left = Duration::try_from(expiry.at.duration_since(clock)).unwrap_or_default();
                match left.is_zero() {
                    true => (Some(Duty::Expire(seen.clone(), expiry)), AGAIN),
                    false => (None, left.min(AT_LEAST)),
                }
            }
        }
    }

    /// When this node's agent deletes it.
    fn expiry(&self, seen: &Seen) -> Expiry {
        let ttl = seen.spec.ttl.as_deref();
        let keep = ttl.and_then(|ttl| humantime::parse_duration(ttl).ok());
        let mut keep = keep.unwrap_or(self.keep);
        let ours = seen.node.as_deref() == Some(&self.node);
        if !ours {
            keep += OTHERS_AFTER + self.wait(&seen.uid, SPREAD);
        }
        let at = SignedDuration::try_from(keep)
            .ok()
            .and_then(|keep| seen.finished.checked_add(keep).ok())
            .unwrap_or(Timestamp::MAX);
        Expiry { at, ours }
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
                book.observe(Change::Changed(seen.clone()), start);
            }
            book.observe(Change::Synced, start);
            Self {
                book,
                start,
                clock: CLOCK.parse().unwrap(),
            }
        }

        fn see(&mut self, seconds: u64, seen: Seen) {
            self.book.observe(
                Change::Changed(seen),
                self.start + Duration::from_secs(seconds),
            );
        }

        fn due(&mut self, seconds: u64) -> Vec<String> {
            let clock = self.clock + SignedDuration::from_secs(seconds as i64);
            let now = self.start + Duration::from_secs(seconds);
            let told = |duty: Duty| match duty {
                Duty::Offer(offer) => format!("offer {} after {}", offer.name, offer.attempts),
                Duty::LookForPod(seen, late) => format!("look {} late={late}", seen.name),
                Duty::Fail(seen, reason, _) => format!("fail {} {reason}", seen.name),
                Duty::Expire(seen, _) => format!("delete {}", seen.name),
            };
            let mut duties: Vec<_> = self.book.due(now, clock).into_iter().map(told).collect();
            duties.sort();
            duties
        }
    }

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
            node: node.map(str::to_owned),
            attempts: i32::from(phase == Phase::Capturing),
            finished: CLOCK.parse().unwrap(),
        }
    }

    #[test]
    fn a_pending_one_is_offered_until_it_is_taken_and_not_before_all_are_known() {
        let pending = seen("p", Phase::Pending, None);
        let mut scene = Scene::new(&[]);
        scene.book.synced = false;
        scene.see(0, pending);
        assert_eq!(scene.due(0), [""; 0]);
        scene.book.observe(Change::Synced, scene.start);
        assert_eq!(scene.due(0), ["offer p after 0"]);
        assert_eq!(scene.due(2), [""; 0]);
        scene.see(6, seen("p", Phase::Capturing, Some("here")));
        assert_eq!(scene.due(6), [""; 0], "taken by this very process");
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
            scene.see(0, seen(&number.to_string(), Phase::Complete, Some("there")));
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
        for node in ["here", "there"] {
            let mut scene = Scene::new(&[]);
            scene.see(0, seen("c", Phase::Capturing, Some(node)));
            assert_eq!(scene.due(599), [""; 0]);
            assert_eq!(scene.due(660), ["fail c NotFinished"]);
            assert_eq!(scene.due(661), [""; 0], "once is enough");
        }
    }

    #[test]
    fn finished_ones_go_when_their_time_is_over_those_of_others_later() {
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
            seen("theirs", Phase::Complete, Some("there")),
        ]);
        assert_eq!(scene.due(89), [""; 0]);
        assert_eq!(scene.due(90), ["delete short"]);
        scene.book.observe(
            Change::Gone {
                uid: "uid-short".to_owned(),
            },
            scene.start,
        );
        assert_eq!(scene.due(3599), [""; 0]);
        assert_eq!(scene.due(3600), ["delete ours"]);
        assert_eq!(scene.due(3600 + 599), ["delete ours"], "tried again");
        assert_eq!(scene.due(3600 + 661), ["delete ours", "delete theirs"]);
    }

    #[test]
    fn why_a_pending_one_fails_says_what_was_not_there() {
        let mut pending = seen("p", Phase::Pending, None);
        let place = |node: Option<&str>| PodPlace {
            uid: "u1".to_owned(),
            node: node.map(str::to_owned),
        };
        let message = |judged: Judged| match judged {
            Judged::Fails(_, message) | Judged::Waits(message) => message,
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
            Judged::Waits("the agent of node n1 has not taken it yet".to_owned())
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
