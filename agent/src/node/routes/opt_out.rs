//! Containers of which nothing may be recorded: an annotation of the pod or of its namespace says so, or the selectors exclude them.
//!
//! Their cgroup gets a ring before anybody knows whose it is, and annotations may come late or change. Whenever something of a pod becomes known, what had been
//! recorded of such a container by then is dropped: its ring, its kept runs, decisions that wait for them, and captures that the cluster does not know yet.

use spool::Entry;
use triggers::Subject;

use super::super::{event_loop::Node, routes::captures::subject_of_entry, tell};

/// Why there is no capture.
pub(crate) const OFF: &str = "it is opted out: the annotation lastword.dev/capture of its pod or namespace, or the selectors of the agent, exclude it, so nothing of it is recorded";

/// What has to be known before the first capture is announced, since it may say otherwise.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) pods: bool,
    pub(crate) namespaces: bool,
}

impl Node {
    /// Whether nothing of the container may be recorded. One without a name may be any of its pod's.
    pub(crate) fn is_off(&self, subject: &Subject) -> bool {
        !containers::path::is_id(&subject.container)
            && self.machine.recorded(subject) == Some(false)
    }

    /// Whether it is known that the container may be spoken of in the log.
    pub(crate) fn may_tell(&self, subject: &Subject) -> bool {
        self.machine.recorded(subject) == Some(true)
    }

    /// Something has become known of a pod, or has changed.
    pub(crate) fn heed(&mut self, pod_uid: &str) {
        let live = self.live.values().map(|live| &live.subject);
        let all = self.subjects.keys().chain(live).chain(self.off.keys());
        let of_pod = all.filter(|subject| subject.pod_uid == pod_uid);
        let (off, on): (Vec<Subject>, Vec<Subject>) =
            of_pod.cloned().partition(|subject| self.is_off(subject));
        for subject in on {
            self.off.remove(&subject);
        }
        for subject in off {
            self.opt_out(&subject);
        }
    }

    /// Drops what there is of a container.
    pub(crate) fn opt_out(&mut self, subject: &Subject) {
        let of_subject = self.live.extract_if(|_, live| live.subject == *subject);
        for (cgroup, live) in of_subject {
            self.recording.let_go(cgroup);
            self.off.insert(subject.clone(), live.id);
        }
        if let Some(runs) = self.subjects.remove(subject) {
            tracing::debug!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                "a container is not recorded: {OFF}"
            );
            for held in runs.held {
                // Nothing comes of it: the container is not wanted.
                self.machine.failed(self.clock.now(), held.attempt);
            }
            self.keep_to_budget();
        }
        if self.clients.kube.is_some() {
            self.drop_untold(|entry| subject_of_entry(entry) == *subject);
        }
    }

    /// Removes captures that the cluster does not know yet.
    fn drop_untold(&mut self, of: impl Fn(&Entry) -> bool) {
        for entry in self.spool.find(|entry| is_untold(entry) && of(entry)) {
            self.drop_capture(entry);
        }
    }

    /// Removes a capture that should not have been taken.
    pub(crate) fn drop_capture(&mut self, entry: Entry) {
        let spool = self.spool.clone();
        self.tasks.spawn(async move {
            tell::remove(&spool, &entry, "its container is opted out").await;
        });
    }

    /// The API server has told all pods, or all namespaces. When both are known, announcing begins.
    pub(crate) fn heard(&mut self) {
        if !(self.heard.pods && self.heard.namespaces) {
            return;
        }
        let untold = self.spool.find(is_untold);
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        let off: Vec<Entry> = untold
            .into_iter()
            .filter(|entry| self.is_off(&subject_of_entry(entry)))
            .collect();
        self.tasks.spawn(async move {
            for entry in off {
                tell::remove(&spool, &entry, "its container is opted out").await;
            }
            teller.open();
        });
    }
}

/// Whether the cluster has never known of a capture. One that has been uploaded meanwhile is announced once more, and is no such capture.
fn is_untold(entry: &Entry) -> bool {
    !entry.state.announced && !entry.state.exists
}
