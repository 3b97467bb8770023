//! Names of objects. A name is the same each time it is computed.

use sha2::{Digest as _, Sha256};

/// A name may have 253 bytes; the digest and its dash need 11 of them, and the number of a slot two.
const LONGEST: usize = 251;
const DIGITS: usize = 10;
/// The longest value of a label, in bytes.
const LONGEST_LABEL: usize = 63;

/// The name of a container's Capture: `POD-CONTAINER-DIGEST`, a DNS-1123 subdomain.
///
/// `seed` distinguishes it from other captures of a container with the same name (the pod's UID and the run, or the
/// alert that asks for it). The same seed gives the same name, so a repeated attempt finds what the first one made.
#[must_use]
pub fn capture_name(pod: &str, container: Option<&str>, seed: &[&str]) -> String {
    let readable = match container {
        Some(container) => format!("{pod}-{container}"),
        None => pod.to_owned(),
    };
    named(&readable, '-', seed)
}

/// `readable` in a safe and short form, then `separator` and a digest of `readable` and `seed`.
pub(crate) fn named(readable: &str, separator: char, seed: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in [readable].iter().chain(seed) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let digest = hex(&hash.finalize());
    let safe: String = readable
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '-') => c,
            _ => '-',
        })
        .take(LONGEST - DIGITS - 1)
        .collect();
    // A label must not begin or end with a dash, and must not be empty.
    let labels: Vec<&str> = safe
        .split('.')
        .map(|label| label.trim_matches('-'))
        .filter(|label| !label.is_empty())
        .collect();
    if labels.is_empty() {
        return digest[..DIGITS].to_owned();
    }
    format!("{}{separator}{}", labels.join("."), &digest[..DIGITS])
}

/// The value of the label `lastword.dev/node` for a node of this name: the name, or if that is too long for a label, its
/// first 52 bytes, a dash and a digest. (The admission policy compares as much of it as it can compute.)
pub(crate) fn node_label(node: &str) -> String {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = node.as_bytes();
    let is_label = bytes.len() <= LONGEST_LABEL
        && is_end(bytes.first())
        && is_end(bytes.last())
        && node.chars().all(is_in_label);
    if is_label {
        return node.to_owned();
    }
    let digest = hex(&Sha256::digest(node));
    let mut label: String = node
        .chars()
        .map(|c| if is_in_label(c) { c } else { '-' })
        .take(LONGEST_LABEL - DIGITS - 1)
        .collect();
    // The names of nodes begin with a letter or digit; those of other hosts need not.
    if !is_end(label.as_bytes().first()) {
        label.insert(0, 'x');
        label.truncate(LONGEST_LABEL - DIGITS - 1);
    }
    format!("{label}-{}", &digest[..DIGITS])
}

fn is_in_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// `bytes` in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_pod_and_container_and_depends_on_the_seed() {
        let first = capture_name("nginx-5796d5bc7c-2jdr5", Some("nginx"), &["uid", "4"]);
        assert!(
            first.starts_with("nginx-5796d5bc7c-2jdr5-nginx-"),
            "{first}"
        );
        assert_eq!(
            first,
            capture_name("nginx-5796d5bc7c-2jdr5", Some("nginx"), &["uid", "4"])
        );
        for other in [&["uid", "5"][..], &["ui", "d4"], &["uid4"]] {
            assert_ne!(
                first,
                capture_name("nginx-5796d5bc7c-2jdr5", Some("nginx"), other)
            );
        }
    }

    #[test]
    fn whatever_comes_in_the_name_is_a_dns_subdomain() {
        for pod in [
            "",
            "-",
            "a.-b",
            "UPPER_case",
            "...",
            "ümlaut",
            &"x.".repeat(300),
            &"y".repeat(300),
        ] {
            let name = capture_name(pod, Some("c"), &[]);
            assert!(name.len() <= 253, "{name}");
            assert!(
                name.split('.').all(|label| !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))),
                "{name}"
            );
        }
        assert_eq!(named("", '.', &[]).len(), DIGITS);
    }

    #[test]
    fn the_label_of_a_node_is_its_name_or_begins_with_it() {
        for short in [
            "n1",
            "ip-10-0-0-1.eu-west-1.compute.internal",
            &"n".repeat(63),
        ] {
            assert_eq!(node_label(short), short);
        }
        let long = format!("{}.example", "n".repeat(60));
        let label = node_label(&long);
        assert_eq!(label.len(), 63);
        assert!(label.starts_with(&format!("{}-", &long[..52])), "{label}");
        assert_ne!(label, node_label(&format!("{long}s")));
        for odd in ["", "-", "a b", "ü", "a-", &"-".repeat(300)] {
            let label = node_label(odd);
            let bytes = label.as_bytes();
            assert!(
                bytes.len() <= 63 && label.chars().all(is_in_label),
                "{label}"
            );
            assert!(
                bytes[0].is_ascii_alphanumeric() && bytes[bytes.len() - 1].is_ascii_alphanumeric()
            );
        }
    }
}
