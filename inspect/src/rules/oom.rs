//! Killed by the OOM killer. It always sends SIGKILL, so nothing else can have ended a victim.

use capture_format::{ExitStatus, SignalOrigin};

use super::{Case, Cause, Evidence, Verdict};
use crate::decode::Signal;
use crate::decode::time::size;
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
    let handed_on = case.run.status == Some(ExitStatus::Code(128 + Signal::KILL.0));
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
        _ => return None,
    };
    let limit = match case.run.memory_limit {
        Some(limit) => format!("its memory limit is {}", size(limit)),
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
        sentence: format!("{} was killed by the OOM killer{}: {limit}", case.name(), case.after_start()),
        cause: Cause::OomKilled,
        subject: case.run.memory_limit.map_or_else(String::new, size),
        confidence,
        why,
        evidence,
        next_step: match case.run.memory_limit {
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
    use crate::testing::{INIT, Script, verdict};
    use capture_format::EventKind as K;

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
