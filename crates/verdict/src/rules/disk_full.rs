//! A program gave up because a disk had no space left, or because a quota was used up.
//!
//! A call failed with ENOSPC or EDQUOT.
//!
//! The rule is wrong if ENOSPC meant something else: the kernel also gives it for a few limits that have nothing to do
//! with disks. The best known of them, the limit of inotify(7), is left out.

use super::tied::Described;
use super::{Case, Cause};
use crate::candidate::label;
use crate::facts::Failure;
use events::decode::Errno;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let path = label(failure);
    let place = match path.is_empty() {
        true => "a file".to_owned(),
        false => format!("\"{path}\""),
    };
    let (what, next_step) = match failure.errno {
        Errno::EDQUOT => (
            format!(": the disk quota is used up for {place}"),
            "Raise the quota, or delete what is old: `quota`, `du -x`.".to_owned(),
        ),
        _ => (
            format!(": no space is left for {place}"),
            case.advice(
                "`df -h` and `df -i` in the container: free space, enlarge the volume, or raise the sizeLimit of its emptyDir.",
                "`df -h` and `df -i`: free space, or enlarge the file system.",
            ),
        ),
    };
    Described {
        cause: Cause::DiskFull,
        subject: path,
        what,
        next_step,
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::EventKind;

    #[test]
    fn a_failed_write_is_named_by_the_file_it_was_opened_as() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/data/queue.db", 5);
        s.call(INIT, EventKind::WRITE, -28, [5, 0, 4096], "queue.db", "x")
            .write(INIT, 2, "OSError: [Errno 28] No space left on device\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::DiskFull, "/data/queue.db", 84)
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
        assert_eq!(verdict(&s).cause, Cause::CallFailed);
    }
}
