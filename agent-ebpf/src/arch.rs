//! What differs between processor architectures: where `struct pt_regs` has a system call's number and arguments, and
//! how a call through the 32-bit ABI is recognised.

/// `struct pt_regs` as an array of words.
pub type Registers = *const u64;

#[cfg(bpf_target_arch = "x86_64")]
mod layout {
    //! arch/x86/include/asm/ptrace.h
    pub const NUMBER: usize = 15; // orig_ax
    pub const ARGS: [usize; 6] = [14, 13, 12, 7, 9, 8]; // di, si, dx, r10, r8, r9
    /// `TS_COMPAT` of thread_info.status, arch/x86/include/asm/thread_info.h
    pub const COMPAT: u32 = 2;
}

#[cfg(bpf_target_arch = "aarch64")]
mod layout {
    //! arch/arm64/include/asm/ptrace.h
    pub const NUMBER: usize = 35; // syscallno, an int: the verifier refuses a load of the whole word
    pub const ARGS: [usize; 6] = [34, 1, 2, 3, 4, 5]; // orig_x0: x0 holds the result at exit
    /// `_TIF_32BIT` of thread_info.flags, arch/arm64/include/asm/thread_info.h
    pub const COMPAT: u32 = 1 << 22;
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
