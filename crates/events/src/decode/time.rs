//! Times as people read them.

use capture_format::{BootTime, Host};

/// A length of time with two or three significant digits: `41 ms`, `3.2 s`, `2.6 min`, `5 h`.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{} µs", nanoseconds / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        1_000_000_000..10_000_000_000 => format!("{seconds:.1} s"),
        10_000_000_000..120_000_000_000 => format!("{seconds:.0} s"),
        120_000_000_000..7_200_000_000_000 => format!("{} min", digits(seconds / 60.0)),
        7_200_000_000_000..172_800_000_000_000 => format!("{} h", digits(seconds / 3600.0)),
        _ => format!("{} days", digits(seconds / 86400.0)),
    }
}

/// A length of time that something lasted at least, as [`duration`] has it, but never rounded up.
#[must_use]
pub fn at_least(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let step = match nanoseconds / SECOND {
        0 => 1,
        1..10 => SECOND / 10,
        10..120 => SECOND,
        120..600 => 6 * SECOND,
        600..7200 => 60 * SECOND,
        7200..36_000 => 360 * SECOND,
        36_000..172_800 => 3600 * SECOND,
        172_800..864_000 => 8640 * SECOND,
        _ => 86_400 * SECOND,
    };
    duration(nanoseconds - nanoseconds % step)
}

/// A number below 10 has one digit after the point, unless that digit is 0.
fn digits(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None if value < 10.0 => text,
        None => format!("{value:.0}"),
    }
}

/// A size in binary units: `64 MiB`, `1.5 GiB`, `512 B`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let value = bytes as f64 / (1u64 << (10 * unit)) as f64;
    let text = format!("{value:.1}");
    format!(
        "{} {}",
        text.strip_suffix(".0").unwrap_or(&text),
        units[unit]
    )
}

/// Time of day (UTC, RFC 3339, nanoseconds) of an event; `None` if jiff does not know the year.
#[must_use]
pub fn time_of_day(time: BootTime, host: &Host) -> Option<String> {
    epoch(host.time_of_day(time))
}

/// Nanoseconds since the Unix epoch as RFC 3339.
#[must_use]
pub fn epoch(nanoseconds: i128) -> Option<String> {
    let timestamp = jiff::Timestamp::from_nanosecond(nanoseconds).ok()?;
    Some(format!("{timestamp:.9}"))
}

/// A time after a run's start, in nanoseconds, as `show` has it: `+0.041339`.
#[must_use]
pub fn since_start(offset: u64) -> String {
    format!(
        "+{}.{:06}",
        offset / 1_000_000_000,
        offset % 1_000_000_000 / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        let texts = [
            0,
            999,
            41_000,
            41_900_000,
            3_240_000_000,
            59_600_000_000,
            155_000_000_000,
            180_000_000_000,
            720_000_000_000,
            9_000_000_000_000,
            u64::MAX,
        ]
        .map(duration);
        assert_eq!(
            texts,
            [
                "0 ns",
                "999 ns",
                "41 µs",
                "41 ms",
                "3.2 s",
                "60 s",
                "2.6 min",
                "3 min",
                "12 min",
                "2.5 h",
                "213504 days"
            ]
        );
    }

    #[test]
    fn sizes_are_in_binary_units() {
        assert_eq!(
            [0, 512, 1 << 20, 3 << 29, u64::MAX].map(size),
            ["0 B", "512 B", "1 MiB", "1.5 GiB", "16 EiB"]
        );
    }

    #[test]
    fn a_clock_that_cannot_be_gives_no_time() {
        let host = Host {
            clock_offset: 1_700_000_000_000_000_000,
            ..Host::default()
        };
        assert_eq!(
            time_of_day(BootTime(1_000_000_001), &host).as_deref(),
            Some("2023-11-14T22:13:21.000000001Z")
        );
        assert_eq!(
            time_of_day(
                BootTime(u64::MAX),
                &Host {
                    clock_offset: i64::MAX,
                    ..Host::default()
                }
            )
            .as_deref(),
            Some("2846-10-30T23:21:50.564327422Z")
        );
        assert_eq!(epoch(i128::MAX), None);
    }
}
