//! What threads are doing when a signal comes that ends their process or asks it to end: a call that is interrupted is
//! never recorded otherwise, because calls are recorded when they have ended.
//!
//! The registers that a thread had in user code lie at the top of its kernel stack, with the number and the arguments of
//! the call that it is in.

use agent_ebpf::wire::{
    Interrupted, Lane, NOTED, Noted, Ring, THREADS_MOST, features, flags, interrupted, life,
};
use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_task_pt_regs,
};

use crate::{
    arch,
    cgroups::ring,
    file::{File, file_type},
    kernel::{has, key_zero, opaque, pid_tgid_of, read},
    maps::{THREAD_SCRATCH, offset},
    ring::{Head, Open},
    socket::Socket,
};

/// include/linux/sched/signal.h
pub const SIGNAL_GROUP_EXIT: u32 = 4;
/// The threads of one process are noted at most once in this time: 1 s, in nanoseconds.
const AT_MOST_EVERY: u64 = 1_000_000_000;

/// Whether a signal is one that asks a process to end: SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM
/// (include/uapi/asm-generic/signal.h).
#[inline(always)]
fn asks_to_end(signal: u64) -> bool {
    matches!(signal, 1 | 2 | 3 | 6 | 15)
}

#[inline(always)]
fn noted(ring: *mut Ring, process: u32) -> *mut Noted {
    // SAFETY: in bounds; the verifier checks the access.
    unsafe { &raw mut (*ring).noted[(opaque(process.into()) & (NOTED as u64 - 1)) as usize] }
}

/// A process has ended: another one may get its id.
#[inline(always)]
pub fn ended(ring: *mut Ring, process: u32) {
    let noted = noted(ring, process);
    // SAFETY: the verifier checks the accesses.
    unsafe {
        if (*noted).process == process {
            (*noted).process = 0;
        }
    }
}

/// A signal was sent to a process, whose `siglock` is held: none of its threads can take the signal yet.
#[inline(always)]
pub fn at_signal(number: u32, ring: *mut Ring, target: u64, signal: u64) {
    if !has(features::THREADS) {
        return;
    }
    let process: u64 = read(target + u64::from(offset!(task_signal)));
    let ends = read::<u32>(process + u64::from(offset!(signal_flags))) & SIGNAL_GROUP_EXIT != 0;
    if !ends && !asks_to_end(signal) {
        return;
    }
    let tgid: u32 = read(target + u64::from(offset!(task_tgid)));
    let noted = noted(ring, tgid);
    // SAFETY: the verifier checks the accesses; no preconditions of the helper.
    unsafe {
        let now = bpf_ktime_get_boot_ns();
        let same = (*noted).process == tgid && (!ends || (*noted).at_end != 0);
        if same && now.wrapping_sub((*noted).time) < AT_MOST_EVERY {
            return;
        }
        (*noted).process = tgid;
        (*noted).at_end = ends.into();
        (*noted).time = now;
        (*noted).left = 0;
        (*noted).dying = 0;
    }
    all_apart(number, process, signal, ends.into());
}

/// The current thread ends because its process does, and not of its own will.
#[inline(always)]
pub fn at_death(number: u32, ring: *mut Ring) {
    if !has(features::THREADS) {
        return;
    }
    // SAFETY: no preconditions.
    let thread = unsafe { bpf_get_current_task() };
    let process: u64 = read(thread + u64::from(offset!(task_signal)));
    if read::<u32>(process + u64::from(offset!(signal_flags))) & SIGNAL_GROUP_EXIT == 0 {
        // Another thread executes a program.
        return;
    }
    let pid_tgid = pid_tgid_of(thread);
    let tgid = (pid_tgid >> 32) as u32;
    let noted = noted(ring, tgid);
    // SAFETY: the verifier checks the accesses. Two threads that count at the same time count once.
    unsafe {
        if (*noted).process != tgid {
            (*noted).process = tgid;
            (*noted).at_end = 0;
            (*noted).time = 0;
            (*noted).dying = 0;
        }
        if (*noted).at_end != 0 && (*noted).left >> (pid_tgid & 63) & 1 == 0 {
            return;
        }
        if (*noted).dying >= THREADS_MOST {
            return;
        }
        (*noted).dying += 1;
    }
    // What ended the process: the exit status has the signal in its lower seven bits.
    let status: u32 = read(process + u64::from(offset!(signal_group_exit_code)));
    let threads: u32 = read(process + u64::from(offset!(signal_nr_threads)));
    one_apart(
        number,
        thread,
        registers_offset(),
        0,
        u64::from(status & 0x7f) | u64::from(threads) << 32 | OWN,
    );
}

/// Bit of the last argument of [`one_apart`]: the thread is the current one.
const OWN: u64 = 1 << 8;
/// Bit: a thread that is on a CPU records itself at its death.
const DIES: u64 = 1 << 9;

/// How far behind the start of a kernel stack the registers of user code are. It depends on how the kernel was configured,
/// and is the same for all threads.
#[inline(always)]
fn registers_offset() -> u64 {
    // SAFETY: the task is the current one. The verifier allows to subtract pointers, and makes a number of them.
    let behind_task = unsafe {
        let task = bpf_get_current_task_btf();
        opaque((bpf_task_pt_regs(task) as u64).wrapping_sub(task as u64))
    };
    let task = unsafe { bpf_get_current_task() };
    let stack: u64 = read(task + u64::from(offset!(task_stack)));
    behind_task.wrapping_add(task).wrapping_sub(stack)
}

/// Notes the threads of a process.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn all_apart(ring_number: u32, process: u64, signal: u64, ends: u64) -> u64 {
    let threads: u32 = read(process + u64::from(offset!(signal_nr_threads)));
    let rest = signal & 0x7f | u64::from(threads) << 32 | if ends != 0 { DIES } else { 0 };
    let registers = registers_offset();
    // SAFETY: no preconditions.
    let current = unsafe { bpf_get_current_task() };
    let now = if has(features::WAITED) {
        read(current + u64::from(offset!(task_last_arrival)))
    } else {
        0
    };
    let head = process + u64::from(offset!(signal_thread_head));
    // struct list_head { struct list_head *next, *prev; }
    let mut link: u64 = read(head);
    let mut looked_at = 0;
    while looked_at < THREADS_MOST {
        if link == head || link == 0 {
            break;
        }
        let thread = link - u64::from(offset!(task_thread_node));
        // Who sends a signal to itself is in the call that sends it.
        if thread != current {
            one_apart(ring_number, thread, registers, now, rest);
        }
        link = read(link);
        looked_at += 1;
    }
    0
}

/// Notes one thread. `now` is the time in the clock of `sched_info.last_arrival`, or somewhat before it; 0 if unknown.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn one_apart(
    ring_number: u32,
    thread: u64,
    registers_offset: u64,
    now: u64,
    rest: u64,
) -> u64 {
    let Some(ring) = ring(ring_number) else {
        return 0;
    };
    let registers = read::<u64>(thread + u64::from(offset!(task_stack))) + registers_offset;
    // An int on older kernels, a byte on newer ones.
    let on_cpu = read::<u8>(thread + u64::from(offset!(task_on_cpu))) != 0;
    let mut head = Head::of(pid_tgid_of(thread), life::INTERRUPTED);
    if rest & DIES != 0 && on_cpu {
        let noted = noted(ring, (head.pid_tgid >> 32) as u32);
        // SAFETY: the verifier checks the access; nobody else writes while the process's `siglock` is held.
        unsafe { (*noted).left |= 1 << (head.pid_tgid & 63) };
        return 0;
    }
    // A thread that came to its CPU after the sender to its own was woken by this signal, or never left the kernel since.
    let settled = !on_cpu || now != 0 && arrived(thread) > now;
    head.ret = if is_compat(thread) {
        interrupted::COMPAT
    } else if rest & OWN != 0 {
        arch::was_in(registers)
    } else {
        arch::is_in(registers, settled)
    };
    if head.ret == interrupted::RUNNING && on_cpu && now == 0 && rest & OWN == 0 {
        // It may have been woken by this signal.
        return 0;
    }
    head.arg2 = rest & 0x7f;
    let Some(scratch) = THREAD_SCRATCH.get_ptr_mut(key_zero()) else {
        return 0;
    };
    // SAFETY: the verifier checks the accesses. Nobody else uses the scratch memory while interrupts are off.
    let (more, address) = unsafe { (&mut (*scratch).more, &mut (*scratch).address) };
    more.args[0] = 0;
    more.args[1] = 0;
    more.args[2] = 0;
    more.args[3] = 0;
    more.args[4] = 0;
    more.args[5] = 0;
    more.threads = rest >> 32;
    more.inode = 0;
    more.own = 0;
    if head.ret < 0 {
        return finish(ring, &head, more, 0, 0);
    }
    if !on_cpu && now != 0 {
        head.arg1 = waited(thread, now);
    }
    arch::args_of(registers, &mut more.args);
    head.arg0 = more.args[0] as i32;
    let Some(file) = File::of_other(thread, head.arg0 as u32) else {
        return finish(ring, &head, more, 0, 0);
    };
    let inode = file.inode();
    head.fd_type = inode.file_type();
    more.inode = inode.number();
    if head.fd_type == file_type::SOCKET {
        let Some(socket) = Socket::from_file(file) else {
            return finish(ring, &head, more, 0, 0);
        };
        more.own = u64::from(!socket.is_connected());
        let (words, len) = socket.words(more.own == 0);
        *address = words;
        return finish(ring, &head, more, (&raw const *address) as u64, len);
    }
    let name = file.name();
    if name.kept() < name.len {
        head.flags |= flags::NAME_TRUNCATED;
    }
    finish(ring, &head, more, name.source, name.kept())
}

#[inline(always)]
fn arrived(thread: u64) -> u64 {
    read(thread + u64::from(offset!(task_last_arrival)))
}

/// For how long a thread that is not on a CPU has surely waited, in nanoseconds; 0 if that is not known.
#[inline(always)]
fn waited(thread: u64, now: u64) -> u64 {
    let arrived = arrived(thread);
    let [all, before] = [offset!(task_ran), offset!(task_ran_before)]
        .map(|offset| read::<u64>(thread + u64::from(offset)));
    let since = now.wrapping_sub(arrived);
    // What it ran since it arrived leaves out interrupts and the time of a hypervisor, so it counts twice.
    let ran = all.wrapping_sub(before);
    if arrived == 0 || now <= arrived || ran >= since / 2 {
        return 0;
    }
    since - 2 * ran
}

#[inline(always)]
fn finish(ring: *mut Ring, head: &Head, more: &Interrupted, name: u64, name_len: u64) -> u64 {
    const LENGTH: u64 = size_of::<Interrupted>() as u64;
    let open = Open::begin(ring, Lane::Life as u64, head, name_len, LENGTH);
    if name_len > 0 {
        open.name_from_kernel(name);
    }
    open.data_from_kernel((&raw const *more) as u64, LENGTH);
    open.commit();
    0
}

/// Whether a thread is in a call of the 32-bit ABI, whose numbers and arguments are others.
#[inline(always)]
fn is_compat(thread: u64) -> bool {
    has(features::COMPAT)
        && read::<u32>(thread + u64::from(arch::compat_field())) & arch::COMPAT != 0
}
