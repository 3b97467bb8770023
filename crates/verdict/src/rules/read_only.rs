//! A program gave up because it has to write to a file system that is mounted read-only.
//!
//! A call failed with EROFS, and `failed_call.rs` ties it to the last words. The next step names the volume of the
//! path, if the pod's specification has one there.
//!
//! The rule is wrong if the program could do without writing there and gave up over something else.

use super::failed_call::{Kind, find};
use super::{Case, Cause, Verdict, volume};
use events::decode::Errno;

const KIND: Kind = Kind {
    errnos: &[Errno::EROFS],
    says: &["read-only", "erofs", "readonly"],
    rare: true,
    concerns: |_| true,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let found = find(case, &KIND)?;
    let path = found.label();
    let what = format!("\"{path}\" is on a read-only file system");
    let next_step = format!(
        "Mount a writable volume (an emptyDir, say) where {path} lies{}, or look for readOnlyRootFilesystem and readOnly in the pod's volumeMounts.",
        volume::below(case, &path)
    );
    Some(found.verdict(case, Cause::ReadOnlyFileSystem, path, &what, next_step))
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (verdict.cause, verdict.subject.as_str(), verdict.confidence),
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
        assert_eq!(ended("fatal: read-only file system\n").confidence, 86);
        assert_eq!(ended("fatal: cannot start\n").confidence, 68);
        assert_eq!(ended("").confidence, 55);
    }
}
