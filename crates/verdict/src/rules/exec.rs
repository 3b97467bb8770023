//! A program could not be executed: it does not exist, may not be executed, or is not a program for this machine.
//!
//! There are two ways to recognise this. First: execve(2) failed, nothing was executed in its place, and the same
//! process then exited with 126 or 127, or the last words name the command, or they give the error. This is how it
//! looks with env(1), execvp(3) and the helpers of runtimes, which try execve(2) in each directory of PATH. Second: a
//! shell exited with 126 or 127, and its message names the command. Shells look for a command with stat(2) before they
//! execute it, so there is no failed execve(2).
//!
//! The rule is wrong if the program could do without the command, and gave up over something else while its last words
//! name that command. If nothing of the container's own was ever executed, the rule `start_error` says so.

use capture_format::EventKind;

use super::phrase::gives;
use super::{Case, Cause, Evidence, Finding};
use crate::entity::names;
use crate::facts::Failure;
use crate::facts::output::Line;
use crate::tie::names_a_path;
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;

/// How programs say that a command cannot be executed, in lower case.
const TEXTS: &[&str] = &[
    "no such file",
    "not found",
    "enoent",
    "permission denied",
    "eacces",
    "exec format",
    "execute",
    "spawn",
    "does not exist",
];
/// How many failed look-ups in PATH are cited.
const MAX_EVIDENCE: usize = 4;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let code = case.exit_code().filter(|&code| code != 0)?;
    failed_exec(case, code).or_else(|| not_found_by_shell(case, code))
}

/// Whether the call is an exec.
pub(crate) fn is_exec(kind: EventKind) -> bool {
    matches!(kind, EventKind::EXECVE | EventKind::EXECVEAT)
}

/// execve(2) failed, and nothing else was executed instead.
fn failed_exec(case: &Case<'_>, code: u8) -> Option<Finding> {
    let concerns = |failure: &&Failure| is_exec(failure.kind) && case.below_chain(failure.pid);
    let execs: Vec<&Failure> = case.facts.failures.iter().filter(concerns).collect();
    let last = execs.last()?;
    let exec_after = case
        .facts
        .processes
        .get(last.pid)
        .and_then(|process| process.exec.as_ref());
    if exec_after.is_some_and(|exec| exec.event > last.event) {
        return None;
    }
    let command = basename(&last.name);
    let tries: Vec<&Failure> = execs
        .iter()
        .copied()
        .filter(|failure| failure.pid == last.pid && basename(&failure.name) == command)
        .collect();
    // In a search through PATH, "permission denied" says more than "no such file" in another directory.
    let decisive = tries
        .iter()
        .rev()
        .find(|failure| failure.errno != Errno::ENOENT && failure.errno != Errno::ENOTDIR);
    let decisive = *decisive.unwrap_or(last);
    let named = case.words.find(|text| {
        let lower = text.to_lowercase();
        let is_named = [command, &last.name[..]]
            .iter()
            .any(|name| names(text, &String::from_utf8_lossy(name)));
        is_named && TEXTS.iter().any(|words| lower.contains(words))
    });
    let line = case.words.headline();
    let is_culprit = case
        .culprit()
        .is_some_and(|culprit| culprit.pid == last.pid);
    let by_itself = is_culprit && matches!(code, 126 | 127);
    let given = is_culprit
        && line.is_some_and(|line| {
            let others = case.facts.failures.iter().filter(|other| {
                other.errno == decisive.errno && other.pid == last.pid && !is_exec(other.kind)
            });
            last.event < line.event
                && gives(line.said(), decisive.errno)
                && !names_a_path(line.said())
                && others.count() == 0
        });
    let (score, why) = match (by_itself, named) {
        (true, _) => (
            95,
            format!("execve failed in the process that then exited {code}, the code for it"),
        ),
        (false, Some(_)) => (
            93,
            "execve failed, and the last words name the command".to_owned(),
        ),
        (false, None) if given => (
            81,
            "execve failed in the process that gave up, its last words give the error, and nothing else met it".to_owned(),
        ),
        (false, None) => return None,
    };
    let mut evidence: Vec<Evidence> = tries
        .iter()
        .rev()
        .take(MAX_EVIDENCE)
        .map(|failure| exec_evidence(failure))
        .collect();
    let cited = named.or_else(|| line.filter(|_| given));
    evidence.extend(cited.map(Line::evidence));
    let path = if tries.len() > 1 && decisive.errno == Errno::ENOENT {
        command
    } else {
        &decisive.name[..]
    };
    Some(verdict(
        case,
        path,
        decisive.errno,
        tries.len(),
        score,
        why,
        evidence,
    ))
}

/// A shell reported it: exit code 127 or 126, and a message that names the command.
fn not_found_by_shell(case: &Case<'_>, code: u8) -> Option<Finding> {
    let line = case
        .words
        .headline()
        .filter(|_| matches!(code, 126 | 127))?;
    let command = shell_names(line.said())?;
    let tried = |failure: &&Failure| {
        case.in_chain(failure.pid)
            && basename(&failure.name) == basename(command.as_bytes())
            && failure.event < line.event
    };
    let stats: Vec<&Failure> = case.facts.failures.iter().filter(tried).collect();
    let errno = if code == 127 {
        Errno::ENOENT
    } else {
        Errno::EACCES
    };
    let cited = |failure: &&Failure| {
        Evidence::new(
            failure.event,
            failure.time,
            format!(
                "{}: {}",
                escaped_to(&failure.path, 300),
                failure.errno.text()
            ),
        )
    };
    let mut evidence: Vec<Evidence> = stats.iter().rev().take(MAX_EVIDENCE).map(cited).collect();
    evidence.push(line.evidence());
    let (score, why) = if stats.is_empty() {
        (
            85,
            format!("the shell says so, and exited {code}, the code for it"),
        )
    } else {
        (
            94,
            format!("the shell looked for it in vain, says so, and exited {code}, the code for it"),
        )
    };
    Some(verdict(
        case,
        command.as_bytes(),
        errno,
        stats.len(),
        score,
        why,
        evidence,
    ))
}

/// The command in `sh: 1: foo: not found`, `bash: line 1: foo: command not found`, `zsh:1: command not found: foo`.
fn shell_names(text: &str) -> Option<&str> {
    let text = text.trim();
    if let Some((_, command)) = text.split_once(": command not found: ") {
        return Some(command);
    }
    let before = text
        .strip_suffix(": command not found")
        .or_else(|| text.strip_suffix(": not found"))?;
    let command = before.rsplit(": ").next()?;
    (!command.is_empty() && before.contains(": ")).then_some(command)
}

/// Describes an exec that failed with this error: cause, clause of the sentence, next step.
pub(super) fn describe(path: &[u8], errno: Errno, tries: usize) -> (Cause, String, String) {
    let command = escaped_to(path, 200).to_string();
    let is_path = path.contains(&b'/');
    match errno {
        Errno::ENOENT | Errno::ENOTDIR if is_path => (
            Cause::CommandNotFound,
            format!(
                "cannot execute \"{command}\": it, or the interpreter its first line names, does not exist"
            ),
            format!(
                "Check that the image has {command}, and `head -1 {command}` if it is a script (a carriage return at the line's end counts, too)."
            ),
        ),
        Errno::ENOENT | Errno::ENOTDIR => (
            Cause::CommandNotFound,
            match tries {
                0 | 1 => format!("no such command \"{command}\""),
                tries => format!("no such command \"{command}\" (looked for in {tries} places)"),
            },
            format!("Check the spelling of {command}, that the image has it, and PATH."),
        ),
        Errno::EACCES | Errno::EPERM => (
            Cause::NotExecutable,
            format!("\"{command}\" may not be executed ({})", errno.text()),
            format!(
                "chmod +x {command}; check who owns it, and that its volume is not mounted noexec."
            ),
        ),
        Errno::EISDIR => (
            Cause::NotExecutable,
            format!("\"{command}\" is a directory, and no program"),
            format!("Name the program that is to be executed, not {command}."),
        ),
        Errno::ENOEXEC => (
            Cause::ExecFormat,
            format!("\"{command}\" is no program this machine can run (Exec format error)"),
            format!(
                "Compare `file {command}` with `uname -m`: it is for another architecture, or a script without a #! line."
            ),
        ),
        errno => (
            Cause::StartFailed,
            format!("cannot execute \"{command}\": {} ({errno})", errno.text()),
            format!("See execve(2) for {errno}."),
        ),
    }
}

fn verdict(
    case: &Case<'_>,
    path: &[u8],
    errno: Errno,
    tries: usize,
    score: u8,
    why: String,
    evidence: Vec<Evidence>,
) -> Finding {
    let (cause, what, next_step) = describe(path, errno, tries);
    Finding {
        rests_on: None,
        sentence: format!("{}: {what}", case.ended()),
        cause,
        subject: escaped_to(path, 200).to_string(),
        score,
        why,
        evidence,
        next_step,
        weakened_by: Vec::new(),
    }
}

/// A failed exec as evidence.
pub(super) fn exec_evidence(failure: &Failure) -> Evidence {
    let (path, errno) = (escaped_to(&failure.name, 300), failure.errno);
    Evidence::new(
        failure.event,
        failure.time,
        format!("exec of {path} failed: {errno} ({})", errno.text()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, argv_bytes, verdict};
    use capture_format::EventKind as K;

    fn execve(s: &mut Script, pid: u32, path: &str, errno: i64) {
        s.call(pid, K::EXECVE, -errno, [0; 3], path, argv_bytes(&[path]));
    }

    #[test]
    fn dash_stats_every_directory_and_exits_127() {
        let mut s = Script::new(&["sh", "-c", "foo"]);
        for directory in ["/usr/local/bin", "/usr/bin", "/bin"] {
            s.stat(INIT, &format!("{directory}/foo"), 2);
        }
        s.write(INIT, 2, "sh: 1: ")
            .write(INIT, 2, "foo: not found")
            .write(INIT, 2, "\n")
            .exit(INIT, 127);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "sh exited 127, 9 ms after start: no such command \"foo\" (looked for in 3 places)"
        );
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::CommandNotFound, "foo")
        );
    }

    #[test]
    fn bash_looks_for_its_translations_in_between() {
        let mut s = Script::new(&["bash", "-c", "foo"]);
        s.stat(INIT, "/bin/foo", 2)
            .open(INIT, "/usr/share/locale/C/LC_MESSAGES/bash.mo", -2);
        s.write(INIT, 2, "bash: line 1: foo: command not found\n")
            .exit(INIT, 127);
        assert_eq!(verdict(&s).subject, "foo");
    }

    #[test]
    fn a_file_that_is_not_executable() {
        let mut s = Script::new(&["sh", "-c", "/etc/passwd; exit $?"]);
        s.fork(INIT, 200);
        execve(&mut s, 200, "/etc/passwd", 13);
        s.write(200, 2, "sh: 1: /etc/passwd: Permission denied\n")
            .exit(200, 126)
            .exit(INIT, 126);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::NotExecutable, "/etc/passwd")
        );
    }

    #[test]
    fn env_tries_execve_in_each_directory() {
        let mut s = Script::new(&["env", "foo"]);
        execve(&mut s, INIT, "/usr/bin/foo", 2);
        execve(&mut s, INIT, "/bin/foo", 2);
        s.write(INIT, 2, "env: ‘foo’: No such file or directory\n")
            .exit(INIT, 127);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::CommandNotFound, "foo")
        );
    }

    #[test]
    fn another_architecture() {
        let mut s = Script::new(&["sh", "-c", "/app"]);
        execve(&mut s, INIT, "/app", 8);
        s.write(INIT, 2, "sh: 1: /app: Exec format error\n")
            .exit(INIT, 126);
        assert_eq!(verdict(&s).cause, Cause::ExecFormat);
    }

    #[test]
    fn a_parent_that_names_the_command_its_child_could_not_execute() {
        let mut s = Script::new(&["python3", "app.py"]);
        s.fork(INIT, 200);
        execve(&mut s, 200, "/usr/bin/ffmpeg", 2);
        execve(&mut s, 200, "/bin/ffmpeg", 2);
        s.exit(200, 255);
        s.write(
            INIT,
            2,
            "FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'\n",
        )
        .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::CommandNotFound, "ffmpeg")
        );
    }

    #[test]
    fn a_search_in_path_that_succeeds_is_no_failure() {
        let mut s = Script::new(&["sh"]);
        s.fork(INIT, 200);
        execve(&mut s, 200, "/usr/local/bin/app", 2);
        s.exec(200, &["app"])
            .write(200, 2, "app: bad option\n")
            .exit(200, 127)
            .exit(INIT, 127);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn an_optional_helper_that_is_missing_is_not_the_cause() {
        let mut s = Script::new(&["python3", "app.py"]);
        s.fork(INIT, 200);
        execve(&mut s, 200, "/usr/bin/git", 2);
        s.exit(200, 255)
            .write(INIT, 2, "ValueError: git revision is empty\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_missing_library_exits_127_but_the_command_was_found() {
        let mut s = Script::new(&["./app"]);
        s.open(INIT, "/etc/ld.so.cache", -2)
            .open(INIT, "/lib/libfoo.so.1", -2)
            .open(INIT, "/usr/lib/libfoo.so.1", -2);
        s.write(INIT, 2, "./app: error while loading shared libraries: libfoo.so.1: cannot open shared object file: No such file or directory\n");
        let verdict = verdict(s.exit(INIT, 127));
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::MissingDependency, "libfoo.so.1")
        );
    }
}
