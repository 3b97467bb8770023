//! `xtask crds`: the custom resources' definitions in deploy/crds, from their Rust types.

use anyhow::Result;

use crate::{cargo, step};

/// Has the test that compares them write them.
///
/// # Errors
/// The test does not build, or cannot write.
pub(crate) fn write() -> Result<()> {
    step::say("writing deploy/crds");
    step::shown(
        cargo::command("test")
            .args([
                "--quiet",
                "--package",
                "kubernetes",
                "--test",
                "deploy",
                "crd",
            ])
            .env("LASTWORD_WRITE_CRDS", "1"),
        "fix what cargo says",
    )
}
