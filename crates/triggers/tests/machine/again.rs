//! What comes twice, late, under another name, or after a failure.

use triggers::{Captured, Ended, ExitStatus, Kind, Observation, Rules, Subject, Why};

use crate::{
    node::{Node, app, at},
    stories::{crash_loop, node, with},
};

#[test]
fn a_capture_that_failed_is_tried_again() {
    let mut node = node();
    node.answers = false;
    node.start(0.0, 1);
    node.exit(1.0, 1, 1, "dns");
    node.pass(2.0);
    // Nothing else is decided until the result is reported.
    node.start(2.0, 2);
    node.exit(3.0, 2, 1, "refused");
    node.pass(10.0);
    assert_eq!(node.taken.len(), 1);
    for (attempts, retry_at) in [(1, 20.0), (2, 40.0), (3, 80.0)] {
        let attempt = node.taken[attempts - 1].attempt;
        assert!(node.machine.failed(at(retry_at / 2.0), attempt).is_empty());
        node.pass(retry_at - 0.1);
        assert_eq!(node.taken.len(), attempts);
        node.pass(retry_at);
        assert_eq!(node.taken.len(), attempts + 1);
    }
    // A result that belongs to no attempt is ignored.
    let stale = node.taken[0].attempt;
    let captured = node.capture(0, at(81.0));
    node.machine.captured(at(81.0), stale, captured.clone());
    assert_eq!(node.machine.next_due(), None);
    node.machine
        .captured(at(82.0), node.taken[3].attempt, captured);
    node.pass(1000.0);
    assert_eq!(node.taken.len(), 4);
}

#[test]
fn what_happens_during_a_capture_is_judged_after_it() {
    let mut node = node();
    node.answers = false;
    node.start(0.0, 1);
    node.exit(1.0, 1, 1, "dns");
    node.pass(2.0);
    let first = node.capture(0, at(4.0));
    node.start(2.0, 2);
    node.exit(3.0, 2, 1, "refused");
    node.pass(4.0);
    let decisions = node.machine.captured(at(4.0), node.taken[0].attempt, first);
    assert_eq!(decisions.len(), 1);
}

#[test]
fn a_restart_of_the_agent_captures_nothing_twice() {
    // A loop that has already been captured goes on.
    let mut node = node();
    let found = Captured {
        id: "old".to_owned(),
        at: at(-60.0),
        cause: Some("dns".to_owned()),
        runs: 3,
        last_run: 5,
    };
    node.app(0.0, Observation::CaptureFound(found.clone()));
    node.app(
        0.0,
        Observation::RestartCount {
            count: 5,
            since: Some(at(-200.0)),
            last: Some(at(-5.0)),
        },
    );
    // A kept run from before is reported again.
    node.exit(0.0, 5, 1, "dns");
    node.app(0.0, Observation::BackedOff);
    node.exit(1.0, 6, 1, "dns");
    node.start(2.0, 7);
    node.exit(3.0, 7, 1, "dns");
    node.exit(4.0, 8, 1, "dns");
    node.pass(100.0);
    assert!(node.taken.is_empty(), "{:?}", node.taken);
    // Another cause is something new.
    node.exit(101.0, 9, 1, "refused");
    node.pass(102.0);
    assert_eq!(node.taken.len(), 1);
    assert_eq!(node.taken[0].replaces, None);
    // A capture that was found with a single run is replaced.
    let mut node = self::node();
    node.app(
        0.0,
        Observation::CaptureFound(Captured { runs: 1, ..found }),
    );
    for run in 6..10 {
        node.exit(f64::from(run), run, 1, "dns");
    }
    node.app(10.0, Observation::BackedOff);
    node.pass(100.0);
    assert_eq!(node.taken.len(), 1);
    assert_eq!(node.taken[0].replaces.as_deref(), Some("old"));
}

#[test]
fn restarts_that_were_read_back_count() {
    let restarts = Rules::parse("restarts>4/2m", &Rules::default()).unwrap();
    let mut node = with(restarts);
    node.app(
        0.0,
        Observation::RestartCount {
            count: 4,
            since: Some(at(-30.0)),
            last: Some(at(-2.0)),
        },
    );
    node.exit(1.0, 5, 1, "dns");
    node.pass(2.0);
    assert!(node.taken.is_empty());
    node.start(3.0, 6);
    assert_eq!(node.kinds(), [Kind::Restarts]);
}

#[test]
fn restarts_that_nobody_recorded_count_at_the_next_crash() {
    let mut node = with(Rules::parse("restarts>4/2m", &Rules::default()).unwrap());
    let count = Observation::RestartCount {
        count: 5,
        since: Some(at(-30.0)),
        last: Some(at(-2.0)),
    };
    node.app(0.0, count);
    assert!(node.taken.is_empty());
    node.exit(1.0, 6, 1, "dns");
    node.pass(2.0);
    assert_eq!(node.kinds(), [Kind::Restarts]);
}

#[test]
fn a_deleted_capture_is_taken_anew() {
    let mut node = node();
    let now = crash_loop(&mut node, 5, "dns");
    assert_eq!(node.taken.len(), 2);
    node.app(now, Observation::CaptureDeleted { id: "1".to_owned() });
    node.start(now, 6);
    node.exit(now + 1.0, 6, 1, "dns");
    node.pass(now + 2.0);
    assert_eq!(node.taken.len(), 3);
    assert_eq!(node.taken[2].replaces, None);
}

#[test]
fn names_may_come_late() {
    let unnamed = |id: &str| Subject {
        pod_uid: String::new(),
        container: id.to_owned(),
    };
    let mut node = node();
    node.start(0.0, 1);
    node.exit(1.0, 1, 1, "dns");
    node.pass(2.0);
    // For the runtime, each restart is a separate container.
    for (run, id) in [(2, "a"), (3, "b"), (4, "c")] {
        let start = f64::from(run) * 10.0;
        node.see(start, &unnamed(id), Observation::Started { run: 1 });
        let ended = Ended {
            run: 1,
            status: Some(ExitStatus::Code(1)),
            cause: Some("dns".to_owned()),
            ..Ended::default()
        };
        node.see(start + 1.0, &unnamed(id), Observation::Ended(ended));
        node.see(
            start + 1.1,
            &unnamed(id),
            Observation::Named { to: app(), run },
        );
        node.pass(start + 5.0);
    }
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
    node.app(46.0, Observation::BackedOff);
    assert_eq!(node.kinds(), [Kind::FirstCrash, Kind::CrashLoopBackOff]);
    node.start(50.0, 5);
    node.exit(51.0, 5, 1, "dns");
    node.start(52.0, 6);
    node.pass(60.0);
    assert_eq!(node.taken.len(), 2);
}

#[test]
fn a_capture_that_is_named_while_it_is_taken_is_known() {
    let id = Subject {
        pod_uid: String::new(),
        container: "0123".to_owned(),
    };
    let mut node = node();
    node.answers = false;
    let ended = Ended {
        run: 1,
        status: Some(ExitStatus::Code(1)),
        cause: Some("dns".to_owned()),
        ..Ended::default()
    };
    node.see(1.0, &id, Observation::Ended(ended));
    node.pass(2.0);
    assert_eq!(node.taken[0].subject, id);
    node.see(3.0, &id, Observation::Named { to: app(), run: 4 });
    let captured = Captured {
        last_run: 0,
        ..node.capture(0, at(4.0))
    };
    node.machine
        .captured(at(4.0), node.taken[0].attempt, captured.clone());
    node.answers = true;
    // Its run is in a capture, whatever becomes of that capture.
    let id = captured.id.clone();
    node.app(4.1, Observation::CaptureDeleted { id });
    node.app(4.2, Observation::BackedOff);
    node.pass(5.0);
    assert_eq!(node.taken.len(), 1);
    node.app(5.0, Observation::CaptureFound(captured));
    node.exit(10.0, 5, 1, "dns");
    node.pass(20.0);
    assert_eq!(node.taken.len(), 1);
}

#[test]
fn runs_may_be_numbered_anew() {
    let mut node = node();
    for run in [5, 6, 7] {
        node.start(f64::from(run) * 10.0, run);
        node.exit(f64::from(run) * 10.0 + 1.0, run, 1, "dns");
    }
    node.start(100.0, 1);
    node.exit(101.0, 1, 1, "refused");
    node.pass(102.0);
    assert_eq!(node.taken.len(), 2);
}

#[test]
fn a_run_whose_capture_was_deleted_is_not_captured_again() {
    let mut node = node();
    node.start(0.0, 1);
    node.exit(5.0, 1, 1, "dns");
    node.pass(6.0);
    node.app(7.0, Observation::CaptureDeleted { id: "0".to_owned() });
    node.app(8.0, Observation::BackedOff);
    node.app(4.5, Observation::Killed(Why::LivenessProbe));
    node.pass(20.0);
    assert_eq!(node.taken.len(), 1);
}

#[test]
fn a_run_that_is_named_late_is_judged() {
    let old = Subject {
        pod_uid: String::new(),
        container: "0123".to_owned(),
    };
    let mut node = node();
    node.exit(10.0, 3, 0, "exited_zero");
    node.pass(11.0);
    let ended = Ended {
        run: 1,
        status: Some(ExitStatus::Code(1)),
        ..Ended::default()
    };
    node.see(11.1, &old, Observation::Ended(ended));
    node.see(11.2, &old, Observation::Named { to: app(), run: 2 });
    node.pass(12.0);
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
}

#[test]
fn a_success_ends_the_patience() {
    let mut node = node();
    node.answers = false;
    for (run, cause) in [(1, "dns"), (2, "refused")] {
        let end = f64::from(run) * 1000.0;
        node.exit(end, run, 1, cause);
        node.pass(end + 1.0);
        let attempt = node.taken[node.taken.len() - 1].attempt;
        node.machine.failed(at(end + 1.0), attempt);
        assert_eq!(node.machine.next_due(), Some(at(end + 11.0)));
        node.pass(end + 11.0);
        let attempt = node.taken[node.taken.len() - 1].attempt;
        let captured = node.capture(node.taken.len() - 1, at(end + 12.0));
        node.machine.captured(at(end + 12.0), attempt, captured);
    }
}

#[test]
fn what_a_capture_showed_is_known_of_what_replaced_it() {
    let mut node = node();
    node.answers = false;
    // The verdict on the file differs from the one on the run. Each attempt gets this answer.
    let answer = |node: &mut Node, seconds: f64, cause: &str, runs| {
        let last = node.taken.len() - 1;
        let captured = Captured {
            cause: Some(cause.to_owned()),
            runs,
            ..node.capture(last, at(seconds))
        };
        node.machine
            .captured(at(seconds), node.taken[last].attempt, captured);
    };
    node.exit(10.0, 1, 1, "dns");
    node.pass(11.0);
    answer(&mut node, 11.0, "refused", 1);
    node.exit(20.0, 2, 1, "refused");
    node.app(21.0, Observation::BackedOff);
    node.exit(30.0, 3, 1, "refused");
    node.pass(31.0);
    assert_eq!(node.taken.len(), 2);
    assert_eq!(node.taken[1].replaces.as_deref(), Some("0"));
    answer(&mut node, 31.0, "refused", 3);
    node.exit(40.0, 4, 1, "dns");
    node.pass(50.0);
    assert_eq!(node.taken.len(), 2);
}
