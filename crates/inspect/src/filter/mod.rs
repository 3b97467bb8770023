//! Filters: expressions that choose events. The language is that of sysdig and Falco, with the fields of a capture.
//!
//! ```text
//! text ─► lexer ─► grammar ─► ast: Expr ─┬─► evaluate   one event with its context: does it match?
//!                    │                   └─► pushdown   a block's summary, a row's columns: can any event match?
//!                    └─ fields: one table, name → type, meaning, example, getter
//! ```
//!
//! Syntax and names are those of sysdig and Falco where they mean the same. docs/filters.md teaches the language and
//! says what differs. A comparison with a field that the event does not have is false, even `!=`. `exists` says
//! whether the event has the field, and `not` negates.

use std::fmt;
use std::str::FromStr;

use capture_format::{Columns, Header, Run};

use events::context::{Context, Seen};

mod ast;
mod error;
mod evaluate;
mod fields;
mod grammar;
mod lexer;
mod literal;
mod pattern;
mod pushdown;
#[cfg(test)]
mod tests;

pub use error::FilterError;
pub use fields::{Field, fields};
pub use literal::Type;
pub use pushdown::Known;

/// Times as they are written in expressions and options.
pub(crate) mod time {
    pub(crate) use super::literal::{DAY, duration, instant, time_of_day};
}

/// Longest expression, in bytes.
pub(crate) const MAX_LENGTH: usize = 1 << 16;
/// Deepest nesting of parentheses and `not`; Falco has the same limit.
pub const MAX_DEPTH: usize = 100;
/// Most globs and regular expressions: each may use a mebibyte.
pub(crate) const MAX_PATTERNS: usize = 64;

/// A filter expression: it says of each event whether the event matches.
///
/// Its [`Display`](fmt::Display) is an expression with the same meaning, in a uniform notation.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(ast::Expr);

/// What else is known when an event is judged.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The capture's header.
    pub header: &'a Header,
    /// The event's run.
    pub run: &'a Run,
    /// The context that has observed this event and all events before it.
    pub context: &'a Context,
}

impl Filter {
    /// Reads an expression such as `proc.name=nginx and evt.failed=true`.
    ///
    /// # Errors
    /// If the text is not an expression of the language, if a field is compared with a value that it cannot have, or if
    /// the text is too long or nested too deeply. The error points at the column.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        grammar::parse(text)
            .map(Self)
            .map_err(|fault| FilterError::new(text, fault))
    }

    /// Whether the event matches.
    #[must_use]
    pub fn matches(&self, scope: &Scope<'_>, seen: &Seen<'_>) -> bool {
        evaluate::matches(&self.0, scope, seen)
    }

    /// Whether certainly none of the events that `known` describes matches.
    ///
    /// `evt.time` and similar fields count only in a filter that [`Filter::for_run`] made.
    #[must_use]
    pub fn excludes(&self, known: &Known<'_>) -> bool {
        !known.outcomes(&self.0).can_match
    }

    /// The columns that let [`Filter::excludes`] rule out single events, where a block's summary cannot.
    /// [`Columns::TIME`] stands for the event's number, too.
    #[must_use]
    pub fn columns(&self) -> Columns {
        pushdown::columns(&self.0)
    }

    /// The filter for the events of one run. It matches the same events of that run; times are converted to the clock
    /// of the events.
    #[must_use]
    pub fn for_run(&self, header: &Header, run: &Run) -> Self {
        Self(pushdown::in_boottime(&self.0, header, run))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}
