//! Which configuration file the agent uses, and so do the commands that read the agent's files.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, ConfigError};

/// This file is read if no other is named and if it exists.
const USUAL: &str = "/etc/lastword/agent.yaml";

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct ConfigFile {
    /// The agent's configuration [default: /etc/lastword/agent.yaml if it is there; without it every key has its default]
    #[arg(long = "config", global = true, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads the configuration; also returns the file that it came from, if any.
    pub(super) fn load(self) -> Result<(Config, Option<PathBuf>), ConfigError> {
        let usual = || Path::new(USUAL).exists().then(|| PathBuf::from(USUAL));
        match self.file.or_else(usual) {
            Some(file) => Ok((config::load(&file)?, Some(file))),
            None => Ok((Config::default(), None)),
        }
    }
}
