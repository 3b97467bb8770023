//! What the loop does with each input: which part of the state is asked or changed, and which work is begun.

pub(crate) mod captures;
pub(crate) mod lives;
pub(crate) mod opt_out;
pub(crate) mod orders;
mod pods;
pub(crate) mod requests;
pub(crate) mod status;
