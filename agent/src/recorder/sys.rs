//! The few bpf(2) calls that aya does not offer, and memory that the kernel writes to.

#![expect(unsafe_code, reason = "talks to the kernel")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// Commands of bpf(2), include/uapi/linux/bpf.h
const BPF_MAP_CREATE: u32 = 0;
const BPF_OBJ_PIN: u32 = 6;
const BPF_OBJ_GET: u32 = 7;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_BTF_LOAD: u32 = 18;

/// `union bpf_attr` as far as these commands use it. It is filled by offset.
#[derive(Default)]
#[repr(C, align(8))]
struct Attr([u64; 16]);

impl Attr {
    fn set_u32(&mut self, offset: usize, value: u32) {
        let shift = (offset % 8) * 8;
        self.0[offset / 8] |= u64::from(value) << shift;
    }

    fn set_u64(&mut self, offset: usize, value: u64) {
        self.0[offset / 8] = value;
    }
}

fn bpf(command: u32, attr: &mut Attr, size: usize) -> io::Result<i64> {
    // SAFETY: `attr` is large enough for `size`, and the addresses in it are of live buffers of the lengths it gives.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(descriptor: i64) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

/// Pins a map or a program to a path in a BPF file system.
pub(super) fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Attr::default();
    attr.set_u64(0, path.as_ptr() as u64);
    attr.set_u32(8, object.as_fd().as_raw_fd() as u32);
    bpf(BPF_OBJ_PIN, &mut attr, 16).map(drop)
}

/// Opens what is pinned to a path.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Attr::default();
    attr.set_u64(0, path.as_ptr() as u64);
    bpf(BPF_OBJ_GET, &mut attr, 16).map(owned)
}

/// Loads type information for maps.
pub(super) fn load_btf(blob: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = Attr::default();
    attr.set_u64(0, blob.as_ptr() as u64);
    attr.set_u32(16, blob.len() as u32);
    bpf(BPF_BTF_LOAD, &mut attr, 28).map(owned)
}

/// Creates an array map of one element that can be mapped into memory.
pub(super) fn create_array(
    name: &str,
    value_size: u32,
    btf: &OwnedFd,
    key_type: u32,
    value_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr = Attr::default();
    for (index, value) in [libc_map::ARRAY, 4, value_size, 1, libc_map::MMAPABLE]
        .into_iter()
        .enumerate()
    {
        attr.set_u32(index * 4, value);
    }
    let mut map_name = [0u8; 16];
    let length = name.len().min(15);
    map_name[..length].copy_from_slice(&name.as_bytes()[..length]);
    for (index, word) in map_name.as_chunks::<4>().0.iter().enumerate() {
        attr.set_u32(28 + index * 4, u32::from_ne_bytes(*word));
    }
    attr.set_u32(48, btf.as_raw_fd() as u32);
    attr.set_u32(52, key_type);
    attr.set_u32(56, value_type);
    bpf(BPF_MAP_CREATE, &mut attr, 60).map(owned)
}

mod libc_map {
    //! include/uapi/linux/bpf.h
    pub(super) const ARRAY: u32 = 2;
    pub(super) const ARRAY_OF_MAPS: u32 = 12;
    pub(super) const MMAPABLE: u32 = 1 << 10;
}

/// How often the kernel skipped a program because it was already running on that CPU
/// (`bpf_prog_info.recursion_misses`).
pub(super) fn recursion_misses(program: impl AsFd) -> io::Result<u64> {
    const SIZE: usize = 224;
    const AT: usize = 208;
    let mut info = [0u64; SIZE / 8];
    let mut attr = Attr::default();
    attr.set_u32(0, program.as_fd().as_raw_fd() as u32);
    attr.set_u32(4, SIZE as u32);
    attr.set_u64(8, info.as_mut_ptr() as u64);
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr, 16)?;
    Ok(info[AT / 8])
}

/// A map's value, mapped into memory.
pub(super) struct Mapped {
    memory: memmap2::MmapRaw,
    words: usize,
}

impl Mapped {
    /// Maps the first `bytes` of a map's values.
    pub(super) fn new(map: impl AsFd, bytes: usize) -> io::Result<Self> {
        let length = bytes.next_multiple_of(4096);
        let memory = memmap2::MmapOptions::new()
            .len(length)
            .map_raw(map.as_fd().as_raw_fd())?;
        Ok(Self {
            memory,
            words: bytes / 8,
        })
    }

    /// The memory as words. The eBPF programs may change them at any time.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, as long as `self`, and at least `words * 8` bytes; atomics may be
        // changed by others.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), self.words) }
    }

    /// The same memory as words of half the size. A given place is always used in one size only.
    pub(super) fn halves(&self) -> &[AtomicU32] {
        // SAFETY: as above.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU32>(), self.words * 2)
        }
    }
}

/// Waits for programs that are running. The kernel does so after every change of a map of maps
/// (`maybe_wait_bpf_programs` of kernel/bpf/syscall.c), so when the change returns, nobody uses the old map any more.
pub(super) struct Fence {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Fence {
    pub(super) fn new() -> io::Result<Self> {
        let mut attr = Attr::default();
        for (index, value) in [libc_map::ARRAY, 4, 4, 1].into_iter().enumerate() {
            attr.set_u32(index * 4, value);
        }
        let inner = bpf(BPF_MAP_CREATE, &mut attr, 24).map(owned)?;
        let mut attr = Attr::default();
        for (index, value) in [
            libc_map::ARRAY_OF_MAPS,
            4,
            4,
            1,
            0,
            inner.as_raw_fd() as u32,
        ]
        .into_iter()
        .enumerate()
        {
            attr.set_u32(index * 4, value);
        }
        let outer = bpf(BPF_MAP_CREATE, &mut attr, 24).map(owned)?;
        Ok(Self { outer, inner })
    }

    /// Returns when every program that was running at the time of the call has ended.
    pub(super) fn wait(&self) -> io::Result<()> {
        set_element(&self.outer, 0, &self.inner)
    }
}

/// The id of the map that an array of maps has in this place.
pub(super) fn element(outer: impl AsFd, key: u32) -> io::Result<u32> {
    const BPF_MAP_LOOKUP_ELEM: u32 = 1;
    let mut value = 0u32;
    let mut attr = Attr::default();
    attr.set_u32(0, outer.as_fd().as_raw_fd() as u32);
    attr.set_u64(8, (&raw const key) as u64);
    attr.set_u64(16, (&raw mut value) as u64);
    bpf(BPF_MAP_LOOKUP_ELEM, &mut attr, 32)?;
    Ok(value)
}

/// Puts a map into an array of maps.
pub(super) fn set_element(outer: impl AsFd, key: u32, inner: impl AsFd) -> io::Result<()> {
    const BPF_MAP_UPDATE_ELEM: u32 = 2;
    let value = inner.as_fd().as_raw_fd();
    let mut attr = Attr::default();
    attr.set_u32(0, outer.as_fd().as_raw_fd() as u32);
    attr.set_u64(8, (&raw const key) as u64);
    attr.set_u64(16, (&raw const value) as u64);
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr, 32).map(drop)
}

/// Removes an element of an array of maps.
pub(super) fn delete_element(map: impl AsFd, key: u32) -> io::Result<()> {
    const BPF_MAP_DELETE_ELEM: u32 = 3;
    let mut attr = Attr::default();
    attr.set_u32(0, map.as_fd().as_raw_fd() as u32);
    attr.set_u64(8, (&raw const key) as u64);
    bpf(BPF_MAP_DELETE_ELEM, &mut attr, 32).map(drop)
}

/// Plain data that is exchanged with the kernel exactly as it is in memory.
macro_rules! plain {
    ($($ty:ty),+) => {
        $(
            // SAFETY: `repr(C)` structures of integers without padding bytes; every bit pattern is valid.
            unsafe impl aya::Pod for Plain<$ty> {}
        )+
    };
}

/// Wraps a wire type for aya.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T: Copy>(pub(super) T);

plain!(
    agent_ebpf::wire::Config,
    agent_ebpf::wire::Lease,
    agent_ebpf::wire::Offsets,
    agent_ebpf::wire::Shape
);
