//! One event: a record that a probe left in a container's ring, in the terms of the capture.
//!
//! An event carries what the kernel saw, without interpretation: numbers are those of the recorded machine's ABI
//! ([`crate::Host::arch`]), and strings are bytes as the process passed them. Readers find out what they mean. The
//! table of [`EventKind`] says which field holds what.

use bytes::Bytes;

use crate::{BootTime, Class, Tid};

/// One recorded event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When the call returned or the thing happened.
    pub time: BootTime,
    /// Process (thread group) id in the host's pid namespace.
    pub pid: u32,
    /// Thread.
    pub tid: Tid,
    /// What happened.
    pub kind: EventKind,
    /// What is known to be wrong or missing about this event.
    pub flags: EventFlags,
    /// What the file descriptor in `args[0]` refers to, if the probe looked it up.
    pub fd_type: FdType,
    /// Return value of a system call (negative: `-errno`); see [`EventKind`] for the others.
    pub ret: i64,
    /// Arguments, by kind; a file descriptor is sign-extended.
    pub args: [i64; 3],
    /// Path, executable, command name or socket address (`struct sockaddr`), by kind. No NUL at the end.
    pub name: Bytes,
    /// Payload: bytes written, read, sent or received, or a process's arguments, by kind.
    pub data: Bytes,
}

/// What is known to be wrong or missing about an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFlags(pub u8);

impl EventFlags {
    /// The record was still being written when the ring was read, or was overwritten meanwhile:
    /// its payload may be incomplete.
    pub const TORN: Self = Self(1);
    /// The process's memory could not be read (it was paged out, or the pointer was bad), so name or data is missing.
    pub const FAULT: Self = Self(2);
    /// `data` is a prefix: the call moved more bytes than were recorded.
    pub const TRUNCATED: Self = Self(4);
    /// `name` was cut at the recorder's limit.
    pub const NAME_TRUNCATED: Self = Self(8);
    /// Bytes of `name` or `data` were masked before the capture was written.
    pub const REDACTED: Self = Self(16);
    /// The event describes a state: it was found when the recorder came to a container that already ran. Such events
    /// are the first of their run, and lead from nothing to that state: a fork or exec for a process; an open, socket,
    /// connect or accept for a descriptor. Their time is the one at which the recorder came. If only one end of a pipe
    /// is open, its descriptor is in both arguments; an accept whose listening socket was not found has -1.
    pub const ADOPTED: Self = Self(32);

    /// Whether all of `other`'s bits are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for EventFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a file descriptor refers to; the values are `S_IFMT >> 12` of inode(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FdType(pub u8);

impl FdType {
    /// The probe did not look, or could not.
    pub const UNKNOWN: Self = Self(0);
    /// Pipe or FIFO.
    pub const FIFO: Self = Self(1);
    /// Character device, such as a terminal or /dev/null.
    pub const CHARACTER: Self = Self(2);
    /// Directory.
    pub const DIRECTORY: Self = Self(4);
    /// Block device.
    pub const BLOCK: Self = Self(6);
    /// Regular file.
    pub const REGULAR: Self = Self(8);
    /// Socket.
    pub const SOCKET: Self = Self(12);
}

/// What an event is about. Codes are stable: a code never gets another meaning.
///
/// An unknown code (from a newer writer) is kept, and shown as its number.
///
/// Codes have no order. [`EventKind::class`] says which kinds do the same; ranges of codes mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventKind(pub u16);

/// Declares the kinds once: constant, code, name, class, and the meaning of the fields as documentation.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $konst:ident = $code:literal, $name:literal, $class:ident;)+) => {
        impl EventKind {
            $($(#[doc = $doc])+ pub const $konst: Self = Self($code);)+

            /// Every kind that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$konst),+];

            /// The kind's name: that of a system call or of a life-cycle event.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)+
                    _ => None,
                }
            }

            /// What the call does.
            #[must_use]
            pub const fn class(self) -> Class {
                match self.0 {
                    $($code => Class::$class,)+
                    _ => Class::Unknown,
                }
            }
        }
    };
}

kinds! {
    /// A program was executed (`sched_process_exec`). `name`: the file, as passed to execve; `data`: the arguments,
    /// each ended by NUL; `args[0]`: pid in the process's own pid namespace; `args[1]`: cgroup id; `ret`: thread id
    /// that the caller had before.
    EXEC = 1, "exec", ChangesProcess;
    /// A process was forked (`sched_process_fork`; threads are left out). `ret`: the child's pid; `args[0]`: the
    /// child's pid in its own namespace; `name`: the parent's command name.
    FORK = 2, "fork", ChangesProcess;
    /// A process ended, that is, its last thread ended (`sched_process_exit`). `ret`: wait status as of wait(2);
    /// `args[0]`: pid in its own pid namespace; `name`: its command name.
    EXIT = 3, "exit", ChangesProcess;
    /// A signal was sent to `pid` (`signal_generate`). `ret`: signal number; `args[0]`: si_code; `args[1]`: the
    /// sender's pid, 0 if the kernel sent the signal; `args[2]`: [`SignalOrigin`]; `name`: the sender's command name,
    /// for a fault that of `pid`; `data`: for a fault, si_addr as 8 bytes.
    SIGNAL_GENERATE = 4, "signal", Signals;
    /// A signal was delivered to `pid` (`signal_deliver`), or it was a SIGABRT that was dropped because it is ignored.
    /// `ret`: signal number; `args[0]`: si_code; `args[1]`: si_pid; `args[2]`: [`SignalDisposition`].
    SIGNAL_DELIVER = 5, "signal_deliver", Signals;
    /// The OOM killer chose `pid` (`mark_victim`), or killed it together with the process that it had just chosen
    /// (`memory.oom.group`). `name`: its command name, if known; `args[0]`: [`OomScope`], 0 if unknown; `args[1]`:
    /// memory limit in bytes of the cgroup that had no memory left; `args[2]`: id of that cgroup, in the hierarchy of
    /// the memory controller.
    OOM_KILL = 6, "oom_kill", ChangesProcess;
    /// What descriptors 0 to 2 of a program refer to, at exec. `data`: for each, inode number u64 and `S_IFMT` mode u64
    /// (0: closed).
    STDIO = 7, "stdio", ChangesProcess;
    /// What a thread was doing when a signal came that ends its process or asks it to end (`signal_generate`), or when
    /// its process ended for another reason (`signal_deliver`); at most 64 threads of a process. Not a call, though it
    /// tells of one. `ret`: number of the system call that the thread was in, as of the recorded machine
    /// ([`crate::Host::arch`]); -1: it was running, -2: a call of the 32-bit ABI. `args[0]`: the descriptor that the call
    /// acts on, -1 if it acts on none; `args[1]`: nanoseconds for which it had waited at least, 0 if unknown; `args[2]`:
    /// the signal, 0 for none; `name`: last component of the descriptor's path, or the socket's address, its peer's if it
    /// has one; `data`: numbers of 8 bytes: the call's six arguments, how many threads the process had, the inode number
    /// of the descriptor's file (0: unknown), and 1 if `name` is the socket's own address.
    INTERRUPTED = 8, "interrupted", Signals;
    /// Between the first records of a lane of the ring, which nothing overwrites, and those that follow this event, newer
    /// records have overwritten others. Not of a process: `pid` is 0. `args[0]`: how many; `name`: the lane, one of
    /// [`lane`](crate::lane).
    GAP = 9, "gap", Gap;

    /// execve(2) that failed. `name`: path; `data`: the arguments, each ended by NUL.
    EXECVE = 32, "execve", StartsProcess;
    /// execveat(2) that failed. As execve; `args[0]`: directory descriptor; `args[1]`: flags.
    EXECVEAT = 33, "execveat", StartsProcess;
    /// fork(2) that failed.
    SYS_FORK = 34, "sys_fork", StartsProcess;
    /// vfork(2) that failed.
    VFORK = 35, "vfork", StartsProcess;
    /// clone(2) that failed. `args[0]`: flags.
    CLONE = 36, "clone", StartsProcess;
    /// clone3(2) that failed.
    CLONE3 = 37, "clone3", StartsProcess;

    /// open(2). `name`: path; `args[1]`: flags; `args[2]`: mode; `ret`: descriptor.
    OPEN = 48, "open", Opens;
    /// openat(2). As open; `args[0]`: directory descriptor.
    OPENAT = 49, "openat", Opens;
    /// openat2(2). As openat; `args[1]` and `args[2]` from `struct open_how`.
    OPENAT2 = 50, "openat2", Opens;
    /// creat(2). `name`: path; `args[2]`: mode; `ret`: descriptor.
    CREAT = 51, "creat", Opens;
    /// close(2). `args[0]`: descriptor.
    CLOSE = 52, "close", ChangesDescriptor;
    /// close_range(2). `args[0]`, `args[1]`: first and last descriptor; `args[2]`: flags.
    CLOSE_RANGE = 53, "close_range", ChangesDescriptor;
    /// dup(2). `args[0]`: old descriptor; `ret`: new one.
    DUP = 54, "dup", ChangesDescriptor;
    /// dup2(2). `args[0]`: old descriptor; `ret`: new one.
    DUP2 = 55, "dup2", ChangesDescriptor;
    /// dup3(2). `args[0]`: old descriptor; `args[2]`: flags; `ret`: new one.
    DUP3 = 56, "dup3", ChangesDescriptor;
    /// fcntl(2) with F_DUPFD or F_DUPFD_CLOEXEC; or with F_SETLK or F_OFD_SETLK, if it failed. `args[0]`: descriptor;
    /// `args[1]`: command; `ret`: for F_DUPFD and F_DUPFD_CLOEXEC, the new descriptor.
    FCNTL = 57, "fcntl", ChangesDescriptor;
    /// pipe(2). `args[0]`: read end; `args[1]`: write end.
    PIPE = 58, "pipe", ChangesDescriptor;
    /// pipe2(2). As pipe; `args[2]`: flags.
    PIPE2 = 59, "pipe2", ChangesDescriptor;
    /// chdir(2). `name`: path.
    CHDIR = 60, "chdir", ChangesDirectory;
    /// fchdir(2). `args[0]`: descriptor.
    FCHDIR = 61, "fchdir", ChangesDirectory;

    /// read(2). `args[0]`: descriptor; `args[1]`: inode number, if known; `args[2]`: bytes asked for; `data`: bytes
    /// read; `name`: last component of the file's path, if it was looked up.
    READ = 64, "read", Reads;
    /// pread64(2). As read.
    PREAD64 = 65, "pread64", Reads;
    /// readv(2). As read; `args[2]`: number of buffers.
    READV = 66, "readv", Reads;
    /// preadv(2). As readv.
    PREADV = 67, "preadv", Reads;
    /// preadv2(2). As readv.
    PREADV2 = 68, "preadv2", Reads;
    /// write(2). `args[0]`: descriptor; `args[1]`: inode number, if known; `args[2]`: bytes asked for; `data`: bytes
    /// written (for a failed call: bytes that should have been written); `name`: as for read.
    WRITE = 72, "write", Writes;
    /// pwrite64(2). As write.
    PWRITE64 = 73, "pwrite64", Writes;
    /// writev(2). As write; `args[2]`: number of buffers.
    WRITEV = 74, "writev", Writes;
    /// pwritev(2). As writev.
    PWRITEV = 75, "pwritev", Writes;
    /// pwritev2(2). As writev.
    PWRITEV2 = 76, "pwritev2", Writes;

    /// socket(2). `args`: domain, type, protocol; `ret`: descriptor.
    SOCKET = 96, "socket", CreatesSocket;
    /// socketpair(2) that failed. `args`: domain, type, protocol.
    SOCKETPAIR = 97, "socketpair", CreatesSocket;
    /// connect(2). `args[0]`: descriptor; `name`: address.
    CONNECT = 98, "connect", Connects;
    /// bind(2). `args[0]`: descriptor; `name`: address.
    BIND = 99, "bind", Connects;
    /// listen(2). `args[0]`: descriptor; `args[1]`: backlog; `name`: local address, if known.
    LISTEN = 100, "listen", Connects;
    /// accept(2). `args[0]`: listening descriptor; `ret`: new descriptor; `name`: peer.
    ACCEPT = 101, "accept", Connects;
    /// accept4(2). As accept.
    ACCEPT4 = 102, "accept4", Connects;
    /// getsockopt(2) of SO_ERROR: the outcome of a connect that was in progress. `args[0]`: descriptor; `args[1]`: the
    /// errno, 0 for success; `name`: peer, if known.
    GETSOCKOPT = 103, "getsockopt", Connects;
    /// sendto(2), send(2). `args[0]`: descriptor; `args[2]`: bytes asked for; `name`: peer; `data`: DNS payload,
    /// nothing for other traffic.
    SENDTO = 104, "sendto", Sends;
    /// sendmsg(2). As sendto, but `args[2]` is 0: the bytes asked for are spread over several buffers.
    SENDMSG = 105, "sendmsg", Sends;
    /// sendmmsg(2): one event for each message. As sendmsg; `args[1]`: index of the message.
    SENDMMSG = 106, "sendmmsg", Sends;
    /// recvfrom(2), recv(2). `args[0]`: descriptor; `args[2]`: buffer size; `name`: peer; `data`: DNS payload.
    RECVFROM = 107, "recvfrom", Receives;
    /// recvmsg(2). As recvfrom, but `args[2]` is 0.
    RECVMSG = 108, "recvmsg", Receives;
    /// recvmmsg(2): one event for each message. As recvmsg; `args[1]`: index of the message.
    RECVMMSG = 109, "recvmmsg", Receives;

    /// mkdir(2) that failed. `name`: path.
    MKDIR = 128, "mkdir", ActsOnPath;
    /// mkdirat(2) that failed. `args[0]`: directory descriptor; `name`: path.
    MKDIRAT = 129, "mkdirat", ActsOnPath;
    /// rmdir(2) that failed.
    RMDIR = 130, "rmdir", ActsOnPath;
    /// unlink(2) that failed.
    UNLINK = 131, "unlink", ActsOnPath;
    /// unlinkat(2) that failed. `args[0]`: directory descriptor.
    UNLINKAT = 132, "unlinkat", ActsOnPath;
    /// rename(2) that failed. `name`: old path; `data`: new path.
    RENAME = 133, "rename", ActsOnPath;
    /// renameat(2) that failed. As rename; `args[0]`: old directory descriptor.
    RENAMEAT = 134, "renameat", ActsOnPath;
    /// renameat2(2) that failed. As renameat.
    RENAMEAT2 = 135, "renameat2", ActsOnPath;
    /// stat(2) that failed.
    STAT = 136, "stat", LooksUp;
    /// lstat(2) that failed.
    LSTAT = 137, "lstat", LooksUp;
    /// newfstatat(2) that failed. `args[0]`: directory descriptor.
    NEWFSTATAT = 138, "newfstatat", LooksUp;
    /// statx(2) that failed. `args[0]`: directory descriptor.
    STATX = 139, "statx", LooksUp;
    /// access(2) that failed. `args[1]`: mode.
    ACCESS = 140, "access", LooksUp;
    /// faccessat(2) that failed. `args[0]`: directory descriptor; `args[2]`: mode.
    FACCESSAT = 141, "faccessat", LooksUp;
    /// faccessat2(2) that failed. As faccessat.
    FACCESSAT2 = 142, "faccessat2", LooksUp;
    /// readlink(2) that failed.
    READLINK = 143, "readlink", LooksUp;
    /// readlinkat(2) that failed. `args[0]`: directory descriptor.
    READLINKAT = 144, "readlinkat", LooksUp;
    /// chmod(2) that failed. `args[1]`: mode.
    CHMOD = 145, "chmod", ActsOnPath;
    /// fchmodat(2) that failed. `args[0]`: directory descriptor; `args[2]`: mode.
    FCHMODAT = 146, "fchmodat", ActsOnPath;
    /// chown(2) that failed. `args[1]`, `args[2]`: user and group.
    CHOWN = 147, "chown", ActsOnPath;
    /// lchown(2) that failed. As chown.
    LCHOWN = 148, "lchown", ActsOnPath;
    /// fchownat(2) that failed. `args[0]`: directory descriptor; `args[2]`: user.
    FCHOWNAT = 149, "fchownat", ActsOnPath;
    /// symlink(2) that failed. `name`: target; `data`: path of the link.
    SYMLINK = 150, "symlink", ActsOnPath;
    /// symlinkat(2) that failed. `name`: target; `args[1]`: directory descriptor; `data`: path of the link.
    SYMLINKAT = 151, "symlinkat", ActsOnPath;
    /// link(2) that failed. `name`: old path; `data`: new path.
    LINK = 152, "link", ActsOnPath;
    /// linkat(2) that failed. As link; `args[0]`: old directory descriptor.
    LINKAT = 153, "linkat", ActsOnPath;
    /// truncate(2) that failed. `args[1]`: length.
    TRUNCATE = 154, "truncate", ActsOnPath;
    /// mknod(2) that failed. `args[1]`: mode.
    MKNOD = 155, "mknod", ActsOnPath;
    /// mknodat(2) that failed. `args[0]`: directory descriptor; `args[2]`: mode.
    MKNODAT = 156, "mknodat", ActsOnPath;
    /// mount(2) that failed. `name`: target; `args[0]` unused.
    MOUNT = 157, "mount", ActsOnPath;
    /// chroot(2) that failed.
    CHROOT = 158, "chroot", ActsOnPath;
    /// statfs(2) that failed.
    STATFS = 159, "statfs", ActsOnPath;

    /// mmap(2) that failed. `args[0]`: protection; `args[1]`: length; `args[2]`: flags.
    MMAP = 192, "mmap", Other;
    /// mprotect(2) that failed. `args[0]`: low 32 bits of the address; `args[1]`: length; `args[2]`: protection.
    MPROTECT = 193, "mprotect", Other;
    /// ftruncate(2) that failed. `args[0]`: descriptor; `args[1]`: length.
    FTRUNCATE = 194, "ftruncate", ActsOnFile;
    /// fallocate(2) that failed. `args[0]`: descriptor; `args[1]`: mode; `args[2]`: offset.
    FALLOCATE = 195, "fallocate", ActsOnFile;
    /// fsync(2) that failed. `args[0]`: descriptor.
    FSYNC = 196, "fsync", ActsOnFile;
    /// fdatasync(2) that failed. `args[0]`: descriptor.
    FDATASYNC = 197, "fdatasync", ActsOnFile;
    /// epoll_create1(2) that failed. `args[0]`: flags.
    EPOLL_CREATE1 = 198, "epoll_create1", Other;
    /// eventfd2(2) that failed.
    EVENTFD2 = 199, "eventfd2", Other;
    /// inotify_init1(2) that failed. `args[0]`: flags.
    INOTIFY_INIT1 = 200, "inotify_init1", Other;
    /// inotify_add_watch(2) that failed. `args[0]`: descriptor; `name`: path.
    INOTIFY_ADD_WATCH = 201, "inotify_add_watch", Other;
    /// setuid(2) that failed. `args[0]`: user.
    SETUID = 202, "setuid", Other;
    /// setgid(2) that failed. `args[0]`: group.
    SETGID = 203, "setgid", Other;
    /// setgroups(2) that failed. `args[0]`: number of groups.
    SETGROUPS = 204, "setgroups", Other;
    /// setresuid(2) that failed. `args`: real, effective, saved user.
    SETRESUID = 205, "setresuid", Other;
    /// setresgid(2) that failed. `args`: real, effective, saved group.
    SETRESGID = 206, "setresgid", Other;
    /// setrlimit(2) that failed. `args[0]`: resource.
    SETRLIMIT = 207, "setrlimit", Other;
    /// prlimit64(2) that failed. `args[0]`: pid; `args[1]`: resource.
    PRLIMIT64 = 208, "prlimit64", Other;
    /// sched_setaffinity(2) that failed. `args[0]`: pid.
    SCHED_SETAFFINITY = 209, "sched_setaffinity", Other;
    /// memfd_create(2) that failed. `name`: the name.
    MEMFD_CREATE = 210, "memfd_create", Other;
    /// unshare(2) that failed. `args[0]`: flags.
    UNSHARE = 211, "unshare", Other;
    /// setns(2) that failed. `args[0]`: descriptor; `args[1]`: type.
    SETNS = 212, "setns", Other;
    /// bpf(2) that failed. `args[0]`: command.
    BPF = 213, "bpf", Other;
    /// io_uring_setup(2), failed or not: system-call probes do not see what later goes through the ring. `args[0]`:
    /// entries; `ret`: descriptor.
    IO_URING_SETUP = 214, "io_uring_setup", Other;
    /// setsockopt(2) that failed. `args`: descriptor, level, option.
    SETSOCKOPT = 215, "setsockopt", Other;
    /// kill(2) that failed. `args`: pid, signal.
    KILL = 216, "kill", Other;
    /// flock(2) that failed. `args[0]`: descriptor; `args[1]`: operation.
    FLOCK = 217, "flock", ActsOnFile;
}

impl EventKind {
    /// Whether `data` of such an event is numbers: it is no text, no payload, and no secret.
    #[must_use]
    pub const fn has_numbers(self) -> bool {
        matches!(
            self,
            Self::STDIO | Self::SIGNAL_GENERATE | Self::INTERRUPTED
        )
    }

    /// Whether the kind is a system call. Then `ret` is its return value.
    #[must_use]
    pub const fn is_syscall(self) -> bool {
        match self.class() {
            Class::ChangesProcess | Class::Signals | Class::Gap => false,
            // Codes below 32 are reserved for kinds that are not system calls.
            Class::Unknown => self.0 >= 32,
            _ => true,
        }
    }
}

/// Who sent a signal: `args[2]` of [`EventKind::SIGNAL_GENERATE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum SignalOrigin {
    /// A process of the same container.
    Inside = 0,
    /// A process outside the container, such as a container runtime or a person on the node.
    Outside = 1,
    /// The kernel: a fault, the OOM killer, a limit, a timer, a terminal.
    Kernel = 2,
}

impl SignalOrigin {
    /// The origin with this code.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Inside),
            1 => Some(Self::Outside),
            2 => Some(Self::Kernel),
            _ => None,
        }
    }
}

/// Which cgroup had no memory left: `args[0]` of [`EventKind::OOM_KILL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum OomScope {
    /// A cgroup inside the container's cgroup.
    Inside = 1,
    /// The container's own cgroup.
    Container = 2,
    /// The cgroup above it: on Kubernetes the pod's.
    Parent = 3,
    /// A cgroup further above.
    Above = 4,
    /// No cgroup: the machine had no memory left.
    Machine = 5,
}

impl OomScope {
    /// The scope with this code.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Inside),
            2 => Some(Self::Container),
            3 => Some(Self::Parent),
            4 => Some(Self::Above),
            5 => Some(Self::Machine),
            _ => None,
        }
    }
}

/// What a process does with a delivered signal: `args[2]` of [`EventKind::SIGNAL_DELIVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum SignalDisposition {
    /// SIG_DFL: the default action is taken.
    Default = 0,
    /// SIG_IGN: the signal is ignored.
    Ignored = 1,
    /// A handler of the process runs.
    Caught = 2,
}

impl SignalDisposition {
    /// The disposition with this code.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Default),
            1 => Some(Self::Ignored),
            2 => Some(Self::Caught),
            _ => None,
        }
    }
}
