//! Numbers from sysdig's tables (falcosecurity/libs: `driver/ppm_events_public.h`, `driver/event_table.c`).
//!
//! Of a pair of events, the enter event has the even number and the exit event the next one. An event without a pair
//! is an enter event, except clone: a child sees only its exit.

use events::decode::open_flags::{O_CLOEXEC, o_directory};

pub(super) const OPEN: u16 = 306;
pub(super) const CLOSE: u16 = 4;
pub(super) const READ: u16 = 6;
pub(super) const WRITE: u16 = 8;
pub(super) const READV: u16 = 116;
pub(super) const WRITEV: u16 = 118;
pub(super) const SOCKET: u16 = 18;
pub(super) const BIND: u16 = 20;
pub(super) const CONNECT: u16 = 22;
pub(super) const LISTEN: u16 = 24;
pub(super) const ACCEPT: u16 = 246;
pub(super) const GETSOCKOPT: u16 = 46;
pub(super) const SENDTO: u16 = 30;
pub(super) const SENDMSG: u16 = 48;
pub(super) const RECVFROM: u16 = 34;
pub(super) const RECVMSG: u16 = 52;
pub(super) const PIPE: u16 = 60;
/// Version 1 of dup: its exit event has the old descriptor.
pub(super) const DUP: u16 = 366;
pub(super) const DUP2: u16 = 362;
pub(super) const DUP3: u16 = 364;
/// dup in the version for readers before 2022, and all calls like it.
pub(super) const OLD_DUP: u16 = 124;
pub(super) const FCNTL: u16 = 150;
pub(super) const CHDIR: u16 = 94;
pub(super) const FCHDIR: u16 = 96;
pub(super) const STAT: u16 = 66;
pub(super) const LSTAT: u16 = 68;
pub(super) const ACCESS: u16 = 264;
pub(super) const MKDIR: u16 = 276;
pub(super) const MKDIRAT: u16 = 304;
pub(super) const UNLINK: u16 = 300;
pub(super) const UNLINKAT: u16 = 302;
pub(super) const RENAME: u16 = 174;
pub(super) const EXECVE: u16 = 292;
pub(super) const CLONE_EXIT: u16 = 223;
pub(super) const PROCESS_EXIT: u16 = 186;
pub(super) const SIGNAL: u16 = 232;
/// A notification: a sentence with a name. It is not a system call.
pub(super) const NOTIFICATION: u16 = 280;
pub(super) const CONTAINER: u16 = 324;

/// Flags of clone.
pub(super) const CLONE_FILES: u32 = 1;
pub(super) const CLONE_THREAD: u32 = 1 << 13;
pub(super) const CHILD_IN_PIDNS: u32 = 1 << 29;

/// `SOL_SOCKET`, `SO_ERROR`, and the type of an option's value.
pub(super) const SOL_SOCKET: u8 = 1;
pub(super) const SO_ERROR: u8 = 4;
pub(super) const VALUE_IS_ERRNO: u8 = 1;

/// Commands of fcntl.
pub(super) const F_DUPFD: u8 = 1;
pub(super) const F_SETLK: u8 = 8;
pub(super) const F_OFD_SETLK: u8 = 31;
pub(super) const F_DUPFD_CLOEXEC: u8 = 26;

/// No directory descriptor: relative to the working directory.
pub(super) const AT_FDCWD: i64 = -100;

/// Kinds of descriptors in the table of descriptors.
pub(super) const FD_FILE: u8 = 16;
pub(super) const FD_PIPE: u8 = 7;
pub(super) const FD_UNIX: u8 = 8;

/// Converts Linux's flags of open(2) into the reader's own numbers.
pub(super) fn open_flags(flags: i64, arch: &str) -> u32 {
    let access = match flags & 3 {
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let bits = [
        (0o100, 1 << 2),
        (0o2000, 1 << 3),
        (0o200, 1 << 5),
        (0o4000, 1 << 6),
        (0o1000, 1 << 8),
        (o_directory(arch), 1 << 10),
        (O_CLOEXEC, 1 << 12),
    ];
    let set = bits.iter().filter(|(linux, _)| flags & linux != 0);
    set.fold(access, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_readers_numbers() {
        // O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, and O_RDONLY|O_DIRECTORY.
        assert_eq!(open_flags(0o2_002_101, "x86_64"), 2 | 4 | 8 | 4096);
        assert_eq!(open_flags(0o200_000, "x86_64"), 1 | 1024);
        assert_eq!(open_flags(0o40_000, "aarch64"), 1 | 1024);
        assert_eq!(open_flags(0o200_000, "riscv64"), 1);
    }
}
