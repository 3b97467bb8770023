//! A program gave up because there was no file descriptor left: none for the process (EMFILE), or none on the machine
//! (ENFILE).
//!
//! A call failed with one of these errors.
//!
//! The rule is wrong if the program could wait for a free descriptor and gave up over something else. Whether the
//! program leaks descriptors, or the limit is too low, is not known.

use super::tied::Described;
use super::{Case, Cause};
use crate::candidate::label;
use crate::facts::Failure;
use events::decode::Errno;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let whose = match failure.errno {
        Errno::ENFILE => "the machine",
        _ => "the process",
    };
    let call = failure.kind.name().unwrap_or("call");
    let label = label(failure);
    let about = if label.is_empty() {
        String::new()
    } else {
        format!(" of \"{label}\"")
    };
    Described {
        cause: Cause::TooManyOpenFiles,
        subject: failure.errno.to_string(),
        what: format!(": {whose} has too many open files ({call}{about} failed)"),
        next_step: case.advice(
            "Look for descriptors that are never closed (`lastword show` has every open and close), or raise the limit: LimitNOFILE of the container runtime's unit.",
            "Look for descriptors that are never closed (`lastword show` has every open and close), or raise the limit: `ulimit -n`.",
        ),
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn an_open_too_many() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/data/a", -24)
            .write(INIT, 2, "accept: too many open files\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::TooManyOpenFiles, "EMFILE")
        );
        assert_eq!(verdict.score, 84);
    }

    #[test]
    fn one_that_was_made_good_ended_nothing() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/data/a", -24).open(INIT, "/data/a", 9);
        assert_eq!(
            verdict(s.write(INIT, 2, "fatal: bad port\n").exit(INIT, 1)).cause,
            Cause::ExitedNonZero
        );
    }
}
