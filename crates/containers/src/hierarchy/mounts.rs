//! The cgroup hierarchies among the mounts of a process.

use std::path::{Path, PathBuf};

use super::Hierarchy;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The mount point.
    pub(super) path: PathBuf,
    /// The hierarchy.
    pub(super) hierarchy: Hierarchy,
}

/// A mount of a cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount<'a> {
    /// The mount point.
    pub path: PathBuf,
    /// For version 1: the mount options, which name the controllers.
    pub options: Option<&'a str>,
}

/// The mounts of cgroup hierarchies that a path can reach, from the text of `/proc/PID/mountinfo`
/// (proc_pid_mountinfo(5)). A mount that another mount covers is left out.
pub fn cgroup_mounts(mountinfo: &str) -> impl Iterator<Item = CgroupMount<'_>> {
    let all: Vec<Line<'_>> = mountinfo.lines().filter_map(Line::parse).collect();
    let cgroups = |index: usize| (!is_covered(index, &all)).then(|| all[index].cgroups())?;
    let found: Vec<_> = (0..all.len()).filter_map(cgroups).collect();
    found.into_iter()
}

/// What a line says about a mount.
struct Line<'a> {
    id: u64,
    /// The mount that contains the mount point.
    parent: u64,
    path: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // 33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
        let (front, back) = line.split_once(" - ")?;
        let (mut front, mut back) = (front.split(' '), back.split(' '));
        Some(Self {
            id: front.next()?.parse().ok()?,
            parent: front.next()?.parse().ok()?,
            path: unescaped(front.nth(2)?).into(),
            kind: back.next()?,
            options: back.nth(1).unwrap_or_default(),
        })
    }

    fn cgroups(&self) -> Option<CgroupMount<'a>> {
        let options = match self.kind {
            "cgroup2" => None,
            "cgroup" => Some(self.options),
            _ => return None,
        };
        Some(CgroupMount {
            path: self.path.clone(),
            options,
        })
    }
}

/// Whether a mount cannot be reached by its path, because another one is mounted over it: at the same place, or at a
/// folder on its path.
fn is_covered(index: usize, all: &[Line<'_>]) -> bool {
    let mount = &all[index];
    let on = |id: u64| (all.iter()).filter(move |other| other.parent == id && other.id != id);
    if on(mount.id).any(|other| other.path == mount.path) {
        return true;
    }
    let mut child = mount;
    // No path passes more mounts than exist.
    for _ in all {
        let crosses =
            |other: &Line<'_>| other.path != child.path && child.path.starts_with(&other.path);
        if child.parent != child.id && on(child.parent).any(crosses) {
            return true;
        }
        match all.iter().find(|other| other.id == child.parent) {
            Some(parent) if parent.id != child.id => child = parent,
            _ => break,
        }
    }
    false
}

/// The hierarchies that are mounted at or below `root`.
pub(super) fn mounts(mountinfo: &str, root: &Path) -> Vec<Mount> {
    cgroup_mounts(mountinfo)
        .filter(|mount| mount.path.starts_with(root))
        .filter_map(|CgroupMount { path, options }| {
            let hierarchy = match options {
                None => Hierarchy::Unified,
                Some(options) => Hierarchy::V1 {
                    controller: controller(options)?.into(),
                },
            };
            Some(Mount { path, hierarchy })
        })
        .collect()
}

/// The controllers of version 1 that the kernel has:
/// <https://github.com/torvalds/linux/blob/master/include/linux/cgroup_subsys.h>.
const CONTROLLERS: [&str; 14] = [
    "memory",
    "pids",
    "cpu",
    "cpuacct",
    "cpuset",
    "blkio",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "rdma",
    "misc",
];

/// The controller that a hierarchy's mount options name. If there are several, the one that is first in `CONTROLLERS`.
fn controller(options: &str) -> Option<&'static str> {
    (CONTROLLERS.into_iter()).find(|controller| options.split(',').any(|one| one == *controller))
}

/// Replaces the three octal digits that stand for a space, tab, newline or backslash.
fn unescaped(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let path = (escapes.iter()).fold(path.to_owned(), |path, (from, to)| path.replace(from, to));
    path.replace("\\134", "\\")
}
