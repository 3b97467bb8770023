//! The node agent.

pub mod handle;
