//! What a container's cgroup has counted: memory and CPU, from its files in either version
//! (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst of the kernel).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::cgroupfs::{Mounts, below, keyed, number};

/// Figures of one cgroup. What its files do not tell, or told no more since it was removed, is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The most memory that was in use, in bytes; of version 2 since Linux 5.19.
    pub memory_peak: Option<u64>,
    /// The least memory limit from the cgroup up, in bytes.
    pub memory_limit: Option<u64>,
    /// Processes that the OOM killer chose in it.
    pub oom_kills: Option<u64>,
    /// CPU time that it may use in each period, in thousandths of a processor.
    pub cpu_limit: Option<u64>,
    /// Periods in which it wanted to run.
    pub cpu_periods: Option<u64>,
    /// Of these, the ones in which its CPU time was used up.
    pub cpu_throttled: Option<u64>,
    /// How long it was held up so, in nanoseconds, added up over processors.
    pub cpu_throttled_time: Option<u64>,
}

impl Figures {
    /// Reads them, by the cgroup's path in its hierarchy. Container runtimes use the same path in all hierarchies, and
    /// each controller is in one of them.
    #[must_use]
    pub fn read(mounts: &Mounts, path: &str) -> Self {
        let in_v1 = |controller| Some(below(mounts.controller(controller)?, path));
        let places = Places {
            unified: mounts.unified().map(|mount| below(mount, path)),
            memory: in_v1("memory"),
            cpu: in_v1("cpu"),
        };
        places.figures()
    }
}

/// The directories of one cgroup.
struct Places {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
}

impl Places {
    fn figures(&self) -> Figures {
        let unified = |file: &str| Some(self.unified.as_ref()?.join(file));
        let memory = |file: &str| Some(self.memory.as_ref()?.join(file));
        let cpu = |file: &str| Some(self.cpu.as_ref()?.join(file));
        let value = |file: Option<PathBuf>| number(&file?);
        let named = |file: Option<PathBuf>, name| keyed(&file?, name);
        let directories = (self.unified.as_deref(), self.memory.as_deref());
        Figures {
            memory: value(unified("memory.current"))
                .or_else(|| value(memory("memory.usage_in_bytes"))),
            memory_peak: value(unified("memory.peak"))
                .or_else(|| value(memory("memory.max_usage_in_bytes"))),
            memory_limit: memory_limit(directories.0, directories.1),
            oom_kills: self
                .unified
                .as_deref()
                .and_then(oom_kills)
                .or_else(|| named(memory("memory.oom_control"), "oom_kill")),
            cpu_limit: unified("cpu.max")
                .and_then(|file| cpu_max(&file))
                .or_else(|| {
                    // -1, no limit, is no number.
                    let quota = value(cpu("cpu.cfs_quota_us"))?;
                    share(quota, value(cpu("cpu.cfs_period_us"))?)
                }),
            cpu_periods: named(unified("cpu.stat"), "nr_periods")
                .or_else(|| named(cpu("cpu.stat"), "nr_periods")),
            cpu_throttled: named(unified("cpu.stat"), "nr_throttled")
                .or_else(|| named(cpu("cpu.stat"), "nr_throttled")),
            cpu_throttled_time: named(unified("cpu.stat"), "throttled_usec")
                .map(|microseconds| microseconds * 1000)
                .or_else(|| named(cpu("cpu.stat"), "throttled_time")),
        }
    }
}

/// The least memory limit from a cgroup up, in bytes, by its directories in version 2 and in version 1's memory hierarchy.
pub(crate) fn memory_limit(unified: Option<&Path>, version_1: Option<&Path>) -> Option<u64> {
    let upwards = |directory: Option<&Path>, file: &str| limit_upwards(directory?, file);
    let limits = [
        upwards(unified, "memory.max"),
        upwards(version_1, "memory.limit_in_bytes"),
    ];
    limits.into_iter().flatten().min()
}

fn limit_upwards(directory: &Path, file: &str) -> Option<u64> {
    /// Version 1 shows no limit as the largest multiple of the page size.
    const UNLIMITED: u64 = 1 << 62;
    directory
        .ancestors()
        .filter_map(|directory| number(&directory.join(file)))
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

/// OOM kills that a cgroup of version 2 has counted.
pub(crate) fn oom_kills(unified: &Path) -> Option<u64> {
    keyed(&unified.join("memory.events"), "oom_kill")
}

/// `QUOTA PERIOD` in microseconds; a quota `max` is none.
fn cpu_max(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota.parse().ok()?, period.parse().ok()?)
}

/// In thousandths of a processor.
fn share(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1000)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = top.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        top
    }

    fn mounts(top: &Path, lines: &[(&str, &str, &str)]) -> Mounts {
        let lines: String = lines
            .iter()
            .map(|(place, kind, options)| {
                format!(
                    "1 1 0:1 / {}/{place} rw - {kind} x {options}\n",
                    top.display()
                )
            })
            .collect();
        Mounts::parse(&lines)
    }

    #[test]
    fn reads_version_2() {
        let top = tree(&[
            ("pod/memory.max", "1000\n"),
            ("pod/c/memory.max", "max\n"),
            ("pod/c/memory.current", "900\n"),
            ("pod/c/memory.peak", "990\n"),
            (
                "pod/c/memory.events",
                "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
            ),
            ("pod/c/cpu.max", "50000 100000\n"),
            (
                "pod/c/cpu.stat",
                "usage_usec 5\nnr_periods 10\nnr_throttled 7\nthrottled_usec 8\n",
            ),
        ]);
        let mounts = mounts(top.path(), &[("", "cgroup2", "rw")]);
        let expected = Figures {
            memory: Some(900),
            memory_peak: Some(990),
            memory_limit: Some(1000),
            oom_kills: Some(2),
            cpu_limit: Some(500),
            cpu_periods: Some(10),
            cpu_throttled: Some(7),
            cpu_throttled_time: Some(8000),
        };
        assert_eq!(Figures::read(&mounts, "/pod/c"), expected);
        assert_eq!(
            Figures::read(&mounts, "/pod/gone"),
            Figures {
                memory_limit: Some(1000),
                ..Figures::default()
            }
        );
    }

    #[test]
    fn reads_version_1_where_version_2_lacks_the_controllers() {
        let top = tree(&[
            ("unified/c/cgroup.procs", ""),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/c/memory.limit_in_bytes", "2000\n"),
            ("memory/c/memory.usage_in_bytes", "1\n"),
            ("memory/c/memory.max_usage_in_bytes", "2\n"),
            (
                "memory/c/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            ),
            ("cpu/c/cpu.cfs_quota_us", "-1\n"),
            ("cpu/c/cpu.cfs_period_us", "100000\n"),
            (
                "cpu/c/cpu.stat",
                "nr_periods 1\nnr_throttled 2\nthrottled_time 3\n",
            ),
        ]);
        let mounts = mounts(
            top.path(),
            &[
                ("unified", "cgroup2", "rw"),
                ("memory", "cgroup", "rw,memory"),
                ("cpu", "cgroup", "rw,cpu,cpuacct"),
            ],
        );
        let expected = Figures {
            memory: Some(1),
            memory_peak: Some(2),
            memory_limit: Some(2000),
            oom_kills: Some(1),
            cpu_limit: None,
            cpu_periods: Some(1),
            cpu_throttled: Some(2),
            cpu_throttled_time: Some(3),
        };
        assert_eq!(Figures::read(&mounts, "/c"), expected);
    }
}
