//! What a shell does when a command has failed: it exits with the command's code, or goes on. The shell's script
//! decides.

use capture_format::{Event, EventKind};

use super::process::{Exec, Process};
use events::basename;
use events::fds::Fd;

/// Names of shells, as the executable or the first argument has them.
const SHELLS: &[&[u8]] = &[
    b"sh", b"dash", b"bash", b"ash", b"hush", b"zsh", b"ksh", b"ksh93", b"mksh", b"lksh", b"rbash",
    b"yash",
];
/// Programs that contain many commands. The first argument says which command is meant; if it is the program's own
/// name, the second argument does.
const MANY_PROGRAMS: &[&[u8]] = &[b"busybox", b"busybox.static", b"toybox", b"coreutils"];
/// Settings that end a script when a command fails.
const ERREXIT: &[&str] = &["set -e", "set -o errexit", "set -ue", "set -xe", "set -Ee"];
/// Commands by which a script hands on the end of a command.
const HANDS_ON: &[&str] = &[
    "exit $?",
    "exit \"$?\"",
    "exit $status",
    "exit $code",
    "exit $rc",
];

/// What is known of the script that a shell runs.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Whether the script ends when a command fails, or exits as the command did.
    pub hands_on: bool,
    /// Whether the shell read its script to the end: then the command that ran last ended the script.
    pub read_to_end: bool,
}

impl Process {
    /// Whether the process is a shell, judged by the program that it executed; for a script, by its interpreter.
    #[must_use]
    pub(crate) fn is_shell(&self) -> bool {
        let Some(exec) = &self.exec else { return false };
        match exec.applet() {
            Some((applet, _)) => SHELLS.contains(&applet),
            None => {
                let first = exec.argv.first().map(|arg| &arg[..]).unwrap_or_default();
                [&exec.path[..], first]
                    .iter()
                    .any(|path| SHELLS.contains(&program(path)))
            }
        }
    }
}

impl Exec {
    /// For a program that contains many commands: the command that it was called as, and the index of the argument that
    /// names it.
    pub(super) fn applet(&self) -> Option<(&[u8], usize)> {
        let mut arguments = self.argv.iter().map(|arg| program(arg)).enumerate();
        let (first_at, first) = arguments.next()?;
        let called_so = MANY_PROGRAMS.contains(&first);
        if !called_so && !is_many(&self.path) {
            return None;
        }
        if !called_so {
            return Some((first, first_at));
        }
        let (at, applet) = arguments.find(|(_, arg)| !arg.is_empty())?;
        Some((applet, at))
    }
}

/// Whether a file is a program that contains many commands.
pub(super) fn is_many(path: &[u8]) -> bool {
    MANY_PROGRAMS.contains(&program(path))
}

/// The last component, without the hyphen of a login shell.
pub(super) fn program(path: &[u8]) -> &[u8] {
    let name = basename(path);
    name.strip_prefix(b"-").unwrap_or(name)
}

/// Looks at the arguments of an exec, and at what a shell reads of its script.
pub(super) fn observe(process: &mut Process, event: &Event, fd: Option<&Fd>) {
    match event.kind {
        EventKind::EXEC => {
            process.script = Script::default();
            if !process.is_shell() {
                return;
            }
            let exec = process.exec.iter();
            let own = |exec: &Exec| 1 + exec.applet().map_or(0, |(_, at)| at);
            let args: Vec<String> = exec
                .flat_map(|exec| exec.argv.iter().skip(own(exec)))
                .map(|arg| String::from_utf8_lossy(arg).into_owned())
                .collect();
            let options = args
                .iter()
                .take_while(|arg| arg.starts_with('-') && !arg.starts_with("--"));
            let errexit = options.into_iter().any(|option| option.contains('e'));
            process.script.hands_on = errexit || args.iter().any(|arg| hands_on(arg));
        }
        EventKind::READ if process.is_shell() => {
            let Some(path) = fd.and_then(Fd::path) else {
                return;
            };
            let exec = process.exec.iter();
            let is_script = exec
                .flat_map(|exec| exec.argv.iter().chain([&exec.path]))
                .any(|arg| basename(arg) == basename(path));
            if is_script {
                process.script.hands_on |= hands_on(&String::from_utf8_lossy(&event.data));
                process.script.read_to_end = event.ret == 0;
            }
        }
        _ => {}
    }
}

fn hands_on(script: &str) -> bool {
    ERREXIT
        .iter()
        .chain(HANDS_ON)
        .any(|words| script.contains(words))
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    fn hands_on(argv: &[&str]) -> bool {
        let s = Script::new(argv);
        let facts = Facts::of(&s.run, s.numbered());
        facts.init().unwrap().script.hands_on
    }

    #[test]
    fn a_script_that_ends_with_its_command_is_known_by_its_options_or_words() {
        assert!(hands_on(&["sh", "-ec", "a; b"]));
        assert!(hands_on(&["sh", "-c", "a; exit $?"]));
        assert!(hands_on(&["bash", "-c", "set -euo pipefail; a"]));
        assert!(!hands_on(&["sh", "-c", "a; exit 3"]));
        assert!(!hands_on(&["python3", "-e", "set -e"]));
    }

    #[test]
    fn a_program_that_is_many_is_what_it_is_called() {
        let is_shell = |path: &str, argv: &[&str]| {
            let mut s = Script::new(argv);
            s.events[0].name = path.to_owned().into();
            let facts = Facts::of(&s.run, s.numbered());
            let init = facts.init().unwrap();
            (init.is_shell(), init.name())
        };
        for (path, argv, shell, name) in [
            (
                "/bin/busybox",
                &["busybox", "httpd", "-f"][..],
                false,
                "httpd",
            ),
            (
                "/bin/busybox",
                &["/bin/busybox", "sh", "-c", "x"],
                true,
                "sh",
            ),
            ("/bin/busybox", &["httpd", "-f"], false, "httpd"),
            ("/bin/busybox", &["-ash"], true, "ash"),
            ("/bin/httpd", &["httpd", "-f"], false, "httpd"),
            ("/bin/sh", &["sh", "-c", "x"], true, "sh"),
            ("/proc/self/exe", &["nc", "-l"], false, "nc"),
            (
                "/srv/run.sh",
                &["/bin/busybox", "sh", "/srv/run.sh"],
                true,
                "run.sh",
            ),
            ("/bin/busybox", &["busybox"], false, "busybox"),
        ] {
            assert_eq!(
                is_shell(path, argv),
                (shell, name.to_owned()),
                "{path} {argv:?}"
            );
        }
        assert!(hands_on(&["busybox", "sh", "-ec", "a; b"]));
        assert!(!hands_on(&["busybox", "httpd", "-ec", "set -e"]));
    }

    #[test]
    fn a_script_is_read_from_its_file() {
        let mut s = Script::new(&["/bin/sh", "/srv/run.sh"]);
        s.open(INIT, "/srv/run.sh", 3)
            .read(INIT, 3, "run.sh", "#!/bin/sh\nset -e\napp\n");
        let facts = Facts::of(&s.run, s.numbered());
        assert!(facts.init().unwrap().script.hands_on);
    }
}
