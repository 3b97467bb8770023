//! Runs that end, up to the capture that is written. The functions are in the order in which a death passes them.

use std::{sync::Arc, time::Instant};

use capture_format::{CgroupId, ExitStatus, PodEvent, Run, Trigger, chain};
use containers::directory::Identity;
use spool::Entry;
use triggers::{Captured, Decision, Ended, Kind, Observation, Subject, Time};
use verdict::{explain::RunVerdict, rules::Cause};

use super::{
    super::{
        closing::{RunClosed, RunToClose},
        event_loop::Node,
        kept::{KeptRun, Policy},
        order::{
            Asked, CaptureWritten, EndedRuns, LiveRunRead, NOBODY, OFF, Order, OrderDone, Replaced,
            Wanted, capture_name,
        },
        recording::Life,
        state::{lives::Live, loops::Crash, orders::Decided, outside::IS_OFF},
        tasks::Input,
    },
    captures::OPTED_OUT,
};
use crate::host;

impl Node {
    /// A run is over, and its ring was read. It is closed in a task: others are asked how it ended.
    pub(crate) fn run_ended(&mut self, cgroup: CgroupId, life: Life) {
        self.name(cgroup);
        self.lives.begin_closing(cgroup);
        let Some(live) = self.lives.get(cgroup) else {
            return;
        };
        let run = self.run_to_close(cgroup, live);
        self.histories.begin_closing(&live.subject);
        let ended = life
            .end
            .map_or_else(|| self.clock.now(), |end| self.clock.at(end));
        let clients = self.clients.clone();
        self.tasks.bring(async move {
            Input::RunClosed {
                cgroup,
                ended,
                result: clients.close(run, life).await.map(Box::new),
            }
        });
    }

    /// A run that is over, or that is read while it goes on, and the container it belongs to.
    pub(crate) fn run_to_close(&self, cgroup: CgroupId, live: &Live) -> RunToClose {
        RunToClose {
            cgroup,
            id: live.id.clone(),
            number: live.run,
            started: live.started,
            identity: self.pods.container(&live.id),
            pod: self.pods.object(&live.subject.pod_uid),
            policy: Policy {
                payload: self.orders.payload(&self.ruled_by(&live.subject)),
                secret_mounts: self.histories.secret_mounts(&self.ruled_by(&live.subject)),
            },
        }
    }

    /// A run is closed, or is lost. The triggers decide what comes of it.
    pub(crate) fn run_closed(
        &mut self,
        cgroup: CgroupId,
        ended: Time,
        result: anyhow::Result<Box<RunClosed>>,
    ) {
        // Its names may have come meanwhile.
        self.name(cgroup);
        let Some((subject, run)) = self.lives.end_closing(cgroup) else {
            return;
        };
        self.histories.end_closing(&subject);
        match result {
            Ok(mut closed) => {
                closed.kept.run.number = run;
                if let Some(verdict) = &mut closed.verdict {
                    verdict.run = run;
                }
                self.keep(&subject, ended, *closed);
            }
            Err(error) => {
                self.metrics.failed("keep");
                tracing::error!(error = %chain(&*error), pod_uid = subject.pod_uid, container = subject.container, "a run is lost: it could not be kept");
            }
        }
        if !self.histories.is_closing(&subject) {
            for decided in self.orders.release(&subject) {
                self.carry_out(subject.clone(), decided);
            }
        }
    }

    fn keep(
        &mut self,
        subject: &Subject,
        at: Time,
        RunClosed {
            kept,
            verdict,
            around,
            stopped,
            ring,
        }: RunClosed,
    ) {
        self.outside.hold(ring);
        self.account.closed(kept.run.losses);
        let ended = Ended {
            stopped,
            ..end_of(&kept, verdict.as_ref())
        };
        self.histories.keep(subject, kept);
        self.keep_to_budget();
        if !ended.stopped {
            let crash = Crash {
                run: ended.run,
                at,
                wall: self.clock.wall(at),
            };
            let with_zero = ended.status == Some(triggers::ExitStatus::Code(0));
            self.loops.ended(subject, crash, with_zero);
        }
        if let Some(verdict) =
            verdict.filter(|_| self.orders.may_log_crash(&self.ruled_by(subject)))
        {
            tracing::info!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                run = verdict.run,
                "{}",
                verdict.verdict.sentence
            );
        }
        let ended = Observation::Ended(ended);
        let mut decisions = self.orders.observe(at, subject, ended);
        for (at, observation) in self.said_of(subject, &around.events) {
            decisions.extend(self.orders.observe(at, subject, observation));
        }
        self.histories.remember_around(subject, around);
        self.decide(decisions);
    }

    /// What the pod's events say of a container.
    fn said_of(&self, subject: &Subject, events: &[PodEvent]) -> Vec<(Time, Observation)> {
        let now = self.clock.now();
        let about = |event: &&PodEvent| event.container() == Some(&subject.container);
        let observed = |event: &PodEvent| {
            let observation = Observation::of_event(&event.reason, &event.message)?;
            Some((self.clock.of_day(event.last?).min(now), observation))
        };
        events.iter().filter(about).filter_map(observed).collect()
    }

    /// Kept runs share the recorder's budget.
    pub(crate) fn keep_to_budget(&mut self) {
        self.recording.set_kept(self.histories.keep_to_budget());
    }

    /// The triggers decided. Where a run of the container is being closed, that is waited for: it is what they
    /// decided about.
    pub(crate) fn decide(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Warn { pod_uid, message } => tracing::warn!(pod_uid, "{message}"),
                Decision::Capture {
                    attempt,
                    subject,
                    trigger,
                    replaces,
                } => {
                    let decided = Decided {
                        attempt,
                        tripped: trigger,
                        replaces,
                    };
                    if self.histories.is_closing(&subject) {
                        self.orders.hold(subject, decided);
                    } else {
                        self.carry_out(subject, decided);
                    }
                }
            }
        }
    }

    /// Orders a capture of the kept runs of a container; for what trips while it lives, with the run that it is in.
    fn carry_out(&mut self, subject: Subject, decided: Decided) {
        let Decided {
            attempt,
            tripped,
            replaces,
        } = decided;
        let (asked, rank) = (Asked::Trigger(attempt), tripped.kind as u32);
        let trigger = Trigger {
            kind: tripped.kind.name().into(),
            detail: tripped.detail,
        };
        let identity = self.identity(&subject);
        if tripped.kind == Kind::Readiness {
            let name = capture_name(identity.as_ref(), &subject, &host::realtime().0.to_string());
            let wanted = Wanted {
                name,
                trigger,
                rank,
            };
            return self.read_live_run(subject, asked, wanted);
        }
        let runs = self.histories.runs(&subject);
        let Some(last) = runs.last() else {
            tracing::warn!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                "a trigger tripped, and no run of the container was recorded: {}",
                trigger.detail
            );
            let decisions = self.orders.failed(self.clock.now(), attempt);
            return self.decide(decisions);
        };
        let name = match &replaces {
            Some(replaced) => replaced.rsplit('/').next().unwrap_or(replaced).to_owned(),
            None => capture_name(identity.as_ref(), &subject, &last.run.number.to_string()),
        };
        let room = self.histories.room(&subject);
        let order = Order {
            name,
            namespace_uid: self.namespace_uid(identity.as_ref()),
            identity,
            around: self.histories.take_around(&subject),
            trigger,
            rank,
            runs,
            replaces: replaces.map(|id| Replaced { id, room }),
            requested: false,
        };
        self.order(subject, asked, order);
    }

    fn namespace_uid(&self, identity: Option<&Identity>) -> String {
        let uid = identity.and_then(|it| self.pods.namespace_uid(&it.pod.namespace));
        uid.cloned().unwrap_or_default()
    }

    /// Who a container is; where none of its runs has started since the agent has, by the newest run that was kept.
    pub(crate) fn identity(&self, subject: &Subject) -> Option<Identity> {
        let known = self.histories.identity(subject).cloned();
        known.or_else(|| {
            let kept = self.histories.newest(subject)?.header().ok()?;
            self.pods.container(&kept.container.id)
        })
    }

    /// Reads the run that a container is in, for a capture of it.
    pub(crate) fn read_live_run(&mut self, subject: Subject, asked: Asked, wanted: Wanted) {
        let live = self.lives.running(&subject);
        let run = live.map(|(cgroup, live)| self.run_to_close(cgroup, live));
        let (recording, clients) = (self.recording.clone(), self.clients.clone());
        self.tasks.bring(async move {
            let mut kept = None;
            if let Some(run) = run
                && let Some(life) = recording.snapshot(run.cgroup).await
            {
                let closed = clients.close(run, life).await.inspect_err(|error| {
                    tracing::error!("a live container cannot be captured: {error:#}");
                });
                kept = closed.ok().map(|closed| closed.kept);
            }
            Input::LiveRunRead(Box::new(LiveRunRead {
                subject,
                asked,
                wanted,
                run: kept,
            }))
        });
    }

    /// Orders a capture of the kept runs of a container with the run that it is in, as far as there are any.
    pub(crate) fn live_run_read(
        &mut self,
        LiveRunRead {
            subject,
            asked,
            wanted,
            run,
        }: LiveRunRead,
    ) {
        let mut runs = self.histories.runs(&subject);
        if let Some(live) = run {
            runs.retain(|run| run.run.number != live.run.number);
            runs.push(Arc::new(live));
        }
        if runs.is_empty() {
            let why = if self.is_off(&subject) { OFF } else { NOBODY };
            return self.order_done(OrderDone::nothing(subject, asked, why));
        }
        let Wanted {
            name,
            trigger,
            rank,
        } = wanted;
        let identity = self.identity(&subject);
        let order = Order {
            name,
            namespace_uid: self.namespace_uid(identity.as_ref()),
            identity,
            around: None,
            trigger,
            rank,
            runs,
            replaces: None,
            requested: matches!(asked, Asked::Object(_)),
        };
        self.order(subject, asked, order);
    }

    /// Writes a capture, in a task.
    fn order(&mut self, subject: Subject, asked: Asked, order: Order) {
        let ended = EndedRuns::of(&order.runs);
        let (began, metrics) = (Instant::now(), self.metrics.clone());
        let kind = order.trigger.kind.clone();
        let writing = self.outside.write(self.clients.clone(), order);
        self.tasks.bring(async move {
            let result = writing.await;
            let has_file = result.as_ref().is_ok_and(|done| done.unwritten.is_none());
            metrics.captured(&kind, began.elapsed(), has_file);
            Input::OrderDone(Box::new(OrderDone {
                subject,
                asked,
                ended,
                result,
            }))
        });
    }

    /// A capture is written, or cannot be: it is announced and uploaded, and whoever asked is answered.
    pub(crate) fn order_done(
        &mut self,
        OrderDone {
            subject,
            asked,
            ended,
            result,
        }: OrderDone,
    ) {
        let off = self.may_be_off(&subject);
        let result = match result {
            Ok(written) if off => {
                let dropping = self.outside.drop_all(vec![(written.entry, IS_OFF)]);
                self.tasks.spawn(dropping);
                Err(anyhow::anyhow!(OFF))
            }
            result => result,
        };
        let has_file = self.publish(&subject, &result);
        // What somebody asked for is theirs: it is not replaced when the container's loop goes on, and counts for no
        // loop.
        match asked {
            Asked::Trigger(attempt) => {
                let decisions = match result {
                    Ok(written) if has_file => {
                        self.loop_captured(subject, &written.entry);
                        let captured = captured(self.clock.now(), written, ended);
                        self.orders.captured(attempt, captured)
                    }
                    _ => self.orders.failed(self.clock.now(), attempt),
                };
                self.decide(decisions);
            }
            Asked::Person(reply, mut outcome) => {
                outcome.result = match result {
                    Ok(CaptureWritten {
                        unwritten: Some(why),
                        explanation,
                        ..
                    }) => Err(format!(
                        "{why}; what it would say: {}",
                        explanation.sentence
                    )),
                    Ok(written) => Ok(self.outside.describe(&written)),
                    Err(error) => Err(format!("{error:#}")),
                };
                let _ = reply.send(*outcome);
            }
            Asked::Object(claim) => {
                let offer = &claim.offer;
                self.orders
                    .end_claim(&(offer.namespace.clone(), offer.name.clone()));
                if let Err(error) = result {
                    let reason = if off { OPTED_OUT } else { "CaptureFailed" };
                    self.fail(*claim, reason, format!("{error:#}"));
                }
            }
        }
    }

    /// A capture of a crash that a trigger was about: the loop has an Event from now on.
    pub(crate) fn loop_captured(&mut self, subject: Subject, entry: &Entry) {
        let info = &entry.info;
        if let ([first, ..], [.., run], Some(wall)) = (&info.runs[..], &info.runs[..], info.ended) {
            let crash = Crash {
                run: *run,
                at: self.clock.of_day(wall),
                wall,
            };
            self.loops
                .captured(subject, entry.id.clone(), *first, crash);
        }
    }

    /// Logs what became of an order, and has it announced and uploaded. True if there is a file.
    fn publish(&self, subject: &Subject, result: &anyhow::Result<CaptureWritten>) -> bool {
        let may_log = self.orders.may_log(&self.ruled_by(subject));
        match result {
            Ok(CaptureWritten {
                unwritten: Some(why),
                entry,
                explanation,
            }) => {
                let said = if may_log {
                    explanation.sentence.as_str()
                } else {
                    ""
                };
                tracing::error!(
                    capture = entry.id,
                    "a capture cannot be written, and its verdict is told all the same: {why}; {said}"
                );
                self.outside.announce();
                false
            }
            Ok(CaptureWritten {
                entry, explanation, ..
            }) => {
                tracing::info!(
                    capture = entry.id,
                    trigger = entry.info.trigger.kind,
                    bytes = entry.info.bytes,
                    "{}",
                    if may_log {
                        &explanation.sentence
                    } else {
                        "a capture was taken"
                    }
                );
                self.metrics
                    .verdict(entry.info.cause.as_deref().unwrap_or("unknown"));
                self.outside.announce_and_upload();
                true
            }
            Err(error) => {
                tracing::error!(
                    pod_uid = subject.pod_uid,
                    container = subject.container,
                    "no capture could be taken: {error:#}"
                );
                false
            }
        }
    }
}

fn captured(at: Time, written: CaptureWritten, ended: EndedRuns) -> Captured {
    let info = written.entry.info;
    Captured {
        id: written.entry.id,
        at,
        cause: info.cause.filter(|cause| cause != "unknown"),
        runs: ended.count,
        last_run: ended.last,
    }
}

/// Whether the kernel recorded an OOM kill. The runtime's report of one is believed where the verdict believes it.
fn is_oom_killed(run: &Run, cause: Option<Cause>) -> bool {
    cause == Some(Cause::OomKilled) || run.oom_kills.is_some_and(|count| count > 0)
}

/// A run's end as triggers see it.
pub(super) fn end_of(kept: &KeptRun, verdict: Option<&RunVerdict>) -> Ended {
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
