//! Verdicts on runs that tests write down.

use capture_format::Header;
pub(crate) use fixtures::{
    INIT, START, Script, argv_bytes, capture, dns, header, inet, nginx, unix,
};

use crate::facts::Facts;
use crate::rules::{Case, Verdict, judge};

/// The verdict on a script's run.
pub(crate) fn verdict(script: &Script) -> Verdict {
    verdict_with(&header(), script)
}

/// The same in a capture with this header.
pub(crate) fn verdict_with(header: &Header, script: &Script) -> Verdict {
    let facts = Facts::of(&script.run, script.numbered());
    judge(&Case::new(&facts, &script.run, header))
}
