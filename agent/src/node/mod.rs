//! The node agent.

pub(crate) mod handle;
