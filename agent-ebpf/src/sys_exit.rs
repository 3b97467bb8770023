//! System calls: one program that runs at the end of every call. It exists in three forms, of which one is attached.

mod message;
mod network;
mod path;
mod transfer;

use agent_ebpf::wire::{Lane, Op, Ring, SYSCALLS, features};
use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};

use crate::{
    arch::{self, Registers},
    cgroups::{current_ring, ring},
    kernel::{Typed, has, opaque},
    maps::OPS,
    remember::forget,
    ring::{Head, Open},
};

/// `tp_btf/sys_exit`: (regs, ret).
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_btf(ctx: BtfTracePointContext) -> i32 {
    let registers: Registers = ctx.arg(0);
    ended(arch::number(registers), ctx.arg(1), || registers);
    0
}

/// `raw_tp/sys_exit`: the same arguments, but `regs` is not typed.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit_raw(ctx: RawTracePointContext) -> i32 {
    let registers = current_registers();
    ended(arch::number(registers), ctx.arg(1), || registers);
    0
}

/// The perf tracepoint raw_syscalls:sys_exit, which runs with preemption disabled on every kernel.
#[tracepoint]
pub fn sys_exit_perf(ctx: TracePointContext) -> u32 {
    let record_start: *const u64 = ctx.as_ptr().cast_const().cast();
    // SAFETY: /sys/kernel/tracing/events/raw_syscalls/sys_exit/format: id at 8, ret at 16.
    let (number, ret) = unsafe { (*record_start.add(1), *record_start.add(2) as i64) };
    ended(number, ret, current_registers);
    0
}

/// A call has ended; its registers are looked for only if they are needed.
#[inline(always)]
fn ended(number: u64, ret: i64, registers: impl FnOnce() -> Registers) {
    if let Some(op) = wanted(number, ret) {
        record(op, number, ret, registers);
    } else if is_compat(Typed::current())
        && let Some((_, ring)) = current_ring()
    {
        count_compat(ring);
    }
}

#[inline(always)]
fn current_registers() -> Registers {
    // SAFETY: the task is the current one.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as Registers }
}

/// What to do with the call, or nothing: the cheapest questions first.
#[inline(always)]
fn wanted(number: u64, ret: i64) -> Option<u8> {
    if number >= SYSCALLS as u64 {
        return None;
    }
    let index = (opaque(number) & (SYSCALLS as u64 - 1)) as usize;
    // SAFETY: in bounds; volatile, since the loader sets the table.
    let op = unsafe { core::ptr::read_volatile((&raw const OPS).cast::<u8>().add(index)) };
    if op == Op::None as u8 || (op >= Op::Execve as u8 && ret >= 0) {
        return None;
    }
    Some(op)
}

/// A system call of a recorded container.
pub struct Call {
    pub ring_number: u32,
    pub ring: *mut Ring,
    pub task: Typed,
    /// Process id in the upper half, thread id in the lower.
    pub pid_tgid: u64,
    pub registers: Registers,
    pub number: u16,
    pub ret: i64,
}

impl Call {
    #[inline(always)]
    pub fn arg<const N: usize>(&self) -> u64 {
        arch::arg::<N>(self.registers)
    }

    /// The record's fixed part with argument 0 as a descriptor.
    #[inline(always)]
    pub fn head(&self) -> Head {
        let mut head = Head::of(self.pid_tgid, self.number);
        head.ret = self.ret;
        head.arg0 = self.arg::<0>() as i32;
        head
    }

    #[inline(always)]
    pub fn failed(&self) -> bool {
        self.ret < 0
    }

    /// Whether a transfer failed in a way that is everyday life: it was interrupted, or would have had to wait.
    #[inline(always)]
    pub fn only_waits(&self) -> bool {
        const EINTR: i64 = -4;
        const EAGAIN: i64 = -11;
        const EINPROGRESS: i64 = -115;
        self.ret == EAGAIN || self.ret == EINTR || self.ret == EINPROGRESS || self.was_interrupted()
    }

    /// Whether the kernel takes it up again after a signal, or its handler.
    #[inline(always)]
    fn was_interrupted(&self) -> bool {
        /// include/linux/errno.h
        const ERESTART: core::ops::RangeInclusive<i64> = -516..=-512;
        ERESTART.contains(&self.ret)
    }

    /// The lane of a call that is precious when it failed.
    #[inline(always)]
    pub fn lane(&self, good: Lane) -> Lane {
        if self.failed() { Lane::Failures } else { good }
    }

    /// A record of plain arguments.
    #[inline(always)]
    fn plain(&self, lane: Lane, arg1: u64, arg2: u64) {
        let mut head = self.head();
        head.arg1 = arg1;
        head.arg2 = arg2;
        Open::begin(self.ring, lane as u64, &head, 0, 0).commit();
    }
}

#[inline(always)]
fn record(op: u8, number: u64, ret: i64, registers: impl FnOnce() -> Registers) {
    let Some((ring_number, ring)) = current_ring() else {
        return;
    };
    let task = Typed::current();
    // The number means another call then. Asked only now, as most processes of a node are not recorded.
    if is_compat(task) {
        return count_compat(ring);
    }
    let call = Call {
        ring_number,
        ring,
        task,
        pid_tgid: pid_tgid(),
        registers: registers(),
        number: number as u16,
        ret,
    };
    match op {
        op if op == Op::Read as u8 => transfer::read(&call),
        op if op == Op::Readv as u8 => _ = readv_apart(ring_number, number, ret),
        op if op == Op::Write as u8 => transfer::write(&call),
        op if op == Op::Writev as u8 => _ = writev_apart(ring_number, number, ret),
        op if op == Op::Open as u8 => path::open(&call),
        op if op == Op::Openat as u8 => path::openat(&call),
        op if op == Op::Openat2 as u8 => path::openat2(&call),
        op if op == Op::Creat as u8 => path::creat(&call),
        op if op == Op::Args as u8 => {
            // close, dup2, dup3, close_range and socket are among them.
            forget(ring);
            call.plain(call.lane(Lane::Files), call.arg::<1>(), call.arg::<2>())
        }
        op if op == Op::Path as u8 => path::path(&call),
        op if op == Op::Fcntl as u8 => fcntl(&call),
        op if op == Op::Pipe as u8 => pipe(&call),
        op if op == Op::Sockaddr as u8 => network::sockaddr(&call),
        op if op == Op::Listen as u8 => network::listen(&call),
        op if op == Op::Accept as u8 => network::accept(&call),
        op if op == Op::Getsockopt as u8 => network::getsockopt(&call),
        op if op == Op::Sendto as u8 => message::sendto(&call),
        op if op == Op::Recvfrom as u8 => message::recvfrom(&call),
        op if op == Op::Sendmsg as u8 || op == Op::Recvmsg as u8 => {
            _ = message_apart(ring_number, number, ret)
        }
        op if op == Op::Sendmmsg as u8 || op == Op::Recvmmsg as u8 => several(&call, ring_number),
        // EAGAIN of these is a limit that was reached, not an invitation to wait.
        _ if call.was_interrupted() => {}
        op if op == Op::Execve as u8 => _ = execve_apart(ring_number, number, ret),
        op if op == Op::Execveat as u8 => _ = execveat_apart(ring_number, number, ret),
        op if op == Op::FailedArgs as u8 => {
            call.plain(Lane::Failures, call.arg::<1>(), call.arg::<2>())
        }
        op if op == Op::FailedPath as u8 => path::path(&call),
        op if op == Op::FailedPathat as u8 => path::pathat(&call),
        op if op == Op::FailedTwoPaths as u8 => path::two_paths(&call),
        op if op == Op::FailedTwoPathsat as u8 => path::two_pathsat(&call),
        op if op == Op::FailedSymlinkat as u8 => path::symlinkat(&call),
        op if op == Op::Mmap as u8 => mmap(&call),
        _ => {}
    }
}

/// Functions that the verifier checks on their own: they loop, and inlined into the programs they would be checked once for
/// every way that leads to them. Only numbers can be passed, so they find the ring, the task and the registers again.
macro_rules! apart {
    ($($name:ident = $handler:path;)+) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub extern "C" fn $name(ring_number: u32, number: u64, ret: i64) -> u64 {
                if let Some(ring) = ring(ring_number) {
                    $handler(&Call { ring_number, ring, task: Typed::current(), pid_tgid: pid_tgid(), registers: current_registers(), number: number as u16, ret });
                }
                0
            }
        )+
    };
}

apart! {
    readv_apart = transfer::readv;
    writev_apart = transfer::writev;
    message_apart = message::one;
    execve_apart = path::execve;
    execveat_apart = path::execveat;
}

/// One of several messages.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn part_apart(ring_number: u32, number: u64, ret: i64, index: u64) -> u64 {
    if let Some(ring) = ring(ring_number) {
        message::part(
            &Call {
                ring_number,
                ring,
                task: Typed::current(),
                pid_tgid: pid_tgid(),
                registers: current_registers(),
                number: number as u16,
                ret,
            },
            index,
        );
    }
    0
}

/// One record a message: glibc asks for A and AAAA in one sendmmsg.
#[inline(always)]
fn several(call: &Call, ring_number: u32) {
    /// Messages of one call that are recorded.
    const MESSAGES: u64 = 4;
    if call.failed() {
        message_apart(ring_number, call.number.into(), call.ret);
        return;
    }
    let mut index = 0;
    while index < MESSAGES {
        if index >= call.ret as u64 {
            break;
        }
        part_apart(ring_number, call.number.into(), call.ret, index);
        index += 1;
    }
}

/// Counts a call in the 32-bit ABI.
#[inline(always)]
fn count_compat(ring: *mut Ring) {
    use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};
    // SAFETY: the verifier checks the access.
    unsafe { atomic_xadd::<u64, u64, { Relaxed }>(&raw mut (*ring).compat, 1) };
}

/// Whether the current call is one in the 32-bit ABI, whose numbers and arguments are others.
#[inline(always)]
fn is_compat(task: Typed) -> bool {
    has(features::COMPAT) && task.field::<u32>(arch::compat_field()) & arch::COMPAT != 0
}

#[inline(always)]
fn pid_tgid() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_pid_tgid() }
}

#[inline(always)]
fn fcntl(call: &Call) {
    const F_DUPFD: u64 = 0;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    const F_SETLK: u64 = 6;
    const F_OFD_SETLK: u64 = 37;
    let command = call.arg::<1>();
    if call.failed() && (command == F_SETLK || command == F_OFD_SETLK) {
        call.plain(Lane::Failures, command, 0);
    }
    if command == F_DUPFD || command == F_DUPFD_CLOEXEC {
        forget(call.ring);
        call.plain(call.lane(Lane::Files), command, call.arg::<2>());
    }
}

#[inline(always)]
fn pipe(call: &Call) {
    forget(call.ring);
    let ends: [u32; 2] = crate::kernel::read_user(call.arg::<0>());
    let mut head = call.head();
    head.arg0 = ends[0] as i32;
    head.arg1 = u64::from(ends[1]);
    head.arg2 = call.arg::<1>();
    Open::begin(call.ring, call.lane(Lane::Files) as u64, &head, 0, 0).commit();
}

#[inline(always)]
fn mmap(call: &Call) {
    let mut head = call.head();
    // The length of what cannot be mapped may need more than the 32 bits of argument 0.
    head.arg0 = call.arg::<2>() as i32;
    head.arg1 = call.arg::<1>();
    head.arg2 = call.arg::<3>();
    Open::begin(call.ring, Lane::Failures as u64, &head, 0, 0).commit();
}
