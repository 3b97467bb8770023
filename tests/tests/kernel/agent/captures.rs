//! The captures in a node's spool.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use capture_format::{Event, Header, Run};
use libtest_mimic::Failed;
use serde_json::Value;

use super::{
    container::Container,
    node::{Node, until},
};
use crate::support::read;

/// A capture that was read completely.
pub(crate) struct Capture {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) runs: Vec<(Run, Vec<Event>)>,
}

impl Capture {
    /// `None` if the file was replaced meanwhile.
    fn open(path: PathBuf) -> Result<Option<Self>, Failed> {
        if !path.exists() {
            return Ok(None);
        }
        // The file is opened once: it may be replaced at any moment, and the header must belong to the runs.
        let (header, runs) = read(&path)?;
        Ok(Some(Self { path, header, runs }))
    }

    /// The numbers of its runs.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.runs.iter().map(|(run, _)| run.number).collect()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.runs.iter().flat_map(|(_, events)| events)
    }

    pub(super) fn has(&self, fits: impl Fn(&Event) -> bool) -> bool {
        self.events().any(fits)
    }

    pub(super) fn sidecar_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// Its sidecar, once that is about this capture and not about the one that it replaced.
    pub(super) fn sidecar(&self) -> Result<Value, Failed> {
        let path = self.sidecar_path();
        let numbers = serde_json::json!(self.numbers());
        until("the sidecar", || {
            let sidecar: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (sidecar["runs"] == numbers).then_some(sidecar)
        })
    }
}

impl Node {
    /// Files of the spool: captures, sidecars, and files that are being written.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let inside = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let folders = inside(&self.spool().join("captures"));
        folders.iter().flat_map(|path| inside(path)).collect()
    }

    /// All captures of a container, oldest first. The machine may have other containers, which crash, too.
    pub(super) fn captures(&self, container: &Container) -> Result<Vec<Capture>, Failed> {
        let mut found = Vec::new();
        for path in self.files() {
            if path.extension().is_some_and(|it| it == "lwcap")
                && let Some(capture) = Capture::open(path)?
                && capture.header.container.id == container.id
            {
                found.push(capture);
            }
        }
        found.sort_by_key(|capture| capture.header.created);
        Ok(found)
    }

    /// Waits until a container's only capture contains these runs.
    pub(super) fn captured(&self, container: &Container, runs: &[u32]) -> Result<Capture, Failed> {
        let found = until("a capture", || match self.captures(container) {
            Ok(mut captures) => {
                let last = captures.pop()?;
                assert!(captures.is_empty(), "two captures");
                (last.numbers() == runs).then_some(Ok(last))
            }
            Err(error) => Some(Err(error)),
        });
        found.map_err(|error| format!("{error:?}: no capture with {runs:?}\n{}", self.log()))?
    }

    /// Waits until everything that has happened so far was judged: another container's crash is captured, and then one
    /// more, because captures are written concurrently.
    pub(super) fn judged(&self) -> Result<(), Failed> {
        for _ in 0..2 {
            let other = Container::on(self);
            other.crash("/missing/marker")?;
            self.captured(&other, &[1])?;
        }
        Ok(())
    }
}

/// Permissions of a file.
pub(super) fn mode(path: &Path) -> Result<u32, Failed> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}
