//! `lastword spool`: the captures that the agent of this node keeps.
//!
//! The command works with and without a running agent, and changes nothing.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use events::{decode::time::size, escape::escaped};
use spool::Entry;

use commands::print_json;

use super::config::ConfigFile;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the captures, newest first
    Ls {
        /// One JSON document instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print the path of a capture's file
    Path {
        /// The capture, as `spool ls` names it
        #[arg(value_name = "NAMESPACE/NAME", value_parser = id)]
        capture: String,
    },
}

pub(super) fn spool(args: Args, out: &mut (impl Write + Send)) -> anyhow::Result<ExitCode> {
    let (config, _) = args.config.load()?;
    let directory = &config.spool.directory;
    match args.command {
        Command::Ls { json } => {
            let mut entries = spool::list(directory)?;
            entries.reverse();
            if json {
                print_json(&entries, out)?;
            } else {
                table(&entries, directory, out)?;
            }
        }
        Command::Path { capture } => writeln!(out, "{}", file(directory, &capture)?.display())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a capture's name, because it becomes part of a path.
fn id(text: &str) -> Result<String, String> {
    let strange = |c: char| !(c.is_ascii_alphanumeric() || "-._/".contains(c));
    let parts: Vec<_> = text.split('/').collect();
    let climbs = parts
        .iter()
        .any(|part| part.is_empty() || part.starts_with('.'));
    if parts.len() != 2 || climbs || text.contains(strange) {
        return Err("expected NAMESPACE/NAME, as `lastword spool ls` names it".to_owned());
    }
    Ok(text.to_owned())
}

/// The file of a capture that is in the spool.
fn file(directory: &Path, capture: &str) -> anyhow::Result<PathBuf> {
    let path = spool::path(directory, capture);
    anyhow::ensure!(
        path.exists(),
        "no capture {capture} in {}; `lastword spool ls` lists what there is",
        directory.display()
    );
    Ok(path)
}

fn table(entries: &[Entry], directory: &Path, out: &mut impl Write) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "no captures in {}", directory.display());
    }
    let ids = entries.iter().map(|entry| entry.id.len());
    let width = ids.max().unwrap_or_default().max("CAPTURE".len());
    writeln!(
        out,
        "{:width$}  {:>4}  {:>9}  {:<12}  VERDICT",
        "CAPTURE", "RUNS", "SIZE", "WHERE"
    )?;
    for entry in entries {
        let place = match (entry.present, entry.is_uploaded()) {
            (true, true) => "here, store",
            (true, false) => "here",
            (false, _) => "store",
        };
        let verdict = entry.info.verdict.as_deref().unwrap_or_default();
        writeln!(
            out,
            "{:width$}  {:>4}  {:>9}  {place:<12}  {}",
            entry.id,
            entry.info.runs.len(),
            size(entry.info.bytes),
            escaped(verdict.as_bytes())
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_spool() {
        assert_eq!(
            id("shop/web-1-web-0a1b").as_deref(),
            Ok("shop/web-1-web-0a1b")
        );
        for bad in [
            "",
            "web",
            "a/b/c",
            "../x",
            "a/..",
            "/etc/passwd",
            "a/",
            "a/.hidden",
            "a/b c",
            "a/b\n",
        ] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_table_says_where_each_capture_is() {
        let mut here = Entry {
            id: "shop/web-1-web-0a1b".to_owned(),
            present: true,
            ..Entry::default()
        };
        here.info.bytes = 2048;
        here.info.runs = vec![1, 2, 3];
        here.info.verdict = Some("web exited 1\u{7}".to_owned());
        let mut away = Entry {
            id: "shop/x".to_owned(),
            ..Entry::default()
        };
        away.state.upload.location = Some("s3://b/shop/x.lwcap".to_owned());
        let mut out = Vec::new();
        table(&[here, away], Path::new("/spool"), &mut out).unwrap();
        let expected = "\
CAPTURE              RUNS       SIZE  WHERE         VERDICT
shop/web-1-web-0a1b     3      2 KiB  here          web exited 1\\x07
shop/x                  0        0 B  store         \n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
