//! Writing records into a ring.

use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_user,
};
use core::intrinsics::{
    AtomicOrdering::{AcqRel, Relaxed},
    atomic_xadd,
};

use agent_ebpf::wire::{
    LANE_SIZE, LANE_STRIDE, LANES, LaneHeader, NAME_MAX, Record, Ring, flags, is_first,
    offset_in_lane,
};

use crate::{
    cgroups::lapse_apart,
    kernel::opaque,
    maps::{config, leased_until},
};

/// The fixed part of a record.
#[derive(Clone, Copy)]
pub struct Head {
    pub kind: u16,
    /// Process id in the upper half, thread id in the lower.
    pub pid_tgid: u64,
    pub ret: i64,
    pub arg0: i32,
    pub arg1: u64,
    pub arg2: u64,
    pub flags: u8,
    pub fd_type: u8,
}

impl Head {
    /// Of something that the current thread did.
    #[inline(always)]
    pub fn current(kind: u16) -> Self {
        // SAFETY: no preconditions.
        Self::of(unsafe { bpf_get_current_pid_tgid() }, kind)
    }

    /// Of something that a thread did: process id in the upper half, thread id in the lower.
    #[inline(always)]
    pub fn of(pid_tgid: u64, kind: u16) -> Self {
        Self {
            kind,
            pid_tgid,
            ret: 0,
            arg0: 0,
            arg1: 0,
            arg2: 0,
            flags: 0,
            fd_type: 0,
        }
    }
}

/// A record that is being written; [`commit`](Self::commit) makes it readable.
pub struct Open {
    ring: *mut Ring,
    lane: usize,
    record: *mut Record,
    /// Bytes from the start of the ring's lanes to the record.
    offset: u64,
    position: u64,
    name_len: u64,
}

impl Open {
    /// Reserves a record with room for a name and data, and writes its fixed part. The lengths must not exceed
    /// `NAME_MAX - 1` and `DATA_MAX`.
    #[inline(always)]
    pub fn begin(ring: *mut Ring, lane: u64, head: &Head, name_len: u64, data_len: u64) -> Self {
        let lane = opaque(lane) as usize & (LANES - 1);
        let length = (size_of::<Record>() as u64 + name_len + data_len + 15) & !15;
        let key = config!(key);
        // SAFETY: no preconditions.
        let time = unsafe { bpf_ktime_get_boot_ns() };
        if time > leased_until() {
            lapse_apart();
        }
        // SAFETY: the verifier checks every access to the map's value. The orderings are not free choices: a relaxed add
        // whose result is used is compiled to one that returns the addend.
        unsafe {
            let header = &raw mut (*ring).lanes[lane];
            let position = atomic_xadd::<u64, u64, { AcqRel }>(&raw mut (*header).head, length);
            atomic_xadd::<u64, u64, { Relaxed }>(&raw mut (*header).records, 1);
            let start = core::ptr::read_volatile(&raw const (*header).start);
            let since_start = position.wrapping_sub(start);
            let in_lane = offset_in_lane(since_start, opaque(is_first(since_start)));
            let offset = lane * LANE_STRIDE + in_lane as usize;
            let record = (&raw mut (*ring).data)
                .cast::<u8>()
                .add(offset)
                .cast::<Record>();
            core::ptr::write_volatile(&raw mut (*record).stamp, !(position ^ key));
            (*record).units = (length / 16) as u16;
            (*record).kind = head.kind;
            (*record).name_len = name_len as u16;
            (*record).data_len = data_len as u16;
            (*record).time = time;
            (*record).tgid = (head.pid_tgid >> 32) as u32;
            (*record).tid = head.pid_tgid as u32;
            (*record).ret = head.ret;
            (*record).arg0 = head.arg0;
            (*record).flags = head.flags;
            (*record).fd_type = head.fd_type;
            (*record).reserved = 0;
            (*record).arg1 = head.arg1;
            (*record).arg2 = head.arg2;
            Self {
                ring,
                lane,
                record,
                offset: offset as u64,
                position,
                name_len,
            }
        }
    }

    /// Sets flags of the record.
    #[inline(always)]
    pub fn flag(&self, flag: u8) {
        // SAFETY: the record is reserved for this writer.
        unsafe { (*self.record).flags |= flag };
    }

    #[inline(always)]
    fn name(&self) -> *mut u8 {
        // SAFETY: the name follows the head.
        unsafe { self.record.cast::<u8>().add(size_of::<Record>()) }
    }

    #[inline(always)]
    fn data(&self, offset: u64) -> *mut u8 {
        let start = opaque(self.name_len) & (NAME_MAX as u64 - 1);
        // SAFETY: the data follows the name.
        unsafe {
            self.name()
                .add(start as usize)
                .add((opaque(offset) & 0xfff) as usize)
        }
    }

    /// Copies the name from kernel memory.
    #[inline(always)]
    pub fn name_from_kernel(&self, source: u64) {
        let length = opaque(self.name_len) & (NAME_MAX as u64 - 1);
        // SAFETY: the verifier checks destination and length.
        if unsafe { bpf_probe_read_kernel(self.name().cast(), length as u32, source as *const _) }
            != 0
        {
            self.flag(flags::FAULT);
        }
    }

    /// Copies the name from the process's memory.
    #[inline(always)]
    pub fn name_from_user(&self, source: u64) {
        let length = opaque(self.name_len) & (NAME_MAX as u64 - 1);
        // SAFETY: as above.
        if unsafe { bpf_probe_read_user(self.name().cast(), length as u32, source as *const _) }
            != 0
        {
            self.flag(flags::FAULT);
        }
    }

    /// Copies data from the process's memory to `offset` (less than `DATA_MAX`).
    #[inline(always)]
    pub fn data_from_user(&self, offset: u64, source: u64, length: u64) {
        let length = opaque(length) & 0x1fff;
        // SAFETY: as above.
        if unsafe {
            bpf_probe_read_user(self.data(offset).cast(), length as u32, source as *const _)
        } != 0
        {
            self.flag(flags::FAULT);
        }
    }

    /// Copies data from kernel memory.
    #[inline(always)]
    pub fn data_from_kernel(&self, source: u64, length: u64) {
        let length = opaque(length) & 0x1fff;
        // SAFETY: as above.
        if unsafe { bpf_probe_read_kernel(self.data(0).cast(), length as u32, source as *const _) }
            != 0
        {
            self.flag(flags::FAULT);
        }
    }

    /// Where the data starts: bytes from the start of the ring's lanes.
    #[inline(always)]
    pub fn data_offset(&self) -> u64 {
        self.offset + size_of::<Record>() as u64 + self.name_len
    }

    /// Says that only `length` bytes of data were found, fewer than were reserved.
    #[inline(always)]
    pub fn shorten_data(&self, length: u64) {
        // SAFETY: the record is reserved for this writer.
        unsafe { (*self.record).data_len = length as u16 };
        self.flag(flags::TRUNCATED);
    }

    /// Makes the record readable, and counts it as torn if newer records have come round to it meanwhile.
    #[inline(always)]
    pub fn commit(self) {
        let key = config!(key);
        // SAFETY: as in `begin`.
        unsafe {
            core::ptr::write_volatile(&raw mut (*self.record).stamp, self.position ^ key);
            let header: *mut LaneHeader = &raw mut (*self.ring).lanes[self.lane & (LANES - 1)];
            let head = core::ptr::read_volatile(&raw const (*header).head);
            if head.wrapping_sub(self.position) > LANE_SIZE as u64 {
                atomic_xadd::<u64, u64, { Relaxed }>(&raw mut (*header).torn, 1);
            }
        }
    }
}
