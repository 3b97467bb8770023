//! The time axis of a drawing: a long stretch without events is drawn short, and says how long it was.

/// A stretch of time, and the place at which it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) x: f64,
    pub(super) width: f64,
    /// Whether nothing happened in it; then it is not drawn to scale.
    pub(super) idle: bool,
}

/// Converts times to places.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) segments: Vec<Segment>,
}

/// A stretch is idle if it is longer than the rest divided by this number.
const IDLE_SHARE: u64 = 2;
/// How many stretches are drawn short: the longest ones.
const MAX_IDLE: usize = 3;
/// Width of an idle stretch.
const IDLE_WIDTH: f64 = 72.0;

impl Axis {
    /// Draws `times` (sorted, at least one) from `left` to `right`.
    pub(super) fn new(times: &[u64], left: f64, right: f64) -> Self {
        let (first, last) = (times[0], times[times.len() - 1]);
        let mut idle = idle(times);
        idle.sort_unstable();
        let short: u64 = idle.iter().map(|(from, to)| to - from).sum();
        let busy = ((last - first) - short).max(1) as f64;
        let scale = (right - left - IDLE_WIDTH * idle.len() as f64) / busy;
        let (mut segments, mut x, mut at) = (Vec::new(), left, first);
        let mut add = |from: u64, to: u64, idle: bool| {
            let width = if idle {
                IDLE_WIDTH
            } else {
                (to - from) as f64 * scale
            };
            segments.push(Segment {
                from,
                to,
                x,
                width,
                idle,
            });
            x += width;
        };
        for (from, to) in idle {
            add(at, from, false);
            add(from, to, true);
            at = to;
        }
        add(at, last, false);
        Self { segments }
    }

    /// The place at which a time is drawn; times outside are drawn at the edge.
    pub(super) fn x(&self, time: u64) -> f64 {
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| time <= segment.to)
            .or(self.segments.last())
        else {
            return 0.0;
        };
        let length = (segment.to - segment.from).max(1) as f64;
        let into = time.clamp(segment.from, segment.to) - segment.from;
        segment.x + segment.width * (into as f64 / length)
    }
}

/// The longest stretches without an event, if they are much longer than the rest.
fn idle(times: &[u64]) -> Vec<(u64, u64)> {
    let mut gaps: Vec<(u64, u64)> = times.windows(2).map(|pair| (pair[0], pair[1])).collect();
    gaps.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
    let mut rest = times[times.len() - 1] - times[0];
    let mut idle = Vec::new();
    for (from, to) in gaps.into_iter().take(MAX_IDLE) {
        let without = rest - (to - from);
        // If there is nothing else, the stretch is the whole drawing.
        if to - from <= without / IDLE_SHARE || without == 0 {
            break;
        }
        rest = without;
        idle.push((from, to));
    }
    idle
}

/// Round times from `from` to `to`, at most `most` of them, with a label each.
pub(super) fn ticks(from: u64, to: u64, most: u64) -> Vec<(u64, String)> {
    let Some(step) = STEPS.into_iter().find(|step| (to - from) / step <= most) else {
        return Vec::new();
    };
    let first = from.div_ceil(step);
    let last = to / step;
    (first..=last)
        .map(|number| (number * step, label(number * step, step, to)))
        .collect()
}

/// 1, 2 and 5 times each power of ten up to seconds, then the steps that clocks have.
const STEPS: [u64; 39] = {
    let mut steps = [0; 39];
    let (mut at, mut unit) = (0, 1);
    while at < 30 {
        (steps[at], steps[at + 1], steps[at + 2]) = (unit, 2 * unit, 5 * unit);
        (at, unit) = (at + 3, unit * 10);
    }
    let minutes = [1, 2, 5, 10, 30, 60, 180, 720, 1440];
    while at < 39 {
        steps[at] = minutes[at - 30] * 60_000_000_000;
        at += 1;
    }
    steps
};

/// `24.4 ms`: in the unit of the longest time, with as many decimals as are needed to distinguish the steps.
fn label(time: u64, step: u64, longest: u64) -> String {
    const CLOCK: [(u64, &str); 2] = [(3_600_000_000_000, "h"), (60_000_000_000, "min")];
    const DECIMAL: [(u64, &str); 4] = [
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "µs"),
        (1, "ns"),
    ];
    if let Some((unit, name)) = CLOCK
        .into_iter()
        .find(|(unit, _)| step.is_multiple_of(*unit))
    {
        return format!("{} {name}", time / unit);
    }
    let unit = DECIMAL.into_iter().find(|(unit, _)| longest >= *unit);
    let (unit, name) = unit.unwrap_or((1, "ns"));
    let tells = |decimals: &u32| step.is_multiple_of((unit / 10_u64.pow(*decimals)).max(1));
    let decimals = (0..9).find(tells).unwrap_or(9) as usize;
    format!("{:.decimals$} {name}", time as f64 / unit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_drawn_short() {
        let ms = 1_000_000;
        let axis = Axis::new(&[0, ms, 2 * ms, 60_000 * ms, 60_001 * ms], 0.0, 1000.0);
        let idle: Vec<bool> = axis.segments.iter().map(|segment| segment.idle).collect();
        assert_eq!(idle, [false, true, false]);
        let (before, after) = (axis.x(2 * ms), axis.x(60_000 * ms));
        assert!((after - before - IDLE_WIDTH).abs() < 1e-6);
        assert!(before > 500.0 && axis.x(u64::MAX) <= 1000.0 + 1e-6);
    }

    #[test]
    fn what_is_busy_throughout_is_to_scale() {
        let axis = Axis::new(&(0..100).collect::<Vec<_>>(), 100.0, 1000.0);
        assert_eq!(axis.segments.len(), 1);
        assert!((axis.x(99) - 1000.0).abs() < 1e-6 && (axis.x(0) - 100.0).abs() < 1e-6);
    }

    #[test]
    fn times_at_the_edges_of_what_can_be_said_are_drawn() {
        for times in [
            &[5][..],
            &[0, u64::MAX],
            &[0, 0, 0],
            &[0, 1, u64::MAX - 1, u64::MAX],
        ] {
            let axis = Axis::new(times, 0.0, 10.0);
            assert!(
                times.iter().all(|&time| axis.x(time).is_finite()),
                "{times:?}"
            );
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let labels = |from, to| -> Vec<String> {
            ticks(from, to, 5)
                .into_iter()
                .map(|(_, label)| label)
                .collect()
        };
        assert_eq!(labels(0, 6_040_000), ["0 ms", "2 ms", "4 ms", "6 ms"]);
        assert_eq!(labels(1_500, 5_000), ["2 µs", "3 µs", "4 µs", "5 µs"]);
        assert_eq!(
            labels(24_300_000, 24_900_000),
            ["24.4 ms", "24.6 ms", "24.8 ms"]
        );
        assert_eq!(
            labels(10_037_000_000, 10_052_000_000),
            ["10.040 s", "10.045 s", "10.050 s"]
        );
        assert_eq!(
            labels(0, 600_000_000_000),
            ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]
        );
        assert!(ticks(0, u64::MAX, 5).is_empty());
    }
}
