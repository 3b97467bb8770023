//! The last words are a message that the catalogue knows.
//!
//! Entries of the program's own scope count, and only those that say why. If the message can mean only one thing, the
//! entry has a cause, and this is the verdict: a module that is missing, an environment variable that is not set.
//! Calls that failed on the thing that the message names make it surer. If the entry has no cause, the verdict is
//! [`Cause::ExitedNonZero`], with the line that says why.
//!
//! The message may come before the line that the last words begin with, if what was said after it only announces the
//! end, as far as the catalogue knows, or adds nothing to it.
//!
//! The rule is wrong if the program could do without the thing, reported that, and gave up over something else.

use super::words::{Follows, is_frame, reports_failure};
use super::{Case, Cause, Evidence, Finding, tied};
use crate::facts::Failure;
use crate::facts::output::Line;
use crate::knowledge::{EntityKind, Entry, Severity};
use crate::symptom;
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;

/// How many calls are cited.
const MAX_CALLS: usize = 3;
/// How many lines are cited beside the one that says why.
const MAX_LINES: usize = 8;
/// How many lines before a line may belong to the same message.
const MAX_BEFORE: usize = 12;
/// How many bytes of a name are quoted.
const MAX_NAME: usize = 200;

/// The score of a message that says why, and of which no cause follows.
const SAYS_WHY: u8 = 49;

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the last words.
    LastWords,
    /// Before them, and everything after it only announces the end.
    BeforeClosers,
    /// Before them, and what was said after it adds nothing to it.
    Before,
}

/// A line that says why, in words that its program has for this.
struct Said<'a> {
    line: &'a Line,
    place: Place,
    entry: &'a Entry,
    /// What it names, escaped.
    named: Vec<(EntityKind, String)>,
}

const ALONE: &str = "the program says so in words that it has for nothing else";
const WITH_CALL: &str =
    "the program says so in words that it has for nothing else, and a call failed on what it names";

const WITHOUT_CALL: &str = "the program says so in words that it has for nothing else; but no call that failed so was recorded";

impl Said<'_> {
    /// The event that wrote the line, if that is one before the last words.
    fn rests_on(&self) -> Option<u64> {
        (self.place != Place::LastWords).then_some(self.line.event)
    }
}

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let in_block = case.words.block().iter().copied();
    let in_block = in_block.filter_map(|line| {
        let cited = case.words.find(|text| std::ptr::eq(text, line.said()))?;
        of_line(case, line, cited, Place::LastWords)
    });
    let mut said: Vec<Said<'_>> = in_block.collect();
    if said.is_empty() {
        let earlier = case.words.earlier().filter(|line| !is_frame(line.said()));
        said.extend(earlier.filter_map(|line| of_line(case, line, line, place(case, line)?)));
    }
    said.iter()
        .find_map(|said| concluded(case, said))
        .or_else(|| cited(case, said.first()?))
}

/// Where a line before the last words is, if it may still say why the program ended.
fn place(case: &Case<'_>, line: &Line) -> Option<Place> {
    let announces_the_end = |other: &Line| {
        let process = case.facts.processes.get(other.pid);
        let of = |text: &str| process.and_then(|process| case.knowledge.severity(process, text));
        let severity = of(other.said()).or_else(|| of(&other.text));
        severity.is_some_and(|severity| severity != Severity::Why)
    };
    let mut failures = case
        .words
        .after(line)
        .filter(|other| reports_failure(other));
    if failures.all(announces_the_end) {
        return Some(Place::BeforeClosers);
    }
    match case.words.follows(line, "") {
        Follows::AnotherFailure => None,
        Follows::Nothing | Follows::TheSame | Follows::NothingNew => Some(Place::Before),
    }
}

/// What a line of the last words means, if it says why.
fn of_line<'a>(case: &Case<'a>, line: &'a Line, cited: &'a Line, place: Place) -> Option<Said<'a>> {
    let process = case.facts.processes.get(line.pid)?;
    let before = lines_before(case, line);
    // A logger's prefix may be a part of the message: `FATAL:` is in PostgreSQL's.
    let texts = [line.said(), &line.text].map(|text| format!("{before}{text}"));
    let meaning = texts.iter().find_map(|text| {
        // A message that ended before this line is another line's.
        let meanings = case.knowledge.matches(process, text).into_iter();
        let mut own = meanings.filter(|meaning| meaning.is_own && meaning.end > before.len());
        own.find(|meaning| meaning.entry.severity() == Severity::Why)
    })?;
    let escaped = |name: &str| escaped_to(name.as_bytes(), MAX_NAME).to_string();
    let named = meaning.named.iter();
    // A line that is the whole message says more than the line that it continues.
    let is_whole = meaning.entry.find(line.said()).is_some();
    Some(Said {
        line: if is_whole { line } else { cited },
        place,
        entry: meaning.entry,
        named: named.map(|(kind, name)| (*kind, escaped(name))).collect(),
    })
}

/// The lines before a line on the same stream of the same process, which may be of the same message; each with a line
/// break.
fn lines_before(case: &Case<'_>, line: &Line) -> String {
    let process = case.facts.processes.get(line.pid);
    let lines = process
        .into_iter()
        .flat_map(|process| process.output.lines());
    let same = lines.filter(|other| other.stream == line.stream);
    let mut texts: Vec<String> = same
        .take_while(|other| !std::ptr::eq(*other, line))
        .map(|other| format!("{}\n", other.text))
        .collect();
    texts.drain(..texts.len().saturating_sub(MAX_BEFORE));
    texts.concat()
}

/// The verdict on a message that can mean only one thing.
fn concluded(case: &Case<'_>, said: &Said<'_>) -> Option<Finding> {
    let Said {
        line, entry, named, ..
    } = said;
    let conclusion = entry.conclusion()?;
    if !conclusion.is_complete(named) {
        return None;
    }
    let wanted = kind_of_subject(conclusion.cause);
    let subject = named.iter().find(|(kind, _)| Some(*kind) == wanted);
    let subject = subject.or(named.first()).map(|(_, name)| name.clone());
    let failed = failed_on(case, said);
    // Of a cause that has a failed call, the call is half of the proof.
    let mut rows = symptom::all().iter();
    let lacks_call = failed.is_empty() && rows.any(|row| row.cause == conclusion.cause);
    let (score, why) = match (said.place, failed.is_empty()) {
        _ if lacks_call => (70, WITHOUT_CALL),
        (Place::LastWords, true) => (89, ALONE),
        (Place::LastWords, false) => (93, WITH_CALL),
        (Place::BeforeClosers, true) => (84, ALONE),
        (Place::BeforeClosers, false) => (88, WITH_CALL),
        (Place::Before, true) => (72, ALONE),
        (Place::Before, false) => (76, WITH_CALL),
    };
    let mut evidence: Vec<Evidence> = failed.into_iter().map(tied::evidence).collect();
    evidence.push(line.evidence());
    let cited = match conclusion.cause {
        // Its line may have the value of another variable, and says no more.
        Cause::MissingVariable => String::new(),
        _ => format!("; {}", line.cited()),
    };
    Some(Finding {
        rests_on: said.rests_on(),
        sentence: format!("{}: {}{cited}", case.ended(), conclusion.what(named)),
        cause: conclusion.cause,
        subject: subject.unwrap_or_default(),
        score,
        why: why.into(),
        evidence,
        next_step: match (conclusion.cause, named.first()) {
            (Cause::MissingVariable, Some((_, name))) => case.advice(
                conclusion.next_step(named),
                format!("Set {name} in the environment of the command."),
            ),
            _ => conclusion.next_step(named),
        },
        weakened_by: Vec::new(),
    })
}

/// What kind of thing a cause is about.
fn kind_of_subject(cause: Cause) -> Option<EntityKind> {
    Some(match cause {
        Cause::MissingFile
        | Cause::ReadOnlyFileSystem
        | Cause::PermissionDenied
        | Cause::DiskFull
        | Cause::Locked
        | Cause::InvalidConfiguration => EntityKind::Path,
        Cause::MissingDependency => EntityKind::Module,
        Cause::MissingVariable => EntityKind::Variable,
        Cause::DnsNoSuchHost
        | Cause::DnsNoAddress
        | Cause::DnsServerFailed
        | Cause::DnsNoAnswer => EntityKind::Host,
        Cause::PortInUse => EntityKind::Port,
        _ => return None,
    })
}

/// The verdict on a message that says why and has no cause of ours.
fn cited(case: &Case<'_>, said: &Said<'_>) -> Option<Finding> {
    let code = case.exit_code().filter(|&code| code != 0)?;
    let line = said.line;
    if case.silent_after(line).is_some() {
        return None;
    }
    let mut evidence = vec![line.evidence()];
    evidence.extend(case.said.evidence(MAX_LINES));
    let (killed, of_killed) = case.killed_before();
    evidence.extend(of_killed);
    Some(Finding {
        rests_on: said.rests_on(),
        sentence: format!("{}{}{killed}", case.ended(), case.cited(line)),
        cause: Cause::ExitedNonZero,
        subject: code.to_string(),
        // It names no cause, so whatever names one goes first.
        score: SAYS_WHY,
        why: "the program says so itself".into(),
        evidence,
        next_step: "Read its last words; `lastword show` has every call before them.".into(),
        weakened_by: case.missing_events(),
    })
}

/// The last calls before a line that failed on what the line names.
fn failed_on<'a>(case: &Case<'a>, said: &Said<'_>) -> Vec<&'a Failure> {
    let symptom = said.entry.symptom();
    let symptom = symptom::all().iter().find(|row| Some(row.cause) == symptom);
    // What is looked for and missing is not there.
    let fits = |errno: Errno| match symptom {
        Some(symptom) => symptom.is_error(errno),
        None => matches!(errno, Errno::ENOENT | Errno::ENOTDIR),
    };
    let is_about = |failure: &Failure, (kind, name): &(EntityKind, String)| match kind {
        EntityKind::Path => *failure.path == *name.as_bytes() || *failure.name == *name.as_bytes(),
        // `express` is looked for as `express`, `express.js` and `express.json`.
        EntityKind::Module => {
            let last = basename(name.as_bytes());
            let rest = basename(&failure.name).strip_prefix(last);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        }
        _ => false,
    };
    let failures = case.facts.failures.iter().rev().filter(|failure| {
        failure.event < said.line.event
            && fits(failure.errno)
            && case.below_chain(failure.pid)
            && said.named.iter().any(|entity| is_about(failure, entity))
    });
    failures.take(MAX_CALLS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Verdict;
    use crate::testing::{INIT, Script, verdict};

    /// The verdict on a program that printed these words and gave up.
    fn of(script: &mut Script, words: &str) -> Verdict {
        verdict(script.write(INIT, 2, words).exit(INIT, 1))
    }

    fn said(program: &str, words: &str) -> (Cause, String) {
        let verdict = of(&mut Script::new(&[program]), words);
        (verdict.cause, verdict.subject)
    }

    #[test]
    fn each_loader_names_what_it_lacks() {
        let cases = [
            (
                "node",
                "node:internal\n  throw err;\n\nError: Cannot find module 'express'\nRequire stack:\n- /srv/server.js\n    at Module\n",
                "express",
            ),
            (
                "python3",
                "Traceback (most recent call last):\nModuleNotFoundError: No module named 'flask'\n",
                "flask",
            ),
            (
                "python3",
                "/usr/bin/python3: No module named gunicorn\n",
                "gunicorn",
            ),
            (
                "python3",
                "ImportError: cannot import name 'loadz' from 'json' (/usr/lib/python3.11/json/__init__.py)\n",
                "loadz",
            ),
            (
                "python3",
                "ImportError: libGL.so.1: cannot open shared object file: No such file or directory\n",
                "libGL.so.1",
            ),
            (
                "java",
                "Error: Could not find or load main class com.example.Main\nCaused by: java.lang.ClassNotFoundException: com.example.Main\n",
                "com.example.Main",
            ),
            (
                "java",
                "Exception in thread \"main\" java.lang.NoClassDefFoundError: com/example/Helper\n\tat com.example.Main.main(Main.java:2)\nCaused by: java.lang.ClassNotFoundException: com.example.Helper\n\t... 1 more\n",
                "com.example.Helper",
            ),
            (
                "perl",
                "Can't locate JSON/XS.pm in @INC (you may need to install the JSON::XS module)\nBEGIN failed--compilation aborted at app.pl line 1.\n",
                "JSON/XS.pm",
            ),
            (
                "ruby",
                "app.rb:1:in `require': cannot load such file -- sinatra (LoadError)\n",
                "sinatra",
            ),
        ];
        for (program, words, name) in cases {
            assert_eq!(
                said(program, words),
                (Cause::MissingDependency, name.to_owned()),
                "{words}"
            );
        }
    }

    #[test]
    fn a_library_is_missing_where_a_loader_says_so() {
        let words = "Error loading shared library libfoo.so.1: No such file or directory (needed by /app)\n";
        let mut s = Script::new(&["/app"]);
        s.open(INIT, "/etc/ld-musl-x86_64.path", -2);
        assert_eq!(of(&mut s, words).subject, "libfoo.so.1");
        assert_eq!(said("/app", words).0, Cause::ExitedNonZero);
    }

    #[test]
    fn words_of_another_program_prove_nothing() {
        for program in ["app", "perl"] {
            for words in [
                "ModuleNotFoundError: No module named 'flask'\n",
                "Error: Cannot find module 'express'\n",
                "sh: 1: DATABASE_URL: must be set\n",
            ] {
                assert_eq!(said(program, words).0, Cause::ExitedNonZero, "{words}");
            }
        }
        // A name can be set.
        let mut s = Script::new(&["/srv/app"]);
        s.call(
            INIT,
            capture_format::EventKind::EXEC,
            0,
            [1, 0, 0],
            "/srv/app",
            "python3\0",
        );
        let words = "ModuleNotFoundError: No module named 'flask'\n";
        assert_eq!(of(&mut s, words).cause, Cause::ExitedNonZero);
    }

    #[test]
    fn a_program_that_loads_a_runtime_speaks_its_language() {
        let mut s = Script::new(&["/usr/bin/uwsgi-core"]);
        s.open(INIT, "/lib/libpython3.11.so.1.0", 3);
        let verdict = of(&mut s, "ModuleNotFoundError: No module named 'shop'\n");
        assert_eq!(verdict.subject, "shop");
    }

    #[test]
    fn a_message_counts_although_the_program_then_announces_its_end() {
        let why = "FATAL:  required WAL directory \"pg_wal\" does not exist\n";
        let closers = "LOG:  startup process (PID 16366) exited with exit code 1\nLOG:  terminating any other active server processes\nLOG:  shutting down due to startup process failure\nLOG:  database system is shut down\n";
        let mut s = Script::new(&["postgres"]);
        let verdict = of(s.write(INIT, 2, why), closers);
        assert_eq!(
            (verdict.cause, verdict.subject.as_str(), verdict.score),
            (Cause::MissingFile, "pg_wal", 70)
        );
        let mut s = Script::new(&["postgres"]);
        s.stat(INIT, "pg_wal", 2).write(INIT, 2, why);
        assert_eq!(of(&mut s, closers).score, 88);
        let mut s = Script::new(&["postgres"]);
        let other = "FATAL:  could not open file \"global/pg_filenode.map\": Input/output error\n";
        let verdict = of(s.write(INIT, 2, why), other);
        assert_ne!(verdict.cause, Cause::MissingFile);
    }

    #[test]
    fn prose_about_a_module_is_no_loaders_message() {
        for (program, words) in [
            ("perl", "ledger: Can't locate account 4711 in the index\n"),
            (
                "perl",
                "Can't locate object method \"run\" via package \"App\" at app.pl line 3.\n",
            ),
            ("node", "inventory: Cannot find module 'X-17' in rack 3\n"),
            ("python3", "lander: No module named Apollo is docked\n"),
            ("python3", "lander: No module named 'Apollo' is docked\n"),
            ("ruby", "shop: cannot load such file -- it is too large\n"),
            ("ruby", "mine: Could not find gem 'ruby' in the chest\n"),
            (
                "dotnet",
                "plant: Could not load file or assembly 'line 7'\n",
            ),
        ] {
            assert_eq!(said(program, words).0, Cause::ExitedNonZero, "{words}");
        }
    }

    #[test]
    fn an_entry_point_that_is_missing_is_a_file() {
        for path in ["/srv/server.js", "./config/prod.json"] {
            let words = format!("Error: Cannot find module '{path}'\n");
            assert_eq!(said("node", &words).0, Cause::ExitedNonZero);
        }
    }

    #[test]
    fn an_optional_module_before_another_failure_is_not_the_cause() {
        let words =
            "warn: ModuleNotFoundError: No module named 'uvloop', using asyncio\nfatal: bad port\n";
        assert_eq!(said("python3", words).0, Cause::ExitedNonZero);
    }

    #[test]
    fn failed_calls_for_it_make_it_surer() {
        let words = "Error: Cannot find module 'express'\n";
        assert_eq!(of(&mut Script::new(&["node"]), words).score, 89);
        let mut s = Script::new(&["node", "server.js"]);
        s.stat(INIT, "/srv/node_modules/express", 2);
        let verdict = of(&mut s, words);
        assert_eq!((verdict.score, verdict.evidence[0].event), (93, 3));
    }

    #[test]
    fn a_masked_name_is_nothing_that_could_be_missing() {
        for words in [
            "ModuleNotFoundError: No module named '*****'\n",
            "ModuleNotFoundError: No module named 'a**'\n",
        ] {
            let verdict = of(&mut Script::new(&["python3"]), words);
            assert_eq!(verdict.cause, Cause::ExitedNonZero, "{words}");
        }
    }

    #[test]
    fn a_message_that_says_why_is_cited_as_such() {
        let words =
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n";
        let verdict = of(&mut Script::new(&["node"]), words);
        assert_eq!(verdict.cause, Cause::ExitedNonZero);
        assert!(verdict.score > 40, "{}", verdict.score);
        let other = of(&mut Script::new(&["app"]), words);
        assert_eq!(other.score, 40);
    }

    #[test]
    fn shells_say_it_each_in_its_way() {
        for words in [
            "sh: 1: DATABASE_URL: must be set\n",
            "/bin/sh: DATABASE_URL: must be set\n",
            "bash: line 1: DATABASE_URL: unbound variable\n",
            "sh: DATABASE_URL: parameter not set\n",
        ] {
            assert_eq!(
                said("sh", words),
                (Cause::MissingVariable, "DATABASE_URL".into()),
                "{words}"
            );
        }
        for words in [
            "bash: line 3: PORT: command not found\n",
            "bash: line 3: DATA: readonly variable\n",
            "deploy.sh: STAGE_NAME: invalid value 'x', must be set to prod or test\n",
            "sh: 1: REPORT: Permission denied\n",
        ] {
            assert_ne!(said("bash", words).0, Cause::MissingVariable, "{words}");
        }
    }

    #[test]
    fn a_key_error_is_a_variables_only_in_os_environ() {
        let trace = "Traceback (most recent call last):\n  File \"/srv/env.py\", line 2, in <module>\n    url = os.environ[\"DATABASE_URL\"]\n  File \"<frozen os>\", line 679, in __getitem__\nKeyError: 'DATABASE_URL'\n";
        assert_eq!(said("python3", trace).1, "DATABASE_URL");
        let of_dict = "Traceback (most recent call last):\n  File \"/srv/env.py\", line 2, in <module>\n    url = rows[\"DATABASE_URL\"]\nKeyError: 'DATABASE_URL'\n";
        assert_eq!(said("python3", of_dict).0, Cause::ExitedNonZero);
    }

    #[test]
    fn node_shows_the_line_that_read_it() {
        let shows = |source: &str| {
            let words = format!(
                "/srv/server.js:1\n{source}\n               ^\n\nTypeError: Cannot read properties of undefined (reading 'trim')\n    at Object.<anonymous> (/srv/server.js:1:31)\n\nNode.js v20.20.2\n"
            );
            said("node", &words)
        };
        assert_eq!(
            shows("const key = process.env.API_KEY.trim();"),
            (Cause::MissingVariable, "API_KEY".into())
        );
        assert_eq!(
            shows("const key = options.key.trim();").0,
            Cause::ExitedNonZero
        );
        assert_eq!(
            shows("f(process.env.MODE, options.key.trim());").0,
            Cause::ExitedNonZero
        );
    }
}
