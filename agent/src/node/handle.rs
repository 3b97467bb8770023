//! How the HTTP endpoint and the local socket ask the node's loop: requests in, answers out, nothing shared.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use crate::packs::Packs;
use capture_format::{Losses, Probe, WallTime};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Requests that may wait for the loop; further ones wait until there is room.
const WAITING_REQUESTS: usize = 16;
/// How long an answer may take that the loop has at hand.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take for which captures are written, or the API server is asked.
const WORK_TIMEOUT: Duration = Duration::from_secs(20);

/// A request to the node's loop. Whoever asked may have gone when the answer comes, so a failed reply is no error.
#[derive(Debug)]
pub(crate) enum Request {
    /// How is it going?
    Status(oneshot::Sender<Status>),
    /// Capture what matches of the containers that are recorded on this node, without stopping them.
    Capture {
        /// Which containers.
        target: Target,
        /// Why, in a person's words; may be empty.
        reason: String,
        /// One outcome for each container that matches.
        reply: oneshot::Sender<Vec<CaptureOutcome>>,
    },
    /// Create the Capture object of an alert, on whatever node its pod is.
    Alert {
        /// The alert.
        alert: Alert,
        /// What became of it; the error in words.
        reply: oneshot::Sender<Result<AlertOutcome, String>>,
    },
}

/// Asks the node's loop.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
}

/// The loop did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The loop has ended, or dropped the request.
    #[error("the agent is shutting down")]
    Stopped,
    /// The loop is busy for too long.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl Handle {
    /// A handle, and where its requests arrive.
    #[must_use]
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(WAITING_REQUESTS);
        (Self { requests }, receiver)
    }

    /// The state of the agent now.
    ///
    /// # Errors
    /// When the loop does not answer.
    pub(crate) async fn status(&self) -> Result<Status, Unanswered> {
        self.ask(STATUS_TIMEOUT, Request::Status).await
    }

    /// Captures what matches; nothing matched if the outcome is empty.
    ///
    /// # Errors
    /// When the loop does not answer.
    pub(crate) async fn capture(
        &self,
        target: Target,
        reason: String,
    ) -> Result<Vec<CaptureOutcome>, Unanswered> {
        let request = |reply| Request::Capture {
            target,
            reason,
            reply,
        };
        self.ask(WORK_TIMEOUT, request).await
    }

    /// Creates the Capture object of an alert.
    ///
    /// # Errors
    /// When the loop does not answer.
    pub(crate) async fn alert(
        &self,
        alert: Alert,
    ) -> Result<Result<AlertOutcome, String>, Unanswered> {
        self.ask(WORK_TIMEOUT, |reply| Request::Alert { alert, reply })
            .await
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let asking = async {
            self.requests.send(request(reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(patience, asking).await {
            Ok(answer) => answer.ok_or(Unanswered::Stopped),
            Err(_) => Err(Unanswered::Late(patience)),
        }
    }
}

/// Which containers of this node to capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Target {
    /// The containers of a pod.
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
        /// Only the container of this name.
        container: Option<String>,
    },
    /// The container with this id: at least its first 12 digits.
    ContainerId(String),
    /// Every container that is recorded.
    Everything,
}

/// What became of one container that a request matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaptureOutcome {
    /// Namespace of its pod, empty if it has none or it is not known yet.
    pub(crate) namespace: String,
    /// Name of its pod, likewise.
    pub(crate) pod: String,
    /// Its name, likewise.
    pub(crate) container: String,
    /// Its id.
    pub(crate) container_id: String,
    /// The capture, or why there is none.
    pub(crate) result: Result<Written, String>,
}

/// A capture that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Name in the spool, as `lastword spool path` takes it.
    pub(crate) name: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// How many runs it holds.
    pub(crate) runs: u32,
    /// The verdict in one sentence.
    pub(crate) sentence: String,
}

/// An alert about a pod, checked: the names are valid Kubernetes names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    /// Namespace of the pod.
    pub(crate) namespace: String,
    /// Name of the pod.
    pub(crate) pod: String,
    /// The container, where the alert says so.
    pub(crate) container: Option<String>,
    /// What the alert says: a line, at most 256 bytes.
    pub(crate) detail: String,
    /// The same whenever and to whichever agent this firing of the alert is sent: a seed of the Capture's name, so that
    /// a repetition creates nothing. None where every post is meant anew.
    pub(crate) key: Option<String>,
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AlertOutcome {
    /// The Capture of this name was created.
    Created(String),
    /// There was the Capture of this name already: the alert was repeated.
    Existed(String),
}

/// The agent's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// Version of the agent.
    pub(crate) version: String,
    /// Name of the node.
    pub(crate) node: String,
    /// When the agent started.
    pub(crate) started: WallTime,
    /// Its configuration file.
    pub(crate) config: Option<PathBuf>,
    /// The operators' packs that were read; none if there is no directory for them.
    pub(crate) knowledge: Option<Packs>,
    /// Why nothing is recorded any more; none while recording works.
    pub(crate) recorder_failed: Option<String>,
    /// How the probes are attached.
    pub(crate) probes: Vec<Probe>,
    /// What cannot be recorded on this machine, in words.
    pub(crate) limitations: Vec<String>,
    /// The containers that are recorded.
    pub(crate) containers: Containers,
    /// The rings, and the memory they share with kept runs.
    pub(crate) memory: Memory,
    /// Losses of all runs that ended since the start, added up. Except `recursion_misses`: these are counted for the
    /// whole node, each once.
    pub(crate) losses: Losses,
    /// How often the kernel skipped each probe since the start, by what it observes: together
    /// [`Losses::recursion_misses`].
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Containers that were not recorded since the start; each is among the losses too.
    pub(crate) refused: u64,
    /// The last of them.
    pub(crate) last_refused: Option<Refused>,
    /// Cgroups inside containers that were not recorded since the start; each is among the losses of its container's run.
    pub(crate) turned_away: u64,
    /// The containers among those that are recorded now that have had most of them, at most ten.
    pub(crate) crowded: Vec<Crowded>,
    /// Messages of the kernel side since the start that found no room: containers may have come and gone unnoticed.
    pub(crate) messages_lost: u64,
    /// The spool directory.
    pub(crate) spool: Spool,
    /// Object storage; none if it is not configured.
    pub(crate) storage: Option<Storage>,
    /// Connection to the API server; none if it is not configured.
    pub(crate) api_server: Option<Connection>,
    /// Connection to the container runtime's CRI socket; none if the configuration turns it off ([`NO_RUNTIME`]).
    pub(crate) cri: Option<Connection>,
    /// Why the certificate for alerts cannot be used; none if it can, or if there is none.
    pub(crate) alerts_error: Option<String>,
    /// Captures that wait to be announced.
    pub(crate) announce_pending: u64,
    /// Log lines that found no room, or whose reader was gone, since the start.
    pub(crate) log_lines_lost: u64,
}

/// What an agent does whose configuration turns the container runtime's socket off.
pub(crate) const NO_RUNTIME: &str = "not asked (container_runtime.endpoint is off): names come from the API server alone, exit statuses from the kernel";

/// A container that was not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Refused {
    /// When.
    pub(crate) time: WallTime,
    /// Why, in words.
    pub(crate) reason: String,
}

/// A container that has more cgroups than are recorded, or some with the id of another container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Crowded {
    /// Namespace of its pod, empty if it has none or it is not known yet.
    pub(crate) namespace: String,
    /// Name of its pod, likewise.
    pub(crate) pod: String,
    /// Its name, or else its id.
    pub(crate) container: String,
    /// How many cgroups inside it were not recorded.
    pub(crate) turned_away: u64,
}

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.namespace, &self.pod, &self.container];
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            write!(f, "{name} ")?;
        }
        write!(f, "({})", self.turned_away)
    }
}

/// Numbers of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Containers {
    /// Recorded, and known by name.
    pub(crate) named: u64,
    /// Recorded, known by id only.
    pub(crate) unnamed: u64,
    /// Not recorded, since no ring was free or others need it more; they get one as soon as there is one to spare.
    pub(crate) waiting: u64,
}

/// Rings and kept runs, which share the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// Rings that record a container.
    pub(crate) rings_used: u64,
    /// Rings that wait for one.
    pub(crate) rings_free: u64,
    /// Bytes of all rings.
    pub(crate) ring_bytes: u64,
    /// Runs that are kept for captures to come.
    pub(crate) kept_runs: u64,
    /// Bytes of the kept runs.
    pub(crate) kept_run_bytes: u64,
    /// Bytes that rings and kept runs may take together.
    pub(crate) budget_bytes: u64,
}

/// The spool directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Spool {
    /// The directory.
    pub(crate) directory: PathBuf,
    /// Captures in it.
    pub(crate) captures: u64,
    /// Bytes of the captures.
    pub(crate) bytes: u64,
    /// Bytes they may take.
    pub(crate) quota_bytes: u64,
    /// Captures that were dropped since the start, to keep within the limits or as the disk was full.
    pub(crate) dropped: u64,
    /// Captures that are gone since the start and in no object storage: dropped, or removed by somebody else.
    pub(crate) lost: u64,
    /// Why captures cannot be written; none if they can.
    pub(crate) error: Option<String>,
}

/// Object storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Storage {
    /// Where, without credentials: `s3://bucket/prefix`.
    pub(crate) location: String,
    /// Captures that wait to be uploaded.
    pub(crate) pending: u64,
    /// Why the last upload failed; none if it did not.
    pub(crate) error: Option<String>,
}

/// Whether something that the agent talks to is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    /// Whether it answers.
    pub(crate) up: bool,
    /// Since when that is so.
    pub(crate) since: WallTime,
    /// Why it does not answer.
    pub(crate) error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_back() {
        let (handle, mut requests) = Handle::new();
        let answering = async {
            let Some(Request::Status(reply)) = requests.recv().await else {
                panic!("another request");
            };
            let status = Status {
                node: "n1".to_owned(),
                ..Status::default()
            };
            reply.send(status).unwrap();
        };
        let (status, ()) = tokio::join!(handle.status(), answering);
        assert_eq!(status.unwrap().node, "n1");
    }

    #[tokio::test]
    async fn a_loop_that_has_ended_is_told() {
        let (handle, requests) = Handle::new();
        drop(requests);
        assert_eq!(handle.status().await, Err(Unanswered::Stopped));
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_is_told() {
        let (handle, mut requests) = Handle::new();
        let dropping = async { drop(requests.recv().await) };
        let (outcome, ()) =
            tokio::join!(handle.capture(Target::Everything, String::new()), dropping);
        assert_eq!(outcome, Err(Unanswered::Stopped));
    }
}
