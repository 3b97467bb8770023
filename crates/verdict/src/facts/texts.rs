//! Texts that processes read from configuration, as far as they were recorded. A path, host or address that failed may
//! be named in one of them.

use bytes::Bytes;
use capture_format::{Class, Event, FdType};

use super::Recent;
use super::config_files::is_configuration;
use crate::entity::names;
use events::escape::is_text;
use events::fds::Fd;

/// How many reads are kept.
const MAX_READS: usize = 32;
/// How many bytes of a read are kept.
const MAX_BYTES: usize = 4096;

/// Files of /etc that name every user's directories.
const OF_USERS: &[&[u8]] = &[b"/etc/passwd", b"/etc/group"];

/// A part of a file that was read.
#[derive(Clone, Debug)]
struct Read {
    event: u64,
    path: Bytes,
    text: String,
}

/// The texts that were read last.
#[derive(Debug)]
pub struct Texts(Recent<Read>);

impl Default for Texts {
    fn default() -> Self {
        Self(Recent::new(MAX_READS))
    }
}

impl Texts {
    pub(super) fn observe(&mut self, number: u64, event: &Event, fd: Option<&Fd>) {
        let is_file = matches!(event.fd_type, FdType::REGULAR | FdType::UNKNOWN);
        if event.kind.class() != Class::Reads || event.ret <= 0 || !is_file {
            return;
        }
        let Some(path) = fd.and_then(Fd::path) else {
            return;
        };
        let data = &event.data[..event.data.len().min(MAX_BYTES)];
        let is_configuration = is_configuration(path) || path.starts_with(b"/etc/");
        if is_configuration && !OF_USERS.contains(&&path[..]) && is_text(data) {
            self.0.push(Read {
                event: number,
                path: events::own(path),
                text: String::from_utf8_lossy(data).into_owned(),
            });
        }
    }

    /// The path of the last text read before this event that contains `name` as a whole word.
    #[must_use]
    pub fn naming(&self, name: &str, before: u64) -> Option<&[u8]> {
        let mut earlier = self.0.iter().rev().filter(|read| read.event < before);
        let read = earlier.find(|read| names(&read.text, name))?;
        Some(&read.path)
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    #[test]
    fn a_text_is_found_by_what_it_names_if_it_was_read_before() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/srv/app.yaml", 3)
            .read(INIT, 3, "app.yaml", "key: /run/app/key.pem\n");
        let facts = Facts::of(&s.run, s.numbered());
        let naming = |name: &str, before| facts.texts.naming(name, before);
        assert_eq!(naming("/run/app/key.pem", 99), Some(&b"/srv/app.yaml"[..]));
        assert_eq!(naming("/run/app", 99), None);
        assert_eq!(naming("/run/app/key.pem", 4), None);
    }
}
