//! The task that announces. It announces the captures of the spool that the cluster does not know yet, those of one
//! pod in the order in which they were taken. Captures that another one stands for are counted there ([`similar`]).

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use capture_format::{Container, WallTime, chain};
use futures::{StreamExt as _, stream::FuturesUnordered};
use kubernetes::{
    Error, Retry, Timestamp,
    announce::{Announcement, Announcer, Object, Recurred},
    capture::{CaptureSpec, CaptureStatus, Location, Losses, Phase, Trigger},
    captures::Captures,
    faults::Standing,
    pods::ContainerKind,
};
use spool::{Entry, Similar, Spool};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::similar::{self, Addition, Additions, Key, is_uncounted};
use crate::allowance::Allowance;

/// Pods whose captures are announced at the same time, so that they wait together for an API server that is slow or
/// far away.
const AT_ONCE: usize = 4;
/// Pause after the API server did not answer; it doubles with each further attempt.
const SOON: Duration = Duration::from_secs(1);
/// Pause before a failure that needs a person (a missing CRD, a missing permission) is tried again; also the longest
/// pause between attempts.
const LATER: Duration = Duration::from_secs(30);
/// How often an announcement is tried again that a quota or a policy refuses: after 30 s, then each time after twice
/// as long, half an hour in all.
const REFUSALS: u32 = 6;
/// How many captures are announced in a minute: all at once or spread over it.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(120).unwrap();
/// When to look again whether more may be announced.
const ALLOWED_SOON: Duration = Duration::from_secs(1);
/// How long it is believed that a fault has all the Captures that it may have.
const TAKEN: Duration = Duration::from_secs(60);
/// `reason` of a Capture whose file could not be written.
const NOT_WRITTEN: &str = "NotWritten";
/// A failure is logged at once, and then only this often, with the number of failures.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10 * 60);

/// Wakes the task that announces.
#[derive(Clone, Default)]
pub(super) struct Teller {
    news: Arc<Notify>,
    opened: Arc<Notify>,
    pending: Arc<AtomicU64>,
    decided: Arc<Notify>,
}

/// Where people find captures.
pub(super) struct Place {
    /// Name of the node.
    pub(super) node: String,
    /// The spool's directory on the node; inside the agent's pod its path may be another.
    pub(super) spool: PathBuf,
}

/// The outcome of announcing a capture.
enum Told {
    /// The Capture object of this name is its own.
    Announced(String),
    /// Its pod has its Event, and another capture stands for it.
    Similar,
    /// Its Capture object was deleted, so the file is removed too.
    Deleted,
}

/// A capture that is tried again.
struct Again {
    at: Instant,
    refusals: u32,
}

impl Teller {
    /// There may be something to announce.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Announcing may begin: all containers that are opted out are known.
    pub(super) fn open(&self) {
        self.opened.notify_one();
    }

    /// What wakes the uploader: whether another capture stands for one is known, so that this one may be uploaded, or is
    /// not going to be.
    pub(super) fn decided(&self) -> Arc<Notify> {
        self.decided.clone()
    }

    /// Captures that wait to be announced or counted.
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Announces for as long as the agent lives, once announcing may begin.
    pub(super) async fn run(
        self,
        announcer: Announcer,
        captures: Captures,
        spool: Arc<Spool>,
        place: Place,
    ) {
        let (announcer, captures, place) = (&announcer, &captures, &place);
        let taken = &Taken::default();
        let announce = |entry: Arc<Entry>| async move {
            let mut announcement = announcement(&entry, place);
            let fault = match &announcement.object {
                Object::OfFault(fault) => Some((entry.info.namespace.clone(), fault.clone())),
                _ => None,
            };
            let file = similar::file_of(&entry);
            if fault
                .as_ref()
                .is_some_and(|fault| taken.by_others(fault, file))
            {
                announcement.object = Object::OfOthers;
            }
            match announcer.announce(&announcement).await {
                Ok(Standing::Own(name)) => Ok(Told::Announced(name)),
                Ok(Standing::Similar { own }) => {
                    if let (Object::OfFault(_), Some(fault)) = (announcement.object, fault) {
                        taken.add(fault, own);
                    }
                    Ok(Told::Similar)
                }
                Err(Error::NotFound(_)) if entry.state.exists => {
                    let asked = captures.is_deleted(&entry.info.namespace, entry.name(), file);
                    match asked.await? {
                        true => Ok(Told::Deleted),
                        false => Err(Error::CrdMissing),
                    }
                }
                Err(error) => Err(error),
            }
        };
        let add = |addition: Arc<Addition>| async move {
            let (namespace, fault) = &addition.key;
            let files = addition.files(&place.node);
            let added = announcer
                .add(namespace, fault, &addition.name, &files)
                .await?;
            if added.is_none() {
                taken.remove(&addition.key);
            }
            Ok(added.is_some())
        };
        self.pending
            .store(spool.find(waits).len() as u64, Ordering::Relaxed);
        self.opened.notified().await;
        self.serve(&spool, announce, add).await;
    }

    /// Announces the captures of the spool by `announce`: those of one pod one after the other, as its Event may be
    /// the same object; those of different pods at the same time. Counts others by `add`, which returns whether there
    /// is a Capture in which they are counted.
    async fn serve<F, A>(
        self,
        spool: &Arc<Spool>,
        announce: impl Fn(Arc<Entry>) -> F,
        add: impl Fn(Arc<Addition>) -> A,
    ) where
        F: Future<Output = Result<Told, Error>>,
        A: Future<Output = Result<bool, Error>>,
    {
        let allowance = Allowance::new(PER_MINUTE);
        let mut additions = Additions::default();
        let mut adding = FuturesUnordered::new();
        let mut under_way = FuturesUnordered::new();
        let mut pods = HashSet::new();
        let mut later: HashMap<String, Again> = HashMap::new();
        let mut away: Option<Instant> = None;
        let mut pause = SOON;
        let mut complaints = Complaints::default();
        loop {
            let waiting = spool.find(waits);
            let uncounted = spool.find(is_uncounted);
            let pending = waiting.len() + uncounted.len();
            self.pending.store(pending as u64, Ordering::Relaxed);
            let known: HashSet<&String> = waiting.iter().map(|entry| &entry.id).collect();
            later.retain(|id, _| known.contains(id));
            let now = Instant::now();
            away = away.filter(|until| *until > now);
            if away.is_none()
                && adding.is_empty()
                && let Some(addition) = additions.next(uncounted, now)
            {
                let addition = Arc::new(addition);
                begin(spool, &addition).await;
                let attempt = add(addition.clone());
                adding.push(async move { (addition, attempt.await) });
            }
            let mut is_allowed = true;
            for entry in waiting {
                if away.is_some() || under_way.len() == AT_ONCE {
                    break;
                }
                let pod = (entry.info.namespace.clone(), entry.info.pod.clone());
                let is_early = later.get(&entry.id).is_some_and(|again| again.at > now);
                if is_early || pods.contains(&pod) {
                    continue;
                }
                is_allowed = allowance.take(now.into_std());
                if !is_allowed {
                    break;
                }
                pods.insert(pod.clone());
                let entry = Arc::new(entry);
                let attempt = announce(entry.clone());
                under_way.push(async move { (pod, entry, attempt.await) });
            }
            let again = later.values().map(|again| again.at).filter(|at| *at > now);
            let more = (!is_allowed).then(|| now + ALLOWED_SOON);
            let may_add = adding.is_empty() && away.is_none();
            let due = additions.next_due().filter(|_| may_add);
            let next = away.into_iter().chain(again).chain(more).chain(due).min();
            tokio::select! {
                Some((addition, outcome)) = adding.next() => {
                    let now = Instant::now();
                    let is_counted = match outcome {
                        Ok(is_counted) => is_counted,
                        // The namespace is gone.
                        Err(error) if error.retry() == Retry::Never => true,
                        Err(error) => {
                            if let Some(entry) = addition.captures.first() {
                                complaints.about(entry, &error);
                            }
                            additions.failed(addition.key.clone(), now);
                            continue;
                        }
                    };
                    end(spool, &addition, is_counted).await;
                    additions.done(addition.key.clone(), now);
                }
                Some((pod, entry, outcome)) = under_way.next() => {
                    pods.remove(&pod);
                    let error = match outcome {
                        Ok(told) => {
                            pause = SOON;
                            match told {
                                Told::Announced(name) => announced(spool, &entry, Some(name)).await,
                                Told::Similar => is_similar(spool, &entry).await,
                                Told::Deleted => remove(spool, &entry, "its Capture object was deleted").await,
                            }
                            self.decided.notify_one();
                            continue;
                        }
                        Err(error) => error,
                    };
                    let now = Instant::now();
                    let refusals = later.get(&entry.id).map_or(0, |again| again.refusals);
                    match error.retry() {
                        Retry::Seldom if refusals < REFUSALS => {
                            let at = now + LATER * 2u32.pow(refusals);
                            later.insert(entry.id.clone(), Again { at, refusals: refusals + 1 });
                        }
                        Retry::Seldom | Retry::Never => {
                            tracing::warn!(capture = entry.id, error = %chain(&error), "a capture is not announced");
                            announced(spool, &entry, None).await;
                            continue;
                        }
                        // The others would fail for the same reason, or do so already.
                        Retry::Soon if away.is_none() => {
                            away = Some(now + pause);
                            pause = (pause * 2).min(LATER);
                        }
                        Retry::Soon => {}
                        Retry::Later => {
                            later.insert(entry.id.clone(), Again { at: now + LATER, refusals });
                        }
                    }
                    complaints.about(&entry, &error);
                }
                // Perhaps the API server answers again.
                () = self.news.notified() => away = away.map(|until| until.min(Instant::now() + SOON)),
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            }
        }
    }
}

/// Whether a capture is still to be announced. Captures of containers that are in no pod never are.
fn waits(entry: &Entry) -> bool {
    !entry.state.announced && !entry.info.namespace.is_empty()
}

/// Failures, which mostly concern many captures, and again and again.
#[derive(Default)]
struct Complaints {
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn about(&mut self, entry: &Entry, error: &Error) {
        if self
            .said
            .is_some_and(|said| said.elapsed() < COMPLAIN_EVERY)
        {
            self.unsaid += 1;
            return tracing::debug!(capture = entry.id, error = %chain(error), "a capture is announced later");
        }
        let attempts_before = std::mem::take(&mut self.unsaid);
        tracing::warn!(capture = entry.id, error = %chain(error), attempts_before, "a capture is announced later");
        self.said = Some(Instant::now());
    }
}

/// Faults that have all the Captures that they may have, according to the API server's answer of a minute ago at most:
/// it need not be asked for each pod of a crowd.
#[derive(Default)]
struct Taken(Mutex<HashMap<Key, Holders>>);

struct Holders {
    since: Instant,
    /// Those files of this node that have the Captures.
    own: Vec<String>,
}

impl Taken {
    /// Whether other files have all Captures of the fault.
    fn by_others(&self, fault: &Key, file: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, holders| holders.since.elapsed() < TAKEN);
        let holders = known.get(fault);
        holders.is_some_and(|holders| holders.own.iter().all(|own| own != file))
    }

    fn add(&self, fault: Key, own: Vec<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        known.insert(fault, Holders { since, own });
    }

    /// They are found to be free.
    fn remove(&self, (namespace, fault): &Key) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, known), _| of != namespace || known.slots().ne(fault.slots()));
    }
}

/// Notes that the cluster knows of a capture, by the object of this name if it has one, unless the capture has been
/// superseded meanwhile.
async fn announced(spool: &Arc<Spool>, entry: &Entry, object: Option<String>) {
    if entry.state.unwritten.is_some() {
        spool.forget(&entry.id);
        return;
    }
    let told = entry.clone();
    let noting = move |entry: &mut Entry| {
        // The object is its own, whatever has become of the capture.
        if let Some(name) = object {
            entry.state.exists = true;
            entry.state.object = Some(name).filter(|name| *name != entry.info.name);
        }
        entry.state.announced = is_same(entry, &told);
    };
    note(spool, &entry.id, noting).await;
}

/// Notes that another capture stands for this one.
async fn is_similar(spool: &Arc<Spool>, entry: &Entry) {
    if entry.state.unwritten.is_some() {
        spool.forget(&entry.id);
        return;
    }
    let told = entry.clone();
    let noting = move |entry: &mut Entry| {
        entry.state.similar.get_or_insert_default();
        entry.state.announced = is_same(entry, &told);
    };
    note(spool, &entry.id, noting).await;
}

/// Whether it is still the capture that was announced, in the state that was announced.
fn is_same(entry: &Entry, told: &Entry) -> bool {
    entry.info.sha256 == told.info.sha256
        && entry.state.upload.location == told.state.upload.location
        && entry.state.recurred == told.state.recurred
}

/// Writes down which captures are in an addition, before it is tried.
async fn begin(spool: &Arc<Spool>, addition: &Addition) {
    for entry in &addition.captures {
        let name = addition.name.clone();
        let noting = |entry: &mut Entry| {
            if let Some(similar) = &mut entry.state.similar {
                similar.addition = Some(name);
            }
        };
        note(spool, &entry.id, noting).await;
    }
}

/// Notes that the captures of an addition are counted. If there is no Capture any more, they are announced anew, and
/// may get Captures of their own.
async fn end(spool: &Arc<Spool>, addition: &Addition, is_counted: bool) {
    for entry in &addition.captures {
        let noting = move |entry: &mut Entry| match (&mut entry.state.similar, is_counted) {
            (Some(Similar { counted, .. }), true) => *counted = true,
            (similar, _) => {
                *similar = None;
                entry.state.announced = false;
            }
        };
        note(spool, &entry.id, noting).await;
    }
}

async fn note(spool: &Arc<Spool>, id: &str, change: impl FnOnce(&mut Entry) + Send + 'static) {
    let (spool, of) = (spool.clone(), id.to_owned());
    let noted = tokio::task::spawn_blocking(move || spool.update(&of, change)).await;
    if let Ok(Err(error)) = noted {
        tracing::warn!(capture = id, error = %chain(&error), "that a capture was announced is noted in memory only");
    }
}

/// Removes a capture from the spool.
pub(super) async fn remove(spool: &Arc<Spool>, entry: &Entry, why: &str) {
    let (spool, id) = (spool.clone(), entry.id.clone());
    match tokio::task::spawn_blocking(move || spool.remove(&id)).await {
        Ok(Ok(_)) => {
            tracing::info!(capture = entry.id, "a capture left the spool: {why}");
        }
        Ok(Err(error)) => {
            tracing::warn!(capture = entry.id, error = %chain(&error), "a capture cannot be removed, and {why}");
        }
        Err(_) => {}
    }
}

fn announcement(entry: &Entry, place: &Place) -> Announcement {
    let info = &entry.info;
    let at = |time: WallTime| Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let created = at(info.created);
    let is_written = entry.state.unwritten.is_none();
    let fault = similar::fault_of(entry);
    let owner = fault.as_ref().map(|fault| fault.owner.to_string());
    let name = || entry.name().to_owned();
    let object = match fault.clone() {
        _ if entry.state.exists => Object::Existing(name()),
        _ if entry.is_similar() => Object::OfOthers,
        Some(fault) => Object::OfFault(fault),
        None => Object::Named(name()),
    };
    let is_shared = matches!(object, Object::OfFault(_) | Object::OfOthers);
    let has_own_name = is_shared || entry.state.object.is_some();
    Announcement {
        namespace: info.namespace.clone(),
        object,
        spec: CaptureSpec {
            pod_name: info.pod.clone(),
            pod_uid: Some(info.pod_uid.clone()),
            container: Some(info.container.clone()),
            container_id: Some(info.container_id.clone()),
            trigger: Trigger {
                kind: info.trigger.kind.clone(),
                detail: Some(info.trigger.detail.clone()),
            },
            ttl: None,
        },
        status: CaptureStatus {
            phase: match &entry.state.unwritten {
                Some(_) => Phase::Failed,
                None => Phase::Complete,
            },
            reason: entry
                .state
                .unwritten
                .as_ref()
                .map(|_| NOT_WRITTEN.to_owned()),
            message: entry.state.unwritten.clone(),
            node: Some(place.node.clone()),
            pod_uid: Some(info.pod_uid.clone()),
            container: Some(info.container.clone()),
            container_id: Some(info.container_id.clone()),
            verdict: info.verdict.clone(),
            cause: info.cause.clone(),
            fingerprint: info.fingerprint.clone(),
            owner,
            file: has_own_name.then(|| similar::file_of(entry).to_owned()),
            confidence: info.confidence.map(i32::from),
            leads: kubernetes::capture::within_limits(&info.leads),
            runs: Some(info.runs.len() as i32),
            size_bytes: i64::try_from(info.bytes).ok().filter(|_| is_written),
            losses: Some(Losses {
                lost: info.losses.lost as i64,
                overwritten: info.losses.overwritten as i64,
                torn: info.losses.torn as i64,
            }),
            location: is_written.then(|| Location {
                node_path: entry
                    .present
                    .then(|| spool::path(&place.spool, &entry.id).display().to_string()),
                object_url: entry.state.upload.location.clone(),
            }),
            sha256: is_written.then(|| info.sha256.clone()),
            taken_at: Some(created.into()),
            finished_at: Some(created.into()),
            ..CaptureStatus::default()
        },
        kind: kind(&info.container_kind),
        ended: info.ended.map_or(created, at),
        recurred: entry.state.recurred.as_ref().map(|recurred| Recurred {
            crashes: recurred.crashes,
            last: at(recurred.last),
            over: recurred.over.map(at),
        }),
        fault,
    }
}

/// A container's kind as captures name it.
fn kind(name: &str) -> ContainerKind {
    match name {
        Container::INIT => ContainerKind::Init,
        Container::SIDECAR => ContainerKind::Sidecar,
        Container::EPHEMERAL => ContainerKind::Ephemeral,
        _ => ContainerKind::App,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use capture_format::{Header, Pod, WallTime};
    use spool::{Config, Info, New};
    use tokio::{
        sync::Barrier,
        time::{sleep, timeout},
    };

    use super::*;

    /// What was attempted, with the seconds since the first attempt, and which captures are left in the spool.
    struct Story {
        attempts: Vec<(String, u64)>,
        left: Vec<String>,
    }

    /// Its own Capture object was written.
    fn announced_as(name: &str) -> Told {
        Told::Announced(name.to_owned())
    }

    /// Announces captures (pod and name of each, of containers in no pod where that is empty) until none waits;
    /// `announce` is given the name.
    async fn told<F>(captures: &[(&str, &str)], announce: impl Fn(String) -> F) -> Story
    where
        F: Future<Output = Result<Told, Error>>,
    {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            directory: folder.path().into(),
            ..Config::default()
        };
        let spool = Arc::new(Spool::open(config).unwrap().0);
        for (created, (pod, name)) in (crate::host::realtime().0..).zip(captures) {
            let header = Header {
                created: WallTime(created),
                pod: (!pod.is_empty()).then(|| Pod {
                    namespace: "shop".into(),
                    name: (*pod).into(),
                    uid: (*pod).into(),
                }),
                ..Header::default()
            };
            let new = New {
                name,
                header: &header,
                rank: 0,
                requested: false,
                pinned: false,
                expected_bytes: 0,
            };
            spool.write(&new, |_| Ok(()), |_, _| ()).unwrap();
        }
        let attempts = Mutex::new(Vec::new());
        let begun = Instant::now();
        let noted = |entry: Arc<Entry>| {
            let attempt = (entry.name().to_owned(), begun.elapsed().as_secs());
            attempts.lock().unwrap().push(attempt);
            let announcing = announce(entry.name().to_owned());
            async move {
                announcing.await.map(|told| match told {
                    Told::Announced(_) => Told::Announced(entry.name().to_owned()),
                    other => other,
                })
            }
        };
        let never = |_| async { panic!("nothing is to be counted") };
        let all = async {
            let waits = |entry: &Entry| !entry.state.announced && !entry.info.pod.is_empty();
            while !spool.find(waits).is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = Teller::default().serve(&spool, noted, never) => {}
            done = timeout(Duration::from_secs(7200), all) => done.expect("something is never told"),
        }
        let left = spool.entries();
        assert!(
            left.iter()
                .all(|entry| spool.path(&entry.id).unwrap().exists())
        );
        Story {
            attempts: attempts
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            left: left.iter().map(|entry| entry.name().to_owned()).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pods_do_not_wait_for_each_other() {
        let both = Barrier::new(2);
        told(&[("web", "a"), ("db", "b")], |_| async {
            both.wait().await;
            Ok(announced_as(""))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn captures_of_one_pod_are_told_one_after_the_other() {
        let story = told(&[("web", "b"), ("web", "a")], |_| async {
            sleep(Duration::from_secs(3)).await;
            Ok(announced_as(""))
        })
        .await;
        assert_eq!(story.attempts, [("b".to_owned(), 0), ("a".to_owned(), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_is_asked_again_with_longer_and_longer_pauses() {
        let calls = AtomicU64::new(0);
        let story = told(&[("web", "a"), ("db", "b")], |_| async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0..6 => Err(Error::Away("closed".into())),
                _ => Ok(announced_as("")),
            }
        })
        .await;
        let seconds: Vec<u64> = story.attempts.iter().map(|(_, second)| *second).collect();
        assert_eq!(seconds, [0, 0, 1, 1, 3, 3, 7, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_holds_up_nothing_else() {
        const REFUSED: u64 = AT_ONCE as u64;
        let calls = AtomicU64::new(0);
        let refused: Vec<String> = (0..AT_ONCE).map(|pod| format!("refused-{pod}")).collect();
        let mut captures: Vec<_> = refused
            .iter()
            .map(|pod| (pod.as_str(), pod.as_str()))
            .collect();
        captures.push(("web", "web"));
        let story = told(&captures, |_| async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0..REFUSED => Err(Error::CrdMissing),
                _ => Ok(announced_as("")),
            }
        })
        .await;
        let second = |name: &str| story.attempts.iter().rfind(|(of, _)| of == name).unwrap().1;
        assert_eq!(second("web"), 0);
        assert!(refused.iter().all(|name| second(name) == LATER.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn containers_in_no_pod_have_nobody_to_be_told() {
        let captures = [("", "docker"), ("web", "a"), ("", "nerdctl")];
        let story = told(&captures, |_| async { Ok(announced_as("")) }).await;
        assert_eq!(story.attempts, [("a".to_owned(), 0)]);
        assert_eq!(story.left, ["docker", "a", "nerdctl"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_quota_refuses_is_tried_less_and_less_and_then_given_up() {
        let access = kubernetes::AGENT[0];
        let message = || "exceeded quota".to_owned();
        let refused = || Error::Refused {
            access,
            message: message(),
        };
        let story = told(&[("web", "a")], |_| async { Err(refused()) }).await;
        let seconds: Vec<u64> = story.attempts.iter().map(|(_, second)| *second).collect();
        assert_eq!(seconds, [0, 30, 90, 210, 450, 930, 1890]);
        assert_eq!(story.left, ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_capture_does_not_have_what_was_refused_tried_again() {
        let calls = AtomicU64::new(0);
        let story = told(&[("db", "b"), ("web", "a"), ("web", "c")], |name| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                match name.as_str() {
                    "b" if first => Err(Error::CrdMissing),
                    "b" => Ok(announced_as("")),
                    _ => {
                        sleep(Duration::from_secs(2)).await;
                        Ok(announced_as(""))
                    }
                }
            }
        })
        .await;
        let of_b: Vec<_> = story
            .attempts
            .iter()
            .filter(|(name, _)| name == "b")
            .collect();
        assert_eq!(
            of_b,
            [&("b".to_owned(), 0), &("b".to_owned(), LATER.as_secs())]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_of_a_deleted_capture_goes() {
        let story = told(&[("web", "a"), ("db", "b")], |name| async move {
            Ok(match name.as_str() {
                "a" => Told::Deleted,
                _ => announced_as(""),
            })
        })
        .await;
        assert_eq!(story.left, ["b"]);
    }

    /// A spool with captures of the same fault of these pods.
    fn crowd(folder: &std::path::Path, pods: std::ops::Range<u32>) -> Arc<Spool> {
        let config = Config {
            directory: folder.to_owned(),
            ..Config::default()
        };
        let spool = Arc::new(Spool::open(config).unwrap().0);
        for (created, pod) in (crate::host::realtime().0..).zip(pods) {
            let name = format!("web-{pod}");
            let header = Header {
                created: WallTime(created),
                pod: Some(Pod {
                    namespace: "shop".into(),
                    name: name.clone(),
                    uid: name.clone(),
                }),
                ..Header::default()
            };
            let new = New {
                name: &name,
                header: &header,
                rank: 0,
                requested: false,
                pinned: false,
                expected_bytes: 0,
            };
            let describe = |_: &std::path::Path, info: &mut Info| {
                info.owner = Some(spool::Owner::default());
                info.fingerprint = Some("0123456789abcdef".to_owned());
            };
            spool.write(&new, |_| Ok(()), describe).unwrap();
        }
        spool
    }

    /// Announces, with a Capture for the first pod, and counts the others by `add`, until nothing waits or this many
    /// seconds have passed.
    async fn tell_crowd<F>(spool: &Arc<Spool>, seconds: u64, add: impl Fn(Arc<Addition>) -> F)
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let announce = async |entry: Arc<Entry>| match &*entry.info.pod {
            "web-0" => Ok(announced_as("slot")),
            _ => Ok(Told::Similar),
        };
        let all = async {
            while !spool
                .find(|entry| waits(entry) || is_uncounted(entry))
                .is_empty()
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = Teller::default().serve(spool, announce, add) => {}
            _ = timeout(Duration::from_secs(seconds), all) => {}
        }
    }

    fn pods(addition: &Addition) -> Vec<String> {
        let captures = addition.captures.iter();
        captures.map(|entry| entry.info.pod.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_capture_stands_for_is_counted_once_and_together() {
        let folder = tempfile::tempdir().unwrap();
        let spool = crowd(folder.path(), 0..20);
        let (counted, failures) = (Mutex::new(Vec::new()), AtomicU64::new(2));
        tell_crowd(&spool, 3600, |addition| {
            if failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                return std::future::ready(Err(Error::Away("closed".into())));
            }
            counted.lock().unwrap().push(pods(&addition));
            std::future::ready(Ok(true))
        })
        .await;
        let expected: Vec<String> = (1..20).map(|pod| format!("web-{pod}")).collect();
        assert_eq!(counted.into_inner().unwrap(), [expected]);
        let own = spool.find(|entry| !entry.is_similar());
        assert_eq!((own.len(), own[0].name()), (1, "slot"));
        assert!(
            spool
                .entries()
                .iter()
                .all(|entry| spool.path(&entry.id).is_some())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_ended_while_it_counted_tries_the_same_addition_again() {
        let folder = tempfile::tempdir().unwrap();
        let begun = Mutex::new(Vec::new());
        let spool = crowd(folder.path(), 0..3);
        tell_crowd(&spool, 120, |addition| {
            begun
                .lock()
                .unwrap()
                .push((addition.name.clone(), pods(&addition)));
            std::future::pending()
        })
        .await;
        let begun = begun.into_inner().unwrap();
        assert_eq!(begun.len(), 1, "{begun:?}");
        drop(spool);
        // More came meanwhile.
        let spool = crowd(folder.path(), 3..5);
        let tried = Mutex::new(Vec::new());
        tell_crowd(&spool, 3600, |addition| {
            tried
                .lock()
                .unwrap()
                .push((addition.name.clone(), pods(&addition)));
            std::future::ready(Ok(true))
        })
        .await;
        let tried = tried.into_inner().unwrap();
        assert_eq!(tried[0], begun[0]);
        assert_eq!(tried[1].1, ["web-3", "web-4"]);
        assert_eq!(tried.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_capture_to_be_counted_in_it_is_announced_anew() {
        let folder = tempfile::tempdir().unwrap();
        let spool = crowd(folder.path(), 1..2);
        let tries = AtomicU64::new(0);
        tell_crowd(&spool, 3600, |_| {
            std::future::ready(Ok(tries.fetch_add(1, Ordering::Relaxed) > 0))
        })
        .await;
        assert_eq!(tries.into_inner(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_announced_at_a_rate() {
        let folder = tempfile::tempdir().unwrap();
        let pods = PER_MINUTE.get() + 60;
        let spool = crowd(folder.path(), 0..pods);
        tell_crowd(&spool, 20, |_| std::future::pending()).await;
        let told = spool.find(|entry| !waits(entry)).len() as u32;
        assert!(told >= PER_MINUTE.get() && told < pods, "{told}");
    }

    #[test]
    fn who_holds_the_captures_of_a_fault_is_remembered_for_a_while() {
        let fault = (
            String::new(),
            similar::fault_of(&Entry {
                info: Info {
                    owner: Some(spool::Owner::default()),
                    fingerprint: Some(String::new()),
                    ..Info::default()
                },
                ..Entry::default()
            })
            .unwrap(),
        );
        let taken = Taken::default();
        assert!(!taken.by_others(&fault, "web-1"));
        taken.add(fault.clone(), vec!["web-1".to_owned()]);
        assert!(taken.by_others(&fault, "web-2") && !taken.by_others(&fault, "web-1"));
        taken.remove(&fault);
        assert!(!taken.by_others(&fault, "web-2"));
    }

    fn place() -> Place {
        Place {
            node: "node".to_owned(),
            spool: "/mnt/disk/lastword".into(),
        }
    }

    #[test]
    fn the_path_is_that_on_the_node() {
        let mut entry = Entry {
            id: "shop/web-1".to_owned(),
            present: true,
            ..Entry::default()
        };
        let path = |entry: &Entry| announcement(entry, &place()).status.location?.node_path;
        let expected = "/mnt/disk/lastword/captures/shop/web-1.lwcap";
        assert_eq!(path(&entry).as_deref(), Some(expected));
        entry.present = false;
        assert_eq!(path(&entry), None);
    }

    #[test]
    fn what_could_not_be_written_is_told_without_a_file() {
        let mut entry = Entry::default();
        entry.info.verdict = Some("it failed".to_owned());
        entry.state.unwritten = Some("Read-only file system".to_owned());
        let status = announcement(&entry, &place()).status;
        assert_eq!(status.phase, Phase::Failed);
        assert_eq!(status.reason.as_deref(), Some(NOT_WRITTEN));
        assert_eq!(status.message.as_deref(), Some("Read-only file system"));
        assert_eq!(status.verdict.as_deref(), Some("it failed"));
        assert_eq!(
            (status.location, status.sha256, status.size_bytes),
            (None, None, None)
        );
    }

    #[test]
    fn leads_are_announced_as_far_as_the_definition_allows() {
        let mut entry = Entry::default();
        entry.info.leads = vec![
            "connect 10.0.0.7:5432: ECONNREFUSED".to_owned(),
            "ä".repeat(1000),
        ];
        entry.info.leads.resize(9, "x".to_owned());
        let leads = announcement(&entry, &place()).status.leads;
        assert_eq!(
            (leads.len(), &*leads[0]),
            (3, "connect 10.0.0.7:5432: ECONNREFUSED")
        );
        assert!(leads[1].len() <= 512 && leads[1].ends_with('…'));
    }

    #[test]
    fn how_a_loop_went_on_is_announced_once_more() {
        let told = Entry::default();
        let mut entry = Entry::default();
        assert!(is_same(&entry, &told));
        entry.state.recurred = Some(spool::Recurred {
            crashes: 14,
            last: WallTime(7_250_000_000),
            over: None,
        });
        assert!(!is_same(&entry, &told), "it went on meanwhile");
        let recurred = announcement(&entry, &place()).recurred.unwrap();
        assert_eq!(
            (recurred.crashes, recurred.last.as_millisecond()),
            (14, 7250)
        );
    }

    #[test]
    fn the_event_has_the_time_at_which_the_run_ended() {
        let mut entry = Entry {
            info: Info {
                created: WallTime(9_500_000_000),
                ended: Some(WallTime(7_250_000_000)),
                ..Info::default()
            },
            ..Entry::default()
        };
        let ended = |entry: &Entry| announcement(entry, &place()).ended.as_millisecond();
        assert_eq!(ended(&entry), 7250);
        // A live container has its verdict from when it was looked at.
        entry.info.ended = None;
        assert_eq!(ended(&entry), 9500);
    }
}
