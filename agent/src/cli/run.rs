//! `lastword run`.

use std::{
    ffi::OsString,
    io::{self, Cursor, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use capture_format::Reader;

use crate::{
    logging,
    recorder::Settings,
    run::{self, Backoff, Request, RestartPolicy},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Stop after the command has exited this many times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    restarts: u32,
    /// When to start it again
    #[arg(long, value_enum, default_value_t)]
    restart_policy: RestartPolicy,
    /// Delay before the first restart, doubled with each: 10s, 500ms, …, or none
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = Backoff::parse)]
    backoff: Backoff,
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
    /// Under sudo: run the command as root and keep the capture root's, instead of giving both to whoever called sudo
    #[arg(long)]
    as_root: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.debug_programs {
        logging::of_command();
    }
    let settings = Settings {
        text_max: args.text_payload,
        other_max: args.other_payload,
        config_file_max: args.config_file_max,
        debug_programs: args.debug_programs,
        ..Settings::default()
    };
    let outcome = run::run(Request {
        command: args.command,
        exits: args.restarts,
        policy: args.restart_policy,
        backoff: args.backoff,
        output: args.output,
        as_root: args.as_root,
        settings,
    })?;
    let source: Box<dyn commands::Source> = Box::new(Cursor::new(outcome.capture));
    let mut capture = commands::Capture::new("the capture".to_owned(), Reader::open(source)?);
    let mut verdict = Vec::new();
    commands::show(&mut capture, &commands::Explain::default(), &mut verdict)?;
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(&verdict).and_then(|()| stdout.flush());
    if let Err(error) = &printed {
        logging::say(format_args!(
            "the verdict could not be printed ({error}); `lastword explain` says what the capture shows"
        ));
    }
    let code = outcome.code?;
    Ok(match printed {
        Err(error) if !has_no_reader(&error) => ExitCode::FAILURE,
        _ => code.into(),
    })
}

/// Whether the reader of standard output is gone: the other end of a pipe, or a terminal, which gives EIO once it was
/// closed.
fn has_no_reader(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(libc::EIO)
}
