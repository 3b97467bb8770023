//! A program gave up because another process holds a lock on a file.
//!
//! flock(2), or fcntl(2) with F_SETLK or F_OFD_SETLK, failed with EAGAIN or EACCES, and
//! the last words speak of it. If these speak of a lock, a weaker tie is enough, because the error can hardly mean anything else
//! then.
//!
//! The rule is wrong if the program could do without the lock and gave up over something else. Who holds the lock is a
//! guess: a process of the container that has the same file open.

use super::tied::Described;
use super::{Case, Cause};
use crate::candidate::label;
use crate::facts::Failure;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let path = label(failure);
    let what = match path.is_empty() {
        true => "a file".to_owned(),
        false => format!("\"{path}\""),
    };
    let holder = case.facts.also_open_at(failure.event);
    let holder = holder.and_then(|pid| case.facts.processes.get(pid));
    let by = holder.map_or_else(
        || "another process".to_owned(),
        |holder| {
            let (name, pid) = (holder.name(), holder.pid);
            format!("another process, maybe {name} (pid {pid}), which has it open,")
        },
    );
    let next_step = match path.is_empty() {
        true => "Find out who holds the lock (`lslocks` on the node): the same program twice, or another pod that shares the volume.".to_owned(),
        false => format!(
            "Find out who holds the lock on {path} (`lslocks` or `fuser {path}` on the node): the same program twice, or another pod that shares the volume."
        ),
    };
    Described {
        cause: Cause::Locked,
        subject: path,
        what: format!(": {by} holds the lock on {what}"),
        next_step,
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::EventKind;

    const F_SETLK: i64 = 6;

    /// The verdict if flock(2) is refused because the parent holds the file's lock, and the program then says these
    /// words.
    fn ended(words: &str) -> Verdict {
        let mut s = Script::new(&["store"]);
        s.fork(INIT, 200).exec(200, &["holder"]);
        s.open(200, "/data/store.lock", 3)
            .open(INIT, "/data/store.lock", 4)
            .call(INIT, EventKind::FLOCK, -11, [4, 6, 0], "", "")
            .write(INIT, 2, words);
        verdict(s.exit(INIT, 1))
    }

    #[test]
    fn the_file_and_who_has_it_open_are_named() {
        let verdict = ended("store: cannot lock /data/store.lock\n");
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::Locked, "/data/store.lock", 91)
        );
        assert!(
            verdict.sentence.contains(
                ": another process, maybe holder (pid 200), which has it open, holds the lock on \"/data/store.lock\"; stderr: "
            ),
            "{}",
            verdict.sentence
        );
        assert_eq!(
            ended("store: another instance is running\n").cause,
            Cause::Locked
        );
        let given = ended("store: cannot open: Resource temporarily unavailable\n");
        assert_eq!((given.cause, given.score), (Cause::Locked, 68));
    }

    #[test]
    fn one_that_was_tolerated_is_not_the_cause() {
        for words in [
            "tariff: zone 9 has no price\n",
            "fatal: cannot unlock the vault\n",
            "fatal: Blocked by policy 7\n",
        ] {
            assert_eq!(ended(words).cause, Cause::ExitedNonZero, "{words}");
        }
    }

    #[test]
    fn a_silent_end_right_after_it_is_likely_over_it() {
        let mut s = Script::new(&["flock", "-n", "/data/store.lock", "true"]);
        s.open(INIT, "/data/store.lock", 3).call(
            INIT,
            EventKind::FCNTL,
            -11,
            [3, F_SETLK, 0],
            "",
            "",
        );
        let verdict = verdict(s.exit(INIT, 1));
        assert_eq!((verdict.cause, verdict.score), (Cause::Locked, 55));
    }

    #[test]
    fn a_descriptor_that_could_not_be_copied_is_no_lock() {
        let mut s = Script::new(&["app"]);
        s.call(INIT, EventKind::FCNTL, -9, [3, 0, 0], "", "");
        s.write(INIT, 2, "error: file is locked\n");
        assert_ne!(verdict(s.exit(INIT, 1)).cause, Cause::Locked);
    }
}
