//! Globs and regular expressions.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Memory that one compiled pattern may take, and its cache while it is matched.
const MAX_SIZE: usize = 1 << 20;
/// Deepest nesting within a regular expression.
const MAX_NESTING: u32 = 50;

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `*`, `?`, `[a-z]`, `{a,b}`, over the whole text.
    Glob,
    /// The same, whatever the case of letters.
    IGlob,
    /// The syntax of the regex crate, over the whole text, as Falco has it.
    Regex,
}

impl Syntax {
    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::IGlob => "iglob",
            Self::Regex => "regex",
        }
    }
}

/// A pattern that is ready to be matched; matching takes time linear in the text.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) syntax: Syntax,
    source: String,
    compiled: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.syntax, &self.source) == (other.syntax, &other.source)
    }
}

impl Pattern {
    /// Compiles it; the error is a sentence.
    pub(super) fn new(syntax: Syntax, source: String) -> Result<Self, String> {
        let expression = match syntax {
            Syntax::Regex => {
                // On its own first: `a)|(b` must not become right by what is put around it.
                compile(&source, false)?;
                format!(r"\A(?:{source})\z")
            }
            Syntax::Glob | Syntax::IGlob => globset::GlobBuilder::new(&source)
                .literal_separator(false)
                .backslash_escape(true)
                .case_insensitive(syntax == Syntax::IGlob)
                .build()
                .map_err(|error| format!("no glob: {}", error.kind()))?
                .regex()
                .to_owned(),
        };
        let compiled = compile(&expression, syntax != Syntax::Regex)?;
        Ok(Self {
            syntax,
            source,
            compiled,
        })
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.compiled.is_match(text)
    }
}

fn compile(expression: &str, dot_is_any: bool) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .size_limit(MAX_SIZE)
        .dfa_size_limit(MAX_SIZE)
        .nest_limit(MAX_NESTING)
        .dot_matches_new_line(dot_is_any)
        .build()
        .map_err(|error| reason(&error))
}

/// The last line of the regex crate's message: those before it draw the expression.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the pattern would take more than {limit} bytes of memory")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            format!("no regular expression: {last}")
        }
    }
}

/// In quotes, as [`super::lexer::Word::pattern`] takes it back.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"", self.syntax.operator())?;
        for (at, part) in self.source.split('"').enumerate() {
            write!(f, "{}{part}", if at > 0 { "\\\"" } else { "" })?;
        }
        f.write_str("\"")
    }
}
