//! What the node knows: each piece of state with its one owner.

pub(crate) mod readiness;
