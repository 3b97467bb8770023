//! All containers of a node, and which of them may be captured.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Attempt, Captured, Decision, Labels, Observation, PodObservation, Rules, Selectors, Subject,
    Time,
    annotations::Annotations,
    container::{Container, Restarted},
};

/// How many pods, and containers of one pod, are remembered. This is far more than a node has: if it is reached, the
/// caller forgot to report what is gone.
const MOST: usize = 4096;
/// How many pods are remembered as gone, because the last words of their containers may come late.
const MOST_GONE: usize = 512;

/// When to capture, which containers, and how much a capture holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What trips a trigger.
    pub rules: Rules,
    /// Which pods are captured.
    pub selectors: Selectors,
    /// How many ended runs a capture holds at most.
    pub keep: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            selectors: Selectors::default(),
            keep: 3,
        }
    }
}

/// The state machine; see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Machine {
    config: Config,
    pods: BTreeMap<String, Pod>,
    gone: VecDeque<String>,
    attempts: u64,
    now: Time,
}

#[derive(Debug, Default)]
struct Pod {
    /// The pod's description. Nothing is decided without it.
    described: Option<Described>,
    terminating: bool,
    /// When all of its containers were last restarted together.
    restarted: Option<Restarted>,
    containers: BTreeMap<String, Container>,
    touched: Time,
}

#[derive(Debug, Default)]
struct Described {
    selected: Option<bool>,
    annotations: Annotations,
    ephemeral: BTreeSet<String>,
    warned: Vec<String>,
}

impl Described {
    /// Whether the container may be captured, as far as is known.
    fn wants(&self, container: &str) -> Option<bool> {
        if self.ephemeral.contains(container) {
            return Some(self.annotations.is_chosen(container));
        }
        self.annotations.capture(container).or(self.selected)
    }

    /// Whether anything of the container may be recorded; `None` as long as something is unknown that may forbid it.
    fn records(&self, container: &str) -> Option<bool> {
        let said = self.annotations.capture(container).or(self.selected);
        said.filter(|said| !said || self.annotations.is_whole())
    }
}

impl Pod {
    /// Whether the container may be captured, if that is known.
    fn wanted(&self, container: &str) -> Option<bool> {
        if self.terminating {
            return Some(false);
        }
        self.described.as_ref()?.wants(container)
    }

    fn rules(&self, container: &str, configured: &Rules) -> Rules {
        self.described
            .as_ref()
            .and_then(|described| described.annotations.rules(container, configured))
            .unwrap_or_else(|| configured.clone())
    }
}

impl Machine {
    /// A machine that knows no container yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            pods: BTreeMap::new(),
            gone: VecDeque::new(),
            attempts: 0,
            now: Time::default(),
        }
    }

    /// Takes in what happened to a container at this time, and returns decisions.
    pub fn observe(
        &mut self,
        at: Time,
        subject: &Subject,
        observation: Observation,
    ) -> Vec<Decision> {
        self.now = self.now.max(at);
        match observation {
            Observation::Gone => {
                if let Some(pod) = self.pods.get_mut(&subject.pod_uid) {
                    pod.containers.remove(&subject.container);
                }
                Vec::new()
            }
            Observation::Named { to, run } => {
                let known = self
                    .pods
                    .get_mut(&subject.pod_uid)
                    .and_then(|pod| pod.containers.remove(&subject.container));
                let Some(known) = known.filter(|_| to != *subject) else {
                    return Vec::new();
                };
                let keep = self.config.keep;
                if let Some(container) = self.container(&to) {
                    container.merge(known, run, keep);
                }
                self.settle(&to)
            }
            observation => {
                let keep = self.config.keep;
                let Some(rules) = self.rules(subject) else {
                    return Vec::new();
                };
                if let Some(container) = self.container(subject) {
                    container.observe(at, observation, &rules, keep);
                }
                self.settle(subject)
            }
        }
    }

    /// Takes in what happened to a pod at this time, and returns decisions.
    pub fn observe_pod(
        &mut self,
        at: Time,
        uid: &str,
        observation: PodObservation,
    ) -> Vec<Decision> {
        self.now = self.now.max(at);
        match observation {
            PodObservation::Gone => {
                self.pods.remove(uid);
                self.gone.push_back(uid.to_owned());
                if self.gone.len() > MOST_GONE {
                    self.gone.pop_front();
                }
                Vec::new()
            }
            PodObservation::Terminating => {
                if let Some(pod) = self.pod(uid) {
                    pod.terminating = true;
                }
                Vec::new()
            }
            PodObservation::RestartsAll(since) => self.restarts(uid, Restarted::since(since)),
            PodObservation::RestartedAll(until) => {
                let before = self.pods.get(uid).and_then(|pod| pod.restarted);
                self.restarts(uid, Restarted::until(before, until))
            }
            PodObservation::Described(description) => {
                let selected = self.config.selectors.select(
                    description.namespace.as_deref(),
                    description.labels.as_ref(),
                    description.namespace_labels.as_ref(),
                );
                let annotations =
                    Annotations::of(description.annotations, description.namespace_annotations);
                let warned = annotations.warnings(&self.config.rules);
                let Some(pod) = self.pod(uid) else {
                    return Vec::new();
                };
                let before = pod.described.replace(Described {
                    selected,
                    annotations,
                    ephemeral: description.ephemeral,
                    warned: warned.clone(),
                });
                let before = before.unwrap_or_default().warned;
                let mut decisions: Vec<_> = warned
                    .into_iter()
                    .filter(|message| !before.contains(message))
                    .map(|message| Decision::Warn {
                        pod_uid: uid.to_owned(),
                        message,
                    })
                    .collect();
                decisions.extend(self.settle_pod(uid));
                decisions
            }
        }
    }

    fn restarts(&mut self, uid: &str, restarted: Restarted) -> Vec<Decision> {
        if let Some(pod) = self.pod(uid) {
            pod.restarted = Some(restarted);
            for container in pod.containers.values_mut() {
                container.restarted = Some(restarted);
            }
        }
        self.settle_pod(uid)
    }

    /// The capture of an attempt is complete.
    pub fn captured(&mut self, at: Time, attempt: Attempt, captured: Captured) -> Vec<Decision> {
        let keep = self.config.keep;
        self.finish(at, attempt, |container, _| {
            container.captured(captured, keep)
        })
    }

    /// No capture could be taken. The attempt is repeated by another decision, after 10 s and then after longer and
    /// longer delays.
    pub fn failed(&mut self, at: Time, attempt: Attempt) -> Vec<Decision> {
        self.finish(at, attempt, Container::failed)
    }

    fn finish(
        &mut self,
        at: Time,
        attempt: Attempt,
        act: impl FnOnce(&mut Container, Time),
    ) -> Vec<Decision> {
        self.now = self.now.max(at);
        let found = self.pods.iter_mut().find_map(|(uid, pod)| {
            let (name, container) = pod.containers.iter_mut().find(|(_, c)| c.has(attempt))?;
            Some((subject(uid, name), container))
        });
        let Some((subject, container)) = found else {
            return Vec::new();
        };
        act(container, self.now);
        self.settle(&subject)
    }

    /// Decisions that are due by now.
    pub fn due(&mut self, now: Time) -> Vec<Decision> {
        self.now = self.now.max(now);
        let pods: Vec<String> = self.pods.keys().cloned().collect();
        pods.iter().flat_map(|uid| self.settle_pod(uid)).collect()
    }

    /// When [`Self::due`] must be called again, if at all. Ask this after every observation.
    pub fn next_due(&self) -> Option<Time> {
        self.pods
            .values()
            .flat_map(|pod| {
                pod.containers
                    .iter()
                    .filter(|(name, _)| pod.wanted(name).is_some())
                    .filter_map(|(_, container)| container.due())
            })
            .min()
    }

    /// Whether anything of a container may be recorded, kept or reported: not if an annotation or the selectors exclude
    /// it. `None` as long as that is not known.
    pub fn recorded(&self, subject: &Subject) -> Option<bool> {
        let described = self.pods.get(&subject.pod_uid)?.described.as_ref()?;
        described.records(&subject.container)
    }

    /// Whether a container may be captured when something happens to it; `None` as long as that is not known.
    /// Containers of a pod that is being deleted may not be captured, nor containers that somebody added for debugging.
    pub fn wanted(&self, subject: &Subject) -> Option<bool> {
        self.pods.get(&subject.pod_uid)?.wanted(&subject.container)
    }

    /// Whether a container's payloads may be stored; `None` as long as its pod has not been described.
    pub fn stores_payload(&self, subject: &Subject) -> Option<bool> {
        let described = self.pods.get(&subject.pod_uid)?.described.as_ref()?;
        Some(described.annotations.payload(&subject.container))
    }

    /// The pod with this UID; `None` if it is gone.
    fn pod(&mut self, uid: &str) -> Option<&mut Pod> {
        if self.gone.iter().any(|gone| gone == uid) {
            return None;
        }
        make_room(&mut self.pods, uid, |pod| pod.touched);
        let (selectors, now) = (&self.config.selectors, self.now);
        let pod = self.pods.entry(uid.to_owned()).or_insert_with(|| Pod {
            // Without a pod there is nothing to be described.
            described: uid.is_empty().then(|| Described {
                selected: selectors.select(None, None, None),
                annotations: Annotations::of(Labels::new(), Some(Labels::new())),
                ..Described::default()
            }),
            ..Pod::default()
        });
        pod.touched = now;
        Some(pod)
    }

    fn container(&mut self, subject: &Subject) -> Option<&mut Container> {
        let now = self.now;
        let pod = self.pod(&subject.pod_uid)?;
        make_room(&mut pod.containers, &subject.container, |container| {
            container.touched
        });
        let container = pod.containers.entry(subject.container.clone()).or_default();
        container.restarted = pod.restarted;
        container.touched = now;
        Some(container)
    }

    fn rules(&mut self, subject: &Subject) -> Option<Rules> {
        let configured = self.config.rules.clone();
        let pod = self.pod(&subject.pod_uid)?;
        Some(pod.rules(&subject.container, &configured))
    }

    fn settle_pod(&mut self, uid: &str) -> Vec<Decision> {
        let names: Vec<String> = match self.pods.get(uid) {
            Some(pod) => pod.containers.keys().cloned().collect(),
            None => Vec::new(),
        };
        names
            .iter()
            .flat_map(|name| self.settle(&subject(uid, name)))
            .collect()
    }

    /// Decides for a container if something is due and a decision is allowed.
    fn settle(&mut self, subject: &Subject) -> Vec<Decision> {
        let Some(pod) = self.pods.get_mut(&subject.pod_uid) else {
            return Vec::new();
        };
        let due = pod
            .containers
            .get(&subject.container)
            .and_then(Container::due);
        if due.is_none_or(|due| due > self.now) {
            return Vec::new();
        }
        let wanted = pod.wanted(&subject.container);
        let rules = pod.rules(&subject.container, &self.config.rules);
        let Some(container) = pod.containers.get_mut(&subject.container) else {
            return Vec::new();
        };
        match wanted {
            None => return Vec::new(),
            Some(false) => {
                container.ignore();
                return Vec::new();
            }
            Some(true) => {}
        }
        let Some(plan) = container.plan(&rules, self.config.keep) else {
            container.judged();
            return Vec::new();
        };
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        let decision = Decision::Capture {
            attempt,
            subject: subject.clone(),
            trigger: plan.trigger.clone(),
            replaces: plan.replaces.clone(),
        };
        container.begin(attempt, plan, self.config.keep);
        vec![decision]
    }
}

fn subject(pod_uid: &str, container: &str) -> Subject {
    Subject {
        pod_uid: pod_uid.to_owned(),
        container: container.to_owned(),
    }
}

/// If there is no room for one more, drops the item that was not touched for the longest time.
fn make_room<T>(map: &mut BTreeMap<String, T>, key: &str, touched: impl Fn(&T) -> Time) {
    if map.len() < MOST || map.contains_key(key) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| touched(value));
    if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_says_is_gone_is_forgotten_one_day() {
        let mut machine = Machine::new(Config::default());
        let name = |number: usize| format!("{number:05}");
        for number in 0..MOST + 10 {
            let at = Time(number as u64);
            let started = || Observation::Started { run: 1 };
            machine.observe(at, &subject(&name(number), "app"), started());
            machine.observe(at, &subject("", &name(number)), started());
        }
        assert_eq!(machine.pods.len(), MOST);
        assert_eq!(machine.pods[""].containers.len(), MOST);
        assert!(!machine.pods.contains_key(&name(5)));
        assert!(machine.pods.contains_key(&name(MOST)));
        for number in 0..MOST + 10 {
            machine.observe_pod(Time(0), &name(number), PodObservation::Gone);
            machine.observe(Time(0), &subject("", &name(number)), Observation::Gone);
        }
        assert_eq!(machine.pods.len(), 1);
        assert!(machine.pods[""].containers.is_empty());
        assert_eq!(machine.gone.len(), MOST_GONE);
    }
}
