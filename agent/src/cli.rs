//! Parse, resolve, act: the command line, exit codes and broken pipes are handled here alone.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use capture_format::Reader;
use clap::{Parser, Subcommand};
use inspect::{explain, info::Info, show};

/// Keeps the last words of crashed containers.
#[derive(Parser)]
#[command(name = "lastword", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command, restart it as a kubelet would, and explain why it keeps dying
    #[cfg(target_os = "linux")]
    Run(RunArgs),
    /// Say in one sentence why the container died, with the evidence
    Explain {
        /// A capture (.lwcap)
        file: PathBuf,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print the events
    Show {
        /// A capture (.lwcap)
        file: PathBuf,
        /// One JSON object a line; its fields are documented in docs/json.md
        #[arg(long)]
        json: bool,
        /// Print the time of day (UTC) instead of the time since the run's start
        #[arg(long, conflicts_with = "json")]
        time_of_day: bool,
    },
    /// Print what the capture says about itself: container, runs, and what was lost
    Info {
        /// A capture (.lwcap)
        file: PathBuf,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Say how this machine would be recorded: which probes attach, how, and why so
    #[cfg(target_os = "linux")]
    Status,
}

#[cfg(target_os = "linux")]
#[derive(clap::Args)]
struct RunArgs {
    /// Stop after the command has exited this many times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    restarts: u32,
    /// When to start it again
    #[arg(long, value_enum, default_value_t)]
    restart_policy: crate::run::RestartPolicy,
    /// Delay before the first restart, doubled with each: 10s, 500ms, …, or none
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = crate::run::Backoff::parse)]
    backoff: crate::run::Backoff,
    /// Where to write the capture [default: NAME-TIME.lwcap in this directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Bytes kept of output, log files, DNS, small text files and failed writes
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(0..=4096))]
    text_payload: u32,
    /// Bytes kept of other reads and writes
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=4096))]
    other_payload: u32,
    /// Largest file whose content is kept as configuration
    #[arg(long, value_name = "BYTES", default_value_t = 65536)]
    config_file_max: u64,
    /// Let the eBPF programs log what they do to standard error
    #[arg(long)]
    debug_programs: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
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
    let code = match command {
        #[cfg(target_os = "linux")]
        Command::Run(args) => run(args, &mut out)?,
        Command::Explain { file, json } => read(&file, |reader| explain(reader, json, &mut out))?,
        Command::Show {
            file,
            json,
            time_of_day,
        } => {
            let options = show::Options {
                json,
                time_of_day,
                ..show::Options::default()
            };
            read(&file, |reader| Ok(show::show(reader, &mut out, options)?))?
        }
        Command::Info { file, json } => read(&file, |reader| info(reader, json, &mut out))?,
        #[cfg(target_os = "linux")]
        Command::Status => {
            crate::status::status(&mut out)?;
            ExitCode::SUCCESS
        }
    };
    out.flush()?;
    Ok(code)
}

#[cfg(target_os = "linux")]
fn run(args: RunArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if args.debug_programs {
        crate::logging::to_stderr();
    }
    let settings = crate::recorder::Settings {
        text_max: args.text_payload,
        other_max: args.other_payload,
        config_file_max: args.config_file_max,
        debug_programs: args.debug_programs,
        ..crate::recorder::Settings::default()
    };
    let outcome = crate::run::run(crate::run::Request {
        command: args.command,
        exits: args.restarts,
        policy: args.restart_policy,
        backoff: args.backoff,
        output: args.output,
        settings,
    })?;
    read(&outcome.capture, |reader| explain(reader, false, out))?;
    Ok(outcome.code.into())
}

/// Opens a capture, reads it, and tells what of it is damaged.
fn read(
    path: &Path,
    act: impl FnOnce(&mut Reader<File>) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut reader = capture_format::open_file(path)?;
    act(&mut reader)?;
    for damage in reader.damage() {
        eprintln!("lastword: {}: {damage}", path.display());
    }
    Ok(if reader.damage().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn explain(reader: &mut Reader<File>, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let explanation = explain::explain(reader);
    if json {
        print_json(&explanation, out)
    } else {
        Ok(explanation.write_text(out)?)
    }
}

fn info(reader: &mut Reader<File>, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let info = Info::of(reader);
    if json {
        print_json(&info, out)
    } else {
        Ok(info.write_text(out)?)
    }
}

fn print_json(value: &impl serde::Serialize, out: &mut impl Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

/// Whether whoever read our output has gone, which is not our failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
