//! Containers of which nothing may be recorded: an annotation of the pod or of its namespace says so, or the
//! selectors exclude them.
//!
//! Their cgroup gets a ring before anybody knows whose it is, and annotations may come late or change. Whenever
//! something of a pod becomes known, what had been recorded of such a container by then is dropped: its ring, its
//! kept runs, decisions that wait for them, and captures that the cluster does not know yet.

use triggers::Subject;

use super::super::{
    event_loop::Node,
    order::OFF,
    state::outside::{Feed, IS_FORMER, IS_OFF, subject_of},
};

impl Node {
    /// Something about a pod has become known, or has changed: some of its containers may be opted out now, or not
    /// any more.
    pub(crate) fn heed(&mut self, pod_uid: &str) {
        let live = self.lives.all().map(|live| &live.subject);
        let off = self.lives.off().map(|(subject, _)| subject);
        let all = self.histories.subjects().chain(live).chain(off);
        let of_pod = all.filter(|subject| subject.pod_uid == pod_uid);
        let (off, on): (Vec<Subject>, Vec<Subject>) =
            of_pod.cloned().partition(|subject| self.is_off(subject));
        for subject in on {
            self.lives.opt_in(&subject);
        }
        for subject in off {
            self.opt_out(&subject);
        }
    }

    /// Drops what there is of a container.
    pub(crate) fn opt_out(&mut self, subject: &Subject) {
        for cgroup in self.lives.opt_out(subject) {
            self.recording.let_go(cgroup);
        }
        if self.histories.forget(subject) {
            tracing::debug!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                "a container is not recorded: {OFF}"
            );
            self.orders.opt_out(self.clock.now(), subject);
            self.keep_to_budget();
        }
        if self.clients.kube.is_some() {
            // A capture of a container inside another one names no pod, but its id is like no other.
            let of_subject = |entry: &spool::Entry| {
                subject_of(entry) == *subject || entry.info.container_id == subject.container
            };
            let off = self.outside.unannounced(of_subject).into_iter();
            let off = off.map(|entry| (entry, IS_OFF)).collect();
            self.tasks.spawn(self.outside.drop_all(off));
        }
    }

    /// The API server has reported all pods, or all namespaces. When both are known, announcing begins.
    pub(crate) fn heard(&mut self, all: Feed) {
        if self.outside.heard(all) {
            let off = |entry: &spool::Entry| self.orders.is_off(&subject_of(entry));
            let off = self.outside.unannounced(off).into_iter();
            let off = off.map(|entry| (entry, IS_OFF));
            let former = self.outside.former(|name| self.pods.namespace_uid(name));
            let former = former.into_iter().map(|entry| (entry, IS_FORMER));
            self.tasks
                .spawn(self.outside.open(off.chain(former).collect()));
        }
    }
}
