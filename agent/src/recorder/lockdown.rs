//! Whether kernel lockdown forbids eBPF programs to read the kernel's memory (kernel_lockdown(7)).

use std::fs;

/// Whether the kernel is locked down for confidentiality.
pub(super) fn is_confidential() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    // If securityfs is not mounted, as in a container, the kernel's command line shows a lockdown that was in force
    // from the start.
    says_so(
        &read("/sys/kernel/security/lockdown"),
        &read("/proc/cmdline"),
    )
}

/// In `none integrity [confidentiality]` the level in force is in brackets. Without such a text, the last word of the
/// command line counts.
fn says_so(lockdown: &str, command_line: &str) -> bool {
    if !lockdown.trim().is_empty() {
        return lockdown.contains("[confidentiality]");
    }
    let mut levels = command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("lockdown="));
    levels.next_back() == Some("confidentiality")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_level_that_is_in_force() {
        assert!(says_so("none integrity [confidentiality]\n", ""));
        assert!(!says_so(
            "none [integrity] confidentiality\n",
            "lockdown=confidentiality"
        ));
        assert!(!says_so("[none] integrity confidentiality\n", ""));
        assert!(says_so("", "quiet lockdown=confidentiality panic=1"));
        assert!(!says_so("", "lockdown=confidentiality lockdown=integrity"));
        assert!(!says_so("", "quiet"));
    }
}
