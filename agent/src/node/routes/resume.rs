//! What an earlier agent left: its captures, so that none is taken twice, and the runs it kept.

use spool::Entry;
use triggers::{Captured, Observation, Subject};

use super::{
    super::{event_loop::Node, order::REQUESTED, state::outside::subject_of},
    deaths::end_of,
};

impl Node {
    /// Takes back what an earlier agent left.
    pub(crate) fn resume(&mut self) {
        for entry in self.outside.found() {
            self.resume_capture(entry);
        }
        let saved = self.outside.restore();
        for subject in self.histories.restore(saved) {
            self.resume_runs(&subject);
        }
    }

    /// The triggers get to know a capture, so that its runs are not captured again.
    fn resume_capture(&mut self, entry: Entry) {
        let subject = subject_of(&entry);
        if entry.info.rank < REQUESTED {
            self.loop_captured(subject.clone(), &entry);
        }
        let info = entry.info;
        let last_run = info.runs.last().copied().unwrap_or_default();
        if info.container.is_empty() {
            self.histories.remember_newest(&subject, last_run);
        }
        if info.rank >= REQUESTED {
            return;
        }
        let found = Captured {
            id: entry.id,
            at: self.clock.of_day(info.created),
            cause: info.cause.filter(|cause| cause != "unknown"),
            runs: info.runs.len(),
            last_run,
        };
        let at = found.at;
        let decisions = self
            .orders
            .observe(at, &subject, Observation::CaptureFound(found));
        self.decide(decisions);
    }

    /// The triggers get to know the kept runs of a container as if this agent had seen them.
    fn resume_runs(&mut self, subject: &Subject) {
        for kept in self.histories.runs(subject) {
            let run = &kept.run;
            let verdict = kept.explain().ok().and_then(|mut said| said.runs.pop());
            let started = Observation::Started { run: run.number };
            let ended = Observation::Ended(end_of(&kept, verdict.as_ref()));
            for (at, seen) in [(run.start, started), (run.end.unwrap_or(run.start), ended)] {
                let decisions = self.orders.observe(self.clock.at(at), subject, seen);
                self.decide(decisions);
            }
        }
    }
}
