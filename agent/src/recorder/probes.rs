//! The table of probes: what each observes, and how it can be attached, best first.

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};
use capture_format::Probe;

use super::btf::Btf as KernelBtf;

/// A way to attach a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attach {
    /// BPF_TRACE_RAW_TP: arguments are typed, so the program reads them without helper calls.
    TpBtf,
    /// Raw tracepoint.
    RawTp,
    /// Perf tracepoint of this category: slower, but always runs with preemption disabled.
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

/// One thing to observe.
struct Row {
    tracepoint: &'static str,
    /// Without it there is no recording.
    required: bool,
    /// What is missing without it.
    tells: &'static str,
    /// Programs that observe it, best first.
    programs: &'static [(Attach, &'static str)],
}

const SYS_EXIT: &[(Attach, &str)] = &[
    (Attach::TpBtf, "sys_exit_btf"),
    (Attach::RawTp, "sys_exit_raw"),
    (Attach::PerfTp("raw_syscalls"), "sys_exit_perf"),
];

/// Where tracepoint programs can be preempted, the kernel skips one that is already running on the CPU: only the perf
/// tracepoint loses nothing there.
const SYS_EXIT_PREEMPTIBLE: &[(Attach, &str)] = &[
    (Attach::PerfTp("raw_syscalls"), "sys_exit_perf"),
    (Attach::TpBtf, "sys_exit_btf"),
    (Attach::RawTp, "sys_exit_raw"),
];

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

fn table(preemptible: bool) -> [Row; 9] {
    [
        // Containers are recognised first, so that nothing of them is missed.
        raw!("cgroup_rmdir", true, "removed containers"),
        raw!("cgroup_mkdir", true, "new containers"),
        raw!("sched_process_exec", true, "executed programs"),
        raw!("sched_process_fork", true, "new processes"),
        raw!("sched_process_exit", true, "exit codes"),
        raw!("signal_generate", false, "who sent a signal"),
        raw!("signal_deliver", false, "signals taken"),
        raw!("mark_victim", false, "OOM kills"),
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
    ]
}

/// A probe that had to be attached and could not be.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused to observe {tells} ({tracepoint}): {reasons}")]
pub struct ProbeError {
    tells: &'static str,
    tracepoint: &'static str,
    reasons: String,
}

/// Attaches every probe in the best way that the kernel allows.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    preemptible: bool,
) -> Result<Vec<Attached>, ProbeError> {
    table(preemptible)
        .iter()
        .map(|row| attach_one(ebpf, btf, row, preemptible))
        .collect()
}

/// A probe as it was attached.
pub(super) struct Attached {
    /// For people and the capture.
    pub(super) probe: Probe,
    /// Name of the attached program; none if the probe is off.
    pub(super) program: Option<&'static str>,
}

fn attach_one(
    ebpf: &mut Ebpf,
    btf: &Btf,
    row: &Row,
    preemptible: bool,
) -> Result<Attached, ProbeError> {
    let mut refused = Vec::new();
    for (attach, name) in row.programs {
        match try_attach(ebpf, btf, row.tracepoint, *attach, name) {
            Ok(()) => {
                let reason = reason(*attach, preemptible, &refused);
                let probe = Probe {
                    name: row.tracepoint.into(),
                    attach: attach.name().into(),
                    reason,
                };
                return Ok(Attached {
                    probe,
                    program: Some(name),
                });
            }
            Err(error) => refused.push(format!("{}: {error}", attach.name())),
        }
    }
    let reasons = refused.join("; ");
    if row.required {
        return Err(ProbeError {
            tells: row.tells,
            tracepoint: row.tracepoint,
            reasons,
        });
    }
    let reason = format!("{} will be missing: {reasons}", row.tells);
    let probe = Probe {
        name: row.tracepoint.into(),
        attach: "off".into(),
        reason,
    };
    Ok(Attached {
        probe,
        program: None,
    })
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

fn try_attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    tracepoint: &str,
    attach: Attach,
    name: &str,
) -> Result<(), String> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("no program {name} in this build"))?;
    let result = match (attach, program) {
        (Attach::TpBtf, Program::BtfTracePoint(program)) => program
            .load(tracepoint, btf)
            .and_then(|()| program.attach().map(drop)),
        (Attach::RawTp, Program::RawTracePoint(program)) => program
            .load()
            .and_then(|()| program.attach(tracepoint).map(drop)),
        (Attach::PerfTp(category), Program::TracePoint(program)) => program
            .load()
            .and_then(|()| program.attach(category, tracepoint).map(drop)),
        _ => return Err(format!("program {name} is of another type")),
    };
    result.map_err(|error| explain(&error))
}

/// The kernel's answer in one line; the verifier's log can have thousands, of which the last but its statistics is the reason.
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
        other => std::iter::successors(Some(other as &dyn std::error::Error), |error| {
            error.source()
        })
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": "),
    }
}

/// Whether tracepoint programs can be preempted on this kernel: from 7.0 on.
///
/// Since then a tracepoint is guarded by SRCU instead of by disabled preemption, and BTF has that guard's type
/// (`DEFINE_LOCK_GUARD_1(srcu_fast_notrace, …)` of include/linux/srcu.h). A wrong answer costs no truth: misses are
/// counted and reported.
pub(super) fn tracepoints_are_preemptible(kernel: &KernelBtf) -> bool {
    kernel.has_typedef("class_srcu_fast_notrace_t")
}
