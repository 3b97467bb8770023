//! The clock by which captures grow old: it counts the time during which their machine has run. The time of day may
//! jump by days in either direction, and such a jump must not empty a spool.
//!
//! While the machine runs, the clock advances with CLOCK_BOOTTIME, whether or not an agent runs. After the machine has
//! started again, the clock goes on where it stopped, which a file says. The first time, it starts at about the time
//! for which the machine has been running.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{SpoolError, files};

/// How much of the clock's time may be lost when the machine crashes, in nanoseconds.
const PACE: u64 = 600_000_000_000;

/// A clock in nanoseconds.
#[derive(Debug)]
pub(crate) struct Clock {
    path: PathBuf,
    now: Saved,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    boot_id: String,
    /// How far this clock is ahead of CLOCK_BOOTTIME, in nanoseconds.
    ahead: u64,
    /// The time at which this was written; 0 if it never was.
    time: u64,
}

impl Clock {
    /// The clock of a spool whose newest capture came at the time `newest`. The clock is never earlier than that, even
    /// if its file is gone.
    pub(crate) fn open(directory: &Path, newest: u64) -> Self {
        let path = directory.join("clock");
        let saved = fs::read(&path)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        let now = Saved::continued(saved, boot_id(), boottime(), newest);
        Self { path, now }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.ahead.saturating_add(boottime())
    }

    /// Writes the time into the file, if that is due.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn save(&mut self, at_once: bool) -> Result<(), SpoolError> {
        let time = self.now();
        let due = self.now.time == 0 || time.saturating_sub(self.now.time) >= PACE;
        if !at_once && !due {
            return Ok(());
        }
        self.now.time = time;
        let json = serde_json::to_vec(&self.now).unwrap_or_default();
        files::write_whole(&self.path, &[&json], false)
            .map_err(SpoolError::at("writing", &self.path))
    }
}

impl Saved {
    fn continued(saved: Option<Self>, boot_id: String, boottime: u64, newest: u64) -> Self {
        let ahead = match saved {
            None => 0,
            Some(saved) if saved.boot_id == boot_id => saved.ahead,
            Some(saved) => saved.time,
        };
        Self {
            boot_id,
            ahead: ahead.max(newest.saturating_sub(boottime)),
            time: 0,
        }
    }
}

/// CLOCK_BOOTTIME in nanoseconds.
pub(crate) fn boottime() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(|time| Duration::from(time).as_nanos() as u64)
        .unwrap_or_default()
}

/// The id of this boot: proc_sys_kernel(5).
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(saved: Option<(&str, u64, u64)>, boottime: u64, newest: u64) -> u64 {
        let saved = saved.map(|(boot_id, ahead, time)| Saved {
            boot_id: boot_id.into(),
            ahead,
            time,
        });
        Saved::continued(saved, "this".into(), boottime, newest).ahead + boottime
    }

    #[test]
    fn it_goes_on_while_the_machine_runs_and_from_where_it_stopped() {
        assert_eq!(time(None, 50, 0), 50);
        assert_eq!(time(Some(("this", 1000, 1020)), 50, 0), 1050);
        assert_eq!(time(Some(("last", 1000, 1020)), 50, 0), 1070);
        assert_eq!(time(None, 50, 2000), 2000);
    }
}
