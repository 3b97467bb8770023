//! Overwrites bytes, and counts what was overwritten.

use std::ops::Range;

use crate::Manifest;

/// The byte that replaces every masked byte.
pub(crate) const MASK: u8 = b'*';

/// Overwrites a place, and counts it unless it was masked already. Returns whether something changed.
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
    // Line ends stay, and so do the ends of arguments.
    let secret = place
        .iter_mut()
        .filter(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    secret.for_each(|byte| *byte = MASK);
    manifest.count(rule);
    true
}

/// Whether there is nothing left to mask. Blanks, and NUL between arguments, are not secret.
pub(crate) fn is_masked(bytes: &[u8]) -> bool {
    let nothing = |byte: &u8| *byte == MASK || *byte == 0 || byte.is_ascii_whitespace();
    bytes.iter().all(nothing)
}
