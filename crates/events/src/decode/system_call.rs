//! Names of system calls by number, which differ between architectures.

use syscalls::{aarch64, x86_64};

/// The name of a system call on an architecture, as uname(2) calls it.
#[must_use]
pub fn name(arch: &str, number: i64) -> Option<&'static str> {
    let number = usize::try_from(number).ok()?;
    match arch {
        "x86_64" => x86_64::Sysno::new(number).map(|call| call.name()),
        "aarch64" => aarch64::Sysno::new(number).map(|call| call.name()),
        _ => None,
    }
}

/// Whether the first argument of a call is a descriptor that it acts on, and not a directory to start from. Only calls that
/// can wait are considered.
#[must_use]
pub fn acts_on_descriptor(name: &str) -> bool {
    matches!(
        name,
        "read"
            | "pread64"
            | "readv"
            | "preadv"
            | "preadv2"
            | "write"
            | "pwrite64"
            | "writev"
            | "pwritev"
            | "pwritev2"
            | "sendfile"
            | "splice"
            | "tee"
            | "vmsplice"
            | "copy_file_range"
            | "connect"
            | "accept"
            | "accept4"
            | "sendto"
            | "sendmsg"
            | "sendmmsg"
            | "recvfrom"
            | "recvmsg"
            | "recvmmsg"
            | "shutdown"
            | "flock"
            | "fcntl"
            | "ioctl"
            | "close"
            | "fsync"
            | "fdatasync"
            | "sync_file_range"
            | "syncfs"
            | "fallocate"
            | "ftruncate"
            | "getdents"
            | "getdents64"
            | "epoll_wait"
            | "epoll_pwait"
            | "epoll_pwait2"
            | "io_uring_enter"
            | "mq_timedsend"
            | "mq_timedreceive"
    )
}

/// Whether a program that has nothing to do waits in this call: for connections, events, signals, children, or a time.
#[must_use]
pub fn is_idle(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept4"
            | "epoll_wait"
            | "epoll_pwait"
            | "epoll_pwait2"
            | "poll"
            | "ppoll"
            | "select"
            | "pselect6"
            | "io_uring_enter"
            | "io_getevents"
            | "io_pgetevents"
            | "pause"
            | "rt_sigsuspend"
            | "rt_sigtimedwait"
            | "nanosleep"
            | "clock_nanosleep"
            | "wait4"
            | "waitid"
            | "restart_syscall"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_the_architecture() {
        assert_eq!(name("x86_64", 45), Some("recvfrom"));
        assert_eq!(name("aarch64", 207), Some("recvfrom"));
        assert_eq!(name("x86_64", -1), None);
        assert_eq!(name("riscv64", 0), None);
    }

    #[test]
    fn every_name_exists_on_some_architecture() {
        let of = |arch| (0..600).filter_map(move |number| name(arch, number));
        let all: Vec<&str> = of("x86_64").chain(of("aarch64")).collect();
        let fitting = |fits: fn(&str) -> bool| {
            let mut names: Vec<&str> = all.iter().copied().filter(|name| fits(name)).collect();
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        assert_eq!((fitting(acts_on_descriptor), fitting(is_idle)), (43, 20));
    }
}
