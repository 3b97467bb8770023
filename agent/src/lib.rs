//! lastword: a flight recorder for containers.

#[cfg(target_os = "linux")]
pub mod adopt;
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
#[cfg(target_os = "linux")]
pub mod recorder;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod status;
