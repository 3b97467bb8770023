//! A process was killed by a signal from inside its container.
//!
//! The culprit was killed by a signal, and the record of the signal names the sender: the process itself (by abort,
//! raise or kill, or because it wrote to a pipe that nobody reads), the kernel on its behalf (a timer or an alarm that
//! the process had set, a limit that it had reached), or another process of the container. timeout(1) ends its command
//! instead and then exits with 124; the rule recognises it by its name, this code, and the signal that it sent.
//!
//! Sender and signal are certain, unless a later signal of the same number was not recorded. Why the sender sent it is
//! not known: the last words are only cited beside it.

use capture_format::SignalOrigin;

use super::outside_signal::evidence;
use super::waiting::{self, Worth};
use super::words::Words;
use super::{Case, Cause, Evidence, Finding};
use crate::facts::output::Stream;
use crate::facts::signals::SentSignal;
use events::decode::Signal;

/// include/uapi/asm-generic/siginfo.h
const SI_KERNEL: i64 = 0x80;
const SI_TIMER: i64 = -2;
pub(super) const SI_TKILL: i64 = -6;

/// The exit code of timeout(1) when the time is up.
const TIMED_OUT: u8 = 124;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let Some(signal) = case.signal() else {
        return timed_out(case);
    };
    let culprit = case.culprit()?;
    let sent = case.facts.signals.last(culprit.pid, signal)?;
    let inside = sent.origin == Some(SignalOrigin::Inside);
    let with = case.facts.signals.sent_with(sent).filter(|_| inside);
    let of_kernel = sent.origin == Some(SignalOrigin::Kernel);
    let itself = of_kernel || sent.sender == culprit.pid && with.is_none();
    let (cause, who) = match (itself, signal) {
        _ if of_kernel => self::of_kernel(sent)?,
        _ if !inside => return None,
        (true, Signal::ABRT) if is_abort(sent) => (Cause::Aborted, "it called abort()".to_owned()),
        (true, Signal::PIPE) => (
            Cause::BrokenPipe,
            "it wrote to a pipe or socket whose reader was gone".to_owned(),
        ),
        (true, Signal::XFSZ) => (
            Cause::LimitReached,
            "it wrote a file beyond its limit of a file's size (RLIMIT_FSIZE)".to_owned(),
        ),
        (true, _) => (
            Cause::KilledItself,
            "it sent the signal to itself".to_owned(),
        ),
        (false, _) => {
            let others = with.map_or_else(String::new, |other| {
                format!(
                    " to its whole process group, pid {} among them",
                    other.target
                )
            });
            let who = format!("{} of the same container sent it{others}", sent.sender());
            (Cause::KilledFromInside, who)
        }
    };
    let mut verdict = verdict(case, sent, cause, &who, itself);
    verdict.evidence.extend(with.map(evidence));
    if matches!(cause, Cause::KilledFromInside | Cause::TimerExpired) {
        let (target, who) = match with {
            Some(with) => (with, format!("pid {}", with.target)),
            None => (sent, "it".to_owned()),
        };
        waiting::add(&mut verdict, case, target, &who, Worth::All);
    }
    Some(verdict)
}

/// timeout(1) ended its command.
fn timed_out(case: &Case<'_>) -> Option<Finding> {
    let culprit = case.culprit()?;
    let is_timeout = culprit.name() == "timeout" && case.exit_code() == Some(TIMED_OUT);
    let mut signals = case.facts.signals.iter().filter(|_| is_timeout);
    let sent = signals.find(|sent| sent.sender == culprit.pid && sent.target != culprit.pid)?;
    let target = case.facts.processes.get(sent.target);
    let name = target.map_or_else(|| "its command".to_owned(), |target| target.name());
    let who = format!(
        "the time it was given was up, and it sent {} to {name} (pid {})",
        sent.signal, sent.target
    );
    let mut verdict = verdict(case, sent, Cause::TimerExpired, &who, false);
    verdict.why =
        "it exited with its code for that, and the kernel recorded the signal it sent".into();
    verdict.next_step = format!(
        "Give it more time (the argument of timeout), or find out what {name} waited for: its last calls stand before the signal in `lastword show`."
    );
    waiting::add(&mut verdict, case, sent, &name, Worth::All);
    Some(verdict)
}

/// Why the kernel sent a signal that is not a fault, if the process itself is the reason.
fn of_kernel(sent: &SentSignal) -> Option<(Cause, String)> {
    let said = |cause, text: &str| Some((cause, text.to_owned()));
    match (sent.code, sent.signal) {
        (SI_TIMER, _) => said(
            Cause::TimerExpired,
            "a timer that it had set itself expired (timer_create)",
        ),
        (SI_KERNEL, Signal::ALRM | Signal::VTALRM | Signal::PROF) => said(
            Cause::TimerExpired,
            "the alarm that it had set itself went off (alarm or setitimer)",
        ),
        (SI_KERNEL, Signal::XCPU) => said(
            Cause::LimitReached,
            "it used up its limit of CPU time (RLIMIT_CPU or RLIMIT_RTTIME)",
        ),
        // The signal's code says what came (POLL_IN), or nothing.
        (_, Signal::IO) => said(
            Cause::KilledBySignal,
            "the kernel sent it as the process had asked: a descriptor with O_ASYNC became ready",
        ),
        (..0, _) => {
            let (_, meaning) = sent.signal.code(sent.code)?;
            said(
                Cause::KilledBySignal,
                &format!("the kernel sent it as the process had asked: {meaning}"),
            )
        }
        _ => None,
    }
}

/// Whether a signal is the one that abort(3) sends first.
pub(super) fn is_abort(sent: &SentSignal) -> bool {
    sent.signal == Signal::ABRT
        && sent.sender == sent.target
        && sent.origin == Some(SignalOrigin::Inside)
        && sent.code == SI_TKILL
}

/// The verdict on a process that a signal killed; `itself` says whether its last words may say why.
pub(super) fn verdict(
    case: &Case<'_>,
    sent: &SentSignal,
    cause: Cause,
    who: &str,
    itself: bool,
) -> Finding {
    let signal = sent.signal;
    let words = case.recent_headline();
    let words =
        words.filter(|line| itself && !matches!(line.stream, Stream::Stdout | Stream::Pipe));
    let cited = words.map_or_else(String::new, |line| format!("; {}", line.cited()));
    let mut all: Vec<Evidence> = vec![evidence(sent)];
    all.extend(words.map(Words::evidence));
    Finding {
rests_on: None,
        sentence: format!("{}: {who}{cited}", case.ended()),
        cause,
        subject: signal.to_string(),
        score: 96,
        why: "the kernel recorded the signal and its sender, and the process died of it".into(),
        evidence: all,
        next_step: match cause {
            Cause::Aborted => "Read its last words: an assertion, an allocator's check or an uncaught exception usually stands there; a core dump shows where.".into(),
            Cause::BrokenPipe => "Find out why the reader of its output went away first, or let the program ignore SIGPIPE.".into(),
            Cause::TimerExpired => "Find out what it waited for when the time was up: its last calls stand before the signal in `lastword show`.".into(),
            Cause::LimitReached => "Raise the limit (`ulimit -t`, `ulimit -f`; see the image's entrypoint and the runtime's), or find what the program does so long or writes.".into(),
            Cause::KilledBySignal => format!("Let the program handle {signal}, or look for where it asks for that signal."),
            Cause::KilledItself => "Look in the program for where it sends itself a signal; its last words may say why.".into(),
            _ => format!("Find out why {} sends {signal}: it runs in the same container.", sent.sender()),
        },
        weakened_by: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Band;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn an_abort_cites_the_assertion() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "app: main.c:5: main: Assertion `x' failed.\n");
        s.signal(INIT, 6, SI_TKILL, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 6 | 0x80);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "app was killed by SIGABRT (abort), 5 ms after start: it called abort(); stderr: app: main.c:5: main: Assertion `x' failed."
        );
        assert_eq!(verdict.cause, Cause::Aborted);
    }

    #[test]
    fn itself_and_a_neighbour_are_told_apart() {
        let by = |sender| {
            let mut s = Script::new(&["app"]);
            s.signal(INIT, 9, 0, (sender, "sh"), SignalOrigin::Inside)
                .exit_status(INIT, 9);
            verdict(&s)
        };
        assert_eq!(by(INIT).cause, Cause::KilledItself);
        assert_eq!(by(200).cause, Cause::KilledFromInside);
        assert!(
            by(200)
                .sentence
                .ends_with("sh (pid 200) of the same container sent it"),
            "{}",
            by(200).sentence
        );
    }

    #[test]
    fn who_kills_its_group_kills_the_others_and_not_only_itself() {
        let mut s = Script::new(&["timeout", "-s", "KILL", "3", "app"]);
        s.fork(INIT, 200).exec(200, &["app"]);
        s.signal(200, 9, 0, (INIT, "timeout"), SignalOrigin::Inside)
            .signal(INIT, 9, 0, (INIT, "timeout"), SignalOrigin::Inside)
            .exit_status(INIT, 9);
        let verdict = verdict(&s);
        assert_eq!(verdict.cause, Cause::KilledFromInside);
        assert!(
            verdict.sentence.ends_with(
                "timeout (pid 100) of the same container sent it to its whole process group, pid 200 among them"
            ),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_timer_is_its_own_and_nobody_elses() {
        let by = |signal: i64, code: i64| {
            let mut s = Script::new(&["app"]);
            // As lastword 0.1.0 recorded it: the sender is the process that was on the CPU.
            let origin = if code < 0 {
                SignalOrigin::Outside
            } else {
                SignalOrigin::Kernel
            };
            s.signal(INIT, signal, code, (812, "qemu"), origin)
                .exit_status(INIT, signal as i32);
            verdict(&s)
        };
        for (signal, code, cause) in [
            (15, SI_TIMER, Cause::TimerExpired),
            (9, SI_TIMER, Cause::TimerExpired),
            (14, SI_KERNEL, Cause::TimerExpired),
            (24, SI_KERNEL, Cause::LimitReached),
            (15, -3, Cause::KilledBySignal),
            (15, -4, Cause::KilledBySignal),
            (15, -5, Cause::KilledBySignal),
            (15, -60, Cause::KilledBySignal),
            (29, 1, Cause::KilledBySignal),
            (29, SI_KERNEL, Cause::KilledBySignal),
        ] {
            let verdict = by(signal, code);
            assert_eq!(
                (verdict.cause, verdict.band == Band::Certain),
                (cause, cause != Cause::TimerExpired),
                "{}",
                verdict.sentence
            );
            assert!(!verdict.sentence.contains("qemu"), "{}", verdict.sentence);
        }
        assert_eq!(
            by(15, SI_TIMER).sentence,
            "app was killed by SIGTERM, 4 ms after start: a timer that it had set itself expired (timer_create)"
        );
        // sigqueue(3) is called by a process.
        assert_eq!(by(15, -1).cause, Cause::StoppedFromOutside);
    }

    #[test]
    fn timeout_says_when_the_time_was_up() {
        let ended = |code, sender| {
            let mut s = Script::new(&["timeout", "3", "app"]);
            s.fork(INIT, 200).exec(200, &["app"]);
            s.signal(200, 15, 0, (sender, "timeout"), SignalOrigin::Inside)
                .exit_status(200, 15)
                .exit(INIT, code);
            verdict(&s)
        };
        let timed_out = ended(124, INIT);
        assert_eq!(timed_out.cause, Cause::TimerExpired);
        assert!(
            timed_out
                .sentence
                .ends_with(": the time it was given was up, and it sent SIGTERM to app (pid 200)"),
            "{}",
            timed_out.sentence
        );
        assert_ne!(ended(124, 300).cause, Cause::TimerExpired);
        assert_ne!(ended(3, INIT).cause, Cause::TimerExpired);
    }

    #[test]
    fn a_limit_of_its_own_is_no_suicide() {
        let mut s = Script::new(&["app"]);
        s.signal(INIT, 25, 0, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 25);
        assert_eq!(verdict(&s).cause, Cause::LimitReached);
    }

    #[test]
    fn a_broken_pipe_is_no_suicide() {
        let mut s = Script::new(&["app"]);
        s.signal(INIT, 13, 0, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 13);
        assert_eq!(verdict(&s).cause, Cause::BrokenPipe);
    }
}
