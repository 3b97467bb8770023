//! Which captures are wanted: the triggers, their decisions that wait for a run to be closed, and the Capture objects
//! that are being filled.

use std::collections::{HashMap, HashSet};

use redact::Payload;
use triggers::{
    Attempt, Captured, Config, Decision, Description, Labels, Machine, Observation, PodObservation,
    Subject, Time, Tripped,
};

use super::outside::Key;

/// A decision to capture a container.
pub(crate) struct Decided {
    pub(crate) attempt: Attempt,
    pub(crate) tripped: Tripped,
    /// Id of the capture that this one replaces.
    pub(crate) replaces: Option<String>,
}

/// See the module.
pub(crate) struct Orders {
    machine: Machine,
    /// Decisions about containers of which a run is being closed: it is to be in the capture.
    held: HashMap<Subject, Vec<Decided>>,
    /// Capture objects that are being claimed, or filled.
    claims: HashSet<Key>,
}

impl Orders {
    /// Without an API server nobody will describe the pod of containers that have none, so that is done here.
    pub(crate) fn new(config: Config, has_api: bool, now: Time) -> Self {
        let mut machine = Machine::new(config);
        if !has_api {
            let described = PodObservation::Described(Description {
                namespace_annotations: Some(Labels::new()),
                ..Description::default()
            });
            machine.observe_pod(now, "", described);
        }
        Self {
            machine,
            held: HashMap::new(),
            claims: HashSet::new(),
        }
    }

    /// Something happened to a container.
    pub(crate) fn observe(
        &mut self,
        at: Time,
        subject: &Subject,
        observation: Observation,
    ) -> Vec<Decision> {
        self.machine.observe(at, subject, observation)
    }

    /// Something happened to a pod.
    pub(crate) fn observe_pod(
        &mut self,
        at: Time,
        pod_uid: &str,
        observation: PodObservation,
    ) -> Vec<Decision> {
        self.machine.observe_pod(at, pod_uid, observation)
    }

    /// The runs of `before`, of which the newest has this number, are those of `to`: its name has become known.
    pub(crate) fn rename(
        &mut self,
        at: Time,
        before: &Subject,
        to: &Subject,
        run: u32,
    ) -> Vec<Decision> {
        if let Some(held) = self.held.remove(before) {
            self.held.entry(to.clone()).or_default().extend(held);
        }
        let to = to.clone();
        self.machine
            .observe(at, before, Observation::Named { to, run })
    }

    /// When [`Self::due`] must be asked again.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.machine.next_due()
    }

    /// What time alone decides.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Decision> {
        self.machine.due(now)
    }

    /// A decision waits until the container has no run that is being closed.
    pub(crate) fn hold(&mut self, subject: Subject, decided: Decided) {
        self.held.entry(subject).or_default().push(decided);
    }

    /// The decisions that waited.
    pub(crate) fn release(&mut self, subject: &Subject) -> Vec<Decided> {
        self.held.remove(subject).unwrap_or_default()
    }

    /// Nothing comes of the decisions that waited: the container is opted out.
    pub(crate) fn opt_out(&mut self, now: Time, subject: &Subject) {
        for held in self.release(subject) {
            self.machine.failed(now, held.attempt);
        }
    }

    /// What was decided is done.
    pub(crate) fn captured(&mut self, attempt: Attempt, captured: Captured) -> Vec<Decision> {
        self.machine.captured(captured.at, attempt, captured)
    }

    /// What was decided could not be done.
    pub(crate) fn failed(&mut self, now: Time, attempt: Attempt) -> Vec<Decision> {
        self.machine.failed(now, attempt)
    }

    /// Whether nothing of the container may be recorded. One without a name may be any of its pod's.
    pub(crate) fn is_off(&self, subject: &Subject) -> bool {
        !containers::path::is_id(&subject.container) && self.may_be_off(subject)
    }

    /// Whether nothing of the container may be recorded, or, of one without a name, nothing of its pod's as a rule.
    pub(crate) fn may_be_off(&self, subject: &Subject) -> bool {
        self.machine.recorded(subject) == Some(false)
    }

    /// Whether it is known that the container may be spoken of in the log.
    pub(crate) fn may_log(&self, subject: &Subject) -> bool {
        self.machine.recorded(subject) == Some(true)
    }

    /// Whether it is known that a crash of the container may be captured, and spoken of in the log.
    pub(crate) fn may_log_crash(&self, subject: &Subject) -> bool {
        self.may_log(subject) && self.machine.wanted(subject) == Some(true)
    }

    /// What of a container's payloads may be kept.
    pub(crate) fn payload(&self, subject: &Subject) -> Payload {
        match self.machine.stores_payload(subject) {
            Some(false) => Payload::None,
            Some(true) | None => Payload::Default,
        }
    }

    /// A Capture object is to be claimed; false if it is being claimed or filled already.
    pub(crate) fn begin_claim(&mut self, key: Key) -> bool {
        self.claims.insert(key)
    }

    /// A Capture object was another's, or is filled, or failed.
    pub(crate) fn end_claim(&mut self, key: &Key) {
        self.claims.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use triggers::{Ended, ExitStatus};

    use super::*;

    fn subject(container: &str) -> Subject {
        Subject {
            pod_uid: String::new(),
            container: container.to_owned(),
        }
    }

    /// A decision about the first crash of this container.
    fn crash(orders: &mut Orders, subject: &Subject) -> Vec<Decision> {
        let started = Observation::Started { run: 1 };
        orders.observe(Time(1), subject, started);
        let ended = Observation::Ended(Ended {
            run: 1,
            status: Some(ExitStatus::Code(1)),
            oom_killed: false,
            start_failed: false,
            stopped: false,
            cause: None,
        });
        orders.observe(Time(2), subject, ended);
        // What trips together gives one capture, so it is waited for.
        orders.due(orders.next_due().expect("nothing is due"))
    }

    fn held(decisions: Vec<Decision>) -> Decided {
        match decisions.into_iter().next() {
            Some(Decision::Capture {
                attempt,
                trigger,
                replaces,
                ..
            }) => Decided {
                attempt,
                tripped: trigger,
                replaces,
            },
            other => panic!("no decision to capture: {other:?}"),
        }
    }

    #[test]
    fn a_decision_that_waits_follows_the_containers_name_and_is_released_once() {
        let mut orders = Orders::new(Config::default(), false, Time(0));
        let (before, web) = (subject("0123"), subject("web"));
        let decided = held(crash(&mut orders, &before));
        orders.hold(before.clone(), decided);
        orders.rename(Time(3), &before, &web, 1);
        assert!(orders.release(&before).is_empty());
        assert_eq!(orders.release(&web).len(), 1);
        assert!(orders.release(&web).is_empty());
    }

    #[test]
    fn a_capture_object_is_claimed_once_until_that_claim_ends() {
        let mut orders = Orders::new(Config::default(), true, Time(0));
        let key = ("shop".to_owned(), "web-1".to_owned());
        assert!(orders.begin_claim(key.clone()));
        assert!(!orders.begin_claim(key.clone()));
        orders.end_claim(&key);
        assert!(orders.begin_claim(key));
    }
}
