//! Worlds to test lastword in.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
pub mod scene;

mod dns;
