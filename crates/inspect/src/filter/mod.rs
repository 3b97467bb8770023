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

/// Times as expressions and options write them.
pub(crate) mod time {
    pub(crate) use super::literal::{DAY, duration, instant, time_of_day};
}

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 1 << 16;
/// Deepest nesting of parentheses and `not`: Falco's limit.
pub const MAX_DEPTH: usize = 100;
/// Most globs and regular expressions: each may take a mebibyte.
pub const MAX_PATTERNS: usize = 64;

/// An expression that says of each event whether it matches.
///
/// Its [`Display`](fmt::Display) is an expression that means the same, written in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(ast::Expr);

/// What is known around an event.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The capture's header.
    pub header: &'a Header,
    /// The event's run.
    pub run: &'a Run,
    /// The context that has observed the event, and nothing after it.
    pub context: &'a Context,
}

impl Filter {
    /// Reads an expression such as `proc.name=nginx and evt.failed=true`.
    ///
    /// # Errors
    /// It is no expression of the language, compares a field with what it cannot be, or is too long or too deep; the error points at the column.
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

    /// Whether certainly none of the events of which this is known matches.
    ///
    /// `evt.time` and its relatives count only in what [`Filter::for_run`] made.
    #[must_use]
    pub fn excludes(&self, known: &Known<'_>) -> bool {
        !known.outcomes(&self.0).can_match
    }

    /// The columns by which [`Filter::excludes`] tells more of an event than by its block's summary; [`Columns::TIME`] also where it
    /// is the event's number.
    #[must_use]
    pub fn columns(&self) -> Columns {
        pushdown::columns(&self.0)
    }

    /// The filter for the events of one run: it matches the same of them, and times are in the clock of the events.
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
