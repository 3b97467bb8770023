//! `lastword agent` on a node without Kubernetes and container runtime: containers are cgroups with a container's name, in which
//! a program is pid 1 of a pid namespace of its own.

mod asked;
mod captures;
mod container;
mod crashes;
mod node;
mod secrets;
mod stops;
mod trouble;

use crate::Case;

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [
        crashes::CASES,
        stops::CASES,
        asked::CASES,
        secrets::CASES,
        trouble::CASES,
    ]
    .concat()
}
