//! Worlds to test lastword in.

#[cfg(any(target_os = "linux", test))]
mod dns;
#[cfg(target_os = "linux")]
pub mod scene;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
pub use world::{enter_own_world, in_thread, on_a_node};
