//! Arguments of programs: options whose value is the next argument, and whatever any text may hold.

use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::Manifest;
use crate::credential::Source;
use crate::mask::mask;
use crate::scan::{Context, Scanner};

/// `--password hunter2`, `-token 'x'`. A value that is an option or a path is none.
const OPTION: &str = r#"(?i-u)(?:^|\s)--?[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|account[_-]?key|credentials?)\s["']?([^\s"'/$-][^\s"']*)"#;

#[expect(clippy::expect_used, reason = "a constant that the tests compile")]
static OPTIONS: LazyLock<Regex> = LazyLock::new(|| Regex::new(OPTION).expect("OPTION compiles"));

/// Masks credentials in arguments that NUL ends. Says whether something was masked.
pub(crate) fn arguments(scanner: &Scanner, data: &mut [u8], manifest: &mut Manifest) -> bool {
    let context = Context::of(Source::Written);
    let mut masked = scanner.mask(data, context, manifest).masked;
    // The same as a person types it; the string behind `sh -c` is one argument.
    let mut typed: Vec<u8> = data.to_vec();
    typed
        .iter_mut()
        .filter(|byte| **byte == 0)
        .for_each(|byte| *byte = b' ');
    masked |= scanner.mask(&mut typed, context, manifest).masked;
    let values = OPTIONS.captures_iter(&typed);
    let values = values.filter_map(|found| Some(found.get(1)?.range()));
    for value in values.collect::<Vec<_>>() {
        masked |= mask(&mut typed, value, "command_line", manifest);
    }
    for (byte, typed) in data.iter_mut().zip(typed) {
        if *byte != 0 {
            *byte = typed;
        }
    }
    masked
}
