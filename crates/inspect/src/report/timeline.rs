//! A run as a drawing: a lane for each process, a mark for whatever matters. Each mark links to its event.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capture_format::BootTime;
use maud::{Markup, html};

use super::axis::{Axis, ticks};
use super::bounded::newest;
use super::gather::{Gathered, Mark, Shape};
use super::page::none;
use super::processes;
use super::shown::Shown;
use events::decode::time::duration;

/// Geometry, in units of the drawing.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 168.0;
const RIGHT: f64 = 984.0;
const TOP: f64 = 42.0;
/// Heights of the labels: first those of times, below them those of idle stretches.
const TICKS: f64 = 13.0;
const IDLE: f64 = 31.0;
const LANE: f64 = 30.0;
/// Marks of one shape that are this close together become one mark.
const COLUMN: f64 = 7.0;
/// Width of the thinnest bar of activity.
const BAR: f64 = 3.0;
/// Characters of a lane's name.
const MAX_NAME: usize = 16;
/// The room that a tick's label needs.
const TICK: f64 = 90.0;

/// A process's lane.
struct Lane {
    pid: u32,
    name: Shown,
    /// The middle of the lane.
    y: f64,
    from: BootTime,
    to: BootTime,
}

pub(super) fn timeline(run: &Gathered) -> Markup {
    let Some(axis) = axis(run) else {
        return none("Nothing was recorded that could be drawn.");
    };
    let (lanes, others) = lanes(run);
    let bottom = TOP + LANE * lanes.len() as f64;
    let number = run.info.run.number;
    let summary = summary(run, lanes.len());
    html! {
        div.drawing tabindex="0" role="region" aria-label={ "Timeline of run " (number) } {
            svg.timeline viewBox={ "0 0 " (WIDTH) " " (bottom + 8.0) } role="group" aria-label=(summary) {
                (scale(run, &axis, bottom))
                @for lane in &lanes { (draw_lane(run, &axis, lane)) }
                (marks(run, &axis, &lanes))
            }
        }
        p.note { "Time since the start of the run, from left to right" @if axis.segments.iter().any(|it| it.idle) { "; what was idle is shaded, and drawn short" } "." }
        (legend())
        @if others > 0 { p.note { (others) " more process" @if others > 1 { "es" } " had less to show and " @if others > 1 { "have" } @else { "has" } " no lane." } }
        @if (run.activity.len() as u64) < run.info.events { p.note { "Only the newest " (run.activity.len()) " of " (run.info.events) " events are drawn." } }
    }
}

fn axis(run: &Gathered) -> Option<Axis> {
    let mut times: Vec<u64> = run.activity.iter().map(|&(time, _)| time.0).collect();
    times.extend(
        (!times.is_empty())
            .then_some(run.info.run.end)
            .flatten()
            .map(|end| end.0),
    );
    if run.activity.len() as u64 == run.info.events {
        times.extend((!times.is_empty()).then_some(run.info.run.start.0));
    }
    times.sort_unstable();
    (!times.is_empty()).then(|| Axis::new(&times, LEFT, RIGHT))
}

/// A description of the drawing for screen readers.
fn summary(run: &Gathered, lanes: usize) -> String {
    let cited = run.marks.iter().filter(|mark| mark.cited).count();
    let failed = run
        .marks
        .iter()
        .filter(|mark| mark.shape == Shape::Failure)
        .count();
    format!(
        "{lanes} processes, {failed} failed calls, {cited} events of evidence; the marks of evidence are links"
    )
}

/// The processes with the most events, parents above their children, and how many processes have no lane.
fn lanes(run: &Gathered) -> (Vec<Lane>, usize) {
    let mut spans: HashMap<u32, (BootTime, BootTime)> = HashMap::new();
    for &(time, pid) in &run.activity {
        let span = spans.entry(pid).or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
    }
    let mut weights: BTreeMap<u32, u64> = spans.keys().map(|&pid| (pid, 0)).collect();
    for mark in &run.marks {
        *weights.entry(mark.pid).or_default() += if mark.cited { 1_000_000 } else { 1 };
    }
    let init = run.facts.init().map(|init| init.pid);
    let mut by_weight: Vec<u32> = weights.keys().copied().collect();
    by_weight.sort_by_key(|pid| std::cmp::Reverse((Some(*pid) == init, weights[pid])));
    let chosen: BTreeSet<u32> = by_weight.iter().take(run.room.lanes).copied().collect();
    let order = processes::order(run);
    let place = |pid: &u32| order.get(pid).copied().unwrap_or(usize::MAX);
    let mut chosen: Vec<u32> = chosen
        .into_iter()
        .filter(|pid| spans.contains_key(pid))
        .collect();
    chosen.sort_by_key(place);
    let others = spans.len() - chosen.len();
    let lanes = chosen.into_iter().enumerate().map(|(at, pid)| Lane {
        pid,
        name: Shown::said(run.process_name(pid).as_str(), MAX_NAME),
        y: TOP + LANE * (at as f64 + 0.5),
        from: spans[&pid].0,
        to: spans[&pid].1,
    });
    (lanes.collect(), others)
}

/// The lines of the axis, their labels, and the idle stretches.
fn scale(run: &Gathered, axis: &Axis, bottom: f64) -> Markup {
    html! {
        @for segment in axis.segments.iter().filter(|segment| segment.idle) {
            rect.idle x=(round(segment.x)) y=(TOP - 4.0) width=(round(segment.width)) height=(bottom - TOP + 4.0) {}
            text.tick x=(round(segment.x + segment.width / 2.0)) y=(IDLE) text-anchor="middle" { (duration(segment.to - segment.from)) " idle" }
        }
        @for Tick { x, label, anchor } in labels(axis, run.info.run.start.0) {
            line.grid x1=(round(x)) x2=(round(x)) y1=(TICKS + 4.0) y2=(bottom) {}
            text.tick x=(round(x)) y=(TICKS) text-anchor=(anchor) { (label) }
        }
    }
}

/// A labelled time of the axis.
#[derive(Clone, Debug, PartialEq)]
struct Tick {
    x: f64,
    label: String,
    /// Which end of the label is at `x`.
    anchor: &'static str,
}

/// The first and the last time, round times between them and, if there is room, the ends of idle stretches. A run that
/// waited a long time between two moments has no room for round times, but its first and last time are always there.
fn labels(axis: &Axis, start: u64) -> Vec<Tick> {
    let since = |time: u64| time.saturating_sub(start);
    let edge = |time: u64, anchor| Tick {
        x: axis.x(time),
        label: match since(time) {
            0 => "0".to_owned(),
            since => duration(since),
        },
        anchor,
    };
    let (Some(first), Some(last)) = (axis.segments.first(), axis.segments.last()) else {
        return Vec::new();
    };
    let mut candidates = vec![edge(first.from, "start"), edge(last.to, "end")];
    for segment in axis.segments.iter().filter(|segment| !segment.idle) {
        let most = (segment.width / TICK) as u64;
        if most > 0 {
            let ticks = ticks(since(segment.from), since(segment.to), most);
            candidates.extend(ticks.into_iter().map(|(time, label)| Tick {
                x: axis.x(start.saturating_add(time)),
                label,
                anchor: "middle",
            }));
        }
    }
    for segment in axis.segments.iter().filter(|segment| segment.idle) {
        candidates.extend([segment.from, segment.to].map(|time| edge(time, "middle")));
    }
    let mut told: Vec<Tick> = Vec::new();
    for tick in candidates {
        // The label of a time at the edge of the drawing is beside the time and not centred on it.
        if told.iter().all(|other| (other.x - tick.x).abs() >= TICK) {
            told.push(tick);
        }
    }
    told.sort_by(|one, other| one.x.total_cmp(&other.x));
    told
}

fn draw_lane(run: &Gathered, axis: &Axis, lane: &Lane) -> Markup {
    let (from, to) = (axis.x(lane.from.0), axis.x(lane.to.0));
    let busy = bars(run, axis, lane);
    html! {
        text.lane x="0" y=(lane.y + 4.0) { (lane.name) tspan.pid dx="6" { (lane.pid) } }
        line.life x1=(round(from)) x2=(round(to.max(from + 1.0))) y1=(lane.y) y2=(lane.y) {}
        path.busy d=(busy) {}
    }
}

/// When something happened in a lane, as bars; bars that touch become one.
fn bars(run: &Gathered, axis: &Axis, lane: &Lane) -> String {
    let of_lane = run.activity.iter().filter(|(_, of)| *of == lane.pid);
    let columns = of_lane.map(|&(time, _)| (axis.x(time.0) / BAR).max(0.0) as u64);
    let columns: BTreeSet<u64> = columns.collect();
    let mut bars: Vec<(u64, u64)> = Vec::new();
    for column in columns {
        match bars.last_mut() {
            Some((from, count)) if *from + *count == column => *count += 1,
            _ => bars.push((column, 1)),
        }
    }
    let top = lane.y - 4.0;
    let bars = bars.into_iter().map(|(from, count)| {
        let (x, width) = (from as f64 * BAR, count as f64 * BAR);
        format!("M{x} {top}h{width}v8h-{width}z")
    });
    bars.collect()
}

/// The marks. Of marks with the same shape and place the newest is drawn; evidence is drawn above all others.
fn marks(run: &Gathered, axis: &Axis, lanes: &[Lane]) -> Markup {
    let mut merged: HashMap<(u32, Shape, bool, u64), (&Mark, u64)> = HashMap::new();
    for mark in &run.marks {
        let column = (axis.x(mark.time.0) / COLUMN) as u64;
        let entry = merged
            .entry((mark.pid, mark.shape, mark.cited, column))
            .or_insert((mark, 0));
        *entry = (mark, entry.1 + 1);
    }
    let mut merged: Vec<(&Mark, u64)> = merged.into_values().collect();
    merged.sort_by_key(|(mark, _)| (mark.cited, mark.shape, mark.event));
    let drawn = merged.iter().filter_map(|&(mark, count)| {
        let lane = lanes.iter().find(|lane| lane.pid == mark.pid)?;
        Some((mark, count, axis.x(mark.time.0), lane.y))
    });
    let drawn: Vec<_> = drawn.collect();
    let bounded = newest(drawn.iter(), run.room.timeline, |&(mark, count, x, y)| {
        draw_mark(run, mark, count, (x, y))
    });
    bounded.items
}

fn draw_mark(run: &Gathered, mark: &Mark, count: u64, (x, y): (f64, f64)) -> Markup {
    let place = format!("translate({} {})", round(x), round(y));
    let more = if count > 1 {
        format!(" (and {} more here)", count - 1)
    } else {
        String::new()
    };
    let shape = html! {
        @if mark.cited { circle.ring r="9.5" {} }
        (symbol(mark.shape))
        title { (mark.label) (more) }
    };
    html! {
        @if run.events.contains_key(&mark.event) {
            a transform=(place) href={ "#event-" (mark.event) } tabindex=(if mark.cited { "0" } else { "-1" }) aria-label=(mark.label) { (shape) }
        } @else {
            g transform=(place) { (shape) }
        }
    }
}

fn symbol(shape: Shape) -> Markup {
    html! {
        @match shape {
            Shape::Exec => path.exec d="M-4 -5 L5 0 L-4 5 Z" {},
            Shape::Exit => path.exit d="M0 -9 V9" {},
            Shape::Failure => path.failure d="M-4 -4 L4 4 M-4 4 L4 -4" {},
            Shape::Signal => path.signal d="M-5 -5 H5 L0 5 Z" {},
            Shape::Dns => path.dns d="M0 -5 L5 0 L0 5 L-5 0 Z" {},
            Shape::Output => path.output d="M-4 -4 H4 V4 H-4 Z" {},
            Shape::Event => circle.event r="2.5" {},
            Shape::Connect => circle.connect r="4" {},
        }
    }
}

/// The shapes and their meanings.
const LEGEND: [(Shape, &str); 7] = [
    (Shape::Exec, "executed"),
    (Shape::Failure, "call failed"),
    (Shape::Dns, "DNS"),
    (Shape::Connect, "connected"),
    (Shape::Output, "wrote to standard error or a log"),
    (Shape::Signal, "signal"),
    (Shape::Exit, "ended"),
];

fn legend() -> Markup {
    html! {
        ul.legend aria-label="Marks" {
            @for (shape, name) in LEGEND {
                li { svg viewBox="-10 -10 20 20" width="16" height="16" aria-hidden="true" { (symbol(shape)) } (name) }
            }
            li { svg viewBox="-11 -11 22 22" width="16" height="16" aria-hidden="true" { circle.ring r="9" {} } "evidence" }
        }
    }
}

/// Rounds to a tenth: smaller differences cannot be seen.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_has_its_ends_labelled_and_no_label_hides_another() {
        const MS: u64 = 1_000_000;
        for times in [
            vec![0, 6 * MS],
            // Two moments with nothing but time between them.
            vec![0, 0, 3_600_000 * MS],
            vec![0, MS, 2 * MS, 60_000 * MS, 60_001 * MS, 900_000 * MS],
            vec![5 * MS],
        ] {
            let start = 7_000 * MS;
            let times: Vec<u64> = times.iter().map(|time| start + time).collect();
            let axis = Axis::new(&times, LEFT, RIGHT);
            let labels = labels(&axis, start);
            let (first, last) = (labels.first().unwrap(), labels.last().unwrap());
            let expected = match times[0] - start {
                0 => "0".to_owned(),
                time => duration(time),
            };
            assert_eq!(first.label, expected);
            if times.len() > 1 {
                assert_eq!(last.label, duration(times[times.len() - 1] - start));
            }
            assert!(
                labels.windows(2).all(|pair| pair[1].x - pair[0].x >= TICK),
                "{labels:?}"
            );
        }
    }
}
