//! Arguments of programs: options whose value is the next argument, and credentials that any text may contain.

use crate::Manifest;
use crate::keys::Source;
use crate::scan::{Context, Scanner};

/// Masks credentials in arguments, each of which ends with NUL. Returns whether something was masked.
pub(crate) fn arguments(scanner: &Scanner, data: &mut [u8], manifest: &mut Manifest) -> bool {
    let context = Context {
        typed: true,
        ..Context::of(Source::Written)
    };
    let mut masked = scanner.mask(data, context, manifest).masked;
    // The arguments as a person would type them; the string after `sh -c` is one argument.
    let mut typed: Vec<u8> = data.to_vec();
    typed
        .iter_mut()
        .filter(|byte| **byte == 0)
        .for_each(|byte| *byte = b' ');
    masked |= scanner.mask(&mut typed, context, manifest).masked;
    for (byte, typed) in data.iter_mut().zip(typed) {
        if *byte != 0 {
            *byte = typed;
        }
    }
    masked
}
