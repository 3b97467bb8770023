//! Nothing that was recorded explains the end.
//!
//! The rule says so, and shows what there is: the last words, a process that a signal had killed right before, and what
//! may be missing from the recording. What else may be why is for the module `leads`. The rule always returns a verdict,
//! with the lowest score, so every other rule wins. It blames nothing, so it cannot be wrong.

use super::{Case, Cause, Finding};
use events::decode::time::duration;

/// How many lines are cited.
const MAX_LINES: usize = 6;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    Some(verdict(case))
}

pub(super) fn verdict(case: &Case<'_>) -> Finding {
    let mut evidence = case.said.evidence(MAX_LINES);
    let (killed, of_killed) = case.killed_before();
    evidence.extend(of_killed);
    let said = match (case.said.headline(), case.recorded_end()) {
        (Some(line), _) => case.cited(line),
        (None, Some(recorded)) => format!(
            ", and printed nothing in its last {}, which alone were recorded",
            duration(recorded)
        ),
        (None, None) => ", and printed nothing that was recorded".to_owned(),
    };
    Finding {
rests_on: None,
        sentence: format!("{}{said}{killed}; why is not known", case.ended()),
        cause: Cause::Unknown,
        subject: String::new(),
        score: 5,
        why: "nothing recorded explains the end".into(),
        evidence,
        next_step: "Read `lastword show` from the end backwards; if the program logs elsewhere, look there.".into(),
        weakened_by: case.missing_events().into_iter().chain(case.missing_beginning()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use capture_format::EventFlags;

    use super::*;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn silence_is_not_explained() {
        let mut s = Script::new(&["app"]);
        s.stat(INIT, "/usr/lib/python3.11/dist-packages", 2)
            .read(INIT, 3, "x", "y")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "app exited 1, 5 ms after start, and printed nothing that was recorded; why is not known"
        );
        assert_eq!(verdict.cause, Cause::Unknown);
    }

    fn adopted() -> Script {
        let mut s = Script::new(&["app"]);
        s.stat(INIT, "/usr/lib/python3.11/dist-packages", 2);
        for event in &mut s.events {
            event.flags = EventFlags::ADOPTED;
        }
        s
    }

    #[test]
    fn of_a_run_that_was_adopted_only_the_end_is_known() {
        let mut s = adopted();
        s.run.start.0 -= 30_000_000_000;
        let verdict = verdict(s.wait(2600).exit(INIT, 1));
        assert_eq!(
            verdict.sentence,
            "app exited 1, 33 s after start, and printed nothing in its last 2.6 s, which alone were recorded; why is not known"
        );
        assert_eq!(
            verdict.weakened_by,
            [
                "recorded from 30 s after start on, when the agent came: what happened before is not known"
            ]
        );
    }

    #[test]
    fn of_an_adopted_run_whose_start_nobody_knows_no_age_is_told() {
        let mut s = adopted();
        s.run.start = s.events[0].time;
        let verdict = verdict(s.wait(2600).exit(INIT, 1));
        assert_eq!(
            verdict.sentence,
            "app exited 1, and printed nothing in its last 2.6 s, which alone were recorded; why is not known"
        );
        assert_eq!(
            verdict.weakened_by,
            [
                "recorded from when the agent came, some time after the start: what happened before is not known"
            ]
        );
    }

    #[test]
    fn a_run_without_events_or_status_has_a_verdict_all_the_same() {
        let verdict = verdict(&Script::empty());
        assert_eq!(
            verdict.sentence,
            "the command was still running when the capture was taken, and printed nothing that was recorded; why is not known"
        );
    }
}
