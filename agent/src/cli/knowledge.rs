//! Operators' packs: files that say what messages of further programs mean.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use verdict::knowledge::{Catalogue, Fault};

use crate::packs::Packs;

/// What messages of programs mean.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check files of --knowledge: that each entry can be read, matches its examples and no counterexample, and contradicts no other
    Test(TestArgs),
}

#[derive(clap::Args)]
struct TestArgs {
    /// A directory with files *.toml
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Does what `lastword knowledge` was told.
pub(super) fn knowledge(args: Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Test(args) => test(&args.directory, out),
    }
}

/// Judges by the files of a directory from now on, too. What is wrong with them is written to standard error.
pub(super) fn install(directory: &Path) -> anyhow::Result<Packs> {
    let (catalogue, faults) = read(directory)?;
    for fault in &faults {
        // The reader of standard error may be gone.
        let _ = writeln!(io::stderr(), "lastword: left out of --knowledge: {fault}");
    }
    let packs = Packs::of(directory, &catalogue, &faults);
    catalogue.install();
    Ok(packs)
}

fn read(directory: &Path) -> anyhow::Result<(Catalogue, Vec<Fault>)> {
    let built_in = Catalogue::built_in();
    let read = built_in.with_packs(directory);
    read.with_context(|| format!("--knowledge: {}", directory.display()))
}

fn test(directory: &Path, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let (catalogue, mut faults) = read(directory)?;
    let entries = catalogue.len() - Catalogue::built_in().len();
    faults.extend(catalogue.contradictions());
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    if !faults.is_empty() {
        writeln!(
            out,
            "{} to correct. Entries with a fault are left out, and the other {entries} count.",
            faults.len()
        )?;
        return Ok(ExitCode::FAILURE);
    }
    if entries == 0 {
        writeln!(
            out,
            "There is no entry: put files *.toml into the directory. docs/verdicts.md has an example."
        )?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "All {entries} entries are sound.")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(text: &str) -> (ExitCode, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kafka.toml"), text).unwrap();
        let mut out = Vec::new();
        let code = test(folder.path(), &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    const GOOD: &str = "[scope]\nexecuted = [\"kafka*\"]\n[[entry]]\nid = \"kafka.no_broker\"\npattern = 'no broker at (?<host>\\S+)$'\nseverity = \"why\"\nexamples = [\"no broker at db\"]\n";

    #[test]
    fn sound_entries_are_counted() {
        assert_eq!(
            tested(GOOD),
            (ExitCode::SUCCESS, "All 1 entries are sound.\n".into())
        );
    }

    #[test]
    fn a_fault_names_file_line_and_entry_and_fails() {
        let bad = format!(
            "{GOOD}[[entry]]\nid = \"kafka.x\"\npattern = '('\nseverity = \"why\"\nexamples = ['x']\n"
        );
        let (code, said) = tested(&bad);
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            said.starts_with("kafka.toml:10: kafka.x: pattern: "),
            "{said}"
        );
        assert!(said.contains("the other 1 count"), "{said}");
    }

    #[test]
    fn entries_that_contradict_each_other_fail() {
        let other = "[[entry]]\nid = \"kafka.end\"\npattern = 'no broker'\nseverity = \"closer\"\nexamples = ['no broker']\n";
        let (code, said) = tested(&format!("{GOOD}{other}"));
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            said.contains("kafka.toml:3: kafka.no_broker: kafka.end takes"),
            "{said}"
        );
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let error = install(Path::new("/nonexistent/packs")).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("--knowledge: /nonexistent/packs: cannot be read")
        );
    }
}
