//! The clock of the triggers.

use capture_format::{BootTime, WallTime};
use kubernetes::Timestamp;
use triggers::Time;

use crate::host;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// CLOCK_BOOTTIME, which nobody can set, shifted so that it was the time of day when the agent started. So a
/// cool-down lasts as long as it should, and times that an earlier agent wrote down can be compared with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME when the agent started, in nanoseconds.
    offset: i64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            offset: host::clock_offset(),
        }
    }

    pub(super) fn now(self) -> Time {
        self.at(host::boottime())
    }

    /// A time of the clock of events.
    pub(super) fn at(self, time: BootTime) -> Time {
        Time(time.0.saturating_add_signed(self.offset))
    }

    /// A time of day that others report. A time from before the clock was set may lie in the future.
    pub(super) fn of_day(self, time: WallTime) -> Time {
        self.of_day_set(time, host::clock_offset())
    }

    /// The same for a time that the API server reports.
    pub(super) fn of_api(self, timestamp: Timestamp) -> Time {
        self.of_day(WallTime(
            u64::try_from(timestamp.as_nanosecond()).unwrap_or_default(),
        ))
    }

    /// The time of day of a time of this clock, for people.
    pub(super) fn wall(self, time: Time) -> WallTime {
        let set = host::clock_offset().saturating_sub(self.offset);
        WallTime(time.0.saturating_add_signed(set))
    }

    /// `offset` is CLOCK_REALTIME minus CLOCK_BOOTTIME now. Only whole seconds of a change count, so that a time that
    /// is reported twice is the same time twice while the clock is being slewed.
    fn of_day_set(self, time: WallTime, offset: i64) -> Time {
        let set = offset.saturating_sub(self.offset);
        let seconds = set.saturating_add(set.signum() * SECOND / 2) / SECOND;
        Time(time.0.saturating_add_signed(-seconds * SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn times_of_day_are_where_they_were_although_the_clock_was_set() {
        let clock = Clock {
            offset: 1000 * SECOND,
        };
        let day = |time: u64, offset: i64| WallTime(time.saturating_add_signed(offset));
        for set in [0, HOUR as i64, -(HOUR as i64), -900 * SECOND] {
            let offset = clock.offset + set;
            let told = clock.of_day_set(day(2 * HOUR, offset), offset);
            assert_eq!(told, clock.at(BootTime(2 * HOUR)), "{set}");
        }
        // From before this start of the machine.
        assert_eq!(clock.of_day_set(WallTime(7), clock.offset), Time(7));
    }

    #[test]
    fn what_is_told_twice_is_the_same_while_the_clock_is_slewed() {
        let clock = Clock { offset: 0 };
        for slewed in [-SECOND / 3, -1, 0, 1, SECOND / 3] {
            assert_eq!(
                clock.of_day_set(WallTime(HOUR), slewed),
                Time(HOUR),
                "{slewed}"
            );
        }
    }
}
