//! The life cycle of processes: exec, fork, exit. These programs add no cost to system calls.

use agent_ebpf::wire::{DATA_MAX, Lane, NAME_MAX, NESTED, Ring, control, flags, life};
use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel_str},
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};

use crate::{
    cgroups::{current_ring, ring_number, ring_of, tell},
    file::File,
    kernel::{Typed, cgroup_of, current_cgroup, key_zero, namespace_pid, read},
    maps::{EXEC_SCRATCH, offset},
    remember::forget,
    ring::{Head, Open},
    threads::{self, SIGNAL_GROUP_EXIT},
};

/// `TASK_COMM_LEN`, include/linux/sched.h
pub const COMM_LEN: usize = 16;

/// A command name without its padding.
pub struct Comm {
    bytes: [u8; COMM_LEN],
    len: u64,
}

impl Comm {
    /// Of a task.
    #[inline(always)]
    pub fn of(task: u64) -> Self {
        let bytes: [u8; COMM_LEN] = read(task + u64::from(offset!(task_comm)));
        let mut len = 0;
        while len < COMM_LEN as u64 - 1 {
            if bytes[len as usize] == 0 {
                break;
            }
            len += 1;
        }
        Self { bytes, len }
    }

    /// Writes a record that has it as its name.
    #[inline(always)]
    pub fn begin(&self, ring: *mut Ring, head: &Head, data_len: u64) -> Open {
        let open = Open::begin(ring, Lane::Life as u64, head, self.len, data_len);
        open.name_from_kernel((&raw const self.bytes) as u64);
        open
    }
}

/// (task, old pid, linux_binprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let Some((number, ring)) = current_ring() else {
        return 0;
    };
    let binprm: u64 = ctx.arg(2);
    let filename = read(binprm + u64::from(offset!(binprm_filename)));
    executed(number, ring, ctx.arg(0), ctx.arg(1), filename);
    0
}

/// The perf tracepoint sched:sched_process_exec. Those of this category run with preemption disabled on every kernel.
#[tracepoint]
pub fn sched_process_exec_perf(ctx: TracePointContext) -> u32 {
    let Some((number, ring)) = current_ring() else {
        return 0;
    };
    let record = ctx.as_ptr() as u64;
    // `__data_loc`: the lower half is the string's offset in the record.
    let location: u32 = read(record + u64::from(offset!(exec_record_filename)));
    let old_pid = read(record + u64::from(offset!(exec_record_old_pid)));
    executed(
        number,
        ring,
        current_task(),
        old_pid,
        record + u64::from(location & 0xffff),
    );
    0
}

#[inline(always)]
fn current_task() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_task() }
}

/// The current task has executed a program; `filename` is in kernel memory.
#[inline(always)]
fn executed(number: u32, ring: *mut Ring, task: u64, old_pid: i32, filename: u64) {
    forget(ring);
    exec(ring, task, old_pid, filename);
    stdio(ring, starts_container(task, number, ring));
}

/// Whether a process that executes a program is its container's first: pid 1 of its namespace, and started from outside, as
/// container runtimes do. A pid namespace made inside a container has a pid 1 too.
#[inline(always)]
fn starts_container(task: u64, number: u32, ring: *mut Ring) -> bool {
    // SAFETY: the verifier checks the accesses here and below.
    if unsafe { (*ring).init } != 0 || namespace_pid(task) != 1 {
        return false;
    }
    let parent: u64 = read(task + u64::from(offset!(task_real_parent)));
    if ring_number(cgroup_of(parent)).is_some_and(|other| other & !NESTED == number) {
        return false;
    }
    let tgid: u32 = read(task + u64::from(offset!(task_tgid)));
    unsafe { (*ring).init = tgid.into() };
    true
}

#[inline(always)]
fn exec(ring: *mut Ring, task: u64, old_pid: i32, filename: u64) {
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(key_zero()) else {
        return;
    };
    // SAFETY: the verifier checks destination and length.
    let (source, length) = unsafe {
        let name = (&raw mut (*scratch).name).cast::<u8>();
        (
            name as u64,
            bpf_probe_read_kernel_str(name.cast(), NAME_MAX as u32, filename as *const _),
        )
    };
    let name_len = if length > 0 {
        (length as u64 - 1) & (NAME_MAX as u64 - 1)
    } else {
        0
    };

    let mm: u64 = read(task + u64::from(offset!(task_mm)));
    let start: u64 = read(mm + u64::from(offset!(mm_arg_start)));
    let end: u64 = read(mm + u64::from(offset!(mm_arg_end)));
    let arguments = end.wrapping_sub(start);

    let mut head = Head::current(life::EXEC);
    head.ret = old_pid.into();
    head.arg0 = namespace_pid(task) as i32;
    head.arg1 = current_cgroup();
    let kept = if arguments > DATA_MAX as u64 {
        head.flags |= flags::TRUNCATED;
        DATA_MAX as u64
    } else {
        arguments
    };
    if length as usize == NAME_MAX {
        head.flags |= flags::NAME_TRUNCATED;
    }
    let open = Open::begin(ring, Lane::Life as u64, &head, name_len, kept);
    open.name_from_kernel(source);
    if kept > 0 {
        open.data_from_user(0, start, kept);
    }
    open.commit();
}

/// Notes what descriptors 0 to 2 are: container runtimes give pipes that no open in the container explains.
#[inline(always)]
fn stdio(ring: *mut Ring, first: bool) {
    let task = Typed::current();
    let mut kinds = [0u64; 6];
    let mut descriptor = 0;
    while descriptor < 3 {
        if let Some(file) = File::of(task, descriptor) {
            let inode = file.inode();
            kinds[descriptor as usize * 2] = inode.number();
            kinds[descriptor as usize * 2 + 1] = u64::from(inode.mode());
        }
        descriptor += 1;
    }
    // The container's own streams are those of its first program; hooks of the runtime may come before it.
    // SAFETY: the verifier checks the accesses; a race between two first execs is settled by either.
    unsafe {
        if first || ((*ring).stdout == 0 && (*ring).stderr == 0) {
            (*ring).stdout = kinds[2];
            (*ring).stderr = kinds[4];
        }
    }
    let head = Head::current(life::STDIO);
    let open = Open::begin(ring, Lane::Life as u64, &head, 0, 48);
    open.data_from_kernel((&raw const kinds) as u64, 48);
    open.commit();
}

/// (parent, child): of processes, not of threads; in the ring of the child, which clone3 may have put elsewhere.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    forked(ctx.arg(0), ctx.arg(1));
    0
}

/// The perf tracepoint sched:sched_process_fork, which tells the child's pid and not its task.
#[tracepoint]
pub fn sched_process_fork_perf(ctx: TracePointContext) -> u32 {
    let pid: u32 = read(ctx.as_ptr() as u64 + u64::from(offset!(fork_record_child_pid)));
    let parent = current_task();
    // CLONE_PARENT makes a sibling. A thread is nobody's child.
    if let Some(child) = newest_child(parent, pid)
        .or_else(|| newest_child(read(parent + u64::from(offset!(task_real_parent))), pid))
    {
        forked(parent, child);
    }
    0
}

/// The child with this pid, which is the last of its parent's children, or nearly so: it does not run yet, but others may have come.
#[inline(always)]
fn newest_child(parent: u64, pid: u32) -> Option<u64> {
    const LOOKED_AT: u32 = 8;
    let head = parent + u64::from(offset!(task_children));
    // struct list_head { struct list_head *next, *prev; }
    let mut link: u64 = read(head + 8);
    let mut looked_at = 0;
    while looked_at < LOOKED_AT {
        if link == head || link == 0 {
            return None;
        }
        let task = link - u64::from(offset!(task_sibling));
        if read::<u32>(task + u64::from(offset!(task_pid))) == pid {
            return Some(task);
        }
        link = read(link + 8);
        looked_at += 1;
    }
    None
}

#[inline(always)]
fn forked(parent: u64, child: u64) {
    let tgid: u32 = read(child + u64::from(offset!(task_tgid)));
    let pid: u32 = read(child + u64::from(offset!(task_pid)));
    if tgid != pid {
        return;
    }
    let Some(ring) = ring_of(cgroup_of(child)) else {
        return;
    };
    let mut head = Head::current(life::FORK);
    head.ret = i64::from(tgid);
    head.arg0 = namespace_pid(child) as i32;
    Comm::of(parent).begin(ring, &head, 0).commit();
}

/// (task, …): when the last thread of a process ends.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    exited(ctx.arg(0));
    0
}

/// The perf tracepoint sched:sched_process_exit.
#[tracepoint]
pub fn sched_process_exit_perf(_: TracePointContext) -> u32 {
    exited(current_task());
    0
}

/// The current task ends.
#[inline(always)]
fn exited(task: u64) {
    let Some((number, ring)) = current_ring() else {
        return;
    };
    forget(ring);
    let signal: u64 = read(task + u64::from(offset!(task_signal)));
    if read::<i32>(signal + u64::from(offset!(signal_live))) > 0 {
        return;
    }
    let leader: u64 = read(task + u64::from(offset!(task_group_leader)));
    let status: i32 =
        if read::<u32>(signal + u64::from(offset!(signal_flags))) & SIGNAL_GROUP_EXIT != 0 {
            read(signal + u64::from(offset!(signal_group_exit_code)))
        } else {
            read(leader + u64::from(offset!(task_exit_code)))
        };
    let mut head = Head::current(life::EXIT);
    head.ret = status.into();
    head.arg0 = namespace_pid(leader) as i32;
    Comm::of(leader).begin(ring, &head, 0).commit();
    let tgid = head.pid_tgid >> 32;
    threads::ended(ring, tgid as u32);
    // SAFETY: the verifier checks the accesses. The cgroup is the container's own, where this one is inside it.
    let (init, cgroup) = unsafe { ((*ring).init, (*ring).cgroup) };
    if init == tgid {
        tell(
            control::INIT_EXIT,
            number,
            cgroup,
            tgid | (status as u64) << 32,
        );
    }
}
