//! Noise: calls that fail in nearly every program's life, and end no program.

use capture_format::EventKind;
use events::decode::Errno;

use super::Failure;

/// Files that programs look for in vain all the time. No program ends because of them without saying so.
const NOISE: &[&[u8]] = &[
    b"/etc/ld.so.",
    b"/usr/lib/locale/",
    b"/usr/share/locale",
    b"/etc/terminfo",
    b"/proc/",
    b"/sys/",
    b"/dev/tty",
];

/// Whether such a call fails in nearly every program's life.
pub fn is_noise(failure: &Failure) -> bool {
    fails_anyway(failure.kind, failure.errno, &failure.name)
}

/// Like [`is_noise`], for a call that is not kept as a fact; `name` is the path as passed.
pub fn fails_anyway(kind: EventKind, errno: Errno, name: &[u8]) -> bool {
    // realpath(3) asks for each part of a path whether that part is a link.
    let is_link = matches!(kind, EventKind::READLINK | EventKind::READLINKAT);
    NOISE.iter().any(|start| name.starts_with(start))
        || is_link && errno == Errno::EINVAL
        || name.ends_with(b"nscd/socket")
}
