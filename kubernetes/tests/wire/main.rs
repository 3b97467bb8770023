//! What goes over the wire, with an API server that is played.

mod announces;
mod fetches;
mod server;
mod watches;
