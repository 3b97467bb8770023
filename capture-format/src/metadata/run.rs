//! What a capture says about one run.

use std::{collections::BTreeMap, iter::Sum, ops::AddAssign};

use serde::{Deserialize, Serialize};

use crate::{BootTime, CgroupId, WallTime};

/// One run: one life of the container, from its start to its exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Number of the run, from 1; on Kubernetes the restart count + 1.
    pub number: u32,
    /// Id of the container's cgroup, in the hierarchy that the recorder used.
    pub cgroup: CgroupId,
    /// Host pid of the first process; 0 if unknown.
    pub init_pid: u32,
    /// When the run started.
    pub start: BootTime,
    /// When the first process exited; `None` while it lives.
    pub end: Option<BootTime>,
    /// How the first process ended; `None` while it lives, or if nobody saw its end.
    pub status: Option<ExitStatus>,
    /// Why the command could not be started at all, in words, if there was no process to record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_error: Option<String>,
    /// Memory limit of the cgroup in bytes, if it has one.
    pub memory_limit: Option<u64>,
    /// OOM kills counted by the cgroup (`memory.events: oom_kill`), if it counts them.
    pub oom_kills: Option<u64>,
    /// The most memory that was ever charged to the cgroup, in bytes (`memory.peak`), if the kernel records it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// Memory that was charged to the cgroup when it was last read, in bytes (`memory.current`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_current: Option<u64>,
    /// CPU time of the cgroup when it was last read, and how much the cgroup was throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// What Kubernetes or the container runtime said about the run's end; `None` until they say it, and for `lastword
    /// run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<Terminated>,
    /// What is missing in this run's events.
    pub losses: Losses,
    /// [`Losses::recursion_misses`] by what the skipped probes observe, such as `sched_process_exit`, without probes
    /// that were never skipped.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
}

impl Run {
    /// Sets how often the kernel skipped each probe during the run.
    pub fn set_skipped(&mut self, skipped: BTreeMap<String, u64>) {
        self.losses.recursion_misses = skipped.values().sum();
        self.skipped = skipped;
    }
}

/// The end of a run in the words of Kubernetes (`state.terminated` of a container status) or of the container runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terminated {
    /// One word: `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerCannotRun`, `ContainerStatusUnknown`, ….
    pub reason: String,
    /// The runtime's error, or what the program left in its termination message file; often empty.
    pub message: String,
    /// Exit code as in a shell: 128 + the signal that killed it. A container that was not started has 128.
    pub exit_code: Option<i32>,
    /// When it started according to the runtime; 0 for a container that was not started.
    pub started_at: Option<WallTime>,
    /// When it ended according to the runtime.
    pub finished_at: Option<WallTime>,
}

/// CPU figures of a cgroup: `cpu.stat` and `cpu.max`, or `cpu.cfs_*` and `cpuacct.usage` of version 1. Times are in
/// nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// CPU time used.
    pub usage: u64,
    /// CPU time that it may use in each period; `None` without a limit.
    pub quota: Option<u64>,
    /// Length of a period.
    pub period: u64,
    /// Periods in which it wanted to run (`nr_periods`).
    pub periods: u64,
    /// Periods in which it had used up its quota (`nr_throttled`).
    pub throttled_periods: u64,
    /// Total time for which its CPUs were throttled; several CPUs add up (`throttled_usec`, `throttled_time`).
    pub throttled_time: u64,
}

/// How a process ended, as in wait(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal {
        /// Signal number.
        signal: u8,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl ExitStatus {
    /// Decodes a wait status (`WIFEXITED` and similar macros of wait(2)).
    #[must_use]
    pub const fn from_wait(status: i32) -> Self {
        if status & 0x7f == 0 {
            Self::Code((status >> 8) as u8)
        } else {
            Self::Signal {
                signal: (status & 0x7f) as u8,
                core: status & 0x80 != 0,
            }
        }
    }
}

/// What is missing in a run's events. Every figure counts events unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Events that were never recorded. This is a minimum: each cgroup of the container that got no ring, or no place
    /// in the recorder's table, counts as one, however much happened in it.
    pub lost: u64,
    /// Events that were recorded and then displaced by newer events.
    pub overwritten: u64,
    /// Events that were damaged in the ring because the ring overtook their writer while it wrote.
    pub torn: u64,
    /// Calls through the 32-bit ABI, which are not decoded.
    pub compat: u64,
    /// Payloads that could not be read from the process's memory.
    pub unreadable: u64,
    /// How often the kernel skipped a probe on this node during the run, because the probe was already running on that
    /// CPU (`recursion_misses` of bpf_prog_info). The skipped events may belong to any container.
    pub recursion_misses: u64,
}

/// A file may claim any figures, so sums stop at the largest number.
impl AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        let Self {
            lost,
            overwritten,
            torn,
            compat,
            unreadable,
            recursion_misses,
        } = other;
        for (sum, figure) in [
            (&mut self.lost, lost),
            (&mut self.overwritten, overwritten),
            (&mut self.torn, torn),
            (&mut self.compat, compat),
            (&mut self.unreadable, unreadable),
            (&mut self.recursion_misses, recursion_misses),
        ] {
            *sum = sum.saturating_add(figure);
        }
    }
}

impl Sum for Losses {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, losses| {
            sum += losses;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_added_figure_by_figure() {
        let of = |n: u64| Losses {
            lost: n,
            overwritten: 2 * n,
            torn: 3 * n,
            compat: 4 * n,
            unreadable: 5 * n,
            recursion_misses: 6 * n,
        };
        assert_eq!(
            [of(1), of(10), of(100)].into_iter().sum::<Losses>(),
            of(111)
        );
        let mut most = Losses {
            lost: u64::MAX,
            ..Losses::default()
        };
        most += of(1);
        assert_eq!((most.lost, most.torn), (u64::MAX, 3));
    }
}
