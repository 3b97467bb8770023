//! Overwriting bytes, and counting it.

use std::ops::Range;

use crate::Manifest;

/// What masked bytes become.
pub(crate) const MASK: u8 = b'*';

/// Overwrites a place, and counts it unless it was masked already. Says whether something changed.
pub(crate) fn mask(
    bytes: &mut [u8],
    place: Range<usize>,
    rule: &str,
    manifest: &mut Manifest,
) -> bool {
    let Some(place) = bytes.get_mut(place) else {
        return false;
    };
    if is_masked(place) {
        return false;
    }
    place.fill(MASK);
    manifest.count(rule);
    true
}

/// Whether there is nothing left to mask.
pub(crate) fn is_masked(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == MASK)
}
