//! Killed by the OOM killer. It always sends SIGKILL, so nothing else can have ended a victim.

use capture_format::{ExitStatus, SignalOrigin};

use super::{Case, Cause, Evidence, Verdict};
use crate::decode::Signal;
use crate::decode::time::size;
use crate::escape::escaped;
use crate::facts::OomKill;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let culprit = case.culprit();
    let killed = case.signal() == Some(Signal::KILL)
        || case.run.status
            == Some(ExitStatus::Signal {
                signal: Signal::KILL.0,
                core: false,
            });
    // A shell exits 137 for it where the child's own end was not recorded.
    let told = case.run.terminated.as_ref();
    let told_code = told.and_then(|told| told.exit_code);
    let handed_on = case.run.status == Some(ExitStatus::Code(128 + Signal::KILL.0))
        || (case.run.status.is_none() && told_code == Some(128 + i32::from(Signal::KILL.0)));
    if !killed && !handed_on {
        return None;
    }
    let victim = case
        .facts
        .oom_kills
        .iter()
        .rev()
        .find(|kill| case.in_chain(kill.pid) || (handed_on && case.below_chain(kill.pid)));
    let sent = culprit.and_then(|culprit| case.facts.signals.last(culprit.pid, Signal::KILL));
    let counted = case.run.oom_kills.filter(|&count| count > 0);
    let by_kernel = sent.is_none_or(|sent| sent.origin == Some(SignalOrigin::Kernel));
    let (confidence, why) = match (victim, counted) {
        (Some(_), _) => (100, "the kernel's OOM killer chose this process".to_owned()),
        (None, Some(count)) if killed && by_kernel => (
            96,
            format!(
                "the cgroup counted {count} OOM kills, and nobody else was seen to send SIGKILL"
            ),
        ),
        _ if by_kernel && told.is_some_and(|told| told.reason == "OOMKilled") => (
            95,
            "the runtime says OOMKilled, and nobody else was seen to send SIGKILL".to_owned(),
        ),
        _ => return None,
    };
    let specified = case.header.container.resources.as_ref();
    let specified = specified.and_then(|resources| resources.limits.get("memory"));
    let limit = case.run.memory_limit.map(size).or(specified.cloned());
    let told_limit = match &limit {
        Some(limit) => format!("its memory limit is {}", escaped(limit.as_bytes())),
        None => {
            "the container has no memory limit, so the node itself ran out of memory".to_owned()
        }
    };
    let mut evidence = Vec::new();
    evidence.extend(victim.map(self::evidence));
    evidence.extend(
        sent.map(|sent| Evidence::new(sent.event, format!("SIGKILL to pid {}", sent.target))),
    );
    Some(Verdict {
        sentence: format!("{} was killed by the OOM killer{}: {told_limit}", case.name(), case.end_after_start()),
        cause: Cause::OomKilled,
        subject: limit.as_ref().map_or_else(String::new, |limit| escaped(limit.as_bytes()).to_string()),
        confidence,
        why,
        evidence,
        next_step: match limit {
            Some(_) => "Raise resources.limits.memory, or find what the process keeps in memory.".into(),
            None => "Look for what used up the node's memory (`dmesg | grep -i oom`), and give the container a memory limit.".into(),
        },
        weakened_by: if victim.is_some() { Vec::new() } else { case.missing_events() },
    })
}

/// The choice of a victim as evidence.
pub(super) fn evidence(kill: &OomKill) -> Evidence {
    Evidence::new(kill.event, format!("OOM killer chose pid {}", kill.pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, header, verdict, verdict_with};
    use capture_format::{EventKind as K, Resources, Terminated};

    fn killed(oom_event: bool, sender: SignalOrigin) -> Script {
        let mut s = Script::new(&["java", "-jar", "app.jar"]);
        s.run.memory_limit = Some(64 << 20);
        s.run.oom_kills = Some(1);
        s.write(INIT, 2, "Error: connection refused\n");
        if oom_event {
            s.call(INIT, K::OOM_KILL, 0, [0; 3], "java", "");
        }
        s.signal(INIT, 9, 0x80, (INIT, "java"), sender)
            .exit_status(INIT, 9);
        s
    }

    #[test]
    fn the_kernel_names_its_victim_and_the_limit_is_told() {
        let verdict = verdict(&killed(true, SignalOrigin::Kernel));
        assert_eq!(
            verdict.sentence,
            "java was killed by the OOM killer, 6 ms after start: its memory limit is 64 MiB"
        );
        assert_eq!((verdict.cause, verdict.confidence), (Cause::OomKilled, 100));
    }

    #[test]
    fn the_counter_alone_serves_unless_somebody_else_sent_the_signal() {
        assert_eq!(
            verdict(&killed(false, SignalOrigin::Kernel)).cause,
            Cause::OomKilled
        );
        assert_eq!(
            verdict(&killed(false, SignalOrigin::Outside)).cause,
            Cause::KilledFromOutside
        );
    }

    #[test]
    fn the_runtimes_word_serves_where_the_kernels_was_not_seen() {
        let mut s = killed(false, SignalOrigin::Kernel);
        (s.run.memory_limit, s.run.oom_kills) = (None, None);
        s.run.terminated = Some(Terminated {
            reason: "OOMKilled".into(),
            exit_code: Some(137),
            ..Terminated::default()
        });
        let mut header = header();
        header.container.resources = Some(Resources {
            limits: [("memory".to_owned(), "64Mi".to_owned())].into(),
            ..Resources::default()
        });
        let told = verdict_with(&header, &s);
        assert_eq!((told.cause, told.confidence), (Cause::OomKilled, 95));
        assert!(
            told.sentence.ends_with("its memory limit is 64Mi"),
            "{}",
            told.sentence
        );
        // Nobody waited for it, and its end was overwritten.
        let mut gone = Script::empty();
        gone.run.terminated = s.run.terminated.clone();
        assert_eq!(verdict_with(&header, &gone).cause, Cause::OomKilled);
        gone.run.terminated = Some(Terminated {
            exit_code: Some(1),
            ..s.run.terminated.clone().unwrap()
        });
        assert_ne!(verdict_with(&header, &gone).cause, Cause::OomKilled);
    }

    #[test]
    fn a_child_below_a_shell_is_followed() {
        let mut s = Script::new(&["sh", "-c", "python3 app.py; exit $?"]);
        s.fork(INIT, 200).exec(200, &["python3", "app.py"]).call(
            200,
            K::OOM_KILL,
            0,
            [0; 3],
            "",
            "",
        );
        s.exit_status(200, 9)
            .write(INIT, 2, "Killed\n")
            .exit(INIT, 137);
        let verdict = verdict(&s);
        assert_eq!(verdict.cause, Cause::OomKilled);
        assert!(
            verdict
                .sentence
                .starts_with("python3 (started by sh) was killed"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_victim_elsewhere_in_the_container_is_not_the_end_of_this_process() {
        let mut s = Script::new(&["supervisor"]);
        s.fork(INIT, 200)
            .call(200, K::OOM_KILL, 0, [0; 3], "", "")
            .exit_status(200, 9);
        s.write(INIT, 2, "error: bad config\n").exit(INIT, 3);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }
}
