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
use capture_format::CgroupId;
use lastword_tests::in_thread;
use libtest_mimic::Failed;
use nix::sched::CloneFlags;

use crate::support::cgroup2;

/// An id as container runtimes give them.
pub(crate) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Each of these recorders records every container of the machine, so two of them must not run at the same time.
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
    pub(crate) fn id(&self) -> Result<CgroupId, Failed> {
        Ok(CgroupId(fs::metadata(&self.0)?.ino()))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A cgroup (v2) in which a test makes its other cgroups.
pub(crate) fn top() -> Result<Made, Failed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "lastword-test-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    Made::below(&cgroup2(), &name)
}

/// Makes rings until there are as many as the budget wants.
pub(crate) fn refill(recorder: &mut Recorder) -> Result<(), Failed> {
    while recorder.refill()? {}
    Ok(())
}

/// Starts a shell script in a cgroup, from outside of it, as a container runtime does. The script goes on when its
/// standard input has a line or ends.
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

/// Does the same, as pid 1 of a new pid namespace.
pub(crate) fn start_as_pid_1(cgroup: &Made, script: &str) -> Result<Child, Failed> {
    in_thread(CloneFlags::CLONE_NEWPID, || start(cgroup, script))
}
