//! When a capture is taken: observations in, decisions out.
#![forbid(unsafe_code)]
