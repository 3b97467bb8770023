//! Globs and regular expressions.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Memory for one compiled pattern, and for its cache while it is matched.
const MAX_SIZE: usize = 1 << 20;
/// Deepest nesting within a regular expression.
const MAX_NESTING: u32 = 50;

/// The syntax of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `*`, `?`, `[a-z]`, `{a,b}`, over the whole text.
    Glob,
    /// The same, with letters in either case.
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

/// A compiled pattern. Matching takes time linear in the text.
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
    /// Compiles a pattern; the error is a sentence.
    pub(super) fn new(syntax: Syntax, source: String) -> Result<Self, String> {
        let expression = match syntax {
            Syntax::Regex => {
                // The pattern is first compiled alone: `a)|(b` must not become valid by what is put around it.
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

/// The last line of the regex crate's message. The lines before it show the expression.
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

/// Writes the pattern in quotes so that [`super::lexer::Word::pattern`] can read it back.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"", self.syntax.operator())?;
        for (at, part) in self.source.split('"').enumerate() {
            write!(f, "{}{part}", if at > 0 { "\\\"" } else { "" })?;
        }
        f.write_str("\"")
    }
}
