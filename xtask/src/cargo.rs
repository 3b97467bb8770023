//! cargo for the workspace itself, by the compiler that runs xtask.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{place, step};

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The `Cargo.toml` of its package.
    pub(crate) manifest: PathBuf,
    /// The name of its target.
    pub(crate) name: String,
    /// Its path.
    pub(crate) executable: PathBuf,
    /// Whether it is a test rather than a program.
    pub(crate) is_test: bool,
}

/// `cargo SUBCOMMAND` in the workspace.
pub(crate) fn command(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(place::workspace());
    command
}

/// Runs a build, and lists the programs it made.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn artifacts(build: &mut Command) -> Result<Vec<Artifact>> {
    build.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let line = step::line(build);
    let output = build
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}; mend what the compiler says", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(artifact).collect())
}

/// The program that a message of cargo reports, if it reports one.
fn artifact(message: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    Some(Artifact {
        manifest: message["manifest_path"].as_str()?.into(),
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_are_told_from_libraries_and_other_messages() {
        let program = r#"{"reason":"compiler-artifact","manifest_path":"/w/Cargo.toml","target":{"name":"lastword"},"profile":{"test":false},"executable":"/t/lastword"}"#;
        let test = r#"{"reason":"compiler-artifact","manifest_path":"/w/Cargo.toml","target":{"name":"kernel"},"profile":{"test":true},"executable":"/t/kernel-1"}"#;
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/w/Cargo.toml","target":{"name":"clap"},"profile":{"test":false},"executable":null}"#;
        let script = r#"{"reason":"build-script-executed","executable":"/t/x"}"#;
        let artifact_of = |name: &str, path: &str, is_test| {
            Some(Artifact {
                manifest: "/w/Cargo.toml".into(),
                name: name.to_owned(),
                executable: path.into(),
                is_test,
            })
        };
        assert_eq!(
            artifact(program),
            artifact_of("lastword", "/t/lastword", false)
        );
        assert_eq!(artifact(test), artifact_of("kernel", "/t/kernel-1", true));
        assert_eq!(
            [
                artifact(library),
                artifact(script),
                artifact("warning: text")
            ],
            [None, None, None]
        );
    }
}
