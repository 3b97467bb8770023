//! Whether a command is started again, and after how long: decided as the kubelet decides for a container.

use std::time::Duration;

use capture_format::ExitStatus;
use clap::ValueEnum;

/// A pod's restartPolicy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RestartPolicy {
    /// Whatever it exits with
    Always,
    /// Unless it exits with 0
    #[default]
    OnFailure,
    /// Never: one run
    Never,
}

impl RestartPolicy {
    /// Whether a command that ended with this status is started again.
    pub(super) fn restarts(self, status: Option<ExitStatus>) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => status != Some(ExitStatus::Code(0)),
            Self::Never => false,
        }
    }
}

/// The delay before the first restart; it doubles with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// The kubelet's limit, `MaxContainerBackOff`.
    const LONGEST: Duration = Duration::from_secs(300);

    /// Parses `none` or a duration such as `10s` or `500ms`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Duration::ZERO));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("{error}; give a duration such as 10s or 500ms, or none"))
    }

    /// The delay before restart number `restart`, counted from 1.
    pub(super) fn before(self, restart: u32) -> Duration {
        let factor = 1u32
            .checked_shl(restart.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.0.saturating_mul(factor).min(Self::LONGEST.max(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_those_of_a_pod() {
        let (good, bad) = (Some(ExitStatus::Code(0)), Some(ExitStatus::Code(1)));
        assert!(RestartPolicy::Always.restarts(good));
        assert!(RestartPolicy::OnFailure.restarts(bad) && !RestartPolicy::OnFailure.restarts(good));
        assert!(!RestartPolicy::Never.restarts(bad));
        // A command that could not be started counts as failed.
        assert!(RestartPolicy::OnFailure.restarts(None));
    }

    #[test]
    fn the_delay_doubles_up_to_the_kubelets_limit() {
        let backoff = Backoff::parse("10s").unwrap();
        let delays: Vec<u64> = (1..=7)
            .map(|restart| backoff.before(restart).as_secs())
            .collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.before(u32::MAX).as_secs(), 300);
        assert_eq!(Backoff::parse("none").unwrap().before(9), Duration::ZERO);
        assert!(Backoff::parse("ten").unwrap_err().contains("10s"));
    }
}
