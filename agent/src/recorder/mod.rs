//! The recorder: loads the eBPF programs, gives containers their rings, and reads a ring when its run has ended.
//!
//! This is the only module that knows aya and the kernel's BPF. Nothing in it runs while no container starts or ends.

mod btf;
mod budget;
mod capabilities;
mod control;
mod decode;
mod hierarchy;
mod lease;
mod load;
mod lockdown;
mod misses;
mod pins;
mod pool;
mod probes;
mod ring;
mod sys;
mod syscalls;
mod table;

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    time::Duration,
};

use aya::{Btf, Ebpf, maps::Map};
use aya_log::EbpfLogger;
use capture_format::{BootTime, CgroupId, Event, EventKind, Losses, Probe, chain, lane};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

pub use budget::{Budget, Stock};
pub use capabilities::{Capability, missing as missing_capabilities};
pub use containers::hierarchy::Hierarchy;
pub use control::{Message, MessageKind};
pub use load::{ContainerShape, Settings};
pub use misses::Misses;
pub use pins::{PinError, uninstall};
pub use pool::{AdoptError, Adopted};
pub use probes::ProbeError;
pub use ring::{FirstProcess, RingId};

use control::Channel;
use lease::Lease;
use load::Load;
use pins::{Folder, Version};
use pool::Pool;

/// How many cgroups inside an outermost container share its ring at most, and how many containers inside it have a ring.
pub const MOST_INSIDE: (u64, u64) = (agent_ebpf::wire::NESTED_MOST, agent_ebpf::wire::INNER_MOST);

/// The eBPF object, if this program was built with it.
#[cfg(ebpf_object)]
const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(
    env!("OUT_DIR"),
    "/lastword.bpf.o"
)));
#[cfg(not(ebpf_object))]
const OBJECT: Option<&[u8]> = None;

/// Why recording cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Privileges are missing.
    #[error("this needs {}; run it as root (`sudo lastword …`), or give the program these capabilities: `sudo setcap {} \"$(command -v lastword)\"`", describe(.0), setcap(.0))]
    Capabilities(Vec<Capability>),
    /// The kernel has no BTF.
    #[error(
        "this kernel has no type information (/sys/kernel/btf/vmlinux), which lastword needs to find its way in it; use a kernel built with CONFIG_DEBUG_INFO_BTF=y (the distributions' kernels since about 2021 are)"
    )]
    NoBtf,
    /// The kernel's BTF cannot be understood.
    #[error(
        "cannot understand this kernel's type information: {0}; please report it with the output of `uname -r`"
    )]
    BadBtf(String),
    /// The kernel's BTF lacks something that recording needs.
    #[error(
        "cannot observe {what} on this kernel: its type information lacks {unknown}; please report it with the output of `uname -r`"
    )]
    Offsets {
        /// What needs the missing members.
        what: &'static str,
        /// The members that BTF lacks.
        unknown: String,
    },
    /// No version 1 hierarchy has this controller.
    #[error(
        "no cgroup v1 hierarchy has the controller `{0}`; see /proc/cgroups, and record cgroup v2 where `{0}` has hierarchy 0"
    )]
    Hierarchy(String),
    /// A required file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the object.
    #[error("the kernel refused the eBPF programs: {0}; lastword needs Linux 5.15 or newer")]
    Load(String),
    /// This build is broken.
    #[error("the eBPF object of this build lacks {0}; build it again with `cargo xtask build`")]
    Object(&'static str),
    /// This program was built without the object.
    #[error(
        "this lastword was built without its eBPF programs and can only read captures; build it with `cargo xtask build`"
    )]
    NotBuilt,
    /// A required probe could not be attached.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The programs' own log cannot be read.
    #[error("cannot read the eBPF programs' log: {0}; leave --debug-programs out")]
    Log(String),
    /// The kernel does not let programs read its memory.
    #[error(
        "this kernel is locked down (lockdown=confidentiality, see /sys/kernel/security/lockdown), so no eBPF program may read its memory; boot it with lockdown=integrity or lockdown=none on its command line. It said: {}",
        chain(.0)
    )]
    Lockdown(Box<StartError>),
    /// Rings could not be made.
    #[error("cannot make rings: {0}; is a memory limit in force?")]
    Rings(io::Error),
    /// Something could not be pinned. The recorder starts without pins then.
    #[error(transparent)]
    Pin(#[from] PinError),
}

fn describe(missing: &[Capability]) -> String {
    missing
        .iter()
        .map(|capability| format!("{} {}", capability.name, capability.purpose))
        .collect::<Vec<_>>()
        .join(" and ")
}

fn setcap(missing: &[Capability]) -> String {
    missing
        .iter()
        .map(|capability| capability.name.to_lowercase())
        .collect::<Vec<_>>()
        .join(",")
        + "=ep"
}

/// A running recorder. Dropping it detaches every probe, unless what it uses is pinned.
pub struct Recorder {
    /// The programs and their links; none if an earlier recorder attached them.
    _ebpf: Option<Ebpf>,
    pool: Pool,
    channel: Channel,
    key: u64,
    probes: Vec<probes::Attached>,
    limitations: Vec<String>,
    pins: Option<Pins>,
    not_pinned: Option<PinError>,
}

/// What a recorder has whose rings outlive it.
struct Pins {
    /// Keeps other agents out.
    _folder: Folder,
    lease: Lease,
    /// Whether an earlier recorder made the rings.
    taken_over: bool,
}

/// A container that an earlier recorder recorded, and that is in its ring still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Id of its cgroup, which may be gone.
    pub cgroup: CgroupId,
    /// Its ring.
    pub ring: RingId,
    /// The cgroup of the outermost container around it, or its own.
    pub outermost: CgroupId,
    /// Path of its cgroup in its hierarchy.
    pub path: String,
    /// When it was given the ring.
    pub since: BootTime,
    /// Its first process, in the host's pid namespace; 0 if unknown.
    pub first: u32,
    /// Whether it ran already when it was given the ring.
    pub was_adopted: bool,
    /// Number of its run, if the earlier recorder was told it.
    pub run: Option<u32>,
}

/// What a ring held.
pub struct Recording {
    /// Events in order of time.
    pub events: Vec<Event>,
    /// When the ring was given to the container.
    pub since: BootTime,
    /// What is missing in the events, except for skipped programs: see [`Recorder::misses`].
    pub losses: Losses,
}

impl Recorder {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// Each says what to do about it; see [`StartError`].
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        Self::begin(settings, None)
    }

    /// As [`start`](Self::start), but attaches the probes as if tracepoint programs were preemptible on this kernel, or
    /// were not, whatever its BTF says. So a test can see that the losses of the wrong choice are counted.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_as_if(preemptible: bool, settings: &Settings) -> Result<Self, StartError> {
        Self::begin(settings, Some(preemptible))
    }

    fn begin(settings: &Settings, preemptible: Option<bool>) -> Result<Self, StartError> {
        Self::attached(settings, preemptible).map_err(|error| match error {
            StartError::Load(_) | StartError::Probe(_) | StartError::Rings(_)
                if lockdown::is_confidential(&chain(&error).to_string()) =>
            {
                StartError::Lockdown(Box::new(error))
            }
            other => other,
        })
    }

    fn attached(settings: &Settings, preemptible: Option<bool>) -> Result<Self, StartError> {
        let object = OBJECT.ok_or(StartError::NotBuilt)?;
        let missing = missing_capabilities();
        if !missing.is_empty() {
            return Err(StartError::Capabilities(missing));
        }
        let kernel = load::kernel_btf()?;
        let abilities = load::abilities(&kernel)?;
        let preemptible =
            preemptible.unwrap_or_else(|| probes::tracepoints_are_preemptible(&kernel));
        let place = load::place(settings, &kernel)?;
        drop(kernel);
        let load = Load {
            object,
            abilities: &abilities,
            place,
            settings,
            preemptible,
        };
        let Some(path) = &settings.pin else {
            return Self::fresh(&load, None);
        };
        match Self::outliving(path, &load) {
            Err(StartError::Pin(error)) => Ok(Self {
                not_pinned: Some(error),
                ..Self::fresh(&load, None)?
            }),
            other => other,
        }
    }

    /// Goes on with what an earlier recorder left in this folder, or begins anew and pins everything there.
    fn outliving(path: &Path, load: &Load<'_>) -> Result<Self, StartError> {
        let folder = Folder::open(path)?;
        let name = load.version();
        folder.remove_others(&name)?;
        let version = folder.version(&name);
        let mut recorder = None;
        if version.is_whole() {
            match Self::taking_over(load, &version) {
                Ok(taken_over) => recorder = Some(taken_over),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "what an earlier agent recorded is lost");
                }
            }
        }
        let taken_over = recorder.is_some();
        let (recorder, lease) = match recorder {
            Some(recorder) => recorder,
            None => {
                version.make()?;
                let begun = Self::fresh(load, Some(&version)).and_then(|recorder| {
                    let lease = Lease::new(version.map(pins::LEASE)?, load.settings.lease)
                        .map_err(StartError::Rings)?;
                    Ok((recorder, lease))
                });
                begun.inspect_err(|_| drop(version.remove()))?
            }
        };
        let pins = Pins {
            _folder: folder,
            lease,
            taken_over,
        };
        Ok(Self {
            pins: Some(pins),
            ..recorder
        })
    }

    /// Loads and attaches the programs, and makes the rings.
    fn fresh(load: &Load<'_>, version: Option<&Version>) -> Result<Self, StartError> {
        let (mut ebpf, key) = load.load(version.is_some())?;
        if let Some(version) = version {
            for (name, map) in ebpf.maps() {
                version.pin_map(name, map)?;
            }
        }
        let mut take = |name: &str| -> io::Result<Map> {
            let missing = || io::Error::other(format!("the eBPF object has no map {name}"));
            ebpf.take_map(name).ok_or_else(missing)
        };
        let budget = load.settings.budget;
        let mut pool =
            Pool::new(&mut take, budget, key, version.cloned()).map_err(StartError::Rings)?;
        pool.fill().map_err(StartError::Rings)?;
        let channel = Channel::new(&mut take).map_err(StartError::Rings)?;
        let btf =
            Btf::from_sys_fs().map_err(|error| StartError::BadBtf(chain(&error).to_string()))?;
        if load.settings.debug_programs {
            forward_log(&mut ebpf).map_err(StartError::Log)?;
        }
        let probes = probes::attach(&mut ebpf, &btf, load, version)?;
        Ok(Self {
            _ebpf: Some(ebpf),
            pool,
            channel,
            key,
            probes,
            limitations: load.abilities.missing.clone(),
            pins: None,
            not_pinned: None,
        })
    }

    /// Takes over what an earlier recorder pinned. Its programs have gone on recording.
    fn taking_over(load: &Load<'_>, version: &Version) -> Result<(Self, Lease), StartError> {
        let mut lease = Lease::new(version.map(pins::LEASE)?, load.settings.lease)
            .map_err(StartError::Rings)?;
        // From now on programs record that had stopped.
        lease.renew(lease.lost()).map_err(StartError::Rings)?;
        let mut take = |name: &str| version.map(name).map_err(io::Error::other);
        let (budget, key) = (load.settings.budget, lease.key());
        let mut pool =
            Pool::new(&mut take, budget, key, Some(version.clone())).map_err(StartError::Rings)?;
        pool.take_over(version.rings()?)
            .map_err(StartError::Rings)?;
        pool.fill().map_err(StartError::Rings)?;
        let channel = Channel::new(&mut take).map_err(StartError::Rings)?;
        let recorder = Self {
            _ebpf: None,
            pool,
            channel,
            key,
            probes: probes::taken_over(load, version)?,
            limitations: load.abilities.missing.clone(),
            pins: None,
            not_pinned: None,
        };
        Ok((recorder, lease))
    }

    /// Why rings do not outlive this recorder although they should; none if they do, or need not.
    #[must_use]
    pub fn not_pinned(&self) -> Option<&PinError> {
        self.not_pinned.as_ref()
    }

    /// Whether rings and programs outlive this recorder.
    #[must_use]
    pub fn outlives(&self) -> bool {
        self.pins.is_some()
    }

    /// Whether it goes on with what an earlier recorder pinned.
    #[must_use]
    pub fn has_taken_over(&self) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.taken_over)
    }

    /// What an earlier recorder recorded and left, oldest first. To be called first of all.
    #[must_use]
    pub fn left(&self) -> Vec<Left> {
        if !self.has_taken_over() {
            return Vec::new();
        }
        let mut left: Vec<Left> = self.pool.left().collect();
        left.sort_by_key(|left| left.since);
        left
    }

    /// Writes the number of a container's run down, for the next recorder.
    pub fn set_run(&self, cgroup: CgroupId, run: u32) {
        if let Some(words) = self.ring_of(cgroup).and_then(|ring| self.pool.words(ring)) {
            ring::set_run(words, run);
        }
    }

    /// How many messages without room an earlier recorder knew of.
    #[must_use]
    pub fn known_lost(&self) -> u64 {
        self.pins.as_ref().map_or(0, |pins| pins.lease.lost())
    }

    /// How long the programs can be left alone; none if they need nobody.
    #[must_use]
    pub fn left_alone(&self) -> Option<Duration> {
        self.pins.as_ref().map(|pins| pins.lease.rest())
    }

    /// Has programs that outlive this recorder go on, if that is due. `lost`: how many messages without room are known.
    /// True if some programs may have stopped meanwhile: then containers may have lost their rings.
    ///
    /// # Errors
    /// The kernel's.
    pub fn go_on(&mut self, lost: u64) -> io::Result<bool> {
        match &mut self.pins {
            Some(pins) if pins.lease.rest().is_zero() => {
                let had_stopped = pins.lease.renew(lost)?;
                if had_stopped {
                    self.pool.reclaim()?;
                }
                Ok(had_stopped)
            }
            _ => Ok(false),
        }
    }

    /// How each probe is attached, and why so.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().map(|attached| &attached.probe)
    }

    /// What the recorder cannot see on this kernel, a sentence each.
    #[must_use]
    pub fn limitations(&self) -> &[String] {
        &self.limitations
    }

    /// The ring of a container's cgroup, by the cgroup's id (its directory's inode number).
    #[must_use]
    pub fn ring_of(&self, cgroup: CgroupId) -> Option<RingId> {
        self.pool.find(cgroup)
    }

    /// Every container that has a ring: the id of its cgroup, and the ring.
    pub fn rings(&self) -> impl Iterator<Item = (CgroupId, RingId)> {
        self.pool.containers()
    }

    /// The first process of the container that has a ring, in the host's pid namespace; 0 if unknown.
    #[must_use]
    pub fn first_process(&self, ring: RingId) -> u32 {
        self.pool.words(ring).map_or(0, ring::first)
    }

    /// Reads a ring; its container may go on writing to it.
    ///
    /// # Errors
    /// If the ring does not exist any more.
    pub fn read(&self, ring: RingId) -> io::Result<Recording> {
        let words = self
            .pool
            .words(ring)
            .ok_or_else(|| io::Error::other("the ring has been given back"))?;
        let snapshot = ring::snapshot(words);
        let mut losses = Losses {
            compat: snapshot.compat,
            // Whatever happened in each of these.
            lost: snapshot.turned_away,
            ..Losses::default()
        };
        let mut events = Vec::new();
        for (lane, name) in snapshot.lanes.iter().zip(decode::LANE_NAMES) {
            let (mut found, mut gap) = (0, None);
            for record in lane.records(self.key) {
                found += 1;
                if record.after_gap {
                    gap = Some(events.len());
                    events.push(decode::gap(&record, name));
                }
                events.extend(decode::event(&record));
            }
            let overwritten = lane.header.records.saturating_sub(found);
            if let Some(gap) = gap {
                events[gap].args[0] = overwritten as i64;
            }
            losses.overwritten += overwritten;
            losses.torn += lane.header.torn;
        }
        losses.unreadable = events
            .iter()
            .filter(|event| event.flags.contains(capture_format::EventFlags::FAULT))
            .count() as u64;
        events.sort_by_key(|event| event.time);
        keep_last_exits(&mut events);
        Ok(Recording {
            events,
            since: snapshot.assigned,
            losses,
        })
    }

    /// What has happened to containers since the last call. [`AsFd`] is readable when there is something. When a
    /// container has taken a ring, [`refill`](Self::refill) is due.
    #[must_use]
    pub fn messages(&mut self) -> Vec<Message> {
        let messages: Vec<Message> = std::iter::from_fn(|| self.channel.next()).collect();
        for message in &messages {
            if message.kind.is_refusal() {
                self.pool.count_refusal();
            }
        }
        messages
    }

    /// How many messages found no room since the start. If there are any, containers may have come and gone without a
    /// message; [`rings`](Self::rings) says which containers have a ring.
    ///
    /// # Errors
    /// The kernel's.
    pub fn messages_lost(&self) -> io::Result<u64> {
        self.channel.lost()
    }

    /// Makes some rings or removes one, as the budget says, and puts released rings back into the pool. Returns true if
    /// there is more to do. A call takes some 10 ms, because it waits until all programs that run at that moment have
    /// ended.
    ///
    /// # Errors
    /// The kernel's, from making or removing a ring.
    pub fn refill(&mut self) -> io::Result<bool> {
        self.pool.refill()
    }

    /// Rings and memory at this moment.
    #[must_use]
    pub fn stock(&self) -> Stock {
        self.pool.stock()
    }

    /// Sets how many bytes of runs the caller keeps in memory. They share the budget with the rings, so
    /// [`refill`](Self::refill) may be due.
    pub fn set_kept(&mut self, bytes: u64) {
        self.pool.set_kept(bytes);
    }

    /// Takes a ring from its container. The container may live on, but it is not recorded any more. The ring is back in
    /// the pool after the next [`refill`](Self::refill).
    pub fn release(&mut self, ring: RingId) {
        self.pool.release(ring);
    }

    /// Gives a ring to a container that already runs, by the id of its cgroup. `outermost` is the cgroup of the outermost
    /// container around it, or else its own. `path` is that of its cgroup in its hierarchy. `nested` is called once the container has the ring. It returns the ids of
    /// the cgroups inside the container's cgroup that are not containers themselves; an error means that the container
    /// is gone.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub fn adopt(
        &mut self,
        cgroup: CgroupId,
        outermost: CgroupId,
        path: &str,
        first: FirstProcess,
        nested: impl FnOnce() -> io::Result<Vec<CgroupId>>,
    ) -> Result<Adopted, AdoptError> {
        self.pool.adopt(cgroup, outermost, path, first, nested)
    }

    /// Enters cgroups inside a container that has a ring, by their ids, where they are not entered: some may have been
    /// made while the programs had stopped. True if any found no place.
    pub fn enter_nested(&self, ring: RingId, outermost: CgroupId, nested: &[CgroupId]) -> bool {
        self.pool.enter_nested(ring, outermost, nested)
    }

    /// Counts a cgroup inside an outermost container that is not recorded. True if it is the first of that container's.
    pub fn turn_away(&self, outermost: CgroupId) -> bool {
        self.pool.turn_away(outermost)
    }

    /// How many cgroups inside containers found no place since the start.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.pool.turned_away()
    }

    /// How many cgroups inside each recorded container found no place, where any did: what happened in them was not
    /// recorded.
    pub fn crowded(&self) -> impl Iterator<Item = (CgroupId, u64)> {
        self.pool.crowded()
    }

    /// How often the kernel has skipped the attached programs.
    #[must_use]
    pub fn misses(&self) -> Misses {
        Misses::read(&self.probes)
    }
}

/// Passes the log of the eBPF programs on to the `log` crate, from a thread that lives as long as this process.
fn forward_log(ebpf: &mut Ebpf) -> Result<(), String> {
    let mut logger = EbpfLogger::init(ebpf).map_err(|error| chain(&error).to_string())?;
    std::thread::spawn(move || {
        loop {
            let mut ready = [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
            let woken = poll(&mut ready, PollTimeout::NONE);
            logger.flush();
            if woken.is_err_and(|error| error != Errno::EINTR) {
                return;
            }
        }
    });
    Ok(())
}

/// Keeps the last exit of each process. If two threads of a process end at the same time, both can see that no thread
/// is left: the later one is right.
fn keep_last_exits(events: &mut Vec<Event>) {
    let mut ended = HashSet::new();
    let mut keep: Vec<bool> = events
        .iter()
        .rev()
        .map(|event| match event.kind {
            EventKind::EXIT => ended.insert(event.pid),
            // The pid belonged to another process before.
            EventKind::FORK => {
                ended.remove(&(event.ret as u32));
                true
            }
            // It may have belonged to another process before, whose successor's fork was overwritten.
            EventKind::GAP if event.name == lane::LIFE => {
                ended.clear();
                true
            }
            _ => true,
        })
        .collect();
    events.retain(|_| keep.pop().unwrap_or(true));
}

impl AsFd for Recorder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_once_and_a_reused_pid_again() {
        let event = |time, kind, pid, ret| Event {
            time,
            kind,
            pid,
            ret,
            ..Event::default()
        };
        let mut events = vec![
            event(BootTime(1), EventKind::EXIT, 7, 0),
            event(BootTime(2), EventKind::EXIT, 7, 256),
            event(BootTime(3), EventKind::FORK, 1, 7),
            event(BootTime(4), EventKind::WRITE, 7, 1),
            event(BootTime(5), EventKind::EXIT, 7, 512),
            event(BootTime(6), EventKind::EXIT, 8, 0),
        ];
        keep_last_exits(&mut events);
        let times: Vec<u64> = events.iter().map(|event| event.time.0).collect();
        assert_eq!(times, [2, 3, 4, 5, 6]);
    }
}
