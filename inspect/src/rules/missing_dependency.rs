//! A module, class or shared library that is missing at run time. The loaders that say so say it in words of their own.

use super::{Case, Cause, Evidence, Verdict};
use crate::decode::Errno;
use crate::escape::escaped_to;
use crate::facts::Failure;
use crate::facts::naming::basename;
use crate::facts::output::Line;
use crate::rules::failed_call;

/// Calls cited.
const MAX_EVIDENCE: usize = 3;

/// What a loader says, and what that is about.
struct Loader {
    /// What stands before the name.
    before: &'static str,
    /// What ends the name.
    after: &'static [char],
    /// What is missing, for people.
    what: &'static str,
    /// How it is installed; empty where that depends.
    install: &'static str,
}

const QUOTES: &[char] = &['\'', '"', '`', '’'];
const LOADERS: &[Loader] = &[
    Loader {
        before: "Cannot find module '",
        after: QUOTES,
        what: "Node module",
        install: "npm ci",
    },
    Loader {
        before: "Cannot find package '",
        after: QUOTES,
        what: "Node package",
        install: "npm ci",
    },
    Loader {
        before: "No module named '",
        after: QUOTES,
        what: "Python module",
        install: "pip install -r requirements.txt",
    },
    Loader {
        before: "No module named ",
        after: &[' ', ';'],
        what: "Python module",
        install: "pip install -r requirements.txt",
    },
    Loader {
        before: "ImportError: cannot import name '",
        after: QUOTES,
        what: "Python name",
        install: "pip install -r requirements.txt, with the versions it was written for",
    },
    Loader {
        before: "java.lang.ClassNotFoundException: ",
        after: &[' ', ';'],
        what: "Java class",
        install: "",
    },
    Loader {
        before: "java.lang.NoClassDefFoundError: ",
        after: &[' ', ';'],
        what: "Java class",
        install: "",
    },
    Loader {
        before: "error while loading shared libraries: ",
        after: &[':', ' '],
        what: "shared library",
        install: "",
    },
    Loader {
        before: "Error loading shared library ",
        after: &[':', ' '],
        what: "shared library",
        install: "",
    },
    Loader {
        before: "Can't locate ",
        after: &[' '],
        what: "Perl module",
        install: "cpanm --installdeps .",
    },
    Loader {
        before: "cannot load such file -- ",
        after: &[' ', ')'],
        what: "Ruby library",
        install: "bundle install",
    },
    Loader {
        before: "Could not load file or assembly '",
        after: &['\'', ','],
        what: ".NET assembly",
        install: "dotnet publish",
    },
    Loader {
        before: "Could not find gem '",
        after: QUOTES,
        what: "Ruby gem",
        install: "bundle install",
    },
];
/// Python's loader of native modules: `ImportError: libGL.so.1: cannot open shared object file`.
const NO_OBJECT: &str = ": cannot open shared object file";

pub(super) fn rule(case: &Case<'_>) -> Option<Verdict> {
    case.exit_code().filter(|&code| code != 0)?;
    let is_of_loader = |text: &str| dependency(text).is_some();
    let line = case.words.find(is_of_loader)?;
    let said = case.words.block().iter();
    let (name, loader) = said
        .chain([&line])
        .find_map(|line| dependency(&line.text))?;
    let name = escaped_to(name.as_bytes(), 200).to_string();
    let install = match loader.install {
        "" => format!(
            "Check that the image has {name}, in a version for it, and the path it is looked for in (LD_LIBRARY_PATH, class path)."
        ),
        command => format!("Check that the image's build installs {name}: `{command}`."),
    };
    let evidence = tried(case, &name, line)
        .into_iter()
        .map(failed_call::evidence);
    let mut evidence: Vec<Evidence> = evidence.collect();
    let (confidence, why) = match evidence.is_empty() {
        true => (89, "the loader says so in words of its own"),
        false => (
            93,
            "the loader says so in words of its own, and looked for it in vain",
        ),
    };
    evidence.push(line.evidence());
    Some(Verdict {
        sentence: format!(
            "{}: {} \"{name}\" is missing; {}",
            case.ended(),
            loader.what,
            line.cited()
        ),
        cause: Cause::MissingDependency,
        subject: name,
        confidence,
        why: why.into(),
        evidence,
        next_step: install,
        weakened_by: Vec::new(),
    })
}

/// The name in a loader's message. A path is a file that is missing, not a dependency.
fn dependency(text: &str) -> Option<(&str, &'static Loader)> {
    if let Some((before, _)) = text.split_once(NO_OBJECT) {
        let name = before.rsplit(": ").next()?;
        let library = LOADERS
            .iter()
            .find(|loader| loader.what == "shared library")?;
        return (!name.contains('/') && !name.is_empty()).then_some((name, library));
    }
    LOADERS.iter().find_map(|loader| {
        let (_, rest) = text.split_once(loader.before)?;
        let name = rest.split(loader.after).next()?;
        (!name.is_empty() && !name.starts_with(['/', '.'])).then_some((name, loader))
    })
}

/// The last calls that looked for it: by the name's last part.
fn tried<'a>(case: &Case<'a>, name: &str, line: &Line) -> Vec<&'a Failure> {
    let last = name.rsplit(['/']).next().unwrap_or(name);
    let is_it = |failure: &&Failure| {
        let found = basename(&failure.name);
        let rest = found.strip_prefix(last.as_bytes());
        failure.event < line.event
            && failure.errno == Errno::ENOENT
            && case.below_chain(failure.pid)
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
    };
    let tried = case.facts.failures.iter().rev().filter(is_it);
    tried.take(MAX_EVIDENCE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, verdict};

    fn said(words: &str) -> (Cause, String) {
        let mut s = Script::new(&["app"]);
        let verdict = verdict(s.write(INIT, 2, words).exit(INIT, 1));
        (verdict.cause, verdict.subject)
    }

    #[test]
    fn each_loader_names_what_it_lacks() {
        let cases = [
            (
                "node:internal\n  throw err;\n\nError: Cannot find module 'express'\nRequire stack:\n- /srv/server.js\n    at Module\n",
                "express",
            ),
            (
                "Traceback (most recent call last):\nModuleNotFoundError: No module named 'flask'\n",
                "flask",
            ),
            ("/usr/bin/python3: No module named gunicorn\n", "gunicorn"),
            (
                "ImportError: cannot import name 'loadz' from 'json' (/usr/lib/python3.11/json/__init__.py)\n",
                "loadz",
            ),
            (
                "ImportError: libGL.so.1: cannot open shared object file: No such file or directory\n",
                "libGL.so.1",
            ),
            (
                "Error: Could not find or load main class com.example.Main\nCaused by: java.lang.ClassNotFoundException: com.example.Main\n",
                "com.example.Main",
            ),
            (
                "Exception in thread \"main\" java.lang.NoClassDefFoundError: com/example/Helper\n\tat com.example.Main.main(Main.java:2)\nCaused by: java.lang.ClassNotFoundException: com.example.Helper\n\t... 1 more\n",
                "com.example.Helper",
            ),
            (
                "Can't locate JSON/XS.pm in @INC (you may need to install the JSON::XS module)\nBEGIN failed--compilation aborted at app.pl line 1.\n",
                "JSON/XS.pm",
            ),
            (
                "app.rb:1:in `require': cannot load such file -- sinatra (LoadError)\n",
                "sinatra",
            ),
            (
                "Error loading shared library libfoo.so.1: No such file or directory (needed by /app)\n",
                "libfoo.so.1",
            ),
        ];
        for (words, name) in cases {
            assert_eq!(
                said(words),
                (Cause::MissingDependency, name.to_owned()),
                "{words}"
            );
        }
    }

    #[test]
    fn an_entry_point_that_is_missing_is_a_file() {
        for path in ["/srv/server.js", "./config/prod.json"] {
            let words = format!("Error: Cannot find module '{path}'\n");
            assert_eq!(said(&words).0, Cause::ExitedNonZero);
        }
    }

    #[test]
    fn an_optional_module_before_another_failure_is_not_the_cause() {
        let words = "warn: No module named 'uvloop', using asyncio\nfatal: bad port\n";
        assert_eq!(said(words).0, Cause::ExitedNonZero);
    }

    #[test]
    fn failed_calls_for_it_make_it_surer() {
        let mut s = Script::new(&["node", "server.js"]);
        s.stat(INIT, "/srv/node_modules/express", 2)
            .write(INIT, 2, "Error: Cannot find module 'express'\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!((verdict.confidence, verdict.evidence[0].event), (93, 3));
    }
}
