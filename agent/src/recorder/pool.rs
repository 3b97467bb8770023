//! The rings: made, given back, found by cgroup.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use agent_ebpf::wire::{CGROUP_SETS, CGROUP_WAYS, CgroupSet, NESTED, RINGS};
use aya::{
    Ebpf,
    maps::{Map, MapData, Queue},
};

use super::{
    budget::{Budget, Change, Stock},
    ring::RING_BYTES,
    sys::{self, Mapped},
};

/// Bytes that a ring occupies in the kernel.
pub(super) const RING_MEMORY: u64 = RING_BYTES.next_multiple_of(4096) as u64;

/// A ring by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId(pub(super) u32);

/// All rings of the node.
pub(super) struct Pool {
    /// Array of maps: every ring by number.
    rings: MapData,
    free: Queue<MapData, u32>,
    table: CgroupTable,
    template: Template,
    mapped: HashMap<u32, Mapped>,
    budget: Budget,
    kept: u64,
}

impl Pool {
    pub(super) fn new(ebpf: &mut Ebpf, budget: Budget) -> io::Result<Self> {
        let missing = |name| io::Error::other(format!("the eBPF object has no map {name}"));
        let Some(Map::ArrayOfMaps(rings)) = ebpf.take_map("RINGS") else {
            return Err(missing("RINGS"));
        };
        let Some(Map::Array(table)) = ebpf.take_map("CGROUPS") else {
            return Err(missing("CGROUPS"));
        };
        let free = ebpf.take_map("POOL").ok_or_else(|| missing("POOL"))?;
        let mut pool = Self {
            rings,
            free: free.try_into().map_err(io::Error::other)?,
            table: CgroupTable {
                memory: Mapped::new(table.fd(), CGROUP_SETS * size_of::<CgroupSet>())?,
                _map: table,
            },
            template: Template::new()?,
            mapped: HashMap::new(),
            budget,
            kept: 0,
        };
        pool.balance()?;
        Ok(pool)
    }

    /// Makes rings or gives some back, as the budget says.
    pub(super) fn balance(&mut self) -> io::Result<()> {
        match self.budget.change(RING_MEMORY, self.stock()) {
            Change::Add(count) => (0..count).try_for_each(|_| self.add()),
            Change::Remove(count) => (0..count).try_for_each(|_| self.remove()),
            Change::Keep => Ok(()),
        }
    }

    pub(super) fn stock(&self) -> Stock {
        let used = self.table.used();
        Stock {
            free: self.mapped.len().saturating_sub(used),
            used,
            kept: self.kept,
        }
    }

    fn add(&mut self) -> io::Result<()> {
        let Some(number) = (0..RINGS as u32).find(|number| !self.mapped.contains_key(number))
        else {
            return Ok(());
        };
        let ring = self.template.ring()?;
        sys::set_element(self.rings.fd(), number, &ring)?;
        self.mapped.insert(number, Mapped::new(&ring, RING_BYTES)?);
        self.free.push(number, 0).map_err(io::Error::other)
    }

    fn remove(&mut self) -> io::Result<()> {
        let Ok(number) = self.free.pop(0) else {
            return Ok(());
        };
        self.mapped.remove(&number);
        sys::delete_element(self.rings.fd(), number)
    }

    /// Says how many bytes of kept runs share the budget.
    pub(super) fn set_kept(&mut self, bytes: u64) -> io::Result<()> {
        self.kept = bytes;
        self.balance()
    }

    /// The ring of a container's cgroup.
    pub(super) fn find(&self, cgroup: u64) -> Option<RingId> {
        self.table.find(cgroup).map(RingId)
    }

    pub(super) fn words(&self, ring: RingId) -> Option<&[AtomicU64]> {
        self.mapped.get(&ring.0).map(Mapped::words)
    }

    /// Takes a ring from its container, whose processes must be gone, and puts it back into the pool.
    pub(super) fn release(&mut self, ring: RingId) -> io::Result<()> {
        if self.table.remove(ring.0) {
            self.free.push(ring.0, 0).map_err(io::Error::other)?;
        }
        self.balance()
    }
}

/// The kernel's table from cgroup id to ring, shared with its programs.
struct CgroupTable {
    memory: Mapped,
    /// The programs are loaded with its descriptor.
    _map: MapData,
}

impl CgroupTable {
    const SET_WORDS: usize = size_of::<CgroupSet>() / 8;

    /// Every place: its id and ring.
    fn places(&self) -> impl Iterator<Item = (&AtomicU64, u32)> {
        self.memory
            .words()
            .chunks_exact(Self::SET_WORDS)
            .flat_map(|set| {
                (0..CGROUP_WAYS).map(move |way| {
                    let pair = set[CGROUP_WAYS + way / 2].load(Ordering::Acquire);
                    // Two rings share a word, in this machine's byte order.
                    let halves: [u32; 2] = if cfg!(target_endian = "little") {
                        [pair as u32, (pair >> 32) as u32]
                    } else {
                        [(pair >> 32) as u32, pair as u32]
                    };
                    (&set[way], halves[way % 2])
                })
            })
    }

    fn find(&self, cgroup: u64) -> Option<u32> {
        self.places()
            .find(|(id, _)| id.load(Ordering::Acquire) == cgroup)
            .map(|(_, ring)| ring & !NESTED)
    }

    /// Containers in the table.
    fn used(&self) -> usize {
        self.places()
            .filter(|(id, ring)| id.load(Ordering::Acquire) != 0 && ring & NESTED == 0)
            .count()
    }

    /// Clears every place of a ring; false if there was none.
    fn remove(&self, ring: u32) -> bool {
        let mut found = false;
        for (id, place) in self.places() {
            if place & !NESTED == ring && id.swap(0, Ordering::AcqRel) != 0 {
                found = true;
            }
        }
        found
    }
}

const _: () = assert!(size_of::<AtomicU32>() == 4 && CGROUP_WAYS.is_multiple_of(2));

/// What every ring map is made from.
///
/// Kernels 5.15 to 6.2 accept an inner map only if it has type information where the template of the outer map has.
struct Template {
    btf: OwnedFd,
}

impl Template {
    const INT: u32 = 1;
    const RING: u32 = 2;

    fn new() -> io::Result<Self> {
        Ok(Self {
            btf: sys::load_btf(&Self::blob())?,
        })
    }

    fn ring(&self) -> io::Result<OwnedFd> {
        sys::create_array("ring", RING_BYTES as u32, &self.btf, Self::INT, Self::RING)
    }

    /// Two types: `unsigned int`, and an empty structure of a ring's size. Documentation/bpf/btf.rst.
    fn blob() -> Vec<u8> {
        const KIND_INT: u32 = 1 << 24;
        const KIND_STRUCT: u32 = 4 << 24;
        let strings = b"\0uint\0ring\0";
        let types = [1, KIND_INT, 4, 32, 6, KIND_STRUCT, RING_BYTES as u32];
        let type_bytes = size_of_val(&types) as u32;
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, type_bytes, type_bytes, strings.len() as u32]
            .iter()
            .chain(&types)
        {
            blob.extend_from_slice(&word.to_le_bytes());
        }
        blob.extend_from_slice(strings);
        blob
    }
}
