//! Kept runs that outlive a graceful stop of the agent: the stopping agent writes them, the next one reads and deletes
//! them.
//!
//! Each run is a file: a line of JSON that says whose run it is, then the bytes. The files are not synced: after a
//! crash of the node they are worthless anyway, because its boot id is another one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capture_format::chain;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{SpoolError, clock, files};

/// A run that an agent kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedRun {
    /// UID of the pod; empty without a pod.
    pub pod_uid: String,
    /// What identifies the container within its pod across restarts: its name, or its id.
    pub container: String,
    /// Number of the run.
    pub run: u32,
    /// The run, as the caller encodes it.
    pub bytes: Vec<u8>,
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

/// Writes as many of the runs as fit into `limit` bytes, the first ones first. Returns how many were left out.
pub(crate) fn write(
    directory: &Path,
    runs: &[SavedRun],
    boot_id: &str,
    limit: u64,
) -> Result<usize, SpoolError> {
    clear(directory)?;
    files::create_private(directory).map_err(SpoolError::at("creating", directory))?;
    let written = clock::boottime();
    let mut room = limit;
    let mut left_out = 0;
    for (number, run) in runs.iter().enumerate() {
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
            written,
        };
        let mut line = serde_json::to_vec(&label).unwrap_or_default();
        line.push(b'\n');
        let size = (line.len() + bytes.len()) as u64;
        let path = directory.join(format!("{number}.run"));
        if size > room {
            left_out += 1;
        } else if let Err(error) = files::write_whole(&path, &[&line, bytes], false) {
            warn!(path = %path.display(), error = %chain(&error), "a run could not be kept for the next agent");
            left_out += 1;
        } else {
            room -= size;
        }
    }
    Ok(left_out)
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
                    bytes,
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
