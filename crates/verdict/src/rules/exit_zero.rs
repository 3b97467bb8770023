//! The run ended with exit code 0.
//!
//! The exit code is a fact, and the rule says what else is known. A child of the first process may have been left
//! running: the program went into the background, but a container ends with its first process. Or the child that did
//! the work had failed, and the script that started it did not care. Or the last words complain. Otherwise the program
//! did what it was asked to do, and nothing kept it running.
//!
//! The explanation is wrong if the child that it names, or the complaint, had nothing to do with the end.

use capture_format::ExitStatus;

use super::case::{Link, how};
use super::phrase::says;
use super::words::LastWords;
use super::{Case, Cause, Evidence, Finding};
use crate::facts::output::Line;
use crate::lexicon::lexicon;

/// Confidence that a run with exit code 0 succeeded.
const SUCCESS: u8 = 95;
/// The same if the last words report a failure.
const SAID_OTHERWISE: u8 = 60;
/// The same if the child that did the work failed, but the run reported success after that.
const GOT_OVER: u8 = 75;
/// The same if the child that did the work failed.
const WORKED_IN_VAIN: u8 = 50;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    if case.run.status != Some(ExitStatus::Code(0)) {
        return None;
    }
    let init = case.facts.init();
    let left = init.and_then(|init| {
        let end = init.exit?;
        let outlived = |event: Option<u64>| event.is_none_or(|event| event > end.event);
        case.facts
            .processes
            .iter()
            .find(|p| p.parent == Some(init.pid) && outlived(p.exit.map(|exit| exit.event)))
    });
    let complaint = complaint(case);
    let cited = complaint.map(Line::cited);
    let (what, score, next_step) = match (left, cited) {
        (Some(child), _) => (
            format!(
                ": it left {} (pid {}) running in the background, and a container ends with its first process",
                child.name(),
                child.pid
            ),
            SUCCESS,
            "Run the program in the foreground, such as `nginx -g 'daemon off;'`.",
        ),
        (None, cited) if case.link == Link::Tolerated => (
            cited.map_or_else(String::new, |cited| format!("; {cited}")),
            WORKED_IN_VAIN,
            "Let the start script end as the program did (`exec`, `set -e`, or `exit $?` right after it), and mend what it complains of.",
        ),
        (None, Some(cited)) => (
            format!(", but said before that something is wrong; {cited}"),
            SAID_OTHERWISE,
            "Mend what its last words complain of: its exit code hides it.",
        ),
        (None, None) if let Some(child) = case.got_over => {
            let how = child.exit.map_or_else(String::new, |exit| how(exit.status));
            let said = LastWords::of(child.output.lines());
            let cited = said
                .complaint()
                .map_or_else(String::new, |line| format!("; {}", line.cited()));
            (
                format!(
                    ", and spoke of success, but {} (pid {}) {how} before that{cited}",
                    child.name(),
                    child.pid
                ),
                GOT_OVER,
                "Check whether it may go on after that; else let the start script end as the program did (`set -e`, or `exit $?` right after it).",
            )
        }
        (None, None) => (
            ": it finished without an error, and nothing kept it running".to_owned(),
            SUCCESS,
            "If it should go on running, check its command and arguments: a shell without a terminal, a one-off command, or a server told to go into the background ends at once.",
        ),
    };
    let why = match score {
        SUCCESS => "the exit code says success, and no signal from outside came before it",
        GOT_OVER => {
            "the exit code says success and so do the last words, but a child failed before"
        }
        SAID_OTHERWISE => "the exit code says success, but the last words do not",
        _ => "the exit code says success, but the child that did the work failed",
    };
    let started = init.and_then(|init| init.exec.as_ref());
    let argv = |exec: &crate::facts::process::Exec| {
        exec.argv
            .iter()
            .map(|arg| events::escape::escaped_to(arg, 100).to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    Some(Finding {
        rests_on: None,
        sentence: format!("{}{what}", case.ended()),
        cause: Cause::ExitedZero,
        subject: String::new(),
        score,
        why: why.into(),
        evidence: started
            .map(|exec| Evidence::new(exec.event, exec.time, format!("executed: {}", argv(exec))))
            .into_iter()
            .chain(complaint.map(Line::evidence))
            .collect(),
        next_step: next_step.into(),
        weakened_by: Vec::new(),
    })
}

/// The last line right before the end, if it says that something is wrong.
fn complaint<'a>(case: &Case<'a>) -> Option<&'a Line> {
    if case.link == Link::Tolerated {
        return case.words.headline();
    }
    let line = case.said.complaint().or_else(|| {
        let last = case.said.headline()?;
        says(&last.text, &lexicon().wont_run.words).then_some(last)
    })?;
    case.silent_after(line).is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};

    #[test]
    fn a_child_that_failed_is_told_though_its_parent_was_content() {
        let mut s = Script::new(&["sh", "start.sh"]);
        s.fork(INIT, 200).exec(200, &["importer"]);
        s.write(200, 2, "importer: row 17: currency code is missing\n")
            .exit(200, 1)
            .write(INIT, 1, "start script done\n")
            .exit(INIT, 0);
        let verdict = verdict(&s);
        assert_eq!((verdict.cause, verdict.score), (Cause::ExitedZero, 75));
        assert!(
            verdict.sentence.ends_with(
                ", and spoke of success, but importer (pid 200) exited 1 before that; stderr: importer: row 17: currency code is missing"
            ),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn success_is_no_failure_whatever_failed_on_the_way() {
        let mut s = Script::new(&["migrate"]);
        s.open(INIT, "/etc/app.conf", -2)
            .write(INIT, 2, "error: /etc/app.conf: No such file or directory\n")
            .write(INIT, 1, "migrated 3 tables with 0 errors, done\n")
            .exit(INIT, 0);
        let verdict = verdict(&s);
        assert_eq!(
            verdict.sentence,
            "migrate exited 0, 6 ms after start: it finished without an error, and nothing kept it running"
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::ExitedZero, 95));
    }

    #[test]
    fn who_said_that_something_is_wrong_is_not_said_to_have_finished_well() {
        for words in [
            "server (pid 1) already running",
            "fatal: port 99999 is invalid",
            "Usage: server [--port PORT]",
        ] {
            let mut s = Script::new(&["server"]);
            s.write(INIT, 1, &format!("{words}\n")).exit(INIT, 0);
            let verdict = verdict(&s);
            assert_eq!(
                verdict.sentence,
                format!(
                    "server exited 0, 4 ms after start, but said before that something is wrong; stdout: {words}"
                )
            );
            assert_eq!((verdict.cause, verdict.score), (Cause::ExitedZero, 60));
        }
        for words in [
            "3 files, 0 errors",
            "all tests passed without a failure",
            "bye",
        ] {
            let mut s = Script::new(&["job"]);
            s.write(INIT, 1, &format!("{words}\n")).exit(INIT, 0);
            assert_eq!(verdict(&s).score, 95, "{words}");
        }
    }

    /// The verdict on a server below a shell that exits 0.
    fn below_a_shell(words: &str, status: i32) -> Verdict {
        let mut s = Script::new(&["sh", "-c", "prepare; server || true"]);
        s.fork(INIT, 200).exec(200, &["prepare"]).exit(200, 0);
        s.fork(INIT, 201)
            .exec(201, &["server"])
            .open(201, "/etc/app.conf", -2)
            .wait(20)
            .write(201, 2, words)
            .exit_status(201, status);
        verdict(s.exit(INIT, 0))
    }

    #[test]
    fn a_child_that_did_the_work_and_failed_is_told() {
        let verdict = below_a_shell("fatal: cookie file may be read by others\n", 1 << 8);
        assert_eq!(
            verdict.sentence,
            "sh exited 0 although server (pid 201) exited 1, 32 ms after start; stderr: fatal: cookie file may be read by others"
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::ExitedZero, 50));
        let verdict = below_a_shell("open /etc/app.conf: no such file or directory\n", 1 << 8);
        assert_eq!((verdict.cause, verdict.score), (Cause::MissingFile, 60));
        let verdict = below_a_shell("x\n", 11 | 0x80);
        assert_eq!(
            (verdict.cause, verdict.score),
            (Cause::SegmentationFault, 60)
        );
    }

    #[test]
    fn a_script_that_says_that_it_is_done_got_over_what_failed() {
        let mut s = Script::new(&["sh", "-c", "rm x; echo backup complete"]);
        s.fork(INIT, 200)
            .exec(200, &["rm", "x"])
            .write(200, 2, "rm: cannot remove 'x': No such file or directory\n")
            .exit(200, 1)
            .write(INIT, 1, "backup complete\n");
        assert_eq!(verdict(s.exit(INIT, 0)).score, 75);
    }

    #[test]
    fn a_child_that_found_nothing_failed_at_nothing() {
        let verdict = below_a_shell("3 lines seen\n", 1 << 8);
        assert_eq!((verdict.cause, verdict.score), (Cause::ExitedZero, 95));
        assert!(
            verdict.sentence.starts_with("sh exited 0, "),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_daemon_left_behind_is_told() {
        let mut s = Script::new(&["nginx"]);
        s.fork(INIT, 200).exit(INIT, 0);
        assert!(
            verdict(&s)
                .sentence
                .contains("it left nginx (pid 200) running in the background")
        );
    }
}
