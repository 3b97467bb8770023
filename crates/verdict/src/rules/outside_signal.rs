//! The run was asked to end, or was killed, from outside the container: by the runtime (a failed liveness probe, a
//! rolled-out deployment, an eviction), by a person on the node, or from the terminal.
//!
//! The record of a signal says whether its sender was outside. The signal ended the run if the process was killed by
//! it, or exited with 128 plus its number. If the process exited with another code, time decides, and what it said in
//! between: a process that says that it is shutting down answers the signal, and one that reports a failure may have
//! failed by itself.
//!
//! The rule is wrong if the process would have ended at that moment without the signal. It does not know what the
//! sender wanted; if that is known, the rule `kubelet` says it.

use capture_format::{BootTime, ExitStatus, Kubernetes, SignalDisposition, SignalOrigin};

use super::waiting::{self, Worth};
use super::words::{Words, is_complaint};
use super::{Case, Cause, Evidence, Finding, kubelet};
use crate::facts::signals::SentSignal;
use crate::lexicon::lexicon;
use crate::runtimes;
use events::decode::Signal;
use events::decode::time::duration;

/// A process was asked to end. If it exits within this time, with whatever code, the exit may be the answer: twice
/// Kubernetes' grace period.
const GRACE: u64 = 60_000_000_000;
/// Within this time the exit is the answer, whatever the process said in between: 1 s, in nanoseconds.
const AT_ONCE: u64 = 1_000_000_000;
const SECOND: u64 = 1_000_000_000;
const SI_KERNEL: i64 = 0x80;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let ending = Ending::of(case)?;
    if kubelet::rule(case).is_some() {
        return None;
    }
    let Ending {
        signals,
        first,
        killer,
        score,
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
    let mut finding = Finding {
rests_on: None,
        sentence,
        cause: if first.signal == Signal::KILL { Cause::KilledFromOutside } else { Cause::StoppedFromOutside },
        subject: first.signal.to_string(),
        score: *score,
        why: match *score {
            SURE => "the kernel recorded the signal and its sender, and the process ended as that signal ends it".into(),
            _ => "the kernel recorded the signal and its sender; that the process ended over it and over nothing else is likely, not certain".into(),
        },
        evidence: signals.iter().map(|sent| evidence(sent)).collect(),
        next_step: case.advice(
            "Find out who asked: `kubectl describe pod` shows failed liveness probes, evictions and roll-outs as events.",
            "Find out who asked: a person, a time limit, a service manager.",
        ),
        weakened_by: match killer.disposition {
            None if case.exit_code().is_some() => {
                vec!["that the process took the signal was not recorded".into()]
            }
            _ => Vec::new(),
        },
    };
    waiting::add(&mut finding, case, first, "it", Worth::Busy);
    Some(finding)
}

/// Confidence if the process ended in the way in which the signal ends a process, or at once.
const SURE: u8 = 98;

/// The signals from outside that ended a run.
pub(super) struct Ending<'a> {
    /// All of these signals, oldest first.
    pub(super) signals: Vec<&'a SentSignal>,
    /// The signal that first asked for the end.
    pub(super) first: &'a SentSignal,
    /// The signal that ended the process.
    killer: &'a SentSignal,
    /// How sure it is that the signals ended the run, in percent.
    score: u8,
}

impl<'a> Ending<'a> {
    /// `None` if something else ended the run.
    pub(super) fn of(case: &Case<'a>) -> Option<Self> {
        let status = case.run.status?;
        let end = case.facts.init().and_then(|init| init.exit);
        let mut victims = case.facts.oom_kills.iter();
        if victims.any(|kill| case.in_chain(kill.pid)) {
            return None;
        }
        let before_end = |sent: &&SentSignal| {
            case.in_chain(sent.target) && end.is_none_or(|end| sent.event < end.event)
        };
        let all = case.facts.signals.iter().filter(before_end);
        let signals: Vec<&SentSignal> = all.filter(|sent| is_outside(sent)).collect();
        let by_itself = match status {
            ExitStatus::Signal { signal, .. } => Some(Signal(signal)),
            ExitStatus::Code(code) => code.checked_sub(128).map(Signal),
        };
        let killer = by_itself.and_then(|signal| ended_by(case, &signals, signal));
        let (killer, score) = match (killer, status) {
            (Some(killer), _) => (killer, SURE),
            (None, ExitStatus::Signal { .. }) => return None,
            (None, ExitStatus::Code(code)) => {
                // Many programs read their configuration again at a hang-up.
                let mut asked = signals.iter().rev().copied();
                let asked = asked.find(|sent| sent.signal != Signal::HUP)?;
                (asked, answered(case, asked, code)?)
            }
        };
        // The process survived a signal that somebody else sent long before.
        let mut first = killer;
        let earlier = signals.iter().rev().copied();
        for sent in earlier.filter(|sent| sent.event < killer.event) {
            if first.time.since(sent.time) >= GRACE && !is_of_runtime(sent) {
                break;
            }
            if sent.signal != Signal::HUP || sent.signal == killer.signal {
                first = sent;
            }
        }
        let signals = signals.into_iter();
        let signals = signals.filter(|sent| sent.event >= first.event).collect();
        Some(Self {
            signals,
            first,
            killer,
            score,
        })
    }

    /// What happened after the first signal, as the end of a sentence: `, and SIGKILL 30 s later`.
    pub(super) fn then(&self, case: &Case<'_>) -> String {
        let later = |time: BootTime| duration(time.since(self.first.time));
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

/// Whether the sender is a process outside the container, or the kernel on behalf of a terminal (Ctrl-C, hang-up).
fn is_outside(sent: &SentSignal) -> bool {
    let terminal = sent.origin == Some(SignalOrigin::Kernel)
        && sent.code == SI_KERNEL
        && matches!(sent.signal, Signal::INT | Signal::QUIT | Signal::HUP);
    let ignored = sent.disposition == Some(SignalDisposition::Ignored);
    !ignored
        && sent.signal.asks_to_end()
        && (sent.origin == Some(SignalOrigin::Outside) || terminal)
}

/// The signal from outside that ended the process. Of the signals with the number that the process ended by, it is the
/// last one that was sent; or the one that the process sent to itself again when its handler was done.
fn ended_by<'a>(
    case: &Case<'a>,
    outside: &[&'a SentSignal],
    signal: Signal,
) -> Option<&'a SentSignal> {
    let killer = outside.iter().rev().find(|sent| sent.signal == signal)?;
    let mut later = case.facts.signals.iter().filter(|sent| {
        sent.signal == signal && sent.target == killer.target && sent.event > killer.event
    });
    let ended_by_it = later.all(|sent| {
        sent.origin == Some(SignalOrigin::Inside)
            && sent.sender == sent.target
            && sent.time.since(killer.time) < grace(case, killer)
    });
    ended_by_it.then_some(killer)
}

/// A process took a signal and exited with a code of its own: how sure it is that it did so because of that signal, in
/// percent.
fn answered(case: &Case<'_>, asked: &SentSignal, code: u8) -> Option<u8> {
    let after = case.end()?.since(asked.time);
    if after >= grace(case, asked) {
        return None;
    }
    if code == 0 || after < AT_ONCE {
        return Some(SURE);
    }
    let said = || case.said.between(asked.event, u64::MAX);
    let has = |line: &Words, texts: &[String]| {
        let text = line.said().to_lowercase();
        texts.iter().any(|words| text.contains(words))
    };
    let denies = |line: &Words| {
        let text = line.said().to_lowercase();
        text.contains("ignor") || text.contains("not ")
    };
    let fails = |line: &&Words| is_complaint(line);
    let failure = said().filter(fails).last();
    let over_it = failure.is_some_and(|line| has(line, &lexicon().over_signal.words));
    let goes =
        said().any(|line| has(line, &lexicon().going.words) && !fails(&line) && !denies(line));
    match failure {
        _ if over_it => Some(SURE),
        Some(_) if is_of_runtime(asked) => Some(92),
        Some(_) if goes => Some(85),
        Some(_) => None,
        None if goes || is_of_runtime(asked) => Some(96),
        None => Some(75),
    }
}

/// How long somebody waits for an end before it is enforced, and the same time again; in nanoseconds.
fn grace(case: &Case<'_>, sent: &SentSignal) -> u64 {
    let kubernetes = case.header.kubernetes.as_ref();
    let given = kubernetes.and_then(Kubernetes::grace_period_seconds);
    let given = given.filter(|_| is_of_runtime(sent)).unwrap_or_default();
    GRACE.max(given.saturating_mul(2 * SECOND))
}

/// Whether a container runtime sent the signal.
pub(super) fn is_of_runtime(sent: &SentSignal) -> bool {
    runtimes::ends_containers(&sent.sender_name) && sent.origin == Some(SignalOrigin::Outside)
}

/// A signal as evidence.
pub(super) fn evidence(sent: &SentSignal) -> Evidence {
    Evidence::new(
        sent.event,
        sent.time,
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
    use capture_format::EventKind as K;

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

    /// A person sends SIGTERM, and a handler takes it.
    fn caught(signal: i64) -> Script {
        let mut s = Script::new(&["app"]);
        s.wait(2_000)
            .signal(INIT, signal, 0, (812, "bash"), SignalOrigin::Outside)
            .call(INIT, K::SIGNAL_DELIVER, signal, [0, 812, 2], "", "");
        s
    }

    #[test]
    fn a_signal_that_was_handled_long_before_an_error_is_not_its_cause() {
        for signal in [15, 2, 3] {
            for said in ["", "got a signal, ignoring it\n", "signal received\n"] {
                let mut s = caught(signal);
                if !said.is_empty() {
                    s.write(INIT, 1, said);
                }
                s.wait(7_500).write(
                    INIT,
                    2,
                    "Traceback (most recent call last):\nRuntimeError: ledger is out of balance\n",
                );
                let verdict = verdict(s.exit(INIT, 1));
                assert_eq!(verdict.cause, Cause::ExitedNonZero, "{}", verdict.sentence);
            }
        }
    }

    #[test]
    fn what_says_that_it_goes_down_does() {
        let ended = |said: &str, code| {
            let mut s = caught(15);
            s.write(INIT, 1, said).wait(7_500);
            verdict(s.exit(INIT, code))
        };
        for (said, code, confidence) in [
            ("shutting down gracefully\n", 1, 94),
            ("serving\n", 1, 75),
            ("serving\n", 0, 94),
            ("KeyboardInterrupt\nerror: SIGTERM\n", 1, 94),
        ] {
            let verdict = ended(said, code);
            assert_eq!(
                (verdict.cause, verdict.score),
                (Cause::StoppedFromOutside, confidence),
                "{said}"
            );
        }
    }

    #[test]
    fn a_success_long_after_is_no_stop() {
        let mut s = caught(15);
        s.wait(3_600_000);
        assert_eq!(verdict(s.exit(INIT, 0)).cause, Cause::ExitedZero);
    }

    #[test]
    fn who_sent_the_last_signal_killed_it() {
        // A handler does its work and then raises the signal again.
        let mut s = caught(15);
        s.wait(500)
            .signal(INIT, 15, -6, (INIT, "app"), SignalOrigin::Inside);
        assert_eq!(
            verdict(s.exit_status(INIT, 15)).cause,
            Cause::StoppedFromOutside
        );
        // The signal is raised much later, or by another process of the container.
        let mut s = caught(15);
        s.wait(100_000)
            .signal(INIT, 15, -6, (INIT, "app"), SignalOrigin::Inside);
        assert_eq!(verdict(s.exit_status(INIT, 15)).cause, Cause::KilledItself);
        let mut s = caught(15);
        s.wait(500)
            .signal(INIT, 15, 0, (200, "sh"), SignalOrigin::Inside);
        assert_eq!(
            verdict(s.exit_status(INIT, 15)).cause,
            Cause::KilledFromInside
        );
    }

    #[test]
    fn what_was_survived_is_not_told() {
        let mut s = caught(2);
        s.wait(500_000)
            .signal(INIT, 9, 0, (813, "bash"), SignalOrigin::Outside);
        let verdict = verdict(s.exit_status(INIT, 9));
        assert_eq!(verdict.cause, Cause::KilledFromOutside);
        assert!(
            verdict
                .sentence
                .ends_with("bash (pid 813) sent SIGKILL 8.4 min after start"),
            "{}",
            verdict.sentence
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
