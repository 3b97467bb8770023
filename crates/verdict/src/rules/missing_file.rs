//! A program gave up because a file or directory does not exist.
//!
//! Programs look for files that need not exist all the time: libraries in every directory of a search path,
//! translations, modules, optional configuration. A failed call alone is therefore never a cause. Something has to tie
//! it to the end of the run. In the order of strength: the last words name its path and the error; they name its file
//! name and the error; the path was named shortly before them; they give the error without a path, right after the
//! call; there are no last words, and the failed open was the last thing that the process did.
//!
//! The rule is wrong if the program could do without the file and gave up over something else. Words such as `not
//! found` are also said about other things (`key not found in app.conf`), so they count only right beside the path.

use std::ops::Range;

use capture_format::Class;

use super::case::CLOSE;
use super::failed_call::names_a_path;
use super::phrase::{gives, said, sentences};
use super::{Case, Cause, Evidence, Verdict, volume};
use crate::entity::{names, places};
use crate::facts::output::Line;
use crate::facts::{Failure, is_noise};
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;
use events::fds::has_path;

/// The error itself, in lower case. It counts anywhere in a sentence with the path.
const ERROR_ITSELF: &[&str] = &[
    "no such file or directory",
    "no such file",
    "no such directory",
    "enoent",
    "filenotfound*",
    "nosuchfile*",
    "not a directory",
    "nonexistent directory",
    "directory nonexistent",
];
/// How programs say what they tried, in lower case. It counts only right before or right after the path.
const TRIED: &[&str] = &[
    "cannot find",
    "can't find",
    "could not find",
    "couldn't find",
    "unable to find",
    "cannot open",
    "can't open",
    "could not open",
    "couldn't open",
    "unable to open",
    "failed to open",
    "failed opening",
    "unable to load",
    "failed to load",
    "unable to access",
    "can't cd",
    "can't create",
    "cannot create",
];
/// Words after which a sentence is about something other than the path: `cannot find user bob in users.yaml`.
const LEADS_AWAY: &[&str] = &[
    "for", "of", "in", "by", "with", "because", "and", "listed", "declared",
];
/// How many words may be between what was tried and the path.
const MAX_BETWEEN: usize = 4;
/// Words that programs also use about other things, in lower case: `key not found in app.conf`. They count only right
/// beside the path.
const BESIDE_PATH: &[&str] = &[
    "missing",
    "not found",
    "not there",
    "absent",
    "does not exist",
    "doesn't exist",
    "not exist",
    "nonexistent",
    "non-existent",
];
/// Words that may be between such words and the path.
const BETWEEN: &[&str] = &[
    "is",
    "was",
    "are",
    "file",
    "files",
    "directory",
    "folder",
    "config",
    "configuration",
    "settings",
    "the",
    "path",
    "at",
    "script",
    "required",
    "it",
    "does",
];
/// The last component of a path must be at least this long to be looked for without its directory. It must also have an
/// extension, since a mere word is not a file name.
const MIN_NAME: usize = 4;

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    case.gave_up()?;
    let concerns = |failure: &&Failure| is_missing(failure) && case.below_chain(failure.pid);
    let failures: Vec<&Failure> = case.facts.failures.iter().filter(concerns).collect();
    let by_path = failures.iter().rev().find_map(|failure| {
        Some((
            *failure,
            line_naming(case, failure, &failure.path, &failure.name, true)?,
        ))
    });
    if let Some((failure, line)) = by_path {
        return Some(verdict(
            case,
            failure,
            &failure.path,
            Some(line),
            90,
            "the call failed, and the last words name its path and the error",
        ));
    }
    let by_name = failures.iter().rev().find_map(|failure| {
        let name = basename(&failure.name);
        let is_name = name.len() >= MIN_NAME && name.contains(&b'.');
        let line = is_name.then(|| line_naming(case, failure, name, name, false));
        Some((
            *failure,
            name,
            line.flatten().or_else(|| line_of_perror(case, failure))?,
        ))
    });
    if let Some((failure, name, line)) = by_name {
        return Some(verdict(
            case,
            failure,
            name,
            Some(line),
            85,
            "calls for this name failed, and the last words name it and the error",
        ));
    }
    if let Some((failure, line)) = failures
        .iter()
        .rev()
        .find_map(|failure| Some((*failure, named_around(case, failure)?)))
    {
        let why =
            "the call failed, the last words name the error, and what was said with them its path";
        return Some(verdict(case, failure, &failure.path, Some(line), 74, why));
    }
    if let Some((failure, line)) = given(case) {
        let why = "the last words give the error, and this was the last call that failed before them; they do not name its path";
        return Some(verdict(case, failure, &failure.path, Some(line), 66, why));
    }
    let last = failures
        .last()
        .filter(|failure| case.words.is_empty() && is_last_act(case, failure))?;
    Some(verdict(
        case,
        last,
        &last.path,
        None,
        55,
        "it said nothing, but ended right after this failed open",
    ))
}

fn is_missing(failure: &Failure) -> bool {
    has_path(failure.kind)
        && !super::exec::is_exec(failure.kind)
        && !failure.made_good
        && !failure.name.is_empty()
        && matches!(failure.errno, Errno::ENOENT | Errno::ENOTDIR)
}

fn line_naming<'a>(
    case: &Case<'a>,
    failure: &Failure,
    path: &[u8],
    name: &[u8],
    whole: bool,
) -> Option<&'a Line> {
    let (path, name) = (String::from_utf8_lossy(path), String::from_utf8_lossy(name));
    let line = case.words.find(|text| {
        sentences(text).any(|sentence| {
            let is_named =
                names(sentence, &path) || names(sentence, &name) || names_end(sentence, &path);
            // Words of the path itself are not what the program says: `missing.conf`.
            let said = || sentence.replace(&*path, "/").replace(&*name, "/");
            is_named && (gives_error(&said()) || whole && is_beside(sentence, &[&path, &name]))
        })
    })?;
    (failure.event < line.event).then_some(line)
}

/// Whether a text has the error itself; `no such file format` is another error.
fn gives_error(text: &str) -> bool {
    said(text, ERROR_ITSELF).any(|place| {
        let rest = text[place.end..].trim_start();
        !rest.starts_with(|c: char| c.is_alphabetic())
            || ["or ", "at ", "in "]
                .iter()
                .any(|word| rest.starts_with(word))
    })
}

/// Whether a sentence says right beside a path that the path does not exist: `/etc/app.conf is missing`, `cannot open
/// the file /etc/app.conf`; but not `/etc/app.conf: missing port` or `cannot find user bob in /etc/users`.
fn is_beside(sentence: &str, paths: &[&str]) -> bool {
    let mut places: Vec<_> = paths
        .iter()
        .flat_map(|path| places(sentence, path))
        .collect();
    if places.is_empty() {
        places.extend(paths.iter().filter_map(|path| place_of_end(sentence, path)));
    }
    let between = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect()
    };
    let joins = |text: &str| between(text).iter().all(|word| BETWEEN.contains(&&**word));
    let leads_there = |text: &str| {
        let words = between(text);
        words.len() <= MAX_BETWEEN && !words.iter().any(|word| LEADS_AWAY.contains(&&**word))
    };
    let each = |phrases: &'static [&'static str], leads: &dyn Fn(&str) -> bool| {
        said(sentence, phrases).any(|word| {
            let rest = sentence[word.end..].trim_start();
            let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '"' | '\''));
            places.iter().any(|path| {
                path.end <= word.start && ends && joins(&sentence[path.end..word.start])
                    || word.end <= path.start && leads(&sentence[word.end..path.start])
            })
        })
    };
    each(BESIDE_PATH, &joins) || each(TRIED, &leads_there)
}

/// A line as perror(3) writes it: `settings: No such file or directory`, whatever the name is.
fn line_of_perror<'a>(case: &Case<'a>, failure: &Failure) -> Option<&'a Line> {
    let name = String::from_utf8_lossy(basename(&failure.name));
    let line = case
        .words
        .find(|text| text.trim() == format!("{name}: {}", failure.errno.text()))?;
    (!name.is_empty() && failure.event < line.event).then_some(line)
}

/// The line that gives the error, if another line that was written after the call names its path.
fn named_around<'a>(case: &Case<'a>, failure: &Failure) -> Option<&'a Line> {
    let line = case.words.find(gives_error)?;
    let path = String::from_utf8_lossy(&failure.path);
    let mut around = case.words.between(failure.event, line.event);
    (path.len() > 1 && around.any(|line| names(line.said(), &path))).then_some(line)
}

/// The call and the line, if the line gives the error but no path, and the last call that failed before it met that
/// error: `wings: No such file or directory`.
fn given<'a>(case: &Case<'a>) -> Option<(&'a Failure, &'a Line)> {
    let line = case.words.headline()?;
    let before = |failure: &&Failure| {
        failure.pid == line.pid && failure.event < line.event && !is_noise(failure)
    };
    let last = case.facts.failures.iter().rev().find(before)?;
    let close = line.time.since(last.time) <= CLOSE;
    let says_it = gives(line.said(), last.errno) && !names_a_path(line.said());
    (is_missing(last) && last.kind.class() == Class::Opens && close && says_it)
        .then_some((last, line))
}

/// Whether a text names the end of a path, as programs name files relative to a directory of theirs:
/// `vendor/autoload.php`.
fn names_end(text: &str, path: &str) -> bool {
    place_of_end(text, path).is_some()
}

/// Where a text names the end of a path.
fn place_of_end(text: &str, path: &str) -> Option<Range<usize>> {
    let is_separator =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | ':' | ',');
    let mut next = 0;
    let mut words = text.split_inclusive(is_separator).map(|word| {
        let at = next;
        next += word.len();
        (at, word.trim_end_matches(is_separator))
    });
    words.find_map(|(at, word)| {
        let rest = word.strip_prefix("./").unwrap_or(word);
        let is_end = rest.contains('/')
            && !rest.starts_with(['/', '.'])
            && path
                .strip_suffix(rest)
                .is_some_and(|start| start.ends_with('/'));
        is_end.then(|| at..at + word.len())
    })
}

/// Whether the open is the last thing that the process did, except closes, and concerns no file that programs regularly
/// look for in vain.
fn is_last_act(case: &Case<'_>, failure: &Failure) -> bool {
    let opens = failure.kind.class() == Class::Opens;
    let culprit = case.culprit().filter(|culprit| culprit.pid == failure.pid);
    opens
        && !is_noise(failure)
        && culprit.and_then(|culprit| culprit.last_call) == Some(failure.event)
}

fn verdict(
    case: &Case<'_>,
    failure: &Failure,
    path: &[u8],
    line: Option<&Line>,
    confidence: u8,
    why: &str,
) -> Verdict {
    let path = escaped_to(path, 300).to_string();
    let mount = volume::below(case, &path);
    let call = failure.kind.name().unwrap_or("call");
    let cited = line.map_or_else(String::new, |line| format!("; {}", line.cited()));
    let what = match line {
        Some(_) if failure.errno == Errno::ENOTDIR => {
            format!("a part of the path \"{path}\" is not a directory")
        }
        Some(_) if failure.creates => {
            format!("\"{path}\" cannot be created, as its directory does not exist")
        }
        Some(_) => format!("\"{path}\" does not exist"),
        None => format!(
            "right after it could not open \"{path}\" ({})",
            failure.errno.text()
        ),
    };
    let separator = if line.is_some() { ": " } else { ", " };
    let mut evidence = vec![Evidence::new(
        failure.event,
        failure.time,
        format!(
            "{call} {}: {} ({})",
            escaped_to(&failure.path, 300),
            failure.errno,
            failure.errno.text()
        ),
    )];
    evidence.extend(line.map(Line::evidence));
    Verdict {
        sentence: format!("{}{separator}{what}{cited}", case.ended()),
        cause: Cause::MissingFile,
        subject: path.clone(),
        confidence,
        why: why.into(),
        evidence,
        next_step: match failure.creates || failure.errno == Errno::ENOTDIR {
            true => format!(
                "Check each directory of {path}{mount}: in the image, or where a volume should be mounted."
            ),
            false => format!(
                "Put {path}{mount} where the program looks for it (image, ConfigMap or volume mount), or point the program to where it is."
            ),
        },
        weakened_by: if line.is_none() {
            case.missing_events()
        } else {
            Vec::new()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};
    use capture_format::EventKind;

    fn ended(opens: &[&str], words: &[&str]) -> Verdict {
        let mut s = Script::new(&["app"]);
        for path in opens {
            s.open(INIT, path, -2);
        }
        for text in words {
            s.write(INIT, 2, text);
        }
        verdict(s.exit(INIT, 1))
    }

    #[test]
    fn the_error_alone_is_that_of_the_last_call_that_failed() {
        let ended = |words: &str, after: &str| {
            let mut s = Script::new(&["perl", "heron.pl"]);
            s.open(INIT, "/usr/lib/perl5/strict.pmc", -2)
                .open(INIT, "/etc/heron/wings.yml", -2);
            if !after.is_empty() {
                s.open(INIT, after, -13);
            }
            verdict(s.write(INIT, 2, words).exit(INIT, 2))
        };
        let given = ended("heron: wings: No such file or directory\n", "");
        assert_eq!(
            (given.cause, given.subject.as_str(), given.confidence),
            (Cause::MissingFile, "/etc/heron/wings.yml", 66)
        );
        for (words, after) in [
            ("heron: no such file format\n", ""),
            ("heron: /srv/beak: No such file or directory\n", ""),
            (
                "heron: wings: No such file or directory\n",
                "/etc/heron/nest",
            ),
        ] {
            assert_ne!(ended(words, after).cause, Cause::MissingFile, "{words}");
        }
    }

    #[test]
    fn python_writes_its_trace_piece_by_piece() {
        let words = [
            "Traceback (most recent call last):\n",
            "  File \"<string>\", line 1, in <module>\n",
            "FileNotFoundError",
            ": ",
            "[Errno 2] No such file or directory: '/etc/app.conf'",
            "\n",
        ];
        let verdict = ended(
            &["/usr/lib/python3.11/dist-packages", "/etc/app.conf"],
            &words,
        );
        assert_eq!(
            verdict.sentence,
            "app exited 1, 11 ms after start: \"/etc/app.conf\" does not exist; stderr: FileNotFoundError: [Errno 2] No such file or directory: '/etc/app.conf'"
        );
        assert_eq!(
            (verdict.cause, verdict.confidence),
            (Cause::MissingFile, 90)
        );
    }

    #[test]
    fn node_looks_for_its_script_by_stat() {
        let mut s = Script::new(&["node", "/app/server.js"]);
        s.stat(INIT, "/app/server.js", 2)
            .stat(INIT, "/app/server.js.json", 2);
        s.write(INIT, 2, "node:internal/modules/cjs/loader:1210\n  throw err;\n\nError: Cannot find module '/app/server.js'\n    at Module\n  requireStack: []\n}\n");
        assert_eq!(verdict(s.exit(INIT, 1)).subject, "/app/server.js");
    }

    #[test]
    fn go_java_and_nginx_name_the_path() {
        let cause = |words: &str| ended(&["/etc/app.conf"], &[words]).cause;
        assert_eq!(
            cause("panic: open /etc/app.conf: no such file or directory\n"),
            Cause::MissingFile
        );
        assert_eq!(
            cause(
                "Caused by: java.io.FileNotFoundException: /etc/app.conf (No such file or directory)\n"
            ),
            Cause::MissingFile
        );
        assert_eq!(
            cause(
                "nginx: [emerg] open() \"/etc/app.conf\" failed (2: No such file or directory)\n"
            ),
            Cause::MissingFile
        );
    }

    #[test]
    fn a_relative_path_is_found_as_the_program_names_it() {
        assert_eq!(
            ended(
                &["config.yml"],
                &["Error: config.yml: No such file or directory\n"]
            )
            .subject,
            "config.yml"
        );
    }

    #[test]
    fn a_warning_before_another_failure_is_not_the_cause() {
        let words = [
            "warn: /etc/opt.conf: No such file or directory, using defaults\n",
            "fatal: PORT is not a number\n",
        ];
        assert_eq!(
            ended(&["/etc/opt.conf"], &words).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn what_is_looked_for_in_vain_all_the_time_is_never_the_cause() {
        let noise = [
            "/etc/ld.so.preload",
            "/usr/lib/locale/locale-archive",
            "/usr/share/locale/C.UTF-8/LC_MESSAGES/app.mo",
            "/etc/optional.conf",
        ];
        assert_eq!(
            ended(&noise, &["fatal: PORT is not a number\n"]).cause,
            Cause::ExitedNonZero
        );
        assert_eq!(ended(&noise[..3], &[]).cause, Cause::Unknown);
    }

    #[test]
    fn the_path_of_another_file_is_not_this_one() {
        let words = ["error: /etc/app.conf.d/x: No such file or directory\n"];
        assert_eq!(
            ended(&["/etc/app.conf"], &words).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn a_silent_end_right_after_it_is_likely_it_but_not_after_anything_else() {
        let verdict = ended(&["/etc/app.conf"], &[]);
        assert_eq!(
            verdict.sentence,
            "app exited 1, 4 ms after start, right after it could not open \"/etc/app.conf\" (No such file or directory)"
        );
        assert_eq!(verdict.confidence, 55);
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app.conf", -2)
            .open(INIT, "/etc/app.default", 3)
            .close(INIT, 3)
            .exit(INIT, 1);
        assert_eq!(crate::testing::verdict(&s).cause, Cause::Unknown);
    }

    #[test]
    fn a_file_that_was_there_later_is_not_missing() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/run/app.key", -2)
            .open(INIT, "/run/app.key", 3);
        s.write(INIT, 2, "error: key id not found in /run/app.key\n")
            .exit(INIT, 1);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_first_process_that_said_nothing_leaves_the_word_to_its_child() {
        let mut s = Script::new(&["sh", "-c", "app || exit 3"]);
        s.fork(INIT, 200)
            .exec(200, &["app"])
            .open(200, "/etc/app.conf", -2);
        s.write(200, 2, "app: /etc/app.conf: No such file or directory\n")
            .exit(200, 1)
            .exit(INIT, 3);
        let verdict = verdict(&s);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::MissingFile, "/etc/app.conf")
        );
        assert!(
            verdict.sentence.starts_with("sh exited 3, "),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_word_of_the_message_is_no_file_name() {
        let words = ["config error: No such file or directory\n"];
        let verdict = ended(&["/etc/xdg/config"], &words);
        assert_eq!(
            verdict.confidence, 66,
            "it is the call, and not the name: {}",
            verdict.why
        );
    }

    /// What `cat` does if its file does not exist.
    fn cat(s: &mut Script, pid: u32, path: &str) {
        s.fork(INIT, pid)
            .exec(pid, &["cat", path])
            .open(pid, path, -2);
        for piece in ["cat: ", path, ": No such file or directory", "\n"] {
            s.write(pid, 2, piece);
        }
        s.exit(pid, 1);
    }

    #[test]
    fn what_a_script_said_before_its_child_failed_does_not_hide_why() {
        let mut s = Script::new(&["sh", "-c", "echo starting; cat /etc/app.conf; exit 3"]);
        s.write(INIT, 1, "starting\n");
        cat(&mut s, 200, "/etc/app.conf");
        let verdict = verdict(s.exit(INIT, 3));
        assert_eq!(
            (verdict.cause, verdict.subject.as_str()),
            (Cause::MissingFile, "/etc/app.conf")
        );
    }

    #[test]
    fn a_failure_after_which_the_script_went_on_is_not_the_cause() {
        let mut s = Script::new(&["sh", "-c", "cat /etc/opt.conf; app"]);
        cat(&mut s, 200, "/etc/opt.conf");
        s.fork(INIT, 201).exec(201, &["app"]).exit(201, 1);
        let verdict = verdict(s.exit(INIT, 1));
        assert_eq!(
            verdict.sentence,
            "app (started by sh) exited 1, 15 ms after start, and printed nothing itself; before that, stderr: cat: /etc/opt.conf: No such file or directory"
        );
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
    }

    #[test]
    fn neither_is_one_after_which_it_started_something_that_succeeded() {
        let mut s = Script::new(&["sh", "-c", "cat /etc/opt.conf; date; exit 3"]);
        cat(&mut s, 200, "/etc/opt.conf");
        s.fork(INIT, 201).exec(201, &["date"]).exit(201, 0);
        let verdict = verdict(s.exit(INIT, 3));
        assert_eq!(verdict.cause, Cause::ExitedNonZero, "{}", verdict.sentence);
    }

    #[test]
    fn nor_one_after_which_it_became_another_program() {
        let mut s = Script::new(&["sh", "-c", "cat /etc/opt.conf; exec app"]);
        cat(&mut s, 200, "/etc/opt.conf");
        let verdict = verdict(s.exec(INIT, &["app"]).exit(INIT, 1));
        assert!(
            verdict.sentence.starts_with("app exited 1, "),
            "{}",
            verdict.sentence
        );
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
    }

    #[test]
    fn what_a_script_sent_to_dev_null_is_not_the_cause() {
        let mut s = Script::new(&["sh", "-c", "cat /etc/opt.conf 2>/dev/null; exit 3"]);
        s.fork(INIT, 200).open(200, "/dev/null", 3);
        s.call(200, EventKind::DUP2, 2, [3, 0, 0], "", "");
        s.open(200, "/etc/opt.conf", -2)
            .write(200, 2, "cat: /etc/opt.conf: No such file or directory\n")
            .exit(200, 1);
        let verdict = verdict(s.exit(INIT, 3));
        assert_eq!(
            verdict.sentence,
            "sh exited 3, 9 ms after start, and printed nothing that was recorded; why is not known"
        );
        let cites = |text: &str| verdict.evidence.iter().any(|it| it.text.contains(text));
        assert!(!cites("cat: "), "{verdict:?}");
    }

    #[test]
    fn a_shell_says_it_of_a_directory() {
        for words in [
            "sh: can't create /srv/out/x: nonexistent directory\n",
            "sh: 1: cannot create /srv/out/x: Directory nonexistent\n",
            "bash: line 1: /srv/out/x: No such file or directory\n",
        ] {
            let mut s = Script::new(&["sh", "-ec", "echo > /srv/out/x"]);
            s.call(
                INIT,
                EventKind::OPENAT,
                -2,
                [-100, 0o1101, 0o666],
                "/srv/out/x",
                "",
            );
            let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
            assert_eq!(
                (verdict.cause, verdict.confidence),
                (Cause::MissingFile, 90),
                "{words}"
            );
            assert!(
                verdict.sentence.contains("its directory does not exist"),
                "{}",
                verdict.sentence
            );
        }
    }

    #[test]
    fn a_path_in_a_sentence_about_something_else_is_not_the_cause() {
        for words in [
            "fatal: port 99999 is invalid (defaults from /srv/plugins.json missing port)\n",
            "fatal: key PORT not found in /srv/plugins.json\n",
            "fatal: bad licence. Plugins of /srv/plugins.json are not loaded\n",
            "fatal: /srv/plugins.json lacks the table users\n",
            "Error: schema 'users' does not exist (declared in /srv/plugins.json)\n",
            "fatal: cannot find a free slot for job /srv/plugins.json, 3 of 3 taken\n",
            "fatal: cannot find user bob in /srv/plugins.json\n",
            "fatal: no such file format (see /srv/plugins.json)\n",
            "fatal: the table users is missing, though /srv/plugins.json has it\n",
        ] {
            let cause = ended(&["/srv/plugins.json"], &[words]).cause;
            assert_eq!(cause, Cause::ExitedNonZero, "{words}");
        }
        for words in [
            "fatal: /srv/plugins.json is missing\n",
            "fatal: missing configuration file: /srv/plugins.json\n",
            "fatal: '/srv/plugins.json' not found\n",
            "Error: the file /srv/plugins.json does not exist\n",
            "unable to load the configuration from '/srv/plugins.json'\n",
            "E: Could not find or open settings /srv/plugins.json\n",
        ] {
            let cause = ended(&["/srv/plugins.json"], &[words]).cause;
            assert_eq!(cause, Cause::MissingFile, "{words}");
        }
    }

    #[test]
    fn perror_names_it_whatever_it_is_called() {
        let verdict = ended(
            &["/etc/svc/config"],
            &["config: No such file or directory\n"],
        );
        assert_eq!(
            (verdict.subject.as_str(), verdict.confidence),
            ("config", 85)
        );
    }

    #[test]
    fn a_path_relative_to_the_program_is_the_end_of_the_one_it_looked_for() {
        let words = ["PHP Fatal error:  Failed opening required 'vendor/autoload.php'\n"];
        assert_eq!(
            ended(&["/srv/vendor/autoload.php"], &words).subject,
            "/srv/vendor/autoload.php"
        );
        assert_eq!(
            ended(&["/srv/vendor/other.php"], &words).cause,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn the_path_may_stand_a_line_before_the_error() {
        let words = [
            "FATAL CONFIG FILE ERROR\n",
            ">>> 'dir \"/data/redis\"'\n",
            "No such file or directory\n",
        ];
        assert_eq!(ended(&["/data/redis"], &words).subject, "/data/redis");
    }

    #[test]
    fn a_directory_that_cannot_be_made_lacks_its_parent() {
        let mut s = Script::new(&["mkdir", "/data/cache"]);
        s.call(INIT, EventKind::MKDIR, -2, [0; 3], "/data/cache", "");
        s.write(
            INIT,
            2,
            "mkdir: cannot create directory '/data/cache': No such file or directory\n",
        );
        let verdict = verdict(s.exit(INIT, 1));
        assert!(
            verdict
                .sentence
                .contains("\"/data/cache\" cannot be created, as its directory does not exist"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_word_in_the_path_does_not_say_that_it_is_missing() {
        let words = ["fatal: /etc/missing/app.conf has no port\n"];
        assert_eq!(
            ended(&["/etc/missing/app.conf"], &words).cause,
            Cause::ExitedNonZero
        );
    }
}
