//! The machine, told stories.

mod again;
mod any;
mod node;
mod policy;
mod stories;
