//! Whether an expression is true for an event.

use std::borrow::Cow;
use std::cmp::Ordering;

use memchr::memmem;

use super::Scope;
use super::ast::{Comparison, Expr, Part, Test};
use super::fields::{Ask, Value};
use super::literal::{DAY, Literal, SUCCESS};
use events::context::Seen;

/// Whether the event matches. If the event does not have a field, every check of that field fails.
pub(super) fn matches(expression: &Expr, scope: &Scope<'_>, seen: &Seen<'_>) -> bool {
    match expression {
        Expr::Or(parts) => parts.iter().any(|part| matches(part, scope, seen)),
        Expr::And(parts) => parts.iter().all(|part| matches(part, scope, seen)),
        Expr::Not(inner) => !matches(inner, scope, seen),
        Expr::Check(check) => {
            let ask = Ask {
                scope,
                seen,
                argument: &check.argument,
            };
            let may_have = (check.field.on)(seen.event.kind);
            let value = may_have.then(|| check.field.get(&ask)).flatten();
            value.is_some_and(|value| check.test.holds(&value))
        }
    }
}

impl Test {
    /// Whether the test holds for a value.
    pub(super) fn holds(&self, value: &Value<'_>) -> bool {
        if let Self::Is(Comparison::NotEqual, literal) = self {
            return !any(value, |value| equal(value, literal));
        }
        any(value, |value| match self {
            Self::Exists => true,
            Self::Is(comparison, literal) => comparison.holds(value, literal),
            Self::In(literals) => literals.iter().any(|literal| equal(value, literal)),
            Self::Has(part, wanted) => text(value).is_some_and(|text| part.holds(&text, wanted)),
            Self::Under(paths) => {
                text(value).is_some_and(|text| paths.iter().any(|path| is_under(&text, path)))
            }
            Self::Like(pattern) => text(value).is_some_and(|text| pattern.matches(&text)),
        })
    }
}

fn any(value: &Value<'_>, holds: impl Fn(&Value<'_>) -> bool) -> bool {
    match value {
        Value::Any(values) => values.iter().any(holds),
        value => holds(value),
    }
}

impl Comparison {
    fn holds(self, value: &Value<'_>, literal: &Literal) -> bool {
        let order = || order(value, literal);
        match self {
            Self::Equal => equal(value, literal),
            Self::NotEqual => !equal(value, literal),
            Self::Less => order().is_some_and(Ordering::is_lt),
            Self::AtMost => order().is_some_and(Ordering::is_le),
            Self::Greater => order().is_some_and(Ordering::is_gt),
            Self::AtLeast => order().is_some_and(Ordering::is_ge),
        }
    }
}

fn equal(value: &Value<'_>, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Text(text), Literal::Text(wanted)) => **text == **wanted,
        (Value::Result(result), Literal::Result(wanted)) => result == wanted,
        (Value::Boolean(flag), Literal::Boolean(wanted)) => flag == wanted,
        (Value::Address(address), Literal::Network(net)) => net.contains(address),
        _ => order(value, literal).is_some_and(Ordering::is_eq),
    }
}

fn order(value: &Value<'_>, literal: &Literal) -> Option<Ordering> {
    Some(match (value, literal) {
        (Value::Number(number), Literal::Number(other) | Literal::Duration(other)) => {
            number.cmp(other)
        }
        (Value::Time(time), Literal::Instant(other)) => time.cmp(other),
        (Value::Time(time), Literal::TimeOfDay(other)) => time.rem_euclid(DAY).cmp(other),
        _ => return None,
    })
}

fn text<'v>(value: &'v Value<'_>) -> Option<Cow<'v, [u8]>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Result(None) => Some(Cow::Borrowed(SUCCESS.as_bytes())),
        Value::Result(Some(errno)) => Some(Cow::Owned(errno.to_string().into_bytes())),
        _ => None,
    }
}

impl Part {
    fn holds(self, text: &[u8], wanted: &[u8]) -> bool {
        match self {
            Self::Anywhere => memmem::find(text, wanted).is_some(),
            Self::AnywhereInAnyCase => {
                let (text, wanted) = (text.to_ascii_lowercase(), wanted.to_ascii_lowercase());
                memmem::find(&text, &wanted).is_some()
            }
            Self::Start => text.starts_with(wanted),
            Self::End => text.ends_with(wanted),
        }
    }
}

/// Whether the path is `prefix` or is below it, component by component.
fn is_under(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
