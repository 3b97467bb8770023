//! Which containers are captured at all, and what is stored about them.

use triggers::{
    Config, Description, Kind, Labels, Observation, PodObservation, Selectors, Subject,
};

use crate::node::{Node, app, labels};

fn crash(node: &mut Node, seconds: f64, run: u32, cause: &str) {
    node.start(seconds, run);
    node.exit(seconds + 1.0, run, 1, cause);
    node.pass(seconds + 2.0);
}

#[test]
fn nothing_is_decided_before_the_pod_is_known() {
    let mut node = Node::undescribed(Config::default());
    crash(&mut node, 0.0, 1, "dns");
    assert!(node.taken.is_empty());
    assert_eq!(node.machine.next_due(), None);
    assert_eq!(node.machine.stores_payload(&app()), None);
    node.describe(&[]);
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
    let mut node = Node::undescribed(Config::default());
    crash(&mut node, 0.0, 1, "dns");
    node.describe(&[("lastword.dev/capture", "off")]);
    node.pass(100.0);
    assert!(node.taken.is_empty());
    assert_eq!(node.machine.wanted(&app()), Some(false));
}

#[test]
fn annotations_override() {
    let off = ("lastword.dev/capture", "off");
    for (annotations, expected) in [
        (&[off][..], &[][..]),
        (
            &[off, ("lastword.dev/capture.app", "on")],
            &[Kind::FirstCrash],
        ),
        (&[("lastword.dev/capture.app", "off")], &[]),
        (
            &[("lastword.dev/capture.other", "off")],
            &[Kind::FirstCrash],
        ),
        (&[("lastword.dev/trigger", "exit-code=3")], &[]),
        (
            &[("lastword.dev/trigger", "exit-code=1")],
            &[Kind::ExitCode],
        ),
    ] {
        let mut node = Node::undescribed(Config::default());
        node.describe(annotations);
        crash(&mut node, 0.0, 1, "dns");
        assert_eq!(node.kinds(), expected, "{annotations:?}");
    }
}

#[test]
fn rules_that_come_with_the_description_judge_what_was_before() {
    let mut node = Node::undescribed(Config::default());
    crash(&mut node, 0.0, 1, "dns");
    node.describe(&[("lastword.dev/trigger", "oom-killed")]);
    node.pass(100.0);
    assert!(node.taken.is_empty());
}

#[test]
fn what_was_off_is_not_made_up_for() {
    let mut node = Node::undescribed(Config::default());
    node.describe(&[("lastword.dev/capture", "off")]);
    crash(&mut node, 0.0, 1, "dns");
    node.describe(&[]);
    node.pass(100.0);
    assert!(node.taken.is_empty());
    crash(&mut node, 200.0, 2, "dns");
    assert_eq!(node.taken.len(), 1);
}

#[test]
fn payload_is_told() {
    let mut node = Node::new(Config::default());
    node.describe(&[("lastword.dev/payload.app", "none")]);
    assert_eq!(node.machine.stores_payload(&app()), Some(false));
    let other = Subject {
        container: "other".to_owned(),
        ..app()
    };
    assert_eq!(node.machine.stores_payload(&other), Some(true));
}

#[test]
fn warnings_are_given_once() {
    let mut node = Node::new(Config::default());
    for _ in 0..3 {
        node.describe(&[("lastword.dev/capture", "of")]);
    }
    assert_eq!(node.warnings.len(), 1);
    node.describe(&[
        ("lastword.dev/capture", "of"),
        ("lastword.dev/payload", "all"),
    ]);
    assert_eq!(node.warnings.len(), 2);
    crash(&mut node, 0.0, 1, "dns");
    assert_eq!(node.taken.len(), 1);
}

#[test]
fn selectors_wait_for_what_they_need() {
    let selectors = Selectors {
        namespace_labels: "team=a".parse().unwrap(),
        ..Selectors::default()
    };
    let mut node = Node::undescribed(Config {
        selectors,
        ..Config::default()
    });
    let mut description = Description {
        namespace: Some("web".to_owned()),
        labels: Some(Labels::new()),
        ..Description::default()
    };
    node.pod(0.0, PodObservation::Described(description.clone()));
    crash(&mut node, 0.0, 1, "dns");
    assert!(node.taken.is_empty());
    assert_eq!(node.machine.wanted(&app()), None);
    description.namespace_labels = Some(labels(&[("team", "a")]));
    node.pod(5.0, PodObservation::Described(description.clone()));
    assert_eq!(node.taken.len(), 1);
    // The pod is switched off although it is selected, or on although it is not.
    description.annotations = labels(&[("lastword.dev/capture", "off")]);
    node.pod(6.0, PodObservation::Described(description.clone()));
    assert_eq!(node.machine.wanted(&app()), Some(false));
    description.annotations = labels(&[("lastword.dev/capture", "on")]);
    description.namespace_labels = Some(Labels::new());
    node.pod(7.0, PodObservation::Described(description));
    assert_eq!(node.machine.wanted(&app()), Some(true));
}

#[test]
fn containers_without_a_pod_are_captured_unless_pods_are_selected() {
    let web = Subject {
        pod_uid: String::new(),
        container: "web".to_owned(),
    };
    for (selector, expected) in [("", 1), ("app=web", 0)] {
        let mut node = Node::undescribed(Config {
            selectors: Selectors {
                pod_labels: selector.parse().unwrap(),
                ..Selectors::default()
            },
            ..Config::default()
        });
        let ended = triggers::Ended {
            run: 1,
            start_failed: true,
            ..triggers::Ended::default()
        };
        node.see(1.0, &web, Observation::Ended(ended));
        node.pass(2.0);
        assert_eq!(node.taken.len(), expected);
        node.see(3.0, &web, Observation::Gone);
        assert_eq!(node.machine.next_due(), None);
    }
}

fn description() -> Description {
    Description {
        namespace: Some("web".to_owned()),
        labels: Some(Labels::new()),
        namespace_labels: Some(Labels::new()),
        ..Description::default()
    }
}

#[test]
fn what_may_be_recorded_is_known_when_the_namespace_is() {
    let off = || labels(&[("lastword.dev/capture", "off")]);
    let on = || labels(&[("lastword.dev/capture", "on")]);
    let recorded = |pod: Labels, namespace: Option<Labels>, selectors: Selectors| {
        let mut node = Node::undescribed(Config {
            selectors,
            ..Config::default()
        });
        assert_eq!(node.machine.recorded(&app()), None);
        let described = Description {
            annotations: pod,
            namespace_annotations: namespace,
            ..description()
        };
        node.pod(0.0, PodObservation::Described(described));
        node.machine.recorded(&app())
    };
    let all = Selectors::default;
    let none = || Selectors {
        pod_labels: "app=other".parse().unwrap(),
        ..Selectors::default()
    };
    assert_eq!(recorded(Labels::new(), None, all()), None);
    assert_eq!(
        recorded(Labels::new(), Some(Labels::new()), all()),
        Some(true)
    );
    assert_eq!(recorded(Labels::new(), Some(off()), all()), Some(false));
    assert_eq!(recorded(off(), None, all()), Some(false));
    assert_eq!(recorded(on(), Some(off()), all()), Some(true));
    assert_eq!(
        recorded(Labels::new(), Some(Labels::new()), none()),
        Some(false)
    );
    assert_eq!(recorded(on(), Some(Labels::new()), none()), Some(true));
    // A deletion is no reason to drop what was recorded.
    let mut node = Node::new(Config::default());
    node.pod(1.0, PodObservation::Terminating);
    assert_eq!(node.machine.recorded(&app()), Some(true));
    let web = Subject {
        pod_uid: String::new(),
        container: "web".to_owned(),
    };
    node.see(1.0, &web, Observation::Started { run: 1 });
    assert_eq!(node.machine.recorded(&web), Some(true));
}

#[test]
fn a_container_for_debugging_never_crashes_unless_it_is_asked_for() {
    let taken = |annotations: &[(&str, &str)]| {
        let mut node = Node::undescribed(Config::default());
        let described = Description {
            annotations: labels(annotations),
            namespace_annotations: Some(Labels::new()),
            ephemeral: ["app".to_owned()].into(),
            ..description()
        };
        node.pod(0.0, PodObservation::Described(described));
        crash(&mut node, 0.0, 1, "missing_file");
        assert_eq!(node.machine.recorded(&app()), Some(true));
        node.taken.len()
    };
    assert_eq!(taken(&[]), 0);
    assert_eq!(taken(&[("lastword.dev/capture", "on")]), 0);
    assert_eq!(taken(&[("lastword.dev/capture.app", "on")]), 1);
}
