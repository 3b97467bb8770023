//! A program of somebody else that a test runs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Failed;

/// A program, and where it is.
pub(crate) struct Program {
    name: &'static str,
    path: Option<PathBuf>,
}

impl Program {
    /// The program of this name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            name,
            path: find(name),
        }
    }

    /// The Python module of this name, and what it depends on.
    pub(crate) fn module(name: &'static str) -> Self {
        let mut python = python();
        let imports = python.arg("-c").arg(format!("import {name}")).output();
        let found = imports.is_ok_and(|output| output.status.success());
        Self {
            name,
            path: found.then(|| PathBuf::from("python3")),
        }
    }

    /// Why it cannot be run; none if it can.
    pub(crate) fn missing(&self) -> Option<String> {
        let name = self.name;
        let why = format!(
            "tests with {name}, which is not there (`cargo xtask readers` fetches it, LASTWORD_READERS names its folder)"
        );
        self.path.is_none().then_some(why)
    }

    /// Runs it and gives what it prints.
    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, Failed> {
        let path = self.path.clone().ok_or("it is not there")?;
        run(Command::new(path).args(arguments).env("TZ", "UTC"))
    }
}

/// Runs a command and gives what it prints.
pub(crate) fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed ({}): {said}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// python3, with the modules that were fetched.
pub(crate) fn python() -> Command {
    let mut python = Command::new("python3");
    if let Some(folder) = std::env::var_os("LASTWORD_READERS") {
        python.env("PYTHONPATH", PathBuf::from(folder).join("python"));
    }
    python
}

fn find(name: &str) -> Option<PathBuf> {
    let fetched = std::env::var_os("LASTWORD_READERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = fetched.into_iter().chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
