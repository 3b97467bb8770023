//! The machine, told stories.

mod any;
mod node;
mod policy;
mod stories;
