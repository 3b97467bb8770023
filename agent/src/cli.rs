//! Parse, resolve, act: the command line, exit codes and broken pipes are handled here alone.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Keeps the last words of crashed containers.
#[derive(Parser)]
#[command(name = "lastword", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say how this machine would be recorded: which probes attach, how, and why so
    Status,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match act(cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lastword: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match command {
        #[cfg(target_os = "linux")]
        Command::Status => crate::status::status(&mut out)?,
        #[cfg(not(target_os = "linux"))]
        Command::Status => anyhow::bail!("recording needs Linux; this build reads captures"),
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Whether whoever read our output has gone, which is not our failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
