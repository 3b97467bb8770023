//! A program gave up because a file or directory does not exist.
//!
//! Programs look for files that need not exist all the time: libraries in every directory of a search path,
//! translations, modules, optional configuration. A failed call alone is therefore never a cause. Words such as `not
//! found` are also said about other things (`key not found in app.conf`), so they count only right beside the path.

use super::tied::Described;
use super::{Case, Cause, volume};
use crate::candidate::Naming;
use crate::facts::Failure;
use crate::tie::{Tie, Tied};
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;

pub(super) fn describe(case: &Case<'_>, failure: &Failure, tied: &Tied<'_>) -> Described {
    // A name that was looked for in several directories is missing in all of them.
    let path = match tied.tie {
        Tie::Named(Naming::Part) => basename(&failure.name),
        _ => &failure.path,
    };
    let path = escaped_to(path, 300).to_string();
    let mount = volume::below(case, &path);
    let what = match tied.line {
        Some(_) if failure.errno == Errno::ENOTDIR => {
            format!(": a part of the path \"{path}\" is not a directory")
        }
        Some(_) if failure.creates => {
            format!(": \"{path}\" cannot be created, as its directory does not exist")
        }
        Some(_) => format!(": \"{path}\" does not exist"),
        None => format!(
            ", right after it could not open \"{path}\" ({})",
            failure.errno.text()
        ),
    };
    let next_step = match failure.creates || failure.errno == Errno::ENOTDIR {
        true => case.advice(
            format!(
                "Check each directory of {path}{mount}: in the image, or where a volume should be mounted."
            ),
            format!("Check each directory of {path}."),
        ),
        false => case.advice(
            format!(
                "Put {path}{mount} where the program looks for it (image, ConfigMap or volume mount), or point the program to where it is."
            ),
            format!("Put {path} where the program looks for it, or point the program to where it is."),
        ),
    };
    Described {
        cause: Cause::MissingFile,
        subject: path,
        what,
        next_step,
        more: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
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
            (given.cause, given.subject.as_str(), given.score),
            (Cause::MissingFile, "/etc/heron/wings.yml", 68)
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
        assert_eq!((verdict.cause, verdict.score), (Cause::MissingFile, 91));
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
        assert_eq!(verdict.score, 55);
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
            verdict.score, 68,
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
                (verdict.cause, verdict.score),
                (Cause::MissingFile, 91),
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
        assert_eq!((verdict.subject.as_str(), verdict.score), ("config", 85));
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
