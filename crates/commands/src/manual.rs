//! Shell completions and man pages, for people who package lastword.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap_complete::Shell;

/// Completions for a shell.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Writes the completions.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write(self, mut command: clap::Command, out: &mut dyn Write) -> anyhow::Result<()> {
        let name = command.get_name().to_owned();
        // The generator panics if writing fails; writing to memory cannot fail.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        Ok(out.write_all(&script)?)
    }
}

/// Man pages.
#[derive(Clone, Debug, clap::Args)]
pub struct Man {
    /// Directory to write lastword.1 and a page for each command to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    /// Writes a page for the program, and one for each of its commands.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, command: clap::Command) -> anyhow::Result<()> {
        let directory = &self.directory;
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(command, directory))
            .with_context(|| format!("cannot write man pages to {}", directory.display()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Subcommand as _;

    use super::*;
    use crate::{Command, Files};

    fn command() -> clap::Command {
        Command::<Files>::augment_subcommands(clap::Command::new("lastword"))
    }

    #[test]
    fn every_shell_gets_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut out = Vec::new();
            Completions { shell }.write(command(), &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for name in ["explain", "timeline", "--no-pager"] {
                let name = if shell == Shell::Fish {
                    name.trim_start_matches('-')
                } else {
                    name
                };
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("man1");
        let man = Man {
            directory: directory.clone(),
        };
        man.write(command()).unwrap();
        for page in ["lastword.1", "lastword-streams.1", "lastword-diff.1"] {
            let text = std::fs::read_to_string(directory.join(page)).unwrap();
            assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}");
        }
    }
}
