//! Reading memory: memory of the kernel, with types from BTF or without, and memory of the process.

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_user,
};
use core::mem::MaybeUninit;

use crate::maps::{config, offset};

/// A kernel structure whose type the verifier knows: fields are plain loads, which read zero from a bad address.
#[derive(Clone, Copy)]
pub struct Typed(*const u8);

impl Typed {
    /// The current task.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: no preconditions.
        Self(unsafe { bpf_get_current_task_btf() }.cast())
    }

    /// A field, by its offset, which must not be `MISSING`.
    #[inline(always)]
    pub fn field<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier checks the access against the structure's BTF.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }

    /// A field that points to another structure.
    #[inline(always)]
    pub fn pointer(self, offset: u32) -> Self {
        Self(self.field(offset))
    }
}

/// Reads kernel memory; zero where it cannot be read.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper fills all of `value`, with zeros when it fails; every T used here is a number or an array of them.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// Reads the process's memory; zero where it cannot be read.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as above.
    unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// Whether the kernel's BTF has what this feature needs.
#[inline(always)]
pub fn has(feature: u32) -> bool {
    config!(features) & feature != 0
}

/// Makes the compiler forget what it knows about `x`, without sending it through memory: it must not fold a mask
/// away that the verifier needs to see, and the verifiers of old kernels forget the bounds of spilled registers.
#[inline(always)]
pub fn opaque(mut x: u64) -> u64 {
    // SAFETY: no effect but on the register.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

/// The key of the only element, written at run time: LLVM may merge a constant zero with a global that starts as zero
/// and that the loader then changes.
#[inline(always)]
pub fn key_zero() -> u32 {
    let mut key = MaybeUninit::<u32>::uninit();
    // SAFETY: written before it is read.
    unsafe {
        core::ptr::write_volatile(key.as_mut_ptr(), 0);
        core::ptr::read_volatile(key.as_ptr())
    }
}

/// Whether containers are told apart in the unified hierarchy: a constant for the verifier, which drops the other way.
#[inline(always)]
fn is_unified() -> bool {
    config!(hierarchy) == 0
}

/// Where a `struct css_set` has the state of the version 1 hierarchy's controller.
#[inline(always)]
fn controller() -> u32 {
    offset!(css_set_subsys) + config!(subsystem) * 8
}

/// The id of the current task's cgroup, in the hierarchy that containers are told apart in.
#[inline(always)]
pub fn current_cgroup() -> u64 {
    if is_unified() {
        // SAFETY: no preconditions.
        return unsafe { bpf_get_current_cgroup_id() };
    }
    Typed::current()
        .pointer(offset!(task_cgroups))
        .pointer(controller())
        .pointer(offset!(css_cgroup))
        .pointer(offset!(cgroup_kn))
        .field(offset!(kernfs_id))
}

/// The id of a task's cgroup, likewise.
#[inline(always)]
pub fn cgroup_of(task: u64) -> u64 {
    let css_set: u64 = read(task + u64::from(offset!(task_cgroups)));
    let cgroup: u64 = if is_unified() {
        read(css_set + u64::from(offset!(css_set_dfl_cgrp)))
    } else {
        let state: u64 = read(css_set + u64::from(controller()));
        read(state + u64::from(offset!(css_cgroup)))
    };
    let node: u64 = read(cgroup + u64::from(offset!(cgroup_kn)));
    read(node + u64::from(offset!(kernfs_id)))
}

/// Process and thread id of a task, as bpf_get_current_pid_tgid has the current one's.
#[inline(always)]
pub fn pid_tgid_of(task: u64) -> u64 {
    let tgid: u32 = read(task + u64::from(offset!(task_tgid)));
    let pid: u32 = read(task + u64::from(offset!(task_pid)));
    u64::from(tgid) << 32 | u64::from(pid)
}

/// The pid of a task in its own pid namespace; 0 where that is not known.
#[inline(always)]
pub fn namespace_pid(task: u64) -> u32 {
    if !has(agent_ebpf::wire::features::PID_NAMESPACES) {
        return 0;
    }
    let pid: u64 = read(task + u64::from(offset!(task_thread_pid)));
    let level: u32 = read(pid + u64::from(offset!(pid_level)));
    // struct upid { int nr; struct pid_namespace *ns; }
    read(pid + u64::from(offset!(pid_numbers)) + u64::from(level) * 16)
}
