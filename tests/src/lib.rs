//! Environments in which lastword is tested: namespaces, and the scene of an nginx that cannot start.
//!
//! The tests and benchmarks themselves are in `tests/tests/` and `tests/benches/`; docs/architecture.md lists them.

#[cfg(target_os = "linux")]
pub mod api_server;
#[cfg(any(target_os = "linux", test))]
mod dns;
#[cfg(target_os = "linux")]
pub mod scene;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
pub use world::{enter_own_world, in_thread, on_a_node};
