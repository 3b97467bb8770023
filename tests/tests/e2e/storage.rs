//! Captures in object storage: they can be read when the node's own files are gone.

use crate::Case;

pub(crate) const CASES: &[(&str, Case)] = &[];
