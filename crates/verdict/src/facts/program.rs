//! Which programs a process is: the file that it executed, the interpreter and script behind it, and the libraries that
//! it loaded.
//!
//! What a message means depends on who says it, so the catalogue of messages asks for this. A command name would be no
//! answer: a process can set it, and BusyBox is many programs under one name.

use bytes::Bytes;
use capture_format::Event;

use super::process::Exec;
use super::shell::{is_many, program};
use events::basename;
use events::own;

/// How many names of libraries are kept for a process: those that it opened first.
const MAX_LOADED: usize = 64;
/// A longer name than this names no library that anybody asks for.
const MAX_NAME: usize = 64;
/// Interpreters of which an argument says what they run: the argument after `-m`, or else the first that is no option.
const INTERPRETERS: &[&[u8]] = &[
    b"python", b"pypy", b"perl", b"ruby", b"node", b"php", b"sh", b"bash", b"dash", b"ash",
];
/// Options of interpreters after which the program itself follows, and not the name of a file.
const INLINE: &[&[u8]] = &[b"-c", b"-e", b"-r", b"-p", b"-E"];

/// What a process executed and loaded, as names without directories.
#[derive(Clone, Debug, Default)]
pub struct Program {
    executed: Vec<Bytes>,
    loaded: Vec<Bytes>,
    /// Whether the file contains many programs, as BusyBox does.
    is_many: bool,
}

impl Program {
    /// What an exec begins. A program that executes itself once more through /proc stays what it was. BusyBox becomes
    /// what it calls itself.
    pub(super) fn of(exec: &Exec, before: Self) -> Self {
        let again = *exec.path == *b"/proc/self/exe" && !before.executed.is_empty();
        let executed = match exec.argv.first() {
            Some(applet) if again && before.is_many => vec![own(program(applet))],
            _ if again => before.executed,
            _ => executed(exec),
        };
        Self {
            executed,
            loaded: Vec::new(),
            is_many: is_many(&exec.path) || again && before.is_many,
        }
    }

    /// Notes a file that was opened, or looked for, if a runtime can be known by it.
    pub(super) fn opens(&mut self, event: &Event, path: &[u8]) {
        let name = basename(path);
        let is_library = event.ret >= 0 && (name.ends_with(b".so") || contains(name, b".so."));
        let marks = is_library || is_mark(name);
        let is_kept = || self.loaded.iter().any(|other| other == name);
        if marks && name.len() <= MAX_NAME && self.loaded.len() < MAX_LOADED && !is_kept() {
            self.loaded.push(own(name));
        }
    }

    /// Names of what was executed: the file, and if that is a script, its interpreter; the script that an interpreter
    /// was given; for a program that is many, such as BusyBox, the one that it was called as.
    pub(crate) fn executed(&self) -> impl Iterator<Item = &[u8]> {
        self.executed.iter().map(|name| &name[..])
    }

    /// Names of shared libraries that were opened, and of files by which a runtime can be known even if it loads none:
    /// every program in Go reads `hpage_pmd_size`, and the loaders of glibc and musl look for `ld.so.cache` and
    /// `ld-musl-x86_64.path`.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &[u8]> {
        self.loaded.iter().map(|name| &name[..])
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(name, part).is_some()
}

/// Whether a file is one that a runtime always looks for. Go: `getHugePageSize` of runtime/os_linux.go. glibc:
/// ld.so(8). musl: `load_library` of ldso/dynlink.c.
fn is_mark(name: &[u8]) -> bool {
    matches!(name, b"hpage_pmd_size" | b"ld.so.cache")
        || name.starts_with(b"ld-musl-") && name.ends_with(b".path")
}

fn executed(exec: &Exec) -> Vec<Bytes> {
    if let Some((applet, at)) = exec.applet().filter(|_| is_many(&exec.path)) {
        let script = script(applet, exec.argv.get(at + 1..).unwrap_or_default());
        return [applet].into_iter().chain(script).map(own).collect();
    }
    // The kernel puts the interpreter, at most one argument for it, and the path of the script before the arguments:
    // execve(2).
    let names_itself = |at: usize| exec.argv.get(at) == Some(&exec.path);
    let interpreter = exec.argv.first().filter(|first| {
        *first != &exec.path && first.starts_with(b"/") && (names_itself(1) || names_itself(2))
    });
    let file = program(&exec.path);
    let mut names = vec![own(file)];
    match interpreter {
        Some(interpreter) => {
            let interpreter = program(interpreter);
            names.push(own(interpreter));
            // `#!/bin/busybox sh`
            let applet = exec.argv.get(1).filter(|_| is_many(interpreter));
            names.extend(applet.map(|applet| own(applet)));
        }
        None => {
            let arguments = exec.argv.get(1..).unwrap_or_default();
            names.extend(script(file, arguments).map(own));
        }
    }
    names
}

/// The name of what an interpreter was told to run.
fn script<'a>(interpreter: &[u8], arguments: &'a [Bytes]) -> Option<&'a [u8]> {
    let version = |rest: &[u8]| rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.'));
    let is_interpreter = INTERPRETERS
        .iter()
        .any(|name| interpreter.strip_prefix(*name).is_some_and(version));
    if !is_interpreter {
        return None;
    }
    let mut arguments = arguments.iter();
    loop {
        let argument = arguments.next()?;
        if argument == "-m" && interpreter.starts_with(b"py") {
            return arguments.next().map(|module| &module[..]);
        }
        if INLINE.contains(&&argument[..]) {
            return None;
        }
        if !argument.starts_with(b"-") {
            return Some(basename(argument));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;
    use crate::testing::{INIT, Script, argv_bytes};
    use capture_format::EventKind;

    fn names<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
        names.collect()
    }

    fn executed(path: &str, argv: &[&str]) -> Vec<String> {
        let mut s = Script::empty();
        s.call(
            INIT,
            EventKind::EXEC,
            INIT.into(),
            [1, 0, 0],
            path,
            argv_bytes(argv),
        );
        let facts = Facts::of(&s.run, s.numbered());
        names(facts.processes.get(INIT).unwrap().program.executed())
    }

    #[test]
    fn a_program_is_known_by_what_was_executed() {
        let app = executed("/usr/sbin/nginx", &["nginx", "-g", "daemon off;"]);
        assert_eq!(app, ["nginx"]);
        // An argument is no proof, whatever it says.
        assert_eq!(executed("/srv/app", &["postgres"]), ["app"]);
        assert_eq!(
            executed("/bin/busybox", &["busybox", "sh", "/run.sh"]),
            ["sh", "run.sh"]
        );
        assert_eq!(executed("/bin/busybox", &["-sh"]), ["sh"]);
    }

    #[test]
    fn a_script_is_also_its_interpreter_and_the_other_way_round() {
        assert_eq!(
            executed(
                "/usr/bin/gunicorn",
                &["/usr/bin/python3", "/usr/bin/gunicorn", "app"]
            ),
            ["gunicorn", "python3"]
        );
        assert_eq!(
            executed("./run", &["/usr/bin/perl", "-w", "./run"]),
            ["run", "perl"]
        );
        assert_eq!(
            executed(
                "/usr/bin/python3.11",
                &["python3", "-u", "/srv/app.py", "x"]
            ),
            ["python3.11", "app.py"]
        );
        assert_eq!(
            executed("python3", &["python3", "-m", "gunicorn"]),
            ["python3", "gunicorn"]
        );
        assert_eq!(executed("/bin/sh", &["sh", "-c", "nginx -t"]), ["sh"]);
        assert_eq!(executed("/bin/shred", &["shred", "x"]), ["shred"]);
    }

    #[test]
    fn libraries_are_those_that_were_opened() {
        let mut s = Script::new(&["/srv/app"]);
        s.open(INIT, "/lib/libmissing.so.2", -2)
            .open(INIT, "/usr/lib/libpython3.11.so.1.0", 3)
            .open(INIT, "/usr/lib/libpython3.11.so.1.0", 3)
            .open(INIT, "/srv/some.conf", 4)
            .open(
                INIT,
                "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
                4,
            )
            .open(INIT, "/etc/ld-musl-x86_64.path", -2)
            .fork(INIT, 200);
        let facts = Facts::of(&s.run, s.numbered());
        let loaded = [
            "libpython3.11.so.1.0",
            "hpage_pmd_size",
            "ld-musl-x86_64.path",
        ];
        for pid in [INIT, 200] {
            let process = facts.processes.get(pid).unwrap();
            assert_eq!(names(process.program.loaded()), loaded);
        }
        s.exec(200, &["/proc/self/exe"]).exec(INIT, &["/bin/true"]);
        let facts = Facts::of(&s.run, s.numbered());
        let of = |pid| &facts.processes.get(pid).unwrap().program;
        assert_eq!(names(of(200).executed()), ["app"]);
        assert_eq!(names(of(INIT).executed()), ["true"]);
        assert!(of(INIT).loaded().next().is_none());
    }

    #[test]
    fn a_process_that_opens_everything_does_not_grow() {
        let mut s = Script::new(&["/srv/app"]);
        for n in 0..500 {
            s.open(INIT, &format!("/lib/libx{n}.so"), 3);
        }
        s.open(INIT, &format!("/lib/{}.so", "x".repeat(200)), 3);
        let facts = Facts::of(&s.run, s.numbered());
        let process = facts.processes.get(INIT).unwrap();
        assert_eq!(process.program.loaded().count(), super::MAX_LOADED);
    }
}
