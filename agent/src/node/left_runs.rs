//! The kept runs, written for the next agent whenever others are kept.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use capture_format::chain;
use spool::{SavedRun, Spool};
use tokio::sync::Notify;

use super::recording::Hold;
use crate::host;

/// See the module. While runs are being written, only the newest state waits.
#[derive(Default)]
pub(super) struct LeftRuns {
    newest: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    runs: Vec<SavedRun>,
    /// The rings of those among the runs that are in no file yet.
    holds: Vec<Hold>,
}

impl LeftRuns {
    /// These runs are to be written, and all files of others removed. `holds`: rings that are given back then.
    pub(super) fn set(&self, runs: Vec<SavedRun>, holds: Vec<Hold>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.runs = runs;
        newest.holds.extend(holds);
        drop(newest);
        self.changed.notify_one();
    }

    /// Writes what is to be written. Does not end.
    pub(super) async fn write(self: Arc<Self>, spool: Arc<Spool>) {
        loop {
            self.changed.notified().await;
            let (runs, holds) = {
                let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
                (newest.runs.clone(), mem::take(&mut newest.holds))
            };
            let spool = spool.clone();
            let saving = tokio::task::spawn_blocking(move || spool.save(&runs, &host::boot_id()));
            if let Ok(Err(error)) = saving.await {
                tracing::debug!(error = %chain(&error), "kept runs cannot be written for the next agent");
            }
            // Whether that worked or not: rings are needed for what comes.
            drop(holds);
        }
    }
}
