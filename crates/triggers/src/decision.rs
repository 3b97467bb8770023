//! The output of the machine: decisions.

use crate::Subject;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take a capture, and tell how that went by [`Machine::captured`](crate::Machine::captured) or
    /// [`Machine::failed`](crate::Machine::failed); until then nothing else is decided for the container.
    Capture {
        /// Names this decision.
        attempt: Attempt,
        /// Of which container.
        subject: Subject,
        /// Why.
        trigger: Tripped,
        /// The capture it supersedes, once it stands.
        replaces: Option<String>,
    },
    /// An annotation is ignored; said once for each.
    Warn {
        /// Of which pod, or of its namespace.
        pod_uid: String,
        /// One sentence for people.
        message: String,
    },
}

/// Names one decision to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub(crate) u64);

/// Why a capture is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// Which rule tripped; of several, the highest.
    pub kind: Kind,
    /// One sentence for people.
    pub detail: String,
}

/// The rules, from the lowest rank to the highest: a rule that is about a whole loop says more than one that is about a run.
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
    /// OOM killer.
    OomKilled,
    /// CrashLoopBackOff.
    CrashLoopBackOff,
    /// Restarts in a window of time.
    Restarts,
}

impl Kind {
    /// Its stable name, for machines.
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
