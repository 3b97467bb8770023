//! Which of the capabilities that recording needs this process has.

use std::fs;

/// A capability of capabilities(7), and what it is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name, as `CAP_BPF`.
    pub name: &'static str,
    /// Why recording needs it.
    pub purpose: &'static str,
    bit: u8,
}

/// The capabilities that recording needs; numbers from include/uapi/linux/capability.h.
const NEEDED: [Capability; 2] = [
    Capability {
        name: "CAP_BPF",
        purpose: "to load eBPF programs",
        bit: 39,
    },
    Capability {
        name: "CAP_PERFMON",
        purpose: "to attach them to tracepoints",
        bit: 38,
    },
];
/// This capability implies both.
const CAP_SYS_ADMIN: u8 = 21;

/// The needed capabilities that this process lacks.
#[must_use]
pub fn missing() -> Vec<Capability> {
    fs::read_to_string("/proc/self/status")
        .map_or_else(|_| Vec::new(), |status| missing_in(&status))
}

fn missing_in(status: &str) -> Vec<Capability> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    let has = |bit: u8| effective >> bit & 1 != 0;
    NEEDED
        .into_iter()
        .filter(|capability| !has(capability.bit) && !has(CAP_SYS_ADMIN))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(effective: u64) -> Vec<&'static str> {
        missing_in(&format!("Name:\tx\nCapEff:\t{effective:016x}\n"))
            .iter()
            .map(|missing| missing.name)
            .collect()
    }

    #[test]
    fn names_what_is_missing() {
        assert_eq!(names(0), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(names(1 << 39), ["CAP_PERFMON"]);
        assert_eq!(names(1 << 39 | 1 << 38), [""; 0]);
        assert_eq!(names(1 << 21), [""; 0]);
    }
}
