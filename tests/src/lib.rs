//! Worlds to test lastword in.

#[cfg(target_os = "linux")]
mod loopback;
#[cfg(target_os = "linux")]
pub use loopback::loopback_up;
