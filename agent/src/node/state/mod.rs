//! What the node knows: each piece of state with its one owner, whose fields are private.
//!
//! An owner does not know the others, starts no task and waits for nothing: the routes (`routes/`) ask one and
//! change the next.

pub(crate) mod account;
pub(crate) mod histories;
pub(crate) mod lives;
pub(crate) mod loops;
pub(crate) mod orders;
pub(crate) mod outside;
pub(crate) mod pods;
mod readiness;
