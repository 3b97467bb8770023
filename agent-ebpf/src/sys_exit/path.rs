//! Calls that name a file.

use agent_ebpf::wire::{DATA_MAX, Lane, NAME_MAX, flags};
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;

use super::Call;
use crate::{
    kernel::{key_zero, opaque, read_user},
    maps::{SYSCALL_SCRATCH, Scratch},
    remember::forget,
    ring::{Head, Open},
};

/// Strings of unknown length are read here first.
struct Strings {
    scratch: *mut Scratch,
    name_len: u64,
    data_len: u64,
    flags: u8,
}

impl Strings {
    /// Reads a path.
    #[inline(always)]
    fn read(path: u64) -> Option<Self> {
        let scratch = SYSCALL_SCRATCH.get_ptr_mut(key_zero())?;
        // SAFETY: the verifier checks destination and length.
        let length = unsafe {
            bpf_probe_read_user_str(
                (&raw mut (*scratch).name).cast(),
                NAME_MAX as u32,
                path as *const _,
            )
        };
        let mut strings = Self {
            scratch,
            name_len: 0,
            data_len: 0,
            flags: 0,
        };
        if length < 0 {
            strings.flags = flags::FAULT;
        } else if length > 0 {
            // Without the NUL.
            strings.name_len = (length as u64 - 1) & (NAME_MAX as u64 - 1);
            if length as usize == NAME_MAX {
                strings.flags = flags::NAME_TRUNCATED;
            }
        }
        Some(strings)
    }

    /// Reads a second path, as data.
    #[inline(always)]
    fn second(&mut self, path: u64) {
        // SAFETY: as above.
        let length = unsafe {
            bpf_probe_read_user_str(
                (&raw mut (*self.scratch).data).cast(),
                NAME_MAX as u32,
                path as *const _,
            )
        };
        if length < 0 {
            self.flags |= flags::FAULT;
        } else if length > 0 {
            self.data_len = (length as u64 - 1) & (NAME_MAX as u64 - 1);
        }
    }

    /// Reads an argument vector.
    #[inline(always)]
    fn arguments(&mut self, vector: u64) {
        let result = arguments_apart(vector);
        self.data_len = result & 0x1fff;
        self.flags |= (result >> 32) as u8;
    }

    #[inline(always)]
    fn write(&self, call: &Call, lane: Lane, mut head: Head) {
        head.flags |= self.flags;
        let open = Open::begin(call.ring, lane as u64, &head, self.name_len, self.data_len);
        // SAFETY: addresses only.
        let (name, data) = unsafe {
            (
                &raw const (*self.scratch).name,
                &raw const (*self.scratch).data,
            )
        };
        open.name_from_kernel(name as u64);
        if self.data_len > 0 {
            open.data_from_kernel(data as u64, self.data_len);
        }
        open.commit();
    }
}

/// Reads an argument vector into the scratch data: its length with a NUL after each argument, and flags in the upper half.
/// On its own for the verifier, as `gather_apart`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn arguments_apart(vector: u64) -> u64 {
    const ARGUMENTS: u64 = 24;
    /// An argument is cut here.
    const LONGEST: u32 = 1024;
    let Some(scratch) = SYSCALL_SCRATCH.get_ptr_mut(key_zero()) else {
        return 0;
    };
    let mut done = 0u64;
    let mut index = 0;
    while index < ARGUMENTS {
        let argument: u64 = read_user(vector + index * 8);
        if argument == 0 {
            return opaque(done) & 0x1fff;
        }
        // SAFETY: the verifier checks destination and length.
        let length = unsafe {
            let start = (&raw mut (*scratch).data)
                .cast::<u8>()
                .add((opaque(done) & 0x1fff) as usize);
            bpf_probe_read_user_str(start.cast(), LONGEST, argument as *const _)
        };
        if length <= 0 {
            return opaque(done) & 0x1fff | u64::from(flags::FAULT) << 32;
        }
        done += opaque(length as u64) & 0x7ff;
        if done >= DATA_MAX as u64 {
            done = DATA_MAX as u64;
            break;
        }
        index += 1;
    }
    opaque(done) & 0x1fff | u64::from(flags::TRUNCATED) << 32
}

/// Records a call with one path.
#[inline(always)]
fn one(call: &Call, path: u64, arg0: i32, arg1: u64, arg2: u64) {
    forget(call.ring);
    let Some(strings) = Strings::read(path) else {
        return;
    };
    let mut head = call.head();
    head.arg0 = arg0;
    head.arg1 = arg1;
    head.arg2 = arg2;
    strings.write(call, call.lane(Lane::Files), head);
}

/// Records a failed call with two paths.
#[inline(always)]
fn two(call: &Call, first: u64, second: u64, arg0: i32, arg1: u64) {
    let Some(mut strings) = Strings::read(first) else {
        return;
    };
    strings.second(second);
    let mut head = call.head();
    head.arg0 = arg0;
    head.arg1 = arg1;
    strings.write(call, Lane::Failures, head);
}

/// A relative path is relative to the working directory.
const AT_FDCWD: i32 = -100;

#[inline(always)]
pub fn open(call: &Call) {
    one(
        call,
        call.arg::<0>(),
        AT_FDCWD,
        call.arg::<1>(),
        call.arg::<2>(),
    );
}

#[inline(always)]
pub fn openat(call: &Call) {
    one(
        call,
        call.arg::<1>(),
        call.arg::<0>() as i32,
        call.arg::<2>(),
        call.arg::<3>(),
    );
}

#[inline(always)]
pub fn openat2(call: &Call) {
    // struct open_how { __u64 flags; __u64 mode; __u64 resolve; }
    let [how_flags, mode]: [u64; 2] = read_user(call.arg::<2>());
    one(
        call,
        call.arg::<1>(),
        call.arg::<0>() as i32,
        how_flags,
        mode,
    );
}

#[inline(always)]
pub fn creat(call: &Call) {
    one(call, call.arg::<0>(), AT_FDCWD, 0, call.arg::<1>());
}

/// (path, …)
#[inline(always)]
pub fn path(call: &Call) {
    one(
        call,
        call.arg::<0>(),
        AT_FDCWD,
        call.arg::<1>(),
        call.arg::<2>(),
    );
}

/// (dirfd, path, …)
#[inline(always)]
pub fn pathat(call: &Call) {
    one(
        call,
        call.arg::<1>(),
        call.arg::<0>() as i32,
        0,
        call.arg::<2>(),
    );
}

#[inline(always)]
pub fn two_paths(call: &Call) {
    two(call, call.arg::<0>(), call.arg::<1>(), AT_FDCWD, 0);
}

#[inline(always)]
pub fn two_pathsat(call: &Call) {
    two(
        call,
        call.arg::<1>(),
        call.arg::<3>(),
        call.arg::<0>() as i32,
        call.arg::<2>(),
    );
}

#[inline(always)]
pub fn symlinkat(call: &Call) {
    two(
        call,
        call.arg::<0>(),
        call.arg::<2>(),
        AT_FDCWD,
        call.arg::<1>(),
    );
}

#[inline(always)]
pub fn execve(call: &Call) {
    exec(call, call.arg::<0>(), call.arg::<1>(), AT_FDCWD, 0);
}

#[inline(always)]
pub fn execveat(call: &Call) {
    exec(
        call,
        call.arg::<1>(),
        call.arg::<2>(),
        call.arg::<0>() as i32,
        call.arg::<4>(),
    );
}

#[inline(always)]
fn exec(call: &Call, path: u64, arguments: u64, arg0: i32, arg1: u64) {
    let Some(mut strings) = Strings::read(path) else {
        return;
    };
    strings.arguments(arguments);
    let mut head = call.head();
    head.arg0 = arg0;
    head.arg1 = arg1;
    strings.write(call, Lane::Failures, head);
}
