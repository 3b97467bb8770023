//! Exports of every capture, opened by the programs for which they are made.
//!
//! The programs are looked for in the folder `$LASTWORD_READERS`, which `cargo xtask readers` fills, and then in PATH.
//! Where a program is missing, its tests are ignored, and say so.

mod capture;
mod otlp;
mod pcapng;
mod perfetto;
mod program;
mod scap;

use std::collections::BTreeSet;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use capture::Exported;
use program::Program;

/// A test: its name, the program it needs, and what it says of one capture.
type Case = (
    &'static str,
    Option<fn() -> Program>,
    fn(&Exported) -> Result<(), Failed>,
);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = [scap::CASES, pcapng::CASES, perfetto::CASES, otlp::CASES].concat();
    let mut missing = BTreeSet::new();
    let mut trials = Vec::new();
    for (name, program, case) in cases {
        let why = program.and_then(|program| program().missing());
        let trial = Trial::test(name, move || {
            capture::all()
                .iter()
                .try_for_each(|capture| case(capture).map_err(|error| of(capture, &error)))
        });
        trials.push(trial.with_ignored_flag(why.is_some()));
        missing.extend(why);
    }
    for why in missing {
        eprintln!("not run: {why}");
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn of(capture: &Exported, error: &Failed) -> Failed {
    let message = error.message().unwrap_or("failed");
    Failed::from(format!("{}: {message}", capture.name))
}

/// An error unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Failed> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: found {found:?}, expected {expected:?}").into())
    }
}
