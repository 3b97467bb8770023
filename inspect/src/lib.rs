//! inspect.

#![forbid(unsafe_code)]

pub mod decode;
pub mod escape;
pub mod facts;
pub mod fds;
#[cfg(test)]
mod testing;
