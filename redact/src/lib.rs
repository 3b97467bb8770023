//! Masks credentials before anything is written.
#![forbid(unsafe_code)]
