//! A program gave up because it has to write to a file system that is mounted read-only.
//!
//! A call failed with EROFS. The next step names the volume of the
//! path, if the pod's specification has one there.
//!
//! The rule is wrong if the program could do without writing there and gave up over something else.

use super::tied::Described;
use super::{Case, Cause, volume};
use crate::candidate::label;
use crate::facts::Failure;

pub(super) fn describe(case: &Case<'_>, failure: &Failure) -> Described {
    let path = label(failure);
    let next_step = case.advice(
        format!(
            "Mount a writable volume (an emptyDir, say) where {path} lies{}, or look for readOnlyRootFilesystem and readOnly in the pod's volumeMounts.",
            volume::below(case, &path)
        ),
        format!("Let it write elsewhere, or mount a writable file system where {path} lies."),
    );
    Described {
        cause: Cause::ReadOnlyFileSystem,
        what: format!(": \"{path}\" is on a read-only file system"),
        subject: path,
        next_step,
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};

    fn ended(words: &str) -> Verdict {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/data/app.pid", -30);
        if !words.is_empty() {
            s.write(INIT, 2, words);
        }
        verdict(s.exit(INIT, 1))
    }

    #[test]
    fn what_was_told_and_tolerated_is_not_why() {
        let ended = |first: &str| {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/data/cache.bin", -30)
                .write(INIT, 2, first)
                .write(INIT, 2, "rules are no JSON: Expecting value\n");
            verdict(s.exit(INIT, 1)).cause
        };
        let tolerated = "cache disabled: Read-only file system: '/data/cache.bin'\n";
        assert_eq!(ended(tolerated), Cause::ExitedNonZero);
        let warned = "Warning: cannot open the cache: Read-only file system\n";
        assert_eq!(ended(warned), Cause::ReadOnlyFileSystem);
    }

    #[test]
    fn the_path_is_named() {
        let verdict = ended("app: cannot create /data/app.pid: Read-only file system\n");
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::ReadOnlyFileSystem, "/data/app.pid", 91)
        );
        assert!(
            verdict
                .sentence
                .contains("\"/data/app.pid\" is on a read-only file system"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn less_is_said_by_less() {
        assert_eq!(ended("fatal: read-only file system\n").score, 84);
        assert_eq!(ended("fatal: cannot start\n").score, 68);
        assert_eq!(ended("").score, 55);
    }
}
