//! The last look-up of a descriptor, remembered so that the next write to the descriptor need not repeat it.
//!
//! An entry becomes invalid when the ring's generation changes. Every call that may change the meaning of a descriptor
//! changes the generation: close, dup, connect, exec, exit. An entry has two words. Each word carries enough of the
//! entry's key that words of two entries, written at the same time on two CPUs, are not mistaken for one entry.

use agent_ebpf::wire::{Lane, REMEMBERED, Ring};
use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

/// How much of a payload is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Limit {
    Nothing = 0,
    Other = 1,
    Text = 2,
}

/// What is remembered.
#[derive(Clone, Copy)]
pub struct Memory {
    pub lane: u64,
    pub limit: u64,
    pub fd_type: u8,
    pub inode: u64,
}

/// Place and key of a descriptor.
///
/// First word, from the top: 22 bits of pid, 16 of descriptor, 1 of direction, 16 of generation; then 3 of lane, 2 of limit, 4 of
/// type. Second word: 16 bits made from pid and descriptor, 48 of inode.
#[derive(Clone, Copy)]
pub struct Place {
    slot: usize,
    key: u64,
    tag: u64,
}

const PLAN_BITS: u64 = 9;
const INODE_BITS: u64 = 48;

impl Place {
    /// Of a descriptor of a process, for writing or reading; none for numbers that do not fit.
    #[inline(always)]
    pub fn of(ring: *mut Ring, pid: u64, descriptor: u64, writes: bool) -> Option<Self> {
        if descriptor >= 1 << 16 || pid >= 1 << 22 {
            return None;
        }
        // SAFETY: the verifier checks the access.
        let generation =
            unsafe { core::ptr::read_volatile(&raw const (*ring).generation) } & 0xffff;
        let who = pid << 17 | descriptor << 1 | writes as u64;
        let mixed = descriptor << 1 ^ pid << 3 ^ writes as u64;
        Some(Self {
            slot: (mixed % REMEMBERED as u64) as usize,
            key: (who << 16 | generation) << PLAN_BITS,
            tag: (mixed ^ generation) << INODE_BITS,
        })
    }

    #[inline(always)]
    pub fn recall(self, ring: *mut Ring) -> Option<Memory> {
        // SAFETY: the slot is in bounds.
        let [first, second] = unsafe {
            let entry = &raw const (*ring).remembered[self.slot & (REMEMBERED - 1)];
            [
                core::ptr::read_volatile(&raw const (*entry)[0]),
                core::ptr::read_volatile(&raw const (*entry)[1]),
            ]
        };
        let (plan, inode) = (first ^ self.key, second ^ self.tag);
        if plan >> PLAN_BITS != 0 || inode >> INODE_BITS != 0 {
            return None;
        }
        Some(Memory {
            lane: plan >> 6,
            limit: plan >> 4 & 3,
            fd_type: (plan & 15) as u8,
            inode,
        })
    }

    #[inline(always)]
    pub fn remember(self, ring: *mut Ring, lane: Lane, limit: Limit, fd_type: u8, inode: u64) {
        if inode >> INODE_BITS != 0 {
            return;
        }
        let plan = (lane as u64) << 6 | (limit as u64) << 4 | u64::from(fd_type & 15);
        // SAFETY: as above.
        unsafe {
            let entry = &raw mut (*ring).remembered[self.slot & (REMEMBERED - 1)];
            core::ptr::write_volatile(&raw mut (*entry)[0], self.key | plan);
            core::ptr::write_volatile(&raw mut (*entry)[1], self.tag ^ inode);
        }
    }
}

/// Makes everything remembered void.
#[inline(always)]
pub fn forget(ring: *mut Ring) {
    // SAFETY: the verifier checks the access.
    unsafe {
        atomic_xadd::<u64, u64, { Relaxed }>(&raw mut (*ring).generation, 1);
    }
}
