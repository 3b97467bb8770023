//! Worlds to test lastword in.

#[cfg(target_os = "linux")]
mod dns;
#[cfg(target_os = "linux")]
mod loopback;
#[cfg(target_os = "linux")]
pub mod scene;

#[cfg(target_os = "linux")]
pub use loopback::loopback_up;
