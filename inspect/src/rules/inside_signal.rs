//! Killed by a signal from inside the container: by itself (abort, raise, kill) or by another of its processes.

use capture_format::SignalOrigin;

use super::outside_signal::evidence;
use super::words::Words;
use super::{Case, Cause, Verdict};
use crate::decode::Signal;
use crate::facts::output::Stream;

const SI_TKILL: i64 = -6;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let signal = case.signal()?;
    let culprit = case.culprit()?;
    let sent = case.facts.signals.last(culprit.pid, signal)?;
    if sent.origin != Some(SignalOrigin::Inside) {
        return None;
    }
    let with = case.facts.signals.sent_with(sent);
    let itself = sent.sender == culprit.pid && with.is_none();
    let (cause, who) = match (itself, signal) {
        (true, Signal::ABRT) if sent.code == SI_TKILL => {
            (Cause::Aborted, "it called abort()".to_owned())
        }
        (true, Signal::PIPE) => (
            Cause::BrokenPipe,
            "it wrote to a pipe or socket whose reader was gone".to_owned(),
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
    let words = case.recent_headline();
    let words = words.filter(|line| itself && line.stream != Stream::Stdout);
    let cited = words.map_or_else(String::new, |line| format!("; {}", line.cited()));
    let mut all: Vec<_> = with.into_iter().chain([sent]).map(evidence).collect();
    all.extend(words.map(Words::evidence));
    Some(Verdict {
        sentence: format!("{}: {who}{cited}", case.ended()),
        cause,
        subject: signal.to_string(),
        confidence: 96,
        why: "the kernel recorded the signal and its sender, and the process died of it".into(),
        evidence: all,
        next_step: match cause {
            Cause::Aborted => "Read its last words: an assertion, an allocator's check or an uncaught exception usually stands there; a core dump shows where.".into(),
            Cause::BrokenPipe => "Find out why the reader of its output went away first, or let the program ignore SIGPIPE.".into(),
            Cause::KilledItself => "Look in the program for where it sends itself a signal; its last words may say why.".into(),
            _ => format!("Find out why {} sends {signal}: it runs in the same container.", sent.sender()),
        },
        weakened_by: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_broken_pipe_is_no_suicide() {
        let mut s = Script::new(&["app"]);
        s.signal(INIT, 13, 0, (INIT, "app"), SignalOrigin::Inside)
            .exit_status(INIT, 13);
        assert_eq!(verdict(&s).cause, Cause::BrokenPipe);
    }
}
