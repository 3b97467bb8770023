//! Licences, duplicate and unwanted dependencies, by cargo-deny and `deny.toml`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{cargo, place, step};

const VERSION: &str = "0.20.2";

/// Checks the dependencies, with a cargo-deny in the cache that is built if it is missing.
///
/// # Errors
/// cargo-deny cannot be built, or finds something.
pub(crate) fn check() -> Result<()> {
    let root = place::cache()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    let lock = place::locked(&root)?;
    if !program.exists() {
        step::say(format_args!(
            "building cargo-deny {VERSION} into the cache (1 to 2 minutes)"
        ));
        let build = root.join("build");
        let mut install = cargo::command("install");
        // Compiled without optimisation: that takes a third of the time, and checking is a matter of seconds either way.
        install
            .args([
                "cargo-deny",
                "--quiet",
                "--locked",
                "--debug",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&root)
            .env("CARGO_TARGET_DIR", &build)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        step::quiet(
            &mut install,
            "check that crates.io can be reached and that a C compiler is installed",
        )?;
        std::fs::remove_dir_all(&build)
            .with_context(|| format!("cannot remove {}", build.display()))?;
    }
    drop(lock);
    let mut check = Command::new(program);
    check
        .args([
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ])
        .current_dir(place::workspace());
    step::shown(
        &mut check,
        "choose another dependency, or change deny.toml and say why",
    )
}
