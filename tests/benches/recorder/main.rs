//! Measures the recorder, as root: `cargo xtask bench` runs this program, natively and in a guest.
//!
//! The first argument names a section. The lines of the section's report, in Markdown, begin with `bench> `, so that
//! they can be distinguished from whatever else a guest's console shows.

mod agent;
mod calls;
mod chatter;
mod container;
mod corpus;
mod cost;
mod death;
mod idle;
mod many;
mod payload;
mod reading;

use std::{env, path::Path};

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["payload", words @ ..] = words.as_slice() {
        return payload::run(words);
    }
    if let ["measure", command @ ..] = words.as_slice() {
        return reading::measure(command);
    }
    // This must happen before any thread is started. It also makes all ports free for us.
    lastword_tests::enter_own_world()?;
    match words.as_slice() {
        ["calls"] => cost::in_instructions(),
        ["native"] => cost::as_ratios(),
        ["idle", folder] => idle::run(Path::new(folder)),
        ["death", folder] => death::run(Path::new(folder)),
        ["agent", folder] => agent::run(Path::new(folder)),
        ["storm", folder] => agent::storm(Path::new(folder)),
        ["many"] => many::run(),
        ["chatter", folder] => chatter::run(Path::new(folder)),
        ["corpus", folder] => corpus::record(Path::new(folder)),
        ["reading", folder] => reading::run(Path::new(folder)),
        _ => bail!("no such section: {words:?}; run `cargo xtask bench`"),
    }
}

/// Prints a line of the report.
macro_rules! say {
    ($($part:tt)*) => { println!("bench> {}", format_args!($($part)*)) };
}
use say;

/// The path of the program under test, from the environment.
fn program(variable: &str) -> Result<std::ffi::OsString> {
    env::var_os(variable).with_context(|| format!("{variable} is not set; run `cargo xtask bench`"))
}

/// The median of several values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number without decimals, its thousands separated.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value <= -0.5 {
        "−".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a measured value reaches its target.
fn mark(value: f64, target: f64) -> &'static str {
    if value <= target { "ok" } else { "**over**" }
}
