//! The requests that are sent, with a fake API server.

mod announces;
mod expires;
mod fetches;
mod server;
mod watches;
