//! A node whose containers are written down second by second.

use triggers::{
    Attempt, Captured, Config, Decision, Description, Ended, ExitStatus, Kind, Labels, Machine,
    Observation, PodObservation, Subject, Time,
};

/// A capture that the machine decided to take.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) attempt: Attempt,
    pub(crate) subject: Subject,
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) replaces: Option<String>,
}

/// The machine, and its decisions.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) taken: Vec<Taken>,
    pub(crate) warnings: Vec<String>,
    /// Whether each decision is answered at once, with a capture named by its position in `taken`.
    pub(crate) answers: bool,
    keep: usize,
    ended: Vec<Ended>,
}

pub(crate) fn at(seconds: f64) -> Time {
    // A day after the epoch, so that there is a "long ago".
    Time((86_400e9 + seconds * 1e9) as u64)
}

pub(crate) fn app() -> Subject {
    Subject {
        pod_uid: "pod".to_owned(),
        container: "app".to_owned(),
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

impl Node {
    /// A node with a pod that is described as having nothing special.
    pub(crate) fn new(config: Config) -> Self {
        let mut node = Self::undescribed(config);
        node.describe(&[]);
        node
    }

    pub(crate) fn undescribed(config: Config) -> Self {
        Self {
            keep: config.keep,
            machine: Machine::new(config),
            taken: Vec::new(),
            warnings: Vec::new(),
            answers: true,
            ended: Vec::new(),
        }
    }

    pub(crate) fn describe(&mut self, annotations: &[(&str, &str)]) {
        let description = Description {
            namespace: Some("web".to_owned()),
            labels: Some(Labels::new()),
            annotations: labels(annotations),
            namespace_labels: Some(Labels::new()),
            namespace_annotations: Some(Labels::new()),
            ..Description::default()
        };
        self.pod(0.0, PodObservation::Described(description));
    }

    pub(crate) fn pod(&mut self, seconds: f64, observation: PodObservation) {
        let decisions = self.machine.observe_pod(at(seconds), "pod", observation);
        self.take(at(seconds), decisions);
    }

    pub(crate) fn see(&mut self, seconds: f64, subject: &Subject, observation: Observation) {
        self.pass(seconds);
        if let Observation::Ended(ended) = &observation {
            self.ended.push(ended.clone());
        }
        let decisions = self.machine.observe(at(seconds), subject, observation);
        self.take(at(seconds), decisions);
    }

    pub(crate) fn app(&mut self, seconds: f64, observation: Observation) {
        self.see(seconds, &app(), observation);
    }

    pub(crate) fn start(&mut self, seconds: f64, run: u32) {
        self.app(seconds, Observation::Started { run });
    }

    /// The run exits with this code, for this cause.
    pub(crate) fn exit(&mut self, seconds: f64, run: u32, code: u8, cause: &str) {
        let ended = Ended {
            run,
            status: Some(ExitStatus::Code(code)),
            cause: (!cause.is_empty()).then(|| cause.to_owned()),
            ..Ended::default()
        };
        self.app(seconds, Observation::Ended(ended));
    }

    /// Lets time pass, and handles what becomes due.
    pub(crate) fn pass(&mut self, seconds: f64) {
        while let Some(due) = self.machine.next_due().filter(|due| *due <= at(seconds)) {
            let decisions = self.machine.due(due);
            self.take(due, decisions);
        }
    }

    pub(crate) fn capture(&self, index: usize, now: Time) -> Captured {
        let runs = self.ended.len().min(self.keep);
        let newest = self.ended.last();
        Captured {
            id: index.to_string(),
            at: now,
            cause: newest.and_then(|ended| ended.cause.clone()),
            runs,
            last_run: newest.map_or(0, |ended| ended.run),
        }
    }

    fn take(&mut self, now: Time, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Warn { message, .. } => self.warnings.push(message),
                Decision::Capture {
                    attempt,
                    subject,
                    trigger,
                    replaces,
                } => {
                    self.taken.push(Taken {
                        attempt,
                        subject,
                        kind: trigger.kind,
                        detail: trigger.detail,
                        replaces,
                    });
                    if self.answers {
                        let captured = self.capture(self.taken.len() - 1, now);
                        let more = self.machine.captured(now, attempt, captured);
                        self.take(now, more);
                    }
                }
            }
        }
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.taken.iter().map(|taken| taken.kind).collect()
    }
}
