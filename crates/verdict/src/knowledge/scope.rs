//! Whose messages the entries of a file are.

use serde::Deserialize;

use crate::facts::program::Program;

/// How many names a scope may have.
const MAX_NAMES: usize = 64;
/// How long a name may be, in bytes.
const MAX_NAME: usize = 64;

/// Programs, by what they executed or loaded. One name that fits is enough.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    /// Files that were executed, without directories; `*` at the end stands for anything.
    #[serde(default)]
    executed: Vec<String>,
    /// Libraries that were loaded, without directories; `*` stands for anything.
    #[serde(default)]
    loaded: Vec<String>,
}

impl Scope {
    /// Whether a process is one of these programs.
    pub(super) fn covers(&self, program: &Program) -> bool {
        let is = |wanted: &[String], name: &[u8]| wanted.iter().any(|wanted| fits(wanted, name));
        program.executed().any(|name| is(&self.executed, name))
            || program.loaded().any(|name| is(&self.loaded, name))
    }

    /// What is wrong with the scope.
    pub(super) fn fault(&self) -> Option<String> {
        let mut names = self.executed.iter().chain(&self.loaded);
        let count = names.clone().count();
        if count == 0 {
            return Some("the scope names nothing: give `executed` or `loaded`".into());
        }
        if count > MAX_NAMES {
            return Some(format!(
                "the scope has {count} names, and may have {MAX_NAMES}"
            ));
        }
        let wrong = names.find(|name| {
            let known = name.trim_end_matches('*');
            known.is_empty() || name.len() > MAX_NAME || name.contains('/')
        })?;
        Some(format!(
            "\"{wrong}\" is no name of a program or library: give one without directories, of at most {MAX_NAME} bytes, \
             with more than `*`"
        ))
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &[u8]) -> bool {
    let mut parts = pattern.as_bytes().split(|&byte| byte == b'*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&[u8]> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        let Some(at) = memchr::memmem::find(rest, part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("nginx", "nginx"),
            ("python*", "python3.11"),
            ("python*", "python"),
            ("libpython*.so*", "libpython3.11.so.1.0"),
            ("libjvm.so*", "libjvm.so"),
        ] {
            assert!(fits(pattern, name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("nginx", "nginx-debug"),
            ("python*", "mypython"),
            ("libpython*.so*", "libpython3.11"),
            ("libpython*.so", "libpython3.so.1"),
            ("ab*ba", "aba"),
        ] {
            assert!(!fits(pattern, name.as_bytes()), "{pattern} {name}");
        }
    }
}
