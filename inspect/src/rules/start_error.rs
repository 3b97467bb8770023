//! The command could not be started at all: there was no process to record, only the error of starting it.

use super::{Case, Cause, Verdict};
use crate::escape::escaped_to;
use crate::facts::process::basename;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let error = case.run.start_error.as_deref()?;
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
    let failed = case
        .facts
        .failures
        .iter()
        .rev()
        .find(|failure| super::exec::is_exec(failure.kind));
    let quoted = escaped_to(error.as_bytes(), 300);
    Some(Verdict {
        sentence: format!("the command could not be started: {quoted}"),
        cause,
        subject: failed.map_or_else(String::new, |failure| {
            escaped_to(basename(&failure.name), 200).to_string()
        }),
        confidence: 100,
        why: "starting the command failed with this error".into(),
        evidence: failed.map(super::exec::exec_evidence).into_iter().collect(),
        next_step: next_step.into(),
        weakened_by: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, verdict};

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
}
