//! The sidecar of a capture: what is known about the capture, and what is still to be done with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use capture_format::{Losses, Trigger};
use serde::{Deserialize, Serialize};

use crate::files;

/// A sidecar that is larger is no sidecar of ours.
const LARGEST: u64 = 64 * 1024;

/// A capture of the spool, or the record of one that is only in the store any more.
///
/// This is the JSON of the sidecar. Unknown keys are ignored, missing ones defaulted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// `NAMESPACE/NAME` of its Capture object, made safe for paths and object keys; unique in a spool. The file's path
    /// and the object's key end with it and `.lwcap`.
    pub id: String,
    /// Whether the capture's file is (still) in the spool.
    pub present: bool,
    /// What the capture is.
    #[serde(flatten)]
    pub info: Info,
    /// What was done with it.
    pub state: State,
}

/// What a capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Name of its Capture object. Of an entry made anew it is that of the file, which differs where the name is too long for a file.
    pub name: String,
    /// Namespace of the pod; empty where there is none.
    pub namespace: String,
    /// Name of the pod; empty where there is none.
    pub pod: String,
    /// UID of the pod; empty where there is none.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// What the container is for in its pod, as [`capture_format::Container::kind`].
    pub container_kind: String,
    /// The runtime's id of the container.
    pub container_id: String,
    /// Name of the node.
    pub node: String,
    /// Why the capture was taken.
    pub trigger: Trigger,
    /// Rank of the trigger: of two, the capture of the higher rank is the better one.
    pub rank: u32,
    /// The verdict in one sentence.
    pub verdict: Option<String>,
    /// Stable name of the verdict's cause.
    pub cause: Option<String>,
    /// How sure the verdict is, in percent.
    pub confidence: Option<u8>,
    /// Numbers of the runs it holds.
    pub runs: Vec<u32>,
    /// Size in bytes.
    pub bytes: u64,
    /// What its events do not tell, over all runs.
    pub losses: Losses,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// When it was written: nanoseconds since the Unix epoch.
    pub created: u64,
    /// When its newest run ended: nanoseconds since the Unix epoch; none where that is alive.
    pub ended: Option<u64>,
    /// Whether it stays as long as there is any other to drop.
    pub pinned: bool,
}

/// What was done with a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether the cluster knows of it as it is.
    pub announced: bool,
    /// Whether its Capture object has been there: who deleted it wants it gone.
    pub exists: bool,
    /// Why there is no file, of a capture that could not be written: it is known in memory only, until it has been told.
    #[serde(skip)]
    pub unwritten: Option<String>,
    /// The way to the store.
    pub upload: Upload,
    /// When it came, by the spool's own clock: nanoseconds for which its machine has run. 0 where that is not known.
    pub since: u64,
}

/// How far the upload of a capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upload {
    /// URL of the object, once it is there and verified.
    pub location: Option<String>,
    /// Attempts that failed.
    pub attempts: u32,
    /// Not before this time: nanoseconds since the Unix epoch.
    pub next: u64,
}

impl Entry {
    /// What puts entries in the order in which they came. The time of day at which they were made may have jumped.
    #[must_use]
    pub fn order(&self) -> (u64, u64) {
        (self.state.since, self.info.created)
    }

    /// Whether the capture has been uploaded.
    #[must_use]
    pub fn is_uploaded(&self) -> bool {
        self.state.upload.location.is_some()
    }

    /// Name of its Capture object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The key of the capture in a store, without the store's prefix.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.lwcap", self.id)
    }

    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut json = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut json)?;
        if json.len() as u64 > LARGEST {
            return Err(io::Error::other("it is too large for a sidecar"));
        }
        Ok(serde_json::from_slice(&json)?)
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        files::write_whole(path, &[&serde_json::to_vec_pretty(self)?], true)
    }
}

impl Info {
    /// What makes a pod one pod, as far as it is known.
    pub(crate) fn pod_key(&self) -> (&str, &str) {
        match (&*self.pod_uid, &*self.pod) {
            ("", "") => ("", &self.container_id),
            ("", pod) => (&self.namespace, pod),
            (uid, _) => ("", uid),
        }
    }
}

/// Nanoseconds since the Unix epoch, as in headers and sidecars.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
