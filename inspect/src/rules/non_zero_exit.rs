//! A non-zero exit whose last words speak for themselves, as far as they do.

use super::{Case, Cause, Verdict};

/// Lines cited as evidence.
const MAX_LINES: usize = 8;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    let code = case.exit_code().filter(|&code| code != 0)?;
    let line = case.words.headline().or(case.said.headline())?;
    let mut evidence = vec![line.evidence()];
    evidence.extend(case.said.evidence(MAX_LINES));
    let (killed, of_killed) = case.killed_before();
    evidence.extend(of_killed);
    Some(Verdict {
        sentence: format!("{}; {}{killed}", case.ended(), line.cited()),
        cause: Cause::ExitedNonZero,
        subject: code.to_string(),
        confidence: 40,
        why: "no failed call could be tied to the exit: this is what the program said last".into(),
        evidence,
        next_step: "Read its last words above; `lastword show` has every call before them.".into(),
        weakened_by: case.missing_events(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

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
            verdict
                .sentence
                .ends_with(r"stderr: \x1b[31mfatal: no\x1b[0m\x07"),
            "{}",
            verdict.sentence
        );
    }
}
