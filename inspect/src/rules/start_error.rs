//! The command could not be started at all: there was no process to record, only the error of starting it.

use super::{Case, Cause, Verdict, exec};
use crate::escape::escaped_to;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let error = case.run.start_error.as_deref()?;
    let mut failures = case.facts.failures.iter().rev();
    let failed = failures.find(|failure| exec::is_exec(failure.kind));
    let (cause, what, next_step) = match failed {
        Some(failure) => exec::describe(&failure.name, failure.errno, 1),
        None => by_text(error),
    };
    Some(Verdict {
        sentence: format!("the command could not be started: {what}"),
        cause,
        subject: failed.map_or_else(String::new, |failure| {
            escaped_to(&failure.name, 200).to_string()
        }),
        confidence: 100,
        why: "starting the command failed with this error".into(),
        evidence: failed.map(exec::exec_evidence).into_iter().collect(),
        next_step,
        weakened_by: Vec::new(),
    })
}

/// The error in words is all there is: it comes from whoever started the command.
fn by_text(error: &str) -> (Cause, String, String) {
    let text = error.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|t| text.contains(t));
    let (cause, next_step) = if says(&["no such file", "not found", "enoent"]) {
        (
            Cause::CommandNotFound,
            "Check the spelling of the command, that the image has it, and that a script's first line names an interpreter the image has.",
        )
    } else if says(&["permission denied", "eacces"]) {
        (
            Cause::NotExecutable,
            "Make the file executable (chmod +x), and check that its volume is not mounted noexec.",
        )
    } else if says(&["exec format error", "enoexec"]) {
        (
            Cause::ExecFormat,
            "Compare `file COMMAND` with `uname -m`: the program is for another architecture, or a script without a #! line.",
        )
    } else {
        (
            Cause::StartFailed,
            "Read the error above: it comes from the runtime, before any process of the container existed.",
        )
    };
    (
        cause,
        escaped_to(error.as_bytes(), 300).to_string(),
        next_step.into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, verdict};
    use capture_format::EventKind;

    fn cause(error: &str) -> Cause {
        let mut s = Script::empty();
        s.run.start_error = Some(error.into());
        verdict(&s).cause
    }

    #[test]
    fn the_error_of_starting_names_the_cause() {
        assert_eq!(
            cause("exec /nope: No such file or directory (os error 2)"),
            Cause::CommandNotFound
        );
        assert_eq!(
            cause("exec: \"foo\": executable file not found in $PATH"),
            Cause::CommandNotFound
        );
        assert_eq!(cause("exec /app: Permission denied"), Cause::NotExecutable);
        assert_eq!(cause("exec /app: Exec format error"), Cause::ExecFormat);
        assert_eq!(cause("cgroup is gone"), Cause::StartFailed);
    }

    #[test]
    fn a_failed_exec_says_more_than_the_words() {
        let mut s = Script::empty();
        s.run.start_error = Some("\"./app\": No such file or directory (os error 2)".into());
        s.call(7, EventKind::EXECVE, -2, [0; 3], "./app", "./app\0");
        s.exit(7, 1);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "the command could not be started: cannot execute \"./app\": it, or the interpreter its first line names, does not exist"
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::CommandNotFound, "./app")
        );
        // The process that would have become the command has not lived.
        assert_eq!(verdict.evidence.len(), 1);
    }
}
