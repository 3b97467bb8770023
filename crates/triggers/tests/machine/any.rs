//! Arbitrary observations, in arbitrary order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use triggers::{
    Captured, Config, Decision, Description, Ended, ExitStatus, Machine, Observation,
    PodObservation, Subject, Time, Why,
};

use crate::node::{Node, Taken, at, labels};

const CAUSES: [Option<&str>; 4] = [None, Some("dns"), Some("refused"), Some("oom")];

/// The container runs for some seconds, ends in this way, and is restarted after some seconds.
#[derive(Clone, Debug)]
struct Life {
    lasts: u32,
    code: u8,
    cause: Option<&'static str>,
    delay: u32,
    backed_off: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let lasts = prop_oneof![4 => 0..5u32, 1 => 0..1500u32];
    (
        lasts,
        0..3u8,
        prop::sample::select(&CAUSES),
        2..300u32,
        any::<bool>(),
    )
        .prop_map(|(lasts, code, cause, delay, backed_off)| Life {
            lasts,
            code,
            cause,
            delay,
            backed_off,
        })
}

#[derive(Clone, Debug)]
enum Step {
    Container {
        when: u32,
        pod: usize,
        container: u8,
        observation: Observation,
    },
    Pod {
        when: u32,
        pod: usize,
        observation: PodObservation,
    },
    Outcome {
        well: bool,
    },
    Due,
}

/// What is known about a pod outside of the machine.
#[derive(Clone, Copy, Default)]
struct Model {
    on: bool,
    over: bool,
}

fn subject(pod: usize, container: u8) -> Subject {
    Subject {
        pod_uid: format!("pod{pod}"),
        container: container.to_string(),
    }
}

fn observation() -> impl Strategy<Value = Observation> {
    let run = prop_oneof![4 => 1..9u32, 1 => any::<u32>()];
    let time = || prop::option::of((0..4000u32).prop_map(|seconds| at(f64::from(seconds))));
    let ended = (
        0..9u32,
        0..3u8,
        any::<bool>(),
        prop::sample::select(&CAUSES),
    )
        .prop_map(|(run, code, oom_killed, cause)| Ended {
            run,
            status: Some(ExitStatus::Code(code)),
            oom_killed,
            start_failed: false,
            stopped: oom_killed,
            cause: cause.map(str::to_owned),
        });
    let named = (0..3usize, 0..4u8, 0..9u32);
    prop_oneof![
        4 => run.prop_map(|run| Observation::Started { run }),
        8 => ended.clone().prop_map(Observation::Ended),
        1 => ended.prop_map(Observation::EndExplained),
        1 => (any::<u32>(), time(), time())
            .prop_map(|(count, since, last)| Observation::RestartCount { count, since, last }),
        2 => Just(Observation::BackedOff),
        1 => Just(Observation::Killed(Why::LivenessProbe)),
        1 => Just(Observation::Killed(Why::PodDone)),
        1 => Just(Observation::NotReady),
        1 => named.prop_map(|(pod, container, run)| Observation::Named { to: subject(pod, container), run }),
        1 => Just(Observation::CaptureDeleted { id: "Attempt(1)".to_owned() }),
        1 => Just(Observation::Gone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pod_observation = prop_oneof![
        4 => any::<bool>().prop_map(|on| PodObservation::Described(described(on))),
        1 => Just(PodObservation::Terminating),
        1 => (0..4000u32).prop_map(|when| PodObservation::RestartsAll(at(f64::from(when)))),
        1 => (0..4000u32).prop_map(|when| PodObservation::RestartedAll(at(f64::from(when)))),
        1 => Just(PodObservation::Gone),
    ];
    prop_oneof![
        12 => (0..4000u32, 0..3usize, 0..4u8, observation()).prop_map(
            |(when, pod, container, observation)| Step::Container { when, pod, container, observation }
        ),
        2 => (0..4000u32, 0..3usize, pod_observation)
            .prop_map(|(when, pod, observation)| Step::Pod { when, pod, observation }),
        3 => any::<bool>().prop_map(|well| Step::Outcome { well }),
        3 => Just(Step::Due),
    ]
}

fn described(on: bool) -> Description {
    Description {
        annotations: labels(if on {
            &[]
        } else {
            &[("lastword.dev/capture", "off")]
        }),
        ..Description::default()
    }
}

proptest! {
    #[test]
    fn each_cause_is_captured_and_none_twice(lives in prop::collection::vec(life(), 1..60)) {
        let cool_down = Config::default().rules.cool_down.as_secs_f64();
        let mut node = Node::new(Config::default());
        let mut now = 0.0;
        let mut taken: Vec<(f64, Option<&str>, bool)> = Vec::new();
        for (index, life) in lives.iter().enumerate() {
            let run = index as u32 + 1;
            let mut note = |node: &Node, now, cause| {
                let new = &node.taken[taken.len()..];
                let cause_of = |id: &str| taken[id.parse::<usize>().unwrap()].1;
                // A capture that shows no cause is replaced by the first one that shows a cause.
                let replaces = |one: &Taken| one.replaces.as_deref().is_some_and(|id| cause_of(id).is_some());
                let new: Vec<_> = new.iter().map(|one| (now, cause, replaces(one))).collect();
                taken.extend(new);
            };
            node.start(now, run);
            // Whatever the start of a run trips is about the run before.
            note(&node, now, if index == 0 { None } else { lives[index - 1].cause });
            now += f64::from(life.lasts);
            node.exit(now, run, life.code, life.cause.unwrap_or(""));
            node.pass(now + 1.0);
            if life.backed_off {
                node.app(now + 1.0, Observation::BackedOff);
            }
            note(&node, now, life.cause);
            if life.code != 0 {
                let known = |cause| taken.iter().any(|(_, captured, _)| *captured == cause);
                prop_assert!(!taken.is_empty());
                prop_assert!(life.cause.is_none() || known(life.cause), "{life:?} is not captured");
            }
            now += f64::from(life.delay);
        }
        for (index, (when, cause, replaces)) in taken.iter().enumerate() {
            let twins = taken[..index]
                .iter()
                .filter(|(before, other, _)| cause.is_some() && other == cause && when - before < cool_down);
            // A replacement is not an additional capture, and there is at most one.
            let (replacing, first): (Vec<&_>, Vec<&_>) = twins.partition(|(_, _, replaces)| *replaces);
            if *replaces {
                prop_assert!(replacing.is_empty(), "replaced twice: {taken:?}");
            } else {
                prop_assert!(first.is_empty() && replacing.is_empty(), "captured twice: {taken:?}");
            }
        }
    }

    #[test]
    fn failures_lose_nothing(failures in 0..12usize, lives in prop::collection::vec(life(), 1..20)) {
        let mut node = Node::new(Config::default());
        node.answers = false;
        let mut now = 0.0;
        for (index, life) in lives.iter().enumerate() {
            node.start(now, index as u32 + 1);
            now += f64::from(life.lasts);
            node.exit(now, index as u32 + 1, life.code.max(1), life.cause.unwrap_or(""));
            now += f64::from(life.delay);
        }
        node.pass(now);
        for failure in 0..failures {
            prop_assert_eq!(node.taken.len(), failure + 1);
            let decisions = node.machine.failed(at(now), node.taken[failure].attempt);
            prop_assert!(decisions.is_empty());
            now += 301.0;
            node.pass(now);
        }
        prop_assert_eq!(node.taken.len(), failures + 1);
    }

    #[test]
    fn any_observations(steps in prop::collection::vec(step(), 1..200)) {
        let mut machine = Machine::new(Config::default());
        let mut pods = [Model::default(); 3];
        let mut open = BTreeSet::new();
        let mut now = Time(0);
        for step in steps {
            let decisions = match step {
                Step::Container { when, pod, container, observation } => {
                    let when = at(f64::from(when));
                    now = now.max(when);
                    machine.observe(when, &subject(pod, container), observation)
                }
                Step::Pod { when, pod, observation } => {
                    let when = at(f64::from(when));
                    now = now.max(when);
                    let model = &mut pods[pod];
                    match &observation {
                        PodObservation::Gone | PodObservation::Terminating => model.over = true,
                        PodObservation::Described(description) => {
                            model.on = description.annotations.is_empty();
                        }
                        PodObservation::RestartsAll(_) | PodObservation::RestartedAll(_) => {}
                    }
                    machine.observe_pod(when, &format!("pod{pod}"), observation)
                }
                Step::Outcome { well } => match open.pop_first() {
                    Some((_, attempt)) => {
                        if well {
                            let captured = Captured {
                                id: format!("{attempt:?}"),
                                at: now,
                                cause: None,
                                runs: 2,
                                last_run: 3,
                            };
                            machine.captured(now, attempt, captured)
                        } else {
                            machine.failed(now, attempt)
                        }
                    }
                    None => Vec::new(),
                },
                Step::Due => match machine.next_due() {
                    Some(due) => {
                        now = now.max(due);
                        let decisions = machine.due(now);
                        prop_assert!(machine.next_due().is_none_or(|next| next > now));
                        decisions
                    }
                    None => Vec::new(),
                },
            };
            for decision in decisions {
                let Decision::Capture { attempt, subject, .. } = decision else { continue };
                let pod = usize::from(subject.pod_uid.as_bytes()[3] - b'0');
                prop_assert!(pods[pod].on && !pods[pod].over, "{subject:?} is off");
                prop_assert!(open.insert((subject, attempt)));
            }
        }
    }
}
