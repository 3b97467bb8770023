//! The recording thread as the node's loop sees it: what the thread reports, and what it can be asked.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use capture_format::{BootTime, CgroupId, ExitStatus, Probe, chain};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::{
    Server,
    hold::{Hold, Thread},
    slots::{Slot, Slots, Waker},
};
use crate::{
    adopt,
    cgroupfs::Mounts,
    figures::Figures,
    recorder::{Misses, Recorder, Recording, Settings, Stock},
};

/// Reports that may wait for the node's loop before the thread waits for it.
const WAITING_REPORTS: usize = 64;
/// What the thread reports to the node's loop.
pub(in crate::node) enum Report {
    /// A container's cgroup was made; it is recorded.
    Started {
        cgroup: CgroupId,
        path: String,
        /// The cgroup of the outermost container around it.
        inside: Option<CgroupId>,
        time: BootTime,
    },
    /// An earlier agent recorded a container, and its ring is still there. The run may be over.
    TakenOver {
        cgroup: CgroupId,
        path: String,
        /// The cgroup of the outermost container around it.
        inside: Option<CgroupId>,
        /// When the container started, as far as that is known.
        time: BootTime,
        /// Number of its run, if the earlier agent had counted it.
        run: Option<u32>,
    },
    /// A container ran already; it is recorded from now on.
    Adopted {
        running: adopt::Running,
        /// Whether it was reported before that the container is not recorded.
        was_refused: bool,
    },
    /// A container is not recorded; it may be adopted when a ring is free.
    Refused { path: String, reason: String },
    /// Cgroups inside this outermost container are not recorded: it has too many, or one has the id of another container.
    /// This is reported once while the container has its ring.
    TurnsAway { cgroup: CgroupId },
    /// A container lives on and is not recorded any more: others need its ring more.
    GaveUp { cgroup: CgroupId },
    /// A container's first process has ended.
    RunEnded { cgroup: CgroupId, life: Box<Life> },
    /// A container's cgroup is gone, its run was read, and its ring given back.
    Removed { cgroup: CgroupId },
    /// So many messages of the kernel side found no room. Which containers exist was found out otherwise.
    MessagesLost(u64),
    /// The recorder does not work any longer.
    Failed(io::Error),
}

/// What the recorder has of one run.
pub(in crate::node) struct Life {
    pub(in crate::node) recording: Recording,
    /// CLOCK_BOOTTIME in nanoseconds when it ended; none while it lives.
    pub(in crate::node) end: Option<BootTime>,
    /// Host pid of the first process, and how it ended, where the kernel side said so.
    pub(in crate::node) exit: Option<(u32, ExitStatus)>,
    pub(in crate::node) figures: Figures,
    /// How often the kernel skipped each probe meanwhile, on all of the node.
    pub(in crate::node) skipped: BTreeMap<String, u64>,
    /// Held while the run is decoded.
    pub(in crate::node) slot: Slot,
    /// Held until the run is written, if its ring outlives the agent.
    pub(in crate::node) ring: Hold,
}

/// How recording is done on this node.
#[derive(Clone, Debug)]
pub(in crate::node) struct Setup {
    pub(in crate::node) probes: Vec<Probe>,
    pub(in crate::node) limitations: Vec<String>,
    /// Whether it goes on with what an earlier agent recorded.
    pub(in crate::node) has_taken_over: bool,
}

/// How many rings there are.
pub(in crate::node) struct Rings {
    pub(in crate::node) stock: Stock,
    /// Containers that wait for one.
    pub(in crate::node) waiting: usize,
    /// How often the kernel skipped each program since this agent came.
    pub(in crate::node) misses: Misses,
    /// Cgroups inside containers that were not recorded since the start.
    pub(in crate::node) turned_away: u64,
    /// How many of them each container has had that is recorded now, where it has had any.
    pub(in crate::node) crowded: Vec<(CgroupId, u64)>,
}

/// Where the kernel shows what the recorder does not record.
pub(in crate::node) struct Places {
    /// /proc.
    pub(in crate::node) proc: PathBuf,
    /// The mount point of the hierarchy in which each container has its own cgroup.
    pub(in crate::node) cgroups: PathBuf,
    /// All cgroup mounts, for resource figures.
    pub(in crate::node) mounts: Mounts,
}

/// What the node's loop asks of the thread.
pub(super) enum Command {
    Snapshot(CgroupId, oneshot::Sender<Option<Life>>),
    LetGo(CgroupId),
    GiveBack(CgroupId),
    SetRun(CgroupId, u32),
    SetKept(u64),
    Stock(oneshot::Sender<Rings>),
    Stop,
}

/// The handle of the thread, for the node's loop.
pub(in crate::node) struct RecordingThread {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<thread::JoinHandle<()>>,
    pub(in crate::node) setup: Setup,
}

impl RecordingThread {
    /// Starts recording, and adopts the containers that run already.
    ///
    /// # Errors
    /// Something that recording needs is missing on this machine.
    pub(in crate::node) fn start(
        settings: Settings,
        places: Places,
    ) -> anyhow::Result<(Self, async_mpsc::Receiver<Report>)> {
        let (reports, receiver) = async_mpsc::channel(WAITING_REPORTS);
        let (commands, requests) = mpsc::channel();
        let (waker, woken) = Waker::new()?;
        let waker = Arc::new(waker);
        let slots = Slots::new(waker.clone());
        let own = Thread {
            commands: commands.clone(),
            waker: waker.clone(),
        };
        let (ready, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("recording".into())
            .spawn(move || {
                let recorder = match Recorder::start(&settings) {
                    Ok(recorder) => recorder,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let mut setup = Setup {
                    probes: recorder.probes().cloned().collect(),
                    limitations: recorder.limitations().to_vec(),
                    has_taken_over: recorder.has_taken_over(),
                };
                if !recorder.outlives() {
                    let off = || "recorder.pin is off".to_owned();
                    let why = recorder
                        .not_pinned()
                        .map_or_else(off, |why| chain(why).to_string());
                    setup.limitations.push(format!(
                        "rings are not pinned, so runs that go on are lost if the agent ends: {why}"
                    ));
                }
                if ready.send(Ok(setup)).is_err() {
                    return;
                }
                let mut server = Server::new(recorder, reports, &settings, places, slots, own);
                if let Err(error) = server.serve(&requests, woken) {
                    server.report(Report::Failed(error));
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
    pub(in crate::node) async fn snapshot(&self, cgroup: CgroupId) -> Option<Life> {
        let (reply, life) = oneshot::channel();
        self.send(Command::Snapshot(cgroup, reply));
        life.await.ok().flatten()
    }

    /// Stops recording a container that lives on.
    pub(in crate::node) fn let_go(&self, cgroup: CgroupId) {
        self.send(Command::LetGo(cgroup));
    }

    /// Writes the number of a container's run down, for the next agent.
    pub(in crate::node) fn set_run(&self, cgroup: CgroupId, run: u32) {
        self.send(Command::SetRun(cgroup, run));
    }

    /// Sets how many bytes the kept runs take: they share the budget with the rings.
    pub(in crate::node) fn set_kept(&self, bytes: u64) {
        self.send(Command::SetKept(bytes));
    }

    /// How many rings there are, how many containers wait for one, and how often the kernel skipped each program so
    /// far.
    pub(in crate::node) async fn stock(&self) -> Option<Rings> {
        let (reply, stock) = oneshot::channel();
        self.send(Command::Stock(reply));
        stock.await.ok()
    }

    /// Ends recording. Runs that have ended by now are still read and reported, for as long as somebody takes the
    /// reports.
    pub(in crate::node) fn stop(&self) {
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
