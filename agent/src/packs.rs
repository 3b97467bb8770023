//! Operators' packs: files that say what messages of further programs mean, as the agent has loaded them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use verdict::knowledge::{Catalogue, Fault};

/// How many faults are reported, each with file, line and entry.
const MAX_FAULTS: usize = 20;

/// What was loaded from a directory of packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Packs {
    /// The directory.
    pub(crate) directory: PathBuf,
    /// How many entries of its files count.
    pub(crate) entries: u64,
    /// How many entries or whole files are left out.
    pub(crate) left_out: u64,
    /// The first 20 of them, and why: `kafka.toml:10: kafka.x: pattern: …`; or why the directory cannot be read.
    pub(crate) faults: Vec<String>,
}

impl Packs {
    /// What these are, once they are read.
    #[must_use]
    pub(crate) fn of(directory: &Path, catalogue: &Catalogue, faults: &[Fault]) -> Self {
        let entries = catalogue.len() - Catalogue::built_in().len();
        Self {
            directory: directory.to_owned(),
            entries: entries as u64,
            left_out: faults.len() as u64,
            faults: faults
                .iter()
                .take(MAX_FAULTS)
                .map(Fault::to_string)
                .collect(),
        }
    }

    /// Reads the files of a directory and judges by them from now on, too. A directory that cannot be read is reported
    /// like a fault: recording goes before judging.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub(crate) fn install(directory: &Path) -> Self {
        match Catalogue::built_in().with_packs(directory) {
            Ok((catalogue, faults)) => {
                let packs = Self::of(directory, &catalogue, &faults);
                catalogue.install();
                packs
            }
            Err(error) => Self {
                directory: directory.to_owned(),
                faults: vec![capture_format::chain(&error).to_string()],
                ..Self::default()
            },
        }
    }

    /// What is wrong, in words; none if everything counts.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<String> {
        let first = self.faults.first()?;
        let others = match self.left_out.saturating_sub(1) {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        Some(format!("{first}{others}"))
    }

    /// Writes to the log what counts and what does not.
    #[cfg(target_os = "linux")]
    pub(crate) fn log(&self) {
        let Self {
            directory,
            entries,
            left_out,
            faults,
        } = self;
        let directory = directory.display();
        tracing::info!(%directory, entries, left_out, "read operators' packs");
        for fault in faults {
            tracing::warn!(%directory, "left out of operators' packs: {fault}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[scope]\nexecuted = [\"kafka*\"]\n[[entry]]\nid = \"kafka.no_broker\"\npattern = 'no broker at (?<host>\\S+)$'\nseverity = \"why\"\nexamples = [\"no broker at db\"]\n";

    fn read(text: &str) -> Packs {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kafka.toml"), text).unwrap();
        let (catalogue, faults) = Catalogue::built_in().with_packs(folder.path()).unwrap();
        Packs::of(folder.path(), &catalogue, &faults)
    }

    #[test]
    fn sound_packs_are_no_trouble() {
        let packs = read(GOOD);
        assert_eq!((packs.entries, packs.left_out), (1, 0));
        assert_eq!(packs.trouble(), None);
    }

    #[test]
    fn a_fault_disables_its_entry_alone_and_names_file_line_and_entry() {
        let bad =
            "[[entry]]\nid = \"kafka.x\"\npattern = '('\nseverity = \"why\"\nexamples = ['x']\n";
        let packs = read(&format!("{GOOD}{bad}{bad}"));
        assert_eq!((packs.entries, packs.left_out), (1, 2));
        let trouble = packs.trouble().unwrap();
        assert!(
            trouble.starts_with("kafka.toml:10: kafka.x: pattern: "),
            "{trouble}"
        );
        assert!(trouble.ends_with(" (and 1 more)"), "{trouble}");
    }

    #[test]
    fn few_of_many_faults_are_reported() {
        let bad = "[[entry]]\nid = 3\n".repeat(50);
        let packs = read(&bad);
        assert_eq!((packs.left_out, packs.faults.len()), (50, MAX_FAULTS));
    }

    #[test]
    fn a_directory_that_cannot_be_read_does_not_end_the_agent() {
        let packs = Packs::install(Path::new("/nonexistent/packs"));
        assert_eq!(packs.entries, 0);
        assert!(packs.trouble().unwrap().contains("cannot be read"));
    }
}
