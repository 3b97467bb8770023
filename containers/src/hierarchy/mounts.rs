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

/// The hierarchies that are mounted at or below `root`, by the text of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
pub(super) fn mounts(mountinfo: &str, root: &Path) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(mount)
        .filter(|mount| mount.path.starts_with(root))
        .collect()
}

fn mount(line: &str) -> Option<Mount> {
    // 33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
    let (front, back) = line.split_once(" - ")?;
    let path = front.split(' ').nth(4)?;
    let mut back = back.split(' ');
    let hierarchy = match back.next()? {
        "cgroup2" => Hierarchy::Unified,
        "cgroup" => Hierarchy::V1 {
            controller: controller(back.nth(1)?)?.into(),
        },
        _ => return None,
    };
    Some(Mount {
        path: unescaped(path).into(),
        hierarchy,
    })
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
