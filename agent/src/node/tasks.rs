//! Work that has to wait runs in tasks of the loop, and comes back to it as an [`Input`].

use capture_format::CgroupId;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use triggers::Time;

use super::{
    closing::RunClosed,
    order::{LiveRunRead, OrderDone},
    runtime::{Answer, Everything},
    state::outside::ClaimAnswered,
};

/// What comes back to the loop.
pub(super) enum Input {
    /// The container runtime was asked who a cgroup's container is.
    Who(Answer),
    /// The container runtime has been found, or has come back: everything it has.
    Runtime(Box<Everything>),
    /// A run is closed, or is lost.
    RunClosed {
        cgroup: CgroupId,
        /// When it ended.
        ended: Time,
        result: anyhow::Result<Box<RunClosed>>,
    },
    /// The run that a live container is in has been read for a capture.
    LiveRunRead(Box<LiveRunRead>),
    /// A Capture object is this agent's to fill, or not.
    ClaimAnswered(Box<ClaimAnswered>),
    /// What follows from the deletion of the Capture object of this capture is done.
    DeletionSettled(String),
    /// A capture is written, or cannot be.
    OrderDone(Box<OrderDone>),
}

/// The tasks of the loop.
pub(super) struct Tasks {
    all: JoinSet<()>,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Tasks {
    /// No task, and where what they bring arrives.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (inputs, received) = mpsc::unbounded_channel();
        let all = JoinSet::new();
        (Self { all, inputs }, received)
    }

    /// For a service that brings inputs for as long as the agent lives.
    pub(super) fn inputs(&self) -> mpsc::UnboundedSender<Input> {
        self.inputs.clone()
    }

    /// Runs work whose result nobody waits for.
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.all.spawn(work);
    }

    /// Runs work that blocks.
    pub(super) fn spawn_blocking(&mut self, work: impl FnOnce() + Send + 'static) {
        self.all.spawn_blocking(work);
    }

    /// Runs work that brings an input.
    pub(super) fn bring(&mut self, work: impl Future<Output = Input> + Send + 'static) {
        let inputs = self.inputs.clone();
        self.all.spawn(async move {
            // Without a loop the agent has ended.
            let _ = inputs.send(work.await);
        });
    }

    /// Waits for one that ends; none if there is none.
    pub(super) async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.all.join_next().await
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
