//! A module, class or shared library is missing at run time.
//!
//! The loaders of Node, Python, Java, Perl, Ruby, .NET and the C library each report this in a form of their own, with
//! the name of what is missing. The last words have to have that form. Where it could also be prose, another part of
//! the same message has to prove that a loader wrote it, or calls that looked for the name have to have failed. Such
//! calls also make the verdict surer.
//!
//! The rule is wrong if the program could do without the module, reported that, and gave up over something else. If a
//! path is missing and not a name, the rule `missing_file` says so.

use super::{Case, Cause, Evidence, Finding};
use crate::facts::Failure;
use crate::facts::output::Line;
use crate::rules::tied;
use events::basename;
use events::decode::Errno;
use events::escape::escaped_to;

/// How many calls are cited.
const MAX_EVIDENCE: usize = 3;

/// A message of a loader, and what it is about.
struct Loader {
    /// What comes before the name.
    before: &'static str,
    /// Characters that end the name.
    after: &'static [char],
    /// Texts of which the loader says at least one in the same message. They distinguish a loader's message from prose
    /// about a module, which proves nothing. Empty if `before` cannot be prose.
    context: &'static [&'static str],
    /// The kind of thing that is missing, for people.
    what: &'static str,
    /// How to install it; empty if that depends.
    install: &'static str,
}

impl Loader {
    /// Whether a message has one of the texts of `context`.
    fn is_meant_by(&self, message: &str) -> bool {
        let mut context = self.context.iter();
        self.context.is_empty() || context.any(|words| message.contains(words))
    }
}

const QUOTES: &[char] = &['\'', '"', '`', '’'];
const LOADERS: &[Loader] = &[
    Loader {
        before: "Cannot find module '",
        after: QUOTES,
        context: &[
            "Require stack",
            "MODULE_NOT_FOUND",
            "imported from",
            "internal/modules",
            "at Module",
            "at Function.",
            "Node.js v",
        ],
        what: "Node module",
        install: "npm ci",
    },
    Loader {
        before: "Cannot find package '",
        after: QUOTES,
        context: &["ERR_MODULE_NOT_FOUND", "imported from"],
        what: "Node package",
        install: "npm ci",
    },
    Loader {
        before: "No module named '",
        after: QUOTES,
        context: &["ModuleNotFoundError: ", "ImportError: "],
        what: "Python module",
        install: "pip install -r requirements.txt",
    },
    Loader {
        before: "No module named ",
        after: &[' ', ';'],
        context: &[
            "ModuleNotFoundError: ",
            "ImportError: ",
            "python: No module",
            "python3: No module",
            "python2: No module",
            "python3.",
        ],
        what: "Python module",
        install: "pip install -r requirements.txt",
    },
    Loader {
        before: "ImportError: cannot import name '",
        after: QUOTES,
        context: &[],
        what: "Python name",
        install: "pip install -r requirements.txt, with the versions it was written for",
    },
    Loader {
        before: "java.lang.ClassNotFoundException: ",
        after: &[' ', ';'],
        context: &[],
        what: "Java class",
        install: "",
    },
    Loader {
        before: "java.lang.NoClassDefFoundError: ",
        after: &[' ', ';'],
        context: &[],
        what: "Java class",
        install: "",
    },
    Loader {
        before: "error while loading shared libraries: ",
        after: &[':', ' '],
        context: &[".so"],
        what: "shared library",
        install: "",
    },
    Loader {
        before: "Error loading shared library ",
        after: &[':', ' '],
        context: &[".so"],
        what: "shared library",
        install: "",
    },
    Loader {
        before: "Can't locate loadable object for module ",
        after: &[' '],
        context: &["in @INC"],
        what: "Perl module",
        install: "cpanm --installdeps .",
    },
    Loader {
        before: "Can't locate ",
        after: &[' '],
        context: &[".pm in @INC", ".pl in @INC", ".ph in @INC"],
        what: "Perl module",
        install: "cpanm --installdeps .",
    },
    Loader {
        before: "cannot load such file -- ",
        after: &[' ', ')'],
        context: &[
            "(LoadError)",
            "`require'",
            "'Kernel#require'",
            "in 'require'",
            "`require_relative'",
        ],
        what: "Ruby library",
        install: "bundle install",
    },
    Loader {
        before: "Could not load file or assembly '",
        after: &['\'', ','],
        context: &[
            "System.IO.FileNotFoundException",
            "Version=",
            "PublicKeyToken=",
        ],
        what: ".NET assembly",
        install: "dotnet publish",
    },
    Loader {
        before: "Could not find gem '",
        after: QUOTES,
        context: &[
            "Bundler",
            "bundle",
            "Gemfile",
            "rubygems",
            "locally installed gems",
        ],
        what: "Ruby gem",
        install: "bundle install",
    },
];
/// Python's loader of native modules: `ImportError: libGL.so.1: cannot open shared object file`.
const NO_OBJECT: &str = ": cannot open shared object file";

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    case.gave_up()?;
    let block = case.words.block();
    let message: Vec<&str> = block.iter().map(|line| &*line.text).collect();
    let message = message.join("\n");
    let line = case.words.find(|text| dependency(text).is_some())?;
    let (name, loader) = block
        .iter()
        .copied()
        .chain([line])
        .find_map(|line| meant(case, line, &message))?;
    let name = escaped_to(name.as_bytes(), 200).to_string();
    let install = match loader.install {
        "" => format!(
            "Check that the image has {name}, in a version for it, and the path it is looked for in (LD_LIBRARY_PATH, class path)."
        ),
        command => format!("Check that the image's build installs {name}: `{command}`."),
    };
    let evidence = tried(case, &name, line).into_iter().map(tied::evidence);
    let mut evidence: Vec<Evidence> = evidence.collect();
    let (score, why) = match evidence.is_empty() {
        true => (89, "the loader says so in words of its own"),
        false => (
            93,
            "the loader says so in words of its own, and looked for it in vain",
        ),
    };
    evidence.push(line.evidence());
    Some(Finding {
        rests_on: None,
        sentence: format!(
            "{}: {} \"{name}\" is missing; {}",
            case.ended(),
            loader.what,
            line.cited()
        ),
        cause: Cause::MissingDependency,
        subject: name,
        score,
        why: why.into(),
        evidence,
        next_step: install,
        weakened_by: Vec::new(),
    })
}

/// The name of the dependency if a loader reported it: because of the other texts in the message, or because calls
/// looked for the name.
fn meant<'a>(case: &Case<'a>, line: &'a Line, message: &str) -> Option<(&'a str, &'static Loader)> {
    let (name, loader) = dependency(&line.text)?;
    let of_loader = loader.is_meant_by(message) || !tried(case, name, line).is_empty();
    of_loader.then_some((name, loader))
}

/// The name in a line of a loader's message. A path is a missing file and not a dependency.
fn dependency(text: &str) -> Option<(&str, &'static Loader)> {
    if let Some((before, _)) = text.split_once(NO_OBJECT) {
        let name = before.rsplit(": ").next()?;
        let library = LOADERS
            .iter()
            .find(|loader| loader.what == "shared library")?;
        return (!name.contains('/') && name.contains(".so")).then_some((name, library));
    }
    LOADERS.iter().find_map(|loader| {
        let at = text.match_indices(loader.before).map(|(at, _)| at);
        let at = at.into_iter().find(|&at| {
            let before = text[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })?;
        let name = text[at + loader.before.len()..]
            .split(loader.after)
            .next()?;
        (!name.is_empty() && !name.starts_with(['/', '.'])).then_some((name, loader))
    })
}

/// The last calls that looked for the dependency by the last part of its name.
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
    fn prose_about_a_module_is_no_loaders_message() {
        for words in [
            "ledger: Can't locate account 4711 in the index\n",
            "Can't locate object method \"run\" via package \"App\" at app.pl line 3.\n",
            "inventory: Cannot find module 'X-17' in rack 3\n",
            "lander: No module named Apollo is docked\n",
            "lander: No module named 'Apollo' is docked\n",
            "shop: cannot load such file -- it is too large\n",
            "mine: Could not find gem 'ruby' in the chest\n",
            "plant: Could not load file or assembly 'line 7'\n",
            "wardrobe: Error loading shared library card of reader 7\n",
        ] {
            assert_eq!(said(words).0, Cause::ExitedNonZero, "{words}");
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
        let words =
            "warn: ModuleNotFoundError: No module named 'uvloop', using asyncio\nfatal: bad port\n";
        assert_eq!(said(words).0, Cause::ExitedNonZero);
    }

    #[test]
    fn failed_calls_for_it_make_it_surer() {
        let mut s = Script::new(&["node", "server.js"]);
        s.stat(INIT, "/srv/node_modules/express", 2)
            .write(INIT, 2, "Error: Cannot find module 'express'\n")
            .exit(INIT, 1);
        let verdict = verdict(&s);
        assert_eq!((verdict.score, verdict.evidence[0].event), (93, 3));
    }
}
