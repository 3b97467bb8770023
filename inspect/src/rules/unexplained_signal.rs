//! Killed by a signal whose sender was not recorded.

use capture_format::SignalOrigin;

use super::outside_signal::evidence;
use super::{Case, Cause, Verdict};

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let signal = case.signal()?;
    let sent = case
        .culprit()
        .and_then(|culprit| case.facts.signals.last(culprit.pid, signal));
    let who = match sent.and_then(|sent| sent.origin) {
        Some(SignalOrigin::Kernel) => "the kernel sent it",
        _ => "who sent it was not recorded",
    };
    Some(Verdict {
        sentence: format!("{}: {who}", case.ended()),
        cause: Cause::KilledBySignal,
        subject: signal.to_string(),
        confidence: 60,
        why: "the wait status names the signal".into(),
        evidence: sent.map(evidence).into_iter().chain(case.words_evidence()).collect(),
        next_step: "Look at the node at that time (`journalctl`, `dmesg`): a runtime, a person or the kernel sent the signal.".into(),
        weakened_by: case.missing_events(),
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
        assert_eq!(verdict.cause, Cause::KilledBySignal);
        assert_eq!(
            verdict.sentence,
            "app was killed by SIGKILL, 3 ms after start: who sent it was not recorded"
        );
        assert_eq!(
            verdict.weakened_by,
            ["0 events lost (never recorded), 12 overwritten by newer ones"]
        );
    }
}
