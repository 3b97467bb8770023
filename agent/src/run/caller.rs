//! The user who called sudo. Under sudo, command and capture belong to that user, and not to root.

#![expect(
    unsafe_code,
    reason = "the credentials of one thread, for which neither the C library nor nix has calls"
)]

use std::{
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, bail};
use nix::unistd::geteuid;

/// A user who called lastword by sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    uid: u32,
    gid: u32,
    /// Supplementary groups.
    groups: Vec<u32>,
    name: String,
    /// Home directory and shell, if the user database has the user.
    home: Option<(PathBuf, PathBuf)>,
}

/// Variables that sudo sets. They are about the call of lastword.
const SUDO: [&str; 5] = [
    "SUDO_COMMAND",
    "SUDO_GID",
    "SUDO_HOME",
    "SUDO_UID",
    "SUDO_USER",
];

/// An entry of the user database (passwd(5)).
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    gid: u32,
    home: PathBuf,
    shell: PathBuf,
}

impl User {
    /// The entry of a user; `None` if there is none. getent(1) asks the database, and not the C library of this process:
    /// its sources are shared libraries (nsswitch.conf(5)), which crash a lastword that is linked statically.
    fn of(uid: u32) -> Option<Self> {
        Self::parse(&printed("getent", &["passwd", &uid.to_string()])?)
    }

    /// A line of passwd(5): name, password, user, group, comment, home directory, shell.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.lines().next()?.split(':').collect();
        let [name, _, _, gid, _, home, shell] = fields[..] else {
            return None;
        };
        Some(Self {
            name: name.to_owned(),
            gid: gid.parse().ok()?,
            home: home.into(),
            shell: shell.into(),
        })
    }

    /// All groups of the user, by id(1).
    fn groups(&self) -> Option<Vec<u32>> {
        let groups = printed("id", &["-G", &self.name])?;
        groups
            .split_whitespace()
            .map(|id| id.parse().ok())
            .collect()
    }
}

/// What a program prints, if it succeeds.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

impl Caller {
    /// The caller according to `SUDO_UID` and `SUDO_GID` (sudo(8)); `None` if the caller is root, or if this process
    /// does not run as root.
    ///
    /// # Errors
    /// If the variables of sudo make no sense.
    pub(super) fn of_sudo() -> anyhow::Result<Option<Self>> {
        let Some(uid) = env::var_os("SUDO_UID").filter(|_| geteuid().is_root()) else {
            return Ok(None);
        };
        let uid = number(&uid).context(
            "SUDO_UID does not hold the number of a user; --as-root runs the command as root",
        )?;
        if uid == 0 {
            return Ok(None);
        }
        let user = User::of(uid);
        let gid = env::var_os("SUDO_GID").and_then(|gid| number(&gid));
        let Some(gid) = gid.or(user.as_ref().map(|user| user.gid)) else {
            bail!(
                "SUDO_GID does not hold the number of a group; --as-root runs the command as root"
            );
        };
        let name = match &user {
            Some(user) => user.name.clone(),
            None => env::var("SUDO_USER").unwrap_or_else(|_| uid.to_string()),
        };
        let groups = user.as_ref().and_then(User::groups);
        Ok(Some(Self {
            uid,
            gid,
            groups: groups.unwrap_or_else(|| vec![gid]),
            name,
            home: user.map(|user| (user.home, user.shell)),
        }))
    }

    /// The caller's name in messages: `alice (uid 1000)`.
    pub(super) fn shown(&self) -> String {
        format!(
            "{} (uid {})",
            events::escape::escaped(self.name.as_bytes()),
            self.uid
        )
    }

    /// The command's environment: this process's environment, with root's values replaced by the caller's.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut own: Vec<(&str, OsString)> = vec![
            ("USER", (&*self.name).into()),
            ("LOGNAME", (&*self.name).into()),
        ];
        if let Some((home, shell)) = &self.home {
            own.extend([("HOME", home.into()), ("SHELL", shell.into())]);
        }
        let is_other = |name: &OsString| {
            let is = |known: &str| *name == *known;
            !SUDO.into_iter().any(is) && !own.iter().any(|(known, _)| is(known))
        };
        let mut all: Vec<_> = env::vars_os().filter(|(name, _)| is_other(name)).collect();
        all.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        all
    }

    /// Gives the standard streams that sudo made to the caller, as container runtimes do. Otherwise a program could not
    /// open `/dev/stderr` or its terminal by name. Files and things that belong to others stay as they are.
    pub(super) fn take_streams(&self) {
        use std::os::{
            fd::{AsFd as _, AsRawFd as _, BorrowedFd},
            unix::fs::{FileTypeExt as _, MetadataExt as _},
        };
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let streams: [BorrowedFd<'_>; 3] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        for stream in streams {
            let own = format!("/proc/self/fd/{}", stream.as_raw_fd());
            let Ok(found) = std::fs::metadata(own) else {
                continue;
            };
            let is_terminal = io::IsTerminal::is_terminal(&stream);
            if found.uid() == 0 && (is_terminal || found.file_type().is_fifo()) {
                // If this is refused, the program is no worse off than without it.
                let _ = std::os::unix::fs::fchown(stream, Some(self.uid), None);
            }
        }
    }

    /// Becomes the caller for good: changes everything that decides what the calling thread may do.
    ///
    /// It allocates nothing, takes no lock and calls only the kernel, so it may be called between fork and exec.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn become_it(&self) -> io::Result<()> {
        let done = |result: libc::c_long| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let (uid, gid) = (self.uid, self.gid);
        // SAFETY: the pointer and the count are of one vector, which the kernel only reads. The functions of the C
        // library are not used because they would change all threads of the process.
        done(unsafe {
            libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr())
        })?;
        // SAFETY: numbers only.
        done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
        // SAFETY: numbers only.
        done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
    }
}

/// Runs a function on files with the caller's rights and none of root's, in a thread of its own that ends afterwards.
/// Without a caller the function is simply called.
///
/// # Errors
/// If the kernel refuses to change the thread's credentials.
pub(super) fn act_as<T: Send>(
    caller: Option<&Caller>,
    act: impl FnOnce() -> T + Send,
) -> anyhow::Result<T> {
    let Some(caller) = caller else {
        return Ok(act());
    };
    thread::scope(|scope| {
        let acting = scope.spawn(|| caller.become_it().map(|()| act()));
        let acted = acting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        acted.with_context(|| {
            format!(
                "cannot act as {}, who called sudo; --as-root does not try to",
                caller.shown()
            )
        })
    })
}

fn number(text: &std::ffi::OsStr) -> Option<u32> {
    text.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn nobody() -> Caller {
        Caller {
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
            name: "nobody".into(),
            home: Some(("/nonexistent".into(), "/bin/false".into())),
        }
    }

    #[test]
    fn an_entry_of_the_user_database_is_read() {
        let alice = User::parse("alice:x:1000:1001:Alice,,,:/home/alice:/bin/bash\n").unwrap();
        let expected = User {
            name: "alice".into(),
            gid: 1001,
            home: "/home/alice".into(),
            shell: "/bin/bash".into(),
        };
        assert_eq!(alice, expected);
        for bad in [
            "",
            "alice:x:1000",
            "alice:x:1000:staff::/home/alice:/bin/bash",
        ] {
            assert_eq!(User::parse(bad), None, "{bad}");
        }
        assert_eq!(User::of(u32::MAX - 7), None);
    }

    #[test]
    fn only_one_thread_becomes_the_caller() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (closed, open) = (folder.path().join("closed"), folder.path().join("open"));
        fs::create_dir(&open).unwrap();
        for place in [folder.path(), &open] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(place, mode).unwrap();
        }
        std::os::unix::fs::chown(&open, Some(65534), None).unwrap();
        let caller = nobody();
        let (refused, owner) = act_as(Some(&caller), || {
            let made = open.join("made");
            fs::write(&made, "").unwrap();
            (fs::write(&closed, ""), fs::metadata(made).unwrap().uid())
        })
        .unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(owner, 65534);
        assert!(geteuid().is_root());
        act_as(None, || fs::write(&closed, "")).unwrap().unwrap();
    }

    #[test]
    fn what_is_roots_in_the_environment_becomes_the_callers() {
        let environment = nobody().environment();
        let all = |wanted: &str| -> Vec<&OsString> {
            let named = environment.iter().filter(|(name, _)| name == wanted);
            named.map(|(_, value)| value).collect()
        };
        assert_eq!(all("HOME"), ["/nonexistent"]);
        assert_eq!(all("USER"), ["nobody"]);
        assert_eq!(all("PATH").len(), 1);
        assert!(all("SUDO_UID").is_empty());
    }
}
