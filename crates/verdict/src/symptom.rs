//! Symptoms: what can go wrong with a call, a connection or a look-up, and how programs say so.
//!
//! The table is `knowledge/symptoms.toml`. A symptom that no row has is an errno with its name and the words of
//! strerror(3).

use std::sync::LazyLock;

use capture_format::{Class, EventKind};
use events::decode::Errno;
use events::fds::has_path;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::facts::{Failure, is_noise};
use crate::rules::phrase::{gives, said};
use crate::rules::{Cause, is_exec};

const FILE: &str = include_str!("../knowledge/symptoms.toml");

/// What went wrong, and how programs say so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Symptom {
    /// The cause of an end that follows from it.
    #[serde(rename = "id")]
    pub(crate) cause: Cause,
    /// The errors of the calls.
    #[serde(deserialize_with = "errnos")]
    errnos: Vec<Errno>,
    /// Which calls are meant.
    pub(crate) calls: Calls,
    /// The symptom itself, in lower case.
    pub(crate) says: Vec<String>,
    /// Those of `says` that no program says together with a name.
    #[serde(default)]
    pub(crate) alone: Vec<String>,
    /// What counts only right beside the entity.
    #[serde(default)]
    pub(crate) beside: Vec<String>,
    /// What counts in a sentence that names host and port.
    #[serde(default)]
    pub(crate) with: Vec<String>,
    /// Whether a phrase of `says` counts only if no other word follows: `no such file format` is another error.
    #[serde(default)]
    complete: bool,
    /// Whether hardly any program goes on after it.
    #[serde(default)]
    pub(crate) rare: bool,
    /// Whether the row is meant only if the program says one of its phrases.
    #[serde(default)]
    pub(crate) only_if_said: bool,
}

/// Which calls a symptom is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Calls {
    /// All that have no row of their own.
    Any,
    /// Calls with a path.
    Paths,
    /// Calls that need room on a disk.
    Storage,
    /// bind(2) and listen(2).
    Binds,
    /// flock(2) and fcntl(2).
    Locks,
    /// fork(2) and its kin.
    Processes,
    /// Calls that check who the caller is.
    Permissions,
    /// connect(2).
    Connects,
    /// Ends of connections that the other end brought about.
    Closes,
    /// Look-ups of names.
    Lookups,
}

impl Calls {
    /// Whether a failed call is meant.
    fn has(self, failure: &Failure) -> bool {
        let kind = failure.kind;
        let processes = is_of_processes(kind);
        match self {
            Self::Any => true,
            Self::Paths => has_path(kind) && !is_exec(kind) && !failure.name.is_empty(),
            Self::Storage => kind != EventKind::INOTIFY_ADD_WATCH && !processes,
            Self::Binds => matches!(kind, EventKind::BIND | EventKind::LISTEN),
            Self::Locks => matches!(kind, EventKind::FLOCK | EventKind::FCNTL),
            Self::Processes => processes,
            Self::Permissions => {
                !is_exec(kind) && kind != EventKind::CONNECT && !processes && !is_noise(failure)
            }
            Self::Connects | Self::Closes | Self::Lookups => false,
        }
    }
}

/// How programs say what they tried in vain, in lower case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tried {
    pub(crate) path: Vec<String>,
    pub(crate) connection: Vec<String>,
    pub(crate) waiting: Vec<String>,
    pub(crate) again: Vec<String>,
    pub(crate) process: Vec<String>,
    pub(crate) name: Vec<String>,
    pub(crate) leads_away: Vec<String>,
    pub(crate) between: Vec<String>,
    pub(crate) generic: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    symptom: Vec<Symptom>,
    tried: Tried,
}

/// Errors by their names.
fn errnos<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Errno>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let errno = |name: &String| {
        Errno::named(name).ok_or_else(|| D::Error::custom(format!("no error is called {name}")))
    };
    names.iter().map(errno).collect()
}

static TABLE: LazyLock<File> =
    LazyLock::new(|| toml::from_str(FILE).expect("a test reads the table"));

/// For each errno a symptom that has no row: programs give its name, or the words of strerror(3).
static ERRNOS: LazyLock<Vec<Symptom>> = LazyLock::new(|| {
    let of = |errno: Errno| Symptom {
        cause: Cause::CallFailed,
        errnos: vec![errno],
        calls: Calls::Any,
        says: vec![
            errno.to_string().to_lowercase(),
            errno.text().to_lowercase(),
        ],
        alone: Vec::new(),
        beside: Vec::new(),
        with: Vec::new(),
        complete: false,
        rare: false,
        only_if_said: false,
    };
    Errno::names().filter_map(Errno::named).map(of).collect()
});

/// The symptoms of a failed call: those of the table, else that of its errno.
pub(crate) fn of_call(failure: &Failure) -> impl Iterator<Item = &'static Symptom> {
    let mut in_table = all()
        .iter()
        .filter(|symptom| symptom.is_of(failure))
        .peekable();
    let other = (in_table.peek().is_none() && !is_exec(failure.kind))
        .then(|| ERRNOS.iter().find(|symptom| symptom.is_of(failure)))
        .flatten();
    in_table.chain(other)
}

/// All symptoms of the table.
pub(crate) fn all() -> &'static [Symptom] {
    &TABLE.symptom
}

/// Whether a text says that the other end closed a connection.
pub(crate) fn closes(text: &str) -> bool {
    let mut symptoms = all()
        .iter()
        .filter(|symptom| symptom.calls == Calls::Closes);
    symptoms.any(|symptom| symptom.is_said(text))
}

/// How programs say what they tried.
pub(crate) fn tried() -> &'static Tried {
    &TABLE.tried
}

/// Whether a call should start a process or thread.
pub(crate) fn is_of_processes(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(kind, K::SYS_FORK | K::VFORK | K::CLONE | K::CLONE3)
}

impl Symptom {
    /// Whether an error is one of this symptom.
    pub(crate) fn is_error(&self, errno: Errno) -> bool {
        self.errnos.contains(&errno)
    }

    /// Whether a text says that this happened.
    pub(crate) fn is_said(&self, text: &str) -> bool {
        said(text, &self.says).any(|place| {
            let rest = text[place.end..].trim_start();
            let goes_on = rest.starts_with(|c: char| c.is_alphabetic());
            let of_place = ["or ", "at ", "in "]
                .iter()
                .any(|word| rest.starts_with(word));
            !self.complete || !goes_on || of_place
        })
    }

    /// Whether a text gives an error that is not one of this symptom.
    pub(crate) fn is_contradicted(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        let mut others = ERRNOS.iter().filter(|other| {
            let mut says = other.says.iter();
            says.any(|phrase| lower.contains(phrase))
        });
        others.any(|other| {
            let mut errnos = other.errnos.iter();
            errnos.any(|&errno| !self.is_error(errno) && gives(text, errno))
        })
    }

    /// Whether a failed call has this symptom.
    pub(crate) fn is_of(&self, failure: &Failure) -> bool {
        self.is_error(failure.errno) && self.calls.has(failure)
    }

    /// Whether a silent process may have ended over this call: it is no search.
    pub(crate) fn ends_in_silence(&self, failure: &Failure) -> bool {
        self.calls != Calls::Paths || failure.kind.class() == Class::Opens && !is_noise(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        for symptom in all() {
            assert!(
                symptom
                    .says
                    .iter()
                    .all(|phrase| *phrase == phrase.to_lowercase()),
                "{symptom:?}"
            );
        }
        assert!(!tried().path.is_empty());
    }
}
