//! In which cgroup hierarchy the node's containers can be told apart.
//!
//! A node with cgroup version 2 only has one hierarchy, the unified one. A hybrid node has one of version 2 beside
//! several of version 1. A container is in all hierarchies of version 1 that its runtime knows (its limits are set
//! there), but it is in the unified one only with runc 1.1 or newer, or with crun. So the places where the containers
//! are decide:
//!
//! 1. The hierarchy with the most containers wins. Of equal ones the unified one wins, then version 1 in the order
//!    memory, pids, cpu, others.
//! 2. Without any container: the unified one if it is the only one; otherwise the first of version 1, where every
//!    runtime puts its containers. The agent's own pod is a container, so this case is for agents that run outside of
//!    pods.
//!
//! Version 1 without a controller (`name=systemd`) is not considered: the kernel has no way from a task to its id
//! there.

mod mounts;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::path;
pub use mounts::{CgroupMount, cgroup_mounts};
use mounts::{Mount, mounts};

/// The hierarchy in which every container has its own cgroup. Ids of cgroups (inode numbers of their directories) and
/// paths belong to this hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2.
    #[default]
    Unified,
    /// Version 1.
    V1 {
        /// One controller of the hierarchy, by the kernel's name, as in /proc/cgroups: `memory`, `pids`, ….
        controller: String,
    },
}

/// The hierarchy of the node's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The hierarchy.
    pub hierarchy: Hierarchy,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// How many containers it has, including sandboxes.
    pub containers: usize,
}

/// Why there is no hierarchy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The list of mounts could not be read.
    #[error("{MOUNTINFO} cannot be read")]
    Mounts(#[source] io::Error),
    /// No hierarchy is mounted.
    #[error(
        "no cgroup hierarchy is mounted at or below {}: mount the node's /sys/fs/cgroup there, with what is mounted below it",
        .0.display()
    )]
    NoHierarchy(PathBuf),
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// How many directories of a hierarchy are read. A node with 250 pods has a thousand; a container with systemd inside
/// makes dozens.
const MAX_CGROUPS: usize = 100_000;

/// Finds the hierarchy of the node's containers among those mounted at or below `root`, usually `/sys/fs/cgroup`.
///
/// # Errors
///
/// If no hierarchy is mounted there.
pub fn detect(root: &Path) -> Result<Detected, DetectError> {
    let mountinfo = fs::read_to_string(MOUNTINFO).map_err(DetectError::Mounts)?;
    let mounts = mounts(&mountinfo, root);
    let look = || -> Vec<HashSet<String>> {
        (mounts.iter())
            .map(|mount| containers_in(&cgroups(&mount.path)))
            .collect()
    };
    let counts = lasting(&look(), &look());
    choose(mounts.into_iter().zip(counts).collect())
        .ok_or_else(|| DetectError::NoHierarchy(root.into()))
}

/// Chooses among hierarchies, each with the number of its containers.
fn choose(candidates: Vec<(Mount, usize)>) -> Option<Detected> {
    let anywhere = candidates.iter().any(|(_, containers)| *containers > 0);
    let preference = |(mount, containers): &(Mount, usize)| match &mount.hierarchy {
        Hierarchy::Unified if anywhere => (*containers, u8::MAX),
        Hierarchy::Unified => (0, 0),
        Hierarchy::V1 { controller } => (*containers, rank(controller)),
    };
    let (mount, containers) = candidates
        .into_iter()
        // if several are equal, the one that the kernel lists first
        .rev()
        .max_by_key(preference)?;
    Some(Detected {
        hierarchy: mount.hierarchy,
        mount: mount.path,
        containers,
    })
}

fn rank(controller: &str) -> u8 {
    match controller {
        "memory" => 4,
        "pids" => 3,
        "cpu" => 2,
        _ => 1,
    }
}

/// How many containers each hierarchy has, after all of them were read twice. A container that came or went in between
/// does not count: only those hierarchies would have it that were read at the right moment.
fn lasting(first: &[HashSet<String>], second: &[HashSet<String>]) -> Vec<usize> {
    let before: HashSet<_> = first.iter().flatten().collect();
    let after: HashSet<_> = second.iter().flatten().collect();
    (first.iter().zip(second))
        .map(|(first, second)| {
            (first.union(second))
                .filter(|id| before.contains(id) && after.contains(id))
                .count()
        })
        .collect()
}

/// The containers that these cgroups belong to.
fn containers_in(cgroups: &[String]) -> HashSet<String> {
    (cgroups.iter())
        .filter_map(|cgroup| Some(path::parse(cgroup)?.container))
        .collect()
}

/// All cgroups of a hierarchy, as paths in it. A cgroup that disappears meanwhile is left out.
fn cgroups(mount: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![mount.to_owned()];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && found.len() < MAX_CGROUPS {
                let path = entry.path();
                if let Some(path) = path.strip_prefix(mount).ok().and_then(Path::to_str) {
                    found.push(format!("/{path}"));
                }
                waiting.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
