//! Starting the command in its cgroup, as a container runtime does: the file is looked up in PATH first, and then
//! executed as it is.
//!
//! (The C library's execvp would pass a file of unknown format to a shell.)

#![expect(unsafe_code, reason = "code between fork and exec")]

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs::{self, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::PermissionsExt,
        },
    },
    path::{Path, PathBuf},
};

use tokio::process::{Child, Command};

use super::caller::Caller;

/// Why the command could not be started, and the exit code that a shell would give for it.
#[derive(Debug)]
pub(super) struct StartError {
    pub(super) message: String,
    pub(super) code: u8,
}

/// Starts a command in a cgroup, as the caller if that is another user. Otherwise it has our standard streams and
/// environment.
pub(super) fn start(
    command: &[OsString],
    cgroup: &Path,
    caller: Option<&Caller>,
) -> Result<Child, StartError> {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    let path = find(program, env::var_os("PATH").as_deref()).ok_or_else(|| StartError {
        message: format!("{program:?}: executable file not found in PATH"),
        code: 127,
    })?;
    spawn(&path, command, cgroup, caller).map_err(|error| StartError {
        message: format!("{path:?}: {error}"),
        code: if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        },
    })
}

/// The file that a command's name means: the name itself if it contains a slash, else the first executable of that name
/// in PATH.
fn find(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into());
    }
    let is_executable = |file: &PathBuf| {
        fs::metadata(file)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path?)
        .map(|folder| folder.join(program))
        .find(is_executable)
}

fn spawn(
    path: &Path,
    command: &[OsString],
    cgroup: &Path,
    caller: Option<&Caller>,
) -> io::Result<Child> {
    let members = OpenOptions::new()
        .write(true)
        .open(cgroup.join("cgroup.procs"))?;
    let file = CString::new(path.as_os_str().as_bytes())?;
    let arguments = strings(command.iter().map(|argument| argument.as_bytes().to_vec()))?;
    let environment = match caller {
        Some(caller) => caller.environment(),
        None => env::vars_os().collect(),
    };
    let environment = strings(environment.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    }))?;
    let caller = caller.cloned();
    let mut start = Command::new(path);
    start.kill_on_drop(true);
    // SAFETY: between fork and exec only write(2), execve(2) and calls that change credentials are made, without the C
    // library's locks. The strings and the arrays of pointers to them were made before and live in the closure.
    unsafe {
        start.pre_exec(move || {
            // "0" means the writing process, cgroups(7).
            if libc::write(members.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1 {
                return Err(io::Error::last_os_error());
            }
            if let Some(caller) = &caller {
                caller.become_it()?;
            }
            libc::execve(
                file.as_ptr(),
                arguments.pointers.as_ptr().cast(),
                environment.pointers.as_ptr().cast(),
            );
            Err(io::Error::last_os_error())
        });
    }
    start.spawn()
}

/// Strings as execve(2) takes them: pointers, ended by a null pointer.
struct Strings {
    _owned: Vec<CString>,
    /// Addresses of the strings above.
    pointers: Vec<usize>,
}

fn strings(all: impl Iterator<Item = Vec<u8>>) -> io::Result<Strings> {
    let owned = all.map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let pointers = owned
        .iter()
        .map(|string| string.as_ptr() as usize)
        .chain([0])
        .collect();
    Ok(Strings {
        _owned: owned,
        pointers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_commands_up_as_execvp_does() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, program) = (folder.path().join("plain"), folder.path().join("program"));
        fs::write(&plain, "").unwrap();
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(find(OsStr::new("program"), Some(&path)), Some(program));
        assert_eq!(find(OsStr::new("plain"), Some(&path)), None);
        assert_eq!(find(OsStr::new("./plain"), None), Some("./plain".into()));
    }
}
