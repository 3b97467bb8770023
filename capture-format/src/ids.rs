//! Identifiers. All are numbers, so only their types keep them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Position of a run in its capture, from 0. It is not the [number](crate::Run::number) of the run, which starts at 1 and
/// counts runs that the capture does not have, too.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RunIndex(pub usize);

/// Id of a process in its own pid namespace, where the first process is 1. [`Event::pid`](crate::Event::pid) is the
/// host's id of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NamespacePid(pub u32);

/// Id of a thread, in the host's pid namespace. The id of a process is that of its first thread.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Tid(pub u32);

impl Tid {
    /// The first thread of a process.
    #[must_use]
    pub const fn first_of(pid: u32) -> Self {
        Self(pid)
    }
}

/// Id of a cgroup: the inode number of its directory. Each hierarchy has ids of its own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CgroupId(pub u64);

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
