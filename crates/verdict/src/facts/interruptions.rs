//! What threads were doing when a signal came.

use capture_format::{BootTime, Event, Tid};
use events::decode::Interrupted;
use events::fds::Fd;

use super::Recent;
use super::signals::SentSignal;

/// How many threads are kept.
const MAX_INTERRUPTIONS: usize = 512;
/// The kernel side looks at the threads right after the signal, and at those that are on a CPU when they end: 1 s, in
/// nanoseconds.
const AFTER: u64 = 1_000_000_000;

/// How many processes are looked at within [`AFTER`], at most, as far as groups are told apart.
const MAX_AT_ONCE: usize = 64;

/// What one thread was doing.
#[derive(Clone, Debug)]
pub struct Interruption {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: Tid,
    /// What it was doing.
    pub doing: Interrupted,
    /// What the descriptor refers to that its call acts on.
    pub fd: Option<Fd>,
}

/// What threads of a run were doing.
#[derive(Debug)]
pub struct Interruptions(Recent<Interruption>);

impl Default for Interruptions {
    fn default() -> Self {
        Self(Recent::new(MAX_INTERRUPTIONS))
    }
}

impl Interruptions {
    /// The threads of the process that a signal was sent to, at that moment, in the order of the capture.
    pub fn at<'a>(&'a self, sent: &'a SentSignal) -> impl Iterator<Item = &'a Interruption> {
        self.0.iter().filter(|it| {
            (it.pid, it.doing.signal) == (sent.target, Some(sent.signal))
                && it.event > sent.event
                && it.time.since(sent.time) <= AFTER
        })
    }

    /// The threads, together with the others of the same process that were looked at because of the same signal.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<&Interruption>> {
        let mut groups: Vec<Vec<&Interruption>> = Vec::new();
        for it in self.0.iter() {
            let with = groups.iter_mut().rev().take(MAX_AT_ONCE).find(|group| {
                group.first().is_some_and(|first| {
                    (first.pid, first.doing.signal) == (it.pid, it.doing.signal)
                        && it.time.since(first.time) <= AFTER
                })
            });
            match with {
                Some(group) => group.push(it),
                None => groups.push(vec![it]),
            }
        }
        groups
    }

    /// What the threads of a process were doing last, each thread once, in the order of the capture.
    #[must_use]
    pub fn last(&self, pid: u32) -> Vec<&Interruption> {
        let mut last: Vec<&Interruption> = Vec::new();
        for it in self.0.iter().rev().filter(|it| it.pid == pid) {
            if !last.iter().any(|later| later.tid == it.tid) {
                last.push(it);
            }
        }
        last.reverse();
        last
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event, fd: Option<&Fd>) {
        self.0
            .extend(Interrupted::of(event).map(|doing| Interruption {
                event: number,
                time: event.time,
                pid: event.pid,
                tid: event.tid,
                doing,
                fd: fd.map(Fd::own),
            }));
    }
}

impl Interruption {
    /// Whether it is the first thread of its process.
    #[must_use]
    pub fn is_first_thread(&self) -> bool {
        self.pid == self.tid.0
    }

    /// The place of the thread among others of its process, if one of them is to stand for all; the least is the best. A call
    /// that waits for a named thing comes first, then the first thread, then what is no wait for work.
    #[must_use]
    pub fn rank(&self, arch: &str) -> (bool, bool, bool) {
        let idle = self.doing.is_idle(arch);
        let named = self.fd.is_some() && !idle;
        (!named, !self.is_first_thread(), idle)
    }

    /// What the thread was doing, for a line that begins with it; escaped.
    #[must_use]
    pub fn predicate(&self, arch: &str) -> String {
        self.doing.predicate(arch, self.fd.as_ref())
    }

    /// What the thread was doing, as [`Interrupted::sentence`] has it; escaped.
    #[must_use]
    pub fn sentence(&self, who: &str, arch: &str) -> String {
        self.doing.sentence(who, arch, self.fd.as_ref())
    }
}
