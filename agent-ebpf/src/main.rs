//! The eBPF programs of lastword, built for the BPF target only.
//!
//! The path of an event: a program of [`sys_exit`] or [`life`] asks what the call is (a table), whose it is ([`cgroups`]),
//! what its descriptor refers to ([`file`]), and writes one record into a lane of the container's ring ([`ring`]).

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
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
