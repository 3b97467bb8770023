//! Goes on with the containers that an earlier agent recorded: their rings and the programs have outlived it.

use capture_format::CgroupId;

use super::{Recorded, Server, handle::Report};
use crate::{
    adopt::{self, Running},
    host,
    recorder::{Left, Misses},
};

impl Server {
    /// Takes over the rings that were left. Runs that ended meanwhile are read like others, in the order in which they
    /// began.
    pub(super) fn take_over(&mut self) {
        let left = self.recorder.left();
        if left.is_empty() {
            return;
        }
        tracing::info!(
            rings = left.len(),
            "goes on with what an earlier agent recorded"
        );
        for left in &left {
            let running = self.running(left);
            self.go_on_with(left, running.as_ref());
        }
        for message in self.recorder.messages() {
            self.message(message);
        }
        // What the earlier agent was told and did not live to act on, nobody says again.
        for left in left {
            match self.running(&left) {
                None => self.removed(left.cgroup, left.ring, host::boottime()),
                Some(running) if left.first != 0 && running.init_pid != left.first => {
                    self.ended(left.cgroup, host::boottime(), None);
                }
                Some(_) => {}
            }
        }
    }

    /// The container, unless its cgroup is gone.
    fn running(&self, left: &Left) -> Option<Running> {
        let (proc, cgroups) = (&self.places.proc, &self.places.cgroups);
        adopt::container(proc, cgroups, &left.path, &self.shapes)
            .filter(|running| running.cgroup == left.cgroup)
    }

    fn go_on_with(&mut self, left: &Left, running: Option<&Running>) {
        let inside = (left.outermost != left.cgroup).then_some(left.outermost);
        // How often programs had been skipped when it started is not known: all that ever were count.
        let mut recorded = Recorded::new(left.path.clone(), inside, Misses::default(), Vec::new());
        let mut time = left.since;
        if left.was_adopted {
            // What the earlier agent had found in /proc is lost, except for the processes that are still there.
            recorded.lost = 1;
            if let Some(running) = running {
                recorded.preface =
                    adopt::survivors(&self.places.proc, running, &self.shapes, left.since);
                recorded.is_late = true;
                time = running.start;
            }
        }
        self.waiting.saw(recorded.rank);
        let (path, cgroup) = (left.path.clone(), left.cgroup);
        self.recorded.insert(cgroup, recorded);
        self.report(Report::TakenOver {
            cgroup,
            path,
            inside,
            time,
            run: left.run,
        });
        let nested = running.and_then(|running| adopt::nested(running, &self.shapes).ok());
        let nested = nested.unwrap_or_default();
        if self
            .recorder
            .enter_nested(left.ring, left.outermost, &nested)
        {
            let cgroup = left.outermost;
            self.report(Report::TurnsAway { cgroup });
        }
    }

    /// Programs had stopped, since this process did nothing for long. Containers that they took out of the table wait
    /// for a ring.
    pub(super) fn lapsed(&mut self) {
        tracing::warn!("nothing was recorded for a while: this process was stopped for minutes");
        let Self {
            recorded, recorder, ..
        } = self;
        let without = recorded
            .extract_if(|cgroup, recorded| recorded.lives() && recorder.ring_of(*cgroup).is_none());
        let without: Vec<(CgroupId, Recorded)> = without.collect();
        for (cgroup, recorded) in without {
            self.report(Report::GaveUp { cgroup });
            self.wants(cgroup, recorded.path, recorded.inside.is_some(), true);
        }
    }
}
