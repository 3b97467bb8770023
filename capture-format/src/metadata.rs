//! What a capture says about itself and about each run, stored as JSON documents (unknown keys are ignored, missing ones defaulted).

use serde::{Deserialize, Serialize};

/// What the whole capture is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Program and version that wrote the capture, such as `lastword 0.1.0`.
    pub program: String,
    /// When the capture was written: nanoseconds since the Unix epoch.
    pub created: u64,
    /// The machine it was recorded on.
    pub host: Host,
    /// The container.
    pub container: Container,
    /// Its pod, on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Why the capture was taken.
    pub trigger: Trigger,
    /// What was masked before writing.
    pub redaction: Redaction,
    /// How the probes were attached.
    pub probes: Vec<Probe>,
}

/// The machine a capture was recorded on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Node name (host name without Kubernetes).
    pub name: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Machine, as `uname -m`: `x86_64`, `aarch64`. Says which ABI the events' numbers belong to.
    pub arch: String,
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME at writing, in nanoseconds: add it to an event's time for the time of day.
    pub clock_offset: i64,
}

/// The recorded container, or the command of `lastword run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Runtime's id; empty for `lastword run`.
    pub id: String,
    /// Name in the pod; for `lastword run`, the command's base name.
    pub name: String,
    /// Image reference; empty for `lastword run`.
    pub image: String,
    /// Command and arguments, where known.
    pub command: Vec<String>,
}

/// Identity of a Kubernetes pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Why a capture was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// Short name: `run` (lastword run), `interrupted`, `restarts`, `manual`, `alert`, ….
    pub kind: String,
    /// One sentence for people.
    pub detail: String,
}

/// What was masked before the capture was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redaction {
    /// Rule name and number of places it masked.
    pub masked: Vec<(String, u64)>,
}

/// How one probe was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// What it observes, such as `sys_exit`.
    pub name: String,
    /// Attach kind: `tp_btf`, `raw_tp`, `perf_tp`, or `off`.
    pub attach: String,
    /// Why that kind.
    pub reason: String,
}

/// One run: one life of the container, from its start to its exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Number of the run, from 1; on Kubernetes the restart count + 1.
    pub number: u32,
    /// Id of the container's cgroup (v2).
    pub cgroup: u64,
    /// Host pid of the first process; 0 when unknown.
    pub init_pid: u32,
    /// Start: nanoseconds of CLOCK_BOOTTIME.
    pub start: u64,
    /// Exit of the first process, likewise; none while it lives.
    pub end: Option<u64>,
    /// How the first process ended; none while it lives, or when nobody saw it.
    pub status: Option<ExitStatus>,
    /// Error of starting the command at all, in words, when there was no process to record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_error: Option<String>,
    /// Memory limit of the cgroup in bytes, where there is one.
    pub memory_limit: Option<u64>,
    /// OOM kills counted by the cgroup (`memory.events: oom_kill`), where it counts.
    pub oom_kills: Option<u64>,
    /// What this run's events do not tell.
    pub losses: Losses,
}

/// How a process ended, as of wait(2).
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
    /// Decodes a wait status (`WIFEXITED` and the like of wait(2)).
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

/// What a run's events do not tell. Every figure counts events unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Never recorded, at least: each cgroup of the container that got no ring, or no place in the recorder's table,
    /// counts as one, however much happened in it.
    pub lost: u64,
    /// Recorded, then displaced by newer events.
    pub overwritten: u64,
    /// Damaged in the ring because a writer was lapped while it wrote.
    pub torn: u64,
    /// Calls in the 32-bit ABI, which are not decoded.
    pub compat: u64,
    /// Payloads that could not be read from the process's memory.
    pub unreadable: u64,
    /// Times the kernel skipped a probe on this node during the run because the probe was already running on that
    /// CPU (`recursion_misses` of bpf_prog_info): events of any container.
    pub recursion_misses: u64,
}
