//! How sure a verdict from last words can be.
//!
//! Last words explain an end only if the process ended over what they say. There are signs that it may not have: a
//! shell was between the process that failed and the end of the run; the process went on to something else, said
//! something else, or was silent for a while; the words call themselves a warning; events were lost. Each sign has a
//! limit. The lowest limit holds for every verdict that rests on last words, whichever rule found it.
//!
//! A verdict that rests on what the kernel said is not limited by these signs. But every verdict is limited if the run
//! ended well although a child had failed, or if a parent only mentioned its child's failure.

use capture_format::ExitStatus;

use super::case::Link;
use super::phrase::affirms;
use super::{Case, Cause, Finding};
use crate::facts::output::Line;
use crate::facts::{COMMON_CODES, Process};
use crate::lexicon::lexicon;
use crate::message::Level;

/// A shell handed on the code of its child. It may also have gone on and met the same code elsewhere.
const SHELL_MAY_HAVE_GONE_ON: u8 = 65;
/// A shell ended with a code of its own after its child failed.
const SHELL_WENT_ON: u8 = 60;
/// A run ended well although the child that did the work did not.
const ENDED_WELL: u8 = 60;
/// A parent mentioned the child's failure when it gave up.
const SPOKEN_OF: u8 = 85;
/// A process said nothing for a while before it ended.
const SILENT: u8 = 65;
/// A process said nothing for so long that its last words explain nothing.
const LONG_SILENT: u8 = 35;
/// How long that is: a minute, in nanoseconds.
const LONG: u64 = 60_000_000_000;
/// A process began something new after its last words.
const WENT_ON: u8 = 55;
/// A process said something else after these words.
const SAID_MORE: u8 = 45;
/// The process may seem silent only because events were lost.
const LAST_WORDS_LOST: u8 = 45;
/// The words themselves say that they end nothing: less than what the exit code alone gives.
const ONLY_A_WARNING: u8 = 35;
/// The kernel reported what happened, but not that the run ended over it: below this, no verdict is certain.
const NOT_CERTAIN: u8 = 94;
/// From this score on, a verdict rests on what the kernel said: see the list in the module `rules`.
const KERNEL_SAID_IT: u8 = 95;
const MAY_HAVE_GONE_ON: &str =
    "the shell that started it may have gone on and ended over something that left no trace";
/// A shell itself complained, and exited 1: its complaint may not be why it ended.
const SHELL_ITSELF: &str =
    "the shell that said so may have gone on and ended over something that left no trace";

/// The highest score that a verdict from last words can have, and why it is not higher.
pub(super) struct Doubt<'c, 'a> {
    case: &'c Case<'a>,
    /// The limit for a finding from the headline and what follows it.
    of_words: Option<(u8, &'static str)>,
}

impl<'c, 'a> Doubt<'c, 'a> {
    /// Finds the greatest doubt.
    pub(super) fn of(case: &'c Case<'a>) -> Self {
        Self {
            case,
            of_words: greatest(case),
        }
    }

    /// Lowers the score of a verdict to what the doubt allows.
    pub(super) fn weigh(&self, mut verdict: Finding) -> Finding {
        match self.case.link {
            Link::Same => {}
            Link::Tolerated if verdict.cause == Cause::ExitedZero => {}
            Link::Tolerated => {
                let why = "what started it ended with 0 all the same";
                limit(&mut verdict, ENDED_WELL, why);
            }
            Link::SpokenOf => {
                let why = "what started it ended with a code of its own, and only spoke of it";
                limit(&mut verdict, SPOKEN_OF, why);
            }
        }
        // A shell does end because of a variable that is not set: `${NAME:?}` is there for that.
        if verdict.cause == Cause::MissingVariable
            && self.of_words.is_some_and(|(_, why)| why == SHELL_ITSELF)
        {
            return verdict;
        }
        let of_words = match verdict.rests_on {
            None => self.of_words,
            Some(event) => self
                .case
                .words
                .written_by(event)
                .and_then(|line| of_line(self.case, line)),
        };
        if let Some((most, why)) = of_words
            && rests_on_words(&verdict)
        {
            limit(&mut verdict, most, why);
        }
        verdict
    }
}

/// Why what the kernel reported does not make this cause certain.
fn uncertain(case: &Case<'_>, cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::StoppedFromOutside if case.exit_code().is_some() => {
            Some("the process handled the signal, and ended itself")
        }
        Cause::TimerExpired => Some("a timer says that the time was up, and not over what"),
        _ => None,
    }
}

/// Lowers the score of the finding that was chosen if what the kernel reported does not make its cause certain.
pub(super) fn settle(case: &Case<'_>, mut verdict: Finding) -> Finding {
    if let Some(why) = uncertain(case, verdict.cause) {
        limit(&mut verdict, NOT_CERTAIN, why);
    }
    verdict
}

fn limit(verdict: &mut Finding, most: u8, why: &str) {
    if verdict.score > most {
        verdict.score = most;
        verdict.why = format!("{}; but {why}", verdict.why);
    }
}

/// The greatest doubt about what rests on the last words.
fn greatest(case: &Case<'_>) -> Option<(u8, &'static str)> {
    let Some(line) = case.words.headline() else {
        let lost = (case.run.losses.lost > 0).then_some((
            LAST_WORDS_LOST,
            "events were lost, and its last words may be among them",
        ));
        let doubts = [lost, of_end(case, case.culprit())].into_iter().flatten();
        return doubts.min_by_key(|(limit, _)| *limit);
    };
    let more = case
        .words
        .went_on()
        .then_some((SAID_MORE, "it said something else after these words"));
    let doubts = more.into_iter().chain(of_line(case, line));
    doubts.min_by_key(|(limit, _)| *limit)
}

/// The greatest doubt about what rests on one line, whatever was said after it.
fn of_line(case: &Case<'_>, line: &Line) -> Option<(u8, &'static str)> {
    let speaker = case.facts.processes.get(line.pid);
    let doubts = [
        of_words(case, line),
        of_silence(case, line),
        of_work(case, line),
        of_end(case, speaker),
        of_shell(case, speaker),
    ];
    doubts.into_iter().flatten().min_by_key(|(limit, _)| *limit)
}

/// Whether a verdict rests on a failed call and the last words, and not on what the kernel said about the end.
pub(super) fn rests_on_words(verdict: &Finding) -> bool {
    verdict.cause.is_said() && verdict.score < KERNEL_SAID_IT
}

fn of_words(case: &Case<'_>, line: &Line) -> Option<(u8, &'static str)> {
    let is_meant = !case.words.is_referred_to(line);
    (is_warning(line) && is_meant)
        .then_some((ONLY_A_WARNING, "the last words call themselves a warning"))
}

/// The process said nothing more and still went on.
fn of_silence(case: &Case<'_>, line: &Line) -> Option<(u8, &'static str)> {
    let why = "nothing was said any more for a while before the end";
    Some(match case.silent_after(line)? {
        LONG.. => (LONG_SILENT, why),
        _ => (SILENT, why),
    })
}

/// Whether a line says that its subject ended nothing: its logger says so, or the words do.
pub(crate) fn is_warning(line: &Line) -> bool {
    const LEVELS: &[&str] = &[
        "warn:", "warning:", "warning ", "warn ", "info:", "notice:", "debug:",
    ];
    let message = line.message();
    let text = message.text.to_lowercase();
    let rest = text.trim_start_matches(|c: char| !c.is_alphabetic());
    // The program's name may come before: `nginx: [warn] …`, `app: WARNING: …`.
    let named = text.split_once(": ").map_or("", |(_, rest)| rest);
    let begins = |text: &str| LEVELS.iter().any(|level| text.starts_with(level));
    message.level.is_some_and(|level| level <= Level::Warning)
        || begins(rest)
        || begins(named)
        || [
            " warn ",
            " warning ",
            " warn: ",
            " warning: ",
            "[warn]",
            "[warning]",
            "[info]",
            "[notice]",
        ]
        .iter()
        .any(|level| text.contains(level))
        || is_tolerated(&message.text)
}

/// Whether a line says that the program goes on without the thing that is missing.
pub(crate) fn is_tolerated(text: &str) -> bool {
    let text = text.to_lowercase();
    // The name of a path says nothing: `/etc/app/optional.conf`. Neither does a negation: `a licence is not optional`.
    let words = text.split_whitespace().filter(|word| !word.contains('/'));
    let said = words.collect::<Vec<_>>().join(" ");
    affirms(&said, &lexicon().tolerated.words)
}

/// The process that spoke began something new after that.
fn of_work(case: &Case<'_>, line: &Line) -> Option<(u8, &'static str)> {
    let speaker = case.facts.processes.get(line.pid)?;
    (speaker.last_work > Some(line.event))
        .then_some((WENT_ON, "it went on to something else after these words"))
}

/// Doubt because a shell is between the process that failed and the end of the run.
fn of_end(case: &Case<'_>, speaker: Option<&Process>) -> Option<(u8, &'static str)> {
    let speaker = speaker?;
    let end = speaker.exit?;
    let shell = case
        .facts
        .ancestors(speaker)
        .into_iter()
        .find(|above| above.is_shell() && case.in_chain(above.pid))?;
    if shell.script.hands_on && !shell_went_on(shell, end.event) {
        return None;
    }
    let code = match end.status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { .. } => return None,
    };
    let handed_on = shell.exit.map(|exit| exit.status) == Some(ExitStatus::Code(code));
    if handed_on && !shell_went_on(shell, end.event) {
        let sure = !COMMON_CODES.contains(&code) || shell.script.read_to_end;
        return (!sure).then_some((SHELL_MAY_HAVE_GONE_ON, MAY_HAVE_GONE_ON));
    }
    if handed_on && !COMMON_CODES.contains(&code) {
        return (!shell.script.hands_on).then_some((SHELL_MAY_HAVE_GONE_ON, MAY_HAVE_GONE_ON));
    }
    Some((
        SHELL_WENT_ON,
        "the shell that started it ended with a code of its own, or did something else first",
    ))
}

/// Doubt because the shell itself complained about one of its own commands (`.`, `cd`, a redirection), after which it
/// may have gone on.
fn of_shell(case: &Case<'_>, speaker: Option<&Process>) -> Option<(u8, &'static str)> {
    let shell = speaker.filter(|speaker| speaker.is_shell() && case.in_chain(speaker.pid))?;
    let common = case.exit_code() == Some(1);
    (common && !shell.script.hands_on).then_some((SHELL_MAY_HAVE_GONE_ON, SHELL_ITSELF))
}

/// Whether the shell did anything new after its child had ended.
fn shell_went_on(shell: &Process, end: u64) -> bool {
    shell.last_work > Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};

    /// `cat` fails below a shell with these arguments, which then exits with this code.
    fn cat_fails(argv: &[&str], code: i32) -> Verdict {
        let mut s = Script::new(argv);
        s.fork(INIT, 200)
            .exec(200, &["cat", "/etc/app.conf"])
            .open(200, "/etc/app.conf", -2)
            .write(200, 2, "cat: /etc/app.conf: No such file or directory\n")
            .exit(200, 1);
        verdict(s.exit(INIT, code))
    }

    #[test]
    fn a_shell_may_have_gone_on_after_its_child() {
        let script = "cat /etc/app.conf; [ -n \"$X\" ] || exit 1";
        let verdict = cat_fails(&["sh", "-c", script], 1);
        assert_eq!((verdict.cause, verdict.score), (Cause::MissingFile, 65));
        assert!(verdict.why.contains("may have gone on"), "{}", verdict.why);
        assert_eq!(
            cat_fails(&["sh", "-c", "cat /etc/app.conf; exit 3"], 3).score,
            60
        );
    }

    #[test]
    fn a_shell_goes_on_after_its_own_complaints_too() {
        let mut s = Script::new(&["bash", "-c", ". /etc/app/env; [ -n \"$X\" ] || exit 1"]);
        s.open(INIT, "/etc/app/env", -2).write(
            INIT,
            2,
            "bash: line 1: /etc/app/env: No such file or directory\n",
        );
        assert_eq!(verdict(s.exit(INIT, 1)).score, 65);
        let mut s = Script::new(&["bash", "-uc", "echo $X"]);
        s.write(INIT, 2, "bash: line 1: X: unbound variable\n");
        assert_eq!(verdict(s.exit(INIT, 1)).score, 89);
    }

    #[test]
    fn one_that_ends_with_its_commands_has_not() {
        assert_eq!(
            cat_fails(&["sh", "-ec", "cat /etc/app.conf; app"], 1).score,
            91
        );
        assert_eq!(
            cat_fails(&["sh", "-c", "cat /etc/app.conf; exit $?"], 1).score,
            91
        );
    }

    #[test]
    fn a_warning_is_no_cause() {
        for words in [
            "WARNING: /etc/app.conf: No such file or directory\n",
            "2026-11-21 10:00:00 WARN /etc/app.conf not found\n",
            "error: /etc/app.conf: No such file or directory, using defaults\n",
        ] {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/etc/app.conf", -2).write(INIT, 2, words);
            let verdict = verdict(s.exit(INIT, 1));
            assert_eq!(
                (verdict.cause, verdict.score),
                (Cause::ExitedNonZero, 40),
                "{words}"
            );
        }
    }

    #[test]
    fn silence_proves_little_where_events_were_lost() {
        let ended = |lost| {
            let mut s = Script::new(&["app"]);
            s.run.losses.lost = lost;
            verdict(s.open(INIT, "/etc/app.conf", -2).exit(INIT, 1))
        };
        assert_eq!((ended(0).score, ended(3).score), (55, 45));
    }

    #[test]
    fn words_long_before_the_end_explain_little() {
        let ended = |wait| {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/etc/app.conf", -2).write(
                INIT,
                2,
                "error: /etc/app.conf: No such file or directory\n",
            );
            verdict(s.wait(wait).exit(INIT, 1))
        };
        assert_eq!(ended(1000).score, 91);
        assert_eq!(ended(20_000).score, 65);
        let long = ended(558_000);
        assert_eq!((long.cause, long.score), (Cause::ExitedNonZero, 40));
        assert!(
            long.sentence
                .contains("; 9.3 min before that, stderr: error: "),
            "{}",
            long.sentence
        );
    }

    #[test]
    fn what_a_file_is_called_is_no_warning() {
        assert!(!is_tolerated(
            "cat: /etc/app/optional.conf: No such file or directory"
        ));
        assert!(is_tolerated("cannot read /etc/app.conf, which is optional"));
        for text in [
            "cannot read /etc/app.conf (a licence is not optional)",
            "cannot read /etc/app.conf, which must not be skipped",
            "cannot read /etc/app.conf: adoptional mode",
            "no /etc/app.conf; it cannot be ignored",
        ] {
            assert!(!is_tolerated(text), "{text}");
        }
    }

    #[test]
    fn what_was_said_after_the_words_may_be_why() {
        let ended = |more: &str| {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/etc/app.conf", -2)
                .write(INIT, 2, "error: /etc/app.conf: No such file or directory\n")
                .write(INIT, 2, more);
            verdict(s.exit(INIT, 1)).score
        };
        assert_eq!(ended("app: the moon is in the wrong house\n"), 45);
        assert_eq!(ended("0+0 records in\n"), 91);
        assert_eq!(ended("exiting\n"), 91);
        assert_eq!(ended("see /usr/share/doc/app\n"), 91);
    }

    #[test]
    fn a_program_that_went_on_after_its_words_may_have_ended_over_something_else() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app.conf", -2)
            .write(INIT, 2, "error: /etc/app.conf: No such file or directory\n")
            .open(INIT, "/data/state", 3);
        assert_eq!(verdict(s.exit(INIT, 1)).score, 55);
    }
}
