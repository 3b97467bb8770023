//! The command could not be started at all.
//!
//! Either somebody reported the error of starting it: `lastword run` met it, or Kubernetes has it from the runtime. Or
//! the whole run was recorded, and its first process executed nothing: there was only a process of the runtime. A
//! failed execve(2), or the command in the text of the error, says what could not be executed and why. If nobody
//! reported an error and no execve(2) failed, the rule only says that the runtime gave up.
//!
//! The last case is wrong if something else ended the runtime's process. If the OOM killer did, this rule returns
//! nothing, and the rule `oom` says so.

use capture_format::SignalOrigin;

use super::{Case, Cause, Evidence, Finding, case::how, exec};
use crate::facts::{Failure, is_noise};
use crate::runtimes;
use events::basename;
use events::decode::Errno;
use events::decode::Signal;
use events::escape::escaped_to;

/// How many failed calls are cited.
const MAX_EVIDENCE: usize = 4;

/// How runtimes name a command that they could not execute: the text before the command, and the character after it.
/// runc says `exec: "/app": stat /app: no such file or directory`, crun says ``executable file `app` not found in
/// $PATH``.
const NAMED: [(&str, char); 3] = [
    ("exec: \"", '"'),
    ("executable file `", '`'),
    ("the path `", '`'),
];
/// What runtimes then say about the command, in lower case.
const SAID: [(&str, Errno); 7] = [
    ("no such file or directory", Errno::ENOENT),
    ("not found in $path", Errno::ENOENT),
    ("permission denied", Errno::EACCES),
    ("is not executable", Errno::EACCES),
    ("is a directory", Errno::EISDIR),
    ("is not a regular file", Errno::EISDIR),
    ("exec format error", Errno::ENOEXEC),
];

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let told = case.start_error();
    let never_executed = case.never_executed();
    if told.is_none() && !never_executed {
        return None;
    }
    let mut failures = case.facts.failures.iter().rev();
    let tried = |failure: &&Failure| {
        exec::is_exec(failure.kind)
            && (!never_executed
                || case
                    .facts
                    .init()
                    .is_some_and(|init| init.pid == failure.pid))
    };
    let failed = failures.find(tried);
    if failed.is_none() && killed_for_memory(case) {
        return None;
    }
    let Some(error) = told.or(failed.map(|_| "")) else {
        return Some(given_up(case));
    };
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
    let (why, weakened_by) = match told {
        Some(_) => ("starting the command failed with this error", Vec::new()),
        None => (
            "execve failed, and nothing was executed in its place",
            case.missing_events(),
        ),
    };
    Some(Finding {
        rests_on: None,
        sentence: format!("the command could not be started: {what}"),
        cause,
        subject,
        score: 100,
        why: why.into(),
        evidence,
        next_step,
        weakened_by,
    })
}

/// Whether the process that was to become the command was killed because memory ran out.
fn killed_for_memory(case: &Case<'_>) -> bool {
    let mut kills = case.facts.oom_kills.iter();
    kills.any(|kill| case.in_chain(kill.pid))
}

/// The runtime ended before it executed the command, and nothing says why.
fn given_up(case: &Case<'_>) -> Finding {
    let init = case.facts.init();
    let killer = init
        .and_then(|init| case.facts.signals.last(init.pid, Signal::KILL))
        .filter(|sent| sent.origin == Some(SignalOrigin::Outside));
    let by_runtime = killer.is_some_and(|sent| runtimes::is_runtime(&sent.sender_name));
    let (score, why) = if by_runtime {
        (
            99,
            "nothing was executed, and the runtime itself ended what was to become the command",
        )
    } else {
        (60, "nothing was executed")
    };
    let mut failures = case.facts.failures.iter().rev();
    let last = failures.find(|failure| !is_noise(failure));
    let evidence = last.map(|failure| {
        let path = escaped_to(&failure.name, 300);
        let text = format!("last failed call: {path}: {}", failure.errno.text());
        Evidence::new(failure.event, failure.time, text)
    });
    let ended = match case.status() {
        Some(status) => format!(" ({})", how(status)),
        None => String::new(),
    };
    Finding {
rests_on: None,
        sentence: format!(
            "the command was never started: the runtime gave up while it set the container up{ended}; why is not known"
        ),
        cause: Cause::StartFailed,
        subject: String::new(),
        score,
        why: why.into(),
        evidence: evidence.into_iter().collect(),
        next_step: "Read what the runtime says: `kubectl describe pod`, `docker inspect`, or its log on the node (`journalctl -u containerd`).".into(),
        weakened_by: case.missing_events(),
    }
}

/// Command and error from a message in which runc or crun says that it could not execute the command.
fn runtime_exec(error: &str) -> Option<(&str, Errno)> {
    let (command, rest) = NAMED.iter().find_map(|&(before, after)| {
        let (_, rest) = error.split_once(before)?;
        rest.split_once(after)
    })?;
    let rest = rest.to_lowercase();
    let (_, errno) = SAID.into_iter().find(|(text, _)| rest.contains(text))?;
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
        Evidence::new(
            failure.event,
            failure.time,
            format!("{path}: {}", failure.errno.text()),
        )
    });
    let evidence: Vec<Evidence> = evidence.collect();
    evidence[evidence.len().saturating_sub(MAX_EVIDENCE)..].to_vec()
}

/// The cause if there is only an error in words, from whatever started the command.
fn by_text(error: &str) -> (Cause, String, String) {
    let text = error.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|t| text.contains(t));
    // A runtime that could not execute the command names it, see above. Its other errors use the same words.
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

/// The part of a runtime's error that says what happened, without the names of the callers.
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
    use capture_format::{EventKind, SignalOrigin, Terminated};

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

    /// The error in the words of Kubernetes 1.20 with containerd 1.6 and runc 1.1.
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
                "crun: executable file `app` not found in $PATH: No such file or directory",
                Cause::CommandNotFound,
            ),
            (
                "crun: the path `/app` exists but it is not executable: Operation not permitted",
                Cause::NotExecutable,
            ),
            (
                "crun: the path `/app` is not a regular file: Operation not permitted",
                Cause::NotExecutable,
            ),
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

    /// The events that runc and crun leave in the ring: the process that was to become the command is forked from
    /// outside, tries to execute the command, and reports the failure itself.
    fn set_up(comm: &str, tried: &[(&str, i64)]) -> Script {
        let mut s = Script::empty();
        s.run.init_pid = INIT;
        s.call(99, EventKind::FORK, INIT.into(), [1, 0, 0], comm, "");
        s.stat(INIT, "/proc/kcore", 2);
        for (path, errno) in tried {
            s.call(INIT, EventKind::EXECVE, -errno, [0; 3], path, "");
        }
        s
    }

    #[test]
    fn however_the_runtime_ends_after_it_the_failed_exec_is_the_cause() {
        let endings: [fn(&mut Script); 6] = [
            |s| {
                s.exit(INIT, 1);
            },
            |s| {
                s.exit(INIT, 126);
            },
            |s| {
                s.exit(INIT, 127);
            },
            |s| {
                s.exit(INIT, 255);
            },
            |s| {
                s.signal(INIT, 9, 0, (98, "runc"), SignalOrigin::Outside)
                    .exit_status(INIT, 9);
            },
            |s| {
                s.signal(INIT, 9, 0, (INIT, "crun"), SignalOrigin::Inside)
                    .exit_status(INIT, 9);
            },
        ];
        let errors = [
            (2, Cause::CommandNotFound),
            (8, Cause::ExecFormat),
            (13, Cause::NotExecutable),
        ];
        for (index, end) in endings.iter().enumerate() {
            for (errno, cause) in errors {
                let mut s = set_up("runc:[2:INIT]", &[("/app/server", errno)]);
                end(&mut s);
                let verdict = verdict(&s);
                assert_eq!(
                    (verdict.cause, verdict.subject.as_str(), verdict.score),
                    (cause, "/app/server", 100),
                    "ending {index}: {}",
                    verdict.sentence
                );
            }
        }
    }

    #[test]
    fn where_the_command_may_have_run_a_failed_exec_is_no_start_error() {
        // The command ran, and could not execute a helper.
        let mut ran = Script::new(&["app"]);
        ran.call(INIT, EventKind::EXECVE, -2, [0; 3], "/bin/helper", "")
            .exit(INIT, 255);
        // The command may have run: all or part of the beginning is missing.
        let mut overwritten = set_up("runc:[2:INIT]", &[("/bin/helper", 2)]);
        overwritten.exit(INIT, 255);
        overwritten.run.losses.overwritten = 1;
        let mut lost = set_up("runc:[2:INIT]", &[("/bin/helper", 2)]);
        lost.exit(INIT, 255);
        lost.run.losses.lost = 1;
        // Another process tried.
        let mut other = set_up("runc:[2:INIT]", &[]);
        other
            .call(300, EventKind::EXECVE, -2, [0; 3], "/bin/probe", "")
            .exit(INIT, 255);
        for s in [ran, overwritten, lost, other] {
            let verdict = verdict(&s);
            assert_ne!(verdict.cause, Cause::CommandNotFound, "{verdict:?}");
        }
    }

    #[test]
    fn a_runtime_that_gave_up_before_is_not_called_the_command() {
        let mut s = set_up("runc:[2:INIT]", &[]);
        s.stat(INIT, "/usr/local/bin/srever", 2).exit(INIT, 255);
        let given_up = verdict(&s);
        assert_eq!(
            given_up.sentence,
            "the command was never started: the runtime gave up while it set the container up (exited 255); why is not known"
        );
        assert_eq!((given_up.cause, given_up.score), (Cause::StartFailed, 60));
        assert_eq!(
            given_up.evidence[0].text,
            "last failed call: /usr/local/bin/srever: No such file or directory"
        );
        // runc ends its own process there: that is not a kill from outside.
        let mut s = set_up("runc:[2:INIT]", &[]);
        s.signal(INIT, 9, 0, (98, "runc"), SignalOrigin::Outside)
            .exit_status(INIT, 9);
        assert_eq!(verdict(&s).cause, Cause::StartFailed);
        // If something else killed the process, that remains the cause.
        let mut s = set_up("runc:[2:INIT]", &[]);
        s.signal(INIT, 9, 0, (98, "bash"), SignalOrigin::Outside)
            .exit_status(INIT, 9);
        assert_eq!(verdict(&s).cause, Cause::KilledFromOutside);
    }

    #[test]
    fn a_limit_too_small_for_the_runtime_is_an_oom_kill() {
        let mut s = set_up("runc:[2:INIT]", &[]);
        s.run.memory_limit = Some(1 << 20);
        s.call(INIT, EventKind::OOM_KILL, 0, [0; 3], "runc:[2:INIT]", "")
            .signal(INIT, 9, 0x80, (INIT, "runc:[2:INIT]"), SignalOrigin::Kernel)
            .exit_status(INIT, 9);
        s.run.terminated = Some(Terminated {
            reason: "StartError".into(),
            message:
                "OCI runtime create failed: container init was OOM-killed (memory limit too low?)"
                    .into(),
            exit_code: Some(128),
            ..Terminated::default()
        });
        assert_eq!(verdict(&s).cause, Cause::OomKilled);
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
        // The process that was to become the command never ran it.
        assert_eq!(verdict.evidence.len(), 1);
    }
}
