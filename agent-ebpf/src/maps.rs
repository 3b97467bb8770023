//! BPF maps, and the settings that user space fixes at load time.

use agent_ebpf::wire::{
    CGROUP_SETS, CgroupSet, Config, Control, ControlWithPath, DATA_MAX, Interrupted, Lease,
    NAME_MAX, Offsets, RINGS as RING_COUNT, Ring, SHAPES, SYSCALLS, Shape,
};
use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, ArrayOfMaps, PerCpuArray, Queue, RingBuf},
    macros::btf_map,
};

type OneRing = Array<Ring, 1, { BPF_F_MMAPABLE as usize }>;

/// Every ring, by number.
#[btf_map]
pub static RINGS: ArrayOfMaps<OneRing, RING_COUNT> = ArrayOfMaps::new();
/// Numbers of the rings that nobody has.
#[btf_map]
pub static POOL: Queue<u32, RING_COUNT> = Queue::new();
/// Cgroup id → ring.
#[btf_map]
pub static CGROUPS: Array<CgroupSet, CGROUP_SETS, { BPF_F_MMAPABLE as usize }> = Array::new();
/// What containers' cgroups are called.
#[btf_map]
pub static CONTAINER_SHAPES: Array<Shape, SHAPES> = Array::new();
/// Messages to user space.
#[btf_map]
pub static CONTROL: RingBuf<Control, { 256 << 10 }> = RingBuf::new();
/// How many of them found no room.
#[btf_map]
pub static CONTROL_LOST: Array<u64, 1> = Array::new();

/// Where strings of unknown length are read before a record is reserved for them. One for each group of programs that
/// may interrupt each other: from Linux 7.0 on raw tracepoint programs are preemptible, but never by themselves.
#[repr(C)]
pub struct Scratch {
    pub name: [u8; NAME_MAX],
    /// Twice the limit: the verifier bounds offset and length by masks.
    pub data: [u8; 4 * DATA_MAX],
    /// A socket address, here because the stack of programs and the functions they call has 512 bytes together.
    pub address: [u64; 4],
}
#[btf_map]
pub static SYSCALL_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
#[btf_map]
pub static EXEC_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
/// Of the programs at signals, which run with interrupts off: data and address of a record.
#[repr(C)]
pub struct ThreadScratch {
    pub more: Interrupted,
    pub address: [u64; 4],
}
#[btf_map]
pub static THREAD_SCRATCH: PerCpuArray<ThreadScratch, 1> = PerCpuArray::new();
/// Of the program at `cgroup_mkdir`: name and path of the new cgroup.
#[repr(C)]
pub struct MkdirScratch {
    pub name: [u8; NAME_MAX],
    pub message: ControlWithPath,
}
#[btf_map]
pub static MKDIR_SCRATCH: PerCpuArray<MkdirScratch, 1> = PerCpuArray::new();

/// [`agent_ebpf::wire::Op`] of every system call.
#[unsafe(no_mangle)]
pub static OPS: Global<[u8; SYSCALLS]> = Global::new([0; SYSCALLS]);
/// Where the running kernel keeps what the programs read.
#[unsafe(no_mangle)]
pub static OFFSETS: Global<Offsets> = Global::new(Offsets::UNKNOWN);
/// Settings.
#[unsafe(no_mangle)]
pub static CONFIG: Global<Config> = Global::new(Config {
    key: 0x5bd1_e995_1234_5678,
    signals: 0x5bd1_e995_8765_4321,
    config_file_max: 0x5bd1_e995_1111_2222,
    features: 0x5bd1_0001,
    text_max: 0x5bd1_0002,
    other_max: 0x5bd1_0003,
    subsystem: 0x5bd1_0004,
    hierarchy: 0x5bd1_e995_3333_4444,
    top: 0x5bd1_e995_5555_6666,
    memory: 0x5bd1_0005,
    page_size: 0x5bd1_0006,
});

/// How long the programs may record. The name of the section makes it a map of its own, which is not frozen.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.lease")]
pub static LEASE: Global<Lease> = Global::new(Lease {
    until: 0x5bd1_e995_7777_8888,
    key: 0x5bd1_e995_9999_aaaa,
    lost: 0x5bd1_e995_bbbb_cccc,
});

/// CLOCK_BOOTTIME, in nanoseconds, until which the programs record.
#[inline(always)]
pub fn leased_until() -> u64 {
    let lease = (&raw const LEASE).cast::<Lease>();
    // SAFETY: `Global` is transparent; volatile, since user space changes the value.
    unsafe { core::ptr::read_volatile(&raw const (*lease).until) }
}

/// One of the kernel's offsets: a constant for the verifier, since the map is frozen.
macro_rules! offset {
    ($field:ident) => {{
        let all = (&raw const $crate::maps::OFFSETS).cast::<agent_ebpf::wire::Offsets>();
        // SAFETY: `Global` is transparent; volatile, since the loader sets the value.
        unsafe { core::ptr::read_volatile(&raw const (*all).$field) }
    }};
}

/// One of the settings, likewise.
macro_rules! config {
    ($field:ident) => {{
        let all = (&raw const $crate::maps::CONFIG).cast::<agent_ebpf::wire::Config>();
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(&raw const (*all).$field) }
    }};
}

pub(crate) use {config, offset};
