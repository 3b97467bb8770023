//! Kept runs that outlive the agent: it writes each of them down when it keeps it, and the next agent reads them. So
//! they survive an agent that is killed, at whatever moment: a file is only removed when its run is not kept any more.
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

impl SavedRun {
    fn key(&self) -> (String, String, u32) {
        (self.pod_uid.clone(), self.container.clone(), self.run)
    }
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

/// The files of the runs that this process keeps: those that it has written, and those that it has read.
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
            let key = run.key();
            let written = match before.remove(&key) {
                Some(written) if written.holds(run) && written.size <= room => Some(written),
                other => {
                    *next += 1;
                    let written = write(directory, *next - 1, run, boot_id, room);
                    // Not before: an agent that is killed here leaves one of both.
                    if let Some(other) = other {
                        other.remove(directory);
                    }
                    written
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

/// Reads the runs. Their files stay until other runs are kept; those that are left out are removed.
pub(crate) fn take(
    directory: &Path,
    boot_id: &str,
    age: Duration,
    limit: u64,
) -> Result<(Restored, Files), SpoolError> {
    let mut restored = Restored::default();
    let mut files = Files::default();
    let mut room = limit;
    let now = clock::boottime();
    let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    for (number, path) in paths(directory)? {
        files.next = Some(number.saturating_add(1));
        let left = fs::metadata(&path)
            .ok()
            .and_then(|metadata| room.checked_sub(metadata.len()));
        room = left.unwrap_or(room);
        let kept = match left.and_then(|_| read(&path)) {
            None => {
                restored.damaged += 1;
                None
            }
            Some((label, _))
                if label.boot_id != boot_id || now.saturating_sub(label.written) > age =>
            {
                restored.stale += 1;
                None
            }
            Some((
                Label {
                    pod_uid,
                    container,
                    run,
                    ..
                },
                bytes,
            )) => Some(SavedRun {
                pod_uid,
                container,
                run,
                bytes: bytes.into(),
            }),
        };
        // Of two files of one run, the other one was written by an agent that was killed before it could remove it.
        match kept {
            Some(run) if !files.written.contains_key(&run.key()) => {
                let written = Written {
                    number,
                    size: fs::metadata(&path).map_or(0, |metadata| metadata.len()),
                    bytes: run.bytes.clone(),
                };
                files.written.insert(run.key(), written);
                restored.runs.push(run);
            }
            _ => files::remove(&path).map_err(SpoolError::at("removing", &path))?,
        }
    }
    Ok((restored, files))
}

fn read(path: &Path) -> Option<(Label, Vec<u8>)> {
    let mut file = fs::read(path).ok()?;
    let end = file.iter().position(|byte| *byte == b'\n')?;
    let label: Label = serde_json::from_slice(&file[..end]).ok()?;
    file.drain(..=end);
    (file.len() as u64 == label.bytes).then_some((label, file))
}

/// The files of complete runs with their numbers, in order. Half ones are removed.
fn paths(directory: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let children = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        children => children.map_err(SpoolError::at("reading", directory))?,
    };
    let mut paths = Vec::new();
    for child in children.flatten() {
        let (name, path) = (child.file_name(), child.path());
        let name = name.to_string_lossy();
        if files::is_half(&name) {
            files::remove(&path).map_err(SpoolError::at("removing", &path))?;
        } else if let Some(Ok(number)) = name.strip_suffix(".run").map(str::parse) {
            paths.push((number, path));
        }
    }
    paths.sort();
    Ok(paths)
}

fn clear(directory: &Path) -> Result<(), SpoolError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(SpoolError::at("clearing", directory)(error))
        }
        _ => Ok(()),
    }
}
