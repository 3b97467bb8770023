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

/// The mounts of cgroups, by the text of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
pub fn cgroup_mounts(mountinfo: &str) -> impl Iterator<Item = CgroupMount<'_>> {
    mountinfo.lines().filter_map(cgroup_mount)
}

fn cgroup_mount(line: &str) -> Option<CgroupMount<'_>> {
    // 33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
    let (front, back) = line.split_once(" - ")?;
    let path = front.split(' ').nth(4)?;
    let mut back = back.split(' ');
    let options = match back.next()? {
        "cgroup2" => None,
        "cgroup" => Some(back.nth(1)?),
        _ => return None,
    };
    Some(CgroupMount {
        path: unescaped(path).into(),
        options,
    })
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
