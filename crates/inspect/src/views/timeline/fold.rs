//! Shortens a story: what repeats becomes one step, and so do files that were read one after another, and calls that
//! failed alike. Of the rest, the less important steps are left out.

use std::collections::HashMap;

use super::{Kind, Step};

/// How many things one step names.
const MAX_ITEMS: usize = 4;

/// Combines steps: a repeated step is counted where it happened first; files that a process reads one after the other
/// become one step, and so do calls that fail in the same way.
pub(super) fn fold(steps: Vec<Step>) -> Vec<Step> {
    let mut places: HashMap<(Kind, String, String), usize> = HashMap::new();
    let mut folded: Vec<Step> = Vec::new();
    for step in steps {
        let key = (step.kind, step.process.clone(), step.text.clone());
        match places.get(&key).and_then(|&at| folded.get_mut(at)) {
            Some(first) => {
                first.times += 1;
                first.last_event = Some(step.moment.event);
                first.cited |= step.cited;
            }
            None => {
                places.insert(key, folded.len());
                folded.push(step);
            }
        }
    }
    let groups = folded.chunk_by(|a, b| {
        let alike = match (&a.list, &b.list) {
            (Some(a), Some(b)) => (&a.before, &a.after) == (&b.before, &b.after),
            _ => false,
        };
        alike && !a.cited && !b.cited && a.pid == b.pid && (a.times, b.times) == (1, 1)
    });
    groups.map(one_step).collect()
}

/// Makes one step of a group. It is based on the first step, and names what the others are about.
fn one_step(group: &[Step]) -> Step {
    let mut step = group[0].clone();
    if let Some(list) = step.list.as_ref().filter(|_| group.len() > 1) {
        let items = group.iter().filter_map(|it| it.list.as_ref());
        let items: Vec<&str> = items.map(|list| list.item.as_str()).collect();
        let more = match items.len().saturating_sub(MAX_ITEMS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = items[..items.len().min(MAX_ITEMS)].join(", ");
        step.text = format!("{}{named}{more}{}", list.before, list.after);
    }
    step
}

/// Leaves the less important steps out and counts them. Steps that the verdict rests on stay.
pub(super) fn shorten(steps: Vec<Step>, limit: usize) -> (Vec<Step>, u64) {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    // If two steps are equally important, the later one stays.
    order.sort_by_key(|&at| std::cmp::Reverse((weight(&steps[at]), at)));
    let mut keep = vec![false; steps.len()];
    for (rank, at) in order.into_iter().enumerate() {
        keep[at] = rank < limit || steps[at].cited;
    }
    let all = steps.len();
    let kept: Vec<Step> = steps
        .into_iter()
        .zip(keep)
        .filter_map(|(step, keep)| keep.then_some(step))
        .collect();
    let left_out = (all - kept.len()) as u64;
    (kept, left_out)
}

fn weight(step: &Step) -> u8 {
    match step.kind {
        _ if step.cited => 100,
        Kind::Evidence | Kind::OomKill | Kind::Gap => 90,
        Kind::Exit => 80,
        Kind::Exec => 70,
        Kind::Signal | Kind::Interrupted | Kind::Said => 60,
        Kind::Dns | Kind::Connect => 50,
        Kind::Read => 40,
        Kind::Failure => 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Moment;

    fn step(event: u64, kind: Kind, text: &str) -> Step {
        let moment = Moment {
            event,
            ..Moment::default()
        };
        Step::new(moment, kind, text.to_owned())
    }

    #[test]
    fn the_same_again_is_counted_and_its_last_time_told() {
        let steps = (1..=37).map(|event| step(event, Kind::Connect, "connects to x"));
        let folded = fold(steps.collect());
        assert_eq!(folded.len(), 1);
        assert_eq!((folded[0].times, folded[0].last_event), (37, Some(37)));
    }

    #[test]
    fn files_read_one_after_the_other_are_one_step() {
        let mut steps: Vec<_> = (1..=7)
            .map(|event| step(event, Kind::Read, "").listed("reads ", format!("/{event}"), "!"))
            .collect();
        steps.insert(2, step(10, Kind::Exec, "runs x"));
        let texts: Vec<_> = fold(steps).into_iter().map(|step| step.text).collect();
        let last = "reads /3, /4, /5, /6 and 1 more!";
        assert_eq!(texts, ["reads /1, /2!", "runs x", last]);
    }

    #[test]
    fn the_lesser_and_earlier_things_go_and_what_is_cited_stays() {
        let mut steps: Vec<_> = (1..=30)
            .map(|event| step(event, Kind::Failure, &event.to_string()))
            .collect();
        steps[3].cited = true;
        steps.push(step(31, Kind::Exit, "exited 1"));
        let (kept, left_out) = shorten(steps, 5);
        let events: Vec<_> = kept.iter().map(|step| step.moment.event).collect();
        assert_eq!((events, left_out), (vec![4, 28, 29, 30, 31], 26));
    }
}
