//! Captures that were decided on: ordered from a task, and what became of them.

use std::{sync::Arc, time::Instant};

use capture_format::Trigger;
use containers::directory::Identity;
use kubernetes::captures;
use tokio::sync::oneshot;
use triggers::{Attempt, Captured, Decision, Kind, Subject};

use super::super::{
    Input,
    capture::{CaptureWritten, Order, Replaced},
    event_loop::Node,
    handle::{CaptureOutcome, Written},
    kept::KeptRun,
    routes::captures::{OPTED_OUT, key},
    routes::lives::HeldDecision,
    routes::opt_out::OFF,
    routes::requests::Wanted,
};
use crate::host;

/// What became of an order.
pub(crate) struct OrderDone {
    subject: Subject,
    asked: Asked,
    /// Number of the newest run that had ended, and how many had.
    ended: (u32, usize),
    result: anyhow::Result<CaptureWritten>,
}

impl OrderDone {
    /// There is nothing to capture.
    pub(crate) fn nothing(subject: Subject, asked: Asked, why: &'static str) -> Self {
        Self {
            subject,
            asked,
            ended: (0, 0),
            result: Err(anyhow::anyhow!(why)),
        }
    }
}

/// Who wants a capture.
pub(crate) enum Asked {
    /// The triggers.
    Trigger(Attempt),
    /// A person at the socket.
    Person(oneshot::Sender<CaptureOutcome>, Box<CaptureOutcome>),
    /// A Capture object.
    Object(Box<captures::Claim>),
}

impl Node {
    /// Does what the triggers decided.
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
                    let held = HeldDecision {
                        attempt,
                        trigger,
                        replaces,
                    };
                    match self.subjects.get_mut(&subject) {
                        // The run that tripped it is being kept.
                        Some(runs) if runs.ending > 0 => runs.held.push(held),
                        _ => self.take(subject, held),
                    }
                }
            }
        }
    }

    /// Captures the kept runs of a subject; what trips while it lives, with the run that it is in.
    pub(crate) fn take(&mut self, subject: Subject, held: HeldDecision) {
        let trigger = Trigger {
            kind: held.trigger.kind.name().into(),
            detail: held.trigger.detail.clone(),
        };
        let rank = held.trigger.kind as u32;
        if held.trigger.kind == Kind::Readiness {
            let identity = self.identity(&subject);
            let name = capture_name(identity.as_ref(), &subject, &host::realtime().to_string());
            let wanted = Wanted {
                name,
                trigger,
                rank,
            };
            return self.look(subject, Asked::Trigger(held.attempt), wanted);
        }
        let kept = self.kept_of(&subject);
        let Some(last) = kept.last() else {
            tracing::warn!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                "a trigger tripped, and no run of the container was recorded: {}",
                held.trigger.detail
            );
            let decisions = self.machine.failed(self.clock.now(), held.attempt);
            return self.decide(decisions);
        };
        let identity = self.identity(&subject);
        let name = match &held.replaces {
            Some(replaced) => replaced.rsplit('/').next().unwrap_or(replaced).to_owned(),
            None => capture_name(identity.as_ref(), &subject, &last.run.number.to_string()),
        };
        let room = self.config.runs.keep.saturating_sub(kept.len());
        let runs = self.subjects.get_mut(&subject);
        let around = runs.and_then(|runs| runs.around.take());
        let order = Order {
            name,
            identity,
            around,
            trigger,
            rank,
            runs: kept,
            replaces: held.replaces.map(|id| Replaced { id, room }),
            requested: false,
        };
        self.order(subject, Asked::Trigger(held.attempt), order);
    }

    pub(crate) fn kept_of(&self, subject: &Subject) -> Vec<Arc<KeptRun>> {
        let runs = self.subjects.get(subject);
        runs.map(|runs| runs.kept.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Who a container is; where none of its runs has started since the agent has, by the newest run that was kept.
    pub(crate) fn identity(&self, subject: &Subject) -> Option<Identity> {
        let runs = self.subjects.get(subject)?;
        runs.identity.clone().or_else(|| {
            let kept = runs.kept.back()?.header().ok()?;
            self.directory.container(&kept.container.id)
        })
    }

    pub(crate) fn order(&mut self, subject: Subject, asked: Asked, order: Order) {
        let (clients, spool, inputs) = (
            self.clients.clone(),
            self.spool.clone(),
            self.inputs.clone(),
        );
        let over = order.runs.iter().filter(|run| run.run.end.is_some());
        let ended = (
            over.clone().next_back().map_or(0, |run| run.run.number),
            over.count(),
        );
        let (began, metrics) = (Instant::now(), self.metrics.clone());
        let kind = order.trigger.kind.clone();
        self.tasks.spawn(async move {
            let result = clients.capture(order, spool).await;
            let written = result.as_ref().is_ok_and(|taken| taken.unwritten.is_none());
            metrics.captured(&kind, began.elapsed(), written);
            let _ = inputs.send(Input::OrderDone(Box::new(OrderDone {
                subject,
                asked,
                ended,
                result,
            })));
        });
    }

    /// A capture stands, or does not.
    pub(crate) fn taken(
        &mut self,
        OrderDone {
            subject,
            asked,
            ended,
            result,
        }: OrderDone,
    ) {
        let now = self.clock.now();
        let off = self.is_off(&subject);
        let result = match result {
            Ok(taken) if off => {
                self.drop_capture(taken.entry);
                Err(anyhow::anyhow!(OFF))
            }
            result => result,
        };
        let may_tell = self.may_tell(&subject);
        let stands = match &result {
            Ok(CaptureWritten {
                unwritten: Some(why),
                entry,
                explanation,
            }) => {
                let said = if may_tell {
                    explanation.sentence.as_str()
                } else {
                    ""
                };
                tracing::error!(
                    capture = entry.id,
                    "a capture cannot be written, and its verdict is told all the same: {why}; {said}"
                );
                self.teller.wake();
                None
            }
            Ok(taken) => {
                let entry = &taken.entry;
                tracing::info!(
                    capture = entry.id,
                    trigger = entry.info.trigger.kind,
                    bytes = entry.info.bytes,
                    "{}",
                    if may_tell {
                        &taken.explanation.sentence
                    } else {
                        "a capture was taken"
                    }
                );
                self.metrics
                    .verdict(entry.info.cause.as_deref().unwrap_or("unknown"));
                self.teller.wake();
                self.uploader.notify_one();
                Some(Captured {
                    id: entry.id.clone(),
                    at: now,
                    cause: entry.info.cause.clone().filter(|cause| cause != "unknown"),
                    runs: ended.1,
                    last_run: ended.0,
                })
            }
            Err(error) => {
                tracing::error!(
                    pod_uid = subject.pod_uid,
                    container = subject.container,
                    "no capture could be taken: {error:#}"
                );
                None
            }
        };
        // What somebody asked for is theirs: it is not replaced when the container's loop goes on, and stands for no loop.
        let decisions = match (asked, stands) {
            (Asked::Trigger(attempt), Some(captured)) => {
                self.machine.captured(now, attempt, captured)
            }
            (Asked::Trigger(attempt), None) => self.machine.failed(now, attempt),
            (Asked::Person(reply, mut outcome), _) => {
                outcome.result = match result {
                    Ok(CaptureWritten {
                        unwritten: Some(why),
                        explanation,
                        ..
                    }) => Err(format!(
                        "{why}; what it would say: {}",
                        explanation.sentence
                    )),
                    Ok(taken) => Ok(written(&taken, &self.spool)),
                    Err(error) => Err(format!("{error:#}")),
                };
                let _ = reply.send(*outcome);
                Vec::new()
            }
            (Asked::Object(taken), _) => {
                self.taking.remove(&key(&taken.offer));
                if let Err(error) = result {
                    let reason = if off { OPTED_OUT } else { "CaptureFailed" };
                    self.fail(*taken, reason, format!("{error:#}"));
                }
                Vec::new()
            }
        };
        self.decide(decisions);
    }
}

fn written(taken: &CaptureWritten, spool: &spool::Spool) -> Written {
    let entry = &taken.entry;
    Written {
        name: entry.id.clone(),
        file: spool.path(&entry.id).unwrap_or_default(),
        size: entry.info.bytes,
        runs: entry.info.runs.len() as u32,
        sentence: taken.explanation.sentence.clone(),
    }
}

/// The name of a capture: the same for the same run of the same container, so that an agent that starts anew does not make a second one.
pub(crate) fn capture_name(identity: Option<&Identity>, subject: &Subject, of: &str) -> String {
    let seed = [subject.pod_uid.as_str(), of];
    match identity {
        Some(identity) => kubernetes::capture_name(&identity.pod.name, Some(&identity.name), &seed),
        None => kubernetes::capture_name(&subject.container, None, &seed),
    }
}
