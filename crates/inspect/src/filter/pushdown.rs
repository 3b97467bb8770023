//! What can be said about an expression from a block's summary alone, or from a few columns of a row.

use std::ops::{BitOr, RangeInclusive};

use capture_format::{BlockSummary, BootTime, Columns, EventKind, Header, Run};

use super::ast::{Argument, Check, Comparison, Expr, Test};
use super::fields::{self, RestsOn, Value};
use super::literal::Literal;

/// What is known about some events before they are read.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The events are of these kinds only.
    pub kinds: &'a [EventKind],
    /// The events are of these processes only.
    pub pids: &'a [u32],
    /// The events happened in this time.
    pub time: RangeInclusive<BootTime>,
    /// The numbers of the events are in this range.
    pub numbers: RangeInclusive<u64>,
    /// The result that all the events have, if known.
    pub ret: Option<i64>,
}

impl<'a> From<&'a BlockSummary> for Known<'a> {
    fn from(block: &'a BlockSummary) -> Self {
        Self {
            kinds: &block.kinds,
            pids: &block.pids,
            time: block.time.0..=block.time.1,
            numbers: block.first..=block.next() - 1,
            ret: None,
        }
    }
}

/// The results that an expression may have for the events of a block: a result counts as possible until it is ruled
/// out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) can_match: bool,
    pub(super) can_fail: bool,
}

impl Outcomes {
    const BOTH: Self = Self {
        can_match: true,
        can_fail: true,
    };
    const MATCHES: Self = Self {
        can_match: true,
        can_fail: false,
    };
    const FAILS: Self = Self {
        can_match: false,
        can_fail: true,
    };
    const NONE: Self = Self {
        can_match: false,
        can_fail: false,
    };

    fn with(self, matches: bool) -> Self {
        Self {
            can_match: self.can_match | matches,
            can_fail: self.can_fail | !matches,
        }
    }
}

impl Known<'_> {
    pub(super) fn outcomes(&self, expression: &Expr) -> Outcomes {
        let each = |parts: &[Expr], start, join: fn(Outcomes, Outcomes) -> Outcomes| {
            let parts = parts.iter().map(|part| self.outcomes(part));
            parts.fold(start, join)
        };
        match expression {
            Expr::Or(parts) => each(parts, Outcomes::FAILS, |a, b| Outcomes {
                can_match: a.can_match | b.can_match,
                can_fail: a.can_fail & b.can_fail,
            }),
            Expr::And(parts) => each(parts, Outcomes::MATCHES, |a, b| Outcomes {
                can_match: a.can_match & b.can_match,
                can_fail: a.can_fail | b.can_fail,
            }),
            Expr::Not(inner) => {
                let Outcomes {
                    can_match,
                    can_fail,
                } = self.outcomes(inner);
                Outcomes {
                    can_match: can_fail,
                    can_fail: can_match,
                }
            }
            Expr::Check(check) => self.check(check),
        }
    }

    fn check(&self, check: &Check) -> Outcomes {
        let of_each = |values: &mut dyn Iterator<Item = Value<'static>>| {
            values.fold(Outcomes::NONE, |all, value| {
                all.with(check.test.holds(&value))
            })
        };
        match check.field.rests_on {
            RestsOn::Kind(value) => of_each(&mut self.kinds.iter().map(|kind| value(*kind))),
            RestsOn::Pid => of_each(&mut self.pids.iter().map(|pid| Value::Number((*pid).into()))),
            RestsOn::Number => between(&self.numbers, &check.test),
            RestsOn::Boottime => between(&(self.time.start().0..=self.time.end().0), &check.test),
            RestsOn::Return(value) if self.ret.is_some() => {
                let may_have = |kind: &EventKind| (check.field.on)(*kind);
                let held = self.ret.is_some_and(|ret| check.test.holds(&value(ret)));
                self.kinds
                    .iter()
                    .fold(Outcomes::NONE, |all, kind| all.with(may_have(kind) && held))
            }
            RestsOn::Return(_) | RestsOn::More => Outcomes {
                can_match: self.kinds.iter().any(|kind| (check.field.on)(*kind)),
                can_fail: true,
            },
        }
    }
}

/// The outcomes of a test on numbers somewhere in `range`.
fn between(range: &RangeInclusive<u64>, test: &Test) -> Outcomes {
    let (first, last) = (i128::from(*range.start()), i128::from(*range.end()));
    if first == last {
        return Outcomes::NONE.with(test.holds(&Value::Number(first)));
    }
    let below = |bound: i128| Outcomes {
        can_match: first < bound,
        can_fail: last >= bound,
    };
    let not = |outcomes: Outcomes| Outcomes {
        can_match: outcomes.can_fail,
        can_fail: outcomes.can_match,
    };
    let equal = |wanted: &Literal| match wanted {
        Literal::Number(wanted) => (first..=last).contains(wanted),
        _ => false,
    };
    let one_of = |can_match| Outcomes {
        can_match,
        can_fail: true,
    };
    match test {
        Test::Exists => Outcomes::NONE.with(true),
        Test::Is(Comparison::Equal, wanted) => one_of(equal(wanted)),
        Test::Is(Comparison::NotEqual, wanted) => not(one_of(equal(wanted))),
        Test::In(wanted) => Outcomes {
            can_match: wanted.iter().any(equal),
            can_fail: true,
        },
        Test::Is(Comparison::Less, Literal::Number(bound)) => below(*bound),
        Test::Is(Comparison::AtMost, Literal::Number(bound)) => below(bound.saturating_add(1)),
        Test::Is(Comparison::Greater, Literal::Number(bound)) => {
            not(below(bound.saturating_add(1)))
        }
        Test::Is(Comparison::AtLeast, Literal::Number(bound)) => not(below(*bound)),
        Test::Is(..) | Test::Has(..) | Test::Under(_) | Test::Like(_) => Outcomes::BOTH,
    }
}

/// The columns that say more about an expression than a summary does. Event numbers are not in a column; they increase
/// together with times, so the column of times is asked for instead.
pub(super) fn columns(expression: &Expr) -> Columns {
    let all = |parts: &[Expr]| parts.iter().map(columns).fold(Columns::NONE, BitOr::bitor);
    match expression {
        Expr::Or(parts) | Expr::And(parts) => all(parts),
        Expr::Not(inner) => columns(inner),
        Expr::Check(check) => match check.field.rests_on {
            RestsOn::Kind(_) | RestsOn::More => Columns::KIND,
            RestsOn::Pid => Columns::PID,
            RestsOn::Number | RestsOn::Boottime => Columns::TIME,
            RestsOn::Return(_) => Columns::KIND | Columns::RET,
        },
    }
}

/// The same expression for the events of one run, with moments converted to the clock of the events.
pub(super) fn in_boottime(expression: &Expr, header: &Header, run: &Run) -> Expr {
    let all = |parts: &[Expr]| {
        let parts = parts.iter().map(|part| in_boottime(part, header, run));
        parts.collect::<Vec<_>>()
    };
    match expression {
        Expr::Or(parts) => Expr::Or(all(parts)),
        Expr::And(parts) => Expr::And(all(parts)),
        Expr::Not(inner) => Expr::Not(Box::new(in_boottime(inner, header, run))),
        Expr::Check(check) => {
            Expr::Check(clocked(check, header, run).unwrap_or_else(|| check.clone()))
        }
    }
}

/// The check in the clock of events; `None` if the check is not about a moment.
fn clocked(check: &Check, header: &Header, run: &Run) -> Option<Check> {
    let zero = match check.field.name {
        "evt.time" | "evt.rawtime" => -i128::from(header.host.clock_offset),
        "evt.reltime" => i128::from(run.start.0),
        _ => return None,
    };
    let moved = |literal: &Literal| match literal {
        Literal::Number(at) | Literal::Duration(at) | Literal::Instant(at) => {
            Some(Literal::Number(at.checked_add(zero)?))
        }
        _ => None,
    };
    let test = match &check.test {
        Test::Is(comparison, literal) => Test::Is(*comparison, moved(literal)?),
        Test::In(literals) => Test::In(literals.iter().map(moved).collect::<Option<_>>()?),
        Test::Exists => Test::Exists,
        Test::Has(..) | Test::Under(_) | Test::Like(_) => return None,
    };
    Some(Check {
        field: fields::boottime()?,
        argument: Argument::None,
        test,
    })
}
