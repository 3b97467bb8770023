//! The sidecar of a capture: what is known about the capture, and what is still to be done with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use capture_format::{Losses, Trigger, WallTime};
use serde::{Deserialize, Serialize};

use crate::files;

/// Bytes of the largest sidecar. A larger file was not written by lastword.
const LARGEST: u64 = 64 * 1024;

/// A capture of the spool, or the record of a capture that is only in the store.
///
/// This is the JSON of the sidecar. Unknown keys are ignored; missing keys have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// `NAMESPACE/NAME` of the capture, made safe for paths and object keys; unique in a spool. The file's path
    /// and the object's key end with it and `.lwcap`.
    pub id: String,
    /// Whether the capture's file is (still) in the spool.
    pub present: bool,
    /// The capture's description.
    #[serde(flatten)]
    pub info: Info,
    /// What has been done with the capture.
    pub state: State,
}

/// The description of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Its name. If the entry was made anew, it is the name of the file, which differs if the name is too long for a
    /// file.
    pub name: String,
    /// Namespace of the pod; empty without a pod.
    pub namespace: String,
    /// UID of that namespace when the capture was taken; empty if it was not known. A namespace that is deleted and made
    /// again has another one.
    pub namespace_uid: String,
    /// Name of the pod; empty without a pod.
    pub pod: String,
    /// UID of the pod; empty without a pod.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// The container's role in its pod, as in [`capture_format::Container::kind`].
    pub container_kind: String,
    /// The runtime's id of the container.
    pub container_id: String,
    /// Name of the node.
    pub node: String,
    /// Why the capture was taken.
    pub trigger: Trigger,
    /// Rank of the trigger. Of two captures, the one with the higher rank is the better one.
    pub rank: u32,
    /// The verdict in one sentence.
    pub verdict: Option<String>,
    /// Stable name of the verdict's cause.
    pub cause: Option<String>,
    /// Identifies the fault, over all pods and clusters.
    pub fingerprint: Option<String>,
    /// The controller whose pods share the fault; `None` if the pod's object was never seen.
    pub owner: Option<Owner>,
    /// How sure the verdict is, in percent.
    pub confidence: Option<u8>,
    /// What may be why the newest run ended, if the verdict leaves that open, the best one first.
    pub leads: Vec<String>,
    /// Numbers of the runs in it.
    pub runs: Vec<u32>,
    /// Size in bytes.
    pub bytes: u64,
    /// What is missing in its events, over all runs.
    pub losses: Losses,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// When it was written.
    pub created: WallTime,
    /// When its newest run ended; `None` if that run is alive.
    pub ended: Option<WallTime>,
    /// Whether it is kept as long as another capture can be dropped instead.
    pub pinned: bool,
}

/// The controller above a pod that lives longest, or the pod itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
    /// Its UID, if that is known.
    pub uid: Option<String>,
}

/// What was done with a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether its present state has been announced to the cluster.
    pub announced: bool,
    /// Whether its Capture object has existed. If it has and is gone, somebody deleted it and wants the capture gone.
    pub exists: bool,
    /// Name of the Capture object that stands for it, if that is not its own name.
    pub object: Option<String>,
    /// Set if that object is another capture's, which has the same fault: this one has only to be counted there.
    pub similar: Option<Similar>,
    /// How the crash loop went on after the capture, if it did.
    pub recurred: Option<Recurred>,
    /// Why there is no file, if the capture could not be written. Such a capture is only in memory, until it has been
    /// announced.
    #[serde(skip)]
    pub unwritten: Option<String>,
    /// The state of its upload.
    pub upload: Upload,
    /// When it came, by the spool's own clock: nanoseconds for which the machine has run. 0 if unknown.
    pub since: u64,
}

/// A crash loop that went on after its capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recurred {
    /// Crashes of the loop so far.
    pub crashes: u32,
    /// When the newest was.
    pub last: WallTime,
    /// When it was found that the loop was over.
    pub over: Option<WallTime>,
}

/// How far the counting of a similar capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Similar {
    /// The name of the addition that counts it, once that has begun. All captures of an addition have the same name.
    pub addition: Option<String>,
    /// Whether it has been counted.
    pub counted: bool,
}

/// The state of a capture's upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upload {
    /// URL of the object, once it exists and was verified.
    pub location: Option<String>,
    /// How many attempts failed.
    pub attempts: u32,
    /// The upload is not tried before this time.
    pub next: WallTime,
}

impl Entry {
    /// A key that sorts entries in the order in which they came. The time of day cannot do that, because it may jump.
    #[must_use]
    pub fn order(&self) -> (u64, WallTime) {
        (self.state.since, self.info.created)
    }

    /// Whether the capture has been uploaded.
    #[must_use]
    pub fn is_uploaded(&self) -> bool {
        self.state.upload.location.is_some()
    }

    /// Name of the Capture object that stands for it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.state.object.as_deref().unwrap_or(&self.info.name)
    }

    /// Whether it is counted in another capture's object.
    #[must_use]
    pub fn is_similar(&self) -> bool {
        self.state.similar.is_some()
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
    /// A key that identifies the pod, as far as the pod is known.
    pub(crate) fn pod_key(&self) -> (&str, &str) {
        match (&*self.pod_uid, &*self.pod) {
            ("", "") => ("", &self.container_id),
            ("", pod) => (&self.namespace, pod),
            (uid, _) => ("", uid),
        }
    }
}

/// A time of the system's clock, as headers and sidecars have it.
pub(crate) fn wall_time(time: SystemTime) -> WallTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
