//! A checked expression: every field exists, and its type allows every comparison.

use std::fmt;

use super::fields::Field;
use super::literal::{Literal, write_text};
use super::pattern::Pattern;

/// An expression, which is true or false for each event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// At least two.
    Or(Vec<Expr>),
    /// At least two.
    And(Vec<Expr>),
    Not(Box<Expr>),
    Check(Check),
}

/// A field and the test that its value must pass.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) field: &'static Field,
    pub(super) argument: Argument,
    pub(super) test: Test,
}

/// What follows the field in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    /// How many generations back.
    Generation(usize),
    /// The name of an argument of events.
    Name(String),
}

/// The test that a value must pass.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Exists,
    Is(Comparison, Literal),
    In(Vec<Literal>),
    Has(Part, Vec<u8>),
    /// The path is one of these, or below one.
    Under(Vec<Vec<u8>>),
    Like(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

/// Where in a text another text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Anywhere,
    /// Anywhere, and ASCII letters match in either case.
    AnywhereInAnyCase,
    Start,
    End,
}

impl Part {
    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Anywhere => "contains",
            Self::AnywhereInAnyCase => "icontains",
            Self::Start => "startswith",
            Self::End => "endswith",
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, between) = match self {
            Self::Or(parts) => (parts, " or "),
            Self::And(parts) => (parts, " and "),
            Self::Not(inner) => return write!(f, "not {}", Nested(inner)),
            Self::Check(check) => return check.fmt(f),
        };
        for (at, part) in parts.iter().enumerate() {
            f.write_str(if at > 0 { between } else { "" })?;
            Nested(part).fmt(f)?;
        }
        Ok(())
    }
}

/// An expression, in parentheses if it has several parts.
struct Nested<'a>(&'a Expr);

impl fmt::Display for Nested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Or(_) | Expr::And(_) => write!(f, "({})", self.0),
            Expr::Not(_) | Expr::Check(_) => self.0.fmt(f),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name)?;
        match &self.argument {
            Argument::None => {}
            Argument::Generation(generation) => write!(f, "[{generation}]")?,
            Argument::Name(name) => write!(f, "[{name}]")?,
        }
        match &self.test {
            Test::Exists => f.write_str(" exists"),
            Test::Is(comparison, literal) => write!(f, " {} {literal}", comparison.sign()),
            Test::In(literals) => list(f, "in", literals),
            Test::Has(part, text) => write!(f, " {} {}", part.operator(), Text(text)),
            Test::Under(paths) => list(f, "pmatch", paths.iter().map(|path| Text(path))),
            Test::Like(pattern) => write!(f, " {pattern}"),
        }
    }
}

struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(self.0, f)
    }
}

fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    operator: &str,
    members: impl IntoIterator<Item = T>,
) -> fmt::Result {
    write!(f, " {operator} (")?;
    for (at, member) in members.into_iter().enumerate() {
        write!(f, "{}{member}", if at > 0 { ", " } else { "" })?;
    }
    f.write_str(")")
}
