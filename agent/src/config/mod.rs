//! The agent's configuration file.
//!
//! Every key has a default, so an empty file is valid. docs/configuration.md describes all keys.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod bounds;
mod error;
mod read;
mod sections;
mod tree;

pub use error::ConfigError;
pub use read::load;
pub use sections::{
    ContainerRuntime, Http, Knowledge, Kubernetes, Log, LogFormat, LogLevel, Recorder, Runs,
    RuntimeEndpoint, Spool, Storage, Switch,
};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Recording.
    pub recorder: Recorder,
    /// How many runs are kept.
    pub runs: Runs,
    /// What trips a trigger.
    pub triggers: triggers::Rules,
    /// Which pods are captured.
    pub selectors: triggers::Selectors,
    /// What counts as a secret, in addition to what always does.
    #[serde(deserialize_with = "bounds::redaction")]
    pub redaction: redact::Config,
    /// What messages of further programs mean.
    pub knowledge: Knowledge,
    /// Captures on the node's disk.
    pub spool: Spool,
    /// Captures in object storage.
    pub storage: Storage,
    /// The container runtime, as a source of names.
    pub container_runtime: ContainerRuntime,
    /// The API server, as a source of names and as the place where captures are announced.
    pub kubernetes: Kubernetes,
    /// Metrics, health and alerts; files of captures.
    pub http: Http,
    /// The unix socket for `lastword capture` and `lastword status` on the node.
    #[serde(deserialize_with = "bounds::absolute")]
    pub socket: PathBuf,
    /// The agent's log.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            recorder: Recorder::default(),
            runs: Runs::default(),
            triggers: triggers::Rules::default(),
            selectors: triggers::Selectors::default(),
            redaction: redact::Config::default(),
            knowledge: Knowledge::default(),
            spool: Spool::default(),
            storage: Storage::default(),
            container_runtime: ContainerRuntime::default(),
            kubernetes: Kubernetes::default(),
            http: Http::default(),
            socket: "/run/lastword/agent.sock".into(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// The configuration of the trigger machine.
    pub fn machine(&self) -> triggers::Config {
        triggers::Config {
            rules: self.triggers.clone(),
            selectors: self.selectors.clone(),
            keep: self.runs.keep,
        }
    }
}

#[cfg(test)]
mod tests;
