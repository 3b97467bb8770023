//! Lives of processes: exec, fork, exit. These programs cost nothing per system call.

use agent_ebpf::wire::{DATA_MAX, Lane, NAME_MAX, NESTED, Ring, control, flags, life};
use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    cgroups::{current_ring, ring_number, ring_of, tell},
    file::File,
    kernel::{Typed, cgroup_of, current_cgroup, key_zero, namespace_pid, read},
    maps::{EXEC_SCRATCH, offset},
    remember::forget,
    ring::{Head, Open},
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
    let task: u64 = ctx.arg(0);
    forget(ring);
    exec(&ctx, ring, task);
    stdio(ring, starts_container(task, number, ring));
    0
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
fn exec(ctx: &RawTracePointContext, ring: *mut Ring, task: u64) {
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(key_zero()) else {
        return;
    };
    let binprm: u64 = ctx.arg(2);
    let filename: u64 = read(binprm + u64::from(offset!(binprm_filename)));
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
    head.ret = ctx.arg::<i32>(1).into();
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
    let child: u64 = ctx.arg(1);
    let tgid: u32 = read(child + u64::from(offset!(task_tgid)));
    let pid: u32 = read(child + u64::from(offset!(task_pid)));
    if tgid != pid {
        return 0;
    }
    let Some(ring) = ring_of(cgroup_of(child)) else {
        return 0;
    };
    let mut head = Head::current(life::FORK);
    head.ret = i64::from(tgid);
    head.arg0 = namespace_pid(child) as i32;
    Comm::of(ctx.arg(0)).begin(ring, &head, 0).commit();
    0
}

/// (task, …): when the last thread of a process ends.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    /// include/linux/sched/signal.h
    const SIGNAL_GROUP_EXIT: u32 = 4;
    let Some((number, ring)) = current_ring() else {
        return 0;
    };
    forget(ring);
    let task: u64 = ctx.arg(0);
    let signal: u64 = read(task + u64::from(offset!(task_signal)));
    if read::<i32>(signal + u64::from(offset!(signal_live))) > 0 {
        return 0;
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
    0
}
