//! Whether kernel lockdown forbids eBPF programs to read the kernel's memory (kernel_lockdown(7)).

use std::fs;

/// Whether the kernel is locked down for confidentiality. `refusal`: what it said when it refused a program.
pub(super) fn is_confidential(refusal: &str) -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    says_so(
        &read("/sys/kernel/security/lockdown"),
        &read("/proc/cmdline"),
        refusal,
    )
}

/// In `none integrity [confidentiality]` the level in force is in brackets. Without such a text (securityfs is not
/// mounted, as in a container) the last word of the kernel's command line counts. A lockdown that was raised later
/// shows only in the refusal.
fn says_so(lockdown: &str, command_line: &str, refusal: &str) -> bool {
    if !lockdown.trim().is_empty() {
        return lockdown.contains("[confidentiality]");
    }
    let mut levels = command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("lockdown="));
    levels.next_back() == Some("confidentiality") || forbids_reading(refusal)
}

/// Whether the verifier did not let a program use a helper that reads the kernel's memory. Tracing programs always may,
/// except under lockdown (`bpf_tracing_func_proto` in kernel/trace/bpf_trace.c) and without privileges, which are
/// checked before. Older kernels call the helper unknown.
fn forbids_reading(refusal: &str) -> bool {
    ["unknown func", "cannot use helper"]
        .iter()
        .any(|words| refusal.contains(&format!("{words} bpf_probe_read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_level_that_is_in_force() {
        let none = "";
        let refusal = "tp_btf: Invalid argument (os error 22) (verifier: program of this type cannot use helper bpf_probe_read#4)";
        assert!(says_so("none integrity [confidentiality]\n", "", none));
        let integrity = "none [integrity] confidentiality\n";
        assert!(!says_so(integrity, "lockdown=confidentiality", refusal));
        assert!(!says_so("[none] integrity confidentiality\n", "", none));
        assert!(says_so("", "quiet lockdown=confidentiality panic=1", none));
        let last = "lockdown=confidentiality lockdown=integrity";
        assert!(!says_so("", last, none));
        assert!(!says_so("", "quiet", none));
        // It was raised later.
        assert!(says_so("", "quiet", refusal));
        let older =
            "raw_tp: Invalid argument (os error 22) (verifier: unknown func bpf_probe_read#4)";
        assert!(says_so("", "quiet", older));
        let other = "Invalid argument (os error 22) (verifier: unknown func bpf_loop#181)";
        assert!(!says_so("", "quiet", other));
    }
}
