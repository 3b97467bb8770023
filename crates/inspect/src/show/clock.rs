//! The time of day of one event after another.

use capture_format::{BootTime, Host};

use super::number::push_zeros;
use events::decode::time::epoch;

const SECOND: i128 = 1_000_000_000;

/// Writes times as [`time_of_day`](events::decode::time::time_of_day) does. The date is computed once for all events of
/// a second.
#[derive(Debug)]
pub(super) struct Clock {
    offset: i128,
    /// The second whose text is in `prefix`, since the Unix epoch.
    second: Option<i128>,
    /// `2023-11-14T22:13:20.`; empty for a second that jiff does not know.
    prefix: String,
}

impl Clock {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            offset: host.clock_offset.into(),
            second: None,
            prefix: String::new(),
        }
    }

    /// Appends the time of day (UTC, RFC 3339, nanoseconds) of an event. Returns whether the event has one.
    pub(super) fn push(&mut self, out: &mut String, time: BootTime) -> bool {
        let time = i128::from(time.0) + self.offset;
        let second = time.div_euclid(SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            let text = epoch(second * SECOND).unwrap_or_default();
            self.prefix.clear();
            self.prefix
                .push_str(text.strip_suffix("000000000Z").unwrap_or_default());
        }
        if self.prefix.is_empty() {
            return false;
        }
        out.push_str(&self.prefix);
        push_zeros(out, time.rem_euclid(SECOND) as u64, 9);
        out.push('Z');
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::decode::time::time_of_day;

    #[test]
    fn it_shows_what_the_calendar_says() {
        for clock_offset in [0, -5, 1_700_000_000_123_456_789, i64::MIN, i64::MAX] {
            let host = Host {
                clock_offset,
                ..Host::default()
            };
            let mut clock = Clock::new(&host);
            for time in [
                0,
                1,
                999_999_999,
                1_000_000_000,
                86_400_000_000_000,
                3,
                u64::MAX,
            ] {
                let mut out = String::new();
                let has = clock.push(&mut out, BootTime(time));
                assert_eq!(
                    has.then_some(out),
                    time_of_day(BootTime(time), &host),
                    "{time} {clock_offset}"
                );
            }
        }
    }
}
