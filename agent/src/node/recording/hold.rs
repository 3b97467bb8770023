//! Rings that were read and are not given back yet: as long as their run is written nowhere, the next agent would read
//! them again if this one were killed.

use std::sync::{Arc, mpsc};

use capture_format::CgroupId;

use super::{handle::Command, slots::Waker};

/// Keeps the ring of a run that was read, until it is dropped. The default keeps none.
#[derive(Default)]
pub(in crate::node) struct Hold(Option<(CgroupId, Thread)>);

/// How the recording thread learns that a ring is not needed any more.
#[derive(Clone)]
pub(super) struct Thread {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) waker: Arc<Waker>,
}

impl Hold {
    /// Keeps the ring of a container.
    pub(super) fn of(cgroup: CgroupId, thread: Thread) -> Self {
        Self(Some((cgroup, thread)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((cgroup, Thread { commands, waker })) = self.0.take() {
            // If the thread has ended, the next agent finds the run in its file and gives the ring back.
            let _ = commands.send(Command::GiveBack(cgroup));
            waker.wake();
        }
    }
}
