//! Configuration files that were read, and whether there was anything in them.

use bytes::Bytes;
use capture_format::{BootTime, Class, Event};

use super::Recent;
use events::fds::{Fd, Target};

/// How many files are kept.
const MAX_FILES: usize = 256;
/// How many of the newest files are searched for the one that a read belongs to.
const MAX_OPEN: usize = 32;
/// How names of configuration files end.
const ENDINGS: &[&[u8]] = &[
    b".conf",
    b".cnf",
    b".cfg",
    b".config",
    b".ini",
    b".json",
    b".yaml",
    b".yml",
    b".toml",
    b".xml",
    b".properties",
    b".env",
    b"/Caddyfile",
    b"/Corefile",
];

/// Whether a path has a name as configuration files have.
pub(super) fn is_configuration(path: &[u8]) -> bool {
    ENDINGS.iter().any(|end| path.ends_with(end))
}

/// A configuration file that a process read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Number of its last read.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of that event.
    pub time: BootTime,
    /// The process.
    pub pid: u32,
    /// Its path, absolute where the working directory is known.
    pub path: Bytes,
    /// Whether all reads returned nothing.
    pub empty: bool,
}

/// The configuration files of a run, the last 256 that were read.
#[derive(Debug)]
pub struct ConfigFiles(Recent<ConfigFile>);

impl Default for ConfigFiles {
    fn default() -> Self {
        Self(Recent::new(MAX_FILES))
    }
}

impl ConfigFiles {
    /// The files, in the order of their first reads.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &ConfigFile> {
        self.0.iter()
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event, fd: Option<&Fd>) {
        if event.kind.class() != Class::Reads || event.ret < 0 {
            return;
        }
        let Some(Fd {
            target: Target::Path(path),
            ..
        }) = fd
        else {
            return;
        };
        if !is_configuration(path) {
            return;
        }
        let empty = event.ret == 0;
        let same = |file: &&mut ConfigFile| file.pid == event.pid && file.path == *path;
        if let Some(file) = self.0.iter_mut().rev().take(MAX_OPEN).find(same) {
            (file.event, file.time) = (number, event.time);
            file.empty &= empty;
            return;
        }
        self.0.push(ConfigFile {
            event: number,
            time: event.time,
            pid: event.pid,
            path: events::own(path),
            empty,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    #[test]
    fn a_file_is_empty_if_no_read_returned_anything() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/a.json", 3).read(INIT, 3, "a.json", "");
        s.open(INIT, "/etc/b.yaml", 4)
            .read(INIT, 4, "b.yaml", "x: 1")
            .read(INIT, 4, "b.yaml", "");
        s.open(INIT, "/srv/app.py", 5).read(INIT, 5, "app.py", "");
        let facts = Facts::of(&s.run, s.numbered());
        let files: Vec<_> = facts
            .config_files
            .iter()
            .map(|file| (&*file.path, file.empty))
            .collect();
        assert_eq!(
            files,
            [(&b"/etc/a.json"[..], true), (&b"/etc/b.yaml"[..], false)]
        );
    }
}
