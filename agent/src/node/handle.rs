//! How the HTTP endpoint and the local socket ask the node's loop: requests in, answers out, nothing shared.

use std::{path::PathBuf, time::Duration};

use capture_format::{Losses, Probe};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Requests that may wait for the loop before those who ask wait themselves.
const WAITING_REQUESTS: usize = 16;
/// How long the loop has for an answer that it has at hand.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it has where captures are written, or the API server is asked.
const WORK_TIMEOUT: Duration = Duration::from_secs(20);

/// A request to the node's loop. Who asked may have gone when the answer comes: a failed reply is no error.
#[derive(Debug)]
pub enum Request {
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
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// The loop did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It has ended, or dropped the request.
    #[error("the agent is shutting down")]
    Stopped,
    /// It is busy for too long.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl Handle {
    /// A handle, and where its requests arrive.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(WAITING_REQUESTS);
        (Self { requests }, receiver)
    }

    /// The state of the agent now.
    ///
    /// # Errors
    /// When the loop does not answer.
    pub async fn status(&self) -> Result<Status, Unanswered> {
        self.ask(STATUS_TIMEOUT, Request::Status).await
    }

    /// Captures what matches; nothing matched if the outcome is empty.
    ///
    /// # Errors
    /// When the loop does not answer.
    pub async fn capture(
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
    pub async fn alert(&self, alert: Alert) -> Result<Result<AlertOutcome, String>, Unanswered> {
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
pub enum Target {
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
pub struct CaptureOutcome {
    /// Namespace of its pod, empty if it has none or it is not known yet.
    pub namespace: String,
    /// Name of its pod, likewise.
    pub pod: String,
    /// Its name, likewise.
    pub container: String,
    /// Its id.
    pub container_id: String,
    /// The capture, or why there is none.
    pub result: Result<Written, String>,
}

/// A capture that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Name in the spool, as `lastword spool cat` takes it.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// How many runs it holds.
    pub runs: u32,
    /// The verdict in one sentence.
    pub sentence: String,
}

/// An alert about a pod, checked: the names are valid Kubernetes names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The container, where the alert says so.
    pub container: Option<String>,
    /// What the alert says: a line, at most 256 bytes.
    pub detail: String,
    /// 16 hexadecimal digits, the same whenever and to whichever agent this firing of the alert is sent: for the
    /// Capture's name, so that a repetition creates nothing. None where every post is meant anew.
    pub key: Option<String>,
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// The Capture of this name was created.
    Created(String),
    /// There was the Capture of this name already: the alert was repeated.
    Existed(String),
}

/// The agent's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// When the agent started: nanoseconds since the Unix epoch.
    pub started: u64,
    /// Its configuration file.
    pub config: Option<PathBuf>,
    /// Why nothing is recorded any more; none while recording works.
    pub recorder_failed: Option<String>,
    /// How the probes are attached.
    pub probes: Vec<Probe>,
    /// What cannot be recorded on this machine, in words.
    pub limitations: Vec<String>,
    /// The containers that are recorded.
    pub containers: Containers,
    /// The rings, and the memory they share with kept runs.
    pub memory: Memory,
    /// Losses of all runs that ended since the start, added up; but `recursion_misses` are the node's since then, each
    /// counted once.
    pub losses: Losses,
    /// Containers that were not recorded since the start.
    pub refused: u64,
    /// The spool directory.
    pub spool: Spool,
    /// Object storage; none if it is not configured.
    pub storage: Option<Storage>,
    /// Connection to the API server; none if it is not configured.
    pub api_server: Option<Connection>,
    /// Connection to the container runtime's CRI socket; none if there is no such socket.
    pub cri: Option<Connection>,
    /// Captures that wait to be announced.
    pub announce_pending: u64,
}

/// Numbers of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Containers {
    /// Recorded, and known by name.
    pub named: u64,
    /// Recorded, known by id only.
    pub unnamed: u64,
}

/// Rings and kept runs, which share the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Rings that record a container.
    pub rings_used: u64,
    /// Rings that wait for one.
    pub rings_free: u64,
    /// Size of a ring in bytes.
    pub ring_bytes: u64,
    /// Runs that are kept for captures to come.
    pub kept_runs: u64,
    /// Bytes of the kept runs.
    pub kept_run_bytes: u64,
    /// Bytes that rings and kept runs may take together.
    pub budget_bytes: u64,
}

/// The spool directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spool {
    /// The directory.
    pub directory: PathBuf,
    /// Captures in it.
    pub captures: u64,
    /// Bytes of the captures.
    pub bytes: u64,
    /// Bytes they may take.
    pub quota_bytes: u64,
}

/// Object storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// Where, without credentials: `s3://bucket/prefix`.
    pub location: String,
    /// Captures that wait to be uploaded.
    pub pending: u64,
    /// Why the last upload failed; none if it did not.
    pub error: Option<String>,
}

/// Whether something that the agent talks to is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Whether it answers.
    pub up: bool,
    /// Since when that is so: nanoseconds since the Unix epoch.
    pub since: u64,
    /// Why it does not answer.
    pub error: Option<String>,
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
