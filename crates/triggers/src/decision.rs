//! The output of the machine: decisions.

use crate::Subject;

/// A decision of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take a capture, and report the result by [`Machine::captured`](crate::Machine::captured) or
    /// [`Machine::failed`](crate::Machine::failed). Until then nothing else is decided for the container.
    Capture {
        /// Identifies this decision.
        attempt: Attempt,
        /// The container.
        subject: Subject,
        /// Why the capture is taken.
        trigger: Tripped,
        /// The capture that it replaces, once it is complete.
        replaces: Option<String>,
    },
    /// An annotation is ignored. This is reported once for each annotation.
    Warn {
        /// The pod that has the annotation, or whose namespace has it.
        pod_uid: String,
        /// One sentence for people.
        message: String,
    },
}

/// Identifies one decision to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub(crate) u64);

/// Why a capture is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// The rule that tripped; if there are several, the one with the highest rank.
    pub kind: Kind,
    /// One sentence for people.
    pub detail: String,
}

/// The rules, from the lowest rank to the highest: a rule about a whole loop says more than a rule about one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The readiness probe failed.
    Readiness,
    /// The first crash of a loop, or the first with another cause.
    FirstCrash,
    /// A given exit code.
    ExitCode,
    /// A given signal.
    Signal,
    /// The liveness or startup probe failed.
    Liveness,
    /// The OOM killer killed a process.
    OomKilled,
    /// CrashLoopBackOff.
    CrashLoopBackOff,
    /// Restarts in a window of time.
    Restarts,
}

impl Kind {
    /// The stable name for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Readiness => "readiness",
            Self::FirstCrash => "first-crash",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::Liveness => "liveness",
            Self::OomKilled => "oom-killed",
            Self::CrashLoopBackOff => "crash-loop-back-off",
            Self::Restarts => "restarts",
        }
    }
}
