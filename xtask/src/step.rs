//! External commands: one progress line a step, and an error that shows what failed and what to do next.

use std::{
    fmt::Display,
    io::{self, Read as _},
    process::{Command, Stdio},
    sync::LazyLock,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

/// How many lines of a failed command's output the error repeats.
const TAIL: usize = 25;

/// Variables an outer `cargo run` or a user's shell sets that would steer an inner cargo to another compiler or folder.
const CARGO_LEAKS: [&str; 10] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Prints on stderr what is being done, and after how many seconds.
pub(crate) fn say(what: impl Display) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("xtask, {:>4} s: {what}", START.elapsed().as_secs());
}

/// Runs a command whose output matters to nobody while it succeeds, and returns its stdout.
///
/// # Errors
/// The command cannot be started or fails. The error holds the command line, the exit status, the last lines of
/// its output and `hint`: what to do next.
pub(crate) fn quiet(command: &mut Command, hint: &str) -> Result<String> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(writer);
    let line = line(command);
    let child = command.spawn();
    // The command keeps its copy of the pipe's writing end open until it is replaced, and the reader would never end.
    command.stderr(Stdio::null());
    let mut child = child.with_context(|| format!("cannot start `{line}`; {hint}"))?;
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .context("no stdout")?
        .read_to_end(&mut stdout)
        .with_context(|| format!("cannot read the output of `{line}`"))?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{line}`"))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        let errors = errors.join().ok().and_then(Result::ok).unwrap_or_default();
        let output = format!("{stdout}{}", String::from_utf8_lossy(&errors));
        bail!("`{line}`: {status}\n{}{hint}", tail(&output));
    }
    Ok(stdout)
}

/// Runs a command whose output a person wants to see as it comes.
///
/// # Errors
/// The command cannot be started or fails; the error holds the command line, the exit status and `hint`.
pub(crate) fn shown(command: &mut Command, hint: &str) -> Result<()> {
    let line = line(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{line}`; {hint}"))?;
    if !status.success() {
        bail!("`{line}`: {status}; {hint}");
    }
    Ok(())
}

/// Removes what an outer cargo set, so that the command's own compiler, flags and folders apply.
pub(crate) fn without_cargo_env(command: &mut Command) -> &mut Command {
    for name in CARGO_LEAKS {
        command.env_remove(name);
    }
    command
}

/// The last lines of an output, each indented, so that they can be told apart from the error around them.
pub(crate) fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..]
        .iter()
        .map(|line| format!("  | {line}\n"))
        .collect()
}

/// The command as a person would type it, without its environment.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            let word = word.to_string_lossy();
            if word.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"') {
                format!("{word:?}")
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_command_status_output_and_what_to_do() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 7"]);
        let error = quiet(&mut command, "try again").unwrap_err().to_string();
        assert_eq!(
            error,
            "`sh -c \"echo out; echo err >&2; exit 7\"`: exit status: 7\n  | out\n  | err\ntry again"
        );
    }

    #[test]
    fn a_success_returns_stdout_alone() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2"]);
        assert_eq!(quiet(&mut command, "").unwrap(), "out\n");
    }

    #[test]
    fn a_missing_command_says_so() {
        let error = quiet(&mut Command::new("no-such-command"), "install it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot start `no-such-command`; install it"
        );
    }

    #[test]
    fn only_the_end_of_a_long_output_is_repeated() {
        let output: String = (0..100).map(|n| format!("{n}\n")).collect();
        let tail = tail(&output);
        assert_eq!(tail.lines().count(), TAIL);
        assert!(tail.starts_with("  | 75\n") && tail.ends_with("  | 99\n"));
    }
}
