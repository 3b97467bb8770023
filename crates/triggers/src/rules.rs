//! Which conditions trip a trigger.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Signal, closest};

/// The rules of one container. The default applies to an installation without configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Restarts in a window of time. Each of these rules trips by itself.
    pub restarts: Vec<RestartRule>,
    /// The first crash of a loop, and the first one with another cause.
    pub first_crash: bool,
    /// The kubelet waits before it restarts the container: waiting reason CrashLoopBackOff, or the event `BackOff`.
    pub crash_loop_back_off: bool,
    /// The OOM killer chose a process of the container.
    pub oom_killed: bool,
    /// Exit codes; a signal has 128 + its number.
    pub exit_codes: Vec<u8>,
    /// Signals that ended the container, or its exit code 128 + their number.
    pub signals: Vec<Signal>,
    /// The kubelet killed the container because its liveness or startup probe failed.
    pub liveness: bool,
    /// The readiness probe failed; the container lives on.
    pub readiness: bool,
    /// How long a run must last until the loop before it is over.
    #[serde(with = "humantime_serde")]
    pub cool_down: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let within = |more_than, minutes: u64| RestartRule {
            more_than,
            within: Duration::from_secs(60 * minutes),
        };
        Self {
            restarts: vec![within(4, 2), within(5, 10)],
            first_crash: true,
            crash_loop_back_off: true,
            oom_killed: true,
            exit_codes: Vec::new(),
            signals: Vec::new(),
            liveness: true,
            readiness: false,
            cool_down: Duration::from_secs(600),
        }
    }
}

/// More than a number of restarts within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnyRestartRule")]
pub struct RestartRule {
    /// The rule trips if there are more restarts than this; at most [`Self::MOST`].
    pub more_than: u32,
    /// The window; at most [`Self::LONGEST`].
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

/// A rule whose numbers may be out of bounds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyRestartRule {
    more_than: u32,
    #[serde(with = "humantime_serde")]
    within: Duration,
}

impl TryFrom<AnyRestartRule> for RestartRule {
    type Error = String;

    fn try_from(AnyRestartRule { more_than, within }: AnyRestartRule) -> Result<Self, String> {
        if more_than > Self::MOST {
            return Err(format!("more_than: {more_than} is above {}", Self::MOST));
        }
        if within.is_zero() || within > Self::LONGEST {
            let within = humantime::format_duration(within);
            return Err(format!("within: {within} is not between 1ns and 24h"));
        }
        Ok(Self { more_than, within })
    }
}

impl RestartRule {
    /// Each restart is remembered, so the number of restarts is bounded.
    pub const MOST: u32 = 1000;
    /// The longest window.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

    fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(more_than, within)| {
            Some(AnyRestartRule {
                more_than: more_than.trim().parse().ok()?,
                within: humantime::parse_duration(within.trim()).ok()?,
            })
        });
        parsed
            .ok_or_else(|| format!("`restarts>{text}` must be written as in `restarts>4/2m`"))?
            .try_into()
    }
}

/// Names of the rules without an argument, as in annotations.
const PLAIN: [&str; 6] = [
    "default",
    "first-crash",
    "crash-loop-back-off",
    "oom-killed",
    "liveness",
    "readiness",
];

impl Rules {
    /// Parses the compact form that annotations use: rules separated by commas. Each rule is one of
    ///
    /// `default` (those of `configured`), `first-crash`, `crash-loop-back-off`, `oom-killed`, `liveness`, `readiness`,
    /// `restarts>4/2m`, `exit-code=3`, `signal=SIGSEGV`
    ///
    /// for instance `default, exit-code=3`. Rules that are not named are off; the cool-down is the configured one.
    ///
    /// # Errors
    ///
    /// A sentence that says which rule is wrong and what it might mean.
    pub fn parse(text: &str, configured: &Self) -> Result<Self, String> {
        let mut rules = Self {
            restarts: Vec::new(),
            first_crash: false,
            crash_loop_back_off: false,
            oom_killed: false,
            exit_codes: Vec::new(),
            signals: Vec::new(),
            liveness: false,
            readiness: false,
            cool_down: configured.cool_down,
        };
        for rule in text.split(',').map(str::trim) {
            rules.add(rule, configured)?;
        }
        Ok(rules)
    }

    fn add(&mut self, rule: &str, configured: &Self) -> Result<(), String> {
        if let Some(restarts) = rule.strip_prefix("restarts>") {
            self.restarts.push(RestartRule::parse(restarts)?);
        } else if let Some(code) = rule.strip_prefix("exit-code=") {
            let code = code
                .parse()
                .map_err(|_| format!("`{rule}`: exit codes go from 0 to 255"))?;
            self.exit_codes.push(code);
        } else if let Some(signal) = rule.strip_prefix("signal=") {
            self.signals.push(signal.parse()?);
        } else {
            match rule {
                "default" => self.add_all(configured),
                "first-crash" => self.first_crash = true,
                "crash-loop-back-off" => self.crash_loop_back_off = true,
                "oom-killed" => self.oom_killed = true,
                "liveness" => self.liveness = true,
                "readiness" => self.readiness = true,
                _ => return Err(unknown(rule)),
            }
        }
        Ok(())
    }

    fn add_all(&mut self, other: &Self) {
        let Self {
            restarts,
            first_crash,
            crash_loop_back_off,
            oom_killed,
            exit_codes,
            signals,
            liveness,
            readiness,
            cool_down: _,
        } = other;
        self.restarts.extend(restarts);
        self.first_crash |= first_crash;
        self.crash_loop_back_off |= crash_loop_back_off;
        self.oom_killed |= oom_killed;
        self.exit_codes.extend(exit_codes);
        self.signals.extend(signals);
        self.liveness |= liveness;
        self.readiness |= readiness;
    }
}

fn unknown(rule: &str) -> String {
    let word = rule.split(['=', '>']).next().unwrap_or(rule).trim();
    let meant = closest(
        word,
        PLAIN
            .into_iter()
            .chain(["restarts>4/2m", "exit-code=3", "signal=SIGSEGV"]),
    );
    match meant {
        Some(meant) => format!("there is no rule `{rule}`; did you mean `{meant}`?"),
        None => format!(
            "there is no rule `{rule}`; there are {}, `restarts>4/2m`, `exit-code=3` and `signal=SIGSEGV`",
            PLAIN.map(|name| format!("`{name}`")).join(", "),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rules, String> {
        Rules::parse(text, &Rules::default())
    }

    #[test]
    fn the_compact_form_has_every_rule() {
        let all = parse(
            "restarts>4/2m, restarts>5/10m,first-crash, crash-loop-back-off, oom-killed, exit-code=3, signal=SEGV, liveness, readiness",
        )
        .unwrap();
        let expected = Rules {
            exit_codes: vec![3],
            signals: vec!["SIGSEGV".parse().unwrap()],
            readiness: true,
            ..Rules::default()
        };
        assert_eq!(all, expected);
        assert_eq!(parse("default").unwrap(), Rules::default());
        let one = parse("readiness").unwrap();
        assert!(one.readiness && !one.first_crash && one.restarts.is_empty());
        let more = parse("default, exit-code=3").unwrap();
        assert!(more.first_crash && more.exit_codes == [3]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("oomkilled", "`oom-killed`"),
            ("first_crash", "`first-crash`"),
            ("restarts>4", "`restarts>4/2m`"),
            ("restarts=4/2m", "restarts>4/2m"),
            ("restarts>4/soon", "`restarts>4/2m`"),
            ("restarts>2000/2m", "1000"),
            ("restarts>2/0s", "24h"),
            ("restarts>2/25h", "24h"),
            ("exit-code=256", "255"),
            ("signal=SEGF", "SIGSEGV"),
            ("", "there are"),
            ("first-crash,", "there are"),
            ("everything", "there are"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn rules_are_read_from_a_file() {
        let rules: Rules = serde_json::from_str(
            r#"{"restarts": [{"more_than": 2, "within": "1h"}], "signals": ["SEGV", 6], "cool_down": "1m"}"#,
        )
        .unwrap();
        assert_eq!(rules.restarts.len(), 1);
        assert_eq!(rules.signals.len(), 2);
        assert!(rules.first_crash);
        let written = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&written).unwrap(), rules);
        for wrong in [
            r#"{"restart": []}"#,
            r#"{"restarts": [{"more_than": 2}]}"#,
            r#"{"restarts": [{"more_than": 2, "within": "48h"}]}"#,
            r#"{"exit_codes": [256]}"#,
        ] {
            assert!(serde_json::from_str::<Rules>(wrong).is_err(), "{wrong}");
        }
    }
}
