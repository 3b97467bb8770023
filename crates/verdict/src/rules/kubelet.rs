//! The kubelet ended the container, and it is known why: a failed probe or hook, an eviction, the deletion of the pod.
//!
//! Signals from outside the container ended the run (`outside_signal.rs`). Three sources may say why, the best first:
//!
//! - The event `Killing` of the pod. The kubelet writes it before it asks the runtime to end the container, with the
//!   reason in words: `Container app failed liveness probe, will be restarted`. Each time a probe fails it writes
//!   `Unhealthy`, with what the probe said. Repeated events become one, with a count and with the first and the last
//!   time, in whole seconds.
//! - The recorded executions of a probe's command (`kubelet/executions.rs`).
//! - A probe in the pod's specification that nobody could see fail (`kubelet/unseen.rs`).
//!
//! A failed readiness probe ends nothing. The rule is wrong if somebody else ended the container at the same time, or
//! if the event belongs to an end of another run: of an event that happened often, only two times are known.

use capture_format::PodEvent;

use super::outside_signal::{self, Ending};
use super::waiting::{self, Worth};
use super::{Case, Cause, Evidence, Finding};
use events::escape::escaped_to;

mod executions;
mod unseen;
mod why;

use executions::Seen;
use why::{Why, about};

/// The longest time between `Killing` and the first signal: a minute, in nanoseconds. In between, the preStop hook
/// runs. A later signal is taken for another one.
const AFTER: u64 = 60_000_000_000;
/// An event may seem to be this much later than the signal: events have whole seconds only, and clocks are set. 2 s, in
/// nanoseconds.
const BEFORE: u64 = 2_000_000_000;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let kubernetes = case.header.kubernetes.as_ref()?;
    let ending = Ending::of(case)?;
    let killing = about(case, kubernetes).filter(|event| event.reason == "Killing");
    let killing = killing
        .filter(|event| led_to(case, event, &ending))
        .max_by_key(|event| event.last);
    let (why, seen) = match killing {
        Some(killing) => (Why::of(case, kubernetes, killing)?, Seen::All),
        None => match executions::why(case, kubernetes, &ending) {
            Some(found) => found,
            None => return unseen::verdict(case, kubernetes, &ending),
        },
    };
    let times = killing
        .filter(|killing| !is_of_this_run(case, killing, &ending))
        .map(|killing| killing.count);
    let (score, known_by) = match (killing, seen) {
        (Some(killing), _) => (
            if times.is_none() { 99 } else { 98 },
            format!(
                "kubelet's event says why: {}",
                escaped_to(killing.message.trim_end().as_bytes(), 200)
            ),
        ),
        (None, Seen::All) => (96, "it came when the probe had failed as often as kubelet allows; kubelet's own event is not in the capture".into()),
        (None, Seen::Last) => (90, "it came when the probe had failed every time since the agent came, and may have before as often as kubelet allows; kubelet's own event is not in the capture".into()),
    };
    let known_by = format!("the kernel recorded the signal and its sender, and {known_by}");
    let mut verdict = verdict(case, &ending, why, "because", score, known_by);
    verdict.weakened_by = match (times, seen) {
        (Some(count), _) => vec![format!(
            "the event happened {count} times, and only the first and the last have a time"
        )],
        (None, Seen::All) => Vec::new(),
        (None, Seen::Last) => case.missing_beginning(),
    };
    Some(verdict)
}

/// `app was ended by kubelet 9 s after start (SIGTERM), BECAUSE its liveness probe failed`.
fn verdict(
    case: &Case<'_>,
    ending: &Ending<'_>,
    why: Why,
    because: &str,
    score: u8,
    known_by: String,
) -> Finding {
    let after_start = case.after_start(ending.first.time);
    let after_start = after_start.map_or_else(String::new, |after| format!(" {after}"));
    let mut evidence: Vec<Evidence> = ending
        .signals
        .iter()
        .map(|sent| outside_signal::evidence(sent))
        .collect();
    evidence.extend(why.evidence);
    let mut finding = Finding {
        rests_on: None,
        sentence: format!(
            "{} was ended by kubelet{after_start} ({}{}), {because} {}",
            case.name(),
            ending.first.signal,
            ending.then(case),
            why.because,
        ),
        cause: why.cause,
        subject: why.subject,
        score,
        why: known_by,
        evidence,
        next_step: why.next_step,
        weakened_by: Vec::new(),
    };
    let worth = match finding.cause {
        Cause::LivenessProbeFailed | Cause::StartupProbeFailed => Worth::All,
        _ => Worth::Busy,
    };
    waiting::add(&mut finding, case, ending.first, "it", worth);
    finding
}

/// Whether the run's first signal may have followed from this event.
fn led_to(case: &Case<'_>, event: &PodEvent, ending: &Ending<'_>) -> bool {
    let (Some(first), Some(last)) = (event.first.or(event.last), event.last.or(event.first)) else {
        return false;
    };
    let asked = case.header.host.wall_time(ending.first.time);
    asked.is_some_and(|asked| {
        (first.0.saturating_sub(BEFORE)..=last.0.saturating_add(AFTER)).contains(&asked.0)
    })
}

/// Whether one of the two times that an event has is a time of this run.
fn is_of_this_run(case: &Case<'_>, event: &PodEvent, ending: &Ending<'_>) -> bool {
    let once = [event.first, event.last].map(|time| PodEvent {
        first: time,
        last: time,
        ..PodEvent::default()
    });
    event.count <= 1 || once.iter().any(|event| led_to(case, event, ending))
}

#[cfg(test)]
mod tests {
    use capture_format::{
        BootTime, Cpu, EventFlags, EventKind, Header, Kubernetes, SignalOrigin, WallTime,
    };
    use serde_json::json;

    use super::*;
    use crate::rules::Cause;
    use crate::testing::{INIT, Script, header, verdict_with};

    const LIVENESS: &str = "Container main failed liveness probe, will be restarted";

    /// An event about the container `main`, `seconds` after the start of the run.
    fn event(reason: &str, message: &str, seconds: u64) -> PodEvent {
        let start = header().host.wall_time(crate::testing::START).unwrap();
        let time = Some(WallTime(start.0 + seconds * 1_000_000_000));
        PodEvent {
            reason: reason.into(),
            message: message.into(),
            count: 1,
            first: time,
            last: time,
            source: "kubelet".into(),
            field_path: "spec.containers{main}".into(),
            ..PodEvent::default()
        }
    }

    fn with(events: Vec<PodEvent>) -> Header {
        let mut header = header();
        header.container.name = "main".into();
        header.kubernetes = Some(Kubernetes {
            pod: json!({"spec": {"containers": [{"name": "main", "livenessProbe": {
                "exec": {"command": ["cat", "/run/app/healthy"]},
            }}]}}),
            events,
        });
        header
    }

    /// A program without a fault, probed by `cat /run/app/healthy` in the way runc executes it: through two processes
    /// of its own.
    fn probed() -> Script {
        let mut s = Script::empty();
        s.run.init_pid = INIT;
        runtime(&mut s, 90, INIT);
        s.exec(
            INIT,
            &["sh", "-c", "echo serving; while :; do sleep 1; done"],
        );
        s.write(INIT, 1, "serving\n");
        for (parent, probe) in [(200, 202), (300, 302)] {
            s.wait(3_000);
            runtime(&mut s, parent, probe);
            s.exec(probe, &["cat", "/run/app/healthy"]);
            s.open(probe, "/run/app/healthy", -2);
            s.write(
                probe,
                2,
                "cat: can't open '/run/app/healthy': No such file or directory\n",
            );
            s.exit(probe, 1);
        }
        s
    }

    /// runc makes a process in the container's cgroup.
    fn runtime(s: &mut Script, parent: u32, child: u32) {
        let fork = |s: &mut Script, parent, child: u32, name: &str| {
            s.call(parent, EventKind::FORK, i64::from(child), [0; 3], name, "");
        };
        fork(s, parent, parent + 1, "runc:[0:PARENT]");
        fork(s, parent + 1, child, "runc:[1:CHILD]");
        s.open(child, "/proc/thread-self/attr/apparmor/exec", -2);
    }

    fn killed(s: &mut Script) -> &mut Script {
        s.wait(20)
            .signal(INIT, 15, 0, (812, "runc"), SignalOrigin::Outside)
            .wait(2_000)
            .signal(INIT, 9, 0, (813, "runc"), SignalOrigin::Outside)
            .exit_status(INIT, 9)
    }

    fn unhealthy(seconds: u64) -> PodEvent {
        let said = "Liveness probe failed: cat: can't open '/run/app/healthy': No such file or directory\n";
        event("Unhealthy", said, seconds)
    }

    #[test]
    fn a_failed_liveness_probe_is_told_in_its_own_words() {
        let mut s = probed();
        let header = with(vec![unhealthy(6), event("Killing", LIVENESS, 6)]);
        let verdict = verdict_with(&header, killed(&mut s));
        insta::assert_snapshot!(serde_json::to_string_pretty(&verdict).unwrap());
    }

    #[test]
    fn a_probe_that_fails_is_not_why_the_application_ends() {
        let mut s = probed();
        s.exit(INIT, 1);
        let verdict = verdict_with(&with(vec![unhealthy(6)]), &s);
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
        assert!(verdict.sentence.contains("serving"), "{}", verdict.sentence);
        // The probe's output does not count as the application's words, even if the application says nothing.
        s.events
            .retain(|event| (event.pid, event.kind) != (INIT, EventKind::WRITE));
        let silent = verdict_with(&with(vec![unhealthy(6)]), &s);
        assert_eq!((silent.cause, silent.evidence.len()), (Cause::Unknown, 1));
    }

    fn cause(events: Vec<PodEvent>) -> Cause {
        let mut s = probed();
        verdict_with(&with(events), killed(&mut s)).cause
    }

    #[test]
    fn what_says_nothing_about_this_end_is_not_taken_for_its_reason() {
        let readiness = event("Unhealthy", "Readiness probe failed: no", 6);
        let other = PodEvent {
            field_path: "spec.containers{sidecar}".into(),
            ..event("Killing", LIVENESS, 6)
        };
        for events in [
            vec![],
            vec![readiness],
            vec![unhealthy(6)],
            vec![other],
            vec![event("Killing", LIVENESS, 20)],
            vec![event("Killing", "Stopping container main", 6)],
        ] {
            assert_eq!(cause(events), Cause::StoppedFromOutside);
        }
        let mut early = event("Killing", LIVENESS, 0);
        (early.first, early.last) = (
            early.first.map(|it| WallTime(it.0 - 300_000_000_000)),
            early.last.map(|it| WallTime(it.0 - 200_000_000_000)),
        );
        assert_eq!(cause(vec![early.clone()]), Cause::StoppedFromOutside);
        // It happened again: between the first and the last time, it may also have happened in this run.
        (early.last, early.count) = (event("", "", 90).last, 3);
        let mut s = probed();
        let between = verdict_with(&with(vec![early]), killed(&mut s));
        assert_eq!(between.cause, Cause::LivenessProbeFailed);
        assert_eq!(
            between.weakened_by,
            ["the event happened 3 times, and only the first and the last have a time"]
        );
    }

    /// The pod's specification with this probe, and without any event.
    fn without_events(key: &str, probe: serde_json::Value) -> Header {
        let mut header = with(vec![]);
        let pod = &mut header.kubernetes.as_mut().unwrap().pod;
        pod["spec"]["containers"] = json!([{"name": "main", key: probe}]);
        header
    }

    #[test]
    fn a_probe_that_failed_as_often_as_it_may_needs_no_event() {
        let cat = |threshold| json!({"exec": {"command": ["cat", "/run/app/healthy"]}, "failureThreshold": threshold});
        let mut s = probed();
        killed(&mut s);
        let header = without_events("livenessProbe", cat(2));
        let verdict = verdict_with(&header, &s);
        assert_eq!(verdict.cause, Cause::LivenessProbeFailed);
        assert!(
            verdict.sentence.ends_with("because its liveness probe failed: cat: can't open '/run/app/healthy': No such file or directory"),
            "{}",
            verdict.sentence
        );
        assert_eq!((verdict.score, verdict.evidence.len()), (96, 6));
        let startup = verdict_with(&without_events("startupProbe", cat(2)), &s);
        assert_eq!(startup.cause, Cause::StartupProbeFailed);

        // The probe may fail once more; the pod was deleted; the probe has another command.
        let other = json!({"exec": {"command": ["cat", "/run/app/ready"]}, "failureThreshold": 2});
        let mut deleted = header.clone();
        let pod = &mut deleted.kubernetes.as_mut().unwrap().pod;
        pod["metadata"] = json!({"deletionTimestamp": "2026-11-20T23:24:00Z"});
        for header in [
            without_events("livenessProbe", cat(3)),
            without_events("livenessProbe", other),
            without_events("readinessProbe", cat(2)),
            deleted,
        ] {
            assert_eq!(verdict_with(&header, &s).cause, Cause::StoppedFromOutside);
        }
        // The probe succeeded in between; the signal came a minute later; a person sent the signal.
        let mut well = probed();
        runtime(&mut well, 400, 402);
        well.exec(402, &["cat", "/run/app/healthy"]).exit(402, 0);
        let mut late = probed();
        late.wait(60_000);
        let mut by_hand = probed();
        by_hand.signal(INIT, 15, 0, (812, "bash"), SignalOrigin::Outside);
        for mut s in [well, late, by_hand] {
            let cause = verdict_with(&header, killed(&mut s)).cause;
            assert_eq!(cause, Cause::StoppedFromOutside);
        }
    }

    #[test]
    fn the_runtimes_signal_is_probably_a_probes_that_nobody_sees() {
        let http = || json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2, "failureThreshold": 2});
        let run = |wait: u64, name: &str| {
            let mut s = Script::new(&["app"]);
            s.wait(wait)
                .signal(INIT, 9, 0, (813, name), SignalOrigin::Outside);
            s.exit_status(INIT, 9);
            s
        };
        let probed = without_events("livenessProbe", http());
        let verdict = verdict_with(&probed, &run(6_000, "runc"));
        assert_eq!(
            (verdict.cause, verdict.score),
            (Cause::LivenessProbeFailed, 70)
        );
        assert_eq!(
            verdict.sentence,
            "app was ended by kubelet 6.0 s after start (SIGKILL), probably because its liveness probe failed"
        );
        // There is an event about the run before.
        let mut before = probed.clone();
        before.kubernetes.as_mut().unwrap().events = vec![PodEvent {
            last: None,
            first: None,
            ..event("Killing", LIVENESS, 0)
        }];
        let verdict = verdict_with(&before, &run(6_000, "runc"));
        assert_eq!(
            (verdict.cause, verdict.score),
            (Cause::LivenessProbeFailed, 90)
        );
        let startup = without_events(
            "startupProbe",
            json!({"tcpSocket": {"port": 1}, "periodSeconds": 1}),
        );
        assert_eq!(
            verdict_with(&startup, &run(6_000, "runc")).cause,
            Cause::StartupProbeFailed
        );
        // There was no time to fail that often; a person sent the signal; the probe ends nothing; the pod is being
        // deleted.
        let killed = Cause::KilledFromOutside;
        assert_eq!(verdict_with(&probed, &run(500, "runc")).cause, killed);
        assert_eq!(verdict_with(&probed, &run(6_000, "bash")).cause, killed);
        let readiness = without_events("readinessProbe", http());
        assert_eq!(verdict_with(&readiness, &run(6_000, "runc")).cause, killed);
        for (key, value) in [
            (
                "metadata",
                json!({"deletionTimestamp": "2026-11-20T23:24:00Z"}),
            ),
            ("status", json!({"phase": "Failed", "reason": "Evicted"})),
            (
                "status",
                json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}),
            ),
        ] {
            let mut going = probed.clone();
            going.kubernetes.as_mut().unwrap().pod[key] = value;
            assert_eq!(verdict_with(&going, &run(6_000, "runc")).cause, killed);
        }
    }

    /// On a node with only cgroup v2, runc forks the process first and then moves it into the cgroup.
    #[test]
    fn a_probe_may_come_in_without_a_fork() {
        let mut s = Script::new(&["sh", "-c", "echo serving; while :; do sleep 1; done"]);
        s.write(INIT, 1, "serving\n");
        for probe in [202, 302] {
            s.wait(3_000)
                .call(probe, EventKind::CHDIR, 0, [0; 3], "/", "")
                .exec(probe, &["cat", "/run/app/healthy"])
                .open(probe, "/run/app/healthy", -2)
                .write(probe, 2, "cat: can't open '/run/app/healthy'\n")
                .exit(probe, 1);
        }
        let cat = json!({"exec": {"command": ["cat", "/run/app/healthy"]}, "failureThreshold": 2});
        let header = without_events("livenessProbe", cat);
        let mut own = s.clone();
        let verdict = verdict_with(&header, killed(&mut s));
        assert_eq!(verdict.cause, Cause::LivenessProbeFailed);
        // What the probe says is not said by the application.
        let ended = verdict_with(&header, own.exit(INIT, 1));
        assert_eq!(ended.cause, Cause::ExitedNonZero);
        // If the beginning is not known, a fork may have been overwritten: then the process may be the application's.
        let mut overwritten = s.clone();
        overwritten.events.drain(..2);
        let (mut lost, mut torn) = (s.clone(), s.clone());
        lost.run.losses.lost = 1;
        torn.run.losses.torn = 1;
        for s in [&overwritten, &lost, &torn] {
            assert_ne!(verdict_with(&header, s).cause, Cause::LivenessProbeFailed);
        }
        // The first process of a pid namespace inside the container does not begin the container anew.
        let mut nested = Script::empty();
        nested.call(150, EventKind::EXEC, 150, [1, 7, 0], "/bin/sh", "sh\0");
        overwritten.events.splice(0..0, nested.events);
        let nested = overwritten;
        let verdict = verdict_with(&header, &nested);
        assert_ne!(verdict.cause, Cause::LivenessProbeFailed);
    }

    /// When the agent came, the first of two probes was already in the container.
    #[test]
    fn a_probe_of_an_adopted_container_needs_no_fork_either() {
        let cat = json!({"exec": {"command": ["cat", "/run/app/healthy"]}, "failureThreshold": 2});
        let header = without_events("livenessProbe", cat);
        let run = |shares_its_namespace: bool| {
            let mut s = Script::new(&["sh", "-c", "echo serving; while :; do sleep 1; done"]);
            s.exec(202, &["cat", "/run/app/healthy"]);
            if shares_its_namespace {
                s.events[0].args[0] = 7;
            }
            let came = s.events.last().unwrap().time;
            for event in &mut s.events {
                (event.time, event.flags) = (came, EventFlags::ADOPTED);
            }
            s.exit(202, 1);
            s.wait(3_000)
                .exec(302, &["cat", "/run/app/healthy"])
                .exit(302, 1);
            killed(&mut s);
            s
        };
        let cause = |s: &Script| verdict_with(&header, s).cause;
        assert_eq!(cause(&run(false)), Cause::LivenessProbeFailed);
        // The process may be an orphan of the application, or its fork may have been overwritten, or it may have
        // happened before the processes were read.
        let mut overwritten = run(false);
        overwritten.run.losses.overwritten = 1;
        let mut lost = run(false);
        lost.run.losses.lost = 1;
        let mut unread = run(false);
        let came = unread.events[0].time;
        for event in unread.events.iter_mut().filter(|event| event.pid == 302) {
            event.time = BootTime(came.0 - 1);
        }
        for s in [run(true), overwritten, lost, unread] {
            assert_eq!(cause(&s), Cause::StoppedFromOutside);
        }
    }

    /// When the agent came, the probe had already failed once.
    #[test]
    fn the_first_failures_may_have_been_before_the_agent_came() {
        let probe = |of_threshold: u64| {
            json!({"exec": {"command": ["cat", "/run/app/healthy"]}, "failureThreshold": of_threshold,
                "initialDelaySeconds": 3, "periodSeconds": 3})
        };
        let run = |came: u64, was_well: bool| {
            let mut s = Script::new(&["sh", "-c", "echo serving; while :; do sleep 1; done"]);
            s.wait(came);
            let came = s.call(INIT, EventKind::CHDIR, 0, [0; 3], "/", "");
            let came = came.events.last().unwrap().time;
            for event in &mut s.events {
                (event.time, event.flags) = (came, EventFlags::ADOPTED);
            }
            if was_well {
                s.exec(202, &["cat", "/run/app/healthy"])
                    .exit(202, 0)
                    .wait(3_000);
            }
            s.exec(302, &["cat", "/run/app/healthy"])
                .open(302, "/run/app/healthy", -2)
                .exit(302, 1);
            killed(&mut s);
            s
        };
        let verdict = |probe, s: &Script| verdict_with(&without_events("livenessProbe", probe), s);
        let told = verdict(probe(2), &run(6_000, false));
        assert_eq!(
            (told.cause, told.score, told.weakened_by.len()),
            (Cause::LivenessProbeFailed, 90, 1)
        );
        assert!(told.why.contains("since the agent came"), "{}", told.why);
        // The probe succeeded since; it had no time to fail that often; it had no time to fail before.
        for (threshold, s) in [
            (2, run(6_000, true)),
            (3, run(6_000, false)),
            (2, run(5_000, false)),
        ] {
            let told = verdict(probe(threshold), &s);
            assert_eq!(told.cause, Cause::StoppedFromOutside);
        }
        let startup = without_events("startupProbe", probe(2));
        let told = verdict_with(&startup, &run(6_000, false));
        assert_eq!(told.cause, Cause::StoppedFromOutside);
    }

    #[test]
    fn a_startup_probe_ends_a_container_too() {
        let said = "Startup probe failed: dial tcp 10.244.0.14:8080: connect: connection refused";
        let killing = event(
            "Killing",
            "Container main failed startup probe, will be restarted",
            6,
        );
        let mut s = probed();
        let verdict = verdict_with(
            &with(vec![event("Unhealthy", said, 6), killing]),
            killed(&mut s),
        );
        assert_eq!(verdict.cause, Cause::StartupProbeFailed);
        assert!(
            verdict.sentence.contains("because its startup probe failed: dial tcp 10.244.0.14:8080: connect: connection refused"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_probe_that_timed_out_under_throttling_is_starvation() {
        let said = "Liveness probe failed: Get \"http://10.244.0.13:8080/healthz\": context deadline exceeded";
        let header = with(vec![
            event("Unhealthy", said, 6),
            event("Killing", LIVENESS, 6),
        ]);
        let mut s = probed();
        // The application did something after its last words, so those did not end it.
        s.open(INIT, "/srv/data", 5);
        killed(&mut s);
        assert_eq!(verdict_with(&header, &s).cause, Cause::LivenessProbeFailed);
        s.run.cpu = Some(Cpu {
            quota: Some(5_000_000),
            period: 100_000_000,
            periods: 100,
            throttled_periods: 95,
            ..Cpu::default()
        });
        let starved = verdict_with(&header, &s);
        assert_eq!(starved.cause, Cause::CpuStarved);
        assert!(
            starved
                .sentence
                .contains("while its CPU limit held it back in 95 of 100 periods"),
            "{}",
            starved.sentence
        );
        // The same throttling, but the probe got an answer.
        let refused = with(vec![unhealthy(6), event("Killing", LIVENESS, 6)]);
        assert_eq!(verdict_with(&refused, &s).cause, Cause::LivenessProbeFailed);
    }

    #[test]
    fn a_failed_hook_is_told_with_what_it_printed() {
        let said = "Exec lifecycle hook ([cat /nope]) for Container \"main\" in Pod \"p_ns(uid)\" failed - error: command 'cat /nope' exited with 1: cat: can't open '/nope': No such file or directory\n, message: \"cat: ...\"";
        let killing = event("Killing", "FailedPostStartHook", 6);
        let mut s = probed();
        let verdict = verdict_with(
            &with(vec![event("FailedPostStartHook", said, 6), killing]),
            killed(&mut s),
        );
        assert_eq!(verdict.cause, Cause::PostStartHookFailed);
        assert!(
            verdict
                .sentence
                .contains("command 'cat /nope' exited with 1: cat: can't open '/nope'"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_change_of_the_pod_is_not_its_probe() {
        for (message, what) in [
            (
                "Container main definition changed, will be restarted",
                "image",
            ),
            ("Init container main definition changed", "image"),
            ("Container main resize requires restart", "resources"),
        ] {
            let verdict = verdict_with(
                &with(vec![event("Killing", message, 6)]),
                killed(&mut probed()),
            );
            assert_eq!(verdict.cause, Cause::ContainerChanged, "{message}");
            assert_eq!(verdict.subject, what);
            assert!(verdict.sentence.contains("changed"), "{}", verdict.sentence);
        }
    }

    #[test]
    fn evictions_and_deletions_are_told_apart() {
        let stopping = || event("Killing", "Stopping container main", 6);
        let evicted = PodEvent {
            field_path: String::new(),
            ..event("Evicted", "The node was low on resource: memory.", 6)
        };
        assert_eq!(cause(vec![stopping(), evicted]), Cause::Evicted);
        let mut s = probed();
        killed(&mut s);
        let mut header = with(vec![stopping()]);
        let pod = &mut header.kubernetes.as_mut().unwrap().pod;
        pod["metadata"] = json!({"deletionTimestamp": "2026-11-20T23:24:00Z"});
        assert_eq!(verdict_with(&header, &s).cause, Cause::PodDeleted);
        let pod = &mut header.kubernetes.as_mut().unwrap().pod;
        pod["status"] = json!({"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        }]});
        let drained = verdict_with(&header, &s);
        assert_eq!(drained.cause, Cause::Evicted);
        assert!(
            drained
                .sentence
                .contains("(EvictionByEvictionAPI: Eviction API: evicting)"),
            "{}",
            drained.sentence
        );
    }
}
