//! `lastword agent` on a node without Kubernetes and without a container runtime. Containers are cgroups with a
//! container's name, in which a program is pid 1 of a pid namespace of its own.

mod asked;
mod captures;
mod cluster;
mod container;
mod crashes;
mod inner;
mod node;
mod outlives;
mod secrets;
mod stops;
mod trouble;

use crate::{Case, support::cgroup2};

/// Tests from the kernel's events to a capture.
pub(crate) const CASES: [&[Case]; 2] = [crashes::CASES, outlives::CASES];

/// Those of them that no kernel does differently.
pub(crate) const ALIKE: [&[Case]; 2] = [crashes::ALIKE, outlives::ALIKE];

/// Tests that need a hierarchy of version 2 with the memory controller.
pub(crate) const UNIFIED_MEMORY: &[Case] = crashes::UNIFIED_MEMORY;

/// Whether such a hierarchy exists.
pub(crate) fn has_unified_memory() -> bool {
    let controllers = cgroup2().join("cgroup.controllers");
    std::fs::read_to_string(controllers)
        .is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"))
}

/// Tests of what the agent does in the same way on every kernel: its files, its restarts, requests, what it refuses.
pub(crate) const OWN: [&[Case]; 7] = [
    outlives::OWN,
    stops::CASES,
    asked::CASES,
    secrets::CASES,
    trouble::CASES,
    cluster::CASES,
    inner::CASES,
];
