//! The rings: made, given, taken back, found by cgroup.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::AtomicU64,
    thread,
};

use agent_ebpf::wire::{NESTED, RINGS};
use aya::maps::{Map, MapData, MapError, Queue};
use capture_format::CgroupId;

use super::{
    Left,
    budget::{Budget, Change, Stock},
    pins::Version,
    ring::{self, Count, FirstProcess, RING_BYTES, RING_MEMORY, RingId},
    sys::{self, Fence, Mapped},
    table::CgroupTable,
};

/// Why a container that runs already gets no ring.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is recorded already.
    #[error("the container has a ring already")]
    HasOne(RingId),
    /// The budget is spent.
    #[error(
        "no ring is free and the memory budget allows no more; raise the budget or record fewer containers"
    )]
    PoolEmpty,
    /// The cgroup's set of the table is full.
    #[error("there is no place in the table for its cgroup")]
    TableFull,
    /// Its cgroup was removed meanwhile.
    #[error("its cgroup has been removed")]
    Gone,
    /// It is inside a container that is not recorded.
    #[error("the container around it is not recorded")]
    OutsideUnrecorded,
    /// It is inside a container that has as many recorded containers as it may. It is counted as turned away.
    #[error("the container around it has as many recorded containers inside it as it may have")]
    TurnedAway,
    /// The kernel's answer.
    #[error("cannot give it a ring")]
    Kernel(#[from] io::Error),
}

/// A container that runs already and has a ring now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The ring.
    pub ring: RingId,
    /// Whether any cgroup inside it found no place.
    pub turns_away: bool,
}

/// All rings of the node.
pub(super) struct Pool {
    /// Array of maps: every ring by number.
    rings: MapData,
    free: Queue<MapData, u32>,
    table: CgroupTable,
    /// Where the rings are pinned, if they outlive this process.
    version: Option<Version>,
    template: Template,
    mapped: HashMap<u32, Mapped>,
    /// Rings that were taken from their containers. Programs that had looked them up may still write.
    leaving: Vec<u32>,
    fence: Fence,
    budget: Budget,
    /// The last step made a ring.
    filling: bool,
    kept: u64,
    refused: u64,
    /// Cgroups that were turned away by containers whose rings were taken back since.
    turned_away: u64,
}

impl Pool {
    /// A pool of these maps, without rings.
    pub(super) fn new(
        take: &mut impl FnMut(&str) -> io::Result<Map>,
        budget: Budget,
        key: u64,
        version: Option<Version>,
    ) -> io::Result<Self> {
        let other = |name| io::Error::other(format!("the map {name} is of another type"));
        let Map::ArrayOfMaps(rings) = take("RINGS")? else {
            return Err(other("RINGS"));
        };
        let Map::Array(table) = take("CGROUPS")? else {
            return Err(other("CGROUPS"));
        };
        Ok(Self {
            rings,
            free: take("POOL")?.try_into().map_err(io::Error::other)?,
            table: CgroupTable::new(table, key)?,
            version,
            template: Template::new()?,
            mapped: HashMap::new(),
            leaving: Vec::new(),
            fence: Fence::new()?,
            budget,
            filling: false,
            kept: 0,
            refused: 0,
            turned_away: 0,
        })
    }

    /// Makes as many rings as the budget wants.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        while self.refill()? {}
        Ok(())
    }

    /// Takes over the rings that an earlier recorder pinned, by number. Programs go on using them meanwhile.
    pub(super) fn take_over(&mut self, rings: Vec<(u32, MapData)>) -> io::Result<()> {
        for (number, ring) in rings {
            // A recorder that is killed leaves a ring that it had pinned and not put in its place yet, or had taken
            // away and not unpinned yet.
            let id = ring.info().map_err(io::Error::other)?.id();
            if sys::element(self.rings.fd(), number).ok() != Some(id) {
                sys::set_element(self.rings.fd(), number, ring.fd())?;
            }
            self.mapped
                .insert(number, Mapped::new(ring.fd(), RING_BYTES)?);
        }
        self.reclaim()
    }

    /// Finds the rings that nobody has, and puts them into the pool: a recorder that was killed had them at hand, or
    /// programs that had stopped took their containers out of the table.
    ///
    /// Programs take rings out of the pool meanwhile and enter them into the table. The fence is between the looks at
    /// both, so a ring that is seen in neither is in no program's hands.
    pub(super) fn reclaim(&mut self) -> io::Result<()> {
        let mut free = HashSet::new();
        while let Some(number) = self.take()? {
            if self.mapped.contains_key(&number) {
                self.free.push(number, 0).map_err(io::Error::other)?;
            }
            if !free.insert(number) {
                break;
            }
        }
        self.fence.wait()?;
        let in_use: HashSet<u32> = self.table.containers().map(|(_, ring)| ring).collect();
        let has = |number: &u32| {
            free.contains(number) || in_use.contains(number) || self.leaving.contains(number)
        };
        let lost: Vec<u32> = (self.mapped.keys().copied())
            .filter(|number| !has(number))
            .collect();
        for number in lost {
            // A cgroup inside the container may still be entered.
            self.table.remove(number);
            self.leaving.push(number);
        }
        Ok(())
    }

    /// The containers that have a ring, as the rings themselves say.
    pub(super) fn left(&self) -> impl Iterator<Item = Left> {
        self.containers()
            .filter_map(|(cgroup, ring)| Some(ring::left(self.words(ring)?, cgroup, ring)))
    }

    /// Makes some rings or removes one, as the budget says; true if there is more to do.
    ///
    /// Either is a change of an array of maps, which returns only when all programs have ended that ran before it (`maybe_wait_bpf_programs` of
    /// kernel/bpf/syscall.c). So the rings that left before it are free then, all in one step.
    pub(super) fn refill(&mut self) -> io::Result<bool> {
        let change = self.change();
        self.filling = matches!(change, Change::Add(_));
        match change {
            Change::Add(rings) => self.add(rings)?,
            Change::Remove if !self.remove()? => return Ok(false),
            Change::Remove => {}
            Change::Keep if self.leaving.is_empty() => return Ok(false),
            Change::Keep => self.fence.wait()?,
        }
        for ring in std::mem::take(&mut self.leaving) {
            // A cgroup made inside the container meanwhile may have been entered after the others were taken out.
            self.table.remove(ring);
            self.free.push(ring, 0).map_err(io::Error::other)?;
        }
        Ok(self.change() != Change::Keep)
    }

    fn change(&self) -> Change {
        self.budget.change(RING_MEMORY, &self.stock(), self.filling)
    }

    pub(super) fn stock(&self) -> Stock {
        let used = self.table.containers().count();
        let most = self.budget.most(RING_MEMORY, self.kept);
        Stock {
            free: self.mapped.len().saturating_sub(used),
            used,
            kept_bytes: self.kept,
            ring_bytes: self.mapped.len() as u64 * RING_MEMORY,
            affordable: most.saturating_sub(self.mapped.len()),
            refused: self.refused,
        }
    }

    /// Makes rings. Each is a change of the array of maps, which waits some 10 ms for the programs that run: they wait together.
    fn add(&mut self, rings: usize) -> io::Result<()> {
        let numbers = (0..RINGS as u32).filter(|number| !self.mapped.contains_key(number));
        let made: Vec<(u32, OwnedFd)> = numbers
            .take(rings)
            .map(|number| Ok((number, self.template.ring()?)))
            .collect::<io::Result<_>>()?;
        let outer = self.rings.fd().as_fd();
        let set: Vec<io::Result<()>> = thread::scope(|scope| {
            let waiting: Vec<_> = made
                .iter()
                .map(|(number, ring)| scope.spawn(move || sys::set_element(outer, *number, ring)))
                .collect();
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            waiting
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .collect()
        });
        for ((number, ring), set) in made.into_iter().zip(set) {
            set?;
            // The next recorder puts it into the pool if this one is killed now.
            if let Some(version) = &self.version {
                version.pin_ring(number, &ring)?;
            }
            self.mapped.insert(number, Mapped::new(&ring, RING_BYTES)?);
            self.free.push(number, 0).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// False if no ring is free at this moment.
    fn remove(&mut self) -> io::Result<bool> {
        let number = match self.leaving.pop() {
            Some(number) => number,
            None => match self.take()? {
                Some(number) => number,
                None => return Ok(false),
            },
        };
        sys::delete_element(self.rings.fd(), number)?;
        self.mapped.remove(&number);
        self.table.remove(number);
        if let Some(version) = &self.version {
            version.remove_ring(number)?;
        }
        Ok(true)
    }

    /// Takes a ring from its container. Nothing is written to it from now on but by programs that had looked it up before; it
    /// comes back into the pool by [`refill`](Self::refill).
    pub(super) fn release(&mut self, ring: RingId) {
        if let Some(words) = self.words(ring) {
            let turned_away = Count::TurnedAway.get(words);
            let outer = self.find(ring::outermost(words));
            if let Some(outer) = outer.filter(|outer| *outer != ring)
                && let Some(words) = self.words(outer)
            {
                Count::Inner.give_back(words);
            }
            self.turned_away += turned_away;
        }
        if self.table.remove(ring.0) {
            self.leaving.push(ring.0);
        }
    }

    /// Gives a ring to a container that runs already; `outermost` is the cgroup of the outermost container around it, or its
    /// own, and `nested` tells the ids of the cgroups inside it.
    ///
    /// The kernel runs the programs at `cgroup_mkdir` before a new cgroup can be seen, and those at `cgroup_rmdir` after it has
    /// gone. So a cgroup that can be seen and is not in the table stays out of it unless it is entered here; whatever is made
    /// inside it after that is entered by the kernel side; and where it can be seen after that, its removal will be told.
    pub(super) fn adopt(
        &mut self,
        cgroup: CgroupId,
        outermost: CgroupId,
        path: &str,
        first: FirstProcess,
        nested: impl FnOnce() -> io::Result<Vec<CgroupId>>,
    ) -> Result<Adopted, AdoptError> {
        if let Some(ring) = self.find(cgroup) {
            return Err(AdoptError::HasOne(ring));
        }
        if cgroup == outermost {
            return self.enter(cgroup, outermost, path, first, nested);
        }
        let outer = self.find(outermost).ok_or(AdoptError::OutsideUnrecorded)?;
        if self
            .words(outer)
            .is_some_and(|outer| Count::Inner.take(outer).is_none())
        {
            self.turn_away(outermost);
            return Err(AdoptError::TurnedAway);
        }
        let adopted = self.enter(cgroup, outermost, path, first, nested);
        if adopted.is_err()
            && let Some(words) = self.words(outer)
        {
            Count::Inner.give_back(words);
        }
        adopted
    }

    fn enter(
        &mut self,
        cgroup: CgroupId,
        outermost: CgroupId,
        path: &str,
        first: FirstProcess,
        nested: impl FnOnce() -> io::Result<Vec<CgroupId>>,
    ) -> Result<Adopted, AdoptError> {
        let mut number = self.take()?;
        if number.is_none() {
            self.refill()?;
            number = self.take()?;
        }
        let number = number.ok_or(AdoptError::PoolEmpty)?;
        let ring = RingId(number);
        if let Some(words) = self.words(ring) {
            ring::give(words, cgroup, outermost, path, first);
        }
        if !self.table.insert(cgroup, number) {
            self.free.push(number, 0).map_err(io::Error::other)?;
            return Err(AdoptError::TableFull);
        }
        let Ok(nested) = nested() else {
            self.release(ring);
            return Err(AdoptError::Gone);
        };
        let turns_away = self.enter_nested(ring, outermost, &nested);
        Ok(Adopted { ring, turns_away })
    }

    /// Enters cgroups inside a container that has a ring, where they are not entered. True if any found no place.
    pub(super) fn enter_nested(
        &self,
        ring: RingId,
        outermost: CgroupId,
        nested: &[CgroupId],
    ) -> bool {
        let account = self.find(outermost).unwrap_or(ring);
        let Some(account) = self.words(account) else {
            return false;
        };
        let mut turns_away = false;
        for inner in nested {
            if self.table.find(*inner).is_some() {
                continue;
            }
            let has_room = Count::Nested.take(account).is_some();
            if has_room && self.table.insert(*inner, ring.0 | NESTED) {
                continue;
            }
            if has_room {
                Count::Nested.give_back(account);
            }
            turns_away |= Count::TurnedAway.take(account).is_some();
        }
        turns_away
    }

    /// Counts a cgroup inside a container that finds no place. True if it is the first.
    pub(super) fn turn_away(&self, outermost: CgroupId) -> bool {
        let words = self.find(outermost).and_then(|ring| self.words(ring));
        words.is_some_and(|words| Count::TurnedAway.take(words) == Some(0))
    }

    /// How many cgroups inside containers found no place since the start.
    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away + self.crowded().map(|(_, count)| count).sum::<u64>()
    }

    /// How many cgroups inside each recorded container found no place, where any did.
    pub(super) fn crowded(&self) -> impl Iterator<Item = (CgroupId, u64)> {
        self.containers().filter_map(|(cgroup, ring)| {
            let count = Count::TurnedAway.get(self.words(ring)?);
            (count > 0).then_some((cgroup, count))
        })
    }

    /// A ring out of the pool.
    fn take(&mut self) -> io::Result<Option<u32>> {
        match self.free.pop(0) {
            Ok(number) => Ok(Some(number)),
            Err(MapError::ElementNotFound) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Counts a cgroup that the kernel side could not give a ring or a place.
    pub(super) fn count_refusal(&mut self) {
        self.refused += 1;
    }

    /// Says how many bytes of kept runs share the budget.
    pub(super) fn set_kept(&mut self, bytes: u64) {
        self.kept = bytes;
    }

    /// The ring of a container's cgroup.
    pub(super) fn find(&self, cgroup: CgroupId) -> Option<RingId> {
        self.table.find(cgroup).map(RingId)
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = (CgroupId, RingId)> {
        self.table
            .containers()
            .map(|(cgroup, ring)| (cgroup, RingId(ring)))
    }

    pub(super) fn words(&self, ring: RingId) -> Option<&[AtomicU64]> {
        self.mapped.get(&ring.0).map(Mapped::words)
    }
}

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
