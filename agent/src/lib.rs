//! lastword, the program: a flight recorder for containers.
//!
//! On a Kubernetes node, `lastword agent` records what every container does: system calls, processes, signals, in a
//! ring buffer for each container. When a container crashes, the agent reads its ring and writes a capture file. It
//! explains in one sentence why the container died, and puts that sentence on the pod as an Event. `lastword run` does
//! the same for a single command on any Linux machine. Most other commands read capture files, wherever they were
//! written.
//!
//! This crate has the parts of the program that know the machine:
//!
//! | module | what it does |
//! |---|---|
//! | [`recorder`] | loads the eBPF programs, gives each container a ring, reads the rings |
//! | [`adopt`], [`cgroupfs`], [`figures`] | what /proc and the cgroup file system say about containers |
//! | `run` | `lastword run`: records a command, run by run |
//! | `node` | `lastword agent`: records every container of a node |
//! | [`config`], `http`, `socket`, `metrics`, `logging`, `status` | how people configure, ask and observe the agent |
//! | `packs` | operators' packs: what messages of further programs mean |
//! | `kubectl` | the kubectl plugin, which is the same program under another name |
//! | [`cli`] | the command line, exit codes |
//!
//! The crates below this one do the rest: `containers` (which container), `triggers` (when to capture), `redact` (what
//! to mask), `capture-format` (the file), `verdict` (why), `commands` (reading commands), `spool` and `kubernetes`
//! (where captures go).
//!
//! Recording needs Linux. On other systems only the reading commands and the kubectl plugin exist.

#[cfg(target_os = "linux")]
pub mod adopt;
#[cfg(target_os = "linux")]
mod allowance;
#[cfg(target_os = "linux")]
pub mod cgroupfs;
pub mod cli;
#[cfg(target_os = "linux")]
pub mod config;
#[cfg(target_os = "linux")]
pub mod figures;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod http;
mod kubectl;
#[cfg(target_os = "linux")]
mod logging;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod metrics;
#[cfg(target_os = "linux")]
mod node;
mod packs;
#[cfg(target_os = "linux")]
pub mod recorder;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod status;
