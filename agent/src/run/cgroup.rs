//! The cgroup of a run: made, entered, emptied, removed. cgroup v2 only, wherever it is mounted (cgroups(7)).

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{
    cgroupfs::{Mounts, below},
    figures, logging,
};

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
        figures::memory_limit(Some(&self.path), version_1_memory().as_deref())
    }

    /// OOM kills that the cgroup has counted.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        figures::oom_kills(&self.path)
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
            logging::say(format_args!(
                "cannot remove the cgroup {}: {error}",
                self.path.display()
            ));
        }
    }
}

/// This process's directory in the memory hierarchy of version 1.
fn version_1_memory() -> Option<PathBuf> {
    let mounts = Mounts::read().ok()?;
    let cgroups = fs::read_to_string(OWN_CGROUPS).ok()?;
    let path = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|controller| controller == "memory")
            .then_some(path)
    })?;
    Some(below(mounts.controller("memory")?, path))
}

const OWN_CGROUPS: &str = "/proc/self/cgroup";

/// This process's own cgroup (v2), below which the runs' are made: so the limits that hold for it hold for them.
pub(super) fn own() -> anyhow::Result<PathBuf> {
    let unreadable = "cannot read which cgroup this process is in";
    let mounts = Mounts::read().context(unreadable)?;
    let cgroups = fs::read_to_string(OWN_CGROUPS).context(unreadable)?;
    let Some(mount) = mounts.unified() else {
        bail!(
            "cgroup v2 is not mounted, and lastword tells a command's processes from others by their cgroup; mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified` (the directory may have to be made first)"
        );
    };
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let path = below(mount, path);
    // In a container that sees the host's mount the path may not exist; the mount's root always does.
    Ok(if path.is_dir() {
        path
    } else {
        mount.to_owned()
    })
}
