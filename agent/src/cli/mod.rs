//! The command line: parse, resolve, act.
//!
//! Exit codes and broken pipes are handled in this module only. That includes the kubectl plugin, which is this
//! program under another name.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::kubectl;

#[cfg(target_os = "linux")]
mod agent;
#[cfg(target_os = "linux")]
mod config;
mod knowledge;
#[cfg(target_os = "linux")]
mod node;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod spool;

/// Keeps the last words of crashed containers.
#[derive(Parser)]
#[command(name = "lastword", version, max_term_width = 100)]
struct Cli {
    /// Judge also by what the files *.toml of this directory say of programs' messages
    #[arg(long, global = true, value_name = "DIR")]
    knowledge: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command, restart it as a kubelet would, and explain why it keeps dying
    #[cfg(target_os = "linux")]
    Run(run::Args),
    #[command(flatten)]
    Read(commands::Command<commands::Files>),
    #[command(flatten)]
    Offline(commands::Offline),
    /// Record every container of this node, and capture those that crash
    #[cfg(target_os = "linux")]
    Agent(agent::Args),
    /// Have the agent of this node capture containers now, without stopping them
    #[cfg(target_os = "linux")]
    Capture(node::CaptureArgs),
    /// Say how the agent of this node is doing, or without one how this machine would be recorded: which probes attach, how, and why so
    #[cfg(target_os = "linux")]
    Status(node::StatusArgs),
    /// The captures that the agent of this node keeps
    #[cfg(target_os = "linux")]
    Spool(spool::Args),
    /// Check files that say what messages of further programs mean
    Knowledge(knowledge::Args),
    /// Print completions for a shell
    Completions(commands::Completions),
    /// Write man pages to a directory
    Man(commands::Man),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout());
    let program = std::env::args_os().next().unwrap_or_default();
    let acted = if kubectl::is_name(Path::new(&program)) {
        kubectl::act(kubectl::Cli::parse(), &mut out)
    } else {
        let cli = Cli::parse();
        act(cli, &mut out)
    };
    let flushed = acted.and_then(|code| match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    });
    match flushed {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The reader of standard error may be gone.
            let _ = writeln!(io::stderr(), "lastword: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(cli: Cli, out: &mut (impl Write + Send)) -> anyhow::Result<ExitCode> {
    let packs = cli.knowledge.as_deref().map(knowledge::install);
    let packs = packs.transpose()?;
    #[cfg(not(target_os = "linux"))]
    drop(packs);
    match cli.command {
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(args),
        Command::Read(command) => {
            let request = command.request();
            request.show(&mut request.which.captures()?, out)
        }
        Command::Offline(command) => command.act(out),
        #[cfg(target_os = "linux")]
        Command::Agent(args) => agent::agent(args, packs, out),
        #[cfg(target_os = "linux")]
        Command::Capture(args) => node::capture(args, out),
        #[cfg(target_os = "linux")]
        Command::Status(args) => node::status(&args, out),
        #[cfg(target_os = "linux")]
        Command::Spool(args) => spool::spool(args, out),
        Command::Knowledge(args) => knowledge::knowledge(args, out),
        Command::Completions(completions) => {
            completions.write(Cli::command(), out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(man) => {
            man.write(Cli::command())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the error is only that the reader of our output is gone, which is not a failure of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
