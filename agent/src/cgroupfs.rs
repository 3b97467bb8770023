//! Where cgroup file systems are mounted, and how their files are read (cgroups(7)).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use containers::hierarchy::{CgroupMount, cgroup_mounts};

/// Mount points of cgroup hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The mount point of version 2.
    unified: Option<PathBuf>,
    /// The controllers of version 1, each with its mount point.
    controllers: Vec<(String, PathBuf)>,
}

impl Mounts {
    /// Reads the mount points of this process from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Parses the text of such a file. If one hierarchy is mounted several times, a mount in the usual place counts,
    /// else the first.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut all: Vec<CgroupMount> = cgroup_mounts(mountinfo).collect();
        all.sort_by_key(|mount| !mount.path.starts_with("/sys/fs/cgroup"));
        let mut mounts = Self::default();
        for CgroupMount { path, options } in all {
            match options {
                None => mounts.unified = mounts.unified.or(Some(path)),
                Some(options) => mounts
                    .controllers
                    .extend(options.split(',').map(|name| (name.into(), path.clone()))),
            }
        }
        mounts
    }

    /// Where version 2 is mounted.
    #[must_use]
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Where the version 1 hierarchy with this controller is mounted.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&Path> {
        let mut found = self.controllers.iter().filter(|(own, _)| own == name);
        found.next().map(|(_, point)| point.as_path())
    }
}

/// The directory of a cgroup by its path in its hierarchy.
pub(crate) fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// The number that a file holds; `None` for `max` and for files that do not exist.
pub(crate) fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number after a name in a file of lines `NAME NUMBER`.
pub(crate) fn keyed(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn finds_both_versions_in_a_hybrid_layout() {
        let mounts = Mounts::parse(HYBRID);
        assert_eq!(mounts.unified(), Some(Path::new("/sys/fs/cgroup/uni fied")));
        for controller in ["cpu", "cpuacct"] {
            let expected = Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"));
            assert_eq!(mounts.controller(controller), expected);
        }
        assert_eq!(mounts.controller("pids"), None);
    }

    #[test]
    fn the_usual_place_comes_before_others() {
        let mounts = Mounts::parse(
            "50 40 0:27 / /run/other rw - cgroup2 cgroup rw\n\
             61 40 0:27 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        );
        assert_eq!(mounts.unified(), Some(Path::new("/sys/fs/cgroup")));
    }
}
