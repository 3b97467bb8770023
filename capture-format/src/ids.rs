//! Ids that the kernel gave. All are numbers, so only their types keep them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

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
