//! `lastword agent`: records every container of its node, keeps the last runs of each, and captures those that a
//! trigger is about.
//!
//! One loop ([`event_loop`]) changes the state and waits for nothing. Whatever waits (the kernel side, the API
//! server, the container runtime, the disk) is in a thread or in a task, and comes back to the loop as a report or as
//! an input ([`tasks`]). For each there is a route ([`routes`]), which asks and changes the owners of the state
//! ([`state`]).
//!
//! docs/architecture.md lists these files in the order in which the death of a container passes them.

mod capture;
mod clock;
mod closing;
mod event_loop;
pub(crate) mod handle;
mod kept;
mod left_runs;
mod order;
mod recording;
mod routes;
mod runtime;
mod setup_steps;
mod similar;
mod start;
mod state;
mod tasks;
mod tell;
mod waiting;

use std::sync::Arc;

pub(crate) use similar::stands_for;
pub(crate) use start::Options;

use crate::config::Config;

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
