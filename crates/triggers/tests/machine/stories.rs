//! What happens to one container, and what is captured of it.

use std::time::Duration;

use triggers::{
    Captured, Config, Ended, ExitStatus, Kind, Observation, PodObservation, Rules, Subject, Why,
};

use crate::node::{Node, app, at};

pub(crate) fn node() -> Node {
    Node::new(Config::default())
}

pub(crate) fn with(rules: Rules) -> Node {
    Node::new(Config {
        rules,
        ..Config::default()
    })
}

/// A crash loop with the kubelet's back-off: 10 s, doubled up to 5 min. Each run lasts 1 s and fails in the same way.
pub(crate) fn crash_loop(node: &mut Node, runs: u32, cause: &str) -> f64 {
    let mut now = 0.0;
    for run in 1..=runs {
        node.start(now, run);
        node.exit(now + 1.0, run, 1, cause);
        if run > 1 {
            node.app(now + 2.0, Observation::BackedOff);
        }
        let delay = f64::from(10 << (run.max(2) - 2).min(5)).min(300.0);
        now += 1.0 + if run == 1 { 1.0 } else { delay };
    }
    node.pass(now);
    now
}

#[test]
fn a_crash_loop_gives_one_capture_which_is_replaced_when_it_can_hold_all_runs() {
    let mut node = node();
    crash_loop(&mut node, 50, "dns_no_such_host");
    assert_eq!(node.kinds(), [Kind::FirstCrash, Kind::CrashLoopBackOff]);
    assert_eq!(node.taken[0].replaces, None);
    assert_eq!(node.taken[1].replaces.as_deref(), Some("0"));
    assert_eq!(node.taken[0].detail, "first crash: exited with code 1");
}

#[test]
fn a_loop_that_was_backed_off_is_complete_with_its_next_crash() {
    let mut node = node();
    for run in [1, 2, 3] {
        node.start(f64::from(run) * 10.0, run);
        node.exit(f64::from(run) * 10.0 + 1.0, run, 1, "dns");
        if run == 2 {
            node.app(23.0, Observation::BackedOff);
        }
    }
    node.pass(32.0);
    assert_eq!(node.kinds(), [Kind::FirstCrash, Kind::CrashLoopBackOff]);
}

#[test]
fn a_back_off_belongs_to_its_loop() {
    // The loop is over.
    let mut node = node();
    let now = crash_loop(&mut node, 2, "dns");
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
    node.start(now, 3);
    node.exit(now + 1000.0, 3, 1, "refused");
    node.pass(now + 1001.0);
    assert_eq!(node.kinds(), [Kind::FirstCrash, Kind::FirstCrash]);
    // Reported long after it happened.
    let mut node = self::node();
    node.start(500.0, 1);
    node.exit(1000.0, 1, 1, "dns");
    node.app(1000.1, Observation::NotReady);
    let decisions = node
        .machine
        .observe(at(600.0), &app(), Observation::BackedOff);
    assert!(decisions.is_empty());
    node.pass(1001.0);
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
}

#[test]
fn a_crash_is_captured_half_a_second_later() {
    let mut node = node();
    node.start(0.0, 1);
    node.exit(10.0, 1, 1, "unknown");
    node.pass(10.49);
    assert!(node.taken.is_empty());
    assert_eq!(node.machine.next_due(), Some(at(10.5)));
    node.pass(10.5);
    assert_eq!(node.kinds(), [Kind::FirstCrash]);
    assert_eq!(node.machine.next_due(), None);
}

#[test]
fn what_ends_with_its_pod_is_no_crash() {
    for terminating_at in [9.0, 10.3] {
        let mut node = node();
        node.start(0.0, 1);
        if terminating_at < 10.0 {
            node.pod(terminating_at, PodObservation::Terminating);
        }
        node.exit(10.0, 1, 143, "stopped_from_outside");
        node.pod(10.3, PodObservation::Terminating);
        node.app(10.4, Observation::Killed(Why::LivenessProbe));
        node.app(10.4, Observation::BackedOff);
        node.pass(100.0);
        assert!(node.taken.is_empty(), "{:?}", node.taken);
        assert_eq!(node.machine.next_due(), None);
    }
}

#[test]
fn a_good_end_is_nothing() {
    let mut node = node();
    node.start(0.0, 1);
    node.exit(10.0, 1, 0, "exited_zero");
    node.pass(100.0);
    assert!(node.taken.is_empty());
}

#[test]
fn a_loop_of_good_ends_is_a_loop() {
    let mut node = node();
    node.start(0.0, 1);
    for run in 1..=6 {
        node.exit(f64::from(run) * 20.0, run, 0, "exited_zero");
        node.start(f64::from(run) * 20.0 + 1.0, run + 1);
    }
    // Starts of the runs 2 to 6, at 21, 41, 61, 81, 101: more than 4 within 2 minutes.
    assert_eq!(node.kinds(), [Kind::Restarts]);
    assert_eq!(node.taken[0].detail, "5 restarts within 2m, more than 4");
    let mut node = self::node();
    node.start(0.0, 1);
    node.exit(1.0, 1, 0, "exited_zero");
    node.app(1.5, Observation::BackedOff);
    assert_eq!(node.kinds(), [Kind::CrashLoopBackOff]);
}

#[test]
fn the_back_off_may_be_known_before_the_end() {
    let mut node = node();
    node.start(0.0, 1);
    node.app(2.0, Observation::BackedOff);
    assert!(node.taken.is_empty());
    node.exit(1.5, 1, 0, "exited_zero");
    node.pass(3.0);
    assert_eq!(node.kinds(), [Kind::CrashLoopBackOff]);
}

#[test]
fn what_is_told_again_is_not_judged_again() {
    let mut node = node();
    for (run, lasts, code) in [(1, 1.0, 1), (2, 1.0, 1), (3, 700.0, 0)] {
        let start = f64::from(run) * 10.0;
        node.start(start, run);
        node.exit(start + lasts, run, code, "dns");
    }
    node.pass(800.0);
    // The loop is over, but the status still shows the run that gave no capture.
    let status = Ended {
        run: 2,
        status: Some(ExitStatus::Code(1)),
        ..Ended::default()
    };
    node.app(801.0, Observation::EndExplained(status));
    node.pass(900.0);
    assert_eq!(node.taken.len(), 1);
}

#[test]
fn another_cause_gives_another_capture_and_the_same_does_not() {
    let mut node = node();
    for (run, cause) in [
        (1, "dns"),
        (2, "refused"),
        (3, "dns"),
        (4, "refused"),
        (5, ""),
    ] {
        node.start(f64::from(run) * 30.0, run);
        node.exit(f64::from(run) * 30.0 + 1.0, run, 1, cause);
    }
    node.pass(1000.0);
    assert_eq!(node.kinds(), [Kind::FirstCrash, Kind::FirstCrash]);
    assert!(node.taken.iter().all(|taken| taken.replaces.is_none()));
}

#[test]
fn an_unknown_cause_replaces_nothing() {
    let mut node = node();
    for (run, cause) in [(1, "dns"), (2, "dns"), (3, ""), (4, "dns"), (5, "dns")] {
        node.start(f64::from(run) * 30.0, run);
        node.exit(f64::from(run) * 30.0 + 1.0, run, 1, cause);
        node.app(f64::from(run) * 30.0 + 2.0, Observation::BackedOff);
        node.pass(f64::from(run) * 30.0 + 3.0);
        let expected: &[_] = match run {
            1..=3 => &[Kind::FirstCrash],
            _ => &[Kind::FirstCrash, Kind::CrashLoopBackOff],
        };
        assert_eq!(node.kinds()[..], expected[..], "after run {run}");
    }
    assert_eq!(node.taken[1].replaces.as_deref(), Some("0"));
}

#[test]
fn a_cause_replaces_a_capture_that_has_none() {
    let mut node = node();
    for (run, cause) in [(1, ""), (2, ""), (3, "dns"), (4, ""), (5, "refused")] {
        node.start(f64::from(run) * 30.0, run);
        node.exit(f64::from(run) * 30.0 + 1.0, run, 1, cause);
    }
    node.pass(1000.0);
    let replaced = node.taken.iter().map(|taken| taken.replaces.as_deref());
    assert_eq!(replaced.collect::<Vec<_>>(), [None, Some("0"), None]);
}

#[test]
fn causes_without_end_are_bounded() {
    let mut node = node();
    for run in 1..=100 {
        node.start(f64::from(run) * 2.0, run);
        node.exit(f64::from(run) * 2.0 + 1.0, run, 1, &format!("cause {run}"));
    }
    node.pass(1000.0);
    assert_eq!(node.taken.len(), 8);
}

#[test]
fn a_loop_is_over_when_a_run_has_lasted() {
    let mut node = node();
    let mut now = 0.0;
    for (run, lasts) in [
        (1, 1.0),
        (2, 599.0),
        (3, 599.0),
        (4, 601.0),
        (5, 1.0),
        (6, 5000.0),
    ] {
        node.start(now, run);
        now += lasts;
        node.exit(now, run, 1, "leak");
        now += 10.0;
        node.pass(now);
    }
    // Captures of the runs 1, 4 and 6. The second one holds three runs, so nothing replaces it.
    assert_eq!(node.taken.len(), 3);
    assert!(node.taken.iter().all(|taken| taken.replaces.is_none()));
    assert_eq!(node.kinds(), [Kind::FirstCrash; 3]);
}

#[test]
fn a_recent_capture_outlives_its_loop() {
    let mut node = node();
    node.start(0.0, 1);
    let found = Captured {
        id: "by hand".to_owned(),
        at: at(1000.0),
        cause: Some("leak".to_owned()),
        runs: 1,
        last_run: 0,
    };
    node.app(1000.0, Observation::CaptureFound(found));
    node.exit(1100.0, 1, 1, "leak");
    node.pass(1200.0);
    assert!(node.taken.is_empty());
}

#[test]
fn what_the_status_says_later_counts() {
    let mut node = node();
    let ended = |oom_killed, status| Ended {
        run: 1,
        status,
        oom_killed,
        ..Ended::default()
    };
    node.start(0.0, 1);
    // How it ended is not known, so it is not a crash yet.
    node.app(5.0, Observation::Ended(ended(false, None)));
    node.pass(8.0);
    assert!(node.taken.is_empty());
    let explained = ended(true, Some(ExitStatus::Code(137)));
    node.app(9.0, Observation::EndExplained(explained.clone()));
    node.pass(10.0);
    assert_eq!(node.kinds(), [Kind::OomKilled]);
    // The status may come before the record.
    let mut node = self::node();
    node.start(0.0, 1);
    node.app(5.0, Observation::EndExplained(explained.clone()));
    node.app(5.1, Observation::Ended(ended(false, None)));
    node.pass(6.0);
    assert_eq!(node.kinds(), [Kind::OomKilled]);
    // This is a status of a run that nobody recorded: there is nothing to capture.
    let mut node = self::node();
    node.app(9.0, Observation::EndExplained(explained));
    node.app(9.0, Observation::BackedOff);
    node.pass(100.0);
    assert!(node.taken.is_empty());
}

#[test]
fn a_probes_kill_is_told_from_an_old_one() {
    let liveness = Rules {
        first_crash: false,
        crash_loop_back_off: false,
        ..Rules::default()
    };
    // The event comes after the end, with its own time.
    let mut node = with(liveness.clone());
    node.start(0.4, 1);
    node.exit(10.9, 1, 0, "exited_zero");
    node.app(8.0, Observation::Killed(Why::LivenessProbe));
    node.pass(12.0);
    assert_eq!(node.kinds(), [Kind::Liveness]);
    // Reported again, after the next run.
    node.start(20.0, 2);
    node.exit(30.0, 2, 0, "exited_zero");
    node.app(8.0, Observation::Killed(Why::LivenessProbe));
    node.pass(40.0);
    assert_eq!(node.taken.len(), 1);
    // The event comes first.
    let mut node = with(liveness);
    node.start(0.4, 1);
    node.app(8.0, Observation::Killed(Why::StartupProbe));
    node.pass(9.0);
    assert!(node.taken.is_empty());
    node.exit(10.0, 1, 137, "killed_from_outside");
    node.pass(11.0);
    assert_eq!(node.kinds(), [Kind::Liveness]);
    assert!(node.taken[0].detail.contains("startup probe"));
}

#[test]
fn what_is_restarted_with_a_change_is_no_crash() {
    let stopped = |run, code| {
        Observation::Ended(Ended {
            run,
            status: Some(ExitStatus::Code(code)),
            stopped: true,
            cause: Some("stopped_from_outside".to_owned()),
            ..Ended::default()
        })
    };
    let rules = Rules {
        exit_codes: vec![143],
        ..Rules::default()
    };
    // More often than restarts are allowed, and each time the event comes at another moment.
    let mut node = with(rules);
    for (run, event) in [(1, 9.0), (2, 22.9), (3, 36.4), (4, 50.1), (5, 63.0)] {
        let start = f64::from(run - 1) * 13.6;
        node.start(start, run);
        if event < start + 10.0 {
            node.app(event, Observation::Killed(Why::Changed));
        }
        node.app(start + 10.0, stopped(run, 143));
        if event >= start + 10.0 {
            node.app(event, Observation::Killed(Why::Changed));
        }
        node.app(start + 10.4, Observation::BackedOff);
    }
    node.start(70.0, 6);
    node.pass(80.0);
    assert!(node.taken.is_empty(), "{:?}", node.taken);
    // It crashed by itself before the kubelet came to it.
    node.app(81.0, Observation::Killed(Why::Changed));
    node.exit(81.0, 6, 139, "segmentation_fault");
    node.pass(90.0);
    assert_eq!(node.taken.len(), 1);
}

/// The API server reports the end of the work before the sidecar ends, right after it, and again and again.
#[test]
fn a_sidecar_that_is_stopped_when_its_pod_is_done_does_not_crash() {
    let ended = |code, stopped| {
        Observation::Ended(Ended {
            run: 1,
            status: Some(ExitStatus::Code(code)),
            stopped,
            cause: Some("stopped_from_outside".to_owned()).filter(|_| stopped),
            ..Ended::default()
        })
    };
    for told in [10.1, 12.3] {
        for (code, stopped, taken) in [(143, true, 0), (137, true, 0), (3, false, 1)] {
            let mut node = node();
            node.start(0.0, 1);
            // The work was done at 10 s.
            let done = || Observation::Killed(Why::PodDone);
            if told < 12.0 {
                node.app(10.0, done());
            }
            node.app(12.0, ended(code, stopped));
            for _ in 0..2 {
                node.app(10.0, done());
            }
            node.pass(100.0);
            assert_eq!(node.taken.len(), taken, "{told} {code}: {:?}", node.taken);
        }
    }
}

#[test]
fn given_codes_and_signals() {
    let rules = Rules {
        exit_codes: vec![3, 137],
        signals: vec!["SEGV".parse().unwrap()],
        ..Rules::parse("oom-killed", &Rules::default()).unwrap()
    };
    for (status, kind) in [
        (ExitStatus::Code(3), Some(Kind::ExitCode)),
        (ExitStatus::Code(4), None),
        (ExitStatus::Code(139), Some(Kind::Signal)),
        (ExitStatus::Signal(11), Some(Kind::Signal)),
        (ExitStatus::Signal(9), Some(Kind::ExitCode)),
        (ExitStatus::Signal(6), None),
    ] {
        let mut node = with(rules.clone());
        let ended = Ended {
            run: 1,
            status: Some(status),
            ..Ended::default()
        };
        node.app(1.0, Observation::Ended(ended));
        node.pass(2.0);
        assert_eq!(node.kinds(), Vec::from_iter(kind), "{status:?}");
    }
}

#[test]
fn readiness_is_captured_alive_if_wanted() {
    let mut node = node();
    node.start(0.0, 1);
    node.app(5.0, Observation::NotReady);
    node.pass(6.0);
    assert!(node.taken.is_empty());
    let mut node = with(Rules {
        readiness: true,
        ..Rules::default()
    });
    node.start(0.0, 1);
    for second in 5..400 {
        node.app(f64::from(second), Observation::NotReady);
    }
    assert_eq!(node.kinds(), [Kind::Readiness]);
    // It replaces nothing, even if the other capture shows no cause and has fewer runs.
    let mut crashed = with(Rules {
        crash_loop_back_off: false,
        readiness: true,
        ..Rules::default()
    });
    for run in [1, 2, 3] {
        crashed.exit(f64::from(run) * 10.0, run, 1, "");
    }
    crashed.app(50.0, Observation::NotReady);
    crashed.pass(60.0);
    assert_eq!(crashed.kinds(), [Kind::FirstCrash]);
    // Its end shows more.
    node.exit(500.0, 1, 1, "dns");
    node.pass(501.0);
    assert_eq!(node.kinds(), [Kind::Readiness, Kind::FirstCrash]);
}

#[test]
fn the_cool_down_is_configured() {
    let mut node = with(Rules {
        cool_down: Duration::ZERO,
        ..Rules::default()
    });
    for run in 1..=5 {
        node.start(f64::from(run) * 10.0, run);
        node.exit(f64::from(run) * 10.0 + 1.0, run, 1, "dns");
    }
    node.pass(100.0);
    assert_eq!(node.taken.len(), 5);
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut node = node();
    node.start(0.0, 1);
    node.exit(1.0, 1, 1, "dns");
    node.pod(1.1, PodObservation::Gone);
    // Last words may come late.
    node.app(1.2, Observation::BackedOff);
    node.exit(1.3, 2, 1, "dns");
    node.pass(100.0);
    assert!(node.taken.is_empty());
    assert_eq!(node.machine.next_due(), None);
    assert_eq!(node.machine.wanted(&app()), None);
}

/// A pod of three containers: `app` fails with the code at which all are restarted, `cache` is stopped each time, and
/// `setup` runs again to its end.
#[test]
fn siblings_that_are_restarted_with_a_failing_one_do_not_crash() {
    let of = |container: &str| Subject {
        pod_uid: "pod".to_owned(),
        container: container.to_owned(),
    };
    // The kubelet may report it at once, only when it is over, or late.
    for told in ["both", "end"] {
        let mut node = Node::new(Config::default());
        for run in 1..=7 {
            let start = f64::from(run) * 10.0;
            for name in ["setup", "app", "cache"] {
                node.see(start, &of(name), Observation::Started { run });
            }
            let ended = |code, stopped| Ended {
                run,
                status: Some(ExitStatus::Code(code)),
                stopped,
                cause: Some("signal_from_outside".to_owned()).filter(|_| stopped),
                ..Ended::default()
            };
            node.see(
                start + 0.1,
                &of("setup"),
                Observation::Ended(ended(0, false)),
            );
            node.see(
                start + 2.0,
                &of("app"),
                Observation::Ended(ended(42, false)),
            );
            if told == "both" {
                node.pod(start + 2.1, PodObservation::RestartsAll(at(start + 2.0)));
            }
            node.see(
                start + 3.0,
                &of("cache"),
                Observation::Ended(ended(137, true)),
            );
            node.pod(start + 3.1, PodObservation::RestartedAll(at(start + 3.0)));
            node.pass(start + 5.0);
        }
        let of_app = node.taken.iter().filter(|taken| taken.subject == of("app"));
        assert!(of_app.count() >= 1, "{told}");
        let others: Vec<_> = node
            .taken
            .iter()
            .filter(|taken| taken.subject != of("app"))
            .collect();
        assert!(others.is_empty(), "{told}: {others:?}");
        // If something kills one of them alone, long after, that does count.
        node.see(200.0, &of("cache"), Observation::Started { run: 8 });
        let killed = Ended {
            run: 8,
            status: Some(ExitStatus::Code(137)),
            stopped: true,
            ..Ended::default()
        };
        node.see(260.0, &of("cache"), Observation::Ended(killed));
        node.pass(262.0);
        assert!(
            node.taken.iter().any(|taken| taken.subject == of("cache")),
            "{told}"
        );
    }
}
