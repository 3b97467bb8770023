//! A moment of a run, in the ways that people write it.

use std::fmt;
use std::str::FromStr;

use capture_format::{BootTime, Header, Run};

use crate::filter::time::{DAY, duration, instant, time_of_day};

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds after the run's start: `1.5s`, `+20ms`.
    SinceStart(i128),
    /// Nanoseconds before the run's end: `-2s`.
    BeforeEnd(i128),
    /// Nanoseconds since the Unix epoch: `2026-11-20T23:36:04Z`.
    Instant(i128),
    /// Nanoseconds since midnight, UTC: `23:36:04`. The day is chosen so that the moment is in the run or nearest to
    /// it.
    TimeOfDay(i128),
}

impl Moment {
    pub(super) fn counts_from_end(self) -> bool {
        matches!(self, Self::BeforeEnd(_) | Self::TimeOfDay(_))
    }

    /// The moment in the clock of events. It may be before the machine's boot.
    pub(super) fn boottime(self, header: &Header, run: &Run, last: BootTime) -> i128 {
        let start = i128::from(run.start.0);
        let end = i128::from(run.end.unwrap_or(last).0).max(start);
        let offset = i128::from(header.host.clock_offset);
        match self {
            Self::SinceStart(after) => start.saturating_add(after),
            Self::BeforeEnd(before) => end.saturating_sub(before),
            Self::Instant(epoch) => epoch.saturating_sub(offset),
            Self::TimeOfDay(time) => {
                let midnight = (start + offset).div_euclid(DAY) * DAY - offset;
                let days = [0, DAY, -DAY].map(|day| midnight + day + time);
                let distance = |at: &i128| (start - at).max(at - end).max(0);
                days.into_iter().min_by_key(distance).unwrap_or(start)
            }
        }
    }
}

/// The text is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMoment;

impl fmt::Display for NoMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this is no time: give the time since the run's start (1.5s, 20ms), before its end (-2s), a time of day in UTC (23:36:04.5) \
             or a whole time (2026-11-20T23:36:04Z)",
        )
    }
}

impl std::error::Error for NoMoment {}

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let clock = || Some(Self::TimeOfDay(time_of_day(text)?));
        if let Some(moment) = instant(text).map(Self::Instant).or_else(clock) {
            return Ok(moment);
        }
        // A number without a unit is not accepted, because people may mean seconds or nanoseconds.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let length = has_unit.then(|| duration(text)).flatten().ok_or(NoMoment)?;
        Ok(match text.strip_prefix('-') {
            Some(_) => Self::BeforeEnd(-length),
            None => Self::SinceStart(length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixtures::{START, header};

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn moments_are_named_in_four_ways() {
        let cases = [
            ("+1.5s", Moment::SinceStart(1_500_000_000)),
            ("1500ms", Moment::SinceStart(1_500_000_000)),
            ("0s", Moment::SinceStart(0)),
            ("-2s", Moment::BeforeEnd(2 * SECOND)),
            ("-1m30s", Moment::BeforeEnd(90 * SECOND)),
            ("23:36:04.5", Moment::TimeOfDay(84_964_500_000_000)),
            ("1970-01-01T00:00:02Z", Moment::Instant(2 * SECOND)),
            ("1970-01-01T01:00:02+01:00", Moment::Instant(2 * SECOND)),
        ];
        for (text, moment) in cases {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        for text in [
            "",
            "5",
            "-5",
            "0x5",
            "soon",
            "2026-11-20",
            "25:00:00",
            "--2s",
            "-",
            "s",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(NoMoment), "{text}");
        }
    }

    #[test]
    fn moments_are_those_of_the_run() {
        let header = header();
        let run = Run {
            start: START,
            end: Some(START.plus(5_000_000_000)),
            ..Run::default()
        };
        let at = |text: &str| {
            let moment: Moment = text.parse().unwrap();
            moment.boottime(&header, &run, BootTime(0)) - i128::from(START.0)
        };
        assert_eq!(at("1.5s"), 3 * SECOND / 2);
        assert_eq!(at("-2s"), 3 * SECOND);
        let start = events::decode::time::time_of_day(START, &header.host).unwrap();
        assert_eq!(at(&start), 0);
        let (_, clock) = start.trim_end_matches('Z').split_once('T').unwrap();
        assert_eq!(at(clock), 0);
    }

    #[test]
    fn a_time_of_day_may_be_after_midnight() {
        let run = Run {
            start: BootTime(86_399_000_000_000),
            end: Some(BootTime(86_402_000_000_000)),
            ..Run::default()
        };
        let at = |text: &str| {
            let moment: Moment = text.parse().unwrap();
            moment.boottime(&Header::default(), &run, BootTime(0))
        };
        assert_eq!(at("23:59:59"), DAY - SECOND);
        assert_eq!(at("00:00:01"), DAY + SECOND);
        assert_eq!(at("23:59:58"), DAY - 2 * SECOND);
    }

    #[test]
    fn a_run_without_an_end_ends_with_its_last_event() {
        let run = Run::default();
        let moment = Moment::BeforeEnd(SECOND);
        assert_eq!(
            moment.boottime(&Header::default(), &run, BootTime(9_000_000_000)),
            8 * SECOND
        );
    }
}
