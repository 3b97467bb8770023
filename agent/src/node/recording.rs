//! The thread that owns the recorder. It reads the ring of a run that has ended as soon as few enough runs are
//! decoded. In between it makes new rings: making one waits some 10 ms for the kernel.
//!
//! [`handle`] is what the node's loop sees of the thread. [`takeover`] goes on with what an earlier agent recorded.
//! [`rings`] decides which container has a ring, and [`hold`] until when. [`slots`] says how many runs are decoded at a
//! time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{Arc, mpsc},
};

use capture_format::{BootTime, CgroupId, Event, EventKind, ExitStatus};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::waiting::{Rank, Waitlist};
use crate::{
    adopt,
    figures::Figures,
    host,
    recorder::{ContainerShape, Message, MessageKind, Misses, Recorder, RingId, Settings},
};

mod handle;
mod hold;
mod rings;
mod slots;
mod takeover;

use handle::Command;
use hold::Thread;
use slots::Slots;

pub(super) use handle::{Life, Places, RecordingThread, Report, Rings};
pub(super) use hold::Hold;
#[cfg(test)]
pub(super) use slots::Slot;

/// Nanoseconds after which a container has been set up by its runtime, so that it shows what it is.
const SET_UP: u64 = 1_000_000_000;

/// A container that is recorded.
struct Recorded {
    path: String,
    /// Its id, as the name of its cgroup says.
    id: Option<String>,
    /// The cgroup of the outermost container around it.
    inside: Option<CgroupId>,
    rank: Rank,
    /// From when on the container shows whether it is a pause container; none once it has shown that.
    look_after: Option<BootTime>,
    /// Whether something of it was not recorded before it had a ring.
    lost: u64,
    /// How often the kernel had skipped each program when the container started.
    misses: Misses,
    /// The events with which an adopted container's run begins.
    preface: Vec<Event>,
    /// Whether they were found out long after that.
    is_late: bool,
    end: Option<End>,
    read: bool,
    /// The run was read, and is written nowhere yet.
    held: bool,
    /// Its ring, once the cgroup is gone.
    removed: Option<RingId>,
}

impl Recorded {
    fn new(path: String, inside: Option<CgroupId>, misses: Misses, preface: Vec<Event>) -> Self {
        Self {
            id: containers::path::parse_own(&path).map(|own| own.container),
            inside,
            rank: rank(&path, inside.is_some()),
            look_after: Some(host::boottime().plus(SET_UP)),
            lost: 0,
            path,
            misses,
            preface,
            is_late: false,
            end: None,
            read: false,
            held: false,
            removed: None,
        }
    }
}

impl Recorded {
    /// Whether its run goes on.
    fn lives(&self) -> bool {
        self.end.is_none() && self.removed.is_none()
    }
}

/// How urgently a container needs a ring. What is inside a container comes after all containers of pods.
fn rank(path: &str, is_inner: bool) -> Rank {
    if is_inner {
        Rank::NoPod
    } else {
        Rank::of(path)
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
    Ended(CgroupId),
    /// Somebody asked for what the ring holds now.
    Snapshot(CgroupId, oneshot::Sender<Option<Life>>),
}

struct Server {
    recorder: Recorder,
    reports: async_mpsc::Sender<Report>,
    shapes: Vec<ContainerShape>,
    places: Places,
    recorded: HashMap<CgroupId, Recorded>,
    /// Containers that have no ring.
    waiting: Waitlist,
    unread: VecDeque<Unread>,
    slots: Arc<Slots>,
    /// How rings are given back that were held.
    own: Thread,
    messages_lost: u64,
    /// How often programs had been skipped before this agent came.
    misses_before: Misses,
    stopping: bool,
}

impl Server {
    /// A thread that records nothing yet.
    fn new(
        recorder: Recorder,
        reports: async_mpsc::Sender<Report>,
        settings: &Settings,
        places: Places,
        slots: Arc<Slots>,
        own: Thread,
    ) -> Self {
        Self {
            messages_lost: recorder.known_lost(),
            misses_before: recorder.misses(),
            recorder,
            reports,
            shapes: settings.shapes.clone(),
            places,
            recorded: HashMap::new(),
            waiting: Waitlist::new(settings.budget.ready),
            unread: VecDeque::new(),
            slots,
            own,
            stopping: false,
        }
    }

    fn serve(
        &mut self,
        requests: &mpsc::Receiver<Command>,
        mut woken: UnixStream,
    ) -> io::Result<()> {
        self.take_over();
        for running in adopt::containers(&self.places.proc, &self.places.cgroups, &self.shapes)? {
            // When a container has a ring, those inside it are looked for.
            if !running.is_inner() && !self.recorded.contains_key(&running.cgroup) {
                self.wants(running.cgroup, running.path, false, false);
            }
        }
        // This comes before anything is answered: whoever sees the agent at work finds all containers recorded that
        // ran before.
        while self.recorder.refill()? || self.give()? {}
        loop {
            let last = self.stopping;
            for message in self.recorder.messages() {
                self.message(message);
            }
            if self.recorder.go_on(self.messages_lost)? {
                self.lapsed();
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
        let alone = self.recorder.left_alone();
        let timeout = alone.map_or(PollTimeout::NONE, |time| {
            // Rounded up, so that it is due then.
            let milliseconds = time.as_millis().saturating_add(1);
            PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 64];
        while woken.read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        Ok(())
    }

    /// Finds the containers that came or went without a message.
    fn catch_up(&mut self) -> io::Result<()> {
        let present = adopt::containers(&self.places.proc, &self.places.cgroups, &self.shapes)?;
        let rings: HashMap<CgroupId, RingId> = self.recorder.rings().collect();
        let gone = rings
            .iter()
            .filter(|(cgroup, _)| !present.iter().any(|running| running.cgroup == **cgroup));
        let gone: Vec<(CgroupId, RingId)> = gone.map(|(cgroup, ring)| (*cgroup, *ring)).collect();
        for (cgroup, ring) in gone {
            self.removed(cgroup, ring, host::boottime());
        }
        for running in present {
            let inside = running.is_inner().then_some(running.outermost);
            if self.recorded.contains_key(&running.cgroup) {
                continue;
            }
            if rings.contains_key(&running.cgroup) {
                self.started(running.cgroup, running.path, inside, running.start);
            } else if inside.is_none_or(|outer| rings.contains_key(&outer)) {
                self.wants(running.cgroup, running.path, inside.is_some(), true);
            }
        }
        Ok(())
    }

    fn started(
        &mut self,
        cgroup: CgroupId,
        path: String,
        inside: Option<CgroupId>,
        time: BootTime,
    ) {
        // It was taken over, and its first message comes only now.
        if self.recorded.contains_key(&cgroup) {
            return;
        }
        let misses = self.recorder.misses();
        let recorded = Recorded::new(path.clone(), inside, misses, Vec::new());
        if self.is_copy(cgroup, recorded.id.as_ref()) {
            if let Some(ring) = self.recorder.ring_of(cgroup) {
                self.release(ring);
            }
            return self.refuse_copy(path, inside);
        }
        self.waiting.saw(recorded.rank);
        self.recorded.insert(cgroup, recorded);
        self.report(Report::Started {
            cgroup,
            path,
            inside,
            time,
        });
    }

    /// A run is over; its ring is read when its turn comes.
    fn ended(&mut self, cgroup: CgroupId, time: BootTime, exit: Option<(u32, ExitStatus)>) {
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
    fn removed(&mut self, cgroup: CgroupId, ring: RingId, time: BootTime) {
        self.ended(cgroup, time, None);
        match self.recorded.get_mut(&cgroup) {
            Some(recorded) => recorded.removed = Some(ring),
            None => self.release(ring),
        }
        self.release_if_over(cgroup);
    }

    /// Gives back the ring of a container whose run was read, and written if the ring outlives the agent, and whose
    /// cgroup is gone.
    fn release_if_over(&mut self, cgroup: CgroupId) {
        let recorded = self.recorded.get(&cgroup);
        let over = recorded.filter(|recorded| recorded.read && !recorded.held);
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
                let outlives = self.recorder.outlives();
                if let Some(recorded) = self.recorded.get_mut(&cgroup) {
                    recorded.read = true;
                    recorded.held = outlives && life.is_some();
                }
                if let Some(mut life) = life {
                    if outlives {
                        life.ring = Hold::of(cgroup, self.own.clone());
                    }
                    let life = Box::new(life);
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
            MessageKind::Assigned { path, inside, .. } => {
                self.started(cgroup, path, inside, time);
            }
            MessageKind::PoolEmpty { path } | MessageKind::TableFull { path } => {
                self.wants(cgroup, path, false, true);
            }
            MessageKind::TurnedAway => self.report(Report::TurnsAway { cgroup }),
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
                self.give_up_inner(cgroup);
                if let Some(ring) = self.recorder.ring_of(cgroup) {
                    self.release(ring);
                }
            }
            Command::GiveBack(cgroup) => {
                if let Some(recorded) = self.recorded.get_mut(&cgroup) {
                    recorded.held = false;
                }
                self.release_if_over(cgroup);
            }
            Command::SetRun(cgroup, run) => self.recorder.set_run(cgroup, run),
            Command::SetKept(bytes) => self.recorder.set_kept(bytes),
            Command::Stock(reply) => {
                let _ = reply.send(Rings {
                    stock: self.recorder.stock(),
                    waiting: self.waiting.len(),
                    misses: self.recorder.misses().added_to(&self.misses_before),
                    turned_away: self.recorder.turned_away(),
                    crowded: self.recorder.crowded().collect(),
                });
            }
            Command::Stop => self.stopping = true,
        }
    }

    /// Reads a container's ring.
    fn life(&self, cgroup: CgroupId, slot: slots::Slot) -> Option<Life> {
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
        let (end, exit) = match end {
            Some(End {
                exit: None, time, ..
            }) => end_of(&recording.events, self.recorder.first_process(ring))
                .map_or((Some(*time), None), |(time, exit)| (Some(time), Some(exit))),
            Some(End { exit, time, .. }) => (Some(*time), *exit),
            None => (None, None),
        };
        if !recorded.preface.is_empty() {
            let is_exec = |event: &Event| event.kind == EventKind::EXEC;
            let execs = recording.events.iter().filter(|event| is_exec(event));
            let executed: HashSet<u32> = execs.map(|event| event.pid).collect();
            // What a process executes now is not what it executed before it executed something else.
            let is_true = |event: &&Event| {
                !(recorded.is_late && is_exec(event) && executed.contains(&event.pid))
            };
            let preface: Vec<Event> = recorded.preface.iter().filter(is_true).cloned().collect();
            recording.events.splice(0..0, preface);
        }
        Some(Life {
            recording,
            skipped,
            end,
            exit,
            figures,
            slot,
            ring: Hold::default(),
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

/// When and how the first process of a container ended, where the message is missing that says it.
fn end_of(events: &[Event], first: u32) -> Option<(BootTime, (u32, ExitStatus))> {
    let exit = (events.iter())
        .rfind(|event| first != 0 && event.kind == EventKind::EXIT && event.pid == first)?;
    Some((exit.time, (first, ExitStatus::from_wait(exit.ret as i32))))
}
