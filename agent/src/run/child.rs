//! Starting the command in its cgroup.

#![expect(unsafe_code, reason = "code between fork and exec")]

use std::{ffi::OsString, fs::OpenOptions, io, os::fd::AsRawFd, path::Path};

use tokio::process::{Child, Command};

/// Starts a command as a member of a cgroup; its standard streams are ours.
///
/// # Errors
/// Those of the cgroup, and those of execve(2): not found, not executable, wrong format.
pub(super) fn start(command: &[OsString], cgroup: &Path) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let members = OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?;
    let mut start = Command::new(program);
    start.args(arguments).kill_on_drop(true);
    // SAFETY: between fork and exec, write(2) to a descriptor that was opened before is async-signal-safe, and nothing else is done.
    unsafe {
        start.pre_exec(move || {
            // "0" stands for the writing process, cgroups(7).
            match libc::write(members.as_raw_fd(), c"0".as_ptr().cast(), 1) {
                1 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    start.spawn()
}
