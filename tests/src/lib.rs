//! Worlds to test lastword in.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
pub mod scene;

#[cfg(any(target_os = "linux", test))]
mod dns;
