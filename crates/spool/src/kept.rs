//! Kept runs that outlive the agent: it writes each of them down when it keeps it, and the next agent reads and deletes
//! them. So they survive an agent that is killed.
//!
//! Each run is a file: a line of JSON that says whose run it is, then the bytes. The files are not synced: what was
//! written survives the process, and after a crash of the node the files are worthless anyway, because its boot id is
//! another one.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use capture_format::chain;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{SpoolError, clock, files};

/// A run that an agent keeps in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedRun {
    /// UID of the pod; empty without a pod.
    pub pod_uid: String,
    /// What identifies the container within its pod across restarts: its name, or its id.
    pub container: String,
    /// Number of the run.
    pub run: u32,
    /// The run, as the caller encodes it.
    pub bytes: Bytes,
}

/// The runs that an agent left for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The runs, in the order in which they were written.
    pub runs: Vec<SavedRun>,
    /// How many runs were left out because they are from an earlier boot or too old.
    pub stale: usize,
    /// How many runs were left out because their file is damaged, or because there are more than the limit allows.
    pub damaged: usize,
}

/// The first line of a file, as JSON.
#[derive(Serialize, Deserialize)]
struct Label {
    pod_uid: String,
    container: String,
    run: u32,
    bytes: u64,
    boot_id: String,
    /// Nanoseconds of CLOCK_BOOTTIME. The time of day is not used because it may jump.
    written: u64,
}

/// The files that this process has written.
#[derive(Debug, Default)]
pub(crate) struct Files {
    written: HashMap<(String, String, u32), Written>,
    /// The number of the next file; `None` before the first one, when files of others may be there.
    next: Option<u64>,
}

/// The file of a run.
#[derive(Debug)]
struct Written {
    number: u64,
    size: u64,
    /// What is in it, which tells the run from another one with its number.
    bytes: Bytes,
}

impl Files {
    /// Writes as many of the runs as fit into `limit` bytes, the first ones first, and removes the files of others.
    /// Returns how many were left out.
    pub(crate) fn keep(
        &mut self,
        directory: &Path,
        runs: &[SavedRun],
        boot_id: &str,
        limit: u64,
    ) -> Result<usize, SpoolError> {
        if self.next.is_none() {
            clear(directory)?;
        }
        files::create_private(directory).map_err(SpoolError::at("creating", directory))?;
        let next = self.next.get_or_insert(0);
        let mut before = std::mem::take(&mut self.written);
        let mut room = limit;
        let mut left_out = 0;
        for run in runs {
            let key = (run.pod_uid.clone(), run.container.clone(), run.run);
            let written = match before.remove(&key) {
                Some(written) if written.holds(run) && written.size <= room => Some(written),
                other => {
                    if let Some(other) = other {
                        other.remove(directory);
                    }
                    *next += 1;
                    write(directory, *next - 1, run, boot_id, room)
                }
            };
            match written {
                Some(written) => {
                    room -= written.size;
                    self.written.insert(key, written);
                }
                None => left_out += 1,
            }
        }
        for written in before.values() {
            written.remove(directory);
        }
        Ok(left_out)
    }
}

impl Written {
    fn holds(&self, run: &SavedRun) -> bool {
        let place = |bytes: &Bytes| (bytes.as_ptr(), bytes.len());
        place(&self.bytes) == place(&run.bytes)
    }

    fn remove(&self, directory: &Path) {
        let path = path(directory, self.number);
        if let Err(error) = files::remove(&path) {
            warn!(path = %path.display(), error = %chain(&error), "a run that is not kept any more cannot be removed");
        }
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.run"))
}

/// Writes the file of a run; `None` if there is no room for it, or if that fails.
fn write(
    directory: &Path,
    number: u64,
    run: &SavedRun,
    boot_id: &str,
    room: u64,
) -> Option<Written> {
    let SavedRun {
        pod_uid,
        container,
        run,
        bytes,
    } = run;
    let label = Label {
        pod_uid: pod_uid.clone(),
        container: container.clone(),
        run: *run,
        bytes: bytes.len() as u64,
        boot_id: boot_id.into(),
        written: clock::boottime(),
    };
    let mut line = serde_json::to_vec(&label).unwrap_or_default();
    line.push(b'\n');
    let size = (line.len() + bytes.len()) as u64;
    if size > room {
        return None;
    }
    let path = path(directory, number);
    match files::write_whole(&path, &[&line, bytes], false) {
        Ok(()) => Some(Written {
            number,
            size,
            bytes: bytes.clone(),
        }),
        Err(error) => {
            warn!(path = %path.display(), error = %chain(&error), "a run could not be kept for the next agent");
            None
        }
    }
}

/// Reads the runs, and deletes them.
pub(crate) fn take(
    directory: &Path,
    boot_id: &str,
    age: Duration,
    limit: u64,
) -> Result<Restored, SpoolError> {
    let mut restored = Restored::default();
    let mut room = limit;
    let now = clock::boottime();
    let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    for path in paths(directory)? {
        let left = fs::metadata(&path)
            .ok()
            .and_then(|metadata| room.checked_sub(metadata.len()));
        room = left.unwrap_or(room);
        match left.and_then(|_| read(&path)) {
            None => restored.damaged += 1,
            Some((label, _))
                if label.boot_id != boot_id || now.saturating_sub(label.written) > age =>
            {
                restored.stale += 1;
            }
            Some((
                Label {
                    pod_uid,
                    container,
                    run,
                    ..
                },
                bytes,
            )) => {
                restored.runs.push(SavedRun {
                    pod_uid,
                    container,
                    run,
                    bytes: bytes.into(),
                });
            }
        }
    }
    clear(directory)?;
    Ok(restored)
}

fn read(path: &Path) -> Option<(Label, Vec<u8>)> {
    let mut file = fs::read(path).ok()?;
    let end = file.iter().position(|byte| *byte == b'\n')?;
    let label: Label = serde_json::from_slice(&file[..end]).ok()?;
    file.drain(..=end);
    (file.len() as u64 == label.bytes).then_some((label, file))
}

/// The files of complete runs, in order.
fn paths(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let children = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        children => children.map_err(SpoolError::at("reading", directory))?,
    };
    let number = |path: &PathBuf| {
        path.file_name()?
            .to_str()?
            .strip_suffix(".run")?
            .parse::<u64>()
            .ok()
    };
    let mut paths: Vec<_> = children
        .filter_map(|child| Some(child.ok()?.path()))
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    paths.sort();
    Ok(paths.into_iter().map(|(_, path)| path).collect())
}

fn clear(directory: &Path) -> Result<(), SpoolError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(SpoolError::at("clearing", directory)(error))
        }
        _ => Ok(()),
    }
}
