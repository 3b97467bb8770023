//! A call failed with an error that has no cause of its own, and the last words give that error.

use super::Cause;
use super::tied::Described;
use crate::candidate::label;
use crate::facts::Failure;

pub(super) fn describe(failure: &Failure) -> Described {
    let call = failure.kind.name().unwrap_or("call");
    let label = label(failure);
    let (errno, text) = (failure.errno, failure.errno.text());
    let (of, subject) = match label.is_empty() {
        true => (String::new(), call.to_owned()),
        false => (format!(" of \"{label}\""), label),
    };
    Described {
        cause: Cause::CallFailed,
        what: format!(": {call}{of} failed ({errno}, {text})"),
        subject,
        next_step: format!(
            "{call}(2) says when it fails with {errno}; `lastword show` has its arguments."
        ),
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::EventKind;

    fn ended(kind: EventKind, errno: i64, path: &str, words: &str) -> crate::rules::Verdict {
        let mut s = Script::new(&["app"]);
        s.call(INIT, kind, -errno, [0; 3], path, "")
            .write(INIT, 2, words);
        verdict(s.exit(INIT, 1))
    }

    #[test]
    fn any_error_that_the_last_words_give_is_why() {
        let verdict = ended(
            EventKind::OPENAT,
            40,
            "/srv/current/app.yaml",
            "app: open /srv/current/app.yaml: Too many levels of symbolic links\n",
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::CallFailed, "/srv/current/app.yaml", 91)
        );
        assert!(
            verdict.sentence.contains("openat of \"/srv/current/app.yaml\" failed (ELOOP, Too many levels of symbolic links)"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn without_a_name_it_is_less_sure() {
        let verdict = ended(
            EventKind::MMAP,
            12,
            "",
            "fatal: arena: Cannot allocate memory\n",
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::CallFailed, 68));
    }

    #[test]
    fn an_error_that_nobody_gives_explains_nothing() {
        let verdict = ended(EventKind::OPENAT, 40, "/srv/a", "fatal: bad port\n");
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
    }
}
