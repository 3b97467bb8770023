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

use crate::entity::{self, is_ephemeral, normal};
use crate::rules::{Case, Cause, Verdict, host_of};

/// Changes whenever the same fault gets another fingerprint than before.
const VERSION: &[u8] = b"2";
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
        | Cause::ConnectionClosed
        | Cause::MissingFile
        | Cause::ReadOnlyFileSystem
        | Cause::PermissionDenied
        | Cause::DiskFull
        | Cause::PortInUse
        | Cause::AddressNotAvailable
        | Cause::Locked
        | Cause::MissingDependency
        | Cause::MissingVariable => Identity::Subject,
        Cause::InvalidConfiguration | Cause::CallFailed => Identity::SubjectAndWords,
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
        let line = case.words.headline().map(|line| normal(line.said()));
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
        let port = address.port().to_string();
        let port = if is_ephemeral(&port) { "#" } else { &port };
        return format!(
            "{}:{port}",
            host.map_or_else(String::new, |host| entity::host(&host))
        );
    }
    if subject.parse::<IpAddr>().is_ok() {
        return String::new();
    }
    match verdict.cause {
        Cause::DnsNoSuchHost
        | Cause::DnsNoAddress
        | Cause::DnsServerFailed
        | Cause::DnsNoAnswer => entity::host(subject),
        // The name of a variable, a call or an error has no part that differs each time.
        Cause::MissingVariable | Cause::ProcessRefused | Cause::TooManyOpenFiles => {
            subject.to_owned()
        }
        _ => normal(subject),
    }
}
