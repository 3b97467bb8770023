//! Lines to standard error that delay nobody: a thread writes them, because their reader may be slow, stuck or gone.
//!
//! A line that finds no room, or that cannot be written, is dropped and counted.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait, in addition to what the pipe holds.
const WAITING_BYTES: usize = 256 << 10;

/// Takes lines; clones share them.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// Signals that a line waits.
    came: Condvar,
    /// Signals that no line waits and none is being written.
    done: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    writing: bool,
}

impl Lines {
    /// Writes to standard error. It does not take the lock of [`io::stderr`], so a reader that is stuck does not block
    /// others who need that lock.
    ///
    /// # Errors
    /// There is no standard error, or no thread can be started.
    pub(super) fn to_stderr() -> io::Result<Self> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        Self::to(File::from(stderr))
    }

    fn to(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            came: Condvar::new(),
            done: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let lines = Self(shared.clone());
        thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                let line = shared.next();
                if out.write_all(&line).is_err() {
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(lines)
    }

    /// Takes a line if there is room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        if waiting.bytes + line.len() > WAITING_BYTES {
            drop(waiting);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        self.0.came.notify_one();
    }

    /// Waits a limited time until all lines are written.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        let waited = self
            .0
            .done
            .wait_timeout_while(self.0.waiting(), patience, busy);
        drop(waited);
    }

    /// How many lines were left out so far.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next line.
    fn next(&self) -> Vec<u8> {
        let mut waiting = self.waiting();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writing = true;
                return line;
            }
            waiting.writing = false;
            self.done.notify_all();
            waiting = self
                .came
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const LINE: [u8; 1000] = [b'x'; 1000];
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn all_that_is_read_arrives_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::to(writer).unwrap();
        for number in 0..100 {
            lines.push(format!("{number}\n").as_bytes());
        }
        lines.flush(PATIENCE);
        let mut text = [0; 290];
        reader.read_exact(&mut text).unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&text), expected);
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_reader_that_is_stuck_is_not_waited_for_and_costs_little_memory() {
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::to(writer).unwrap();
        for _ in 0..10_000 {
            lines.push(&LINE);
        }
        lines.flush(Duration::from_millis(10));
        let held = 10_000 - lines.lost() as usize;
        let most = (WAITING_BYTES + (1 << 20)) / LINE.len();
        assert!(held > 0 && held < most, "{held} lines are held");
        drop(reader);
    }

    #[test]
    fn lines_to_a_reader_that_is_gone_are_counted() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let lines = Lines::to(writer).unwrap();
        for _ in 0..3 {
            lines.push(&LINE);
        }
        lines.flush(PATIENCE);
        assert_eq!(lines.lost(), 3);
    }
}
