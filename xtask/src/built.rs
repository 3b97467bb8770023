//! What `xtask` builds of the workspace for tests, for the demo and for guests: with one set of features, and without
//! shared libraries, so that the same files run on this machine and in guests, and nothing is compiled twice.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    cargo::{self, Artifact},
    place, step,
};

/// The profile of what the tests and the demo run.
pub(crate) const PROFILE: &str = "guest";

/// The target that makes cargo choose the features of dependencies that tests ask for. Without a test among the targets,
/// tokio and all that needs it would be compiled once more for the tests.
pub(crate) const AS_FOR_TESTS: [&str; 2] = ["--test", "documents"];

/// Asks the compiler for programs without shared libraries.
const STATIC: &str = "-Ctarget-feature=+crt-static";

/// `cargo SUBCOMMAND` for the whole workspace. What one such command built is current for the next one, whichever
/// targets either names. With `--package`, cargo would choose other features of dependencies, and compile many of
/// them again.
///
/// # Errors
/// As [`without_shared_libraries`].
pub(crate) fn cargo(subcommand: &str) -> Result<Command> {
    let mut command = without_shared_libraries(Arch::HERE, subcommand)?;
    command.args(["--workspace", "--profile", PROFILE]);
    Ok(command)
}

/// `cargo SUBCOMMAND` for one package, with only the features that this package and its dependencies ask for.
///
/// # Errors
/// As [`without_shared_libraries`].
pub(crate) fn cargo_alone(subcommand: &str, package: &str) -> Result<Command> {
    let mut command = without_shared_libraries(Arch::HERE, subcommand)?;
    command.args(["--package", package, "--profile", PROFILE]);
    Ok(command)
}

/// Builds what runs in guests: lastword, the programs of the tests, and what `targets` asks cargo for.
///
/// # Errors
/// The build fails.
pub(crate) fn programs(arch: Arch, profile: &str, targets: &[&str]) -> Result<Vec<Artifact>> {
    step::say(
        "building lastword without shared libraries, for this machine and for guests (some minutes the first time)",
    );
    let mut command = without_shared_libraries(arch, "build")?;
    command.args(["--workspace", "--profile", profile]);
    for program in ["lastword", "init", "scene", "victim"] {
        command.args(["--bin", program]);
    }
    cargo::artifacts(command.args(targets))
}

/// `cargo SUBCOMMAND` that builds static programs, in a folder of their own.
///
/// # Errors
/// What another architecture than this machine's needs cannot be fetched.
pub(crate) fn without_shared_libraries(arch: Arch, subcommand: &str) -> Result<Command> {
    let mut command = cargo::command(subcommand);
    let target = format!("{}-unknown-linux-gnu", arch.name());
    if arch != Arch::HERE {
        step::quiet(
            Command::new("rustup").args(["target", "add", &target]),
            "check that https://static.rust-lang.org can be reached",
        )?;
        let compiler = arch.compiler()?;
        let program = |name: &str| {
            let file = format!("usr/bin/{}-linux-gnu-{name}", arch.name());
            compiler.root.join(file)
        };
        let variable = target.replace('-', "_");
        command
            .env(format!("CC_{variable}"), program("gcc"))
            .env(format!("AR_{variable}"), program("ar"))
            .env(
                format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()),
                program("gcc"),
            )
            .env("LD_LIBRARY_PATH", compiler.libraries());
    }
    command
        .args(["--target", &target, "--target-dir"])
        .arg(place::workspace().join("target/vm"))
        .env("RUSTFLAGS", STATIC)
        .env("RUSTDOCFLAGS", STATIC);
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
