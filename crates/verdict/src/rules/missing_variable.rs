//! A program gave up because an environment variable is not set.
//!
//! Reading a variable is no system call, so only the last words can tell: the message that a shell has for this,
//! Python's KeyError below a frame of os.environ, Node's TypeError with a line of source that reads process.env, or a
//! sentence that calls a name an environment variable and says that it is missing.
//!
//! The rule is wrong if the program could do without the variable and gave up over something else, or if the name in
//! the sentence is something else that is written in capitals. The verdict has the variable's name only, never a value.

use super::phrase::{said, says, sentences};
use super::{Case, Cause, Finding};
use crate::facts::output::Line;

/// What bash, dash and BusyBox write after the name of the variable.
const OF_SHELLS: &[&str] = &[
    "unbound variable",
    "parameter not set",
    "parameter null or not set",
];
/// How programs call an environment variable, in lower case.
const ENVIRONMENT: &[&str] = &[
    "environment variable*",
    "environment var",
    "environment vars",
    "env var",
    "env vars",
    "env variable*",
    "environment key*",
    "process.env",
    "os.environ",
    "env[",
    "environ[",
    "in the environment",
    "from the environment",
    "in environment",
    "from environment",
];
/// How programs say that a variable is missing, in lower case.
const MISSING: &[&str] = &[
    "not set",
    "is unset",
    "must be set",
    "required",
    "missing",
    "undefined",
    "not defined",
    "not found",
    "must be defined",
    "must be specified",
    "must provide",
    "is empty",
    "unset",
    "no value",
    "does not exist",
    "not provided",
    "need to be set",
    "needs to be set",
    "to be set",
    "not present",
    "isn't set",
    "not specified",
];
/// What scripts say after the name in their own words, in lower case: `${NAME:?please set it}`.
const ASKED_FOR: &[&str] = &[
    "please", "set", "provide", "define", "specify", "need*", "give",
];
/// How many words may be between the name and the words that call it a variable.
const MAX_BETWEEN: usize = 2;

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let (name, line, score, why) = case
        .words
        .block()
        .iter()
        .find_map(|line| of_line(case, line))?;
    Some(Finding {
        rests_on: None,
        sentence: format!(
            "{}: the environment variable {name} is not set",
            case.ended()
        ),
        cause: Cause::MissingVariable,
        subject: name.clone(),
        score,
        why: why.into(),
        evidence: vec![line.evidence()],
        next_step: format!(
            "Set {name} in the container's env or envFrom, and check that the ConfigMap or Secret it comes from has that key."
        ),
        weakened_by: Vec::new(),
    })
}

fn of_line<'a>(case: &Case<'a>, line: &'a Line) -> Option<(String, &'a Line, u8, &'static str)> {
    let text = &*line.text;
    if let Some(name) = of_shell(case, line) {
        return Some((
            name,
            line,
            91,
            "the shell says so, in words it has for nothing else",
        ));
    }
    if let Some(rest) = text.strip_prefix("KeyError: '") {
        let name = rest.strip_suffix('\'').filter(|name| is_variable(name))?;
        return Some(match of_environ(case, line, name) {
            true => (
                name.to_owned(),
                line,
                91,
                "Python looked it up in os.environ, as its stack trace shows",
            ),
            false => return None,
        });
    }
    if text.starts_with("TypeError: Cannot read properties of undefined") {
        let name = of_process_env(case, line)?;
        let why = "JavaScript found it undefined in the line that it shows, which reads it from process.env";
        return Some((name, line, 85, why));
    }
    let name = sentences(text).find_map(called_a_variable)?;
    let why = "the last words call it a variable of the environment, and missing";
    Some((name.to_owned(), line, 85, why))
}

/// The name beside words that call it an environment variable, in a sentence that says that it is missing.
fn called_a_variable(sentence: &str) -> Option<&str> {
    let place = said(sentence, ENVIRONMENT).next()?;
    let near = |text: &str| {
        // The words that say that it is missing may be in between: `environment variables not set: A`.
        let rest = MISSING
            .iter()
            .fold(text.to_ascii_lowercase(), |text, missing| {
                text.replace(missing, "")
            });
        let words = rest
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        words.count() <= MAX_BETWEEN
    };
    let after = &sentence[place.end..];
    let after = variables(after).find(|(at, _)| near(&after[..*at]));
    let before = || {
        let before = &sentence[..place.start];
        let last = variables(before).last();
        last.filter(|(at, name)| near(&before[at + name.len()..]))
    };
    let (at, name) = match after {
        Some((at, name)) => (place.end + at, name),
        None => before()?,
    };
    // `variable HOME is set, but the table is missing` is about a table.
    let all = at.min(place.start)..(at + name.len()).max(place.end);
    let is_missing = said(sentence, MISSING).any(|missing| {
        let between = if missing.start >= all.end {
            &sentence[all.end..missing.start]
        } else if missing.end <= all.start {
            &sentence[missing.end..all.start]
        } else {
            ""
        };
        near(between)
    });
    is_missing.then_some(name)
}

/// `sh: 1: DATABASE_URL: must be set`: shell, line number, name and what `${NAME:?text}` says.
fn of_shell(case: &Case<'_>, line: &Line) -> Option<String> {
    let text = line.text.trim();
    let known = OF_SHELLS
        .iter()
        .find_map(|words| text.strip_suffix(words)?.strip_suffix(": "));
    if let Some(before) = known {
        let name = before.rsplit(": ").next()?;
        return is_name(name).then(|| name.to_owned());
    }
    let is_shell = case
        .facts
        .processes
        .get(line.pid)
        .is_some_and(|process| process.is_shell());
    let mut parts = text.split(": ").skip(1).filter(|part| {
        let part = part.strip_prefix("line ").unwrap_or(part);
        !part.chars().all(|c| c.is_ascii_digit())
    });
    // The shell's name and a line number; after `-c` the shell's name alone.
    let first = text.split(": ").next().unwrap_or_default();
    let shell = first.rsplit('/').next().unwrap_or_default();
    let shell = shell.trim_start_matches('-');
    let alone = ["sh", "ash", "bash", "dash", "ksh", "zsh"].contains(&shell);
    let second = text.split(": ").nth(1).unwrap_or_default();
    let second = second.strip_prefix("line ").unwrap_or(second);
    let numbered = second.parse::<u32>().is_ok();
    let name = parts
        .next()
        .filter(|name| is_shell && (numbered || alone) && is_variable(name))?;
    let rest = parts.next()?;
    // `bash: line 1: PORT: command not found` is about a command.
    let of_shell = says(rest, &["command not found", "not found", "no such file"]);
    let asks = says(rest, MISSING) || says(rest, ASKED_FOR);
    (asks && !of_shell).then(|| name.to_owned())
}

/// The only variable that is read in the source line above Node's error: `const key = process.env.API_KEY.trim();`.
fn of_process_env(case: &Case<'_>, line: &Line) -> Option<String> {
    let lines = case.facts.processes.get(line.pid)?.output.lines();
    let lines: Vec<&Line> = lines.filter(|other| other.event <= line.event).collect();
    let caret = lines
        .iter()
        .rposition(|other| other.text.trim() == "^" || other.text.trim().starts_with("^^"))?;
    let source = &lines.get(caret.checked_sub(1)?)?.text;
    let mut reads = source.split("process.env.").skip(1);
    let read = reads
        .next()
        .filter(|_| source.matches("process.env.").count() == 1)?;
    let name = read
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .next()?;
    // A variable from which something is read must have been undefined: `API_KEY.trim`, `API_KEY[0]`.
    let is_read_from = read[name.len()..].starts_with(['.', '[']);
    (is_name(name) && is_read_from).then(|| name.to_owned())
}

/// Whether the stack trace before a KeyError is one of os.environ.
fn of_environ(case: &Case<'_>, line: &Line, name: &str) -> bool {
    let lines = case
        .facts
        .processes
        .get(line.pid)
        .map(|process| process.output.lines());
    let before = lines
        .into_iter()
        .flatten()
        .filter(|other| other.event <= line.event);
    before.rev().take(8).any(|other| {
        let text = &other.text;
        text.contains("<frozen os>")
            || text.contains("/os.py\"")
            || text.contains("environ") && text.contains(name)
    })
}

/// The words of a text that are written like environment variables, and their places.
fn variables(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut next = 0;
    let words = text.split_inclusive(is_end).map(move |word| {
        let at = next;
        next += word.len();
        (at, word.trim_end_matches(is_end))
    });
    words.filter(|(_, word)| is_variable(word))
}

/// Whether a word is written like an environment variable: `DATABASE_URL`, `PORT`; but not the error `EADDRINUSE`, or a
/// log level.
fn is_variable(word: &str) -> bool {
    const NONE: &[&str] = &[
        "ERROR", "FATAL", "WARN", "WARNING", "CRITICAL", "INFO", "DEBUG", "PANIC", "EMERG", "HTTP",
        "JSON", "YAML", "SSL", "TLS", "DNS", "TCP", "API", "URL", "UTC", "NOT", "SQL",
    ];
    let errno = word.starts_with('E') && !word.contains('_') && word.len() > 4;
    is_name(word)
        && word.len() > 2
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !errno
        && !word.starts_with("ERR_")
        && !NONE.contains(&word)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    fn said(argv0: &str, words: &str) -> (Cause, String, u8) {
        let mut s = Script::new(&[argv0]);
        let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
        (verdict.cause, verdict.subject, verdict.score)
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
                (Cause::MissingVariable, "DATABASE_URL".into(), 91),
                "{words}"
            );
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
            (Cause::MissingVariable, "API_KEY".into(), 85)
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

    #[test]
    fn a_program_that_calls_it_so_is_believed_more() {
        assert_eq!(
            said("node", "Error: environment variable PORT is not set\n"),
            (Cause::MissingVariable, "PORT".into(), 85)
        );
        for words in [
            "Missing required environment variables: SESSION_SECRET\n",
            "config: SESSION_SECRET environment variable is required\n",
            "Required env vars not set: SESSION_SECRET, OTHER\n",
            "SESSION_SECRET missing from environment\n",
            "process.env.SESSION_SECRET is undefined\n",
        ] {
            assert_eq!(
                said("app", words),
                (Cause::MissingVariable, "SESSION_SECRET".into(), 85),
                "{words}"
            );
        }
    }

    #[test]
    fn capitals_are_no_variable() {
        for words in [
            "fatal: SESSION_SECRET is required\n",
            "java.lang.IllegalStateException: Expected BEGIN_OBJECT but was STRING at line 1 column 1\n",
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key Identifier\n",
            "fatal: environment variable table is full. KEY_FILE is missing\n",
            "fatal: environment variable HOME is set to /root, but the profile table is missing\n",
            "fatal: the environment variable block of job NIGHTLY_RUN has a table that is missing\n",
        ] {
            assert_eq!(said("app", words).0, Cause::ExitedNonZero, "{words}");
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
    fn other_words_in_capitals_are_none() {
        assert_eq!(
            said("app", "FATAL ERROR: licence is required\n").0,
            Cause::ExitedNonZero
        );
    }

    #[test]
    fn the_value_of_another_variable_is_not_in_the_sentence() {
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "env var TOKEN missing (MODE=s3cr3t)\n")
            .exit(INIT, 1);
        assert!(!verdict(&s).sentence.contains("s3cr3t"));
    }
}
