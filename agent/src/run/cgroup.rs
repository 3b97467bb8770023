//! The cgroup of a run: created, entered, emptied, removed. It is in cgroup v2, wherever that is mounted (cgroups(7)).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use capture_format::CgroupId;

use crate::{
    cgroupfs::{Mounts, below},
    figures, logging,
};

/// Prefix of the names of all cgroups that lastword makes. The process id of lastword and the number of the run follow.
const PREFIX: &str = "lastword-run-";

/// Prefix of the names of this process's cgroups. It keeps two `lastword run` at the same time from recording each
/// other's cgroups.
pub(super) fn prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}

/// A cgroup. When it is dropped, it is removed with every process in it.
pub(super) struct Cgroup {
    path: PathBuf,
    /// The lock is held while this process lives.
    _lock: Option<File>,
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
        // If the lock is refused, only the process id says to whom the cgroup belongs.
        let lock = File::open(&path)
            .ok()
            .filter(|file| file.try_lock().is_ok());
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroup's id: the inode number of its directory.
    pub(super) fn id(&self) -> io::Result<CgroupId> {
        Ok(CgroupId(fs::metadata(&self.path)?.ino()))
    }

    /// Kills every process in the cgroup, and waits until they are gone.
    pub(super) fn empty(&self) -> io::Result<()> {
        for _ in 0..500 {
            if !self.populated()? {
                return Ok(());
            }
            // Every kernel that can record has cgroup.kill, which exists since Linux 5.14.
            fs::write(self.path.join("cgroup.kill"), "1")?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!(
            "processes in {} do not die",
            self.path.display()
        )))
    }

    /// Whether there is a process in the cgroup or below it.
    fn populated(&self) -> io::Result<bool> {
        is_populated(&self.path)
    }

    /// The lowest memory limit of this cgroup and those above it, in bytes: in this hierarchy, or in version 1 if that
    /// has the memory controller.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        figures::memory_limit(Some(&self.path), version_1_memory().as_deref())
    }

    /// How many OOM kills the cgroup has counted.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        figures::oom_kills(&self.path)
    }

    fn remove(&self) -> io::Result<()> {
        self.empty()?;
        remove_empty(&self.path)
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

fn is_populated(cgroup: &Path) -> io::Result<bool> {
    let events = fs::read_to_string(cgroup.join("cgroup.events"))?;
    Ok(events.lines().any(|line| line == "populated 1"))
}

/// Removes a cgroup without processes; the cgroups below it are removed first.
fn remove_empty(cgroup: &Path) -> io::Result<()> {
    below_of(cgroup).iter().rev().try_for_each(fs::remove_dir)
}

/// A cgroup and all cgroups below it, each after its parent. A directory that cannot be read counts as empty.
fn below_of(cgroup: &Path) -> Vec<PathBuf> {
    let (mut inner, mut all) = (vec![cgroup.to_owned()], Vec::new());
    while let Some(path) = inner.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                inner.push(entry.path());
            }
        }
        all.push(path);
    }
    all
}

/// Removes the cgroups of `lastword run` processes that were killed, anywhere in the hierarchy. A cgroup with remaining
/// processes stays, because somebody may need those; such cgroups are returned.
pub(super) fn sweep() -> Vec<PathBuf> {
    let mounts = Mounts::read().unwrap_or_default();
    let Some(mount) = mounts.unified() else {
        return Vec::new();
    };
    let mut populated = Vec::new();
    for cgroup in below_of(mount)
        .into_iter()
        .filter(|path| is_abandoned(path))
    {
        match is_populated(&cgroup) {
            Ok(true) => populated.push(cgroup),
            // Another process that cleans up at the same time may have been faster.
            _ => drop(remove_empty(&cgroup)),
        }
    }
    populated
}

/// Whether the lastword that made this cgroup is gone: no process has its id, and nobody holds the lock. The lock also
/// shows a lastword in another pid namespace.
fn is_abandoned(cgroup: &Path) -> bool {
    let name = cgroup.file_name().and_then(OsStr::to_str);
    let Some(maker) = name.and_then(maker) else {
        return false;
    };
    let is_gone = !Path::new("/proc").join(maker.to_string()).exists();
    is_gone && File::open(cgroup).is_ok_and(|file| file.try_lock().is_ok())
}

/// Process id of the lastword that made a cgroup with this name; `None` if lastword did not make it.
fn maker(name: &str) -> Option<u32> {
    let (maker, run) = name.strip_prefix(PREFIX)?.split_once('-')?;
    run.parse::<u32>().ok()?;
    maker.parse().ok()
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

/// This process's own cgroup (v2). The cgroups of runs are made below it, so its limits also apply to them.
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
    // In a container that sees the host's mount, the path may not exist. The mount's root always exists.
    Ok(if path.is_dir() {
        path
    } else {
        mount.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_ours() {
        assert_eq!(maker(&format!("{}3", prefix())), Some(std::process::id()));
        for name in [
            "lastword-run-1",
            "lastword-run-x-1",
            "lastword-run-1-",
            "lastword-run-1-2.scope",
            "lastword-runs-1-2",
            "lastword.service",
        ] {
            assert_eq!(maker(name), None, "{name}");
        }
    }

    #[test]
    fn a_cgroup_is_abandoned_when_its_maker_has_gone_and_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        // The highest possible process id is 4,194,304.
        let dead = folder.path().join("lastword-run-4194305-1");
        let living = folder.path().join(format!("{}1", prefix()));
        for cgroup in [&dead, &living] {
            fs::create_dir(cgroup).unwrap();
        }
        assert!(is_abandoned(&dead) && !is_abandoned(&living));
        let held = File::open(&dead).unwrap();
        held.try_lock().unwrap();
        assert!(!is_abandoned(&dead));
    }
}
