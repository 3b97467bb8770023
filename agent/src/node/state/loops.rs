//! Crash loops whose Events are to be said again: an Event is gone after an hour, and a loop goes on.
//!
//! A loop begins with a capture of a crash, and counts the crashes from the first run in the capture on. It ends when
//! the container has run for as long as the triggers' `cool_down`, or has exited with 0 and was not started again for as
//! long. That is ten minutes unless configured otherwise, as long as the kubelet lets a container run before it forgets
//! its delay (kubernetes/pkg/kubelet, `CrashLoopBackOff`: twice the longest delay). Readiness does not count: in many
//! loops a container is ready for a while, each time.

use std::{collections::HashMap, time::Duration};

use capture_format::WallTime;
use triggers::{Subject, Time};

/// How often an Event is said again while its loop goes on.
const AGAIN: Duration = Duration::from_secs(30 * 60);
/// The longest delay of a restart is five minutes. A loop of which nothing was seen for longer than this is forgotten.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// A container that exited with 0 is started again within five minutes, or not at all.
const SETTLES: Duration = Duration::from_secs(6 * 60);

/// A crash of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The number of the run.
    pub(crate) run: u32,
    pub(crate) at: Time,
    /// When that was, for people.
    pub(crate) wall: WallTime,
}

/// What is to be said of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Id of the capture whose Event says it.
    pub(crate) id: String,
    /// Crashes of the loop so far.
    pub(crate) crashes: u32,
    /// When the newest was.
    pub(crate) last: WallTime,
    /// Whether the loop is over.
    pub(crate) is_over: bool,
}

/// See the module.
pub(crate) struct Loops {
    cool_down: Duration,
    all: HashMap<Subject, Loop>,
}

struct Loop {
    /// The newest capture.
    id: String,
    /// Number of the run that crashed first.
    first: u32,
    last: Crash,
    /// The number of crashes that was said, and when.
    said: (u32, Time),
    calm: Option<Calm>,
}

/// What may end a loop, and since when.
#[derive(Clone, Copy)]
enum Calm {
    Runs(Time),
    ExitedZero(Time),
}

impl Loop {
    fn crashes(&self) -> u32 {
        self.last.run.saturating_sub(self.first) + 1
    }

    /// When it is over, if nothing happens until then.
    fn over(&self, cool_down: Duration) -> Option<Time> {
        Some(match self.calm? {
            Calm::Runs(since) => since + cool_down,
            Calm::ExitedZero(since) => since + cool_down.max(SETTLES),
        })
    }
}

impl Loops {
    pub(crate) fn new(cool_down: Duration) -> Self {
        Self {
            cool_down,
            all: HashMap::new(),
        }
    }

    /// A capture of a crash was written, with this run as the first. Its Event is said at this time.
    pub(crate) fn captured(&mut self, subject: Subject, id: String, first: u32, crash: Crash) {
        let is_same = |before: &Loop| {
            let over = before.over(self.cool_down);
            crash.at < before.last.at + IDLE && over.is_none_or(|over| over > crash.at)
        };
        let before = self.all.remove(&subject).filter(is_same);
        let (first, last) = match &before {
            Some(before) if before.last.run >= crash.run => (before.first, before.last),
            Some(before) => (before.first, crash),
            None => (first, crash),
        };
        let mut of = Loop {
            id,
            first,
            last,
            said: (0, crash.at),
            calm: before.and_then(|before| before.calm),
        };
        of.said.0 = of.crashes();
        self.all.insert(subject, of);
    }

    /// A run of a container started.
    pub(crate) fn started(&mut self, subject: &Subject, run: u32, at: Time) {
        if let Some(of) = self.all.get_mut(subject).filter(|of| run > of.last.run) {
            of.calm = Some(Calm::Runs(at));
        }
    }

    /// A run of a container ended, with exit code 0 or otherwise.
    pub(crate) fn ended(&mut self, subject: &Subject, crash: Crash, with_zero: bool) {
        let Some(of) = self.all.get_mut(subject) else {
            return;
        };
        if crash.run <= of.last.run || of.over(self.cool_down).is_some_and(|over| over <= crash.at)
        {
            return;
        }
        match with_zero {
            true => of.calm = Some(Calm::ExitedZero(crash.at)),
            false => (of.last, of.calm) = (crash, None),
        }
    }

    /// The pod is gone, and its loops with it.
    pub(crate) fn pod_gone(&mut self, uid: &str) {
        self.all.retain(|subject, _| subject.pod_uid != uid);
    }

    /// The capture is gone, and its Event is of no interest any more.
    pub(crate) fn capture_gone(&mut self, id: &str) {
        self.all.retain(|_, of| of.id != id);
    }

    /// What is to be said now.
    pub(crate) fn due(&mut self, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        let cool_down = self.cool_down;
        self.all.retain(|_, of| {
            let over = of.over(cool_down).filter(|over| *over <= now);
            let crashes = of.crashes();
            let is_due = over.is_some() || (crashes > of.said.0 && now >= of.said.1 + AGAIN);
            // What was over long ago was said by an earlier agent.
            if is_due && over.is_none_or(|over| now < over + AGAIN) {
                of.said = (crashes, now);
                news.push(News {
                    id: of.id.clone(),
                    crashes,
                    last: of.last.wall,
                    is_over: over.is_some(),
                });
            }
            over.is_none() && (of.calm.is_some() || now < of.last.at + IDLE)
        });
        news.sort_by(|one, other| one.id.cmp(&other.id));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn subject() -> Subject {
        Subject {
            pod_uid: "u1".to_owned(),
            container: "main".to_owned(),
        }
    }

    fn at(minute: u32) -> Time {
        Time(0) + MINUTE * minute
    }

    fn crash(run: u32, minute: u32) -> Crash {
        Crash {
            run,
            at: at(minute),
            wall: WallTime(at(minute).0),
        }
    }

    /// A loop whose first capture has the runs from 1 to this one, which ended at this minute.
    fn loops(run: u32, minute: u32) -> Loops {
        let mut loops = Loops::new(10 * MINUTE);
        loops.captured(subject(), "shop/web".to_owned(), 1, crash(run, minute));
        loops
    }

    /// The number of crashes that is said at a minute, and whether the loop is over.
    fn said(loops: &mut Loops, minute: u32) -> Vec<(u32, bool)> {
        let news = loops.due(at(minute)).into_iter();
        news.map(|news| (news.crashes, news.is_over)).collect()
    }

    #[test]
    fn a_loop_is_said_again_every_half_hour_and_once_when_it_is_over() {
        let mut loops = loops(1, 0);
        let mut all = Vec::new();
        // Each run lasts a minute, and the delay is five.
        for run in 2..=14 {
            loops.started(&subject(), run, at(run * 6 - 1));
            loops.ended(&subject(), crash(run, run * 6), false);
            all.extend(said(&mut loops, run * 6));
        }
        assert_eq!(all, [(5, false), (10, false)]);
        loops.started(&subject(), 15, at(89));
        assert_eq!(said(&mut loops, 98), [(14, false)]);
        assert_eq!(said(&mut loops, 99), [(14, true)]);
        assert_eq!(said(&mut loops, 200), []);
    }

    #[test]
    fn a_container_that_has_done_its_work_has_recovered() {
        let mut loops = loops(3, 0);
        loops.started(&subject(), 4, at(1));
        loops.ended(&subject(), crash(4, 2), true);
        assert_eq!(said(&mut loops, 11), []);
        assert_eq!(said(&mut loops, 12), [(3, true)]);
    }

    #[test]
    fn who_exits_with_zero_and_crashes_again_has_not() {
        let mut loops = loops(3, 0);
        loops.started(&subject(), 4, at(1));
        loops.ended(&subject(), crash(4, 2), true);
        loops.started(&subject(), 5, at(7));
        loops.ended(&subject(), crash(5, 8), false);
        assert_eq!(said(&mut loops, 25), []);
        assert_eq!(said(&mut loops, 30), [(5, false)]);
    }

    #[test]
    fn another_capture_of_a_loop_goes_on_with_it() {
        let mut loops = loops(1, 0);
        loops.ended(&subject(), crash(3, 5), false);
        loops.captured(subject(), "shop/other".to_owned(), 3, crash(3, 5));
        loops.ended(&subject(), crash(4, 10), false);
        let news = loops.due(at(35));
        assert_eq!((&*news[0].id, news[0].crashes), ("shop/other", 4));
    }

    #[test]
    fn what_was_over_long_ago_is_not_said_by_the_next_agent() {
        let mut earlier = loops(3, 0);
        earlier.started(&subject(), 4, at(1));
        assert_eq!(said(&mut earlier, 300), []);
        let mut idle = loops(3, 0);
        assert_eq!(said(&mut idle, 59), []);
        assert_eq!(said(&mut idle, 60), []);
        assert!(idle.all.is_empty());
    }

    #[test]
    fn a_crash_after_a_long_run_begins_another_loop() {
        let mut loops = loops(3, 0);
        loops.started(&subject(), 4, at(1));
        loops.ended(&subject(), crash(4, 20), false);
        loops.captured(subject(), "shop/other".to_owned(), 4, crash(4, 20));
        loops.ended(&subject(), crash(5, 25), false);
        assert_eq!(said(&mut loops, 50), [(2, false)]);
    }

    #[test]
    fn a_loop_goes_with_its_pod_and_with_its_capture() {
        let (mut of_pod, mut of_capture) = (loops(3, 0), loops(3, 0));
        of_pod.pod_gone("u1");
        of_capture.capture_gone("shop/web");
        assert!(of_pod.all.is_empty() && of_capture.all.is_empty());
    }
}
