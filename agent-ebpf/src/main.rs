//! The eBPF programs of lastword. They are built for the BPF target only.
//!
//! A program of [`sys_exit`] or [`life`] runs when a system call ends or a process starts or ends. It asks in this
//! order:
//!
//! 1. What is the call? A table says whether it is recorded at all ([`sys_exit`]).
//! 2. Which container made it? The cgroup id leads to the container's ring ([`cgroups`]).
//! 3. What does its descriptor refer to? That decides how much of the payload is kept ([`file`]).
//!
//! Then it writes one record into a lane of the ring ([`ring`]).

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics, asm_experimental_arch),
    expect(internal_features, reason = "the BPF target has no stable atomics")
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these programs run in the kernel; build them with `cargo xtask ebpf`");
    std::process::exit(1);
}

#[cfg(target_arch = "bpf")]
mod arch;
#[cfg(target_arch = "bpf")]
mod cgroups;
#[cfg(target_arch = "bpf")]
mod file;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod life;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod oom;
#[cfg(target_arch = "bpf")]
mod remember;
#[cfg(target_arch = "bpf")]
mod ring;
#[cfg(target_arch = "bpf")]
mod signal;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod sys_exit;
#[cfg(target_arch = "bpf")]
mod threads;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
