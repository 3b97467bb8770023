//! Signals: who sent them, and whether the sender is inside or outside the container.

use agent_ebpf::wire::{Lane, NESTED, life};
use aya_ebpf::{
    helpers::generated::bpf_get_current_task, macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    cgroups::{current_ring, ring_number, ring_of},
    kernel::{cgroup_of, current_cgroup, pid_tgid_of, read},
    life::Comm,
    maps::config,
    ring::{Head, Open},
    threads,
};

/// `SignalOrigin` of the capture format.
mod origin {
    pub const INSIDE: u64 = 0;
    pub const OUTSIDE: u64 = 1;
    pub const KERNEL: u64 = 2;
}

/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` of include/linux/sched/signal.h: not pointers.
const SEND_SIG_NOINFO: u64 = 0;
const SEND_SIG_PRIV: u64 = 1;
/// include/uapi/asm-generic/siginfo.h
const SI_USER: i32 = 0;
const SI_KERNEL: i32 = 0x80;
const SI_TIMER: i32 = -2;
const SI_MESGQ: i32 = -3;
const SI_SIGIO: i32 = -5;
const SI_ASYNCNL: i32 = -60;
/// include/uapi/asm-generic/signal.h
const SIGABRT: u64 = 6;
const SIGKILL: u64 = 9;
/// `SIG_IGN`, include/uapi/asm-generic/signal-defs.h
const SIG_IGN: u64 = 1;

/// Whether a signal comes of a fault, a timer, a message queue or asynchronous I/O: whoever is on the CPU then has not sent it.
#[inline(always)]
fn is_from_kernel(code: i32) -> bool {
    code > 0 || matches!(code, SI_SIGIO..=SI_TIMER | SI_ASYNCNL)
}

#[inline(always)]
fn is_wanted(signal: u64) -> bool {
    let bit = signal.wrapping_sub(1);
    bit < 64 && config!(signals) >> bit & 1 != 0
}

/// (sig, info, task, group, result): in the ring of the target.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub fn signal_generate(ctx: RawTracePointContext) -> i32 {
    /// `TRACE_SIGNAL_IGNORED`, include/trace/events/signal.h
    const IGNORED: i32 = 1;
    let signal: u64 = ctx.arg(0);
    let ignored = ctx.arg::<i32>(4) == IGNORED;
    // abort(3) goes on to a fault where SIGABRT is ignored, as it is for the first process of a pid namespace.
    if !is_wanted(signal) || ignored && signal != SIGABRT {
        return 0;
    }
    let target: u64 = ctx.arg(2);
    let Some(target_ring) = ring_number(cgroup_of(target)) else {
        return 0;
    };
    let info: u64 = ctx.arg(1);
    let code = match info {
        SEND_SIG_NOINFO => SI_USER,
        SEND_SIG_PRIV => SI_KERNEL,
        // struct kernel_siginfo { int si_signo; int si_errno; int si_code; … }
        _ => read(info + 8),
    };
    let mut head = Head::current(life::SIGNAL_GENERATE);
    let sender = head.pid_tgid >> 32;
    head.pid_tgid = pid_tgid_of(target);
    head.ret = signal as i64;
    head.arg0 = code;
    // si_addr of a fault; of other signals the union holds something else.
    let mut address = 0u64;
    let mut data_len = 0;
    let of_kernel = is_from_kernel(code);
    if of_kernel {
        head.arg2 = origin::KERNEL;
        if code > 0
            && code != SI_KERNEL
            && info > SEND_SIG_PRIV
            && matches!(signal, 4 | 5 | 7 | 8 | 11)
        {
            address = read(info + 16);
            data_len = 8;
        }
    } else {
        head.arg1 = sender;
        let own = ring_number(current_cgroup());
        let same = matches!(own, Some(own) if own & !NESTED == target_ring & !NESTED);
        head.arg2 = if same {
            origin::INSIDE
        } else {
            origin::OUTSIDE
        };
    }
    let Some(ring) = ring_of(cgroup_of(target)) else {
        return 0;
    };
    let open = if of_kernel && sender != head.pid_tgid >> 32 {
        Open::begin(ring, Lane::Life as u64, &head, 0, data_len)
    } else {
        // SAFETY: no preconditions.
        Comm::of(unsafe { bpf_get_current_task() }).begin(ring, &head, data_len)
    };
    if data_len > 0 {
        open.data_from_kernel((&raw const address) as u64, data_len);
    }
    open.commit();
    if ignored {
        head.kind = life::SIGNAL_DELIVER;
        head.arg2 = SIG_IGN;
        Open::begin(ring, Lane::Life as u64, &head, 0, 0).commit();
    } else {
        threads::at_signal(target_ring & !NESTED, ring, target, signal);
    }
    0
}

/// (sig, info, action): the current task takes a signal.
#[raw_tracepoint(tracepoint = "signal_deliver")]
pub fn signal_deliver(ctx: RawTracePointContext) -> i32 {
    let signal: u64 = ctx.arg(0);
    if !is_wanted(signal) {
        return 0;
    }
    let Some((number, ring)) = current_ring() else {
        return 0;
    };
    let info: u64 = ctx.arg(1);
    let mut head = Head::current(life::SIGNAL_DELIVER);
    head.ret = signal as i64;
    if info > SEND_SIG_PRIV {
        head.arg0 = read(info + 8);
        // Of a timer or a descriptor the union holds something else than si_pid.
        if head.arg0 == SI_MESGQ || !is_from_kernel(head.arg0) {
            head.arg1 = read::<u32>(info + 16).into();
        }
    }
    // struct k_sigaction starts with sa_handler: SIG_DFL 0, SIG_IGN 1, else the handler.
    let handler: u64 = read(ctx.arg::<u64>(2));
    head.arg2 = if handler > 2 { 2 } else { handler };
    // SAFETY: no preconditions.
    Comm::of(unsafe { bpf_get_current_task() })
        .begin(ring, &head, 0)
        .commit();
    if signal == SIGKILL && info == SEND_SIG_NOINFO {
        threads::at_death(number, ring);
    }
    0
}
