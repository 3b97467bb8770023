//! The spool: a directory of captures, within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capture_format::{Header, Run, WriteError, Writer, write_file};
use serde::Deserialize;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::entry::State;
use crate::name::component;
use crate::quota::{self, Coming, Victim};
use crate::scan::{self, Found};
use crate::{Entry, Info, Limits, Restored, SavedRun, SpoolError, files, kept};

/// How many captures that could not be written are remembered, the newest ones, until they have been announced.
const NOTED: usize = 256;

/// The place and the limits of a spool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Its directory; created if missing.
    pub directory: PathBuf,
    /// Limits of the captures.
    pub limits: Limits,
    /// How many bytes of runs are kept for the next agent at a graceful stop, in addition to [`Limits::bytes`].
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

/// A capture to be written.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// The name of its Capture object. A capture with the same name in the same namespace is replaced.
    pub name: &'a str,
    /// Its header, which says who it is about, and why and when it was taken.
    pub header: &'a Header,
    /// Rank of the trigger.
    pub rank: u32,
    /// Whether its Capture object existed before it.
    pub requested: bool,
    /// Whether it is kept as long as another capture can be dropped instead.
    pub pinned: bool,
    /// The most bytes that it will have: room for them is made beforehand.
    pub expected_bytes: u64,
}

/// The result of writing a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The capture.
    pub entry: Entry,
    /// Captures that were dropped for it, or because they were too old.
    pub dropped: Vec<Entry>,
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of captures and sidecars, counted as for [`Limits::bytes`].
    pub bytes: u64,
    /// Captures in the spool.
    pub captures: usize,
    /// How many of these captures are not in a store.
    pub not_uploaded: usize,
    /// Records of captures that are only in a store.
    pub records: usize,
    /// How many captures were dropped since it was opened, for any limit.
    pub dropped: u64,
    /// How many of these were in no store, plus the captures that somebody else removed: evidence that is lost.
    pub lost: u64,
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
}

#[derive(Debug)]
struct Disk {
    /// The locked file; `None` as long as there is no usable directory.
    lock: Option<File>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<String, Entry>,
    /// Entries whose sidecar is out of date because it could not be written.
    unsaved: BTreeSet<String>,
    dropped: u64,
    lost: u64,
    trouble: Option<String>,
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
                warn!(%error, "no capture can be written");
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
            warn!(%error, "earlier captures cannot be read");
            scan::Scan::default()
        });
        let found = Found {
            halves: halves.len(),
            rebuilt: rebuilt.len(),
            orphans: orphans.len(),
        };
        for path in halves.iter().chain(&orphans) {
            if let Err(error) = files::remove(path) {
                warn!(path = %path.display(), %error, "what an earlier agent left cannot be removed");
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
            table: Mutex::new(Table {
                entries,
                unsaved,
                ..Table::default()
            }),
        };
        spool.enforce();
        Ok((spool, found))
    }

    /// Writes a capture and its sidecar. Room is made first, so that the spool stays within its limits. If the disk is
    /// full nevertheless, captures of the least worth are dropped, and writing is tried once more.
    ///
    /// `fill` writes the runs; it is called again if writing is tried once more. `describe` gets the finished file and
    /// the description from it, and adds the verdict before anybody sees the entry. A sidecar that cannot be written is
    /// written later.
    ///
    /// A capture with the same name is unchanged until the new one is complete; until then it takes room in addition to
    /// the limit. Of its state, only [`State::exists`] is kept.
    ///
    /// # Errors
    /// The error that `fill` returned; the file operation that failed; that the disk is still full; that the capture
    /// alone is larger than the limit. The capture is then not in the spool, and a capture with the same name still is.
    pub fn write(
        &self,
        new: &New,
        fill: impl FnMut(&mut Writer<File>) -> Result<(), WriteError>,
        describe: impl FnOnce(&Path, &mut Info),
    ) -> Result<Written, SpoolError> {
        let disk = self.disk();
        let written = self.write_capture(disk.clock.now(), new, fill, describe);
        match &written {
            Ok(_) => self.table().trouble = None,
            // The spool would accept another capture.
            Err(SpoolError::TooLarge { .. }) => {}
            Err(error) => self.table().trouble = Some(error.to_string()),
        }
        written
    }

    fn write_capture(
        &self,
        now: u64,
        new: &New,
        mut fill: impl FnMut(&mut Writer<File>) -> Result<(), WriteError>,
        describe: impl FnOnce(&Path, &mut Info),
    ) -> Result<Written, SpoolError> {
        let limits = &self.config.limits;
        let info = scan::of_header(new.header);
        let limit = limits.bytes;
        let too_large = |bytes| SpoolError::TooLarge { bytes, limit };
        let bytes = new.expected_bytes;
        if quota::footprint(bytes) > limit {
            return Err(too_large(bytes));
        }
        let id = format!("{}/{}", component(&info.namespace), component(new.name));
        let replaced = self
            .entry(&id)
            .filter(|entry| entry.state.unwritten.is_none());
        let mut dropped = self.make_room(now, limits, Some(&Coming { info: &info, bytes }), &id);
        let path = self.place(&id);
        let unnamed = files::half(&path);

        let mut attempt = || {
            self.create_directory(&id)?;
            write_file(&unnamed, new.header, &mut fill).map_err(SpoolError::from)
        };
        let mut written = attempt();
        if let Err(error) = &written
            && error.is_full()
        {
            warn!(%error, "the disk of the spool is full");
            dropped.extend(self.free(now, new.expected_bytes, &id));
            written = attempt().map_err(|error| match error.is_full() {
                true => SpoolError::Full {
                    dropped: dropped.len(),
                    error: Box::new(error),
                },
                false => error,
            });
        }
        let named = written.and_then(|summary| {
            if quota::footprint(summary.bytes) > limit {
                return Err(too_large(summary.bytes));
            }
            self.name(&unnamed, &path, replaced.as_ref())
        });
        named.inspect_err(|_| {
            if let Err(error) = files::remove(&unnamed) {
                warn!(path = %unnamed.display(), %error, "a capture that was not wanted cannot be removed");
            }
            self.remove_empty(&path);
        })?;

        let mut info = scan::describe(&id, &path);
        (info.rank, info.pinned) = (new.rank, new.pinned);
        info.name = new.name.to_owned();
        describe(&path, &mut info);
        let bytes = info.bytes;
        dropped.extend(self.make_room(now, limits, Some(&Coming { info: &info, bytes }), &id));
        let exists = replaced.is_some_and(|old| old.state.exists);
        let entry = Entry {
            id,
            present: true,
            info,
            state: State {
                exists: exists || new.requested,
                since: now,
                ..State::default()
            },
        };
        if let Err(error) = self.put(entry.clone()) {
            warn!(%error, "the sidecar of a capture is written later");
        }
        Ok(Written { entry, dropped })
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
        let id = format!("{}/{}", component(&info.namespace), component(new.name));
        (info.rank, info.pinned) = (new.rank, new.pinned);
        info.name = new.name.to_owned();
        describe(&mut info);
        let entry = Entry {
            id: id.clone(),
            present: false,
            info,
            state: State {
                exists: new.requested,
                unwritten: Some(why.to_string()),
                ..State::default()
            },
        };
        let mut table = self.table();
        let is_noted = |entry: &Entry| entry.state.unwritten.is_some();
        if table.entries.get(&id).is_some_and(|old| !is_noted(old)) {
            return None;
        }
        table.entries.insert(id, entry.clone());
        let noted = table.entries.values().filter(|entry| is_noted(entry));
        let (count, oldest) = (noted.clone().count(), noted.min_by_key(|e| e.info.created));
        if let Some(oldest) = oldest.map(|oldest| oldest.id.clone())
            && count > NOTED
        {
            table.entries.remove(&oldest);
        }
        Some(entry)
    }

    /// Forgets a capture that could not be written. Returns whether there was one.
    pub fn forget(&self, id: &str) -> bool {
        let mut table = self.table();
        let noted = table
            .entries
            .get(id)
            .is_some_and(|entry| entry.state.unwritten.is_some());
        if noted {
            table.entries.remove(id);
        }
        noted
    }

    /// All entries of the spool, the oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.find(|_| true)
    }

    /// Those of [`entries`](Self::entries) for which `wanted` returns true.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let table = self.table();
        let mut entries: Vec<_> = table.entries.values().filter(|e| wanted(e)).collect();
        entries.sort_by_key(|entry| entry.order());
        entries.into_iter().cloned().collect()
    }

    /// One of [`entries`](Self::entries), by its id.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<Entry> {
        self.table().entries.get(id).cloned()
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
        self.table().trouble = checked.err().map(|error| {
            warn!(%error, "the spool is in trouble");
            error.to_string()
        });
        let unsaved: Vec<_> = self.table().unsaved.iter().cloned().collect();
        for entry in unsaved.iter().filter_map(|id| self.entry(id)) {
            if let Err(error) = self.put(entry) {
                warn!(%error, "the sidecar of a capture is written later");
            }
        }
        dropped
    }

    /// Why captures cannot be written, or what else was wrong at the last attempt or check; `None` if nothing was
    /// wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.table().trouble.clone()
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
        let place = lock_file(&self.config.directory);
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let Some(lock) = &disk.lock else {
            disk.lock = Some(claim(&self.config.directory)?);
            let found = scan::scan(&captures)?.entries;
            let mut table = self.table();
            for (id, entry) in found {
                table.entries.entry(id).or_insert(entry);
            }
            return Ok(());
        };
        let removed = match (fs::metadata(&place), lock.metadata()) {
            (Ok(there), Ok(ours)) => inode(there) != inode(ours),
            _ => true,
        };
        if removed {
            disk.lock = Some(self::lock(&self.config.directory)?);
        }
        let lost = self.forget_gone();
        if removed || lost > 0 {
            let directory = self.config.directory.clone();
            return Err(SpoolError::Removed { directory, lost });
        }
        Ok(())
    }

    /// Forgets captures whose file somebody removed. Returns how many of them were in no store.
    fn forget_gone(&self) -> usize {
        let mut table = self.table();
        let table = &mut *table;
        let mut lost = 0;
        let directory = &self.config.directory;
        table.entries.retain(|id, entry| {
            let there = !entry.present || scan::path(directory, id).try_exists().unwrap_or(true);
            lost += usize::from(!there && !entry.is_uploaded());
            entry.present &= there;
            there || entry.is_uploaded()
        });
        table.unsaved.retain(|id| table.entries.contains_key(id));
        table.lost += lost as u64;
        lost
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
        let table = self.table();
        let captures = table.entries.values().filter(|entry| entry.present);
        let count = captures.clone().count();
        Usage {
            bytes: quota::used(table.entries.values()),
            captures: count,
            not_uploaded: captures.filter(|entry| !entry.is_uploaded()).count(),
            records: table.entries.len() - count,
            dropped: table.dropped,
            lost: table.lost,
        }
    }

    /// Keeps runs for the next agent: as many as fit into [`Config::kept_bytes`], the first ones first. They replace
    /// the runs that were kept before. Returns how many runs were left out.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn save(&self, runs: &[SavedRun], boot_id: &str) -> Result<usize, SpoolError> {
        let _disk = self.disk();
        kept::write(&self.kept(), runs, boot_id, self.config.kept_bytes)
    }

    /// Takes the runs that the last agent kept; they are deleted from the disk. Runs from another boot, or older than
    /// [`Config::kept_age`], are left out.
    ///
    /// # Errors
    /// If the directory cannot be read or emptied.
    pub fn restore(&self, boot_id: &str) -> Result<Restored, SpoolError> {
        let _disk = self.disk();
        let Config {
            kept_bytes,
            kept_age,
            ..
        } = self.config;
        kept::take(&self.kept(), boot_id, kept_age, kept_bytes)
    }

    fn kept(&self) -> PathBuf {
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

    /// Gives a complete capture its name, in place of the capture that had it. Meanwhile the sidecar matches no
    /// capture, so if this agent is killed, the next one does not take the one capture for the other.
    fn name(
        &self,
        unnamed: &Path,
        path: &Path,
        replaced: Option<&Entry>,
    ) -> Result<(), SpoolError> {
        if let Some(old) = replaced {
            let sidecar = path.with_extension("json");
            let mut of_none = old.clone();
            of_none.info.sha256.clear();
            if of_none.save(&sidecar).is_err() {
                files::remove(&sidecar).map_err(SpoolError::at("removing", &sidecar))?;
            }
        }
        if let Err(error) = fs::rename(unnamed, path) {
            if let Some(Err(error)) = replaced.cloned().map(|old| self.put(old)) {
                warn!(%error, "the sidecar of a capture is written later");
            }
            return Err(SpoolError::at("naming", path)(error));
        }
        let synced = path.parent().map_or(Ok(()), files::sync_directory);
        if let Err(error) = synced {
            warn!(path = %path.display(), %error, "a capture may not outlive a crash of the node");
        }
        Ok(())
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
        if entry.state.unwritten.is_some() {
            self.table().entries.insert(entry.id.clone(), entry);
            return Ok(());
        }
        let sidecar = self.place(&entry.id).with_extension("json");
        let saved = self.create_directory(&entry.id).and_then(|()| {
            entry
                .save(&sidecar)
                .map_err(SpoolError::at("writing", &sidecar))
        });
        let mut table = self.table();
        match saved {
            Ok(()) => table.unsaved.remove(&entry.id),
            Err(_) => table.unsaved.insert(entry.id.clone()),
        };
        table.entries.insert(entry.id.clone(), entry);
        saved
    }

    /// Makes room on a full disk, if captures other than `spared` take that much at all.
    fn free(&self, now: u64, bytes: u64, spared: &str) -> Vec<Entry> {
        let used = quota::used(others(&self.table().entries, spared));
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
            quota::victims(others(&table.entries, replaced), limits, now, coming)
        };
        let mut dropped = Vec::new();
        for Victim { id, record } in victims {
            let Some(entry) = self.entry(&id) else {
                continue;
            };
            match self.delete(&id, record) {
                Err(error) => warn!(%error, "a capture cannot be dropped"),
                Ok(()) if !entry.present => debug!(id, "the record of a capture was dropped"),
                Ok(()) => {
                    warn!(
                        id,
                        uploaded = entry.is_uploaded(),
                        "a capture was dropped to keep within the limits"
                    );
                    let mut table = self.table();
                    table.dropped += 1;
                    table.lost += u64::from(!entry.is_uploaded());
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
            if let Some(entry) = self.table().entries.get_mut(id) {
                entry.present = false;
            }
            return Ok(());
        }
        let sidecar = path.with_extension("json");
        files::remove(&sidecar).map_err(SpoolError::at("removing", &sidecar))?;
        self.remove_empty(&path);
        let mut table = self.table();
        table.entries.remove(id);
        table.unsaved.remove(id);
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let mut disk = self.disk();
        if let Err(error) = disk.clock.save(true) {
            debug!(%error, "how old the captures are is not noted");
        }
        // Closing the file would be enough, except that a child between fork and exec may have the file, too.
        if let Some(lock) = &disk.lock {
            let _ = lock.unlock();
        }
    }
}

/// All entries on the disk, except one.
fn others<'a>(
    entries: &'a BTreeMap<String, Entry>,
    id: &'a str,
) -> impl Iterator<Item = &'a Entry> {
    entries
        .values()
        .filter(move |entry| entry.id != id && entry.state.unwritten.is_none())
}

/// Makes the directory of captures, and locks it.
fn claim(directory: &Path) -> Result<File, SpoolError> {
    let captures = scan::captures(directory);
    files::create_private(&captures).map_err(SpoolError::at("creating", &captures))?;
    lock(directory)
}

fn lock_file(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn lock(directory: &Path) -> Result<File, SpoolError> {
    let path = lock_file(directory);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SpoolError::at("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(SpoolError::at("locking", &path)(error)),
    }
}
