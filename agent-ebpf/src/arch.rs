//! What differs between processor architectures: where `struct pt_regs` has a system call's number and arguments, and
//! how a call through the 32-bit ABI is recognised.

use agent_ebpf::wire::interrupted::RUNNING;

use crate::{kernel::read, maps::offset};

/// `struct pt_regs` as an array of words.
pub type Registers = *const u64;

#[cfg(bpf_target_arch = "x86_64")]
mod layout {
    //! arch/x86/include/asm/ptrace.h
    pub const NUMBER: usize = 15; // orig_ax
    pub const ARGS: [usize; 6] = [14, 13, 12, 7, 9, 8]; // di, si, dx, r10, r8, r9
    /// `TS_COMPAT` of thread_info.status, arch/x86/include/asm/thread_info.h
    pub const COMPAT: u32 = 2;
    pub const RESULT: usize = 10; // ax
}

#[cfg(bpf_target_arch = "aarch64")]
mod layout {
    //! arch/arm64/include/asm/ptrace.h
    pub const NUMBER: usize = 35; // syscallno, an int: the verifier refuses a load of the whole word
    pub const ARGS: [usize; 6] = [34, 1, 2, 3, 4, 5]; // orig_x0: x0 holds the result at exit
    /// `_TIF_32BIT` of thread_info.flags, arch/arm64/include/asm/thread_info.h
    pub const COMPAT: u32 = 1 << 22;
    pub const RESULT: usize = 0; // x0
}

pub use layout::COMPAT;

/// The system call's number.
#[inline(always)]
pub fn number(registers: Registers) -> u64 {
    // SAFETY: the verifier checks the access against the type of `registers`.
    unsafe {
        let number = registers.add(layout::NUMBER);
        if cfg!(bpf_target_arch = "aarch64") {
            u64::from(*number.cast::<u32>())
        } else {
            *number
        }
    }
}

/// Argument `N` of the system call.
#[inline(always)]
pub fn arg<const N: usize>(registers: Registers) -> u64 {
    // SAFETY: as above.
    unsafe { *registers.add(layout::ARGS[N]) }
}

/// Where a `struct task_struct` has the word whose bits [`COMPAT`] say that the task is in a call of the 32-bit ABI.
#[inline(always)]
pub fn compat_field() -> u32 {
    if cfg!(bpf_target_arch = "aarch64") {
        offset!(task_ti_flags)
    } else {
        offset!(task_ti_status)
    }
}

/// Results of a call that a signal interrupted: EINTR, and the restarts of include/linux/errno.h, which user code never
/// sees.
const EINTR: i64 = -4;
const ERESTART: core::ops::RangeInclusive<i64> = -516..=-512;

#[inline(always)]
fn word(registers: u64, index: usize) -> u64 {
    read(registers + 8 * index as u64)
}

/// Copies the arguments of the call that a thread is in, whose registers are at this address.
#[inline(always)]
pub fn args_of(registers: u64, args: &mut [u64; 6]) {
    args[0] = word(registers, layout::ARGS[0]);
    args[1] = word(registers, layout::ARGS[1]);
    args[2] = word(registers, layout::ARGS[2]);
    args[3] = word(registers, layout::ARGS[3]);
    args[4] = word(registers, layout::ARGS[4]);
    args[5] = word(registers, layout::ARGS[5]);
}

/// The number of the call that a thread is in; [`RUNNING`] if it is in none. A thread that is not `settled` may be in user
/// code, and the registers those of its last entry into the kernel: then only what user code never sees counts.
#[inline(always)]
pub fn is_in(registers: u64, settled: bool) -> i64 {
    let number = i64::from(read::<i32>(registers + 8 * layout::NUMBER as u64));
    let result = word(registers, layout::RESULT) as i64;
    let in_call = ERESTART.contains(&result)
        || settled && (result == EINTR || has_no_result(registers, result));
    if number >= 0 && in_call {
        number
    } else {
        RUNNING
    }
}

/// Whether a call has no result yet: the kernel sets ENOSYS when the call begins.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn has_no_result(_: u64, result: i64) -> bool {
    const ENOSYS: i64 = -38;
    result == ENOSYS
}

/// The number of the call that a signal took the current thread out of.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub fn was_in(registers: u64) -> i64 {
    let result = word(registers, layout::RESULT) as i64;
    if result == EINTR || ERESTART.contains(&result) {
        is_in(registers, true)
    } else {
        RUNNING
    }
}

/// Whether a call has no result yet: x0 still has the first argument.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn has_no_result(registers: u64, result: i64) -> bool {
    word(registers, layout::ARGS[0]) as i64 == result
}

/// The number of the call that a signal took the current thread out of. `do_signal` has forgotten it by then, and gone back
/// to the instruction that made the call if the call was to be restarted (arch/arm64/kernel/signal.c). x8 still has it.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn was_in(registers: u64) -> i64 {
    const X8: usize = 8;
    const PC: usize = 32;
    /// `svc #0`
    const SVC: u32 = 0xd400_0001;
    let result = word(registers, layout::RESULT) as i64;
    let pc = word(registers, PC);
    let at = if has_no_result(registers, result) {
        pc
    } else if result == EINTR {
        pc.wrapping_sub(4)
    } else {
        return RUNNING;
    };
    if crate::kernel::read_user::<u32>(at) == SVC {
        word(registers, X8) as i32 as i64
    } else {
        RUNNING
    }
}
