//! The whole workspace, built once for `xtask test`: all programs and tests with one set of features, and without
//! shared libraries, so that the same files run on this machine and in guests.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    cargo::{self, Artifact},
    step, vm,
};

/// `cargo SUBCOMMAND` for the whole workspace. What one such command built is current for the next one, whichever
/// targets either names. With `--package`, cargo would choose other features of dependencies, and compile many of
/// them again.
///
/// # Errors
/// As [`vm::cargo_without_shared_libraries`].
pub(crate) fn cargo(subcommand: &str) -> Result<Command> {
    let mut command = vm::cargo_without_shared_libraries(Arch::HERE, subcommand)?;
    command.args(["--workspace", "--profile", "guest"]);
    Ok(command)
}

/// `cargo SUBCOMMAND` for one package, with only the features that this package and its dependencies ask for.
///
/// # Errors
/// As [`vm::cargo_without_shared_libraries`].
pub(crate) fn cargo_alone(subcommand: &str, package: &str) -> Result<Command> {
    let mut command = vm::cargo_without_shared_libraries(Arch::HERE, subcommand)?;
    command.args(["--package", package, "--profile", "guest"]);
    Ok(command)
}

/// The programs and tests of the workspace.
pub(crate) struct Built(Vec<Artifact>);

impl Built {
    /// Builds them.
    ///
    /// # Errors
    /// The build fails.
    pub(crate) fn get() -> Result<Built> {
        step::say(
            "building lastword and all tests, for this machine and for guests (some minutes the first time)",
        );
        cargo::artifacts(cargo("test")?.arg("--no-run")).map(Built)
    }

    /// A program.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        self.find(name, false)
    }

    /// The kernel tests.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn kernel_tests(&self) -> Result<&Path> {
        self.find("kernel", true)
    }

    /// What runs in guests: all programs, and the kernel tests.
    pub(crate) fn for_guests(&self) -> Vec<Artifact> {
        let artifacts = self.0.iter();
        artifacts
            .filter(|it| !it.is_test || it.name == "kernel")
            .cloned()
            .collect()
    }

    fn find(&self, name: &str, is_test: bool) -> Result<&Path> {
        let mut artifacts = self.0.iter();
        artifacts
            .find(|it| it.name == name && it.is_test == is_test)
            .map(|it| it.executable.as_path())
            .with_context(|| format!("cargo built no `{name}`"))
    }
}
