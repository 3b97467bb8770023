//! The agent's state, for those who ask.

use std::collections::BTreeMap;

use kubernetes::Standing as Api;
use tokio::sync::{oneshot, watch};

use super::super::{
    event_loop::Node,
    handle::{Connection, Containers, Memory, Spool, Status, Storage},
    recording::Rings,
    runtime::Standing,
};
use crate::{host, logging};

/// What the agent talks to. `None` is what it was told not to.
pub(crate) struct Connections {
    api: Option<watch::Receiver<Api>>,
    cri: Option<watch::Receiver<Standing>>,
    api_since: (bool, u64),
    cri_since: (bool, u64),
}

impl Connections {
    pub(crate) fn new(
        api: Option<watch::Receiver<Api>>,
        cri: Option<watch::Receiver<Standing>>,
    ) -> Self {
        Self {
            api,
            cri,
            api_since: (false, 0),
            cri_since: (false, 0),
        }
    }

    fn api(&mut self) -> Option<Connection> {
        let standing = self.api.as_ref()?.borrow().clone();
        let error = standing
            .troubles
            .values()
            .map(|trouble| trouble.message.clone())
            .reduce(|all, next| format!("{all}; {next}"));
        Some(connection(&mut self.api_since, standing.is_up(), error))
    }

    fn cri(&mut self) -> Option<Connection> {
        let standing = self.cri.as_ref()?.borrow().clone();
        let error = match &standing {
            Standing::Down(error) => Some(error.clone()),
            _ => None,
        };
        Some(connection(
            &mut self.cri_since,
            matches!(standing, Standing::Up),
            error,
        ))
    }
}

fn connection(since: &mut (bool, u64), up: bool, error: Option<String>) -> Connection {
    if since.0 != up || since.1 == 0 {
        *since = (up, host::realtime());
    }
    Connection {
        up,
        since: since.1,
        error,
    }
}

impl Node {
    /// Answers when the recorder has said what it has.
    pub(crate) fn status(&mut self, reply: oneshot::Sender<Status>) {
        let usage = self.spool.usage();
        let named = self.live.values().filter(|live| live.named).count() as u64;
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.clients.node.clone(),
            started: self.started,
            config: self.config_path.clone(),
            recorder_failed: None,
            probes: self.recording.setup.probes.clone(),
            limitations: self.recording.setup.limitations.clone(),
            containers: Containers {
                named,
                unnamed: self.live.len() as u64 - named,
                waiting: 0,
            },
            memory: Memory {
                kept_runs: self
                    .subjects
                    .values()
                    .map(|runs| runs.kept.len() as u64)
                    .sum(),
                kept_run_bytes: self.kept_bytes(),
                budget_bytes: self.config.recorder.memory.as_u64(),
                ..Memory::default()
            },
            losses: self.tally.losses,
            skipped: BTreeMap::new(),
            refused: self.tally.refused,
            last_refused: self.tally.last_refused.clone(),
            messages_lost: self.tally.messages_lost,
            spool: Spool {
                directory: self.config.spool.directory.clone(),
                captures: usage.captures as u64,
                bytes: usage.bytes,
                quota_bytes: self.config.spool.bytes.as_u64(),
                dropped: usage.dropped,
                lost: usage.lost,
                error: self.spool.trouble(),
            },
            storage: self.config.storage.url.clone().map(|location| Storage {
                location,
                pending: usage.not_uploaded as u64,
                error: self.upload_error.clone(),
            }),
            api_server: self.connections.api(),
            cri: self.connections.cri(),
            announce_pending: self.teller.pending(),
            log_lines_lost: logging::lost(),
        };
        let recording = self.recording.clone();
        self.tasks.spawn(async move {
            if let Some(Rings {
                stock,
                waiting,
                misses,
            }) = recording.stock().await
            {
                status.containers.waiting = waiting as u64;
                status.memory.rings_used = stock.used as u64;
                status.memory.rings_free = stock.free as u64;
                status.memory.ring_bytes = stock.ring_bytes;
                status.skipped = misses.into_map();
                status.losses.recursion_misses = status.skipped.values().sum();
            }
            let _ = reply.send(status);
        });
    }
}
