//! The command could not be started at all: there was no process to record, only the error of starting it.

use super::{Case, Cause, Evidence, Verdict, exec};
use crate::decode::Errno;
use crate::escape::escaped_to;
use crate::facts::naming::basename;

/// Failed calls that are cited.
const MAX_EVIDENCE: usize = 4;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let error = case.start_error()?;
    let mut failures = case.facts.failures.iter().rev();
    let failed = failures.find(|failure| exec::is_exec(failure.kind));
    let ((cause, what, next_step), subject, evidence) = match (failed, runtime_exec(error)) {
        (Some(failure), _) => (
            exec::describe(&failure.name, failure.errno, 1),
            escaped_to(&failure.name, 200).to_string(),
            vec![exec::exec_evidence(failure)],
        ),
        (None, Some((command, errno))) => (
            exec::describe(command.as_bytes(), errno, 1),
            escaped_to(command.as_bytes(), 200).to_string(),
            looked_for(case, command),
        ),
        (None, None) => (by_text(error), String::new(), Vec::new()),
    };
    Some(Verdict {
        sentence: format!("the command could not be started: {what}"),
        cause,
        subject,
        confidence: 100,
        why: "starting the command failed with this error".into(),
        evidence,
        next_step,
        weakened_by: Vec::new(),
    })
}

/// Command and error, as runc and crun say that they could not execute it: `exec: "/app": stat /app: no such file or directory`,
/// ``executable file `app` not found in $PATH``.
fn runtime_exec(error: &str) -> Option<(&str, Errno)> {
    let quoted = [("exec: \"", '"'), ("executable file `", '`')];
    let (command, rest) = quoted.iter().find_map(|&(start, end)| {
        let (_, rest) = error.split_once(start)?;
        rest.split_once(end)
    })?;
    let rest = rest.to_lowercase();
    let errnos = [
        ("no such file or directory", Errno::ENOENT),
        ("not found in $path", Errno::ENOENT),
        ("permission denied", Errno::EACCES),
        ("is a directory", Errno::EACCES),
        ("exec format error", Errno::ENOEXEC),
    ];
    let (_, errno) = errnos.into_iter().find(|(text, _)| rest.contains(text))?;
    Some((command, errno))
}

/// The failed calls by which the runtime looked for the command.
fn looked_for(case: &Case<'_>, command: &str) -> Vec<Evidence> {
    let name = basename(command.as_bytes());
    let failures = case
        .facts
        .failures
        .iter()
        .chain(case.facts.visitors_failures.iter());
    let tried = failures.filter(|failure| !name.is_empty() && basename(&failure.name) == name);
    let evidence = tried.map(|failure| {
        let path = escaped_to(&failure.name, 300);
        Evidence::new(failure.event, format!("{path}: {}", failure.errno.text()))
    });
    let evidence: Vec<Evidence> = evidence.collect();
    evidence[evidence.len().saturating_sub(MAX_EVIDENCE)..].to_vec()
}

/// The error in words is all there is: it comes from whoever started the command.
fn by_text(error: &str) -> (Cause, String, String) {
    let text = error.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|t| text.contains(t));
    // A runtime that could not execute the command names it, see above; its other errors use the same words.
    let by_runtime = says(&["oci runtime", "runc create", "crun:", "containerd task"]);
    let (cause, next_step) = if by_runtime {
        (
            Cause::StartFailed,
            "Read the error: the runtime met it before the command was executed, while it set up mounts, working directory, user or limits.",
        )
    } else if says(&["no such file", "not found", "enoent"]) {
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
            "Read the error: it comes from the runtime, before any process of the container existed.",
        )
    };
    (
        cause,
        escaped_to(innermost(error).as_bytes(), 300).to_string(),
        next_step.into(),
    )
}

/// The part of a runtime's error that says what happened, without who called whom.
fn innermost(error: &str) -> &str {
    let callers = [
        "unable to start container process: ",
        "runc create failed: ",
        "OCI runtime create failed: ",
        "failed to create shim task: ",
    ];
    let inner = callers
        .iter()
        .find_map(|caller| Some(error.split_once(caller)?.1));
    let inner = inner.unwrap_or(error).trim();
    inner.strip_suffix(": unknown").unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::{EventKind, Terminated};

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

    /// As Kubernetes 1.20 with containerd 1.6 and runc 1.1 says it.
    fn as_kubernetes_says(error: &str) -> Script {
        let mut s = Script::empty();
        s.run.terminated = Some(Terminated {
            reason: "StartError".into(),
            message: format!(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {error}: unknown"
            ),
            exit_code: Some(128),
            ..Terminated::default()
        });
        s
    }

    #[test]
    fn a_runtime_that_found_no_command_names_it_and_its_look_ups_are_cited() {
        let mut s = as_kubernetes_says(
            "exec: \"/usr/local/bin/srever\": stat /usr/local/bin/srever: no such file or directory",
        );
        s.stat(7, "/proc/self/attr/apparmor/exec", 2)
            .stat(7, "/usr/local/bin/srever", 2)
            .exit(7, 1);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "the command could not be started: cannot execute \"/usr/local/bin/srever\": it, or the interpreter its first line names, does not exist"
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::CommandNotFound, "/usr/local/bin/srever")
        );
        let cited: Vec<u64> = verdict.evidence.iter().map(|it| it.event).collect();
        assert_eq!(cited, [2]);
    }

    #[test]
    fn other_errors_of_a_runtime_are_no_missing_command() {
        for (error, cause) in [
            (
                "exec: \"app\": executable file not found in $PATH",
                Cause::CommandNotFound,
            ),
            ("exec: \"/app\": permission denied", Cause::NotExecutable),
            ("exec: \"/app\": is a directory", Cause::NotExecutable),
            (
                "error during container init: error mounting \"/a\" to rootfs at \"/b\": mount /a:/b: no such file or directory",
                Cause::StartFailed,
            ),
            (
                "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
                Cause::StartFailed,
            ),
        ] {
            assert_eq!(verdict(&as_kubernetes_says(error)).cause, cause, "{error}");
        }
        let mount = verdict(&as_kubernetes_says(
            "error mounting \"/a\": not a directory",
        ));
        assert_eq!(
            mount.sentence,
            "the command could not be started: error mounting \"/a\": not a directory"
        );
    }

    #[test]
    fn what_the_runtime_tried_before_a_command_that_ran_is_not_its_failure() {
        let mut s = Script::empty();
        s.run.init_pid = INIT;
        s.open(INIT, "/app/config.yaml", -2);
        s.exec(INIT, &["app"]).exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!((verdict.cause, verdict.evidence.len()), (Cause::Unknown, 1));
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
