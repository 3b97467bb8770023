//! Names that come from a cluster, made safe for use as file names and as parts of object keys.

use crate::checksum;

/// A longer name is shortened: a file name may have 255 bytes on Linux, and temporary names are longer.
const LONGEST: usize = 200;
/// How many bytes are kept of a name that must be changed.
const LEGIBLE: usize = 160;

/// The [`Entry::id`](crate::Entry::id) of the capture with this namespace and name, whatever they are.
#[must_use]
pub fn id(namespace: &str, name: &str) -> String {
    format!("{}/{}", component(namespace), component(name))
}

/// `name` as one component of a path: without separators, not hidden, not too long, and different for different names.
///
/// Names that Kubernetes allows (RFC 1123: letters, digits, `-`, `.`) are not changed. Any other character becomes `_`,
/// and a checksum of the name is appended. The checksum is also appended if the name contains `_`, because two names
/// must not become the same. An empty name becomes `_`.
pub(crate) fn component(name: &str) -> String {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if name.is_empty() {
        return "_".into();
    }
    if name.len() <= LONGEST && !name.starts_with('.') && name.chars().all(ordinary) {
        return name.into();
    }
    let legible: String = name
        .trim_start_matches('.')
        .chars()
        .map(|c| if ordinary(c) { c } else { '_' })
        .take(LEGIBLE)
        .collect();
    format!("{legible}_{}", &checksum::of_bytes(name.as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::component;

    #[test]
    fn ordinary_names_stay() {
        for name in ["default", "web-0", "kube-apiserver-node1.example.org", "A"] {
            assert_eq!(component(name), name);
        }
    }

    #[test]
    fn whatever_is_given_is_one_visible_component() {
        for name in [
            "",
            ".",
            "..",
            "../..",
            "/etc/passwd",
            "a/b",
            ".hidden",
            "a\0b",
            "a\nb",
            "ü",
            "_",
            "a_b",
            "~",
            "\u{202e}txt",
            &"x".repeat(5_000),
            &"é".repeat(300),
            "...",
        ] {
            let component = component(name);
            assert!(
                !component.is_empty() && component.len() <= super::LONGEST,
                "{name:?}"
            );
            assert!(!component.starts_with('.'), "{name:?} became {component}");
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            assert!(
                component.chars().all(allowed),
                "{name:?} became {component}"
            );
        }
    }

    #[test]
    fn different_names_stay_different() {
        let long = |end: &str| "x".repeat(300) + end;
        let names = [
            "a/b".into(),
            "a_b".into(),
            "a:b".into(),
            "_".into(),
            String::new(),
            ".a".into(),
            "a".into(),
            "..a".into(),
            component("a/b"),
            component(""),
            long("1"),
            long("2"),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        let safe: std::collections::BTreeSet<_> =
            names.iter().map(|name| component(name)).collect();
        assert_eq!(safe.len(), distinct.len(), "{safe:?}");
    }
}
