//! What was found, a line of JSON a case, for docs/e2e.md: written to the file that `LASTWORD_E2E_REPORT` names.

use std::{env, fs::OpenOptions, io::Write as _};

use serde_json::json;

/// Adds a case.
pub(crate) fn add(name: &str, outcome: &anyhow::Result<String>) {
    let Some(path) = env::var_os("LASTWORD_E2E_REPORT") else {
        return;
    };
    let (passed, found) = match outcome {
        Ok(found) => (true, found.clone()),
        Err(error) => (false, format!("{error:#}")),
    };
    let line = json!({ "case": name, "passed": passed, "found": found });
    let file = OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        eprintln!("cannot write the report: {error}");
    }
}
