//! How the programs find a task's cgroup, in the hierarchy that distinguishes containers: the unified one, or one of
//! version 1 (cgroups(7)).

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{StartError, btf::Btf};

/// What the eBPF programs need to know about the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `cgroup_root.hierarchy_id`; 0 means the unified hierarchy.
    pub(super) hierarchy: u64,
    /// Index of the controller in `css_set.subsys`.
    pub(super) subsystem: u32,
    /// Id of the cgroup at which this process sees the hierarchy mounted; 0 if it does not see it.
    pub(super) top: u64,
}

impl Place {
    /// The unified hierarchy, mounted there.
    pub(super) fn unified(mount: Option<&Path>) -> Self {
        Self {
            hierarchy: 0,
            subsystem: 0,
            top: id(mount),
        }
    }

    /// The version 1 hierarchy of a controller. The hierarchy's number is in /proc/cgroups, the controller's index in
    /// BTF.
    pub(super) fn of(
        controller: &str,
        proc_cgroups: &str,
        mount: Option<&Path>,
        btf: &Btf,
    ) -> Result<Self, StartError> {
        let hierarchy = number(proc_cgroups, controller)
            .filter(|number| *number != 0)
            .ok_or_else(|| StartError::Hierarchy(controller.into()))?;
        // include/linux/cgroup_subsys.h: only this controller has another name in version 1.
        let name = if controller == "blkio" {
            "io"
        } else {
            controller
        };
        let enumerator = format!("{name}_cgrp_id");
        let subsystem =
            btf.enumerator("cgroup_subsys_id", &enumerator)
                .ok_or(StartError::Offsets {
                    what: "containers of this cgroup hierarchy",
                    unknown: enumerator,
                })?;
        Ok(Self {
            hierarchy,
            subsystem,
            top: id(mount),
        })
    }
}

/// The id of a cgroup: the inode number of its directory.
fn id(mount: Option<&Path>) -> u64 {
    let metadata = mount.and_then(|mount| fs::metadata(mount).ok());
    metadata.map_or(0, |metadata| metadata.ino())
}

/// Reads the number of a controller's hierarchy from /proc/cgroups: `NAME NUMBER CGROUPS ENABLED`, separated by tabs.
fn number(proc_cgroups: &str, controller: &str) -> Option<u64> {
    proc_cgroups.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()? == controller)
            .then(|| fields.next()?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
        cpuset\t3\t1\t1\nmemory\t4\t57\t1\npids\t8\t12\t1\nrdma\t0\t1\t1\n";

    #[test]
    fn finds_the_number_of_a_controllers_hierarchy() {
        assert_eq!(number(HYBRID, "memory"), Some(4));
        assert_eq!(number(HYBRID, "rdma"), Some(0));
        assert_eq!(number(HYBRID, "mem"), None);
    }
}
