//! A program gave up because a disk had no space left, or because a quota was used up.
//!
//! A call failed with ENOSPC or EDQUOT, and `failed_call.rs` ties it to the last words.
//!
//! The rule is wrong if ENOSPC meant something else: the kernel also gives it for a few limits that have nothing to do
//! with disks. The best known of them, the limit of inotify(7), is left out.

use super::failed_call::{Kind, find};
use super::{Case, Cause, Verdict};
use capture_format::EventKind;
use events::decode::Errno;

const KIND: Kind = Kind {
    errnos: &[Errno::ENOSPC, Errno::EDQUOT],
    says: &[
        "no space left",
        "enospc",
        "quota exceeded",
        "edquot",
        "disk full",
        "disk is full",
        "out of disk",
    ],
    rare: true,
    // inotify(7) also gives ENOSPC if the limit of watches is reached.
    concerns: |failure| failure.kind != EventKind::INOTIFY_ADD_WATCH,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let found = find(case, &KIND)?;
    let path = found.label();
    let place = match path.is_empty() {
        true => "a file".to_owned(),
        false => format!("\"{path}\""),
    };
    let (what, next_step) = match found.failure.errno {
        Errno::EDQUOT => (
            format!("the disk quota is used up for {place}"),
            "Raise the quota, or delete what is old: `quota`, `du -x`.",
        ),
        _ => (
            format!("no space is left for {place}"),
            "`df -h` and `df -i` in the container: free space, enlarge the volume, or raise the sizeLimit of its emptyDir.",
        ),
    };
    Some(found.verdict(case, Cause::DiskFull, path, &what, next_step.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn a_failed_write_is_named_by_the_file_it_was_opened_as() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/data/queue.db", 5);
        s.call(INIT, EventKind::WRITE, -28, [5, 0, 4096], "queue.db", "x")
            .write(INIT, 2, "OSError: [Errno 28] No space left on device\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.confidence),
            (Cause::DiskFull, "/data/queue.db", 86)
        );
    }

    #[test]
    fn a_watch_too_many_is_no_full_disk() {
        let mut s = Script::new(&["app"]);
        s.call(
            INIT,
            EventKind::INOTIFY_ADD_WATCH,
            -28,
            [5, 0, 0],
            "/srv",
            "",
        )
        .write(
            INIT,
            2,
            "ENOSPC: System limit for number of file watchers reached\n",
        )
        .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }
}
