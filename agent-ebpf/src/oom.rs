//! The OOM killer: which process it chose, and which memory limit was reached.

use agent_ebpf::wire::{Lane, NESTED, features, life, ran_out};
use aya_ebpf::{
    helpers::generated::bpf_get_current_task, macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    cgroups::{current_ring, is_observed, ring_number, ring_of},
    kernel::{cgroup_of, has, pid_tgid_of, read},
    life::Comm,
    maps::{config, offset},
    ring::{Head, Open},
};

/// Ancestors looked at: Kubernetes has five with systemd's slices.
const LEVELS: u32 = 8;
/// Where `mem_cgroup.memory_events_local` counts how often the cgroup ran out: `MEMCG_OOM` of `enum memcg_memory_event`
/// (include/linux/memcontrol.h), at 8 bytes each. It is counted before the victim is chosen.
const RAN_OUT: u64 = 3 * 8;
/// Pages by which a cgroup that ran out may lie below its limit, at least: others give memory back meanwhile.
const SLACK: u64 = 256;
/// The same as a part of the limit: a sixteenth.
const SLACK_SHIFT: u64 = 4;
/// More pages than any machine has: the cgroup has never run out.
const NEVER: u64 = 1 << 62;
/// As many: the cgroup has run out before, and is far from its limit now.
const BEFORE: u64 = 1 << 61;
/// Bits of [`left_apart`].
const OWN: u64 = 1 << 63;
const OVER: u64 = 1 << 60;

/// (task, uid), or (pid) on older kernels.
#[raw_tracepoint(tracepoint = "mark_victim")]
pub fn mark_victim(ctx: RawTracePointContext) -> i32 {
    let mut head = Head::current(life::OOM_KILL);
    if has(features::OOM_TASK) {
        let task: u64 = ctx.arg(0);
        let Some(ring) = ring_of(cgroup_of(task)) else {
            return 0;
        };
        head.pid_tgid = pid_tgid_of(task);
        which_ran_out(&mut head, task);
        Comm::of(task).begin(ring, &head, 0).commit();
    } else {
        // Only the pid is known: a limit of the container's own makes one of its own processes call the OOM killer.
        let Some((_, ring)) = current_ring() else {
            return 0;
        };
        let pid: u64 = ctx.arg::<u32>(0).into();
        head.pid_tgid = pid << 32 | pid;
        // SAFETY: no preconditions.
        which_ran_out(&mut head, unsafe { bpf_get_current_task() });
        Open::begin(ring, Lane::Life as u64, &head, 0, 0).commit();
    }
    0
}

/// Of the victim's cgroup and those above it, which has no memory left: of those that have ever run out, the one that is closest to
/// its limit. Where none has, or who calls the OOM killer is not in it, the machine has none left. Unless the cgroup uses more than
/// its limit: then the limit was lowered (memory.max), by somebody outside. `victim` is a task of the container.
#[inline(always)]
fn which_ran_out(head: &mut Head, victim: u64) {
    if !has(features::MEMORY) {
        return;
    }
    let (mut level, mut own) = (0, 0);
    let (mut at, mut least, mut found) = (0, NEVER, 0u64);
    let mut is_over = false;
    let mut state = memory_of(victim);
    while level < LEVELS {
        let left = left_apart(state);
        // Where the memory controller has a hierarchy of its own, no cgroup is in the table, and the task is in the container's.
        if left & OWN != 0 {
            own = level;
        }
        // One that is over its limit has least left, as its bit is not counted.
        if left & !(OWN | OVER) < least {
            (at, least, found) = (level, left & !(OWN | OVER), state);
            is_over = left & OVER != 0;
        }
        state = read(state + u64::from(offset!(css_parent)));
        level += 1;
    }
    // SAFETY: no preconditions.
    let mut calling = memory_of(unsafe { bpf_get_current_task() });
    level = 0;
    while level < LEVELS && calling != found {
        calling = read(calling + u64::from(offset!(css_parent)));
        level += 1;
    }
    if least == BEFORE {
        return;
    }
    if found == 0 || calling != found && !is_over {
        head.arg0 = ran_out::MACHINE;
        return;
    }
    let limit: u64 =
        read(found + u64::from(offset!(mem_cgroup_memory) + offset!(page_counter_max)));
    head.arg1 = limit * u64::from(config!(page_size));
    head.arg2 = id_of(found);
    head.arg0 = if at < own {
        ran_out::INSIDE
    } else if at == own {
        ran_out::CONTAINER
    } else if at == own + 1 {
        ran_out::PARENT
    } else {
        ran_out::ABOVE
    };
}

/// Pages that a memory cgroup has left, [`NEVER`] or [`BEFORE`] where it is not at its limit; with [`OWN`] where it is a container's,
/// and with [`OVER`] where it uses more than its limit. On its own for the verifier, which would otherwise check it for every way that
/// the levels below could have gone.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn left_apart(state: u64) -> u64 {
    // Of another hierarchy ids mean something else, and 0 is no cgroup's.
    let cgroup: u64 = read(state + u64::from(offset!(css_cgroup)));
    let own = match ring_number(id_of(state)) {
        Some(number) if number & NESTED == 0 && state != 0 && is_observed(cgroup) => OWN,
        _ => 0,
    };
    let counter = state + u64::from(offset!(mem_cgroup_memory));
    let usage: u64 = read(counter + u64::from(offset!(page_counter_usage)));
    let limit: u64 = read(counter + u64::from(offset!(page_counter_max)));
    let times: u64 = read(state + u64::from(offset!(mem_cgroup_events)) + RAN_OUT);
    let left = limit.saturating_sub(usage);
    if limit == 0 || times == 0 {
        own | NEVER
    } else if left > SLACK.max(limit >> SLACK_SHIFT) {
        own | BEFORE
    } else if usage > limit {
        own | OVER
    } else {
        own | left
    }
}

/// A task's `struct mem_cgroup`, which begins with its `cgroup_subsys_state`.
#[inline(always)]
fn memory_of(task: u64) -> u64 {
    let css_set: u64 = read(task + u64::from(offset!(task_cgroups)));
    read(css_set + u64::from(offset!(css_set_subsys) + config!(memory) * 8))
}

/// The id of a controller's cgroup.
#[inline(always)]
fn id_of(state: u64) -> u64 {
    let cgroup: u64 = read(state + u64::from(offset!(css_cgroup)));
    let node: u64 = read(cgroup + u64::from(offset!(cgroup_kn)));
    read(node + u64::from(offset!(kernfs_id)))
}
