//! Which events of a capture are looked at: by run, time, process and filter.
//!
//! The [`Context`](events::context::Context) observes even the events that are dropped here, so that the rest can be
//! understood.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{Read, Seek};
use std::slice;

use capture_format::{
    BlockSummary, BootTime, Columns, EventBlock, EventKind, Header, Reader, Run, RunIndex,
};

use crate::filter::{Filter, Known, Scope};
use crate::scan::{Candidate, Select};
use events::context::Seen;

mod moment;

pub use moment::{Moment, NoMoment};

/// How many processes are followed at once. Further forks are not followed, so that a capture cannot make the set grow
/// without limit.
const MAX_FOLLOWED: usize = 1 << 16;

/// Which events are selected; by default all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only events that match.
    pub filter: Option<Filter>,
    /// Only events of the run with this number.
    pub run: Option<u32>,
    /// Only events that happened at this moment of their run or later.
    pub from: Option<Moment>,
    /// Only events that happened at this moment of their run or earlier.
    pub to: Option<Moment>,
    /// Only events of this process (host pid) and its descendants.
    pub follow: Option<u32>,
    /// Only this many events, the first of those that remain, over all runs.
    pub limit: Option<u64>,
}

impl Selection {
    /// Whether all events are selected.
    #[must_use]
    pub fn is_all(&self) -> bool {
        let Self {
            filter,
            run,
            from,
            to,
            follow,
            limit,
        } = self;
        filter.is_none()
            && (run, follow, limit) == (&None, &None, &None)
            && (from, to) == (&None, &None)
    }

    /// Whether events of this run may be selected.
    #[must_use]
    pub(crate) fn takes_run(&self, run: &Run) -> bool {
        self.run.is_none_or(|number| run.number == number)
    }

    /// The selection for one run, which is given by its position in [`Reader::runs`]. If times count from the end and
    /// the run has no recorded end, all its events are read to find the last one.
    #[must_use]
    pub fn in_run<R: Read + Seek>(&self, reader: &mut Reader<R>, run_index: RunIndex) -> InRun {
        let last = self.last_event(reader, run_index);
        let (header, run) = (reader.header(), &reader.runs()[run_index.0]);
        let clock = |moment: Option<Moment>| Some(moment?.boottime(header, run, last));
        InRun {
            filter: self.filter.as_ref().map(|it| it.for_run(header, run)),
            from: clock(self.from).unwrap_or(i128::MIN),
            to: clock(self.to).unwrap_or(i128::MAX),
            followed: self.follow.map(Followed::new),
        }
    }

    /// When the run's last event happened, if that matters.
    fn last_event<R: Read + Seek>(&self, reader: &mut Reader<R>, run_index: RunIndex) -> BootTime {
        let run = &reader.runs()[run_index.0];
        let (start, has_end) = (run.start, run.end.is_some());
        let mut bounds = [self.from, self.to].into_iter().flatten();
        if has_end || !bounds.any(Moment::counts_from_end) {
            return start;
        }
        let events = reader.events(run_index).flatten();
        events.map(|item| item.event.time).max().unwrap_or(start)
    }
}

/// The selection for the events of one run.
#[derive(Clone, Debug)]
pub struct InRun {
    filter: Option<Filter>,
    /// Nanoseconds of CLOCK_BOOTTIME, both included.
    from: i128,
    to: i128,
    followed: Option<Followed>,
}

impl InRun {
    /// Whether the run's next event is selected. Events must be given in the order of the run.
    pub fn takes(&mut self, scope: &Scope<'_>, seen: &Seen<'_>) -> bool {
        let is_followed = self.followed.as_mut().is_none_or(|it| it.observe(seen));
        let time = i128::from(seen.event.time.0);
        is_followed
            && (self.from..=self.to).contains(&time)
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(scope, seen))
    }

    /// The columns that let [`InRun::excludes`] rule out single events, where a block's summary cannot: see
    /// [`Filter::columns`].
    #[must_use]
    pub fn columns(&self) -> Columns {
        let any_time = (self.from, self.to) == (i128::MIN, i128::MAX);
        let only_if = |needed, columns| if needed { columns } else { Columns::NONE };
        let filter = self.filter.as_ref().map(Filter::columns);
        Columns::KIND
            | filter.unwrap_or(Columns::NONE)
            | only_if(!any_time, Columns::TIME)
            | only_if(self.followed.is_some(), Columns::PID)
    }

    /// Whether certainly none of the next events that `known` describes is selected: see [`Filter::excludes`].
    ///
    /// All events before them must have been observed. From a block that is excluded, the forks and exits of processes
    /// must still be observed.
    #[must_use]
    pub fn excludes(&self, known: &Known<'_>) -> bool {
        let time = &known.time;
        let is_outside =
            i128::from(time.end().0) < self.from || i128::from(time.start().0) > self.to;
        let of_others = |followed: &Followed| !known.pids.iter().any(|pid| followed.has(*pid));
        is_outside
            || self.followed.as_ref().is_some_and(of_others)
            || self
                .filter
                .as_ref()
                .is_some_and(|filter| filter.excludes(known))
    }
}

/// A process and its descendants.
#[derive(Clone, Debug)]
struct Followed {
    root: u32,
    descendants: HashSet<u32>,
}

impl Followed {
    fn new(root: u32) -> Self {
        Self {
            root,
            descendants: HashSet::new(),
        }
    }

    fn has(&self, pid: u32) -> bool {
        pid == self.root || self.descendants.contains(&pid)
    }

    /// Whether the event belongs to one of the processes.
    fn observe(&mut self, seen: &Seen<'_>) -> bool {
        let event = seen.event;
        let is_one = self.has(event.pid);
        match event.kind {
            EventKind::FORK => {
                let child = event.ret as u32;
                // If another process gives a followed pid to a child, that pid no longer means the followed process.
                if !is_one {
                    self.descendants.remove(&child);
                } else if self.descendants.len() < MAX_FOLLOWED {
                    self.descendants.insert(child);
                }
            }
            EventKind::EXIT => {
                self.descendants.remove(&event.pid);
            }
            _ => {}
        }
        is_one
    }
}

/// The selection in the form that a [`scan`](crate::scan::scan) uses.
pub(crate) struct Chosen<'a> {
    selected: RefCell<InRun>,
    header: &'a Header,
    run: &'a Run,
    /// Whether forks and exits of all processes must be observed.
    follows: bool,
    /// The columns that may rule a row out.
    columns: Columns,
    answers: RefCell<Answers>,
}

impl<'a> Chosen<'a> {
    pub(crate) fn new(selected: InRun, header: &'a Header, run: &'a Run) -> Self {
        Self {
            follows: selected.followed.is_some(),
            columns: selected.columns(),
            selected: RefCell::new(selected),
            answers: RefCell::default(),
            header,
            run,
        }
    }

    fn must_see(&self, kind: EventKind) -> bool {
        self.follows && matches!(kind, EventKind::FORK | EventKind::EXIT)
    }
}

impl Select for Chosen<'_> {
    fn excludes(&self, block: &BlockSummary) -> bool {
        let must_see = block.kinds.iter().any(|&kind| self.must_see(kind));
        !must_see && self.selected.borrow().excludes(&Known::from(block))
    }

    fn columns(&self) -> Columns {
        self.columns
    }

    fn may_match(&self, block: &EventBlock, row: usize) -> bool {
        let kind = &block.kinds()[row];
        if self.must_see(*kind) {
            return true;
        }
        let selected = self.selected.borrow();
        let known = Known {
            kinds: slice::from_ref(kind),
            ret: block.rets().get(row).copied(),
            ..Known::from(block.summary())
        };
        let mut answers = self.answers.borrow_mut();
        answers.are_of(block.summary().first);
        if answers.get(*kind, known.ret, || selected.excludes(&known)) {
            return false;
        }
        let (time, number) = (block.times().get(row), block.number(row));
        let decides = |column| self.columns.contains(column);
        let is_all_known = !decides(Columns::PID) && !decides(Columns::TIME);
        is_all_known
            || !selected.excludes(&Known {
                pids: block.pids().get(row).map_or(known.pids, slice::from_ref),
                time: time.map_or(known.time, |&time| time..=time),
                numbers: number..=number,
                ..known
            })
    }

    fn matches(&self, candidate: &mut Candidate<'_, '_>) -> bool {
        let (seen, context) = candidate.look();
        let scope = Scope {
            header: self.header,
            run: self.run,
            context,
        };
        self.selected.borrow_mut().takes(&scope, seen)
    }
}

/// Remembers which combinations of kind and result rule a row out, because most rows of a block repeat an earlier
/// combination.
#[derive(Default)]
struct Answers {
    /// Number of the block's first event, from 1.
    block: u64,
    places: Vec<Option<(EventKind, Option<i64>, bool)>>,
}

impl Answers {
    /// How many places there are. A row takes over its place from an earlier row.
    const PLACES: usize = 256;

    /// Forgets the answers about another block.
    fn are_of(&mut self, block: u64) {
        if self.block != block {
            self.block = block;
            self.places.clear();
            self.places.resize(Self::PLACES, None);
        }
    }

    fn get(&mut self, kind: EventKind, ret: Option<i64>, find: impl FnOnce() -> bool) -> bool {
        let place = ret.unwrap_or_default().wrapping_mul(31) ^ i64::from(kind.0);
        match &mut self.places[place as usize % Self::PLACES] {
            Some((of, had, answer)) if (*of, *had) == (kind, ret) => *answer,
            other => other.insert((kind, ret, find())).2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::context::Context;
    use fixtures::{INIT, START, Script, capture, header};
    use std::ops::RangeInclusive;

    fn selected(select: &Selection, script: &Script) -> Vec<u64> {
        let (header, mut context) = (header(), Context::default());
        let mut selected = select.in_run(&mut capture(slice::from_ref(script)), RunIndex(0));
        let mut numbers = Vec::new();
        for (number, event) in script.numbered() {
            let seen = context.observe(number, event);
            let scope = Scope {
                header: &header,
                run: &script.run,
                context: &context,
            };
            numbers.extend(selected.takes(&scope, &seen).then_some(number));
        }
        numbers
    }

    fn follow(pid: u32) -> Selection {
        Selection {
            follow: Some(pid),
            ..Selection::default()
        }
    }

    #[test]
    fn descendants_are_followed() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200)
            .fork(INIT, 300)
            .fork(200, 201)
            .fork(201, 202);
        s.exit(201, 0)
            .write(202, 1, "x")
            .write(300, 1, "x")
            .write(200, 1, "x");
        assert_eq!(selected(&follow(200), &s), [5, 6, 7, 8, 10]);
        assert_eq!(selected(&follow(INIT), &s).len(), 10);
        assert_eq!(selected(&follow(4711), &s), [0; 0]);
    }

    #[test]
    fn a_pid_that_somebody_else_gets_is_not_followed() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200)
            .fork(200, 201)
            .exit(201, 0)
            .write(201, 1, "x");
        s.fork(200, 202).fork(INIT, 202).write(202, 1, "x");
        assert_eq!(selected(&follow(200), &s), [4, 5, 7]);
    }

    #[test]
    fn both_ends_of_a_time_are_in_it() {
        let s = Script::new(&["sh"])
            .write(INIT, 1, "x")
            .write(INIT, 1, "y")
            .clone();
        let select = |from: &str, to: &str| Selection {
            from: (!from.is_empty()).then(|| from.parse().unwrap()),
            to: (!to.is_empty()).then(|| to.parse().unwrap()),
            ..Selection::default()
        };
        assert_eq!(selected(&select("2ms", "3ms"), &s), [2, 3]);
        assert_eq!(selected(&select("-1ms", ""), &s), [3, 4]);
        assert_eq!(selected(&select("", "-2ms"), &s), [1, 2]);
        assert_eq!(selected(&select("1h", ""), &s), [0; 0]);
        let time =
            events::decode::time::time_of_day(START.plus(2_000_000), &header().host).unwrap();
        assert_eq!(selected(&select(&time, &time), &s), [2]);
    }

    #[test]
    fn blocks_are_excluded_by_time_process_and_filter() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200).fork(200, 201);
        let select = Selection {
            from: Some("2ms".parse().unwrap()),
            to: Some("10ms".parse().unwrap()),
            follow: Some(200),
            filter: Some("evt.type = read".parse().unwrap()),
            ..Selection::default()
        };
        let (header, mut context) = (header(), Context::default());
        let mut selected = select.in_run(&mut capture(slice::from_ref(&s)), RunIndex(0));
        for (number, event) in s.numbered() {
            let seen = context.observe(number, event);
            let scope = Scope {
                header: &header,
                run: &s.run,
                context: &context,
            };
            selected.takes(&scope, &seen);
        }
        let excludes = |kind, pid, milliseconds: RangeInclusive<u64>| {
            let at = |ms: &u64| START.plus(ms * 1_000_000);
            let time = at(milliseconds.start())..=at(milliseconds.end());
            let known = Known {
                kinds: &[kind, EventKind::EXIT],
                pids: &[INIT, pid],
                time,
                numbers: 5..=9,
                ret: None,
            };
            selected.excludes(&known)
        };
        assert!(!excludes(EventKind::READ, 201, 0..=2));
        assert!(!excludes(EventKind::READ, 200, 10..=12));
        assert!(excludes(EventKind::READ, 202, 0..=2), "another process");
        assert!(excludes(EventKind::READ, 201, 0..=1), "before");
        assert!(excludes(EventKind::READ, 201, 11..=12), "after");
        assert!(excludes(EventKind::WRITE, 201, 0..=2), "another kind");
    }

    #[test]
    fn followed_processes_are_bounded() {
        let mut s = Script::empty();
        for child in 0..MAX_FOLLOWED as u32 + 10 {
            s.fork(7, 1000 + child);
        }
        let (mut context, mut followed) = (Context::default(), Followed::new(7));
        for (number, event) in s.numbered() {
            followed.observe(&context.observe(number, event));
        }
        assert_eq!(followed.descendants.len(), MAX_FOLLOWED);
    }
}
