//! The node's state, and the loop that alone changes it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use capture_format::Losses;
use containers::{Directory, PodSighting, cri};
use futures::{StreamExt, stream::BoxStream};
use kubernetes::pods::{PodChange, PodInfo};
use spool::Spool;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};
use triggers::{Decision, Machine, Observation, Subject, Time};

use super::{
    Input,
    ending::Knowledge,
    handle::Request,
    lives::{Live, Runs},
    recording::{RecordingThread, Report},
    tell::Teller,
};
use crate::{config::Config, host};

/// What happened since the start.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) losses: Losses,
    pub(super) refused: u64,
    pub(super) recorder_failed: Option<String>,
}

/// The node.
pub(super) struct Node {
    pub(super) config: Arc<Config>,
    pub(super) config_path: Option<std::path::PathBuf>,
    pub(super) started: u64,
    pub(super) recording: Arc<RecordingThread>,
    pub(super) knowledge: Knowledge,
    pub(super) spool: Arc<Spool>,
    pub(super) teller: Teller,
    pub(super) metrics: Arc<crate::metrics::Metrics>,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) directory: Directory,
    pub(super) machine: Machine,
    /// Containers that are recorded, or whose run is being kept, by the id of their cgroup.
    pub(super) live: HashMap<u64, Live>,
    pub(super) subjects: HashMap<Subject, Runs>,
    pub(super) tally: Tally,
    pub(super) tasks: JoinSet<()>,
}
