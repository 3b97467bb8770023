//! All that speaks to a Kubernetes API server.
#![forbid(unsafe_code)]
