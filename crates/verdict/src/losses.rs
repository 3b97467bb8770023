//! The losses of a run, in words. Every part of lastword that reports losses uses the same words.

use std::collections::BTreeMap;

use capture_format::Losses;

use events::escape::escaped;

/// One of the figures.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// How many.
    pub count: u64,
    /// What is counted: `events lost`.
    pub what: &'static str,
    /// The same as the heading of a column.
    pub head: &'static str,
    /// How the loss comes about, and what it means.
    pub meaning: &'static str,
}

/// All figures. Lost and overwritten come first: they are reported even if they are 0.
pub fn figures(losses: &Losses) -> [Figure; 6] {
    let Losses {
        lost,
        overwritten,
        torn,
        compat,
        unreadable,
        recursion_misses,
    } = *losses;
    let figure = |count, what, head, meaning| Figure {
        count,
        what,
        head,
        meaning,
    };
    [
        figure(
            lost,
            "lost (never recorded)",
            "Lost",
            "never recorded: a part of the container found no recorder",
        ),
        figure(
            overwritten,
            "overwritten (displaced by newer events)",
            "Overwritten",
            "recorded, then displaced by newer events: the oldest are gone, the last are here",
        ),
        figure(
            torn,
            "events damaged in the ring",
            "Damaged",
            "damaged in memory, as a writer was overtaken while it wrote",
        ),
        figure(
            compat,
            "calls in the 32-bit ABI, which are not decoded",
            "Not decoded",
            "calls of 32-bit programs, which are counted only",
        ),
        figure(
            unreadable,
            "payloads that could not be read",
            "Unreadable",
            "payloads whose memory could not be read; the events are here without them",
        ),
        figure(
            recursion_misses,
            "probe runs the kernel skipped on this node",
            "Skipped",
            "times the kernel skipped a probe on this node, for any of its containers",
        ),
    ]
}

/// The figures that are reported: lost and overwritten always, the others if they are not 0.
pub fn told(losses: &Losses) -> impl Iterator<Item = Figure> {
    let figures = figures(losses).into_iter().enumerate();
    figures
        .filter(|(at, figure)| *at < 2 || figure.count > 0)
        .map(|(_, figure)| figure)
}

/// `0 lost (never recorded), 3 overwritten (displaced by newer events)`.
#[must_use]
pub fn losses_text(losses: &Losses) -> String {
    let told = told(losses).map(|Figure { count, what, .. }| format!("{count} {what}"));
    told.collect::<Vec<_>>().join(", ")
}

/// Which probes the kernel skipped, the most often skipped first: `sched_process_exit 12, sys_exit 3`; empty if none
/// was skipped.
#[must_use]
pub fn skipped_text(skipped: &BTreeMap<String, u64>) -> String {
    /// More than the number of probes that exist; a hostile file may name any number.
    const MOST: usize = 16;
    let mut all: Vec<_> = skipped.iter().filter(|(_, count)| **count > 0).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let told = all.into_iter().take(MOST);
    let told = told.map(|(probe, count)| format!("{} {count}", escaped(probe.as_bytes())));
    told.collect::<Vec<_>>().join(", ")
}

/// The runs that are missing between those of a capture, one range a line; nobody knows how they ended.
pub fn missing_runs(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    let numbers: Vec<u32> = numbers.collect();
    let gaps = numbers.windows(2).map(|pair| (pair[0], pair[1]));
    let gaps = gaps.filter_map(|(before, after)| {
        let (first, last) = (before.checked_add(1)?, after.checked_sub(1)?);
        let which = match last.checked_sub(first)? {
            0 => format!("run {first} is"),
            _ => format!("runs {first} to {last} are"),
        };
        Some(format!(
            "{which} not in the capture: not recorded, or not kept"
        ))
    });
    gaps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_not_there_are_told() {
        let told = |numbers: &[u32]| missing_runs(numbers.iter().copied());
        assert_eq!(told(&[1, 2, 3]), [""; 0]);
        assert_eq!(
            told(&[1, 3, 7]),
            [
                "run 2 is not in the capture: not recorded, or not kept",
                "runs 4 to 6 are not in the capture: not recorded, or not kept"
            ]
        );
        assert_eq!(told(&[7, 7, 3, u32::MAX, 0]).len(), 1);
    }

    #[test]
    fn probes_that_were_skipped_are_named() {
        let skipped = [
            ("sched_process_exit", 3),
            ("sys_exit", 12),
            ("x\n", 1),
            ("oom", 0),
        ];
        let skipped = skipped.map(|(probe, count)| (probe.to_owned(), count));
        assert_eq!(
            skipped_text(&skipped.into()),
            r"sys_exit 12, sched_process_exit 3, x\n 1"
        );
        assert_eq!(skipped_text(&BTreeMap::new()), "");
    }

    #[test]
    fn lost_and_overwritten_are_always_told() {
        assert_eq!(
            losses_text(&Losses::default()),
            "0 lost (never recorded), 0 overwritten (displaced by newer events)"
        );
        let torn = Losses {
            torn: 2,
            ..Losses::default()
        };
        assert!(losses_text(&torn).ends_with(", 2 events damaged in the ring"));
    }
}
