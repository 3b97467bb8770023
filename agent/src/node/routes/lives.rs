//! Containers that start, and who they are.

use capture_format::{BootTime, CgroupId};
use triggers::{Observation, Subject, Time};

use containers::directory::Identity;

use super::super::{
    event_loop::Node,
    recording::Report,
    runtime::{self, Answer},
    tasks::Input,
};
impl Node {
    /// The recorder reports.
    ///
    /// # Errors
    /// It works no more.
    pub(crate) fn report(&mut self, report: Report) -> anyhow::Result<()> {
        match report {
            Report::Started {
                cgroup,
                path,
                inside,
                time,
            } => self.started(cgroup, &path, inside, time, None),
            Report::Adopted {
                running,
                was_refused,
            } => {
                if was_refused {
                    self.account.adopted();
                }
                let inside = running.is_inner().then_some(running.outermost);
                self.started(running.cgroup, &running.path, inside, running.start, None);
            }
            Report::TakenOver {
                cgroup,
                path,
                inside,
                time,
                run,
            } => self.taken_over(cgroup, &path, inside, time, run),
            Report::TurnsAway { cgroup } => self.turns_away(cgroup),
            Report::Refused { path, reason } => {
                tracing::warn!(cgroup = path, reason, "a container is not recorded");
                self.account.refused(reason);
            }
            Report::GaveUp { cgroup } => drop(self.lives.give_up(cgroup)),
            Report::RunEnded { cgroup, life } => self.run_ended(cgroup, *life),
            Report::Removed { cgroup } => self.lives.cgroup_removed(cgroup),
            Report::MessagesLost(messages) => {
                self.account.lost(messages);
                tracing::warn!(
                    messages,
                    "the kernel side had more to say than there was room for"
                );
            }
            Report::Failed(error) => anyhow::bail!("the recorder works no more: {error}"),
        }
        Ok(())
    }

    /// Goes on with a container of an earlier agent. If that agent wrote the run down, the ring is not needed any more.
    fn taken_over(
        &mut self,
        cgroup: CgroupId,
        path: &str,
        inside: Option<CgroupId>,
        time: BootTime,
        counted: Option<u32>,
    ) {
        if self.histories.has_run_in(cgroup) {
            return self.recording.let_go(cgroup);
        }
        self.started(cgroup, path, inside, time, counted);
    }

    /// `counted`: the number that an earlier agent gave the run.
    fn started(
        &mut self,
        cgroup: CgroupId,
        path: &str,
        inside: Option<CgroupId>,
        time: BootTime,
        counted: Option<u32>,
    ) {
        let Some(known) = containers::path::parse_own(path) else {
            tracing::debug!(
                path,
                "a cgroup has a container's shape, but is none that is known"
            );
            return self.recording.let_go(cgroup);
        };
        if let Some(outermost) = inside {
            return self.inner_started(cgroup, outermost, &known.container, time, counted);
        }
        let subject = Subject {
            pod_uid: known.pod_uid.unwrap_or_default(),
            container: known.container.clone(),
        };
        let run = self.histories.start(&subject, time, counted);
        self.recording.set_run(cgroup, run);
        self.lives
            .start(cgroup, known.container, subject.clone(), run, time);
        if self.name(cgroup) {
            return;
        }
        // In a pod every run has an id of its own, and a name that will come.
        if subject.pod_uid.is_empty() {
            let started = Observation::Started { run };
            let decisions = self.orders.observe(self.clock.at(time), &subject, started);
            self.decide(decisions);
        }
        self.ask_runtime(cgroup);
    }

    /// Asks the container runtime again about containers that have no names: a pause container is listed only after
    /// its cgroup was made.
    pub(crate) fn ask_runtime_again(&mut self) {
        for cgroup in self.lives.unnamed() {
            self.ask_runtime(cgroup);
        }
    }

    /// Asks the container runtime which container it is.
    fn ask_runtime(&mut self, cgroup: CgroupId) {
        let (Some(live), Some(client)) =
            (self.lives.get(cgroup), self.clients.cri.borrow().clone())
        else {
            return;
        };
        let id = live.id.clone();
        if !containers::path::is_id(&id) {
            return;
        }
        self.tasks.bring(async move {
            let who = runtime::who_in_time(&client, &id).await;
            Input::Who(Answer { cgroup, who })
        });
    }

    /// The container runtime answered.
    pub(crate) fn answered(&mut self, Answer { cgroup, who }: Answer) {
        if let Some(who) = who {
            self.pods.saw(&who);
            self.name(cgroup);
        }
    }

    /// Gives a recorded container its names, if they are known now. Stops recording it if it is a pause container or
    /// opted out. False if the names are not known.
    pub(crate) fn name(&mut self, cgroup: CgroupId) -> bool {
        let Some(live) = self.lives.get(cgroup).filter(|live| !live.named) else {
            return true;
        };
        let (before, started) = (live.subject.clone(), self.clock.at(live.started));
        if self.pods.is_sandbox(&live.id) {
            self.recording.let_go(cgroup);
            self.lives.give_up(cgroup);
            self.histories.forget(&before);
            self.orders.release(&before);
            return true;
        }
        let Some(identity) = self.pods.container(&live.id) else {
            return false;
        };
        let run = identity.run();
        let subject = self.identify(&before, identity, started);
        self.lives.name(cgroup, &subject, run);
        if self.orders.is_off(&subject) {
            self.opt_out(&subject);
            return true;
        }
        self.report_turning_away(cgroup);
        self.loops.started(&subject, run, started);
        let observation = Observation::Started { run };
        let decisions = self.orders.observe(started, &subject, observation);
        self.decide(decisions);
        true
    }

    /// Gives names to all containers that have none, as far as names are known now: to those that are recorded, and
    /// to those that were gone before anybody could name them.
    pub(crate) fn name_all(&mut self) {
        for cgroup in self.lives.unnamed() {
            self.name(cgroup);
        }
        for before in self.histories.unnamed() {
            let Some(identity) = self.pods.container(&before.container) else {
                continue;
            };
            let subject = self.identify(&before, identity, self.clock.now());
            if self.orders.is_off(&subject) {
                self.opt_out(&subject);
            }
        }
    }

    /// Who a container is has become known; its runs go to the subject that it belongs to.
    fn identify(&mut self, before: &Subject, identity: Identity, at: Time) -> Subject {
        let subject = Subject {
            pod_uid: identity.pod.uid.clone(),
            container: identity.name.clone(),
        };
        let run = identity.run();
        self.describe(&identity.pod);
        if self.histories.identify(before, &subject, identity) {
            let decisions = self.orders.rename(at, before, &subject, run);
            self.decide(decisions);
        }
        subject
    }
}
