//! The table of system calls: the number on this architecture, the kind in a capture, and what the eBPF programs do
//! with the call.

use agent_ebpf::wire::{Op, SYSCALLS, life};
use capture_format::EventKind as K;

use Arg::{Drop, Int, Mode, Word};

/// Which part of an argument is meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    /// The call has no such argument, or the argument is an address: the value of the register is dropped.
    Drop,
    /// An `int` or `unsigned int`: the upper half of the register does not belong to it.
    Int,
    /// A whole register.
    Word,
    /// The mode of an open, meaningful only when it may create a file.
    Mode,
}

/// One system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its number.
    pub(super) number: u16,
    /// Its kind in a capture.
    pub(super) kind: K,
    /// What the programs do with it.
    pub(super) op: Op,
    /// What `args[1]` and `args[2]` of the record contain.
    pub(super) args: [Arg; 2],
}

macro_rules! rows {
    ($($(#[$cfg:meta])? $kind:ident = $number:ident, $op:ident, $a:expr, $b:expr;)+) => {
        /// Every system call that is recorded. Calls that only older architectures have are marked.
        pub(super) const TABLE: &[Row] = &[
            $($(#[$cfg])? Row { number: libc::$number as u16, kind: K::$kind, op: Op::$op, args: [$a, $b] },)+
        ];
    };
}

rows! {
    EXECVE = SYS_execve, Execve, Drop, Drop;
    EXECVEAT = SYS_execveat, Execveat, Int, Drop;
    #[cfg(target_arch = "x86_64")] SYS_FORK = SYS_fork, FailedArgs, Drop, Drop;
    #[cfg(target_arch = "x86_64")] VFORK = SYS_vfork, FailedArgs, Drop, Drop;
    CLONE = SYS_clone, FailedArgs, Drop, Drop;
    CLONE3 = SYS_clone3, FailedArgs, Drop, Drop;

    #[cfg(target_arch = "x86_64")] OPEN = SYS_open, Open, Int, Mode;
    OPENAT = SYS_openat, Openat, Int, Mode;
    OPENAT2 = SYS_openat2, Openat2, Int, Mode;
    #[cfg(target_arch = "x86_64")] CREAT = SYS_creat, Creat, Drop, Int;
    CLOSE = SYS_close, Args, Drop, Drop;
    CLOSE_RANGE = SYS_close_range, Args, Int, Int;
    DUP = SYS_dup, Args, Drop, Drop;
    #[cfg(target_arch = "x86_64")] DUP2 = SYS_dup2, Args, Int, Drop;
    DUP3 = SYS_dup3, Args, Int, Int;
    FCNTL = SYS_fcntl, Fcntl, Int, Drop;
    #[cfg(target_arch = "x86_64")] PIPE = SYS_pipe, Pipe, Int, Drop;
    PIPE2 = SYS_pipe2, Pipe, Int, Int;
    CHDIR = SYS_chdir, Path, Drop, Drop;
    FCHDIR = SYS_fchdir, Args, Drop, Drop;

    READ = SYS_read, Read, Word, Word;
    PREAD64 = SYS_pread64, Read, Word, Word;
    READV = SYS_readv, Readv, Word, Int;
    PREADV = SYS_preadv, Readv, Word, Int;
    PREADV2 = SYS_preadv2, Readv, Word, Int;
    WRITE = SYS_write, Write, Word, Word;
    PWRITE64 = SYS_pwrite64, Write, Word, Word;
    WRITEV = SYS_writev, Writev, Word, Int;
    PWRITEV = SYS_pwritev, Writev, Word, Int;
    PWRITEV2 = SYS_pwritev2, Writev, Word, Int;

    SOCKET = SYS_socket, Args, Int, Int;
    SOCKETPAIR = SYS_socketpair, FailedArgs, Int, Int;
    CONNECT = SYS_connect, Sockaddr, Drop, Drop;
    BIND = SYS_bind, Sockaddr, Drop, Drop;
    LISTEN = SYS_listen, Listen, Int, Drop;
    ACCEPT = SYS_accept, Accept, Drop, Drop;
    ACCEPT4 = SYS_accept4, Accept, Drop, Drop;
    GETSOCKOPT = SYS_getsockopt, Getsockopt, Int, Drop;
    SENDTO = SYS_sendto, Sendto, Drop, Word;
    SENDMSG = SYS_sendmsg, Sendmsg, Drop, Drop;
    SENDMMSG = SYS_sendmmsg, Sendmmsg, Int, Drop;
    RECVFROM = SYS_recvfrom, Recvfrom, Drop, Word;
    RECVMSG = SYS_recvmsg, Recvmsg, Drop, Drop;
    RECVMMSG = SYS_recvmmsg, Recvmmsg, Int, Drop;

    #[cfg(target_arch = "x86_64")] MKDIR = SYS_mkdir, FailedPath, Int, Drop;
    MKDIRAT = SYS_mkdirat, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] RMDIR = SYS_rmdir, FailedPath, Drop, Drop;
    #[cfg(target_arch = "x86_64")] UNLINK = SYS_unlink, FailedPath, Drop, Drop;
    UNLINKAT = SYS_unlinkat, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] RENAME = SYS_rename, FailedTwoPaths, Drop, Drop;
    RENAMEAT = SYS_renameat, FailedTwoPathsat, Int, Drop;
    RENAMEAT2 = SYS_renameat2, FailedTwoPathsat, Int, Drop;
    #[cfg(target_arch = "x86_64")] STAT = SYS_stat, FailedPath, Drop, Drop;
    #[cfg(target_arch = "x86_64")] LSTAT = SYS_lstat, FailedPath, Drop, Drop;
    NEWFSTATAT = SYS_newfstatat, FailedPathat, Drop, Drop;
    STATX = SYS_statx, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] ACCESS = SYS_access, FailedPath, Int, Drop;
    FACCESSAT = SYS_faccessat, FailedPathat, Drop, Int;
    FACCESSAT2 = SYS_faccessat2, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] READLINK = SYS_readlink, FailedPath, Drop, Drop;
    READLINKAT = SYS_readlinkat, FailedPathat, Drop, Drop;
    #[cfg(target_arch = "x86_64")] CHMOD = SYS_chmod, FailedPath, Int, Drop;
    FCHMODAT = SYS_fchmodat, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] CHOWN = SYS_chown, FailedPath, Int, Int;
    #[cfg(target_arch = "x86_64")] LCHOWN = SYS_lchown, FailedPath, Int, Int;
    FCHOWNAT = SYS_fchownat, FailedPathat, Drop, Int;
    #[cfg(target_arch = "x86_64")] SYMLINK = SYS_symlink, FailedTwoPaths, Drop, Drop;
    SYMLINKAT = SYS_symlinkat, FailedSymlinkat, Int, Drop;
    #[cfg(target_arch = "x86_64")] LINK = SYS_link, FailedTwoPaths, Drop, Drop;
    LINKAT = SYS_linkat, FailedTwoPathsat, Int, Drop;
    TRUNCATE = SYS_truncate, FailedPath, Word, Drop;
    #[cfg(target_arch = "x86_64")] MKNOD = SYS_mknod, FailedPath, Int, Drop;
    MKNODAT = SYS_mknodat, FailedPathat, Drop, Int;
    MOUNT = SYS_mount, FailedPathat, Drop, Drop;
    CHROOT = SYS_chroot, FailedPath, Drop, Drop;
    STATFS = SYS_statfs, FailedPath, Drop, Drop;

    MMAP = SYS_mmap, Mmap, Word, Int;
    MPROTECT = SYS_mprotect, FailedArgs, Word, Int;
    FTRUNCATE = SYS_ftruncate, FailedArgs, Word, Drop;
    FALLOCATE = SYS_fallocate, FailedArgs, Int, Word;
    FSYNC = SYS_fsync, FailedArgs, Drop, Drop;
    FDATASYNC = SYS_fdatasync, FailedArgs, Drop, Drop;
    EPOLL_CREATE1 = SYS_epoll_create1, FailedArgs, Drop, Drop;
    EVENTFD2 = SYS_eventfd2, FailedArgs, Drop, Drop;
    INOTIFY_INIT1 = SYS_inotify_init1, FailedArgs, Drop, Drop;
    INOTIFY_ADD_WATCH = SYS_inotify_add_watch, FailedPathat, Drop, Int;
    SETUID = SYS_setuid, FailedArgs, Drop, Drop;
    SETGID = SYS_setgid, FailedArgs, Drop, Drop;
    SETGROUPS = SYS_setgroups, FailedArgs, Drop, Drop;
    SETRESUID = SYS_setresuid, FailedArgs, Int, Int;
    SETRESGID = SYS_setresgid, FailedArgs, Int, Int;
    SETRLIMIT = SYS_setrlimit, FailedArgs, Drop, Drop;
    PRLIMIT64 = SYS_prlimit64, FailedArgs, Int, Drop;
    SCHED_SETAFFINITY = SYS_sched_setaffinity, FailedArgs, Drop, Drop;
    MEMFD_CREATE = SYS_memfd_create, FailedPath, Drop, Drop;
    UNSHARE = SYS_unshare, FailedArgs, Drop, Drop;
    SETNS = SYS_setns, FailedArgs, Int, Drop;
    BPF = SYS_bpf, FailedArgs, Drop, Drop;
    IO_URING_SETUP = SYS_io_uring_setup, Args, Drop, Drop;
    SETSOCKOPT = SYS_setsockopt, FailedArgs, Int, Int;
    KILL = SYS_kill, FailedArgs, Int, Drop;
    FLOCK = SYS_flock, FailedArgs, Int, Drop;
}

/// The programs' table, by number.
pub(super) fn ops() -> [u8; SYSCALLS] {
    let mut ops = [Op::None as u8; SYSCALLS];
    for row in TABLE {
        ops[usize::from(row.number)] = row.op as u8;
    }
    ops
}

/// The kind of a record, and what its arguments contain.
pub(super) fn kind(record_kind: u16) -> Option<(K, [Arg; 2])> {
    let lives = match record_kind {
        life::EXEC => K::EXEC,
        life::FORK => K::FORK,
        life::EXIT => K::EXIT,
        life::SIGNAL_GENERATE => K::SIGNAL_GENERATE,
        life::SIGNAL_DELIVER => K::SIGNAL_DELIVER,
        life::OOM_KILL => K::OOM_KILL,
        life::STDIO => K::STDIO,
        life::INTERRUPTED => K::INTERRUPTED,
        number => {
            return TABLE
                .iter()
                .find(|row| row.number == number)
                .map(|row| (row.kind, row.args));
        }
    };
    Some((lives, [Word, Word]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_and_no_kind_stands_twice() {
        let numbers: HashSet<u16> = TABLE.iter().map(|row| row.number).collect();
        let kinds: HashSet<K> = TABLE.iter().map(|row| row.kind).collect();
        assert_eq!((numbers.len(), kinds.len()), (TABLE.len(), TABLE.len()));
    }

    #[test]
    fn every_system_call_of_the_format_is_recorded() {
        let kinds: HashSet<K> = TABLE.iter().map(|row| row.kind).collect();
        let missing: Vec<_> = K::ALL
            .iter()
            .filter(|kind| kind.is_syscall() && !kinds.contains(kind))
            .collect();
        // Other architectures lack the older calls.
        #[cfg(target_arch = "x86_64")]
        assert_eq!(missing, Vec::<&K>::new());
        #[cfg(not(target_arch = "x86_64"))]
        let _ = missing;
    }

    #[test]
    fn numbers_fit_the_table() {
        assert!(TABLE.iter().all(|row| usize::from(row.number) < SYSCALLS));
    }
}
