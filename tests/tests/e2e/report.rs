//! The results, a line of JSON for each case, for docs/e2e.md. They go to the file that `LASTWORD_E2E_REPORT` names.
//!
//! When a run was stopped, the cases that passed in it are not run again. Those that were skipped are: it costs little to
//! find out again why.

use std::{
    collections::HashSet,
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write as _,
};

use serde_json::{Value, json};

use crate::NotTried;

fn path() -> Option<OsString> {
    env::var_os("LASTWORD_E2E_REPORT")
}

/// Names of the cases that passed before. All others are removed from the report, because they are run again.
pub(crate) fn passed() -> HashSet<String> {
    let Some(path) = path() else {
        return HashSet::new();
    };
    let report = fs::read_to_string(&path).unwrap_or_default();
    let passed = report.lines().filter_map(|line| {
        let case: Value = serde_json::from_str(line).ok()?;
        let name = case["case"].as_str()?.to_owned();
        (case["passed"] == true).then_some((name, format!("{line}\n")))
    });
    let (names, lines): (HashSet<String>, Vec<String>) = passed.unzip();
    if !report.is_empty()
        && let Err(error) = fs::write(&path, lines.concat())
    {
        eprintln!("cannot write the report: {error}");
    }
    names
}

/// Adds a case.
pub(crate) fn add(name: &str, outcome: &anyhow::Result<String>) {
    let Some(path) = path() else {
        return;
    };
    let (found, skipped) = match outcome {
        Ok(found) => (found.clone(), false),
        Err(error) => match error.downcast_ref::<NotTried>() {
            Some(NotTried(why)) => (why.clone(), true),
            None => (format!("{error:#}"), false),
        },
    };
    let passed = outcome.is_ok();
    let line = json!({ "case": name, "passed": passed, "skipped": skipped, "found": found });
    let file = OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        eprintln!("cannot write the report: {error}");
    }
}
