//! The table of probes: what each observes, and how it can be attached, best way first.

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    Btf, Ebpf,
    programs::{
        Program, ProgramError, links::FdLink, raw_trace_point::RawTracePointLinkId,
        tp_btf::BtfTracePointLinkId, trace_point::TracePointLinkId,
    },
};
use capture_format::{Probe, chain};

use super::{
    StartError,
    btf::Btf as KernelBtf,
    load::Load,
    pins::{PinError, Version},
};

/// A way to attach a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attach {
    /// BPF_TRACE_RAW_TP: the arguments have types, so the program reads them without helper calls.
    TpBtf,
    /// Raw tracepoint.
    RawTp,
    /// Perf tracepoint of this category: slower, but the program always runs with preemption disabled.
    PerfTp(&'static str),
}

impl Attach {
    fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
            Self::PerfTp(_) => "perf_tp",
        }
    }
}

/// One probe: a tracepoint and the programs that can observe it.
struct Row {
    tracepoint: &'static str,
    /// Whether recording is impossible without the probe.
    required: bool,
    /// What is missing without it.
    tells: &'static str,
    /// Programs that observe the tracepoint, best first.
    programs: &'static [(Attach, &'static str)],
}

const SYS_EXIT: &[(Attach, &str)] = &[
    (Attach::TpBtf, "sys_exit_btf"),
    (Attach::RawTp, "sys_exit_raw"),
    (Attach::PerfTp("raw_syscalls"), "sys_exit_perf"),
];

/// The programs for kernels on which tracepoint programs can be preempted. There the kernel skips a program that is
/// already running on the CPU; only the perf tracepoint loses nothing.
const SYS_EXIT_PREEMPTIBLE: &[(Attach, &str)] = &[
    (Attach::PerfTp("raw_syscalls"), "sys_exit_perf"),
    (Attach::TpBtf, "sys_exit_btf"),
    (Attach::RawTp, "sys_exit_raw"),
];

/// The programs for the lives of processes, on kernels on which tracepoint programs can be preempted. The other
/// tracepoints are called with a spinlock held or with interrupts off, so their programs are not preempted: signals
/// (`siglock`), OOM (`task_lock`), cgroups (`trace_cgroup_path_lock`).
macro_rules! life {
    ($name:literal, $perf:literal, $tells:literal, $perf_first:expr) => {
        Row {
            tracepoint: $name,
            required: true,
            tells: $tells,
            programs: if $perf_first {
                &[(Attach::PerfTp("sched"), $perf), (Attach::RawTp, $name)]
            } else {
                &[(Attach::RawTp, $name)]
            },
        }
    };
}

macro_rules! raw {
    ($name:literal, $required:literal, $tells:literal) => {
        Row {
            tracepoint: $name,
            required: $required,
            tells: $tells,
            programs: &[(Attach::RawTp, $name)],
        }
    };
}

fn table(preemptible: bool, life_records: bool) -> [Row; 9] {
    let perf = preemptible && life_records;
    [
        Row {
            tracepoint: "sys_exit",
            required: true,
            tells: "system calls",
            programs: if preemptible {
                SYS_EXIT_PREEMPTIBLE
            } else {
                SYS_EXIT
            },
        },
        life!(
            "sched_process_exec",
            "sched_process_exec_perf",
            "executed programs",
            perf
        ),
        life!(
            "sched_process_fork",
            "sched_process_fork_perf",
            "new processes",
            perf
        ),
        life!(
            "sched_process_exit",
            "sched_process_exit_perf",
            "exit codes",
            perf
        ),
        raw!("signal_generate", false, "who sent a signal"),
        raw!("signal_deliver", false, "signals taken"),
        raw!("mark_victim", false, "OOM kills"),
        raw!("cgroup_rmdir", true, "removed containers"),
        // This probe is attached last: so a container that is known from its start is observed completely.
        raw!("cgroup_mkdir", true, "new containers"),
    ]
}

/// A required probe that could not be attached.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused to observe {tells} ({tracepoint}): {reasons}")]
pub struct ProbeError {
    tells: &'static str,
    tracepoint: &'static str,
    reasons: String,
}

/// Attaches every probe in the best way that the kernel allows.
///
/// All programs are loaded before the first is attached: verification takes time, and a container that starts meanwhile
/// would be recorded only in part. Programs and links are pinned if there is a version's folder for them.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    load: &Load<'_>,
    version: Option<&Version>,
) -> Result<Vec<Attached>, StartError> {
    let mut candidates = table(load.preemptible, load.abilities.life_records).map(Candidate::new);
    for candidate in &mut candidates {
        candidate.load(ebpf, btf);
    }
    candidates
        .into_iter()
        .map(|candidate| candidate.attach(ebpf, btf, load.preemptible, version))
        .collect()
}

/// The probes that an earlier recorder attached and pinned. Their programs go on.
pub(super) fn taken_over(load: &Load<'_>, version: &Version) -> Result<Vec<Attached>, PinError> {
    let mut probes = Vec::new();
    for row in table(load.preemptible, load.abilities.life_records) {
        let mut attached = Attached {
            probe: Probe {
                name: row.tracepoint.into(),
                attach: "off".into(),
                reason: format!(
                    "{} will be missing: an earlier agent could not observe them",
                    row.tells
                ),
            },
            program: None,
        };
        if version.has_link(row.tracepoint) {
            for &(attach, name) in row.programs {
                if let Some(program) = version.program(name)? {
                    attached.probe.attach = attach.name().into();
                    attached.probe.reason =
                        "an earlier agent chose it, and it has gone on since".into();
                    attached.program = Some(program);
                    break;
                }
            }
        }
        probes.push(attached);
    }
    Ok(probes)
}

/// A probe as it was attached.
pub(super) struct Attached {
    /// For people and the capture.
    pub(super) probe: Probe,
    /// The attached program; none if the probe is off.
    pub(super) program: Option<OwnedFd>,
}

/// A probe that is not attached yet.
struct Candidate {
    row: Row,
    /// The probe's programs that the kernel has not refused, best first.
    left: &'static [(Attach, &'static str)],
    refused: Vec<String>,
}

impl Candidate {
    fn new(row: Row) -> Self {
        Self {
            left: row.programs,
            row,
            refused: Vec::new(),
        }
    }

    /// Loads the best of the remaining programs.
    fn load(&mut self, ebpf: &mut Ebpf, btf: &Btf) {
        while let Some(&(attach, name)) = self.left.first() {
            match load(ebpf, btf, self.row.tracepoint, attach, name) {
                Ok(()) => return,
                Err(error) => self.refuse(attach, &error),
            }
        }
    }

    fn refuse(&mut self, attach: Attach, error: &str) {
        self.refused.push(format!("{}: {error}", attach.name()));
        self.left = &self.left[1..];
    }

    /// Attaches the loaded program, or else the next one that the kernel accepts.
    fn attach(
        mut self,
        ebpf: &mut Ebpf,
        btf: &Btf,
        preemptible: bool,
        version: Option<&Version>,
    ) -> Result<Attached, StartError> {
        while let Some(&(attach, name)) = self.left.first() {
            match hook(ebpf, self.row.tracepoint, attach, name) {
                Ok(link) => {
                    let program = descriptor(ebpf, name)?;
                    if let Some(version) = version {
                        let link = link.into_pinnable(ebpf, name)?;
                        version.pin_probe(self.row.tracepoint, name, &program, link)?;
                    }
                    let probe = Probe {
                        name: self.row.tracepoint.into(),
                        attach: attach.name().into(),
                        reason: reason(attach, preemptible, &self.refused),
                    };
                    return Ok(Attached {
                        probe,
                        program: Some(program),
                    });
                }
                Err(error) => {
                    self.refuse(attach, &error);
                    self.load(ebpf, btf);
                }
            }
        }
        let reasons = self.refused.join("; ");
        let Row {
            tracepoint,
            required,
            tells,
            ..
        } = self.row;
        if required {
            return Err(ProbeError {
                tells,
                tracepoint,
                reasons,
            }
            .into());
        }
        let probe = Probe {
            name: tracepoint.into(),
            attach: "off".into(),
            reason: format!("{tells} will be missing: {reasons}"),
        };
        Ok(Attached {
            probe,
            program: None,
        })
    }
}

fn reason(attach: Attach, preemptible: bool, refused: &[String]) -> String {
    if !refused.is_empty() {
        return format!("the kernel refused {}", refused.join("; "));
    }
    match attach {
        Attach::TpBtf => "the cheapest, and nothing is lost on this kernel".into(),
        Attach::RawTp => "the only kind with this tracepoint's arguments".into(),
        Attach::PerfTp(_) if preemptible => {
            "the only kind that loses nothing on this kernel, where other programs can be preempted"
                .into()
        }
        Attach::PerfTp(_) => "the first that the kernel allows".into(),
    }
}

/// Has the kernel verify a program.
fn load(
    ebpf: &mut Ebpf,
    btf: &Btf,
    tracepoint: &str,
    attach: Attach,
    name: &str,
) -> Result<(), String> {
    let result = match (attach, program(ebpf, name)?) {
        (Attach::TpBtf, Program::BtfTracePoint(program)) => program.load(tracepoint, btf),
        (Attach::RawTp, Program::RawTracePoint(program)) => program.load(),
        (Attach::PerfTp(_), Program::TracePoint(program)) => program.load(),
        _ => return Err(other_type(name)),
    };
    result.map_err(|error| explain(&error))
}

/// The link of an attached program, which the program has.
enum Link {
    TpBtf(BtfTracePointLinkId),
    RawTp(RawTracePointLinkId),
    PerfTp(TracePointLinkId),
}

/// Attaches a program that is loaded.
fn hook(ebpf: &mut Ebpf, tracepoint: &str, attach: Attach, name: &str) -> Result<Link, String> {
    let result = match (attach, program(ebpf, name)?) {
        (Attach::TpBtf, Program::BtfTracePoint(program)) => program.attach().map(Link::TpBtf),
        (Attach::RawTp, Program::RawTracePoint(program)) => {
            program.attach(tracepoint).map(Link::RawTp)
        }
        (Attach::PerfTp(category), Program::TracePoint(program)) => {
            program.attach(category, tracepoint).map(Link::PerfTp)
        }
        _ => return Err(other_type(name)),
    };
    result.map_err(|error| explain(&error))
}

impl Link {
    /// The link as an object of its own. Links of raw tracepoints always are; those of perf tracepoints since Linux
    /// 5.15 (`BPF_LINK_TYPE_PERF_EVENT`).
    fn into_pinnable(self, ebpf: &mut Ebpf, name: &'static str) -> Result<FdLink, PinError> {
        let none = PinError::NoLink(name);
        match (self, ebpf.program_mut(name)) {
            (Self::TpBtf(id), Some(Program::BtfTracePoint(program))) => {
                program.take_link(id).map(Into::into).map_err(|_| none)
            }
            (Self::RawTp(id), Some(Program::RawTracePoint(program))) => {
                program.take_link(id).map(Into::into).map_err(|_| none)
            }
            (Self::PerfTp(id), Some(Program::TracePoint(program))) => match program.take_link(id) {
                Ok(link) => link.try_into().map_err(|_| none),
                Err(_) => Err(none),
            },
            _ => Err(none),
        }
    }
}

/// A descriptor of a loaded program.
fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, StartError> {
    let program = ebpf.program(name).and_then(|program| program.fd().ok());
    let program = program.ok_or(StartError::Object(name))?;
    let cloned = program.as_fd().try_clone_to_owned();
    cloned.map_err(StartError::Rings)
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Program, String> {
    ebpf.program_mut(name)
        .ok_or_else(|| format!("no program {name} in this build"))
}

fn other_type(name: &str) -> String {
    format!("program {name} is of another type")
}

/// The kernel's answer in one line. The verifier's log can have thousands of lines; the last one before its statistics
/// is the reason.
fn explain(error: &ProgramError) -> String {
    const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let is_reason = |line: &&str| {
                !line.trim().is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start))
            };
            match log.lines().rev().find(is_reason) {
                Some(line) => format!("{io_error} (verifier: {line})"),
                None => io_error.to_string(),
            }
        }
        other => chain(other).to_string(),
    }
}

/// Whether tracepoint programs can be preempted on this kernel: from 7.0 on.
///
/// Since then tracepoints are guarded by SRCU instead of by disabled preemption, and BTF has the type of that guard
/// (`DEFINE_LOCK_GUARD_1(srcu_fast_notrace, …)` of include/linux/srcu.h). A wrong answer does not falsify anything:
/// skipped programs are counted and reported.
pub(super) fn tracepoints_are_preemptible(kernel: &KernelBtf) -> bool {
    kernel.has_typedef("class_srcu_fast_notrace_t")
}
