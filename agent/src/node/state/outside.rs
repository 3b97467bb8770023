//! What leaves the node: the spool with its captures, their Capture objects, and the tasks that announce and upload.
//!
//! No verb waits. What has to wait is given back, as a future or as work that blocks, and the loop's tasks run it.

use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use capture_format::{WallTime, chain};
use kubernetes::{
    Retry,
    captures::{self, Captures, Offer},
};
use spool::{Entry, Progress, Recurred, SavedRun, Spool, SpoolError};
use tokio::sync::Notify;
use triggers::Subject;

use super::super::{
    capture,
    closing::Clients,
    handle,
    left_runs::LeftRuns,
    order::{CaptureWritten, Order, REQUESTED},
    recording::Hold,
    similar,
    tell::{self, Teller},
};
use super::loops::News;
use crate::{config::Config, host, memory};

/// What the API server has reported in full.
#[derive(Clone, Copy)]
pub(crate) enum Feed {
    /// The pods of the node.
    Pods,
    /// The namespaces of the cluster.
    Namespaces,
}

/// Namespace and name of a Capture object.
pub(crate) type Key = (String, String);

/// The answer to the claim of a Capture object.
pub(crate) struct ClaimAnswered {
    pub(crate) key: Key,
    /// None if another agent was faster, or the API server did not answer.
    pub(crate) claim: Option<captures::Claim>,
}

/// See the module.
pub(crate) struct Outside {
    spool: Arc<Spool>,
    captures: Option<Captures>,
    teller: Teller,
    /// Wakes the uploader.
    uploader: Arc<Notify>,
    /// The kept runs, for the next agent.
    left_runs: Arc<LeftRuns>,
    /// The rings of runs that are kept since they were last handed over.
    holds: Vec<Hold>,
    /// Why the last upload failed.
    upload_error: Option<String>,
    /// Announcing begins when both are known: either may say that a container is opted out.
    knows_pods: bool,
    knows_namespaces: bool,
    /// Captures whose Capture object is gone: whether their files go too is being asked.
    settling: HashSet<String>,
    /// How long a finished Capture object lives.
    ttl: Duration,
}

impl Outside {
    pub(crate) fn new(
        spool: Arc<Spool>,
        captures: Option<Captures>,
        teller: Teller,
        uploader: Arc<Notify>,
        left_runs: Arc<LeftRuns>,
        ttl: Duration,
    ) -> Self {
        Self {
            spool,
            captures,
            teller,
            uploader,
            left_runs,
            holds: Vec::new(),
            upload_error: None,
            knows_pods: false,
            knows_namespaces: false,
            settling: HashSet::new(),
            ttl,
        }
    }

    /// Writes a capture into the spool.
    pub(crate) fn write(
        &self,
        clients: Clients,
        order: Order,
    ) -> impl Future<Output = anyhow::Result<CaptureWritten>> + Send + use<> {
        clients.capture(order, self.spool.clone())
    }

    /// There may be something to announce.
    pub(crate) fn announce(&self) {
        self.teller.wake();
    }

    /// There is a new file.
    pub(crate) fn announce_and_upload(&self) {
        self.teller.wake();
        self.uploader.notify_one();
    }

    /// A capture, for the person who asked for it.
    pub(crate) fn describe(&self, written: &CaptureWritten) -> handle::Written {
        let entry = &written.entry;
        handle::Written {
            name: entry.id.clone(),
            file: self.spool.path(&entry.id).unwrap_or_default(),
            size: entry.info.bytes,
            runs: entry.info.runs.len() as u32,
            sentence: written.explanation.sentence.clone(),
        }
    }

    /// An upload has ended. Returns what is to be done now that the capture is in the object storage.
    pub(crate) fn uploaded(&mut self, progress: Progress) -> Option<impl FnOnce() + Send + use<>> {
        match progress {
            Progress::Uploaded { id, location } => {
                tracing::info!(capture = id, location, "a capture is in the object storage");
                self.upload_error = None;
                let (spool, teller) = (self.spool.clone(), self.teller.clone());
                Some(move || {
                    // Its Capture object is to say where it is.
                    if let Err(error) = spool.update(&id, |entry| entry.state.announced = false) {
                        tracing::debug!(error = %chain(&error), "a capture left the spool as it was uploaded");
                    }
                    teller.wake();
                })
            }
            Progress::Failed {
                id,
                error,
                attempts,
                ..
            } => {
                tracing::warn!(capture = id, attempts, error = %chain(&error), "a capture is uploaded later");
                self.upload_error = Some(chain(&error).to_string());
                None
            }
        }
    }

    /// A crash loop goes on, or is over: its Event says so.
    pub(crate) fn say(&self, news: News, now: WallTime) -> impl FnOnce() + Send + use<> {
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        move || {
            let noting = |entry: &mut Entry| {
                entry.state.recurred = Some(Recurred {
                    crashes: news.crashes,
                    last: news.last,
                    over: news.is_over.then_some(now),
                });
                entry.state.announced = false;
            };
            match spool.update(&news.id, noting) {
                Ok(_) => teller.wake(),
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a loop goes on whose capture left the spool");
                }
            }
        }
    }

    /// Keeps the spool within its limits.
    pub(crate) fn enforce(&self) -> impl FnOnce() + Send + use<> {
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        move || {
            for dropped in spool.enforce() {
                tracing::info!(
                    capture = dropped.id,
                    "a capture left the spool, which keeps within its limits"
                );
            }
            teller.wake();
            memory::give_back();
        }
    }

    /// The captures of earlier agents, each with its verdict, unless it cannot be read.
    pub(crate) fn found(&self) -> Vec<Entry> {
        let mut entries = self.spool.entries();
        for entry in &mut entries {
            if entry.present
                && entry.info.verdict.is_none()
                && let Some(path) = self.spool.path(&entry.id)
            {
                // The agent was killed before it wrote the sidecar.
                match capture::explained(&path, &mut entry.info) {
                    Ok(_) => {
                        let noted = self
                            .spool
                            .update(&entry.id, |old| old.info = entry.info.clone());
                        if let Err(error) = noted {
                            tracing::warn!(error = %chain(&error), capture = entry.id, "a verdict is noted in memory only");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error = %chain(&*error), capture = entry.id, "a capture of the spool cannot be read")
                    }
                }
            }
        }
        entries
    }

    /// The runs that an earlier agent kept.
    pub(crate) fn restore(&self) -> Vec<SavedRun> {
        match self.spool.restore(&host::boot_id()) {
            Ok(restored) => restored.runs,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the runs that an earlier agent kept cannot be read");
                Vec::new()
            }
        }
    }

    /// Has the kept runs written for the next agent, in case this one is killed. What is said last counts.
    pub(crate) fn save_soon(&mut self, runs: Vec<SavedRun>) {
        self.left_runs.set(runs, mem::take(&mut self.holds));
    }

    /// Keeps the ring of a run until the run is written by [`Self::save_soon`].
    pub(crate) fn hold(&mut self, ring: Hold) {
        self.holds.push(ring);
    }

    /// Leaves runs to the next agent. Returns how many had to be left out.
    ///
    /// # Errors
    /// The spool's.
    pub(crate) fn save(&self, runs: &[SavedRun]) -> Result<usize, SpoolError> {
        self.spool.save(runs, &host::boot_id())
    }

    /// Captures of which the cluster has never known. One that has been uploaded meanwhile is announced once more,
    /// and is no such capture.
    pub(crate) fn unannounced(&self, of: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.spool
            .find(|entry| !entry.state.announced && !entry.state.exists && of(entry))
    }

    /// Captures of former namespaces, whose name another one has now; `uid` knows the present ones. Their Capture objects
    /// went with the namespace, and whoever has the name now must get none for their files.
    pub(crate) fn former<'a>(&self, uid: impl Fn(&str) -> Option<&'a String>) -> Vec<Entry> {
        self.spool.find(|entry| {
            let info = &entry.info;
            let now = uid(&info.namespace);
            !info.namespace_uid.is_empty() && now.is_some_and(|now| *now != info.namespace_uid)
        })
    }

    /// Removes captures, each for this reason.
    pub(crate) fn drop_all(
        &self,
        entries: Vec<(Entry, &'static str)>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let spool = self.spool.clone();
        async move {
            for (entry, why) in entries {
                tell::remove(&spool, &entry, why).await;
            }
        }
    }

    /// Whether nothing is missing any more for announcing.
    pub(crate) fn may_announce(&self) -> bool {
        self.knows_pods && self.knows_namespaces
    }

    /// Whether the API server has reported all pods of the node.
    pub(crate) fn knows_pods(&self) -> bool {
        self.knows_pods
    }

    /// The API server has reported all of something; true when nothing is missing any more, so that announcing may
    /// begin.
    pub(crate) fn heard(&mut self, all: Feed) -> bool {
        match all {
            Feed::Pods => self.knows_pods = true,
            Feed::Namespaces => self.knows_namespaces = true,
        }
        self.may_announce()
    }

    /// Begins to announce, once these captures have been removed, each for this reason.
    pub(crate) fn open(
        &self,
        unwanted: Vec<(Entry, &'static str)>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (dropping, teller) = (self.drop_all(unwanted), self.teller.clone());
        async move {
            dropping.await;
            teller.open();
        }
    }

    /// The API server has these Capture objects. What was announced and is not among them was lost with the resource
    /// definition, or with the cluster: it is announced anew. What somebody deleted is not in the spool any more, or
    /// is leaving it just now, and what is too old has expired.
    pub(crate) fn announce_missing(
        &self,
        there: &HashSet<Key>,
    ) -> Option<impl FnOnce() + Send + use<>> {
        let oldest = u128::from(host::realtime().0).saturating_sub(self.ttl.as_nanos());
        let missing = self.spool.find(|entry| {
            let key = (entry.info.namespace.clone(), entry.name().to_owned());
            entry.state.announced
                && entry.state.exists
                && u128::from(entry.info.created.0) > oldest
                && !there.contains(&key)
                && !self.settling.contains(&entry.id)
        });
        if missing.is_empty() {
            return None;
        }
        tracing::info!(
            captures = missing.len(),
            "captures are announced anew: the API server does not have them"
        );
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        Some(move || {
            for entry in missing {
                let anew = spool.update(&entry.id, |entry| {
                    (entry.state.announced, entry.state.exists) = (false, false);
                    entry.state.object = None;
                });
                if let Err(error) = anew {
                    tracing::debug!(error = %chain(&error), "a capture is to be announced anew");
                }
            }
            teller.wake();
        })
    }

    /// The capture that a Capture object is about.
    pub(crate) fn capture_of(&self, namespace: &str, name: &str) -> Option<Entry> {
        let is_it = |entry: &Entry| {
            entry.info.namespace == namespace && entry.name() == name && !entry.is_similar()
        };
        self.spool.find(is_it).pop()
    }

    /// Removes the file of a capture whose Capture object is gone, if somebody deleted that for its own sake. None
    /// while that is being asked already. The future gives the id for [`Self::deletion_settled`].
    pub(crate) fn settle_deletion(
        &mut self,
        entry: Entry,
    ) -> Option<impl Future<Output = String> + Send + use<>> {
        let captures = self.captures.clone()?;
        if !self.settling.insert(entry.id.clone()) {
            return None;
        }
        let spool = self.spool.clone();
        Some(async move {
            if is_deleted(&captures, &entry).await {
                tell::remove(&spool, &entry, "its Capture object was deleted").await;
            }
            entry.id
        })
    }

    /// What [`Self::settle_deletion`] began is done.
    pub(crate) fn deletion_settled(&mut self, id: &str) {
        self.settling.remove(id);
    }

    /// Whether a Capture object is about a capture that a trigger has ordered: its status is announced without a claim.
    pub(crate) fn announces(&self, offer: &Offer) -> bool {
        let of_fault = |entry: &Entry| {
            entry.info.namespace == offer.namespace
                && offer.spec.pod_uid.as_ref() == Some(&entry.info.pod_uid)
                && similar::stands_for(&offer.name, entry)
        };
        self.capture_of(&offer.namespace, &offer.name)
            .is_some_and(|entry| entry.info.rank < REQUESTED)
            || !self.spool.find(of_fault).is_empty()
    }

    /// Claims a Capture object for this agent.
    pub(crate) fn claim(
        &self,
        offer: Offer,
    ) -> Option<impl Future<Output = ClaimAnswered> + Send + use<>> {
        let captures = self.captures.clone()?;
        Some(async move {
            let answer = captures.claim(&offer).await;
            if let Err(error) = &answer {
                tracing::warn!(error = %chain(error), capture = offer.name, "a requested capture cannot be taken");
            }
            ClaimAnswered {
                key: (offer.namespace, offer.name),
                claim: answer.ok().flatten(),
            }
        })
    }

    /// Says in a Capture object that there will be no file.
    pub(crate) fn fail(
        &self,
        claim: captures::Claim,
        reason: &'static str,
        message: String,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let captures = self.captures.clone()?;
        Some(async move {
            if let Err(error) = captures.fail(claim, reason, &message).await {
                tracing::warn!(error = %chain(&error), "that a capture failed cannot be said: {message}");
            }
        })
    }

    /// Captures that wait to be announced.
    pub(crate) fn announce_pending(&self) -> u64 {
        self.teller.pending()
    }

    /// The spool and the object storage, for people.
    pub(crate) fn status(&self, config: &Config) -> (handle::Spool, Option<handle::Storage>) {
        let usage = self.spool.usage();
        let spool = handle::Spool {
            directory: config.spool.directory.clone(),
            captures: usage.captures as u64,
            bytes: usage.bytes,
            quota_bytes: config.spool.bytes.as_u64(),
            dropped: usage.dropped,
            lost: usage.lost,
            error: self.spool.trouble(),
        };
        let storage = config.storage.url.clone().map(|location| handle::Storage {
            location,
            pending: usage.not_uploaded as u64,
            error: self.upload_error.clone(),
        });
        (spool, storage)
    }
}

/// Why captures are removed.
pub(crate) const IS_OFF: &str = "its container is opted out";
pub(crate) const IS_FORMER: &str = "its namespace was deleted and made again";

/// Whether a Capture object that is gone was deleted for its own sake. Where the API server does not say, the file
/// stays.
async fn is_deleted(captures: &Captures, entry: &Entry) -> bool {
    /// Another API server may learn later that the definition is being deleted.
    const SETTLES: Duration = Duration::from_secs(3);
    const PACE: Duration = Duration::from_secs(10);
    const ATTEMPTS: usize = 30;
    tokio::time::sleep(SETTLES).await;
    for _ in 0..ATTEMPTS {
        let asked =
            captures.is_deleted(&entry.info.namespace, entry.name(), similar::file_of(entry));
        match asked.await {
            Ok(deleted) => return deleted,
            Err(error) if error.retry() == Retry::Soon => tokio::time::sleep(PACE).await,
            Err(error) => {
                tracing::warn!(capture = entry.id, error = %chain(&error), "a Capture object is gone, and why is not known: its file stays");
                return false;
            }
        }
    }
    false
}

/// Whose capture it is. One that was taken before anybody knew the container's name goes by the container's id.
pub(crate) fn subject_of(entry: &Entry) -> Subject {
    let info = &entry.info;
    let container = if info.container.is_empty() {
        &info.container_id
    } else {
        &info.container
    };
    Subject {
        pod_uid: info.pod_uid.clone(),
        container: container.clone(),
    }
}
