//! Writing a capture into the spool: room is made for it, and it gets its name only when it is complete.

use std::fs::{self, File};
use std::path::Path;

use capture_format::{Header, WriteError, Writer, chain, write_file};
use tracing::warn;

use super::Spool;
use crate::entry::State;
use crate::name;
use crate::quota::{self, Coming};
use crate::{Entry, Info, SpoolError, files, scan};

/// A capture to be written.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Its name. A capture with the same name in the same namespace is replaced.
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

impl Spool {
    /// Writes a capture and its sidecar. Room is made first, so that the spool stays within its limits. If the disk is
    /// full nevertheless, captures of the least worth are dropped, and writing is tried once more.
    ///
    /// `fill` writes the runs; it is called again if writing is tried once more. `describe` gets the finished file and
    /// the description from it, and adds the verdict before anybody sees the entry. A sidecar that cannot be written is
    /// written later.
    ///
    /// A capture with the same name is unchanged until the new one is complete; until then it takes room in addition to
    /// the limit. Of its state, only what concerns its Capture object and its Event is kept.
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
            Ok(_) => self.table().set_trouble(None),
            // The spool would accept another capture.
            Err(SpoolError::TooLarge { .. }) => {}
            Err(error) => self.table().set_trouble(Some(chain(error).to_string())),
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
        let id = name::id(&info.namespace, new.name);
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
            warn!(error = %chain(error), "the disk of the spool is full");
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
                warn!(path = %unnamed.display(), error = %chain(&error), "a capture that was not wanted cannot be removed");
            }
            self.remove_empty(&path);
        })?;

        let mut info = scan::describe(&id, &path);
        (info.rank, info.pinned) = (new.rank, new.pinned);
        info.name = new.name.to_owned();
        describe(&path, &mut info);
        let bytes = info.bytes;
        dropped.extend(self.make_room(now, limits, Some(&Coming { info: &info, bytes }), &id));
        let before = replaced.map(|old| old.state).unwrap_or_default();
        let entry = Entry {
            id,
            present: true,
            info,
            state: State {
                exists: before.exists || new.requested,
                object: before.object,
                similar: before.similar,
                recurred: before.recurred,
                since: now,
                ..State::default()
            },
        };
        if let Err(error) = self.put(entry.clone()) {
            warn!(error = %chain(&error), "the sidecar of a capture is written later");
        }
        Ok(Written { entry, dropped })
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
                warn!(error = %chain(&error), "the sidecar of a capture is written later");
            }
            return Err(SpoolError::at("naming", path)(error));
        }
        let synced = path.parent().map_or(Ok(()), files::sync_directory);
        if let Err(error) = synced {
            warn!(path = %path.display(), error = %chain(&error), "a capture may not outlive a crash of the node");
        }
        Ok(())
    }
}
