//! Rules: each turns facts into a finding with its evidence, or returns nothing.
//!
//! A rule is a function in a file of its own with its own tests, and an entry in [`RULES`]. Each file says which end
//! its rule recognises, by which facts, and when it is wrong. A rule that is not sure returns nothing: a wrong verdict
//! is worse than none. The finding with the highest score wins; of equals, that of the earlier rule. The score gives the
//! band of the verdict, which is all that a reader sees: see [`Band`].
//!
//! The score, in percent, follows from what the finding rests on:
//!
//! - 95 to 100: the kernel said it, by a wait status, a signal with its sender, or an OOM kill.
//! - 80 to 94: a call failed, and one sentence of the last words names what it was about and the error; or the last
//!   words give the error alone, in the words of strerror(3), and only this call met it; or the last words are a
//!   message that only one failure has.
//! - 50 to 79: a call failed, and the last words name the error and, apart from it, what the call was about; or a call
//!   failed right before the end of a program that said nothing; or there is a wait status without what led to it; or
//!   one of the above is in doubt (`doubt.rs`).
//! - below 50: there are only the exit code and the last words.

use capture_format::BootTime;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

mod band;
mod call_failed;
mod case;
mod configuration;
mod cpu_starved;
mod disk_full;
mod dns;
pub(crate) mod doubt;
mod evidence;
mod exec;
mod exit_zero;
mod fault;
mod inside_signal;
mod known_message;
mod kubelet;
mod locked;
mod missing_file;
mod missing_variable;
mod no_such_address;
mod non_zero_exit;
mod oom;
mod outside_signal;
mod permission;
pub(crate) mod phrase;
mod port_in_use;
mod process_refused;
mod read_only;
mod refused;
mod start_error;
pub(crate) mod tied;
mod too_many_files;
mod unexplained_signal;
mod unknown;
mod visit;
mod volume;
mod waiting;
pub(crate) mod words;

pub use band::Band;
pub use case::Case;
pub use case::how;
use doubt::{Doubt, rests_on_words, settle};
pub(crate) use exec::is_exec;
pub(crate) use refused::host_of;

/// From this score on a finding explains an abort.
const EXPLAINS: u8 = 68;

/// One rule. It returns what ended the run, or nothing.
pub(crate) type Rule = fn(&Case<'_>) -> Option<Finding>;

/// Every rule with its name. The last one always returns a verdict.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("start_error", start_error::rule),
    ("oom", oom::rule),
    ("kubelet", kubelet::rule),
    ("outside_signal", outside_signal::rule),
    ("fault", fault::rule),
    ("inside_signal", inside_signal::rule),
    ("unexplained_signal", unexplained_signal::rule),
    ("exit_zero", exit_zero::rule),
    ("exec", exec::rule),
    ("tied", tied::rule),
    ("known_message", known_message::rule),
    ("missing_variable", missing_variable::rule),
    ("configuration", configuration::rule),
    ("cpu_starved", cpu_starved::rule),
    ("non_zero_exit", non_zero_exit::rule),
    ("unknown", unknown::rule),
];

/// What ended a run, as a stable name for machines. A name never gets another meaning; new names may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The command could not be started, for a reason other than the next three.
    StartFailed,
    /// The command to execute does not exist.
    CommandNotFound,
    /// The command exists but may not be executed.
    NotExecutable,
    /// The command is not a program that this machine can run.
    ExecFormat,
    /// The OOM killer ended the run.
    OomKilled,
    /// kubelet ended the container because its liveness probe failed.
    LivenessProbeFailed,
    /// kubelet ended the container because its startup probe failed.
    StartupProbeFailed,
    /// kubelet ended the container because its postStart hook failed.
    PostStartHookFailed,
    /// kubelet ended the container because somebody changed its image or its resources in the pod.
    ContainerChanged,
    /// The CPU limit held the run back while its liveness or startup probe timed out, or while it gave up waiting.
    CpuStarved,
    /// The pod was evicted, preempted, or shut down with its node.
    Evicted,
    /// The pod was deleted.
    PodDeleted,
    /// The run was asked to end from outside the container, and ended.
    StoppedFromOutside,
    /// Killed with SIGKILL from outside the container.
    KilledFromOutside,
    /// Killed by another process of the container.
    KilledFromInside,
    /// Killed by a signal the process sent to itself.
    KilledItself,
    /// A timer or alarm that the process had set itself expired.
    TimerExpired,
    /// SIGXCPU or SIGXFSZ: the process reached its limit of CPU time or of file size.
    LimitReached,
    /// SIGPIPE: the process wrote to a pipe or socket that nobody reads any more.
    BrokenPipe,
    /// abort(3).
    Aborted,
    /// SIGSEGV.
    SegmentationFault,
    /// SIGBUS.
    BusError,
    /// SIGILL.
    IllegalInstruction,
    /// SIGFPE.
    ArithmeticException,
    /// SIGTRAP.
    Trap,
    /// SIGSYS.
    BadSystemCall,
    /// Killed by a signal whose sender was not recorded, or which the kernel sent for a reason other than those above.
    KilledBySignal,
    /// DNS: NXDOMAIN.
    DnsNoSuchHost,
    /// DNS: the name has no address.
    DnsNoAddress,
    /// DNS: SERVFAIL, REFUSED or another error of the server.
    DnsServerFailed,
    /// DNS: no answer.
    DnsNoAnswer,
    /// ECONNREFUSED.
    ConnectionRefused,
    /// ETIMEDOUT.
    ConnectionTimedOut,
    /// EHOSTUNREACH or ENETUNREACH.
    HostUnreachable,
    /// The other end closed a connection before it had answered, or reset it.
    ConnectionClosed,
    /// ENOENT or ENOTDIR.
    MissingFile,
    /// EROFS.
    ReadOnlyFileSystem,
    /// EACCES or EPERM, except from execve(2).
    PermissionDenied,
    /// ENOSPC or EDQUOT.
    DiskFull,
    /// EMFILE or ENFILE.
    TooManyOpenFiles,
    /// EADDRINUSE.
    PortInUse,
    /// EADDRNOTAVAIL of bind(2).
    AddressNotAvailable,
    /// EAGAIN of flock(2), or of fcntl(2) with a lock.
    Locked,
    /// fork(2), clone(2) or clone3(2) failed: no new process or thread.
    ProcessRefused,
    /// A call failed with an error that has no cause of its own, and the last words give that error.
    CallFailed,
    /// A module, class or shared library is missing.
    MissingDependency,
    /// An environment variable is not set.
    MissingVariable,
    /// A configuration file is empty or malformed.
    InvalidConfiguration,
    /// Exit code 0.
    ExitedZero,
    /// Another exit code, with last words that no other rule explains.
    ExitedNonZero,
    /// The evidence does not support a verdict.
    Unknown,
}

impl Cause {
    /// Whether a program's words can say so. Of all other causes, only the kernel, the runtime or the kubelet knows.
    #[must_use]
    pub(crate) fn is_said(self) -> bool {
        use Cause as C;
        matches!(
            self,
            C::DnsNoSuchHost
                | C::DnsNoAddress
                | C::DnsServerFailed
                | C::DnsNoAnswer
                | C::ConnectionRefused
                | C::ConnectionTimedOut
                | C::HostUnreachable
                | C::ConnectionClosed
                | C::CallFailed
                | C::MissingFile
                | C::ReadOnlyFileSystem
                | C::PermissionDenied
                | C::DiskFull
                | C::TooManyOpenFiles
                | C::PortInUse
                | C::AddressNotAvailable
                | C::Locked
                | C::ProcessRefused
                | C::MissingDependency
                | C::MissingVariable
                | C::InvalidConfiguration
                | C::CpuStarved
        )
    }

    /// The stable name, as in JSON: `oom_killed`.
    #[must_use]
    pub fn name(self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json.as_str().unwrap_or_default().to_owned()
    }
}

/// What a rule found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// One sentence for people, escaped.
    pub(crate) sentence: String,
    pub(crate) cause: Cause,
    /// What the cause is about: a host, an address, a path, a command, a signal; escaped. Empty if there is nothing to
    /// name.
    pub(crate) subject: String,
    /// How strong the evidence is, in percent: see the list in the document of this module.
    pub(crate) score: u8,
    /// Why it is that strong.
    pub(crate) why: String,
    pub(crate) evidence: Vec<Evidence>,
    /// What to do next: a command to run, or a thing to change.
    pub(crate) next_step: String,
    /// What was lost or overwritten and could change the verdict.
    pub(crate) weakened_by: Vec<String>,
    /// The event that wrote the line that the finding rests on, if that is a line before the headline.
    pub(crate) rests_on: Option<u64>,
}

/// What ended a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// One sentence for people, escaped.
    pub sentence: String,
    /// Stable name for machines.
    pub cause: Cause,
    /// What the cause is about: a host, an address, a path, a command, a signal; escaped. Empty if there is nothing to
    /// name.
    pub subject: String,
    /// How sure the verdict is.
    pub band: Band,
    /// How many of a hundred verdicts of this band were right, as measured: see [`Band::share`].
    pub confidence: u8,
    /// Why the verdict is that sure.
    pub why: String,
    /// The events that the verdict rests on, in order: at most eight.
    pub evidence: Vec<Evidence>,
    /// What to do next: a command to run, or a thing to change.
    pub next_step: String,
    /// What was lost or overwritten and could change the verdict.
    pub weakened_by: Vec<String>,
    /// The score of the finding: only tests look behind the band.
    #[cfg(test)]
    #[serde(skip)]
    pub(crate) score: u8,
}

impl From<Finding> for Verdict {
    fn from(finding: Finding) -> Self {
        let band = Band::of(finding.score);
        Self {
            sentence: finding.sentence,
            cause: finding.cause,
            subject: finding.subject,
            band,
            confidence: band.share(),
            why: finding.why,
            evidence: finding.evidence,
            next_step: finding.next_step,
            weakened_by: finding.weakened_by,
            #[cfg(test)]
            score: finding.score,
        }
    }
}

/// An event that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Its number in the capture.
    pub event: u64,
    /// What the event says, escaped.
    pub text: String,
    time: BootTime,
    /// When the run started. Rules do not know that; [`judge`] sets it.
    run_start: BootTime,
}

impl Evidence {
    pub(crate) fn new(event: u64, time: BootTime, text: impl Into<String>) -> Self {
        Self {
            event,
            text: text.into(),
            time,
            run_start: time,
        }
    }

    /// CLOCK_BOOTTIME in nanoseconds of the event.
    pub(crate) fn time(&self) -> BootTime {
        self.time
    }

    /// Sets when the run started, which [`Evidence::after_start`] counts from.
    pub(crate) fn since(self, run_start: BootTime) -> Self {
        Self { run_start, ..self }
    }

    /// How long after the start of the run it happened, in nanoseconds; 0 if it happened before.
    #[must_use]
    pub fn after_start(&self) -> u64 {
        self.time.since(self.run_start)
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Evidence", 3)?;
        object.serialize_field("event", &self.event)?;
        object.serialize_field("after_start_ns", &self.after_start())?;
        object.serialize_field("text", &self.text)?;
        object.end()
    }
}

/// The surer one of two verdicts; the first one if they are equally sure. But abort(3) is only a way to give up: a
/// verdict that says why the program gave up goes first.
fn surer(best: Finding, next: Finding) -> Finding {
    let explains = |why: &Finding, of: &Finding| {
        of.cause == Cause::Aborted && why.score >= EXPLAINS && rests_on_words(why)
    };
    let takes_over = next.score > best.score && !explains(&best, &next);
    if takes_over || explains(&next, &best) {
        next
    } else {
        best
    }
}

/// The verdict on a run.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let doubt = Doubt::of(case);
    let findings = RULES.iter().filter_map(|(_, rule)| rule(case));
    let findings = findings.map(|finding| doubt.weigh(finding));
    let finding = findings.reduce(surer).map(|finding| settle(case, finding));
    let mut verdict = Verdict::from(finding.unwrap_or_else(|| unknown::verdict(case)));
    let ends = match case.start_error() {
        Some(_) => Vec::new(),
        None => case.exit_evidence(),
    };
    verdict.evidence = evidence::tidy(verdict.evidence, ends);
    for evidence in &mut verdict.evidence {
        evidence.run_start = case.run.start;
    }
    verdict.weakened_by.splice(0..0, case.lost_events());
    verdict
}
