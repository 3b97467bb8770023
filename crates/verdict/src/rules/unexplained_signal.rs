//! A signal killed the culprit, and no other rule knows why.
//!
//! The wait status names the signal. Its record is missing, so the sender is not known; or the kernel sent it for a
//! reason that no other rule covers.
//!
//! The signal itself is certain. Every rule that knows more about it is surer, and wins.

use capture_format::SignalOrigin;

use super::outside_signal::evidence;
use super::{Case, Cause, Finding};

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let signal = case.signal()?;
    let sent = case
        .culprit()
        .and_then(|culprit| case.facts.signals.last(culprit.pid, signal));
    let who = match sent.and_then(|sent| sent.origin) {
        Some(SignalOrigin::Kernel) => "the kernel sent it",
        _ => "who sent it was not recorded",
    };
    // Execs and signals share a lane: if the exec of the process is still there, all later signals are, too.
    let whole = case.culprit().is_some_and(|culprit| culprit.exec.is_some());
    let beginning = case.missing_beginning().into_iter().filter(|_| !whole);
    Some(Finding {
rests_on: None,
        sentence: format!("{}: {who}", case.ended()),
        cause: Cause::KilledBySignal,
        subject: signal.to_string(),
        score: 60,
        why: "the wait status names the signal".into(),
        evidence: sent.map(evidence).into_iter().chain(case.words_evidence()).collect(),
        next_step: "Look at the node at that time (`journalctl`, `dmesg`): a runtime, a person or the kernel sent the signal.".into(),
        weakened_by: case.missing_events().into_iter().chain(beginning).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn an_unseen_sender_is_not_guessed() {
        let mut s = Script::new(&["app"]);
        s.run.losses.overwritten = 12;
        let verdict = verdict(s.exit_status(INIT, 9));
        assert!(verdict.weakened_by.is_empty());
        assert_eq!(verdict.cause, Cause::KilledBySignal);
        assert_eq!(
            verdict.sentence,
            "app was killed by SIGKILL, 3 ms after start: who sent it was not recorded"
        );
    }

    #[test]
    fn a_lane_that_lost_its_beginning_may_have_lost_the_signal() {
        let mut s = Script::empty();
        (s.run.init_pid, s.run.losses.lost, s.run.losses.overwritten) = (INIT, 3, 12);
        assert_eq!(
            verdict(s.exit_status(INIT, 9)).weakened_by,
            [
                "3 events lost (never recorded): another failure may be among them",
                "12 older events overwritten by newer ones: what came before them is not known"
            ]
        );
    }
}
