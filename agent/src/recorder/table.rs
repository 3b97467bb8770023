//! The table from cgroup id to ring, which user space shares with the eBPF programs.

use std::{
    io,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use agent_ebpf::wire::{CGROUP_SETS, CGROUP_WAYS, CLAIMED, CgroupSet, NESTED, cgroup_set};
use aya::maps::MapData;
use capture_format::CgroupId;

use super::sys::Mapped;

/// How many words of eight bytes a set has: first its ids, then its rings, two in a word.
const SET_WORDS: usize = size_of::<CgroupSet>() / 8;
const _: () = assert!(std::mem::offset_of!(CgroupSet, rings) == CGROUP_WAYS * 8);

/// The table.
pub(super) struct CgroupTable {
    /// The key of this load, which the programs have, too.
    key: u64,
    memory: Mapped,
    /// Keeps the map's descriptor open: the programs are loaded with it.
    _map: MapData,
}

/// A place in the table.
struct Place<'a> {
    /// The cgroup's id; 0 means that the place is free.
    id: &'a AtomicU64,
    ring: &'a AtomicU32,
}

impl Place<'_> {
    fn id(&self) -> u64 {
        self.id.load(Ordering::Acquire)
    }

    /// The number of the place's ring, together with [`NESTED`].
    fn ring(&self) -> u32 {
        self.ring.load(Ordering::Acquire)
    }

    /// Whether the cgroup is a container's own, and not one inside a container.
    fn is_container(&self) -> bool {
        !matches!(self.id(), 0 | CLAIMED) && self.ring() & NESTED == 0
    }
}

impl CgroupTable {
    pub(super) fn new(map: MapData, key: u64) -> io::Result<Self> {
        Ok(Self {
            key,
            memory: Mapped::new(map.fd(), CGROUP_SETS * size_of::<CgroupSet>())?,
            _map: map,
        })
    }

    fn set(&self, set: usize) -> impl Iterator<Item = Place<'_>> {
        let ids = &self.memory.words()[set * SET_WORDS..][..CGROUP_WAYS];
        let rings = &self.memory.halves()[(set * SET_WORDS + CGROUP_WAYS) * 2..][..CGROUP_WAYS];
        ids.iter().zip(rings).map(|(id, ring)| Place { id, ring })
    }

    fn set_of(&self, cgroup: CgroupId) -> impl Iterator<Item = Place<'_>> {
        self.set(cgroup_set(cgroup.0, self.key))
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        (0..CGROUP_SETS).flat_map(|set| self.set(set))
    }

    /// The ring of a cgroup.
    pub(super) fn find(&self, cgroup: CgroupId) -> Option<u32> {
        self.set_of(cgroup)
            .find(|place| place.id() == cgroup.0)
            .map(|place| place.ring() & !NESTED)
    }

    /// Every container: the id of its cgroup, and its ring.
    pub(super) fn containers(&self) -> impl Iterator<Item = (CgroupId, u32)> {
        self.places()
            .filter(Place::is_container)
            .map(|place| (CgroupId(place.id()), place.ring()))
    }

    /// Enters a cgroup as the eBPF programs do (`insert` in `agent-ebpf/src/cgroups.rs`): the place is claimed first,
    /// so that nobody finds the id without its ring. Returns false if the set is full.
    pub(super) fn insert(&self, cgroup: CgroupId, ring: u32) -> bool {
        let claimed = self.set_of(cgroup).find(|place| {
            place
                .id
                .compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        });
        let Some(place) = claimed else { return false };
        place.ring.store(ring, Ordering::Release);
        place.id.store(cgroup.0, Ordering::Release);
        true
    }

    /// Clears every place with this ring; returns false if there was none.
    pub(super) fn remove(&self, ring: u32) -> bool {
        let mut found = false;
        for place in self.places() {
            let id = place.id();
            // A place that is being claimed still has the ring of its last owner.
            if matches!(id, 0 | CLAIMED) || place.ring() & !NESTED != ring {
                continue;
            }
            found |= place
                .id
                .compare_exchange(id, 0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        }
        found
    }
}
