//! The thread that owns the recorder. It reads the ring of a run that has ended as soon as few enough runs are
//! decoded. In between it makes new rings: making one waits some 10 ms for the kernel.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use capture_format::{BootTime, Event, ExitStatus, Probe};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::waiting::{Queue, Rank, Supply, Waiting, gives_up};
use crate::{
    adopt,
    cgroupfs::Mounts,
    figures::Figures,
    host,
    recorder::{
        AdoptError, ContainerShape, Message, MessageKind, Misses, Recorder, Recording, RingId,
        Settings, Stock,
    },
};

/// Reports that may wait for the node's loop before the thread waits for it.
const WAITING_REPORTS: usize = 64;
/// Runs that are decoded at a time. One takes up to some 7 MiB, for which the memory limit has room besides the
/// budget of the rings. Runs whose turn has not come wait in their rings, which the budget includes.
pub(super) const DECODED: usize = 16;

/// What the thread reports to the node's loop.
pub(super) enum Report {
    /// A container's cgroup was made; it is recorded.
    Started {
        cgroup: u64,
        path: String,
        time: BootTime,
    },
    /// A container ran already; it is recorded from now on.
    Adopted {
        running: adopt::Running,
        /// Whether it was reported before that the container is not recorded.
        was_refused: bool,
    },
    /// A container is not recorded; it may be adopted when a ring is free.
    Refused { path: String, reason: String },
    /// A container lives on and is not recorded any more: others need its ring more.
    GaveUp { cgroup: u64 },
    /// A container's first process has ended.
    RunEnded { cgroup: u64, life: Life },
    /// A container's cgroup is gone, its run was read, and its ring given back.
    Removed { cgroup: u64 },
    /// So many messages of the kernel side found no room. Which containers exist was found out otherwise.
    MessagesLost(u64),
    /// The recorder does not work any longer.
    Failed(io::Error),
}

/// What the recorder has of one run.
pub(super) struct Life {
    pub(super) recording: Recording,
    /// CLOCK_BOOTTIME in nanoseconds when it ended; none while it lives.
    pub(super) end: Option<BootTime>,
    /// Host pid of the first process, and how it ended, where the kernel side said so.
    pub(super) exit: Option<(u32, ExitStatus)>,
    pub(super) figures: Figures,
    /// How often the kernel skipped each probe meanwhile, on all of the node.
    pub(super) skipped: BTreeMap<String, u64>,
    /// Held while the run is decoded.
    pub(super) slot: Slot,
}

/// Wakes the thread.
struct Waker(UnixStream);

impl Waker {
    fn wake(&self) {
        // If the pipe is full, the thread wakes anyway.
        let _ = (&self.0).write(&[0]);
    }
}

/// The right to decode a run, one of [`DECODED`], until it is dropped. The default is none of these.
#[derive(Default)]
pub(super) struct Slot(Option<Arc<Slots>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = &self.0 {
            slots.taken.fetch_sub(1, Ordering::Release);
            slots.waker.wake();
        }
    }
}

/// The slots; only the thread takes them.
struct Slots {
    taken: AtomicUsize,
    waker: Arc<Waker>,
}

impl Slots {
    fn take(self: &Arc<Self>) -> Option<Slot> {
        if self.taken.load(Ordering::Acquire) >= DECODED {
            return None;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Slot(Some(self.clone())))
    }
}

/// How recording is done on this node.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) probes: Vec<Probe>,
    pub(super) limitations: Vec<String>,
}

/// How many rings there are.
pub(super) struct Rings {
    pub(super) stock: Stock,
    /// Containers that wait for one.
    pub(super) waiting: usize,
    /// How often the kernel skipped each program so far.
    pub(super) misses: Misses,
}

/// Where the kernel shows what the recorder does not record.
pub(super) struct Places {
    /// /proc.
    pub(super) proc: PathBuf,
    /// The mount point of the hierarchy in which each container has its own cgroup.
    pub(super) cgroups: PathBuf,
    /// All cgroup mounts, for resource figures.
    pub(super) mounts: Mounts,
}

enum Command {
    Snapshot(u64, oneshot::Sender<Option<Life>>),
    LetGo(u64),
    SetKept(u64),
    Stock(oneshot::Sender<Rings>),
    Stop,
}

/// The handle of the thread, for the node's loop.
pub(super) struct RecordingThread {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<thread::JoinHandle<()>>,
    pub(super) setup: Setup,
}

impl RecordingThread {
    /// Starts recording, and adopts the containers that run already.
    ///
    /// # Errors
    /// Something that recording needs is missing on this machine.
    pub(super) fn start(
        settings: Settings,
        places: Places,
    ) -> anyhow::Result<(Self, async_mpsc::Receiver<Report>)> {
        let (reports, receiver) = async_mpsc::channel(WAITING_REPORTS);
        let (commands, requests) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let waker = Arc::new(Waker(wake));
        let slots = Arc::new(Slots {
            taken: AtomicUsize::new(0),
            waker: waker.clone(),
        });
        let (ready, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("recording".into())
            .spawn(move || {
                let recorder = match Recorder::start(&settings) {
                    Ok(recorder) => recorder,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let setup = Setup {
                    probes: recorder.probes().cloned().collect(),
                    limitations: recorder.limitations().to_vec(),
                };
                if ready.send(Ok(setup)).is_err() {
                    return;
                }
                let mut server = Server {
                    recorder,
                    reports,
                    shapes: settings.shapes,
                    places,
                    recorded: HashMap::new(),
                    waiting: Queue::default(),
                    without_place: Vec::new(),
                    ready: settings.budget.ready,
                    has_pods: false,
                    unread: VecDeque::new(),
                    slots,
                    many_waiting: MANY_WAITING,
                    messages_lost: 0,
                    stopping: false,
                };
                if let Err(error) = server.serve(&requests, woken) {
                    // If nobody listens any more, the agent is stopping.
                    drop(server.reports.blocking_send(Report::Failed(error)));
                }
            })?;
        let setup = started
            .recv()
            .map_err(|_| anyhow::anyhow!("the recording thread ended before it began"))??;
        Ok((
            Self {
                commands,
                waker,
                thread: Some(thread),
                setup,
            },
            receiver,
        ))
    }

    /// Reads what the ring of a living container holds now.
    pub(super) async fn snapshot(&self, cgroup: u64) -> Option<Life> {
        let (reply, life) = oneshot::channel();
        self.send(Command::Snapshot(cgroup, reply));
        life.await.ok().flatten()
    }

    /// Stops recording a container that lives on.
    pub(super) fn let_go(&self, cgroup: u64) {
        self.send(Command::LetGo(cgroup));
    }

    /// Sets how many bytes the kept runs take: they share the budget with the rings.
    pub(super) fn set_kept(&self, bytes: u64) {
        self.send(Command::SetKept(bytes));
    }

    /// How many rings there are, how many containers wait for one, and how often the kernel skipped each program so
    /// far.
    pub(super) async fn stock(&self) -> Option<Rings> {
        let (reply, stock) = oneshot::channel();
        self.send(Command::Stock(reply));
        stock.await.ok()
    }

    /// Ends recording. Runs that have ended by now are still read and reported, for as long as somebody takes the
    /// reports.
    pub(super) fn stop(&self) {
        self.send(Command::Stop);
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}

/// Waits for the thread. Whoever takes the reports must have stopped before, or go on taking them.
impl Drop for RecordingThread {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Number of waiting containers beyond which those that are gone are searched for.
const MANY_WAITING: usize = 256;
/// Nanoseconds after which a container has been set up by its runtime, so that it shows what it is.
const SET_UP: u64 = 1_000_000_000;

/// A container that is recorded.
struct Recorded {
    path: String,
    rank: Rank,
    /// From when on the container shows whether it is a pause container; none once it has shown that.
    look_after: Option<BootTime>,
    /// How many of its cgroups had no ring, or have no place in the table.
    lost: u64,
    /// How often the kernel had skipped each program when the container started.
    misses: Misses,
    /// The events with which an adopted container's run begins.
    preface: Vec<Event>,
    end: Option<End>,
    read: bool,
    /// Its ring, once the cgroup is gone.
    removed: Option<RingId>,
}

impl Recorded {
    fn new(path: String, misses: Misses, preface: Vec<Event>) -> Self {
        Self {
            rank: Rank::of(&path),
            look_after: Some(host::boottime().plus(SET_UP)),
            lost: 0,
            path,
            misses,
            preface,
            end: None,
            read: false,
            removed: None,
        }
    }
}

/// How a run ended, as it was known at that moment.
struct End {
    time: BootTime,
    exit: Option<(u32, ExitStatus)>,
    figures: Figures,
    /// How often the kernel had skipped each program.
    misses: Misses,
}

/// A ring to be read.
enum Unread {
    /// The container's run is over.
    Ended(u64),
    /// Somebody asked for what the ring holds now.
    Snapshot(u64, oneshot::Sender<Option<Life>>),
}

struct Server {
    recorder: Recorder,
    reports: async_mpsc::Sender<Report>,
    shapes: Vec<ContainerShape>,
    places: Places,
    recorded: HashMap<u64, Recorded>,
    /// Containers that have no ring.
    waiting: Queue,
    /// Containers for which there was a ring, but no place in the table.
    without_place: Vec<(Rank, u64, Waiting)>,
    /// Rings that are reserved for pods' containers that start, once there was such a container.
    ready: usize,
    has_pods: bool,
    unread: VecDeque<Unread>,
    slots: Arc<Slots>,
    /// Number of waiting containers beyond which those that are gone are searched for.
    many_waiting: usize,
    messages_lost: u64,
    stopping: bool,
}

impl Server {
    fn serve(
        &mut self,
        requests: &mpsc::Receiver<Command>,
        mut woken: UnixStream,
    ) -> io::Result<()> {
        for running in adopt::containers(&self.places.proc, &self.places.cgroups, &self.shapes)? {
            self.wants(running.cgroup, running.path, false);
        }
        // This comes before anything is answered: whoever sees the agent at work finds all containers recorded that
        // ran before.
        while self.recorder.refill()? || self.give()? {}
        loop {
            let last = self.stopping;
            for message in self.recorder.messages() {
                self.message(message);
            }
            let lost = self.recorder.messages_lost()?;
            if lost != self.messages_lost {
                self.report(Report::MessagesLost(lost - self.messages_lost));
                self.messages_lost = lost;
                self.catch_up()?;
            }
            loop {
                match requests.try_recv() {
                    Ok(command) => self.command(command),
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                    Err(mpsc::TryRecvError::Empty) => break,
                }
            }
            // Everything that the kernel side had reported until then was read.
            if last && (self.unread.is_empty() || self.reports.is_closed()) {
                return Ok(());
            }
            let read = self.read_next();
            if self.stopping && !last || self.recorder.refill()? || read {
                continue;
            }
            if !self.stopping {
                if self.give()? {
                    continue;
                }
                for path in self.waiting.untold() {
                    self.refused(
                        path,
                        "no ring is free, and the memory budget allows no more",
                    );
                }
            }
            self.wait(&mut woken)?;
        }
    }

    /// Sleeps until the kernel side or the node's loop has something to do.
    fn wait(&self, woken: &mut UnixStream) -> io::Result<()> {
        let mut ready = [
            PollFd::new(self.recorder.as_fd(), PollFlags::POLLIN),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 64];
        while woken.read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        Ok(())
    }

    /// A container has no ring. `has_lost`: something of it was not recorded already.
    fn wants(&mut self, cgroup: u64, path: String, has_lost: bool) {
        let rank = Rank::of(&path);
        self.has_pods |= rank == Rank::Pod;
        let waiting = Waiting {
            path,
            has_lost,
            is_told: false,
        };
        self.waiting.add(rank, cgroup, waiting);
        if self.waiting.len() > self.many_waiting {
            let cgroups = &self.places.cgroups;
            let is_there =
                |waiting: &Waiting| cgroups.join(waiting.path.trim_start_matches('/')).exists();
            for path in self.waiting.keep(is_there) {
                self.refused(path, "it ended before a ring was free");
            }
            self.many_waiting = MANY_WAITING.max(2 * self.waiting.len());
        }
    }

    fn supply(&self) -> Supply {
        let stock = self.recorder.stock();
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

    /// Gives a ring to the first container that waits, or makes a container of lower rank give up its ring. True if
    /// there may be more to do.
    fn give(&mut self) -> io::Result<bool> {
        let (supply, first) = (self.supply(), self.waiting.first());
        if first.is_some_and(|rank| supply.allows(rank))
            && let Some((rank, cgroup, waiting)) = self.waiting.pop()
        {
            return self.adopt(rank, cgroup, waiting);
        }
        Ok(supply.is_short_for(first) && self.take_back())
    }

    /// Adopts a container that waits. False if there is no ring for it.
    fn adopt(&mut self, rank: Rank, cgroup: u64, waiting: Waiting) -> io::Result<bool> {
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
        let first = adopt::first_process(&proc, &running);
        let nested = || adopt::nested(&running, &self.shapes);
        match self.recorder.adopt(cgroup, first, nested) {
            Ok(adopted) => {
                let preface = adopt::preface(&proc, &running, &self.shapes, host::boottime);
                let misses = self.recorder.misses();
                let mut recorded = Recorded::new(running.path.clone(), misses, preface);
                recorded.rank = rank;
                recorded.lost = u64::from(waiting.has_lost) + adopted.left_out;
                self.recorded.insert(cgroup, recorded);
                self.report(Report::Adopted {
                    running,
                    was_refused: waiting.is_told,
                });
            }
            // The container started just now, and a message reports it.
            Err(AdoptError::HasOne(_)) => {}
            Err(AdoptError::PoolEmpty) => {
                self.waiting.add(rank, cgroup, waiting);
                return Ok(false);
            }
            Err(error) => {
                if is_untold {
                    self.refused(waiting.path.clone(), &error.to_string());
                }
                if !matches!(error, AdoptError::Gone) {
                    let waiting = Waiting {
                        is_told: true,
                        ..waiting
                    };
                    self.without_place.push((rank, cgroup, waiting));
                }
            }
        }
        Ok(true)
    }

    /// Makes a container give up its ring that is in no pod, or is a pause container. False if there is none.
    fn take_back(&mut self) -> bool {
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
        let living = recorded
            .iter()
            .filter(|(_, recorded)| recorded.end.is_none() && recorded.removed.is_none());
        let have = living.map(|(cgroup, recorded)| (*cgroup, recorded.rank));
        let Some(cgroup) = gives_up(have, Rank::Pod) else {
            return false;
        };
        let Some(Recorded { path, rank, .. }) = self.recorded.remove(&cgroup) else {
            return false;
        };
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

    /// Takes a ring from its container. Containers that found no place in the table may find one now.
    fn release(&mut self, ring: RingId) {
        self.recorder.release(ring);
        for (rank, cgroup, waiting) in self.without_place.drain(..) {
            self.waiting.add(rank, cgroup, waiting);
        }
    }

    /// Finds the containers that came or went without a message.
    fn catch_up(&mut self) -> io::Result<()> {
        let present = adopt::containers(&self.places.proc, &self.places.cgroups, &self.shapes)?;
        let rings: HashMap<u64, RingId> = self.recorder.rings().collect();
        let gone = rings
            .iter()
            .filter(|(cgroup, _)| !present.iter().any(|running| running.cgroup == **cgroup));
        let gone: Vec<(u64, RingId)> = gone.map(|(cgroup, ring)| (*cgroup, *ring)).collect();
        for running in present {
            if self.recorded.contains_key(&running.cgroup) {
                continue;
            }
            if rings.contains_key(&running.cgroup) {
                self.started(running.cgroup, running.path, running.start);
            } else {
                self.wants(running.cgroup, running.path, true);
            }
        }
        for (cgroup, ring) in gone {
            self.removed(cgroup, ring, host::boottime());
        }
        Ok(())
    }

    fn started(&mut self, cgroup: u64, path: String, time: BootTime) {
        let misses = self.recorder.misses();
        let recorded = Recorded::new(path.clone(), misses, Vec::new());
        self.has_pods |= recorded.rank == Rank::Pod;
        self.recorded.insert(cgroup, recorded);
        self.report(Report::Started { cgroup, path, time });
    }

    /// A run is over; its ring is read when its turn comes.
    fn ended(&mut self, cgroup: u64, time: BootTime, exit: Option<(u32, ExitStatus)>) {
        let misses = self.recorder.misses();
        let Some(recorded) = self.recorded.get_mut(&cgroup) else {
            return;
        };
        if recorded.end.is_none() {
            recorded.end = Some(End {
                time,
                exit,
                figures: Figures::read(&self.places.mounts, &recorded.path),
                misses,
            });
            self.unread.push_back(Unread::Ended(cgroup));
        }
    }

    /// A cgroup is gone. If the kernel side knows no first process (the container shares its pid namespace, or its
    /// program was never executed), this is the end of the run.
    fn removed(&mut self, cgroup: u64, ring: RingId, time: BootTime) {
        self.ended(cgroup, time, None);
        match self.recorded.get_mut(&cgroup) {
            Some(recorded) => recorded.removed = Some(ring),
            None => self.release(ring),
        }
        self.release_if_over(cgroup);
    }

    /// Gives back the ring of a container whose run was read and whose cgroup is gone.
    fn release_if_over(&mut self, cgroup: u64) {
        let recorded = self.recorded.get(&cgroup);
        let over = recorded.filter(|recorded| recorded.read);
        if let Some(ring) = over.and_then(|recorded| recorded.removed) {
            self.recorded.remove(&cgroup);
            self.release(ring);
            self.report(Report::Removed { cgroup });
        }
    }

    /// Reads the ring whose turn it is. False if there is none, or too many runs are decoded.
    fn read_next(&mut self) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let Some(slot) = self.slots.take() else {
            return false;
        };
        match self.unread.pop_front() {
            Some(Unread::Ended(cgroup)) => {
                let life = self.life(cgroup, slot);
                if let Some(recorded) = self.recorded.get_mut(&cgroup) {
                    recorded.read = true;
                }
                if let Some(life) = life {
                    self.report(Report::RunEnded { cgroup, life });
                }
                self.release_if_over(cgroup);
            }
            Some(Unread::Snapshot(cgroup, reply)) => drop(reply.send(self.life(cgroup, slot))),
            None => {}
        }
        true
    }

    fn message(&mut self, message: Message) {
        let Message { cgroup, time, kind } = message;
        match kind {
            MessageKind::Assigned { path, .. } => self.started(cgroup, path, time),
            MessageKind::PoolEmpty { path } | MessageKind::TableFull { path } => {
                self.wants(cgroup, path, true);
            }
            MessageKind::NestedTableFull { ring } => {
                let outer = self.recorder.rings().find(|(_, its)| *its == ring);
                if let Some(recorded) = outer.and_then(|(outer, _)| self.recorded.get_mut(&outer)) {
                    recorded.lost += 1;
                }
            }
            MessageKind::InitExit { pid, status, .. } => {
                self.ended(cgroup, time, Some((pid, status)));
            }
            MessageKind::Removed(ring) => self.removed(cgroup, ring, time),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Snapshot(cgroup, reply) => {
                self.unread.push_back(Unread::Snapshot(cgroup, reply));
            }
            Command::LetGo(cgroup) => {
                self.recorded.remove(&cgroup);
                self.waiting.remove(cgroup);
                self.without_place
                    .retain(|(_, waiting, _)| *waiting != cgroup);
                if let Some(ring) = self.recorder.ring_of(cgroup) {
                    self.release(ring);
                }
            }
            Command::SetKept(bytes) => self.recorder.set_kept(bytes),
            Command::Stock(reply) => {
                let _ = reply.send(Rings {
                    stock: self.recorder.stock(),
                    waiting: self.waiting.len() + self.without_place.len(),
                    misses: self.recorder.misses(),
                });
            }
            Command::Stop => self.stopping = true,
        }
    }

    /// Reads a container's ring.
    fn life(&self, cgroup: u64, slot: Slot) -> Option<Life> {
        let recorded = self.recorded.get(&cgroup)?;
        let end = recorded.end.as_ref();
        let figures = match end {
            Some(end) => end.figures.clone(),
            None => Figures::read(&self.places.mounts, &recorded.path),
        };
        let ring: RingId = self.recorder.ring_of(cgroup)?;
        let mut recording = self.recorder.read(ring).ok()?;
        let skipped = match end {
            Some(end) => end.misses.since(&recorded.misses),
            None => self.recorder.misses().since(&recorded.misses),
        };
        recording.losses.lost += recorded.lost;
        if !recorded.preface.is_empty() {
            recording
                .events
                .splice(0..0, recorded.preface.iter().cloned());
        }
        Some(Life {
            recording,
            skipped,
            end: end.map(|end| end.time),
            exit: end.and_then(|end| end.exit),
            figures,
            slot,
        })
    }

    fn refused(&self, path: String, reason: &str) {
        self.report(Report::Refused {
            path,
            reason: reason.into(),
        });
    }

    /// Hands a report over. If there is no loop to take it, the agent is stopping.
    fn report(&self, report: Report) {
        let _ = self.reports.blocking_send(report);
    }
}
