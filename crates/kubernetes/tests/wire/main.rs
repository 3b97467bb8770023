//! What goes over the wire, with an API server that is played.

mod announces;
mod expires;
mod fetches;
mod server;
mod watches;
