//! The spool: a directory of captures, within limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capture_format::{Run, chain};
use serde::Deserialize;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::entry::State;
use crate::lock::Lock;
use crate::name;
use crate::quota::{self, Coming, Victim};
use crate::scan::{self, Found};
use crate::table::{Table, Usage};
use crate::{Entry, Info, Limits, Restored, SavedRun, SpoolError, files, kept};

mod writing;

pub use writing::{New, Written};

/// The place and the limits of a spool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Its directory; created if missing.
    pub directory: PathBuf,
    /// Limits of the captures.
    pub limits: Limits,
    /// How many bytes of runs are kept for the next agent, in addition to [`Limits::bytes`].
    pub kept_bytes: u64,
    /// Older runs are of no use to the next agent.
    #[serde(with = "humantime_serde")]
    pub kept_age: Duration,
}

impl Default for Config {
    /// `/var/lib/lastword`, 128 MiB of kept runs, for an hour.
    fn default() -> Self {
        Self {
            directory: "/var/lib/lastword".into(),
            limits: Limits::default(),
            kept_bytes: 128 << 20,
            kept_age: Duration::from_secs(60 * 60),
        }
    }
}

/// A directory of captures. What is known of each capture is also in memory. Only one process at a time has a spool
/// open.
///
/// Its methods block on the disk, except those that only look: [`entries`](Self::entries), [`entry`](Self::entry),
/// [`path`](Self::path), [`usage`](Self::usage).
#[derive(Debug)]
pub struct Spool {
    config: Config,
    /// Held while the disk is changed.
    disk: Mutex<Disk>,
    /// Held only for moments.
    table: Mutex<Table>,
    /// Held while files of kept runs are changed.
    kept: Mutex<kept::Files>,
}

#[derive(Debug)]
struct Disk {
    /// `None` as long as there is no usable directory.
    lock: Option<Lock>,
    clock: Clock,
}

impl Spool {
    /// Opens the spool, and cleans up after an agent that was killed. If the directory cannot be used (its file system
    /// is read-only, or a file is in the way), that is not an error: what can be read is available, nothing can be
    /// written, [`trouble`](Self::trouble) says why, and [`enforce`](Self::enforce) tries again.
    ///
    /// # Errors
    /// If another process has it open.
    pub fn open(config: Config) -> Result<(Self, Found), SpoolError> {
        let captures = scan::captures(&config.directory);
        let lock = match claim(&config.directory) {
            Ok(lock) => Some(lock),
            Err(error @ SpoolError::InUse { .. }) => return Err(error),
            Err(error) => {
                warn!(error = %chain(&error), "no capture can be written");
                None
            }
        };
        let scan::Scan {
            mut entries,
            rebuilt,
            halves,
            orphans,
            directories,
        } = scan::scan(&captures).unwrap_or_else(|error| {
            warn!(error = %chain(&error), "earlier captures cannot be read");
            scan::Scan::default()
        });
        let found = Found {
            halves: halves.len(),
            rebuilt: rebuilt.len(),
            orphans: orphans.len(),
        };
        for path in halves.iter().chain(&orphans) {
            if let Err(error) = files::remove(path) {
                warn!(path = %path.display(), error = %chain(&error), "what an earlier agent left cannot be removed");
            }
        }
        for directory in &directories {
            files::remove_empty(&captures, directory);
        }
        let newest = entries.values().map(|entry| entry.state.since).max();
        let clock = Clock::open(&config.directory, newest.unwrap_or_default());
        let now = clock.now();
        let mut unsaved: BTreeSet<String> = rebuilt.into_iter().collect();
        for (id, entry) in &mut entries {
            if entry.state.since == 0 {
                entry.state.since = now;
                unsaved.insert(id.clone());
            }
        }
        let spool = Self {
            config,
            disk: Mutex::new(Disk { lock, clock }),
            table: Mutex::new(Table::new(entries, unsaved)),
            kept: Mutex::default(),
        };
        spool.enforce();
        Ok((spool, found))
    }

    /// Remembers a capture that could not be written, and why, so that it can be announced. It is remembered in memory
    /// only, until it is [forgotten](Self::forget). Returns `None` if a capture with this name exists; that one is
    /// kept.
    pub fn note(
        &self,
        new: &New,
        why: &SpoolError,
        runs: &[Run],
        describe: impl FnOnce(&mut Info),
    ) -> Option<Entry> {
        let mut info = scan::of_runs(new.header, runs);
        let id = name::id(&info.namespace, new.name);
        (info.rank, info.pinned) = (new.rank, new.pinned);
        info.name = new.name.to_owned();
        describe(&mut info);
        let entry = Entry {
            id,
            present: false,
            info,
            state: State {
                exists: new.requested,
                unwritten: Some(chain(why).to_string()),
                ..State::default()
            },
        };
        self.table().note(entry.clone()).then_some(entry)
    }

    /// Forgets a capture that could not be written. Returns whether there was one.
    pub fn forget(&self, id: &str) -> bool {
        self.table().forget(id)
    }

    /// All entries of the spool, the oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.find(|_| true)
    }

    /// Those of [`entries`](Self::entries) for which `wanted` returns true.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.table().find(wanted)
    }

    /// One of [`entries`](Self::entries), by its id.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<Entry> {
        self.table().get(id).cloned()
    }

    /// The file of a capture; `None` if the spool does not have it.
    #[must_use]
    pub fn path(&self, id: &str) -> Option<PathBuf> {
        let entry = self.entry(id)?;
        entry.present.then(|| self.place(id))
    }

    /// Changes an entry, and returns the changed entry.
    ///
    /// # Errors
    /// If the capture does not exist, or if the sidecar cannot be written. In the second case the change is made
    /// nevertheless, and is written with the next change or by [`enforce`](Self::enforce).
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Entry)) -> Result<Entry, SpoolError> {
        let _disk = self.disk();
        let old = self
            .entry(id)
            .ok_or_else(|| SpoolError::Unknown { id: id.into() })?;
        let mut new = old.clone();
        change(&mut new);
        new.id = old.id;
        new.present = old.present;
        self.put(new.clone())?;
        Ok(new)
    }

    /// Removes a capture for good, with its record. It is not removed from a store.
    ///
    /// # Errors
    /// If the capture does not exist, or its files cannot be removed.
    pub fn remove(&self, id: &str) -> Result<Entry, SpoolError> {
        let _disk = self.disk();
        let entry = self
            .entry(id)
            .ok_or_else(|| SpoolError::Unknown { id: id.into() })?;
        self.delete(id, true)?;
        Ok(entry)
    }

    /// Drops what is too old or too much, writes sidecars that could not be written, and checks whether captures can be
    /// written; if so, there is no [`trouble`](Self::trouble) any more. Call this regularly.
    pub fn enforce(&self) -> Vec<Entry> {
        let mut disk = self.disk();
        let dropped = self.make_room(disk.clock.now(), &self.config.limits, None, "");
        let checked = self.check(&mut disk).and_then(|()| disk.clock.save(false));
        self.table().set_trouble(checked.err().map(|error| {
            warn!(error = %chain(&error), "the spool is in trouble");
            chain(&error).to_string()
        }));
        let unsaved = self.table().unsaved();
        for entry in unsaved {
            if let Err(error) = self.put(entry) {
                warn!(error = %chain(&error), "the sidecar of a capture is written later");
            }
        }
        dropped
    }

    /// Why captures cannot be written, or what else was wrong at the last attempt or check; `None` if nothing was
    /// wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.table().trouble()
    }

    /// Checks whether something can be written. A directory that somebody removed is made anew, and the captures that
    /// were in it are forgotten.
    fn check(&self, disk: &mut Disk) -> Result<(), SpoolError> {
        let captures = self.captures();
        files::create_private_unless_there(&captures)
            .map_err(SpoolError::at("creating", &captures))?;
        let trial = captures.join("trial");
        files::write_whole(&trial, &[&[0; 4096]], false)
            .and_then(|()| files::remove(&trial))
            .map_err(SpoolError::at("writing", &trial))?;
        let directory = &self.config.directory;
        let Some(lock) = &disk.lock else {
            disk.lock = Some(claim(directory)?);
            let found = scan::scan(&captures)?.entries;
            self.table().add_missing(found);
            return Ok(());
        };
        let removed = lock.is_removed(directory);
        if removed {
            disk.lock = Some(Lock::take(directory)?);
        }
        let is_there = |id: &str| scan::path(directory, id).try_exists().unwrap_or(true);
        let lost = self.table().forget_gone(is_there);
        if removed || lost > 0 {
            let directory = directory.clone();
            return Err(SpoolError::Removed { directory, lost });
        }
        Ok(())
    }

    /// Removes a capture whose file is gone, with its record. Returns whether the file was gone.
    pub(crate) fn remove_gone(&self, id: &str) -> Result<bool, SpoolError> {
        let _disk = self.disk();
        let gone = !self.place(id).exists();
        if gone {
            self.delete(id, true)?;
        }
        Ok(gone)
    }

    /// How full the spool is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.table().usage()
    }

    /// Keeps runs for the next agent: as many as fit into [`Config::kept_bytes`], the first ones first. They replace
    /// the runs that were kept before; a run that was among these is not written again. Returns how many runs were left
    /// out.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn save(&self, runs: &[SavedRun], boot_id: &str) -> Result<usize, SpoolError> {
        let directory = self.kept_directory();
        self.kept()
            .keep(&directory, runs, boot_id, self.config.kept_bytes)
    }

    /// The runs that the last agent kept. They stay on the disk until [`save`](Self::save) keeps others. Runs from another
    /// boot, or older than [`Config::kept_age`], are left out and removed.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file not removed.
    pub fn restore(&self, boot_id: &str) -> Result<Restored, SpoolError> {
        let mut kept = self.kept();
        let Config {
            kept_bytes,
            kept_age,
            ..
        } = self.config;
        let (restored, files) = kept::take(&self.kept_directory(), boot_id, kept_age, kept_bytes)?;
        *kept = files;
        Ok(restored)
    }

    fn kept(&self) -> MutexGuard<'_, kept::Files> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_directory(&self) -> PathBuf {
        self.config.directory.join("kept")
    }

    fn captures(&self) -> PathBuf {
        scan::captures(&self.config.directory)
    }

    /// The path of a capture's file, whether or not it exists.
    fn place(&self, id: &str) -> PathBuf {
        scan::path(&self.config.directory, id)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_directory(&self, id: &str) -> Result<(), SpoolError> {
        let (captures, place) = (self.captures(), self.place(id));
        let directory = Path::new(id).parent().unwrap_or(Path::new(""));
        files::create_below(&captures, directory)
            .map(drop)
            .map_err(SpoolError::at("creating the directory of", &place))
    }

    fn remove_empty(&self, path: &Path) {
        if let Some(directory) = path.parent() {
            files::remove_empty(&self.captures(), directory);
        }
    }

    /// Puts the entry into the table, and writes its sidecar.
    fn put(&self, entry: Entry) -> Result<(), SpoolError> {
        if self.table().change_noted(&entry) {
            return Ok(());
        }
        let sidecar = self.place(&entry.id).with_extension("json");
        let saved = self.create_directory(&entry.id).and_then(|()| {
            entry
                .save(&sidecar)
                .map_err(SpoolError::at("writing", &sidecar))
        });
        self.table().put(entry, saved.is_ok());
        saved
    }

    /// Makes room on a full disk, if captures other than `spared` take that much at all.
    fn free(&self, now: u64, bytes: u64, spared: &str) -> Vec<Entry> {
        let used = quota::used(self.table().others(spared));
        let Some(left) = used.checked_sub(quota::footprint(bytes)) else {
            return Vec::new();
        };
        let limits = Limits {
            bytes: left.min(self.config.limits.bytes),
            ..self.config.limits.clone()
        };
        self.make_room(now, &limits, None, spared)
    }

    /// Drops what must go. The capture that is being replaced does not count and is not dropped. What cannot be removed
    /// stays, and is tried again the next time.
    fn make_room(
        &self,
        now: u64,
        limits: &Limits,
        coming: Option<&Coming>,
        replaced: &str,
    ) -> Vec<Entry> {
        let victims = {
            let table = self.table();
            quota::victims(table.others(replaced), limits, now, coming)
        };
        let mut dropped = Vec::new();
        for Victim { id, record } in victims {
            let Some(entry) = self.entry(&id) else {
                continue;
            };
            match self.delete(&id, record) {
                Err(error) => warn!(error = %chain(&error), "a capture cannot be dropped"),
                Ok(()) if !entry.present => debug!(id, "the record of a capture was dropped"),
                Ok(()) => {
                    warn!(
                        id,
                        uploaded = entry.is_uploaded(),
                        "a capture was dropped to keep within the limits"
                    );
                    self.table().count_dropped(&entry);
                    dropped.push(entry);
                }
            }
        }
        dropped
    }

    /// Removes the file of a capture and, if `record` is set, its sidecar.
    fn delete(&self, id: &str, record: bool) -> Result<(), SpoolError> {
        if self.forget(id) {
            return Ok(());
        }
        let path = self.place(id);
        files::remove(&path).map_err(SpoolError::at("removing", &path))?;
        if !record {
            self.table().keep_record(id);
            return Ok(());
        }
        let sidecar = path.with_extension("json");
        files::remove(&sidecar).map_err(SpoolError::at("removing", &sidecar))?;
        self.remove_empty(&path);
        self.table().remove(id);
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let mut disk = self.disk();
        if let Err(error) = disk.clock.save(true) {
            debug!(error = %chain(&error), "how old the captures are is not noted");
        }
    }
}

/// Makes the directory of captures, and locks it.
fn claim(directory: &Path) -> Result<Lock, SpoolError> {
    let captures = scan::captures(directory);
    files::create_private(&captures).map_err(SpoolError::at("creating", &captures))?;
    Lock::take(directory)
}
