//! What is in a spool's directory.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use capture_format::{Header, Run, WallTime, chain, open_file};
use tracing::warn;

use crate::entry::wall_time;
use crate::{Entry, Info, SpoolError, State, checksum, files};

/// What an agent found when it opened its spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many files were removed that were still being written when an agent was killed.
    pub halves: usize,
    /// How many captures had no usable sidecar. It was made anew, without verdict and rank. Of the state, only
    /// what concerns its Capture object is kept if the sidecar can be read.
    pub rebuilt: usize,
    /// How many sidecars were removed because their capture is neither here nor in a store.
    pub orphans: usize,
}

/// The captures of a spool, the oldest first. An agent may be using the spool. Nothing is changed.
///
/// # Errors
/// When a directory cannot be read.
pub fn list(directory: &Path) -> Result<Vec<Entry>, SpoolError> {
    let mut entries: Vec<_> = scan(&captures(directory))?.entries.into_values().collect();
    entries.sort_by_key(Entry::order);
    Ok(entries)
}

/// The path of a capture's file in a spool, by its [`Entry::id`], whether or not it exists.
#[must_use]
pub fn path(directory: &Path, id: &str) -> PathBuf {
    captures(directory).join(format!("{id}.lwcap"))
}

/// A capture of a spool, by its id, as its sidecar describes it. An agent may be using the spool.
///
/// # Errors
/// If there is no such sidecar, or none that can be read.
pub fn read(directory: &Path, id: &str) -> io::Result<Entry> {
    let entry = Entry::load(&path(directory, id).with_extension("json"))?;
    Ok(Entry {
        id: id.to_owned(),
        ..entry
    })
}

/// The directory in which a spool has its captures.
pub(crate) fn captures(directory: &Path) -> PathBuf {
    directory.join("captures")
}

#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Ids of the entries that were made anew.
    pub(crate) rebuilt: Vec<String>,
    pub(crate) halves: Vec<PathBuf>,
    pub(crate) orphans: Vec<PathBuf>,
    /// The directories of namespaces.
    pub(crate) directories: Vec<PathBuf>,
}

/// Looks at all files in the directories of namespaces. Does not follow links.
pub(crate) fn scan(root: &Path) -> Result<Scan, SpoolError> {
    let mut scan = Scan::default();
    for (directory, kind) in children(root)? {
        if kind.is_dir() {
            scan.directory(root, &directory)?;
            scan.directories.push(directory);
        }
    }
    Ok(scan)
}

impl Scan {
    fn directory(&mut self, root: &Path, directory: &Path) -> Result<(), SpoolError> {
        let mut sidecars = Vec::new();
        for (path, kind) in children(directory)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !kind.is_file() {
                continue;
            }
            if files::is_half(name) {
                self.halves.push(path);
            } else if let Some(stem) = name.strip_suffix(".lwcap") {
                if let Some(id) = id(root, directory, stem) {
                    self.capture(id, &path);
                }
            } else if name.ends_with(".json") {
                sidecars.push(path);
            }
        }
        for path in sidecars {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(|stem| id(root, directory, stem)) else {
                continue;
            };
            if self.entries.contains_key(&id) {
                continue;
            }
            match Entry::load(&path) {
                Ok(entry) if entry.is_uploaded() => {
                    let entry = Entry {
                        id: id.clone(),
                        present: false,
                        ..entry
                    };
                    self.entries.insert(id, entry);
                }
                _ => self.orphans.push(path),
            }
        }
        Ok(())
    }

    fn capture(&mut self, id: String, path: &Path) {
        let bytes = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) => {
                warn!(path = %path.display(), error = %chain(&error), "a capture cannot be looked at");
                return;
            }
        };
        let entry = match Entry::load(&path.with_extension("json")) {
            Ok(entry) if entry.info.bytes == bytes && !entry.info.sha256.is_empty() => entry,
            sidecar => {
                self.rebuilt.push(id.clone());
                Entry {
                    info: describe(&id, path),
                    // The state belongs to the name, whichever capture of that name the sidecar described.
                    state: sidecar.map_or_else(
                        |_| State::default(),
                        |entry| State {
                            exists: entry.state.exists,
                            object: entry.state.object,
                            similar: entry.state.similar,
                            recurred: entry.state.recurred,
                            ..State::default()
                        },
                    ),
                    ..Entry::default()
                }
            }
        };
        self.entries.insert(
            id.clone(),
            Entry {
                id,
                present: true,
                ..entry
            },
        );
    }
}

/// Entries of a directory. A directory that disappeared meanwhile has none.
fn children(directory: &Path) -> Result<Vec<(PathBuf, FileType)>, SpoolError> {
    let read = || -> io::Result<Vec<_>> {
        fs::read_dir(directory)?
            .map(|child| child.and_then(|child| Ok((child.path(), child.file_type()?))))
            .collect()
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(SpoolError::at("reading", directory)),
    }
}

fn id(root: &Path, directory: &Path, stem: &str) -> Option<String> {
    let directory = directory.strip_prefix(root).ok()?.to_str()?;
    Some(format!("{directory}/{stem}"))
}

/// The description of a capture, from its file. A capture that cannot be read is still evidence: its place gives its
/// namespace.
pub(crate) fn describe(id: &str, path: &Path) -> Info {
    let metadata = fs::metadata(path);
    let (header, runs) = match open_file(path) {
        Ok(reader) => (reader.header().clone(), reader.runs().to_vec()),
        Err(error) => {
            warn!(error = %chain(&error), "a capture of the spool cannot be read");
            (Header::default(), Vec::new())
        }
    };
    let mut info = of_runs(&header, &runs);
    info.name = id.rsplit('/').next().unwrap_or_default().to_owned();
    info.bytes = metadata.as_ref().map_or(0, fs::Metadata::len);
    info.sha256 = checksum::of_file(path).unwrap_or_default();
    if header == Header::default() {
        info.namespace = id.split('/').next().unwrap_or_default().to_owned();
        let modified = metadata.and_then(|metadata| metadata.modified());
        info.created = modified.map_or(WallTime::default(), wall_time);
    }
    info
}

/// The description, as far as header and runs give it.
pub(crate) fn of_runs(header: &Header, runs: &[Run]) -> Info {
    let ended = |run: &Run| header.host.wall_time(run.end?);
    Info {
        runs: runs.iter().map(|run| run.number).collect(),
        ended: runs.last().and_then(ended),
        losses: runs.iter().map(|run| run.losses).sum(),
        ..of_header(header)
    }
}

/// The description, as far as the header gives it.
pub(crate) fn of_header(header: &Header) -> Info {
    let pod = header.pod.clone().unwrap_or_default();
    Info {
        namespace: pod.namespace,
        pod: pod.name,
        pod_uid: pod.uid,
        container: header.container.name.clone(),
        container_kind: header.container.kind.clone(),
        container_id: header.container.id.clone(),
        node: header.host.name.clone(),
        trigger: header.trigger.clone(),
        created: header.created,
        ..Info::default()
    }
}
