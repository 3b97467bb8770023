//! One entry of the catalogue: a message, and what it means.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::rules::Cause;

/// How long a pattern may be, in bytes.
const MAX_PATTERN: usize = 1000;
/// How long a sentence of a conclusion, or the text of an example, may be, in bytes.
const MAX_TEXT: usize = 4000;
/// How many bytes a pattern may have once it is compiled.
const MAX_COMPILED: usize = 256 << 10;
/// How many bytes of intermediate results a pattern may keep.
const MAX_CACHE: usize = 256 << 10;

/// A message, and what it means. [`Entry::check`] has found nothing wrong with it.
#[derive(Clone, Debug)]
pub struct Entry {
    row: Row,
    /// Where in its file the entry begins; 0 for a built-in one.
    line: usize,
    conclusion: Option<Conclusion>,
    regex: OnceLock<Option<Regex>>,
}

/// An entry as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    pattern: String,
    symptom: Option<Cause>,
    severity: Severity,
    cause: Option<Cause>,
    what: Option<String>,
    next_step: Option<String>,
    #[serde(default)]
    examples: Vec<String>,
    #[serde(default)]
    counterexamples: Vec<String>,
    #[serde(default)]
    seen_in: Vec<String>,
}

/// How much a message says about why a program ended; the ones that say most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It says why.
    Why,
    /// It says that something went wrong that the program goes on with or may go on with.
    Warning,
    /// It says what to do about a failure, or more about one that was reported before.
    Hint,
    /// It says that the program ends, and not why.
    Closer,
    /// It is part of a longer message, such as a frame of a stack trace.
    Frame,
}

/// A kind of thing that messages name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// A file or directory.
    Path,
    /// A host, by name or address.
    Host,
    /// A port, as a number.
    Port,
    /// An environment variable, an option or a parameter.
    Variable,
    /// A module, class, library, package or program.
    Module,
    /// A user or group.
    User,
    /// Anything else: a table, a queue, a cluster.
    Resource,
}

impl EntityKind {
    /// The kind that a group of a pattern stands for: `path`, or `path2` for a second one.
    fn of_group(name: &str) -> Option<Self> {
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
        Some(match kind {
            "path" => Self::Path,
            "host" => Self::Host,
            "port" => Self::Port,
            "variable" => Self::Variable,
            "module" => Self::Module,
            "user" => Self::User,
            "resource" => Self::Resource,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Host => "host",
            Self::Port => "port",
            Self::Variable => "variable",
            Self::Module => "module",
            Self::User => "user",
            Self::Resource => "resource",
        }
    }
}

/// What follows from a message that can mean only one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The cause.
    pub cause: Cause,
    what: String,
    next_step: String,
}

impl Conclusion {
    /// What happened, as a clause. `named` are the things that the message names, escaped.
    #[must_use]
    pub fn what(&self, named: &[(EntityKind, String)]) -> String {
        filled(&self.what, named)
    }

    /// Whether these are all things that the texts speak of.
    #[must_use]
    pub fn is_complete(&self, named: &[(EntityKind, String)]) -> bool {
        let mut wanted = placeholders(&self.what).chain(placeholders(&self.next_step));
        wanted.all(|name| named.iter().any(|(kind, _)| kind.name() == name))
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self, named: &[(EntityKind, String)]) -> String {
        filled(&self.next_step, named)
    }
}

impl Entry {
    /// The entry of a row.
    ///
    /// # Errors
    /// What is wrong with it: the field, or nothing if it is the row as a whole, and what is wrong.
    pub(super) fn check(
        row: Row,
        line: usize,
        is_scoped: bool,
    ) -> Result<Self, (&'static str, String)> {
        let regex = compiled(&row.pattern).map_err(|fault| ("pattern", fault))?;
        if regex.is_match(b"") {
            return Err((
                "pattern",
                "it matches an empty line, so it matches any".into(),
            ));
        }
        let groups: Vec<&str> = regex.capture_names().flatten().collect();
        if let Some(group) = groups
            .iter()
            .find(|group| EntityKind::of_group(group).is_none())
        {
            let message = format!(
                "no kind of thing has the name of the group `{group}`: use path, host, port, variable, module, user, \
                 resource, or `(?:…)` for a group without a name"
            );
            return Err(("pattern", message));
        }
        let kinds: Vec<EntityKind> = groups
            .iter()
            .filter_map(|group| EntityKind::of_group(group))
            .collect();
        let conclusion = conclusion(&row, Some(&kinds), is_scoped)?;
        if row.examples.is_empty() {
            return Err((
                "examples",
                "give at least one message that the pattern matches".into(),
            ));
        }
        let mut texts = row.examples.iter().chain(&row.counterexamples);
        if texts.any(|text| text.len() > MAX_TEXT) {
            return Err((
                "examples",
                format!("an example has more than {MAX_TEXT} bytes"),
            ));
        }
        let matches = |text: &String| regex.is_match(text.as_bytes());
        if let Some(text) = row.examples.iter().find(|text| !matches(text)) {
            return Err(("examples", format!("the pattern does not match \"{text}\"")));
        }
        if let Some(text) = row.counterexamples.iter().find(|text| matches(text)) {
            return Err(("counterexamples", format!("the pattern matches \"{text}\"")));
        }
        Ok(Self {
            row,
            line,
            conclusion,
            regex: OnceLock::from(Some(regex)),
        })
    }

    /// The entry of a row of the built-in catalogue, which a test has checked: its pattern is compiled when it is
    /// needed.
    pub(super) fn unchecked(row: Row) -> Self {
        let conclusion = conclusion(&row, None, true).ok().flatten();
        Self {
            row,
            line: 0,
            conclusion,
            regex: OnceLock::new(),
        }
    }

    /// Its stable name: `python.module_not_found`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// How much the message says about why the program ended.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.row.severity
    }

    /// What went wrong with what the message names. If the entry has no cause, this may be why, and a failed call must
    /// prove it.
    #[must_use]
    pub fn symptom(&self) -> Option<Cause> {
        self.row.symptom.or(self.row.cause)
    }

    /// What follows, if the message can mean only one thing.
    #[must_use]
    pub fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }

    /// Messages that the entry is about.
    pub fn examples(&self) -> impl Iterator<Item = &str> {
        self.row.examples.iter().map(String::as_str)
    }

    /// Messages that look like it, and mean something else.
    pub fn counterexamples(&self) -> impl Iterator<Item = &str> {
        self.row.counterexamples.iter().map(String::as_str)
    }

    /// Where the message was seen: captures of this repository, or public sources.
    pub fn seen_in(&self) -> impl Iterator<Item = &str> {
        self.row.seen_in.iter().map(String::as_str)
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn pattern(&self) -> &str {
        &self.row.pattern
    }

    /// The same entry, which matches nothing.
    #[cfg(test)]
    pub(super) fn mute(&self) -> Self {
        Self {
            regex: OnceLock::from(None),
            ..self.clone()
        }
    }

    /// Whether two entries say the same of a message.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.row.severity == other.row.severity
            && self.row.symptom == other.row.symptom
            && self.conclusion.as_ref().map(|it| it.cause)
                == other.conclusion.as_ref().map(|it| it.cause)
    }

    /// What a text with this message names, and where in it the message ends. If the message occurs several times, the
    /// last one counts.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<(Vec<(EntityKind, &'t str)>, usize)> {
        let regex = self
            .regex
            .get_or_init(|| compiled(&self.row.pattern).ok())
            .as_ref()?;
        let last = regex.captures_iter(text.as_bytes()).last()?;
        let groups = regex.capture_names().zip(last.iter());
        let named = groups.filter_map(|(group, place)| {
            let value = text.get(place?.range())?;
            // A masked value names nothing.
            let is_known = !value.is_empty() && !value.contains("**") && value != "*";
            Some((EntityKind::of_group(group?)?, value)).filter(|_| is_known)
        });
        Some((named.collect(), last.get(0)?.end()))
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!(
            "it has {} bytes, and may have {MAX_PATTERN}",
            pattern.len()
        ));
    }
    let mut builder = RegexBuilder::new(pattern);
    let builder = builder
        .unicode(false)
        .crlf(true)
        .multi_line(true)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_CACHE);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("it is larger than {MAX_COMPILED} bytes once compiled: repeat less")
        }
        // The last line says what is wrong; those before it show the pattern.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    })
}

fn unsaid(cause: Cause) -> String {
    format!(
        "`{}` is nothing that words can prove: only the kernel or the runtime knows",
        cause.name()
    )
}

/// The conclusion of a row. Its texts are compared with the kinds of the pattern's groups, if these are given.
fn conclusion(
    row: &Row,
    kinds: Option<&[EntityKind]>,
    is_scoped: bool,
) -> Result<Option<Conclusion>, (&'static str, String)> {
    let (cause, what, next_step) = match (row.cause, &row.what, &row.next_step) {
        (None, None, None) => {
            return match row.symptom.filter(|symptom| !symptom.is_said()) {
                None => Ok(None),
                Some(symptom) => Err(("symptom", unsaid(symptom))),
            };
        }
        (Some(cause), Some(what), Some(next_step)) => (cause, what, next_step),
        _ => {
            let message = "`cause`, `what` and `next_step` go together: give all or none";
            return Err(("cause", message.into()));
        }
    };
    if !is_scoped {
        let message = "a file without a scope names no cause: its words may be anybody's";
        return Err(("cause", message.into()));
    }
    if row.severity != Severity::Why {
        return Err((
            "severity",
            "a message with a cause says why: set `why`".into(),
        ));
    }
    if !cause.is_said() {
        return Err(("cause", unsaid(cause)));
    }
    for (field, text) in [("what", what), ("next_step", next_step)] {
        if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err((
                field,
                format!("one line of at most {MAX_TEXT} bytes, please"),
            ));
        }
        for name in placeholders(text) {
            let kind = EntityKind::of_group(name);
            let is_group = |kinds: &[EntityKind]| kind.is_some_and(|kind| kinds.contains(&kind));
            if !kinds.is_none_or(is_group) {
                return Err((field, format!("the pattern has no group for {{{name}}}")));
            }
        }
    }
    Ok(Some(Conclusion {
        cause,
        what: what.clone(),
        next_step: next_step.clone(),
    }))
}

/// The names between `{` and `}`.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}

fn filled(text: &str, named: &[(EntityKind, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = named.iter().find(|(kind, _)| kind.name() == name);
        out.push_str(value.map_or("…", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}
