//! Containers from the start of their cgroup to the kept run.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use capture_format::{ExitStatus, Losses, PodEvent, Run};
use containers::directory::Identity;
use redact::Payload;
use triggers::{Attempt, Ended, Observation, Subject, Time, Tripped};
use verdict::{explain::RunVerdict, rules::Cause};

use super::super::{
    Input,
    closing::{self, Around, RunToClose},
    event_loop::Node,
    handle::Refused,
    kept::{KeptRun, Policy},
    recording::{Life, Report},
    runtime::{self, Answer, Who},
};
use crate::host;

/// How long the runs of a container that does not run any more are kept, where nobody says that it is gone.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// A container that is recorded, or whose run is being kept.
pub(crate) struct Live {
    /// The container's id.
    pub(crate) id: String,
    pub(crate) subject: Subject,
    /// Number of its run.
    pub(crate) run: u32,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub(crate) started: u64,
    /// Whether its names are known.
    pub(crate) named: bool,
    /// The run is over, and not kept yet.
    ending: bool,
    /// The cgroup is gone.
    removed: bool,
}

impl Live {
    /// Whether its run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.ending || self.removed
    }
}

/// A decision that waits for a run that is being kept.
pub(crate) struct HeldDecision {
    pub(crate) attempt: Attempt,
    pub(crate) trigger: Tripped,
    pub(crate) replaces: Option<String>,
}

/// What is kept of a subject.
#[derive(Default)]
pub(crate) struct History {
    /// First run first.
    pub(crate) kept: VecDeque<Arc<KeptRun>>,
    /// Number of the newest run that started, where nobody else counts them.
    pub(crate) newest: u32,
    /// CLOCK_BOOTTIME in nanoseconds when it last started, ended, or was remembered from before.
    pub(crate) seen: u64,
    pub(crate) identity: Option<Identity>,
    /// Paths at which it sees secrets.
    pub(crate) secret_mounts: Vec<String>,
    /// Runs that are being kept.
    pub(crate) ending: usize,
    pub(crate) held: Vec<HeldDecision>,
    /// What the API server said when the last of them had ended, until a capture takes it.
    pub(crate) around: Option<Around>,
}

/// A run has been kept, or could not be.
pub(crate) struct Closing {
    cgroup: u64,
    time: Time,
    result: anyhow::Result<closing::RunClosed>,
}

impl Node {
    /// The recorder reports.
    pub(crate) fn report(&mut self, report: Report) -> anyhow::Result<()> {
        match report {
            Report::Started { cgroup, path, time } => self.started(cgroup, &path, time),
            Report::Adopted {
                running,
                was_refused,
            } => {
                // What it has lost, its run tells from now on.
                let lost = &mut self.tally.losses.lost;
                *lost = lost.saturating_sub(was_refused.into());
                self.started(running.cgroup, &running.path, running.start);
            }
            Report::Refused { path, reason, .. } => {
                self.tally.refused += 1;
                // However much would have happened in it.
                self.tally.losses.lost += 1;
                self.tally.last_refused = Some(Refused {
                    time: host::realtime(),
                    reason: reason.clone(),
                });
                tracing::warn!(cgroup = path, reason, "a container is not recorded");
            }
            Report::GaveUp { cgroup } => {
                self.live.remove(&cgroup);
            }
            Report::RunEnded { cgroup, life } => self.ended(cgroup, life),
            Report::Removed { cgroup } => {
                if let Some(live) = self.live.get_mut(&cgroup) {
                    live.removed = true;
                    self.forget_if_over(cgroup);
                }
            }
            Report::MessagesLost(messages) => {
                self.tally.messages_lost += messages;
                tracing::warn!(
                    messages,
                    "the kernel side had more to say than there was room for"
                );
            }
            Report::Failed(error) => {
                anyhow::bail!("the recorder works no more: {error}");
            }
        }
        Ok(())
    }

    fn started(&mut self, cgroup: u64, path: &str, time: u64) {
        let Some(known) = containers::path::parse_own(path) else {
            tracing::debug!(
                path,
                "a cgroup has a container's shape, but is none that is known"
            );
            return self.recording.let_go(cgroup);
        };
        let subject = Subject {
            pod_uid: known.pod_uid.unwrap_or_default(),
            container: known.container.clone(),
        };
        let runs = self.subjects.entry(subject.clone()).or_default();
        runs.newest += 1;
        runs.seen = time;
        let run = runs.newest;
        self.live.insert(
            cgroup,
            Live {
                id: known.container,
                subject: subject.clone(),
                run,
                started: time,
                named: false,
                ending: false,
                removed: false,
            },
        );
        if self.name(cgroup) {
            return;
        }
        // In a pod every run has an id of its own, and a name that will come.
        if subject.pod_uid.is_empty() {
            let started = Observation::Started { run };
            let decisions = self.machine.observe(self.clock.at(time), &subject, started);
            self.decide(decisions);
        }
        self.ask(cgroup);
    }

    /// Asks again who those are that nobody knew: a pause container is listed only after its cgroup was made.
    pub(crate) fn ask_again(&mut self) {
        for cgroup in self.unnamed() {
            self.ask(cgroup);
        }
    }

    /// Recorded containers that have no names yet.
    pub(crate) fn unnamed(&self) -> Vec<u64> {
        let unnamed = self.live.iter().filter(|(_, live)| !live.named);
        unnamed.map(|(cgroup, _)| *cgroup).collect()
    }

    /// Asks the container runtime who it is.
    fn ask(&mut self, cgroup: u64) {
        let (Some(live), Some(client)) =
            (self.live.get(&cgroup), self.clients.cri.borrow().clone())
        else {
            return;
        };
        let (id, inputs) = (live.id.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            let who = runtime::who_in_time(&client, &id).await;
            let _ = inputs.send(Input::Who(Answer { cgroup, who }));
        });
    }

    /// The container runtime answered.
    pub(crate) fn answered(&mut self, Answer { cgroup, who }: Answer) {
        match who {
            Some(Who::Container(container)) => {
                self.directory.saw_container(&container, host::uptime())
            }
            Some(Who::Sandbox(sandbox)) => self.directory.saw_sandbox(&sandbox, host::uptime()),
            None => return,
        }
        self.name(cgroup);
    }

    /// Gives a recorded container its names, if they are known now; lets it go if it is a pause container, or not wanted.
    pub(crate) fn name(&mut self, cgroup: u64) -> bool {
        let Some(live) = self.live.get(&cgroup) else {
            return true;
        };
        if live.named {
            return true;
        }
        if self.directory.is_sandbox(&live.id) {
            self.recording.let_go(cgroup);
            if let Some(live) = self.live.remove(&cgroup) {
                self.subjects.remove(&live.subject);
            }
            return true;
        }
        let Some(identity) = self.directory.container(&live.id) else {
            return false;
        };
        let (run, started) = (identity.run(), self.clock.at(live.started));
        let before = live.subject.clone();
        let subject = self.known(&before, identity, started);
        if let Some(live) = self.live.get_mut(&cgroup) {
            (live.subject, live.run, live.named) = (subject.clone(), run, true);
        }
        if self.is_off(&subject) {
            self.opt_out(&subject);
            return true;
        }
        let observation = Observation::Started { run };
        let decisions = self.machine.observe(started, &subject, observation);
        self.decide(decisions);
        true
    }

    /// Who a container is has become known; its runs go to the subject that it belongs to.
    fn known(&mut self, before: &Subject, identity: Identity, at: Time) -> Subject {
        let subject = Subject {
            pod_uid: identity.pod.uid.clone(),
            container: identity.name.clone(),
        };
        let run = identity.run();
        self.describe(&identity.pod);
        if let Some(unnamed) = self.subjects.remove(before) {
            let runs = self.subjects.entry(subject.clone()).or_default();
            runs.kept.extend(unnamed.kept.into_iter().map(|mut kept| {
                // Without names it was the first of its container.
                Arc::make_mut(&mut kept).run.number = run;
                kept
            }));
            runs.kept
                .make_contiguous()
                .sort_by_key(|run| run.run.number);
            runs.ending += unnamed.ending;
            runs.held.extend(unnamed.held);
            let to = subject.clone();
            let named = Observation::Named { to, run };
            let decisions = self.machine.observe(at, before, named);
            self.decide(decisions);
        }
        self.subjects.entry(subject.clone()).or_default().identity = Some(identity);
        subject
    }

    /// Names runs whose container vanished before anybody could say who it was.
    pub(crate) fn name_vanished(&mut self) {
        let vanished = self.subjects.iter().filter(|(subject, runs)| {
            runs.identity.is_none() && containers::path::is_id(&subject.container)
        });
        let found: Vec<(Subject, Identity)> = vanished
            .filter_map(|(subject, _)| {
                Some((
                    subject.clone(),
                    self.directory.container(&subject.container)?,
                ))
            })
            .collect();
        for (subject, identity) in found {
            let at = self.clock.now();
            let subject = self.known(&subject, identity, at);
            if self.is_off(&subject) {
                self.opt_out(&subject);
            }
        }
    }

    /// A run ended, and is kept.
    fn ended(&mut self, cgroup: u64, life: Life) {
        self.name(cgroup);
        let Some(live) = self.live.get_mut(&cgroup) else {
            return;
        };
        live.ending = true;
        let Some(live) = self.live.get(&cgroup) else {
            return;
        };
        let subject = live.subject.clone();
        let ending = self.ending(cgroup, live);
        let time = life
            .end
            .map_or_else(|| self.clock.now(), |end| self.clock.at(end));
        self.subjects.entry(subject).or_default().ending += 1;
        let (clients, inputs) = (self.clients.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            let result = clients.end(ending, life).await;
            let _ = inputs.send(Input::RunClosed(Box::new(Closing {
                cgroup,
                time,
                result,
            })));
        });
    }

    /// Whose run it is that ended, or is looked at.
    pub(crate) fn ending(&self, cgroup: u64, live: &Live) -> RunToClose {
        let mut pods = self.pods.values();
        let pod = pods.find(|pod| pod.uid == live.subject.pod_uid);
        RunToClose {
            cgroup,
            id: live.id.clone(),
            number: live.run,
            started: live.started,
            identity: self.directory.container(&live.id),
            pod: pod.map_or_else(Arc::default, |pod| pod.object.clone()),
            policy: self.policy(&live.subject),
        }
    }

    /// What of a container's payloads may be kept.
    fn policy(&self, subject: &Subject) -> Policy {
        Policy {
            payload: match self.machine.stores_payload(subject) {
                Some(false) => Payload::None,
                Some(true) | None => Payload::Default,
            },
            secret_mounts: self
                .subjects
                .get(subject)
                .map(|runs| runs.secret_mounts.clone())
                .unwrap_or_default(),
        }
    }

    /// A run has been kept.
    pub(crate) fn kept(
        &mut self,
        Closing {
            cgroup,
            time,
            result,
        }: Closing,
    ) {
        // Its names may have come meanwhile.
        self.name(cgroup);
        let Some(live) = self.live.get_mut(&cgroup) else {
            return;
        };
        live.ending = false;
        let subject = live.subject.clone();
        self.forget_if_over(cgroup);
        let runs = self.subjects.entry(subject.clone()).or_default();
        runs.ending = runs.ending.saturating_sub(1);
        runs.seen = host::boottime();
        match result {
            Ok(closing::RunClosed {
                kept,
                verdict,
                around,
                stopped,
            }) => {
                self.tally.losses += Losses {
                    // The recorder tells them of the whole node: runs at the same time have the same ones.
                    recursion_misses: 0,
                    ..kept.run.losses
                };
                let ended = Ended {
                    stopped,
                    ..ended(&kept, verdict.as_ref())
                };
                // Runs that end soon after each other may be kept in another order.
                let number = kept.run.number;
                let place = runs
                    .kept
                    .partition_point(|before| before.run.number < number);
                runs.kept.insert(place, Arc::new(kept));
                while runs.kept.len() > self.config.runs.keep {
                    runs.kept.pop_front();
                }
                self.keep_to_budget();
                let is_told =
                    self.may_tell(&subject) && self.machine.wanted(&subject) == Some(true);
                if let Some(verdict) = verdict.filter(|_| is_told) {
                    tracing::info!(
                        pod_uid = subject.pod_uid,
                        container = subject.container,
                        run = verdict.run,
                        "{}",
                        verdict.verdict.sentence
                    );
                }
                let mut decisions = self
                    .machine
                    .observe(time, &subject, Observation::Ended(ended));
                decisions.extend(self.pod_events(&subject, &around.events));
                let runs = self.subjects.entry(subject.clone()).or_default();
                runs.around = Some(around).filter(Around::is_fresh);
                self.decide(decisions);
            }
            Err(error) => {
                self.metrics.failed("keep");
                tracing::error!(%error, pod_uid = subject.pod_uid, container = subject.container, "a run is lost: it could not be kept");
            }
        }
        self.release(&subject);
    }

    /// What the pod's events say of a container.
    fn pod_events(&mut self, subject: &Subject, events: &[PodEvent]) -> Vec<triggers::Decision> {
        let about = |event: &&PodEvent| event.container() == Some(&subject.container);
        let now = self.clock.now();
        events
            .iter()
            .filter(about)
            .filter_map(|event| {
                Some((
                    self.clock.of_day(event.last?).min(now),
                    Observation::of_event(&event.reason, &event.message)?,
                ))
            })
            .flat_map(|(at, observation)| self.machine.observe(at, subject, observation))
            .collect()
    }

    /// Takes up the decisions that waited for runs to be kept.
    fn release(&mut self, subject: &Subject) {
        let Some(runs) = self.subjects.get_mut(subject) else {
            return;
        };
        if runs.ending == 0 {
            for held in std::mem::take(&mut runs.held) {
                self.take(subject.clone(), held);
            }
        }
    }

    /// Forgets containers that have not run for long, where no API server says that their pods are gone.
    pub(crate) fn forget_old(&mut self) {
        let pods: HashSet<&String> = self.pods.values().map(|pod| &pod.uid).collect();
        let oldest = host::boottime().saturating_sub(KEPT_FOR.as_nanos() as u64);
        let alive: HashSet<Subject> = self
            .live
            .values()
            .map(|live| live.subject.clone())
            .collect();
        let (now, machine) = (self.clock.now(), &mut self.machine);
        self.subjects.retain(|subject, runs| {
            let stays = pods.contains(&subject.pod_uid)
                || alive.contains(subject)
                || runs.ending > 0
                || runs.seen > oldest;
            if !stays {
                machine.observe(now, subject, Observation::Gone);
            }
            stays
        });
    }

    fn forget_if_over(&mut self, cgroup: u64) {
        if self
            .live
            .get(&cgroup)
            .is_some_and(|live| live.removed && !live.ending)
        {
            self.live.remove(&cgroup);
        }
    }

    /// Drops the oldest runs of subjects that have the most, until what is kept fits into its part of the budget.
    pub(crate) fn keep_to_budget(&mut self) {
        let most = self.config.recorder.memory.as_u64() / 4;
        let mut bytes = self.kept_bytes();
        while bytes > most {
            let oldest = self
                .subjects
                .values_mut()
                .filter(|runs| !runs.kept.is_empty())
                .min_by_key(|runs| runs.kept.front().and_then(|run| run.run.end));
            let Some(dropped) = oldest.and_then(|runs| runs.kept.pop_front()) else {
                break;
            };
            bytes -= dropped.bytes().len() as u64;
        }
        self.recording.set_kept(bytes);
    }

    /// Bytes of all kept runs.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.subjects
            .values()
            .flat_map(|runs| &runs.kept)
            .map(|run| run.bytes().len() as u64)
            .sum()
    }
}

/// Whether the kernel's record tells of an OOM kill. The runtime's word is believed where the verdict believes it.
fn is_oom_killed(run: &Run, cause: Option<Cause>) -> bool {
    cause == Some(Cause::OomKilled) || run.oom_kills.is_some_and(|count| count > 0)
}

/// A run's end as triggers see it.
pub(crate) fn ended(kept: &KeptRun, verdict: Option<&RunVerdict>) -> Ended {
    let run = &kept.run;
    let cause = verdict
        .map(|said| said.verdict.cause)
        .filter(|cause| *cause != Cause::Unknown);
    Ended {
        run: run.number,
        status: run.status.map(|status| match status {
            ExitStatus::Code(code) => triggers::ExitStatus::Code(code),
            ExitStatus::Signal { signal, .. } => triggers::ExitStatus::Signal(signal),
        }),
        oom_killed: is_oom_killed(run, cause),
        start_failed: run.start_error.is_some(),
        stopped: false,
        cause: cause.map(Cause::name),
    }
}

#[cfg(test)]
mod tests {
    use capture_format::Terminated;

    use super::*;

    #[test]
    fn the_runtimes_word_alone_is_no_oom_kill() {
        let run = |oom_kills| Run {
            oom_kills,
            terminated: Some(Terminated {
                reason: "OOMKilled".into(),
                ..Terminated::default()
            }),
            ..Run::default()
        };
        assert!(!is_oom_killed(&run(Some(0)), Some(Cause::ExitedNonZero)));
        assert!(!is_oom_killed(&run(None), None));
        assert!(is_oom_killed(&run(Some(1)), Some(Cause::ExitedNonZero)));
        assert!(is_oom_killed(&run(None), Some(Cause::OomKilled)));
    }
}
