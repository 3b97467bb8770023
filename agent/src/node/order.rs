//! An order for a capture: who asked for it, what it is to hold, and what came of it.

use std::sync::Arc;

use capture_format::Trigger;
use containers::directory::Identity;
use kubernetes::captures;
use spool::Entry;
use tokio::sync::oneshot;
use triggers::{Attempt, Subject};
use verdict::explain::Explanation;

use super::{closing::Around, handle::CaptureOutcome, kept::KeptRun};

/// Rank of a capture that somebody asked for: triggers' own rank below.
pub(super) const REQUESTED: u32 = 100;
/// Why there is nothing to capture.
pub(super) const NOBODY: &str = "nothing of the container has been recorded yet; it may have started before the agent, or not at all";
/// Why there is no capture.
pub(super) const OFF: &str = "it is opted out: the annotation lastword.dev/capture of its pod or namespace, or the selectors of the agent, exclude it, so nothing of it is recorded";

/// Who wants a capture.
pub(super) enum Asked {
    /// The triggers.
    Trigger(Attempt),
    /// A person at the socket.
    Person(oneshot::Sender<CaptureOutcome>, Box<CaptureOutcome>),
    /// A Capture object.
    Object(Box<captures::Claim>),
}

/// How a capture is named, and why it is taken.
pub(super) struct Wanted {
    /// Name of the capture.
    pub(super) name: String,
    pub(super) trigger: Trigger,
    pub(super) rank: u32,
}

/// The run that a live container is in has been read for a capture.
pub(super) struct LiveRunRead {
    pub(super) subject: Subject,
    pub(super) asked: Asked,
    pub(super) wanted: Wanted,
    /// None if the container does not run, or its run cannot be read.
    pub(super) run: Option<KeptRun>,
}

/// What to capture.
pub(super) struct Order {
    /// Name of the capture: that of its Capture object. A capture of that name is superseded.
    pub(super) name: String,
    pub(super) identity: Option<Identity>,
    /// UID of the pod's namespace; empty if it is not known.
    pub(super) namespace_uid: String,
    /// What the API server said when the last run ended.
    pub(super) around: Option<Around>,
    pub(super) trigger: Trigger,
    pub(super) rank: u32,
    /// At least one; first run first.
    pub(super) runs: Vec<Arc<KeptRun>>,
    /// The capture that this one replaces.
    pub(super) replaces: Option<Replaced>,
    /// Whether there is a Capture object for it.
    pub(super) requested: bool,
}

/// A capture that another one replaces. Runs that only it has are taken over, as an agent that was killed left them
/// nowhere else.
pub(super) struct Replaced {
    /// Its id in the spool.
    pub(super) id: String,
    /// Runs that may be taken over.
    pub(super) room: usize,
}

/// A capture is written.
pub(super) struct CaptureWritten {
    pub(super) entry: Entry,
    pub(super) explanation: Explanation,
    /// Why there is no file, if it could not be written; what it would say is known all the same.
    pub(super) unwritten: Option<String>,
}

/// What became of an order.
pub(super) struct OrderDone {
    pub(super) subject: Subject,
    pub(super) asked: Asked,
    /// The runs in it that had ended.
    pub(super) ended: EndedRuns,
    pub(super) result: anyhow::Result<CaptureWritten>,
}

/// Runs that have ended.
#[derive(Clone, Copy, Default)]
pub(super) struct EndedRuns {
    pub(super) count: usize,
    /// Number of the newest.
    pub(super) last: u32,
}

impl EndedRuns {
    /// Those among these, first run first.
    pub(super) fn of(runs: &[Arc<KeptRun>]) -> Self {
        let mut ended = runs.iter().filter(|run| run.run.end.is_some());
        Self {
            count: ended.clone().count(),
            last: ended.next_back().map_or(0, |run| run.run.number),
        }
    }
}

impl OrderDone {
    /// There is nothing to capture.
    pub(super) fn nothing(subject: Subject, asked: Asked, why: &'static str) -> Self {
        Self {
            subject,
            asked,
            ended: EndedRuns::default(),
            result: Err(anyhow::anyhow!(why)),
        }
    }
}

/// The name of a capture: the same for the same run of the same container, so that an agent that starts anew does not
/// make a second one.
pub(super) fn capture_name(identity: Option<&Identity>, subject: &Subject, of: &str) -> String {
    let seed = [subject.pod_uid.as_str(), of];
    match identity {
        Some(identity) => kubernetes::capture_name(&identity.pod.name, Some(&identity.name), &seed),
        None => kubernetes::capture_name(&subject.container, None, &seed),
    }
}
