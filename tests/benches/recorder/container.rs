//! A cgroup that the recorder takes for a container's.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use capture_format::CgroupId;

/// Where cgroup v2 is mounted.
pub(crate) fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let fields = mounts
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.split_once(' '));
    let mut unified = fields.filter(|(_, rest)| rest.starts_with("cgroup2 "));
    Ok(PathBuf::from(
        unified.next().context("cgroup v2 is not mounted")?.0,
    ))
}

/// Moves this process into a cgroup.
pub(crate) fn enter(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter {}", cgroup.display()))
}

/// The cgroup of this process.
fn home() -> Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .context("not in a cgroup")?;
    Ok(mount_point()?.join(path.trim_start_matches('/')))
}

/// A container's cgroup. It is removed with its processes when it is dropped.
pub(crate) struct Container {
    pub(crate) path: PathBuf,
}

impl Container {
    /// Makes the cgroup with this number.
    pub(crate) fn make(number: usize) -> Result<Self> {
        let id = u64::from(std::process::id()) << 32 | number as u64;
        Self::named(&format!("docker-{id:064x}.scope"))
    }

    /// Makes a cgroup whose name is not that of a container.
    pub(crate) fn make_other() -> Result<Self> {
        Self::named(&format!("lastword-bench-{}", std::process::id()))
    }

    fn named(name: &str) -> Result<Self> {
        let path = mount_point()?.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Moves this process into the cgroup, calls `act`, and moves the process back.
    pub(crate) fn inside<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        let home = home()?;
        enter(&self.path)?;
        let done = act();
        enter(&home)?;
        Ok(done)
    }

    /// The cgroup's id.
    pub(crate) fn id(&self) -> Result<CgroupId> {
        Ok(CgroupId(fs::metadata(&self.path)?.ino()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for _ in 0..200 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("cannot remove {}", self.path.display());
    }
}
