//! How many runs are decoded at a time.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Runs that are decoded at a time. One takes up to some 7 MiB, for which the memory limit has room besides the
/// budget of the rings. Runs whose turn has not come wait in their rings, which the budget includes.
const DECODED: usize = 16;

/// Wakes the thread.
pub(super) struct Waker(UnixStream);

impl Waker {
    /// The waker, and the other end of its pipe: it can be read when the thread is to wake.
    ///
    /// # Errors
    /// The pipe cannot be made.
    pub(super) fn new() -> io::Result<(Self, UnixStream)> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok((Self(wake), woken))
    }

    /// Has the thread look for what there is to do.
    pub(super) fn wake(&self) {
        // If the pipe is full, the thread wakes anyway.
        let _ = (&self.0).write(&[0]);
    }
}

/// The right to decode a run, one of [`DECODED`], until it is dropped. The default is none of these.
#[derive(Default)]
pub(in crate::node) struct Slot(Option<Arc<Slots>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = &self.0 {
            slots.taken.fetch_sub(1, Ordering::Release);
            slots.waker.wake();
        }
    }
}

/// The slots; only the thread takes them.
pub(super) struct Slots {
    taken: AtomicUsize,
    waker: Arc<Waker>,
}

impl Slots {
    /// All are free. `waker` is called when a slot is given back.
    pub(super) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            waker,
        })
    }

    /// A slot, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        if self.taken.load(Ordering::Acquire) >= DECODED {
            return None;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Slot(Some(self.clone())))
    }
}
