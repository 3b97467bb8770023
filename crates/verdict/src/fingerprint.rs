//! Which fault it was: a number that is the same on every replica, after every restart, and on every cluster.
//!
//! A fingerprint is made of what a fault is, and of nothing that differs each time that it happens: the cause, what it
//! is about (a host with its port, a path, a module, a variable), and, if the cause is about nothing in particular, the
//! program and the line that says why. Times, process ids, addresses, hashes, version numbers, the numbers of replicas
//! and random names are left out, and so is everything that was masked.
//!
//! Two runs with different fingerprints may have the same fault (a library worded its message anew). Two runs with the
//! same fingerprint may have different faults (the same program printed the same line for two reasons). docs/verdicts.md
//! has the figures.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::facts::naming::EPHEMERAL;
use crate::rules::{Case, Cause, Verdict, host_of};

/// Changes whenever the same fault gets another fingerprint than before.
const VERSION: &[u8] = b"1";
/// How many bytes of the normal form of a line are used: later ones are rarely the same twice.
const MAX_LINE: usize = 160;

/// Identifies a fault; 16 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a verdict on a run.
    pub(crate) fn of(case: &Case<'_>, verdict: &Verdict) -> Self {
        let mut hash = Sha256::new_with_prefix(VERSION);
        for part in parts(case, verdict) {
            // No part contains NUL, so the end of a part cannot be mistaken.
            hash.update(b"\0");
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What identifies the fault, beside its cause.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// What the cause is about.
    Subject,
    /// What the cause is about, and what was said about it.
    SubjectAndWords,
    /// What the cause is about, and which program it happened to.
    SubjectAndProgram,
    /// Which program it happened to.
    Program,
    /// Which program it happened to, and what it said about it.
    Words,
    /// What the container runtime or the kubelet said.
    Sentence,
}

fn identity(cause: Cause) -> Identity {
    match cause {
        Cause::CommandNotFound
        | Cause::NotExecutable
        | Cause::ExecFormat
        | Cause::LivenessProbeFailed
        | Cause::StartupProbeFailed
        | Cause::PostStartHookFailed
        | Cause::ContainerChanged
        | Cause::CpuStarved
        | Cause::DnsNoSuchHost
        | Cause::DnsNoAddress
        | Cause::DnsServerFailed
        | Cause::DnsNoAnswer
        | Cause::ConnectionRefused
        | Cause::ConnectionTimedOut
        | Cause::HostUnreachable
        | Cause::MissingFile
        | Cause::ReadOnlyFileSystem
        | Cause::PermissionDenied
        | Cause::DiskFull
        | Cause::PortInUse
        | Cause::AddressNotAvailable
        | Cause::Locked
        | Cause::MissingDependency
        | Cause::MissingVariable => Identity::Subject,
        Cause::InvalidConfiguration => Identity::SubjectAndWords,
        Cause::TooManyOpenFiles | Cause::ProcessRefused => Identity::SubjectAndProgram,
        // The limit is no part of the fault: the next build may have another one.
        Cause::OomKilled
        | Cause::Evicted
        | Cause::PodDeleted
        | Cause::StoppedFromOutside
        | Cause::KilledFromOutside
        | Cause::KilledFromInside
        | Cause::KilledItself
        | Cause::KilledBySignal
        | Cause::TimerExpired
        | Cause::LimitReached
        | Cause::BrokenPipe
        | Cause::SegmentationFault
        | Cause::BusError
        | Cause::IllegalInstruction
        | Cause::ArithmeticException
        | Cause::Trap
        | Cause::BadSystemCall
        | Cause::ExitedZero => Identity::Program,
        Cause::Aborted | Cause::ExitedNonZero | Cause::Unknown => Identity::Words,
        Cause::StartFailed => Identity::Sentence,
    }
}

fn parts(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let program = || {
        let culprit = case.culprit();
        normal(&culprit.map_or_else(String::new, |process| process.name()))
    };
    let subject = || subject(case, verdict);
    let words = || {
        let line = case.words.headline().map(|line| normal(&line.text));
        // Without a line that says why, the exit code is all that is left.
        let line = line.unwrap_or_else(|| verdict.subject.clone());
        line.chars().take(MAX_LINE).collect()
    };
    let mut parts = vec![verdict.cause.name()];
    parts.extend(match identity(verdict.cause) {
        Identity::Subject => vec![subject()],
        Identity::SubjectAndWords => vec![subject(), words()],
        Identity::SubjectAndProgram => vec![subject(), program()],
        Identity::Program => vec![program()],
        Identity::Words => vec![program(), words()],
        Identity::Sentence => vec![normal(&verdict.sentence)],
    });
    parts
}

/// The normal form of what a verdict is about.
fn subject(case: &Case<'_>, verdict: &Verdict) -> String {
    let subject = verdict.subject.as_str();
    if let Ok(address) = subject.parse::<SocketAddr>() {
        let host = host_of(case, address);
        let port = match u32::from(address.port()) {
            EPHEMERAL.. => "#".to_owned(),
            port => port.to_string(),
        };
        return format!(
            "{}:{port}",
            host.map_or_else(String::new, |host| self::host(&host))
        );
    }
    if subject.parse::<IpAddr>().is_ok() {
        return String::new();
    }
    match verdict.cause {
        Cause::DnsNoSuchHost
        | Cause::DnsNoAddress
        | Cause::DnsServerFailed
        | Cause::DnsNoAnswer => host(subject),
        // The name of a variable, a call or an error has no part that differs each time.
        Cause::MissingVariable | Cause::ProcessRefused | Cause::TooManyOpenFiles => {
            subject.to_owned()
        }
        _ => normal(subject),
    }
}

/// The normal form of a host: without what a cluster's search list appends, and without the number of a replica.
fn host(name: &str) -> String {
    let name = name.trim_end_matches('.');
    let name = name.find(".svc.").map_or(name, |at| &name[..at]);
    normal(name.strip_suffix(".svc").unwrap_or(name))
}

/// A text without the parts that are different each time: numbers, hashes, random names, masked bytes, the amount of
/// white space.
fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if in_word(c) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            '*' => rest.find(|c| c != '*').unwrap_or(rest.len()),
            c if c.is_whitespace() => rest
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            c if in_word(c) => push_word(&mut out, token),
            '*' => out.push('*'),
            c if c.is_whitespace() => out.push(' '),
            c => out.push(c),
        }
        rest = after;
    }
    out.trim().to_owned()
}

/// Appends a word of letters, digits and `_`. A number that follows another one, as in `10.0.0.7`, `1.5` or
/// `2026-11-30 12:00:01`, becomes one with it.
fn push_word(out: &mut String, word: &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let in_uuid = out.ends_with("#-") && matches!(word.len(), 4 | 12) && is_hexadecimal(word);
    if is_number(word) || in_uuid || is_hash(word) || is_suffix_of_a_pod(word) {
        let before = out.trim_end_matches(['.', ',', ':', '-', '/', ' ']);
        match before.ends_with('#') {
            true => out.truncate(before.len()),
            false => out.push('#'),
        }
        return;
    }
    if is_temporary(word) {
        out.push_str("tmp#");
        return;
    }
    let mut in_number = false;
    for c in word.chars() {
        match (is_digit(c), in_number) {
            (true, true) => {}
            (true, false) => out.push('#'),
            (false, _) => out.push(c),
        }
        in_number = is_digit(c);
    }
}

/// Digits, or a part of a time such as `30T12` or `01Z`.
fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z'))
}

/// A hash, a UID or its part, an address in memory: eight hexadecimal digits or more, not all of them letters.
fn is_hash(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_address = digits.len() < word.len() && !digits.is_empty();
    (digits.len() >= 8 || is_address)
        && is_hexadecimal(digits)
        && (is_address || digits.bytes().any(|b| b.is_ascii_digit()))
}

fn is_hexadecimal(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a controller appends to the names of its pods: letters and digits that form no words
/// (`k8s.io/apimachinery/pkg/util/rand`).
fn is_suffix_of_a_pod(word: &str) -> bool {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (5..=10).contains(&word.len())
        && word.bytes().all(|b| ALPHABET.contains(&b))
        && word.bytes().any(|b| b.is_ascii_digit())
}

/// What mkstemp(3) and its kin make up: `tmp` and six to eight characters.
fn is_temporary(word: &str) -> bool {
    word.strip_prefix("tmp")
        .is_some_and(|rest| (6..=8).contains(&rest.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_left_out() {
        for (one, other) in [
            (
                "2026-11-21 06:39:30.718 FATAL pool-7: lost 10.0.0.7:5432 after 1.5 s",
                "2027-01-02T16:40:31 FATAL pool-12: lost 10.244.18.9:5433 after 30 s",
            ),
            ("/tmp/tmpx8_2kq0a/lock", "/tmp/tmp1mm_w3ze/lock"),
            ("/data/shard-1/state.db", "/data/shard-12/state.db"),
            ("/proc/4711/status", "/proc/8/status"),
            (
                "no session 3fa85f64-5717-4562-b3fc-2c963f66afa6",
                "no session 00000000-aaaa-bbbb-cccc-1234567890ab",
            ),
            ("web-7d4b9cdf64-x2x9z: gone", "web-58f4cbd6d9-7kq4z: gone"),
            ("segfault at 0x7fff21c0f3ec", "segfault at 0x0"),
            ("password=***** refused", "password=******** refused"),
            ("a   b\tc", "a b c"),
            ("libssl.so.1.1", "libssl.so.3"),
        ] {
            assert_eq!(normal(one), normal(other));
        }
    }

    #[test]
    fn what_a_fault_is_about_stays() {
        for (one, other) in [
            ("/etc/app/settings.conf", "/etc/app/secrets.conf"),
            ("missing key \"port\"", "missing key \"host\""),
            ("KeyError: 'CUSTOMER_ID'", "KeyError: 'ORDER_ID'"),
            ("feedface is no number", "deadbeef is no number"),
            ("tmpfs is full", "tmp is full"),
        ] {
            assert_ne!(normal(one), normal(other));
        }
    }

    #[test]
    fn a_host_is_the_same_by_each_of_its_names() {
        for name in [
            "db.shop",
            "db.shop.svc",
            "db.shop.svc.cluster.local",
            "db.shop.svc.cluster.local.",
        ] {
            assert_eq!(host(name), "db.shop");
        }
        assert_eq!(host("db-0.db"), host("db-2.db"));
        assert_ne!(host("db"), host("cache"));
    }
}
