//! The cgroup hierarchies among the mounts of a process.

use std::path::{Path, PathBuf};

use super::Hierarchy;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where.
    pub(super) path: PathBuf,
    /// Which one.
    pub(super) hierarchy: Hierarchy,
}

/// A mount of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount<'a> {
    /// Where.
    pub path: PathBuf,
    /// Of version 1: its options, with the controllers among them.
    pub options: Option<&'a str>,
}

/// The mounts of cgroups that a path leads to, by the text of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). Those that another mount
/// covers are left out.
pub fn cgroup_mounts(mountinfo: &str) -> impl Iterator<Item = CgroupMount<'_>> {
    let all: Vec<Line<'_>> = mountinfo.lines().filter_map(Line::parse).collect();
    let cgroups = |index: usize| (!is_covered(index, &all)).then(|| all[index].cgroups())?;
    let found: Vec<_> = (0..all.len()).filter_map(cgroups).collect();
    found.into_iter()
}

/// What a line tells of a mount.
struct Line<'a> {
    id: u64,
    /// The mount that it is on.
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

/// Whether the path of a mount leads to another one: on it lies one at the same place, or one lies across its way from the top.
fn is_covered(index: usize, all: &[Line<'_>]) -> bool {
    let mount = &all[index];
    let on = |id: u64| (all.iter()).filter(move |other| other.parent == id && other.id != id);
    if on(mount.id).any(|other| other.path == mount.path) {
        return true;
    }
    let mut child = mount;
    // No way is longer than there are mounts.
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

/// What the kernel has as controllers of version 1:
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

/// The controller of a hierarchy by its mount options; of several the first in the order above.
fn controller(options: &str) -> Option<&'static str> {
    (CONTROLLERS.into_iter()).find(|controller| options.split(',').any(|one| one == *controller))
}

/// Spaces, tabs, newlines and backslashes stand as three octal digits.
fn unescaped(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let path = (escapes.iter()).fold(path.to_owned(), |path, (from, to)| path.replace(from, to));
    path.replace("\\134", "\\")
}
