//! Which container a cgroup belongs to, and what the node knows of it.
#![forbid(unsafe_code)]

pub mod cri;
pub mod directory;
pub mod hierarchy;
pub mod path;
