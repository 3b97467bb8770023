//! x
/// Prefix
pub const ANNOTATIONS: &str = "lastword.dev/";
