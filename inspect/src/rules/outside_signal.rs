//! Asked to end, or killed, from outside the container: by the runtime (a failed liveness probe, a rolled-out
//! deployment, an eviction), by a person on the node, or from the terminal.

use capture_format::{ExitStatus, SignalDisposition, SignalOrigin};

use super::{Case, Cause, Evidence, Verdict};
use crate::decode::Signal;
use crate::decode::time::duration;
use crate::facts::signals::SentSignal;

/// How long after being asked to end an exit with any code counts as the answer: twice Kubernetes' grace period.
const GRACE: u64 = 60_000_000_000;
const SI_KERNEL: i64 = 0x80;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let ending = Ending::of(case)?;
    let Ending {
        signals,
        first,
        killer,
    } = &ending;
    let after_start = case.after_start(first.time);
    let after_start = after_start.map_or_else(String::new, |after| format!(" {after}"));
    let mut sentence = match first.origin {
        Some(SignalOrigin::Kernel) => {
            format!(
                "{} was interrupted from the terminal ({}){after_start}",
                case.name(),
                first.signal
            )
        }
        _ => {
            let verb = if first.signal == Signal::KILL {
                "killed"
            } else {
                "stopped"
            };
            let sender = first.sender();
            format!(
                "{} was {verb} from outside the container: {sender} sent {}{after_start}",
                case.name(),
                first.signal
            )
        }
    };
    sentence.push_str(&ending.then(case));
    Some(Verdict {
        sentence,
        cause: if first.signal == Signal::KILL { Cause::KilledFromOutside } else { Cause::StoppedFromOutside },
        subject: first.signal.to_string(),
        confidence: 98,
        why: "the kernel recorded the signal and its sender, and the process ended as that signal ends it".into(),
        evidence: signals.iter().map(|sent| evidence(sent)).collect(),
        next_step: "Find out who asked: `kubectl describe pod` shows failed liveness probes, evictions and roll-outs as events.".into(),
        weakened_by: match killer.disposition {
            None if case.exit_code().is_some() => {
                vec!["that the process took the signal was not recorded".into()]
            }
            _ => Vec::new(),
        },
    })
}

/// The signals from outside that ended a run.
pub(super) struct Ending<'a> {
    /// All of them, oldest first.
    pub(super) signals: Vec<&'a SentSignal>,
    /// The one that asked first.
    pub(super) first: &'a SentSignal,
    /// The one it ended by.
    killer: &'a SentSignal,
}

impl<'a> Ending<'a> {
    /// None if something else ended the run.
    pub(super) fn of(case: &Case<'a>) -> Option<Self> {
        let status = case.run.status?;
        let end = case.facts.init().and_then(|init| init.exit);
        let before_end = |sent: &&SentSignal| {
            case.in_chain(sent.target)
                && is_outside(sent)
                && end.is_none_or(|end| sent.event < end.event)
        };
        let signals: Vec<&SentSignal> = case.facts.signals.iter().filter(before_end).collect();
        let mut each = signals.iter().copied();
        let killer = each.find(|sent| was_ended_by(case, status, sent))?;
        let mut each = signals.iter().copied();
        let first = each.find(|sent| sent.signal != Signal::HUP || sent.signal == killer.signal)?;
        let mut victims = case.facts.oom_kills.iter();
        if victims.any(|kill| case.in_chain(kill.pid)) {
            return None;
        }
        Some(Self {
            signals,
            first,
            killer,
        })
    }

    /// How it went on after the first signal, as the end of a sentence: `, and SIGKILL 30 s later`.
    pub(super) fn then(&self, case: &Case<'_>) -> String {
        let later = |time: u64| duration(time.saturating_sub(self.first.time));
        let kill = self.signals.iter().find(|sent| sent.signal == Signal::KILL);
        match kill.filter(|kill| kill.event != self.first.event) {
            Some(kill) => format!(", and SIGKILL {} later", later(kill.time)),
            None => match (case.exit_code(), case.end()) {
                (Some(code), Some(end)) => format!("; it exited {code} {} later", later(end)),
                _ => String::new(),
            },
        }
    }
}

/// Sent by a process outside, or by the kernel for a terminal (Ctrl-C, hang-up).
fn is_outside(sent: &SentSignal) -> bool {
    let terminal = sent.origin == Some(SignalOrigin::Kernel)
        && sent.code == SI_KERNEL
        && matches!(sent.signal, Signal::INT | Signal::QUIT | Signal::HUP);
    let ignored = sent.disposition == Some(SignalDisposition::Ignored);
    !ignored
        && sent.signal.asks_to_end()
        && (sent.origin == Some(SignalOrigin::Outside) || terminal)
}

fn was_ended_by(case: &Case<'_>, status: ExitStatus, sent: &SentSignal) -> bool {
    match status {
        ExitStatus::Signal { signal, .. } => signal == sent.signal.0,
        ExitStatus::Code(code) if code == 128 + sent.signal.0 => true,
        // A hang-up asks many programs to read their configuration again.
        ExitStatus::Code(_) if sent.signal == Signal::HUP => false,
        ExitStatus::Code(0) => true,
        ExitStatus::Code(_) => case
            .end()
            .is_some_and(|end| end.saturating_sub(sent.time) < GRACE),
    }
}

/// A signal as evidence.
pub(super) fn evidence(sent: &SentSignal) -> Evidence {
    Evidence::new(
        sent.event,
        format!(
            "{} to pid {} from {}",
            sent.signal,
            sent.target,
            sent.sender()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    const RUNTIME: (u32, &str) = (812, "containerd-shim");

    fn asked(signal: i64) -> Script {
        let mut s = Script::new(&["nginx"]);
        s.wait(9_000)
            .signal(INIT, signal, 0, RUNTIME, SignalOrigin::Outside)
            .wait(29);
        s
    }

    #[test]
    fn sigterm_then_exit_0_or_143_is_a_stop() {
        for code in [0, 143] {
            let mut s = asked(15);
            let verdict = verdict(s.exit(INIT, code));
            assert_eq!(
                verdict.sentence,
                format!(
                    "nginx was stopped from outside the container: containerd-shim (pid 812) sent SIGTERM 9.0 s after start; it exited {code} 30 ms later"
                )
            );
            assert_eq!(verdict.cause, Cause::StoppedFromOutside);
        }
    }

    #[test]
    fn what_it_then_prints_is_not_the_cause() {
        let mut s = asked(15);
        s.open(INIT, "/run/app.pid", -2)
            .write(INIT, 2, "error: /run/app.pid: No such file or directory\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::StoppedFromOutside);
    }

    #[test]
    fn patience_ended_by_sigkill_is_told() {
        let mut s = asked(15);
        s.wait(30_000)
            .signal(INIT, 9, 0, RUNTIME, SignalOrigin::Outside)
            .exit_status(INIT, 9);
        let verdict = verdict(&s);
        assert!(
            verdict
                .sentence
                .ends_with("sent SIGTERM 9.0 s after start, and SIGKILL 30 s later"),
            "{}",
            verdict.sentence
        );
        assert_eq!(verdict.cause, Cause::StoppedFromOutside);
    }

    #[test]
    fn a_kill_at_once_is_a_kill() {
        let mut s = asked(9);
        assert_eq!(
            verdict(s.exit_status(INIT, 9)).cause,
            Cause::KilledFromOutside
        );
    }

    #[test]
    fn ctrl_c_comes_from_the_terminal() {
        let mut s = Script::new(&["sleep", "99"]);
        s.signal(INIT, 2, SI_KERNEL, (INIT, "sleep"), SignalOrigin::Kernel)
            .exit_status(INIT, 2);
        assert!(
            verdict(&s)
                .sentence
                .contains("interrupted from the terminal (SIGINT)")
        );
    }

    #[test]
    fn a_reload_before_a_crash_of_its_own_is_no_stop() {
        let mut s = asked(1);
        s.wait(100)
            .write(INIT, 2, "fatal: bad configuration\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_crash_while_shutting_down_is_a_crash() {
        let mut s = asked(15);
        s.signal(INIT, 11, 1, (INIT, "nginx"), SignalOrigin::Kernel)
            .exit_status(INIT, 11);
        assert_eq!(verdict(&s).cause, Cause::SegmentationFault);
    }

    #[test]
    fn killing_what_is_left_after_the_end_explains_nothing() {
        let mut s = Script::new(&["sh", "-c", "sleep 9 & exit 3"]);
        s.fork(INIT, 200)
            .write(INIT, 2, "fatal: no\n")
            .exit(INIT, 3);
        s.signal(200, 9, 0, (1, "lastword"), SignalOrigin::Outside)
            .exit_status(200, 9);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }
}
