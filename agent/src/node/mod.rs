//! `lastword agent`: records every container of its node, keeps the last runs of each, and captures those that a trigger is about.
//!
//! One loop ([`event_loop`]) owns all state. Whatever waits (the kernel side, the API server, the container runtime, the disk) is in a
//! thread or task of its own and comes back as an [`Input`]; the loop itself waits for nothing.

mod capture;
mod clock;
mod closing;
mod event_loop;
pub(crate) mod handle;
mod kept;
mod recording;
mod routes;
mod runtime;
mod setup_steps;
mod start;
mod state;
mod tell;
mod waiting;

use std::sync::Arc;

pub(crate) use start::Options;

use crate::config::Config;

/// What a task brings back to the loop.
enum Input {
    /// The container runtime was asked who a cgroup's container is.
    Who(runtime::Answer),
    /// The container runtime has been found, or has come back: everything it has.
    Runtime(Box<runtime::Everything>),
    /// A run has been kept, or could not be.
    RunClosed(Box<routes::lives::Closing>),
    /// A live container has been looked at.
    LiveRunRead(Box<routes::requests::LiveRunRead>),
    /// A Capture object is this agent's to fill, or not.
    ClaimAnswered(Box<routes::captures::ClaimAnswered>),
    /// The Capture object of this capture was gone, and what follows from it is done.
    DeletionSettled(String),
    /// A capture stands, or could not be taken.
    OrderDone(Box<routes::orders::OrderDone>),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What the agent cannot begin without, or that the recorder stopped working.
pub(crate) fn run(config: Config, options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    runtime.block_on(start::serve(Arc::new(config), options))
}
