//! Which containers have a ring: one that waits gets a ring that is free, or the ring of a container of lower rank.

use std::io;

use capture_format::{CgroupId, chain};

use super::{Recorded, Server, handle::Report, rank};
use crate::{
    adopt, host,
    node::waiting::{Rank, Waiting, gives_up},
    recorder::{AdoptError, RingId},
};

impl Server {
    /// A container has no ring. `is_inner`: it is inside another one. `has_lost`: something of it was not recorded
    /// already.
    pub(super) fn wants(&mut self, cgroup: CgroupId, path: String, is_inner: bool, has_lost: bool) {
        let rank = rank(&path, is_inner);
        self.waiting.saw(rank);
        let waiting = Waiting {
            path,
            has_lost,
            is_told: false,
        };
        self.waiting.add(rank, cgroup, waiting);
        let cgroups = &self.places.cgroups;
        let is_there =
            |waiting: &Waiting| cgroups.join(waiting.path.trim_start_matches('/')).exists();
        for path in self.waiting.forget_gone(is_there) {
            self.refused(path, "it ended before a ring was free");
        }
    }

    /// Gives a ring to the first container that waits, or makes a container of lower rank give up its ring. True if
    /// there may be more to do.
    pub(super) fn give(&mut self) -> io::Result<bool> {
        let supply = self.waiting.supply(self.recorder.stock());
        if let Some((rank, cgroup, waiting)) = self.waiting.next(supply) {
            return self.adopt(rank, cgroup, waiting);
        }
        Ok(self.waiting.is_short(supply) && self.take_back())
    }

    /// Adopts a container that waits. False if there is no ring for it.
    fn adopt(&mut self, rank: Rank, cgroup: CgroupId, waiting: Waiting) -> io::Result<bool> {
        let proc = self.places.proc.clone();
        let running = adopt::container(&proc, &self.places.cgroups, &waiting.path, &self.shapes)
            .filter(|running| running.cgroup == cgroup);
        let is_untold = rank != Rank::Pause && !waiting.is_told;
        let Some(running) = running else {
            if is_untold {
                self.refused(waiting.path, "it ended before a ring was free");
            }
            return Ok(true);
        };
        if rank == Rank::Pod && adopt::looks_like_pause(&proc, &running) {
            self.waiting.add(Rank::Pause, cgroup, waiting);
            return Ok(true);
        }
        let inside = running.is_inner().then_some(running.outermost);
        let own = containers::path::parse_own(&running.path).map(|own| own.container);
        if self.is_copy(cgroup, own.as_ref()) {
            self.refuse_copy(running.path, inside);
            return Ok(true);
        }
        let first = adopt::first_process(&proc, &running);
        let nested = || adopt::nested(&running, &self.shapes);
        match self
            .recorder
            .adopt(cgroup, running.outermost, &running.path, first, nested)
        {
            Ok(adopted) => {
                if !running.is_inner() {
                    let cgroups = &self.places.cgroups;
                    for inner in adopt::inner(&proc, cgroups, &running, &self.shapes) {
                        self.wants(inner.cgroup, inner.path, true, waiting.has_lost);
                    }
                }
                let preface = adopt::preface(&proc, &running, &self.shapes, host::boottime);
                let misses = self.recorder.misses();
                let mut recorded = Recorded::new(running.path.clone(), inside, misses, preface);
                recorded.rank = rank;
                recorded.lost = u64::from(waiting.has_lost);
                self.recorded.insert(cgroup, recorded);
                let outermost = running.outermost;
                self.report(Report::Adopted {
                    running,
                    was_refused: waiting.is_told,
                });
                if adopted.turns_away {
                    self.report(Report::TurnsAway { cgroup: outermost });
                }
            }
            // The container started just now, and a message reports it.
            Err(AdoptError::HasOne(_)) => {}
            // Of those inside a container, not all are recorded, and only while it is.
            Err(AdoptError::OutsideUnrecorded) => {}
            Err(AdoptError::TurnedAway) => self.turn_away(running.outermost),
            Err(AdoptError::PoolEmpty) => {
                self.waiting.add(rank, cgroup, waiting);
                return Ok(false);
            }
            Err(error) => {
                if is_untold {
                    self.refused(waiting.path.clone(), &chain(&error).to_string());
                }
                if !matches!(error, AdoptError::Gone) {
                    let waiting = Waiting {
                        is_told: true,
                        ..waiting
                    };
                    self.waiting.add_without_place(rank, cgroup, waiting);
                }
            }
        }
        Ok(true)
    }

    /// Gives back the ring of a run that is written nowhere yet: what is to come needs it more. Or else makes a container
    /// give up its ring that is in no pod, or is a pause container. False if there is none.
    fn take_back(&mut self) -> bool {
        let mut recorded = self.recorded.iter_mut();
        let held = recorded.find(|(_, recorded)| recorded.held && recorded.removed.is_some());
        if let Some((cgroup, recorded)) = held {
            let cgroup = *cgroup;
            recorded.held = false;
            self.release_if_over(cgroup);
            return true;
        }
        let Self {
            recorded,
            places,
            shapes,
            ..
        } = self;
        let now = host::boottime();
        for recorded in recorded.values_mut() {
            if recorded.rank == Rank::Pod && recorded.look_after.is_some_and(|after| after < now) {
                recorded.look_after = None;
                let running =
                    adopt::container(&places.proc, &places.cgroups, &recorded.path, shapes);
                if running.is_some_and(|running| adopt::looks_like_pause(&places.proc, &running)) {
                    recorded.rank = Rank::Pause;
                }
            }
        }
        let living = recorded.iter().filter(|(_, recorded)| recorded.lives());
        let have = living.map(|(cgroup, recorded)| (*cgroup, recorded.rank));
        let Some(cgroup) = gives_up(have, Rank::Pod) else {
            return false;
        };
        let Some(Recorded { path, rank, .. }) = self.recorded.remove(&cgroup) else {
            return false;
        };
        self.give_up_inner(cgroup);
        if let Some(ring) = self.recorder.ring_of(cgroup) {
            self.release(ring);
        }
        tracing::debug!(cgroup = path, "a container gives its ring up");
        self.report(Report::GaveUp { cgroup });
        let waiting = Waiting {
            path,
            has_lost: true,
            is_told: false,
        };
        self.waiting.add(rank, cgroup, waiting);
        true
    }

    /// The containers inside an outermost one are not recorded any more. Those whose runs have ended are still read.
    pub(super) fn give_up_inner(&mut self, outermost: CgroupId) {
        let inner = |recorded: &Recorded| recorded.inside == Some(outermost) && recorded.lives();
        let living = self.recorded.extract_if(|_, recorded| inner(recorded));
        let living: Vec<CgroupId> = living.map(|(cgroup, _)| cgroup).collect();
        for cgroup in living {
            if let Some(ring) = self.recorder.ring_of(cgroup) {
                self.release(ring);
            }
            self.report(Report::GaveUp { cgroup });
        }
    }

    /// Whether another container that lives has this id.
    pub(super) fn is_copy(&self, cgroup: CgroupId, id: Option<&String>) -> bool {
        let has_it = |recorded: &Recorded| recorded.lives() && recorded.id.as_ref() == id;
        id.is_some()
            && (self.recorded.iter()).any(|(other, recorded)| *other != cgroup && has_it(recorded))
    }

    /// A container with the id of another one that lives is not recorded: it may have been made to be taken for that
    /// one.
    pub(super) fn refuse_copy(&mut self, path: String, inside: Option<CgroupId>) {
        match inside {
            Some(outermost) => self.turn_away(outermost),
            None => self.refused(path, "another container of this node has its id"),
        }
    }

    fn turn_away(&self, outermost: CgroupId) {
        if self.recorder.turn_away(outermost) {
            self.report(Report::TurnsAway { cgroup: outermost });
        }
    }

    /// Takes a ring from its container. Containers that found no place in the table may find one now.
    pub(super) fn release(&mut self, ring: RingId) {
        self.recorder.release(ring);
        self.waiting.retry();
    }
}
