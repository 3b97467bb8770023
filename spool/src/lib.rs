//! Where captures are kept: the node's spool directory, and object storage.
#![forbid(unsafe_code)]
