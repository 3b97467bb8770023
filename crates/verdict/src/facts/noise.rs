//! Noise: failed calls that end no program, because nearly every program's life has them.
//!
//! There are four kinds, and this is the only place that knows them. What all runs had in common, the leads, and the
//! views of a capture leave them out.
//!
//! - *Searches that succeed.* A loader looks for a library in one directory after the other, a shell for a command in
//!   PATH, Python, Node.js, Ruby or Perl for a module. They are known by their shape, see [`Searches`], so it does not
//!   matter which program searches.
//! - *What a later call made good*: the same process opened the same path, or something below it.
//! - *Optional files*, which no search finds either: a C library looks for `/etc/ld.so.preload` (ld.so(8)), for
//!   `/etc/host.conf` (host.conf(5)), `/etc/localtime` (tzset(3)) or the socket of nscd(8), and does without. An
//!   interpreter asks for parts of itself that few installations have, next to its program and below `/usr/lib`.
//! - *Calls whose failure is as good as a success*: a readlink(2) of what is no link, a read(2) that would have to wait,
//!   an unlink(2) of what is not there, a close(2) of a descriptor that is not open.

use capture_format::{BootTime, Class, EventKind};
use events::basename;
use events::decode::errno::only_waits;
use events::decode::{Errno, SockAddr};

use super::{Failure, Recent};

/// How names begin of files that programs look for in vain all the time. No program ends because of them without
/// saying so.
const OPTIONAL: &[&[u8]] = &[
    b"/etc/ld.so.",
    b"/etc/crypto-policies/",
    b"/etc/gai.conf",
    b"/etc/gnutls/config",
    b"/etc/host.conf",
    b"/etc/localtime",
    b"/etc/malloc.conf",
    b"/etc/nsswitch.conf",
    b"/etc/terminfo",
    b"/lib/terminfo",
    b"/usr/share/terminfo",
    b"/usr/lib/locale/",
    b"/usr/share/locale",
    b"/proc/",
    b"/sys/",
    b"/dev/tty",
];
/// Where the files of installed packages are, except programs.
pub(crate) const INSTALLED: &[&[u8]] = &[
    b"/lib/",
    b"/lib64/",
    b"/usr/lib/",
    b"/usr/lib64/",
    b"/usr/local/lib/",
    b"/usr/share/",
];
/// Where the programs of installed packages are.
const PROGRAMS: &[&[u8]] = &[
    b"/bin/",
    b"/sbin/",
    b"/usr/bin/",
    b"/usr/sbin/",
    b"/usr/local/bin/",
    b"/usr/local/sbin/",
];
/// How directories for modules of Python end; few users have one of their own (module `site` of Python).
const OF_MODULES: &[&[u8]] = &[b"/site-packages", b"/dist-packages"];
/// What Python looks for beside its program and above, and finds only in a virtual environment (module `venv`).
const OF_ENVIRONMENT: &[u8] = b"/pyvenv.cfg";
/// Sockets of services that a C library uses if they are there: nscd(8), and the log of syslog(3).
const SERVICES: &[&[u8]] = &[b"nscd/socket", b"/dev/log"];

/// How many failed calls are searched for those that belong to a search.
const MAX_SEARCH: usize = 256;
/// How many other paths a process may look for, and how many other files it may open, between two tries of a search.
const MAX_BETWEEN: usize = 8;
/// How many opened files are kept.
const MAX_OPENED: usize = 256;
/// How long a search takes at most: 1 s, in nanoseconds.
const MAX_TIME: u64 = 1_000_000_000;

/// Whether a failed call ends no program.
#[must_use]
pub fn is_noise(failure: &Failure) -> bool {
    failure.made_good
        || failure.found_elsewhere
        || fails_anyway(failure.kind, failure.errno, &failure.name)
}

/// Whether such a call fails in nearly every program's life, whatever comes after it; `name` is the path as passed, or
/// the `sockaddr`.
#[must_use]
pub fn fails_anyway(kind: EventKind, errno: Errno, name: &[u8]) -> bool {
    // realpath(3) asks for each part of a path whether that part is a link.
    let is_link = matches!(kind, EventKind::READLINK | EventKind::READLINKAT);
    let of_service =
        || kind == EventKind::CONNECT && SockAddr::parse(name).is_some_and(|it| is_optional(&it));
    let removes = matches!(
        kind,
        EventKind::UNLINK | EventKind::UNLINKAT | EventKind::RMDIR
    );
    only_waits(kind, errno)
        || removes && errno == Errno::ENOENT
        || OPTIONAL.iter().any(|start| name.starts_with(start))
        || is_link && errno == Errno::EINVAL
        || kind == EventKind::CLOSE && errno == Errno::EBADF
        || is_missing_part(kind, errno, name)
        || of_service()
}

/// Whether a path that is not there may be a part of an installed package that few installations have. A program that
/// is not there is none, and neither is a file that a call would have opened below `/usr/lib`: that may be a library.
fn is_missing_part(kind: EventKind, errno: Errno, path: &[u8]) -> bool {
    let below = |directories: &[&'static [u8]]| {
        let mut directories = directories.iter();
        directories.find_map(|directory| path.strip_prefix(*directory))
    };
    let asks = kind.class() == Class::LooksUp;
    let is_program = |name: &[u8]| !name.contains(&b'/') && !name.contains(&b'.');
    let beside_program = below(PROGRAMS).is_some_and(|name| !is_program(name));
    let of_modules = OF_MODULES.iter().any(|end| path.ends_with(end));
    asks && of_modules
        || errno == Errno::ENOENT
            && (path.ends_with(OF_ENVIRONMENT)
                || asks && below(INSTALLED).is_some()
                || beside_program && (asks || kind.class() == Class::Opens))
}

/// Whether an address is that of a service that programs use if it is there, and which containers rarely have.
#[must_use]
pub fn is_optional(address: &SockAddr) -> bool {
    let is = |path: &[u8]| SERVICES.iter().any(|end| path.ends_with(end));
    matches!(address, SockAddr::Unix(path) if is(path))
}

/// What a process found: it opened or executed a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Find<'a> {
    pub(super) event: u64,
    pub(super) time: BootTime,
    pub(super) pid: u32,
    /// The process that started this one: a shell searches PATH before it forks.
    pub(super) parent: Option<u32>,
    /// The path, absolute if the working directory is known.
    pub(super) path: &'a [u8],
    /// Whether the call would have created the file.
    pub(super) creates: bool,
}

/// Recognises searches that succeed.
///
/// A *search* is a process that looks for the same name in several directories, or for the same name with several
/// endings in one directory (`shop.so`, `shop.py`) or the one above or below (`__pycache__/shop.pyc`), one right after
/// the other. Once it finds one, its earlier tries are settled. A search that finds nothing is none of these: that may be
/// why a program ends.
#[derive(Debug)]
pub(super) struct Searches {
    /// The process and the number of each successful open.
    opened: Recent<(u32, u64)>,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            opened: Recent::new(MAX_OPENED),
        }
    }
}

impl Searches {
    /// Number of the event from which on a process may have begun the search that it ends now.
    fn from(&self, pid: u32) -> u64 {
        let mut earlier = self.opened.iter().rev().filter(|(other, _)| *other == pid);
        earlier.nth(MAX_BETWEEN).map_or(0, |&(_, event)| event)
    }

    /// Marks the failed calls that this find settles.
    pub(super) fn found(&mut self, find: Find<'_>, failures: &mut Recent<Failure>) {
        let mut others = 0;
        let from = self.from(find.pid);
        for failure in failures.iter_mut().rev().take(MAX_SEARCH) {
            if find.time.since(failure.time) > MAX_TIME || failure.event < from {
                break;
            }
            let of_process = failure.pid == find.pid || Some(failure.pid) == find.parent;
            if !of_process || failure.path.is_empty() {
                continue;
            }
            if is_miss(failure) && settles(&failure.path, &find) {
                failure.found_elsewhere = true;
                others = 0;
            } else {
                others += 1;
            }
            if others > MAX_BETWEEN {
                break;
            }
        }
        self.opened.push((find.pid, find.event));
    }
}

/// Whether a call may be a try of a search: it asked for a path that was not there, or, of a command, that could not be
/// executed. execvp(3) goes on after both.
fn is_miss(failure: &Failure) -> bool {
    let is_exec = matches!(failure.kind, EventKind::EXECVE | EventKind::EXECVEAT);
    match failure.errno {
        Errno::ENOENT | Errno::ENOTDIR => !failure.creates,
        Errno::EACCES => is_exec,
        _ => false,
    }
}

/// Whether a find ends the search for a path that was not there.
fn settles(missed: &[u8], find: &Find<'_>) -> bool {
    let below = |path: &[u8], directory: &[u8]| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
    };
    if below(find.path, missed) {
        return true;
    }
    if find.creates || missed == find.path {
        return false;
    }
    let (name, found) = (basename(missed), basename(find.path));
    let place = |path: &[u8], name: &[u8]| path.len() - name.len();
    let (of_missed, of_found) = (
        &missed[..place(missed, name)],
        &find.path[..place(find.path, found)],
    );
    let stem = |name: &[u8]| name.iter().position(|&b| b == b'.').unwrap_or(name.len());
    let (stem, found_stem) = (&name[..stem(name)], &found[..stem(found)]);
    let near =
        of_missed == of_found || above(of_missed) == of_found || above(of_found) == of_missed;
    name == found && of_missed != of_found || near && !stem.is_empty() && stem == found_stem
}

/// The directory above one; both end with `/`.
fn above(directory: &[u8]) -> &[u8] {
    let inner = directory.strip_suffix(b"/").unwrap_or(directory);
    &inner[..inner.len() - basename(inner).len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    /// The paths of the failed calls that are no noise.
    fn told(script: &Script) -> Vec<String> {
        let facts = Facts::of(&script.run, script.numbered());
        let told = facts.failures.iter().filter(|failure| !is_noise(failure));
        told.map(|failure| String::from_utf8_lossy(&failure.path).into_owned())
            .collect()
    }

    #[test]
    fn a_search_along_directories_that_finds_is_noise() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/opt/lib/glibc-hwcaps/x86-64-v3/libz.so.1", -2)
            .open(INIT, "/opt/lib/libz.so.1", -2)
            .open(INIT, "/usr/lib/libz.so.1", 3);
        assert_eq!(told(&s), [""; 0]);
    }

    #[test]
    fn a_search_along_path_is_noise_wherever_it_is_made() {
        let mut s = Script::new(&["sh", "-c", "server"]);
        s.stat(INIT, "/usr/local/bin/server", 2)
            .fork(INIT, 200)
            .call(
                200,
                EventKind::EXECVE,
                -2,
                [0; 3],
                "/usr/local/sbin/server",
                "",
            )
            .call(200, EventKind::EXECVE, -13, [0; 3], "/opt/server", "")
            .exec(200, &["server"]);
        assert_eq!(told(&s), [""; 0]);
    }

    #[test]
    fn a_module_is_looked_for_with_each_ending() {
        let mut s = Script::new(&["python3"]);
        s.stat(
            INIT,
            "/srv/shop/__init__.cpython-311-x86_64-linux-gnu.so",
            2,
        )
        .stat(INIT, "/srv/shop/__init__.abi3.so", 2)
        .open(INIT, "/srv/shop/__init__.py", 3)
        .open(INIT, "/srv/__pycache__/views.cpython-311.pyc", -2)
        .open(INIT, "/srv/views.py", 4)
        .stat(INIT, "/srv/api/__init__.abi3.so", 2)
        .open(INIT, "/srv/api/__pycache__/__init__.cpython-311.pyc", 4);
        assert_eq!(told(&s), [""; 0]);
    }

    #[test]
    fn a_directory_that_was_made_is_not_missing_any_more() {
        let mut s = Script::new(&["app"]);
        s.stat(INIT, "/srv/__pycache__", 2).call(
            INIT,
            EventKind::OPENAT,
            4,
            [-100, 0o101, 0],
            "/srv/__pycache__/x.pyc",
            "",
        );
        assert_eq!(told(&s), [""; 0]);
    }

    #[test]
    fn a_search_that_finds_nothing_is_told() {
        let mut s = Script::new(&["node", "app.js"]);
        s.stat(INIT, "/app/node_modules/express", 2)
            .stat(INIT, "/node_modules/express", 2)
            .open(INIT, "/app/package.json", 3);
        assert_eq!(
            told(&s),
            ["/app/node_modules/express", "/node_modules/express"]
        );
    }

    #[test]
    fn another_file_of_the_same_name_much_later_settles_nothing() {
        let mut s = Script::new(&["node", "app.js"]);
        s.open(INIT, "/etc/app/config.json", -2);
        for number in 0..=MAX_BETWEEN {
            s.open(INIT, &format!("/app/{number}.js"), 3);
        }
        s.open(INIT, "/app/node_modules/x/config.json", 3);
        assert_eq!(told(&s), ["/etc/app/config.json"]);
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app.conf", -2)
            .wait(2_000)
            .open(INIT, "/opt/app.conf", 3);
        assert_eq!(told(&s), ["/etc/app.conf"]);
    }

    #[test]
    fn what_was_refused_or_is_made_instead_was_not_found() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app.conf", -13)
            .open(INIT, "/opt/app.conf", 3)
            .open(INIT, "/data/db", -2)
            .call(
                INIT,
                EventKind::OPENAT,
                4,
                [-100, 0o101, 0],
                "/data/db.lock",
                "",
            );
        assert_eq!(told(&s), ["/etc/app.conf", "/data/db"]);
    }

    #[test]
    fn an_interpreter_lacks_parts_but_a_program_or_a_library_is_missing() {
        let mut s = Script::new(&["python3"]);
        s.open(INIT, "/usr/bin/pyvenv.cfg", -2)
            .open(INIT, "/usr/pyvenv.cfg", -2)
            .stat(INIT, "/usr/lib/python311.zip", 2)
            .stat(INIT, "/root/.local/lib/python3.11/site-packages", 2)
            .stat(INIT, "/usr/bin/ffmpeg", 2)
            .open(INIT, "/usr/lib/libneeded.so", -2)
            .stat(INIT, "/usr/src/app/config.json", 2);
        let missing = [
            "/usr/bin/ffmpeg",
            "/usr/lib/libneeded.so",
            "/usr/src/app/config.json",
        ];
        assert_eq!(told(&s), missing);
    }

    #[test]
    fn another_processs_file_settles_nothing() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200)
            .open(200, "/etc/app.conf", -2)
            .fork(INIT, 201)
            .open(201, "/opt/app.conf", 3);
        assert_eq!(told(&s), ["/etc/app.conf"]);
    }
}
