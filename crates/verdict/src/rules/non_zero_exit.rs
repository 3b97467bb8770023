//! A program exited with a code other than 0, and nothing but its last words says why.
//!
//! The rule does not explain the end. It cites the line of the last words that most likely says why: the culprit's, or
//! another process's if the culprit said nothing. A process that a signal had killed right before is mentioned. Every
//! rule that ties a failed call to the end is surer, and wins.
//!
//! The rule is wrong if the program gave up over something that the cited line is not about.

use super::{Case, Cause, Finding};

/// How many lines are cited as evidence.
const MAX_LINES: usize = 6;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let code = case.exit_code().filter(|&code| code != 0)?;
    let (line, cited) = match case.words.headline() {
        Some(line) => (line, case.cited(line)),
        None => {
            let line = case.said.headline()?;
            let cited = line.cited();
            (
                line,
                format!(", and printed nothing itself; before that, {cited}"),
            )
        }
    };
    let mut evidence = vec![line.evidence()];
    evidence.extend(case.said.evidence(MAX_LINES));
    let (killed, of_killed) = case.killed_before();
    evidence.extend(of_killed);
    Some(Finding {
        rests_on: None,
        sentence: format!("{}{cited}{killed}", case.ended()),
        cause: Cause::ExitedNonZero,
        subject: code.to_string(),
        score: 40,
        why: "no failed call could be tied to the exit: this is what the program said last".into(),
        evidence,
        next_step: "Read its last words; `lastword show` has every call before them.".into(),
        weakened_by: case.missing_events(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::{EventKind, SignalOrigin};

    #[test]
    fn the_line_that_speaks_of_failure_is_cited() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 1, "starting\n")
            .write(INIT, 2, "fatal: PORT is not a number\n")
            .write(INIT, 1, "bye\n")
            .exit(INIT, 3);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "app exited 3, 6 ms after start; stderr: fatal: PORT is not a number"
        );
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_child_whose_end_a_shell_hands_on_speaks() {
        let mut s = Script::new(&["sh", "-c", "setup; python3 app.py"]);
        s.fork(INIT, 200).exec(200, &["setup"]).exit(200, 0);
        s.fork(INIT, 201)
            .exec(201, &["python3", "app.py"])
            .write(201, 2, "ValueError: bad PORT\n")
            .exit(201, 1)
            .exit(INIT, 1);
        assert!(
            verdict(&s)
                .sentence
                .starts_with("python3 (started by sh) exited 1, "),
            "{}",
            verdict(&s).sentence
        );
    }

    #[test]
    fn terminal_escapes_in_last_words_stay_harmless() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "\x1b[31mfatal: no\x1b[0m\x07\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert!(
            verdict.sentence.ends_with(r"stderr: fatal: no\x1b[0m\x07"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_script_that_goes_on_as_another_program_is_not_ended_by_its_child() {
        let mut s = Script::new(&["sh", "-c", "cat /etc/opt; exec python3 app.py"]);
        s.fork(INIT, 200).exec(200, &["cat", "/etc/opt"]);
        s.write(200, 2, "cat: /etc/opt: Permission denied\n")
            .exit(200, 1);
        s.exec(INIT, &["python3", "app.py"])
            .write(INIT, 2, "KeyError: 'DATABASE_URL'\n");
        assert_eq!(
            verdict(s.exit(INIT, 1)).sentence,
            "python3 exited 1, 11 ms after start; stderr: KeyError: 'DATABASE_URL'"
        );
    }

    #[test]
    fn a_childs_end_is_its_parents_only_if_what_the_parent_says_then_is_about_it() {
        let ended = |words: &str| {
            let mut s = Script::new(&["python3", "app.py"]);
            s.fork(INIT, 200).exec(200, &["git", "describe"]);
            s.write(200, 2, "fatal: no names\n").exit(200, 1);
            let words = format!("{words}\n");
            verdict(s.write(INIT, 2, &words).exit(INIT, 1)).sentence
        };
        let about = ended(
            "CalledProcessError: Command '['git', 'describe']' returned non-zero exit status 1.",
        );
        assert!(
            about.contains("git (started by python3) exited 1")
                && about.ends_with("stderr: fatal: no names"),
            "{about}"
        );
        let other = ended("KeyError: 'DATABASE_URL'");
        assert!(
            other.starts_with("python3 exited 1") && other.ends_with("KeyError: 'DATABASE_URL'"),
            "{other}"
        );
    }

    #[test]
    fn a_child_that_was_killed_right_before_is_told_with_its_killer() {
        let mut s = Script::new(&["sh", "-c", "app; echo worker failed >&2; exit 1"]);
        s.fork(INIT, 200).exec(200, &["app"]);
        s.signal(200, 9, 0, (812, "bash"), SignalOrigin::Outside)
            .exit_status(200, 9);
        let verdict = verdict(s.write(INIT, 2, "worker failed\n").exit(INIT, 1));
        assert!(
            verdict
                .sentence
                .ends_with("stderr: worker failed; before that app was killed from outside the container, with SIGKILL from bash (pid 812)"),
            "{}",
            verdict.sentence
        );
        let texts: Vec<_> = verdict.evidence.iter().map(|e| e.text.as_str()).collect();
        assert_eq!(texts[..1], ["SIGKILL to pid 200 from bash (pid 812)"]);
    }

    #[test]
    fn what_a_shell_took_as_a_value_is_not_said() {
        let mut s = Script::new(&["sh", "-c", "x=$(app); [ \"$x\" ] || exit 9"]);
        let pipe = |kind, pid, fd| capture_format::Event {
            pid,
            kind,
            ret: 10,
            args: [fd, 77, 10],
            fd_type: capture_format::FdType::FIFO,
            data: "error: no\n".into(),
            ..capture_format::Event::default()
        };
        s.fork(INIT, 200)
            .exec(200, &["app"])
            .push(pipe(EventKind::WRITE, 200, 1))
            .push(pipe(EventKind::READ, INIT, 3))
            .exit(200, 0);
        let verdict = verdict(s.exit(INIT, 9));
        assert_eq!(verdict.cause, Cause::Unknown, "{}", verdict.sentence);
    }

    #[test]
    fn the_headline_is_cited_though_the_same_write_goes_on() {
        let mut s = Script::new(&["node", "app.js"]);
        s.write(INIT, 2, "node:internal\n  throw err;\n  ^\n\nError: Cannot find module 'express'\n    at Module\n");
        let verdict = verdict(s.exit(INIT, 1));
        assert_eq!(
            verdict.evidence[0].text,
            "stderr: Error: Cannot find module 'express'"
        );
    }
}
