//! Cgroups as container runtimes make them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use agent::recorder::Recorder;
use lastword_tests::in_thread;
use libtest_mimic::Failed;
use nix::sched::CloneFlags;

use crate::support::cgroup2;

/// An id as container runtimes give them.
pub(crate) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Each of these recorders takes every container of the machine for its own, so they must not see each other's.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other test has such a recorder.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cgroup that is removed at the end.
pub(crate) struct Made(pub(crate) PathBuf);

impl Made {
    pub(crate) fn below(parent: &Path, name: &str) -> Result<Self, Failed> {
        let path = parent.join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Its id.
    pub(crate) fn id(&self) -> Result<u64, Failed> {
        Ok(fs::metadata(&self.0)?.ino())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A cgroup (v2) for a test's others.
pub(crate) fn top() -> Result<Made, Failed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "lastword-test-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    Made::below(&cgroup2(), &name)
}

/// Makes rings until there are enough.
pub(crate) fn refill(recorder: &mut Recorder) -> Result<(), Failed> {
    while recorder.refill()? {}
    Ok(())
}

/// A shell script in a cgroup, started from outside of it as a container runtime does. It goes on when its standard input has a line or ends.
pub(crate) fn start(cgroup: &Made, script: &str) -> Result<Child, Failed> {
    let child = Command::new("/bin/sh")
        .args([
            "-c",
            "echo 0 > \"$0/cgroup.procs\" && exec /bin/sh -c \"$1\"",
        ])
        .arg(&cgroup.0)
        .arg(format!("read line; {script}"))
        .current_dir(&cgroup.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    while fs::read_to_string(cgroup.0.join("cgroup.procs"))?.is_empty() {
        std::thread::yield_now();
    }
    Ok(child)
}

/// Likewise, as pid 1 of a pid namespace of its own.
pub(crate) fn start_as_pid_1(cgroup: &Made, script: &str) -> Result<Child, Failed> {
    in_thread(CloneFlags::CLONE_NEWPID, || start(cgroup, script))
}
