//! The thread that owns the recorder: it reads the ring of a run that has ended as soon as few enough runs are decoded, and makes
//! new rings in between, since each waits some 10 ms for the kernel.

use std::{
    collections::{HashMap, VecDeque},
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

use capture_format::{Event, ExitStatus, Probe};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::{
    adopt,
    cgroupfs::Mounts,
    figures::Figures,
    host,
    recorder::{
        AdoptError, ContainerShape, Message, MessageKind, Recorder, Recording, RingId, Settings,
        Stock,
    },
};

/// Reports that may wait for the node's loop before the thread waits for it.
const WAITING_REPORTS: usize = 64;
/// Runs that are decoded at a time. One takes up to some 7 MiB, which the memory limit has besides the budget of the rings; those whose turn has not
/// come wait in their rings, which are paid for.
pub(super) const DECODED: usize = 16;

/// What the thread tells the node's loop.
pub(super) enum Report {
    /// A container's cgroup was made; it is recorded.
    Started {
        cgroup: u64,
        path: String,
        time: u64,
    },
    /// A container ran already; it is recorded from now on.
    Adopted { running: adopt::Running },
    /// A container's cgroup was made and is not recorded.
    Refused { path: String, reason: String },
    /// A container's first process has ended.
    Ended { cgroup: u64, life: Life },
    /// A container's cgroup is gone, its run was read, and its ring given back.
    Removed { cgroup: u64 },
    /// So many messages of the kernel side found no room; who is there was found out otherwise.
    MessagesLost(u64),
    /// The recorder works no more.
    Failed(io::Error),
}

/// What the recorder has of one run.
pub(super) struct Life {
    pub(super) recording: Recording,
    /// CLOCK_BOOTTIME in nanoseconds when it ended; none while it lives.
    pub(super) end: Option<u64>,
    /// Host pid of the first process, and how it ended, where the kernel side said so.
    pub(super) exit: Option<(u32, ExitStatus)>,
    pub(super) figures: Figures,
    /// Held while it is decoded.
    pub(super) slot: Slot,
}

/// Wakes the thread.
struct Waker(UnixStream);

impl Waker {
    fn wake(&self) {
        // A full pipe wakes it as well.
        let _ = (&self.0).write(&[0]);
    }
}

/// One of the [`DECODED`] runs that are decoded at a time, until it is dropped. The default is none of them.
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

/// Which the thread alone takes.
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

/// Where the kernel shows what the recorder does not see.
pub(super) struct Places {
    /// /proc.
    pub(super) proc: PathBuf,
    /// The mount point of the hierarchy that tells containers apart.
    pub(super) cgroups: PathBuf,
    /// All cgroup mounts, for figures.
    pub(super) mounts: Mounts,
}

enum Command {
    Snapshot(u64, oneshot::Sender<Option<Life>>),
    LetGo(u64),
    SetKept(u64),
    Stock(oneshot::Sender<(Stock, u64)>),
    Stop,
}

/// The thread, seen from the node's loop.
pub(super) struct RecordingThread {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<thread::JoinHandle<()>>,
    pub(super) setup: Setup,
}

impl RecordingThread {
    /// Starts recording; adopts what runs.
    ///
    /// # Errors
    /// What recording needs and this machine lacks.
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
                    unread: VecDeque::new(),
                    slots,
                    messages_lost: 0,
                    stopping: false,
                };
                if let Err(error) = server.serve(&requests, woken) {
                    // Nobody listens any more: the agent is stopping.
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

    /// What the ring of a container that lives holds now.
    pub(super) async fn snapshot(&self, cgroup: u64) -> Option<Life> {
        let (reply, life) = oneshot::channel();
        self.send(Command::Snapshot(cgroup, reply));
        life.await.ok().flatten()
    }

    /// Stops recording a container that lives on.
    pub(super) fn let_go(&self, cgroup: u64) {
        self.send(Command::LetGo(cgroup));
    }

    /// Says how many bytes of runs are kept: they share the budget with the rings.
    pub(super) fn set_kept(&self, bytes: u64) {
        self.send(Command::SetKept(bytes));
    }

    /// Rings, and how often the kernel skipped a program so far.
    pub(super) async fn stock(&self) -> Option<(Stock, u64)> {
        let (reply, stock) = oneshot::channel();
        self.send(Command::Stock(reply));
        stock.await.ok()
    }

    /// Ends recording: what has ended by now is still read and reported, for as long as somebody takes the reports.
    pub(super) fn stop(&self) {
        self.send(Command::Stop);
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}

/// Waits for the thread; whoever takes the reports must have gone before, or go on taking them.
impl Drop for RecordingThread {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A container that is recorded.
struct Recorded {
    path: String,
    /// `recursion_misses` of the node when it started.
    misses: u64,
    /// What an adopted container's run begins with.
    preface: Vec<Event>,
    end: Option<End>,
    read: bool,
    /// The ring, once the cgroup is gone.
    removed: Option<RingId>,
}

impl Recorded {
    fn new(path: String, misses: u64, preface: Vec<Event>) -> Self {
        Self {
            path,
            misses,
            preface,
            end: None,
            read: false,
            removed: None,
        }
    }
}

/// How a run ended, as was known at that moment.
struct End {
    time: u64,
    exit: Option<(u32, ExitStatus)>,
    figures: Figures,
    /// `recursion_misses` of the node.
    misses: u64,
}

/// A ring to be read.
enum Unread {
    /// The container's run is over.
    Ended(u64),
    /// Somebody wants to know what it holds now.
    Snapshot(u64, oneshot::Sender<Option<Life>>),
}

struct Server {
    recorder: Recorder,
    reports: async_mpsc::Sender<Report>,
    shapes: Vec<ContainerShape>,
    places: Places,
    recorded: HashMap<u64, Recorded>,
    unread: VecDeque<Unread>,
    slots: Arc<Slots>,
    messages_lost: u64,
    stopping: bool,
}

impl Server {
    fn serve(
        &mut self,
        requests: &mpsc::Receiver<Command>,
        mut woken: UnixStream,
    ) -> io::Result<()> {
        self.adopt()?;
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
            // What the kernel side had said until then was heard.
            if last && (self.unread.is_empty() || self.reports.is_closed()) {
                return Ok(());
            }
            let read = self.read_next();
            if self.stopping && !last || self.recorder.refill()? || read {
                continue;
            }
            self.wait(&mut woken)?;
        }
    }

    /// Sleeps until the kernel side or the node's loop has something.
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

    fn adopt(&mut self) -> io::Result<()> {
        let proc = self.places.proc.clone();
        for running in adopt::containers(&proc, &self.places.cgroups, &self.shapes)? {
            let first = adopt::first_process(&proc, &running);
            let nested = || adopt::nested(&running, &self.shapes);
            match self.recorder.adopt(running.cgroup, first, nested) {
                Ok(_) => {
                    let preface = adopt::preface(&proc, &running, &self.shapes, host::boottime);
                    let misses = self.recorder.recursion_misses();
                    let recorded = Recorded::new(running.path.clone(), misses, preface);
                    self.recorded.insert(running.cgroup, recorded);
                    self.report(Report::Adopted { running });
                }
                // It started just now, and is told by a message.
                Err(AdoptError::HasOne(_)) => {}
                Err(error) => self.report(Report::Refused {
                    path: running.path,
                    reason: error.to_string(),
                }),
            }
            // A ring was taken.
            while self.recorder.refill()? {}
        }
        Ok(())
    }

    /// Finds the containers that came and went untold.
    fn catch_up(&mut self) -> io::Result<()> {
        let present = adopt::containers(&self.places.proc, &self.places.cgroups, &self.shapes)?;
        let rings: HashMap<u64, RingId> = self.recorder.rings().collect();
        let gone = rings
            .iter()
            .filter(|(cgroup, _)| !present.iter().any(|running| running.cgroup == **cgroup));
        let gone: Vec<(u64, RingId)> = gone.map(|(cgroup, ring)| (*cgroup, *ring)).collect();
        for running in present {
            if rings.contains_key(&running.cgroup) && !self.recorded.contains_key(&running.cgroup) {
                self.started(running.cgroup, running.path, running.start);
            }
        }
        for (cgroup, ring) in gone {
            self.removed(cgroup, ring, host::boottime());
        }
        Ok(())
    }

    fn started(&mut self, cgroup: u64, path: String, time: u64) {
        let misses = self.recorder.recursion_misses();
        let recorded = Recorded::new(path.clone(), misses, Vec::new());
        self.recorded.insert(cgroup, recorded);
        self.report(Report::Started { cgroup, path, time });
    }

    /// A run is over; its ring is read when its turn comes.
    fn ended(&mut self, cgroup: u64, time: u64, exit: Option<(u32, ExitStatus)>) {
        let misses = self.recorder.recursion_misses();
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

    /// A cgroup is gone. Without a first process that the kernel side knows (it shares its pid namespace, or was never executed) this is the
    /// end of its run.
    fn removed(&mut self, cgroup: u64, ring: RingId, time: u64) {
        self.ended(cgroup, time, None);
        match self.recorded.get_mut(&cgroup) {
            Some(recorded) => recorded.removed = Some(ring),
            None => self.recorder.release(ring),
        }
        self.release_if_over(cgroup);
    }

    /// Gives the ring of a container back whose run was read and whose cgroup is gone.
    fn release_if_over(&mut self, cgroup: u64) {
        let recorded = self.recorded.get(&cgroup);
        let over = recorded.filter(|recorded| recorded.read);
        if let Some(ring) = over.and_then(|recorded| recorded.removed) {
            self.recorded.remove(&cgroup);
            self.recorder.release(ring);
            self.report(Report::Removed { cgroup });
        }
    }

    /// Reads the ring whose turn it is, if there is one and few enough runs are decoded; true if so.
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
                    self.report(Report::Ended { cgroup, life });
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
            MessageKind::PoolEmpty { path } => self.refused(path, "no ring was free"),
            MessageKind::TableFull { path } => self.refused(path, "the recorder's table is full"),
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
                if let Some(ring) = self.recorder.ring_of(cgroup) {
                    self.recorder.release(ring);
                }
            }
            Command::SetKept(bytes) => self.recorder.set_kept(bytes),
            Command::Stock(reply) => {
                let _ = reply.send((self.recorder.stock(), self.recorder.recursion_misses()));
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
        let misses = end.map_or(recording.losses.recursion_misses, |end| end.misses);
        recording.losses.recursion_misses = misses.saturating_sub(recorded.misses);
        if !recorded.preface.is_empty() {
            recording
                .events
                .splice(0..0, recorded.preface.iter().cloned());
        }
        Some(Life {
            recording,
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

    /// Hands a report over; without a loop to take it, the agent is stopping.
    fn report(&self, report: Report) {
        let _ = self.reports.blocking_send(report);
    }
}
