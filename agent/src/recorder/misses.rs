//! How often the kernel skipped a program.
//!
//! A tracepoint program may be preempted while it runs. Until it has ended, the kernel skips it on that CPU
//! (`recursion_misses` of `bpf_prog_info`, include/uapi/linux/bpf.h).

use std::collections::BTreeMap;

use super::{probes::Attached, sys};

/// How often each attached program was skipped since it was loaded, on the whole node. Another agent may have loaded it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misses(BTreeMap<String, u64>);

impl Misses {
    pub(super) fn read(probes: &[Attached]) -> Self {
        let of_probe = |attached: &Attached| {
            let count = sys::recursion_misses(attached.program.as_ref()?);
            Some((attached.probe.name.clone(), count.ok()?))
        };
        Self(probes.iter().filter_map(of_probe).collect())
    }

    /// The counts by what the programs observe, including those that are 0.
    #[must_use]
    pub fn into_map(self) -> BTreeMap<String, u64> {
        self.0
    }

    /// What has been added since an earlier moment, also where that is 0.
    #[must_use]
    pub fn added_to(&self, earlier: &Self) -> Self {
        let new = self.0.iter().map(|(probe, count)| {
            let before = earlier.0.get(probe).copied().unwrap_or_default();
            (probe.clone(), count.saturating_sub(before))
        });
        Self(new.collect())
    }

    /// The increase since an earlier moment, by what the programs observe, without those that are 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let mut added = self.added_to(earlier).0;
        added.retain(|_, count| *count > 0);
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_is_told() {
        let misses = |exec, exit| {
            let all = [("sched_process_exec", exec), ("sched_process_exit", exit)];
            Misses(all.map(|(name, count)| (name.to_owned(), count)).into())
        };
        let (before, after) = (misses(3, 1), misses(3, 8));
        assert_eq!(
            after.since(&before),
            BTreeMap::from([("sched_process_exit".to_owned(), 7)])
        );
        assert_eq!(after.since(&after), BTreeMap::new());
        assert_eq!(after.added_to(&before), misses(0, 7));
        assert_eq!(after.into_map()["sched_process_exec"], 3);
    }
}
