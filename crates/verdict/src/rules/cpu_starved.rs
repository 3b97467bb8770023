//! A program gave up waiting while its CPU limit held it back.
//!
//! The rule needs an exit code other than 0, last words that say that something took too long, and figures of the run's
//! cgroup by which the limit held the run back in at least every other period.
//!
//! The rule is wrong if what the program waited for was slow for another reason; what it waited for is not known. If a
//! container's probe timed out for lack of CPU, the rule `kubelet` says so.

use super::phrase::says;
use super::{Case, Cause, Finding};

/// How programs say that something took too long, in lower case.
const TOO_LONG: &[&str] = &[
    "timed out",
    "timeout",
    "deadline exceeded",
    "took too long",
    "watchdog",
    "did not start in time",
    "not ready after",
    "heartbeat",
];

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.exit_code().filter(|&code| code != 0)?;
    let throttled = case.throttled()?;
    let line = case.words.find(|text| says(text, TOO_LONG))?;
    Some(Finding {
rests_on: None,
        sentence: format!("{}, while {throttled}; {}", case.ended(), line.cited()),
        cause: Cause::CpuStarved,
        subject: "CPU limit".into(),
        score: 60,
        why: "the last words say that something took too long, and its CPU limit held it back at least every other period; what it waited for is not known".into(),
        evidence: vec![line.evidence()],
        next_step: "Raise resources.limits.cpu, and see whether it still takes too long.".into(),
        weakened_by: case.missing_events(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::Cpu;

    fn ended(words: &str, throttled_periods: u64) -> Cause {
        let mut s = Script::new(&["app"]);
        s.run.cpu = Some(Cpu {
            quota: Some(5_000_000),
            period: 100_000_000,
            periods: 100,
            throttled_periods,
            ..Cpu::default()
        });
        verdict(s.write(INIT, 2, words).exit(INIT, 1)).cause
    }

    #[test]
    fn a_wait_that_was_too_long_under_a_limit() {
        assert_eq!(
            ended("fatal: initialisation timed out after 10 s\n", 93),
            Cause::CpuStarved
        );
        assert_eq!(
            ended("fatal: initialisation timed out after 10 s\n", 3),
            Cause::ExitedNonZero
        );
        assert_eq!(ended("fatal: bad port\n", 93), Cause::ExitedNonZero);
    }
}
