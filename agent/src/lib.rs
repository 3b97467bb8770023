//! lastword: a flight recorder for containers.

#[cfg(target_os = "linux")]
pub mod recorder;
