//! What happened since the start, and what the agent talks to: for `lastword status` and the metrics.

use std::path::PathBuf;

use capture_format::{Losses, WallTime};
use kubernetes::Standing as Api;
use tokio::sync::watch;

use super::super::{
    handle::{Connection, Refused, Status},
    runtime::Standing,
};
use crate::{host, logging, packs::Packs};

/// Since when something has been up, or down.
#[derive(Default)]
struct Since {
    up: bool,
    /// `None` before the first look.
    time: Option<WallTime>,
}

impl Since {
    fn look(&mut self, up: bool, error: Option<String>) -> Connection {
        if self.up != up {
            *self = Self { up, time: None };
        }
        Connection {
            up,
            since: *self.time.get_or_insert_with(host::realtime),
            error,
        }
    }
}

/// See the module.
pub(crate) struct Account {
    config: Option<PathBuf>,
    packs: Option<Packs>,
    started: WallTime,
    losses: Losses,
    refused: u64,
    last_refused: Option<Refused>,
    messages_lost: u64,
    /// Connection to the API server; none where the configuration turns it off.
    api: Option<watch::Receiver<Api>>,
    /// Connection to the container runtime, likewise.
    cri: Option<watch::Receiver<Standing>>,
    /// Why the certificate for alerts cannot be used; none where the configuration turns it off.
    alerts_tls: Option<watch::Receiver<Option<String>>>,
    api_since: Since,
    cri_since: Since,
}

impl Account {
    pub(crate) fn new(
        config: Option<PathBuf>,
        packs: Option<Packs>,
        api: Option<watch::Receiver<Api>>,
        cri: Option<watch::Receiver<Standing>>,
        alerts_tls: Option<watch::Receiver<Option<String>>>,
    ) -> Self {
        Self {
            config,
            packs,
            started: host::realtime(),
            losses: Losses::default(),
            refused: 0,
            last_refused: None,
            messages_lost: 0,
            api,
            cri,
            alerts_tls,
            api_since: Since::default(),
            cri_since: Since::default(),
        }
    }

    /// A container is not recorded.
    pub(crate) fn refused(&mut self, reason: String) {
        self.refused += 1;
        // However much would have happened in it.
        self.losses.lost += 1;
        self.last_refused = Some(Refused {
            time: host::realtime(),
            reason,
        });
    }

    /// A container that was refused is recorded after all: from now on its run reports what was lost.
    pub(crate) fn adopted(&mut self) {
        self.losses.lost = self.losses.lost.saturating_sub(1);
    }

    /// A run is closed, with these losses.
    pub(crate) fn closed(&mut self, losses: Losses) {
        self.losses += Losses {
            // These are counted for the whole node, so runs at the same time count the same ones.
            recursion_misses: 0,
            ..losses
        };
    }

    /// So many messages of the kernel side found no room.
    pub(crate) fn lost(&mut self, messages: u64) {
        self.messages_lost += messages;
    }

    /// Writes down what is known here.
    pub(crate) fn fill(&mut self, status: &mut Status) {
        status.version = env!("CARGO_PKG_VERSION").into();
        status.started = self.started;
        status.config = self.config.clone();
        status.knowledge = self.packs.clone();
        status.losses = self.losses;
        status.refused = self.refused;
        status.last_refused = self.last_refused.clone();
        status.messages_lost = self.messages_lost;
        status.api_server = self.api();
        status.cri = self.cri();
        let trouble = self.alerts_tls.as_ref();
        status.alerts_error = trouble.and_then(|trouble| trouble.borrow().clone());
        status.log_lines_lost = logging::lost();
    }

    fn api(&mut self) -> Option<Connection> {
        let standing = self.api.as_ref()?.borrow().clone();
        let error = standing
            .troubles
            .values()
            .map(|trouble| trouble.message.clone())
            .reduce(|all, next| format!("{all}; {next}"));
        Some(self.api_since.look(standing.is_up(), error))
    }

    fn cri(&mut self) -> Option<Connection> {
        let standing = self.cri.as_ref()?.borrow().clone();
        let up = matches!(standing, Standing::Up);
        let error = match standing {
            Standing::Down(error) => Some(error),
            _ => None,
        };
        Some(self.cri_since.look(up, error))
    }
}
