//! Names of objects. A name is the same each time it is computed.

use sha2::{Digest as _, Sha256};

/// A name may have 253 bytes; the digest and its dash need 11 of them.
const LONGEST: usize = 253;
const DIGITS: usize = 10;

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
}
