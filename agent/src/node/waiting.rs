//! Containers that wait for a ring: which gets the next ring, and which container has to give up its ring.

use std::{cmp::Reverse, collections::BTreeMap};

use capture_format::CgroupId;

use crate::recorder::Stock;

/// The number of waiting containers beyond which those that are gone are searched for.
const MANY: usize = 256;

/// The order in which containers get a ring; the smallest rank is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A container in a pod: its captures are announced.
    Pod,
    /// A container of Docker, nerdctl and the like.
    NoPod,
    /// A pause container: it runs nothing, and ends when its pod does.
    Pause,
}

const RANKS: [Rank; 3] = [Rank::Pod, Rank::NoPod, Rank::Pause];

impl Rank {
    /// By the path of the container's cgroup.
    pub(super) fn of(path: &str) -> Self {
        let known = containers::path::parse(path);
        if known.is_some_and(|known| known.pod_uid.is_some()) {
            Self::Pod
        } else {
            Self::NoPod
        }
    }
}

/// A container that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Path of its cgroup.
    pub(super) path: String,
    /// Whether something of it was not recorded already, since it got no ring, or gave its ring up.
    pub(super) has_lost: bool,
    /// Whether it was reported that the container is not recorded.
    pub(super) is_told: bool,
}

/// The rings that waiting containers can get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply {
    /// Free ones.
    free: usize,
    /// Those that may still be made.
    affordable: usize,
    /// How many of both are kept for pods' containers that start.
    reserve: usize,
}

impl Supply {
    /// Whether a container of this rank may have a ring now.
    fn allows(&self, rank: Rank) -> bool {
        self.free > 0 && (rank == Rank::Pod || self.free + self.affordable > self.reserve)
    }

    /// Whether a container has to give its ring up, for one of this rank or for containers to come.
    fn is_short_for(&self, rank: Option<Rank>) -> bool {
        let left = self.free + self.affordable;
        left < self.reserve || (left == 0 && rank == Some(Rank::Pod))
    }
}

/// The containers that have no ring, and how many rings they leave for others.
#[derive(Debug)]
pub(super) struct Waitlist {
    queue: Queue,
    /// Containers for which there was a ring, but no place in the table.
    without_place: Vec<(Rank, CgroupId, Waiting)>,
    /// Rings that are reserved for pods' containers that start, once there was such a container.
    ready: usize,
    has_pods: bool,
    /// The number of waiting containers beyond which those that are gone are searched for next.
    many: usize,
}

impl Waitlist {
    /// Nobody waits. `ready` rings are reserved for pods' containers that start.
    pub(super) fn new(ready: usize) -> Self {
        Self {
            queue: Queue::default(),
            without_place: Vec::new(),
            ready,
            has_pods: false,
            many: MANY,
        }
    }

    /// There is or was a container of this rank on the node.
    pub(super) fn saw(&mut self, rank: Rank) {
        self.has_pods |= rank == Rank::Pod;
    }

    /// Adds a container that has no ring, by the id of its cgroup, unless it is there already.
    pub(super) fn add(&mut self, rank: Rank, cgroup: CgroupId, waiting: Waiting) {
        self.queue.add(rank, cgroup, waiting);
    }

    /// Adds a container that found no place in the table. It waits until [`retry`](Self::retry).
    pub(super) fn add_without_place(&mut self, rank: Rank, cgroup: CgroupId, waiting: Waiting) {
        self.without_place.push((rank, cgroup, waiting));
    }

    /// A ring was given back: containers that found no place in the table may find one now.
    pub(super) fn retry(&mut self) {
        for (rank, cgroup, waiting) in self.without_place.drain(..) {
            self.queue.add(rank, cgroup, waiting);
        }
    }

    /// The container does not wait any longer.
    pub(super) fn remove(&mut self, cgroup: CgroupId) {
        self.queue.remove(cgroup);
        self.without_place
            .retain(|(_, waiting, _)| *waiting != cgroup);
    }

    /// The rings that waiting containers can get.
    pub(super) fn supply(&self, stock: Stock) -> Supply {
        let most = stock.free + stock.used + stock.affordable;
        Supply {
            free: stock.free,
            affordable: stock.affordable,
            reserve: if self.has_pods {
                self.ready.min(most / 4)
            } else {
                0
            },
        }
    }

    /// Takes the first container, if it may have a ring now.
    pub(super) fn next(&mut self, supply: Supply) -> Option<(Rank, CgroupId, Waiting)> {
        let first = self.queue.first()?;
        if supply.allows(first) {
            self.queue.pop()
        } else {
            None
        }
    }

    /// Whether a container that has a ring has to give it up.
    pub(super) fn is_short(&self, supply: Supply) -> bool {
        supply.is_short_for(self.queue.first())
    }

    /// How many containers have no ring, pause containers included.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.without_place.len()
    }

    /// See [`Queue::untold`].
    pub(super) fn untold(&mut self) -> Vec<String> {
        self.queue.untold()
    }

    /// If many wait, forgets those that are gone. Returns those of which it was not reported that they were not
    /// recorded.
    pub(super) fn forget_gone(&mut self, is_there: impl FnMut(&Waiting) -> bool) -> Vec<String> {
        if self.queue.len() <= self.many {
            return Vec::new();
        }
        let untold = self.queue.keep(is_there);
        self.many = MANY.max(2 * self.queue.len());
        untold
    }
}

/// All containers that wait; within a rank in the order of the ids of their cgroups, which count up.
#[derive(Debug, Default)]
struct Queue {
    all: BTreeMap<(Rank, CgroupId), Waiting>,
}

impl Queue {
    /// Adds a container that has no ring, by the id of its cgroup, unless it is there already.
    fn add(&mut self, rank: Rank, cgroup: CgroupId, waiting: Waiting) {
        if RANKS
            .iter()
            .all(|rank| !self.all.contains_key(&(*rank, cgroup)))
        {
            self.all.insert((rank, cgroup), waiting);
        }
    }

    /// The container does not wait any longer.
    fn remove(&mut self, cgroup: CgroupId) {
        for rank in RANKS {
            self.all.remove(&(rank, cgroup));
        }
    }

    /// The rank of the first.
    fn first(&self) -> Option<Rank> {
        self.all.keys().next().map(|(rank, _)| *rank)
    }

    /// Takes the first.
    fn pop(&mut self) -> Option<(Rank, CgroupId, Waiting)> {
        let ((rank, cgroup), waiting) = self.all.pop_first()?;
        Some((rank, cgroup, waiting))
    }

    /// How many wait, pause containers included.
    fn len(&self) -> usize {
        self.all.len()
    }

    /// Containers of which it is still to be reported that they are not recorded; from now on it counts as reported.
    /// Pause containers are never reported.
    fn untold(&mut self) -> Vec<String> {
        let untold = self
            .all
            .iter_mut()
            .filter(|((rank, _), waiting)| *rank != Rank::Pause && !waiting.is_told);
        let told = untold.map(|(_, waiting)| {
            waiting.is_told = true;
            waiting.path.clone()
        });
        told.collect()
    }

    /// Forgets containers that are gone. Returns those of which it was not reported that they were not recorded.
    fn keep(&mut self, mut is_there: impl FnMut(&Waiting) -> bool) -> Vec<String> {
        let mut untold = Vec::new();
        self.all.retain(|(rank, _), waiting| {
            let is_there = is_there(waiting);
            if !is_there && !waiting.is_told && *rank != Rank::Pause {
                untold.push(waiting.path.clone());
            }
            is_there
        });
        untold
    }
}

/// Which of those that have a ring gives it up for one of this rank, if one of a lower rank has: the lowest, and of
/// these the newest.
pub(super) fn gives_up(
    have: impl Iterator<Item = (CgroupId, Rank)>,
    wanted: Rank,
) -> Option<CgroupId> {
    have.filter(|(_, rank)| *rank > wanted)
        .max_by_key(|(cgroup, rank)| (*rank, Reverse(*cgroup)))
        .map(|(cgroup, _)| cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn waiting(path: &str) -> Waiting {
        Waiting {
            path: path.to_owned(),
            has_lost: true,
            is_told: false,
        }
    }

    #[test]
    fn pods_come_first_and_pause_last() {
        let mut queue = Queue::default();
        queue.add(Rank::Pause, CgroupId(1), waiting("pause"));
        queue.add(Rank::NoPod, CgroupId(2), waiting("docker"));
        queue.add(Rank::Pod, CgroupId(9), waiting("late"));
        queue.add(Rank::Pod, CgroupId(3), waiting("early"));
        queue.add(Rank::Pod, CgroupId(4), waiting("gone"));
        queue.remove(CgroupId(4));
        let order: Vec<CgroupId> = std::iter::from_fn(|| queue.pop())
            .map(|(_, cgroup, _)| cgroup)
            .collect();
        assert_eq!(order, [3, 9, 2, 1].map(CgroupId));
    }

    #[test]
    fn each_is_told_once_that_is_not_recorded() {
        let mut queue = Queue::default();
        queue.add(Rank::Pod, CgroupId(1), waiting("a"));
        queue.add(Rank::Pause, CgroupId(2), waiting("pause"));
        assert_eq!(queue.untold(), ["a"]);
        queue.add(Rank::NoPod, CgroupId(3), waiting("b"));
        queue.add(Rank::Pod, CgroupId(2), waiting("pause"));
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.keep(|waiting| waiting.path == "b"), [""; 0]);
        assert_eq!(queue.keep(|_| false), ["b"]);
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn once_there_was_a_pod_up_to_a_quarter_of_the_rings_is_reserved() {
        let stock = |free| Stock {
            free,
            used: 8 - free,
            ..Stock::default()
        };
        let mut list = Waitlist::new(4);
        list.add(Rank::NoPod, CgroupId(1), waiting("docker"));
        list.add(Rank::NoPod, CgroupId(2), waiting("docker"));
        assert!(list.next(list.supply(stock(1))).is_some());
        list.saw(Rank::Pod);
        assert_eq!(list.next(list.supply(stock(2))), None);
        assert!(list.is_short(list.supply(stock(1))) && !list.is_short(list.supply(stock(2))));
        assert!(list.next(list.supply(stock(3))).is_some());
    }

    #[test]
    fn who_found_no_place_waits_until_a_ring_is_given_back() {
        let supply = Supply {
            free: 9,
            affordable: 0,
            reserve: 0,
        };
        let mut list = Waitlist::new(0);
        list.add_without_place(Rank::Pod, CgroupId(1), waiting("a"));
        list.add_without_place(Rank::Pod, CgroupId(2), waiting("gone"));
        list.remove(CgroupId(2));
        assert_eq!((list.next(supply), list.len()), (None, 1));
        list.retry();
        assert_eq!(
            list.next(supply),
            Some((Rank::Pod, CgroupId(1), waiting("a")))
        );
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn who_is_gone_is_searched_for_only_if_many_wait() {
        let mut list = Waitlist::new(0);
        let mut id = 0;
        let mut add = |list: &mut Waitlist, count| {
            for _ in 0..count {
                id += 1;
                list.add(Rank::Pod, CgroupId(id), waiting("a"));
            }
        };
        add(&mut list, MANY);
        assert_eq!(list.forget_gone(|_| false), [""; 0]);
        add(&mut list, 1);
        assert_eq!(list.forget_gone(|_| true), [""; 0]);
        add(&mut list, MANY + 1);
        assert_eq!(list.forget_gone(|_| false), [""; 0]);
        add(&mut list, 1);
        assert_eq!(list.forget_gone(|_| false).len(), 2 * MANY + 3);
    }

    #[test]
    fn a_path_tells_whether_there_is_a_pod() {
        let pod = "/kubepods.slice/kubepods-pod0a1b2c3d_0000_1111_2222_333344445555.slice";
        assert_eq!(
            Rank::of(&format!("{pod}/cri-containerd-{ID}.scope")),
            Rank::Pod
        );
        assert_eq!(
            Rank::of(&format!("/system.slice/docker-{ID}.scope")),
            Rank::NoPod
        );
    }

    #[test]
    fn a_pods_container_takes_the_last_ring_and_others_leave_the_reserve() {
        let supply = |free, affordable| Supply {
            free,
            affordable,
            reserve: 4,
        };
        assert!(supply(1, 0).allows(Rank::Pod));
        assert!(!supply(4, 0).allows(Rank::NoPod));
        assert!(supply(5, 0).allows(Rank::NoPod) && supply(1, 4).allows(Rank::NoPod));
        assert!(!supply(0, 9).allows(Rank::Pod));
        // What was given up for the reserve is not given back to the same one.
        assert!(supply(3, 0).is_short_for(None) && !supply(4, 0).is_short_for(Some(Rank::Pod)));
        let none = Supply {
            free: 0,
            affordable: 0,
            reserve: 0,
        };
        assert!(none.is_short_for(Some(Rank::Pod)));
        assert!(!none.is_short_for(Some(Rank::NoPod)) && !none.is_short_for(None));
    }

    #[test]
    fn the_lowest_rank_gives_up_first() {
        let have = [
            (CgroupId(1), Rank::Pod),
            (CgroupId(2), Rank::NoPod),
            (CgroupId(3), Rank::Pause),
            (CgroupId(4), Rank::Pause),
        ];
        assert_eq!(gives_up(have.into_iter(), Rank::Pod), Some(CgroupId(3)));
        assert_eq!(
            gives_up(have[..2].iter().copied(), Rank::Pod),
            Some(CgroupId(2))
        );
        assert_eq!(gives_up(have[..2].iter().copied(), Rank::NoPod), None);
        assert_eq!(gives_up(have[..1].iter().copied(), Rank::Pod), None);
    }
}
