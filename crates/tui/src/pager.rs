//! Events as lines, a few at a time: the lines that a screen shows, the next line with a given word, how many lines
//! match.
//!
//! The work is done in slices of a few thousand events, so that a newer request need not wait for an older one. Of
//! events nothing is kept except [`Places`].

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::ops::Range;

use capture_format::{Damage, Header, Lost, Reader, Run, RunIndex};
use events::context::{Context, Seen};
use events::decode::Errno;
use inspect::filter::{Filter, Scope};
use inspect::show;

use crate::places::Places;

/// How many events are looked at in one slice of work.
const SLICE: usize = 8192;
/// Length of the longest line, in bytes. Of a longer line the beginning is shown.
const MAX_LINE: usize = 8 << 10;

/// A line of the list: an event, or a note that events are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Number of the event, or of the first missing event.
    pub(crate) number: u64,
    /// Escaped.
    pub(crate) text: String,
    pub(crate) kind: LineKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    Event,
    /// A call that failed.
    Failure,
    Missing,
}

/// A request. A newer page or search replaces an older one; a newer count replaces an older count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Page(Page),
    Search(Search),
    /// How many events of a run match.
    Count {
        id: u64,
        run: RunIndex,
        filter: Filter,
    },
    /// The count is not needed any more.
    StopCounting,
}

/// A request for lines of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    /// An id, which the answers repeat.
    pub(crate) id: u64,
    pub(crate) run: RunIndex,
    pub(crate) filter: Option<Filter>,
    /// The event around which lines are requested: lines before it, and lines from it on.
    pub(crate) at: u64,
    /// How many lines before it.
    pub(crate) before: usize,
    /// How many lines from it on.
    pub(crate) after: usize,
}

/// A search for the next event whose line contains a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    pub(crate) id: u64,
    pub(crate) run: RunIndex,
    pub(crate) filter: Option<Filter>,
    /// The text in lower case.
    pub(crate) text: String,
    /// The search begins after this event, or before it.
    pub(crate) from: u64,
    pub(crate) backwards: bool,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Lines in their order. The lines of one page may come in several parts.
    Lines {
        id: u64,
        lines: Vec<Line>,
        /// Set in the last part of the page: which ends of the run it reached.
        done: Option<Ends>,
    },
    Found {
        id: u64,
        number: Option<u64>,
    },
    /// How many events were looked at so far for the page or search.
    Looking {
        id: u64,
        at: u64,
    },
    Counted {
        id: u64,
        matches: u64,
        /// The number of the event up to which was counted.
        up_to: u64,
        done: bool,
    },
}

/// Whether nothing comes before the first line, and nothing after the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) start: bool,
    pub(crate) end: bool,
}

/// Reads events.
pub(crate) struct Pager<R> {
    reader: Reader<R>,
    header: Header,
    runs: Vec<Run>,
    places: Vec<Places>,
    foreground: Option<Job>,
    counting: Option<Counting>,
}

struct Job {
    id: u64,
    run: RunIndex,
    filter: Option<Filter>,
    stage: Stage,
}

enum Stage {
    /// Looks for the number at which a page begins.
    Back(Back, usize),
    /// Collects the lines of a page.
    Lines(Lines),
    Search(Walk, String),
    SearchBack(Back, String),
}

struct Counting {
    id: u64,
    filter: Filter,
    walk: Walk,
    matches: u64,
}

impl<R: Read + Seek> Pager<R> {
    pub(crate) fn new(reader: Reader<R>) -> Self {
        let (header, runs) = (reader.header().clone(), reader.runs().to_vec());
        let first = |run| reader.numbers(run).map_or(1, |numbers| numbers.start);
        let places = (0..runs.len())
            .map(|run| Places::new(first(RunIndex(run))))
            .collect();
        Self {
            reader,
            header,
            runs,
            places,
            foreground: None,
            counting: None,
        }
    }

    /// Begins to answer a request.
    pub(crate) fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Page(page) => self.foreground = self.page(page),
            Ask::Search(search) => self.foreground = self.search(search),
            Ask::StopCounting => self.counting = None,
            Ask::Count { id, run, filter } => {
                self.counting = self.range(run).map(|range| Counting {
                    id,
                    filter: self.in_run(run, &filter),
                    walk: Walk::new(run, range, self.places.get(run.0)),
                    matches: 0,
                });
            }
        }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.foreground.is_none() && self.counting.is_none()
    }

    fn range(&self, run: RunIndex) -> Option<Range<u64>> {
        self.runs.get(run.0)?;
        // If events are missing after the last one, the note has the number that would follow.
        let numbers = self.reader.numbers(run).unwrap_or(1..u64::MAX - 1);
        Some(numbers.start..numbers.end + 1)
    }

    fn in_run(&self, run: RunIndex, filter: &Filter) -> Filter {
        filter.for_run(&self.header, &self.runs[run.0])
    }

    fn page(&self, page: Page) -> Option<Job> {
        let Page {
            id,
            run,
            filter,
            at,
            before,
            after,
        } = page;
        let range = self.range(run)?;
        let filter = filter.map(|it| self.in_run(run, &it));
        let at = at.clamp(range.start, range.end);
        let stage = Stage::Back(
            Back::new(run, range, at, before, self.places.get(run.0)),
            after,
        );
        Some(Job {
            id,
            run,
            filter,
            stage,
        })
    }

    fn search(&self, search: Search) -> Option<Job> {
        let Search {
            id,
            run,
            filter,
            text,
            from,
            backwards,
        } = search;
        let range = self.range(run)?;
        let filter = filter.map(|it| self.in_run(run, &it));
        let places = self.places.get(run.0);
        let from = from.clamp(range.start.saturating_sub(1), range.end);
        let stage = if backwards {
            Stage::SearchBack(Back::new(run, range, from, 1, places), text)
        } else {
            Stage::Search(Walk::new(run, from + 1..range.end, places), text)
        };
        Some(Job {
            id,
            run,
            filter,
            stage,
        })
    }

    /// Does a slice of the work.
    pub(crate) fn slice(&mut self, tell: &mut dyn FnMut(Answer)) {
        if let Some(job) = self.foreground.take() {
            self.foreground = self.work(job, tell);
        } else if let Some(counting) = self.counting.take() {
            self.counting = self.count(counting, tell);
        }
    }

    fn count(&mut self, mut counting: Counting, tell: &mut dyn FnMut(Answer)) -> Option<Counting> {
        let Counting {
            id,
            filter,
            walk,
            matches,
        } = &mut counting;
        let done = self.walk(walk, &mut |met| {
            *matches += u64::from(met.is_event_of(Some(filter)));
        });
        tell(Answer::Counted {
            id: *id,
            matches: *matches,
            up_to: walk.at,
            done,
        });
        (!done).then_some(counting)
    }

    fn work(&mut self, mut job: Job, tell: &mut dyn FnMut(Answer)) -> Option<Job> {
        let (id, run) = (job.id, job.run);
        let filter = job.filter.as_ref();
        let next = match job.stage {
            Stage::Back(mut back, after) => {
                if self.back(&mut back, &mut |met| met.is_shown(filter)) {
                    let begins = back.found.front().copied().unwrap_or(back.before);
                    let walk = Walk::new(run, begins..back.run_range.end, self.places.get(run.0));
                    Stage::Lines(Lines {
                        walk,
                        left: back.found.len() + after,
                        at_start: back.found.len() < back.wanted || begins <= back.run_range.start,
                        // A page that wants only lines before an event ends at that event.
                        stop: (after == 0).then_some(back.before),
                    })
                } else {
                    tell(Answer::Looking {
                        id,
                        at: back.walk.at,
                    });
                    Stage::Back(back, after)
                }
            }
            Stage::Lines(mut page) => {
                let mut lines = Vec::new();
                let (left, stop) = (&mut page.left, page.stop.unwrap_or(u64::MAX));
                let (mut enough, mut stopped) = (false, false);
                let ended = self.walk_until(&mut page.walk, &mut |met| {
                    if met.number() >= stop {
                        stopped = true;
                    } else if met.is_shown(filter) {
                        if *left == 0 {
                            enough = true;
                        } else {
                            *left -= 1;
                            lines.push(met.line());
                        }
                    }
                    !enough && !stopped
                });
                let done = (ended || enough || stopped).then_some(Ends {
                    start: page.at_start,
                    end: ended && !enough && !stopped,
                });
                let is_done = done.is_some();
                tell(Answer::Looking {
                    id,
                    at: page.walk.at,
                });
                if is_done || !lines.is_empty() {
                    tell(Answer::Lines { id, lines, done });
                }
                if is_done {
                    return None;
                }
                Stage::Lines(page)
            }
            Stage::Search(mut walk, text) => {
                let mut number = None;
                let ended = self.walk_until(&mut walk, &mut |met| {
                    if met.is_event_of(filter) && met.has(&text) {
                        number = Some(met.number());
                    }
                    number.is_none()
                });
                if ended || number.is_some() {
                    tell(Answer::Found { id, number });
                    return None;
                }
                tell(Answer::Looking { id, at: walk.at });
                Stage::Search(walk, text)
            }
            Stage::SearchBack(mut back, text) => {
                if self.back(&mut back, &mut |met| {
                    met.is_event_of(filter) && met.has(&text)
                }) {
                    let number = back.found.front().copied();
                    tell(Answer::Found { id, number });
                    return None;
                }
                tell(Answer::Looking {
                    id,
                    at: back.walk.at,
                });
                Stage::SearchBack(back, text)
            }
        };
        job.stage = next;
        Some(job)
    }

    /// Continues a search backwards. Returns whether it has ended.
    fn back(&mut self, back: &mut Back, wanted: &mut dyn FnMut(&Met<'_>) -> bool) -> bool {
        if back.wanted == 0 {
            return true;
        }
        let room = back.wanted - back.found.len();
        let newest = &mut back.newest;
        let walked = self.walk(&mut back.walk, &mut |met| {
            if wanted(met) {
                newest.push_back(met.number());
                if newest.len() > room {
                    newest.pop_front();
                }
            }
        });
        if !walked {
            return false;
        }
        while let Some(number) = newest.pop_back() {
            back.found.push_front(number);
        }
        let start = back.walk.from;
        if back.found.len() == back.wanted || start <= back.run_range.start {
            return true;
        }
        let places = self.places.get(back.walk.run.0);
        back.walk = Walk::before(back.walk.run, start, places);
        false
    }

    /// Continues a walk by a slice. Returns whether it has reached its end.
    fn walk(&mut self, walk: &mut Walk, each: &mut dyn FnMut(&Met<'_>)) -> bool {
        self.walk_until(walk, &mut |met| {
            each(met);
            true
        })
    }

    /// Like `walk`, but it stops if `each` returns false; then that event counts as not looked at.
    fn walk_until(&mut self, walk: &mut Walk, each: &mut dyn FnMut(&Met<'_>) -> bool) -> bool {
        let Some(run) = self.runs.get(walk.run.0) else {
            return true;
        };
        let options = show::Options::default();
        let (header, places) = (&self.header, &mut self.places[walk.run.0]);
        let mut looked = 0;
        for item in self.reader.events_from(walk.run, walk.at) {
            let met = match &item {
                Ok(item) if item.number < walk.at => continue,
                Ok(item) if item.number >= walk.range.end => return true,
                Ok(item) => {
                    places.pass(item.number, &walk.context);
                    walk.at = item.number + 1;
                    let seen = walk.context.observe(item.number, &item.event);
                    let scope = Scope {
                        header,
                        run,
                        context: &walk.context,
                    };
                    Met::Event {
                        scope,
                        seen,
                        options: &options,
                    }
                }
                Err(damage) => match missing_from(damage) {
                    Some(number) if number >= walk.at => {
                        walk.at = number + 1;
                        Met::Missing { number, damage }
                    }
                    _ => continue,
                },
            };
            let is_asked = met.number() >= walk.range.start;
            if is_asked && !each(&met) {
                return false;
            }
            looked += 1;
            if looked >= SLICE {
                return false;
            }
        }
        walk.at = walk.range.end;
        true
    }

    #[cfg(test)]
    pub(crate) fn places_held(&self) -> usize {
        self.places.iter().map(Places::len).sum()
    }
}

/// The number of the first missing event.
fn missing_from(damage: &Damage) -> Option<u64> {
    match &damage.lost {
        Lost::Events(range) => Some(*range.start()),
        Lost::EventsFrom(number) => Some(*number),
        _ => None,
    }
}

/// A page that is being collected.
struct Lines {
    walk: Walk,
    /// How many more lines are wanted.
    left: usize,
    at_start: bool,
    stop: Option<u64>,
}

/// A walk through a run. Each slice does a part of it.
struct Walk {
    run: RunIndex,
    /// Numbers of the events that are wanted.
    range: Range<u64>,
    /// The event at which it began, which may be before `range`.
    from: u64,
    /// Number of the next event.
    at: u64,
    context: Context,
}

impl Walk {
    fn new(run: RunIndex, range: Range<u64>, places: Option<&Places>) -> Self {
        let (from, context) = places
            .map(|it| it.at_or_before(range.start))
            .unwrap_or((range.start, Context::default()));
        Self {
            run,
            range,
            from,
            at: from,
            context,
        }
    }

    /// A walk up to an event, from the last place before it.
    fn before(run: RunIndex, number: u64, places: Option<&Places>) -> Self {
        let mut walk = Self::new(run, number.saturating_sub(1)..number, places);
        walk.range.start = walk.from;
        walk
    }
}

/// A search for the last few wanted events before one: it goes back from place to place, and walks forwards from each.
struct Back {
    run_range: Range<u64>,
    before: u64,
    wanted: usize,
    walk: Walk,
    /// The newest events that the present walk has found.
    newest: VecDeque<u64>,
    /// The events that the walks before have found.
    found: VecDeque<u64>,
}

impl Back {
    fn new(
        run: RunIndex,
        run_range: Range<u64>,
        before: u64,
        wanted: usize,
        places: Option<&Places>,
    ) -> Self {
        Self {
            run_range,
            before,
            wanted,
            walk: Walk::before(run, before, places),
            newest: VecDeque::new(),
            found: VecDeque::new(),
        }
    }
}

/// What a walk comes across.
enum Met<'a> {
    Event {
        scope: Scope<'a>,
        seen: Seen<'a>,
        options: &'a show::Options,
    },
    Missing {
        number: u64,
        damage: &'a Damage,
    },
}

impl Met<'_> {
    fn number(&self) -> u64 {
        match self {
            Self::Event { seen, .. } => seen.number,
            Self::Missing { number, .. } => *number,
        }
    }

    fn is_event_of(&self, filter: Option<&Filter>) -> bool {
        match self {
            Self::Event { scope, seen, .. } => filter.is_none_or(|it| it.matches(scope, seen)),
            Self::Missing { .. } => false,
        }
    }

    /// A note that events are missing is shown whatever the filter.
    fn is_shown(&self, filter: Option<&Filter>) -> bool {
        matches!(self, Self::Missing { .. }) || self.is_event_of(filter)
    }

    fn line(&self) -> Line {
        let (text, kind) = match self {
            Self::Event {
                scope,
                seen,
                options,
            } => {
                let text = show::line(&scope.header.host, scope.run, options, seen);
                let event = seen.event;
                let failed = event.kind.is_syscall() && Errno::from_ret(event.ret).is_some();
                let kind = if failed {
                    LineKind::Failure
                } else {
                    LineKind::Event
                };
                (text, kind)
            }
            Self::Missing { damage, .. } => (format!("  ---- {damage}"), LineKind::Missing),
        };
        Line {
            number: self.number(),
            text: clipped(text),
            kind,
        }
    }

    fn has(&self, text: &str) -> bool {
        self.line().text.to_lowercase().contains(text)
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > MAX_LINE {
        text.truncate(text.floor_char_boundary(MAX_LINE));
        text.push('…');
    }
    text.shrink_to_fit();
    text
}
