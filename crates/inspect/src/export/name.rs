//! Names of events and processes in exports.

use std::borrow::Cow;

use capture_format::EventKind;

use events::context::Seen;

/// Name of a system call or of a life-cycle event; `kind_N` for a kind that this version does not know.
pub(super) fn kind_name(kind: EventKind) -> Cow<'static, str> {
    kind.name()
        .map_or_else(|| format!("kind_{}", kind.0).into(), Into::into)
}

/// Name of the process for people, escaped; the pid if the name is not known.
pub(super) fn process_name(seen: &Seen<'_>) -> String {
    match seen.program.label.as_str() {
        "" => format!("pid {}", seen.event.pid),
        label => label.to_owned(),
    }
}
