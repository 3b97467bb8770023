//! The requests that are sent, with a fake API server.

mod announces;
mod cluster;
mod expires;
mod faults;
mod fetches;
mod server;
mod sweeps;
mod watches;
