//! Lives of processes: exec, fork, exit. These programs cost nothing per system call.

use agent_ebpf::wire::{DATA_MAX, Lane, NAME_MAX, Ring, control, flags, life};
use aya_ebpf::{
    helpers::generated::{bpf_get_current_cgroup_id, bpf_probe_read_kernel_str},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    cgroups::{current_ring, ring_of, tell},
    file::File,
    kernel::{Typed, cgroup_of, key_zero, namespace_pid, read},
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
    let Some((_, ring)) = current_ring() else {
        return 0;
    };
    let task: u64 = ctx.arg(0);
    forget(ring);
    exec(&ctx, ring, task);
    stdio(ring);
    0
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
    // SAFETY: no preconditions.
    head.arg1 = unsafe { bpf_get_current_cgroup_id() };
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
fn stdio(ring: *mut Ring) {
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
    // The container's own streams are those of its first program.
    // SAFETY: the verifier checks the accesses; a race between two first execs is settled by either.
    unsafe {
        if (*ring).stdout == 0 && (*ring).stderr == 0 {
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
    // SAFETY: no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let Some(ring) = ring_of(cgroup) else {
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
    let pid = namespace_pid(leader);
    let mut head = Head::current(life::EXIT);
    head.ret = status.into();
    head.arg0 = pid as i32;
    Comm::of(leader).begin(ring, &head, 0).commit();
    if pid == 1 {
        tell(
            control::INIT_EXIT,
            0,
            cgroup,
            head.pid_tgid >> 32 | (status as u64) << 32,
        );
    }
    0
}
