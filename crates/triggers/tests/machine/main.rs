//! Stories that tests tell the machine.

mod again;
mod any;
mod node;
mod policy;
mod stories;
