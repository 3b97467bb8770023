//! Memory and CPU figures that the kernel counted for a container's cgroup.
//!
//! They come from the cgroup's files in either version (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst,
//! scheduler/sched-bwc.rst of the kernel).

use std::{
    fs,
    path::{Path, PathBuf},
};

use capture_format::Cpu;

use crate::cgroupfs::{Mounts, below, keyed, number};

/// Figures of one cgroup. A figure is `None` if its file does not exist, for example because the cgroup was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The most memory that was in use, in bytes; version 2 has it since Linux 5.19.
    pub memory_peak: Option<u64>,
    /// The lowest memory limit of the cgroup and the cgroups above it, in bytes.
    pub memory_limit: Option<u64>,
    /// Processes in it that the OOM killer chose.
    pub oom_kills: Option<u64>,
    /// CPU time, and how it was held back.
    pub cpu: Option<Cpu>,
}

impl Figures {
    /// Reads the figures by the cgroup's path in its hierarchy. Container runtimes use the same path in all
    /// hierarchies, and each controller is in one hierarchy.
    #[must_use]
    pub fn read(mounts: &Mounts, path: &str) -> Self {
        let in_v1 = |controller| Some(below(mounts.controller(controller)?, path));
        let places = Places {
            unified: mounts.unified().map(|mount| below(mount, path)),
            memory: in_v1("memory"),
            cpu: in_v1("cpu"),
            cpu_account: in_v1("cpuacct"),
        };
        places.figures()
    }
}

/// The directories that one cgroup has in the hierarchies.
struct Places {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpu_account: Option<PathBuf>,
}

impl Places {
    fn figures(&self) -> Figures {
        let unified = |file: &str| Some(self.unified.as_ref()?.join(file));
        let memory = |file: &str| Some(self.memory.as_ref()?.join(file));
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
            cpu: self.cpu_figures(),
        }
    }
}

impl Places {
    /// `None` if neither version has the controller for this cgroup.
    fn cpu_figures(&self) -> Option<Cpu> {
        let version_2 = || {
            let directory = self.unified.as_deref()?;
            let stat = directory.join("cpu.stat");
            let (quota, period) = cpu_max(&directory.join("cpu.max"))?;
            let microseconds = |name| Some(keyed(&stat, name)? * 1000);
            Some(Cpu {
                usage: microseconds("usage_usec")?,
                quota,
                period,
                periods: keyed(&stat, "nr_periods")?,
                throttled_periods: keyed(&stat, "nr_throttled")?,
                throttled_time: microseconds("throttled_usec")?,
            })
        };
        let version_1 = || {
            let directory = self.cpu.as_deref()?;
            let stat = directory.join("cpu.stat");
            let period = number(&directory.join("cpu.cfs_period_us"))? * 1000;
            Some(Cpu {
                usage: number(&self.cpu_account.as_ref()?.join("cpuacct.usage"))?,
                // `-1` means no limit. `number` does not accept it.
                quota: number(&directory.join("cpu.cfs_quota_us")).map(|quota| quota * 1000),
                period,
                periods: keyed(&stat, "nr_periods")?,
                throttled_periods: keyed(&stat, "nr_throttled")?,
                throttled_time: keyed(&stat, "throttled_time")?,
            })
        };
        version_2().or_else(version_1)
    }
}

/// The lowest memory limit of a cgroup and the cgroups above it, in bytes. The arguments are its directories in version
/// 2 and in the memory hierarchy of version 1.
pub(crate) fn memory_limit(unified: Option<&Path>, version_1: Option<&Path>) -> Option<u64> {
    let upwards = |directory: Option<&Path>, file: &str| limit_upwards(directory?, file);
    let limits = [
        upwards(unified, "memory.max"),
        upwards(version_1, "memory.limit_in_bytes"),
    ];
    limits.into_iter().flatten().min()
}

fn limit_upwards(directory: &Path, file: &str) -> Option<u64> {
    /// Version 1 shows "no limit" as the largest multiple of the page size.
    const UNLIMITED: u64 = 1 << 62;
    // For a cgroup that was removed, only the wider limits above it would be found.
    if !directory.is_dir() {
        return None;
    }
    directory
        .ancestors()
        .filter_map(|directory| number(&directory.join(file)))
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

/// How many OOM kills a cgroup of version 2 has counted.
pub(crate) fn oom_kills(unified: &Path) -> Option<u64> {
    keyed(&unified.join("memory.events"), "oom_kill")
}

/// Reads `QUOTA PERIOD` in microseconds and returns nanoseconds; the quota `max` becomes `None`.
fn cpu_max(file: &Path) -> Option<(Option<u64>, u64)> {
    let text = fs::read_to_string(file).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let quota = quota.parse::<u64>().ok().map(|quota| quota * 1000);
    Some((quota, period.parse::<u64>().ok()? * 1000))
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
            cpu: Some(Cpu {
                usage: 5_000,
                quota: Some(50_000_000),
                period: 100_000_000,
                periods: 10,
                throttled_periods: 7,
                throttled_time: 8_000,
            }),
        };
        assert_eq!(Figures::read(&mounts, "/pod/c"), expected);
        assert_eq!(Figures::read(&mounts, "/pod/gone"), Figures::default());
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
            ("cpuacct/c/cpuacct.usage", "4\n"),
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
                ("cpu", "cgroup", "rw,cpu"),
                ("cpuacct", "cgroup", "rw,cpuacct"),
            ],
        );
        let expected = Figures {
            memory: Some(1),
            memory_peak: Some(2),
            memory_limit: Some(2000),
            oom_kills: Some(1),
            cpu: Some(Cpu {
                usage: 4,
                quota: None,
                period: 100_000_000,
                periods: 1,
                throttled_periods: 2,
                throttled_time: 3,
            }),
        };
        assert_eq!(Figures::read(&mounts, "/c"), expected);
    }
}
