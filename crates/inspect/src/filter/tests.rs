//! The language as a whole: what it accepts and refuses, what matches, and that hostile expressions do no harm.

use std::io::Cursor;

use capture_format::{Reader, RunIndex};

use super::*;
use fixtures::{INIT, Script, capture_with, header, inet, nginx};

mod any;
mod hostile;
mod matching;
mod parsing;

/// Applies the filter to the runs and returns the numbers of the events that match.
fn matching(filter: &str, header: &Header, scripts: &[Script]) -> Vec<u64> {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
    let mut reader = capture_with(header, scripts);
    let mut numbers = Vec::new();
    each_seen(&mut reader, |scope, seen| {
        let matches = filter.matches(scope, seen);
        let in_boottime = filter.for_run(scope.header, scope.run);
        assert_eq!(
            in_boottime.matches(scope, seen),
            matches,
            "{filter}, {in_boottime}"
        );
        numbers.extend(matches.then_some(seen.number));
    });
    numbers
}

fn each_seen(reader: &mut Reader<Cursor<Vec<u8>>>, mut act: impl FnMut(&Scope<'_>, &Seen<'_>)) {
    let (header, runs) = (reader.header().clone(), reader.runs().to_vec());
    for (index, run) in runs.iter().enumerate() {
        let mut context = Context::default();
        for item in reader.events(RunIndex(index)) {
            let item = item.unwrap();
            let seen = context.observe(item.number, &item.event);
            let scope = Scope {
                header: &header,
                run,
                context: &context,
            };
            act(&scope, &seen);
        }
    }
}
