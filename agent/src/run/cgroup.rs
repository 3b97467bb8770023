//! The cgroup of a run: made, entered, emptied, removed. cgroup v2 only, wherever it is mounted (cgroups(7)).

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

/// A cgroup that is removed when it is dropped, with every process in it.
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup `name` below `parent`.
    pub(super) fn make(parent: &Path, name: &str) -> anyhow::Result<Self> {
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| {
            format!(
                "cannot make the cgroup {}: run lastword as root (`sudo lastword …`), or give the program CAP_DAC_OVERRIDE too, \
                 as cgroups belong to root",
                path.display()
            )
        })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroup's id: the inode number of its directory.
    pub(super) fn id(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// Kills every process in it, and waits until they are gone.
    pub(super) fn empty(&self) -> io::Result<()> {
        for _ in 0..500 {
            if !self.populated()? {
                return Ok(());
            }
            // cgroup.kill is there since Linux 5.14, so on every kernel that can record.
            fs::write(self.path.join("cgroup.kill"), "1")?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!(
            "processes in {} do not die",
            self.path.display()
        )))
    }

    /// Whether there is a process in it or below.
    fn populated(&self) -> io::Result<bool> {
        Ok(fs::read_to_string(self.path.join("cgroup.events"))?
            .lines()
            .any(|line| line == "populated 1"))
    }

    /// The least memory limit from here up, in bytes: of this hierarchy, or of version 1's where that has the memory controller.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        let own = limits_upwards(&self.path, "memory.max");
        let first =
            version_1_memory().and_then(|path| limits_upwards(&path, "memory.limit_in_bytes"));
        own.into_iter().chain(first).min()
    }

    /// OOM kills that the cgroup has counted.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    }

    fn remove(&self) -> io::Result<()> {
        self.empty()?;
        let mut inner = vec![self.path.clone()];
        // Children before parents: what the command made below its own cgroup goes too.
        let mut all = Vec::new();
        while let Some(path) = inner.pop() {
            for entry in fs::read_dir(&path)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    inner.push(entry.path());
                }
            }
            all.push(path);
        }
        all.iter().rev().try_for_each(fs::remove_dir)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!(
                "lastword: cannot remove the cgroup {}: {error}",
                self.path.display()
            );
        }
    }
}

/// The least limit that a directory and those above it set.
fn limits_upwards(path: &Path, file: &str) -> Option<u64> {
    /// Version 1 shows no limit as the largest multiple of the page size.
    const UNLIMITED: u64 = 1 << 62;
    path.ancestors()
        .filter_map(|directory| {
            fs::read_to_string(directory.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

/// This process's directory in the memory hierarchy of version 1.
fn version_1_memory() -> Option<PathBuf> {
    let (cgroups, mounts) = own_cgroups_and_mounts().ok()?;
    let mount = mount_point(&mounts, |kind, options| {
        kind == "cgroup" && options.split(',').any(|option| option == "memory")
    })?;
    let path = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|controller| controller == "memory")
            .then(|| path.to_owned())
    })?;
    Some(below(&mount, &path))
}

/// This process's own cgroup (v2), below which the runs' are made: so the limits that hold for it hold for them.
pub(super) fn own() -> anyhow::Result<PathBuf> {
    let (cgroups, mounts) =
        own_cgroups_and_mounts().context("cannot read which cgroup this process is in")?;
    let Some(mount) = mount_point(&mounts, |kind, _| kind == "cgroup2") else {
        bail!(
            "cgroup v2 is not mounted, and lastword tells a command's processes from others by their cgroup; mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified` (the directory may have to be made first)"
        );
    };
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let path = below(&mount, path);
    // In a container that sees the host's mount the path may not exist; the mount's root always does.
    Ok(if path.is_dir() { path } else { mount })
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn own_cgroups_and_mounts() -> io::Result<(String, String)> {
    Ok((
        fs::read_to_string("/proc/self/cgroup")?,
        fs::read_to_string("/proc/self/mounts")?,
    ))
}

/// The first mount point (/proc/self/mounts) whose type and options fit.
fn mount_point(mounts: &str, fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind, options) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        fits(kind, options).then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n";

    #[test]
    fn finds_both_versions_in_a_hybrid_layout() {
        assert_eq!(
            mount_point(HYBRID, |kind, _| kind == "cgroup2"),
            Some("/sys/fs/cgroup/unified".into())
        );
        let memory = mount_point(HYBRID, |kind, options| {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        });
        assert_eq!(memory, Some("/sys/fs/cgroup/memory".into()));
    }

    #[test]
    fn the_least_limit_upwards_counts() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(top.path().join("memory.max"), "max\n").unwrap();
        fs::write(top.path().join("a/memory.max"), "1000\n").unwrap();
        fs::write(inner.join("memory.max"), "2000\n").unwrap();
        assert_eq!(limits_upwards(&inner, "memory.max"), Some(1000));
        assert_eq!(limits_upwards(&inner, "memory.limit_in_bytes"), None);
    }
}
