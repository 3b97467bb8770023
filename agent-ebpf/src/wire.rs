//! Layout of the rings, records, tables and settings that the eBPF programs share with the agent.

use core::mem::{offset_of, size_of};

// ── Ring ────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of one lane in which newer records overwrite older ones.
pub const LANE_SIZE: usize = 128 << 10;
/// Bytes before those, for the lane's first records, which nothing overwrites: how a container began is known even after
/// an hour of probes.
pub const LANE_BEGINNING: usize = 8 << 10;
/// Lanes of a ring.
pub const LANES: usize = 8;
/// Most bytes of a name (path, file name, socket address) in a record.
pub const NAME_MAX: usize = 512;
/// Most bytes of data in a record.
pub const DATA_MAX: usize = 4096;
/// Bytes of the largest record: it may run past its lane's end by less than this.
pub const RECORD_MAX: usize = size_of::<Record>() + NAME_MAX + DATA_MAX;
/// Distance between the starts of two lanes.
pub const LANE_STRIDE: usize = LANE_BEGINNING + LANE_SIZE + RECORD_MAX;
/// Room behind the last lane that is never written: the verifier bounds offsets and lengths by masks, which are wider than
/// the real limits.
const VERIFIER_SLACK: usize = 3 * 4096 + LANE_BEGINNING;

/// All ones if a record is one of the lane's first, else 0. `since_start`: bytes reserved before the record since the ring
/// was given to its container; a multiple of 16.
#[inline(always)]
#[must_use]
pub const fn is_first(since_start: u64) -> u64 {
    (since_start.wrapping_sub(LANE_BEGINNING as u64) as i64 >> 63) as u64
}

/// Where a record is: bytes from its lane's start. `is_first`: [`is_first`] of `since_start`. The first records are
/// followed by those that are overwritten, so a record may reach from the former into the latter. There is no branch,
/// because the verifier would check whatever follows for both ways.
#[inline(always)]
#[must_use]
pub const fn offset_in_lane(since_start: u64, is_first: u64) -> u64 {
    let first = since_start & (LANE_BEGINNING as u64 - 16);
    let later = since_start.wrapping_sub(LANE_BEGINNING as u64) & (LANE_SIZE as u64 - 16);
    (first & is_first) + ((later + LANE_BEGINNING as u64) & !is_first)
}

/// What a lane holds. What is loud must not displace what is precious, so they do not share a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Lane {
    /// exec, fork, exit, signals, OOM kills.
    Life = 0,
    /// System calls that failed.
    Failures = 1,
    /// DNS, and connect, bind, listen, accept with their outcome.
    Network = 2,
    /// What turns a descriptor into a path: open, close, dup, pipe, socket, chdir.
    Files = 3,
    /// What was read from small text files.
    Config = 4,
    /// Writes to standard error, to `*.log`, and writes that failed.
    Errors = 5,
    /// Writes to standard output.
    Output = 6,
    /// All other reads, writes, sends and receives.
    Bulk = 7,
}

/// Descriptors that are remembered at a time.
pub const REMEMBERED: usize = 128;

/// Processes whose threads are noted at a time.
pub const NOTED: usize = 8;
/// Threads of one process that are noted at most.
pub const THREADS_MOST: u32 = 64;

/// A process whose threads were noted when a signal came.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Noted {
    /// Its id; 0: none.
    pub process: u32,
    /// 1: that signal ended it.
    pub at_end: u32,
    /// CLOCK_BOOTTIME, in nanoseconds, of the signal.
    pub time: u64,
    /// Threads that were on a CPU then, and note themselves when they end: bit `thread id % 64`.
    pub left: u64,
    /// How many threads have noted themselves.
    pub dying: u32,
    /// Zero.
    pub reserved: u32,
}

/// State of one lane, at the start of the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneHeader {
    /// Bytes ever reserved; only grows, over all containers that had the ring.
    pub head: u64,
    /// `head` when the ring was given to its container: nothing before it is the container's.
    pub start: u64,
    /// Records reserved since then.
    pub records: u64,
    /// Writers since then that found their record lapped while they wrote it.
    pub torn: u64,
}

/// A ring: the recorder of one run. The value of a map with one element.
#[repr(C)]
pub struct Ring {
    /// State of each lane.
    pub lanes: [LaneHeader; LANES],
    /// Id of the cgroup of the container that has it.
    pub cgroup: u64,
    /// Process id of the container's first process; 0: not known yet, or it shares its pid namespace with other containers.
    pub init: u64,
    /// CLOCK_BOOTTIME, in nanoseconds, when it was given.
    pub assigned: u64,
    /// Calls in the 32-bit ABI, which are counted and not decoded.
    pub compat: u64,
    /// Inode number of the container's standard output (as of its first process's first exec); 0: unknown.
    pub stdout: u64,
    /// Inode number of its standard error.
    pub stderr: u64,
    /// Grows whenever a descriptor may have come to mean something else: what is remembered about descriptors is then void.
    pub generation: u64,
    /// What descriptors refer to, as last looked up; see the programs' `remember` module.
    pub remembered: [[u64; 2]; REMEMBERED],
    /// Id of the cgroup of the outermost container that this one is inside of; its own if it is inside none.
    pub outermost: u64,
    /// Of an outermost container: how many cgroups inside it are in the table and have no ring of their own.
    pub nested: u64,
    /// Of an outermost container: how many containers inside it have a ring.
    pub inner: u64,
    /// Of an outermost container: how many cgroups inside it, of either kind, found no place.
    pub turned_away: u64,
    /// 1: the container ran already when it got the ring; 0: it is recorded from its start.
    pub adopted: u64,
    /// Number of the run, as far as an agent has counted it; 0: not yet.
    pub run: u64,
    /// Of which processes the threads were noted when a signal came, by process id; see the programs' `threads` module.
    pub noted: [Noted; NOTED],
    /// Path of the container's cgroup in its hierarchy, with a NUL at the end; what does not fit is cut.
    pub path: [u8; NAME_MAX],
    _header: [u8; 4096
        - LANES * size_of::<LaneHeader>()
        - 13 * 8
        - REMEMBERED * 16
        - NOTED * size_of::<Noted>()
        - NAME_MAX],
    /// The lanes, [`LANE_STRIDE`] apart.
    pub data: [u8; LANES * LANE_STRIDE + VERIFIER_SLACK],
}

const _: () = assert!(offset_of!(Ring, data) == 4096);
const _: () = assert!(LANE_STRIDE.is_multiple_of(16) && LANE_SIZE.is_power_of_two());
const _: () = assert!(LANE_BEGINNING.is_power_of_two());
const _: () = assert!(size_of::<Ring>() < 1200 << 10);

// ── Record ──────────────────────────────────────────────────────────────────────────────────────

/// Head of a record; name and data follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Position in the lane XOR the key of this load ([`Config::key`]); complemented while the record is being written.
    pub stamp: u64,
    /// Length of head, name, data and padding, in units of 16 bytes.
    pub units: u16,
    /// System call number, or one of [`life`].
    pub kind: u16,
    /// Bytes of the name.
    pub name_len: u16,
    /// Bytes of the data.
    pub data_len: u16,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub time: u64,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Return value.
    pub ret: i64,
    /// First argument, in most calls a descriptor.
    pub arg0: i32,
    /// Bits of [`flags`].
    pub flags: u8,
    /// `S_IFMT >> 12` of the descriptor in `arg0`; 0: not looked at.
    pub fd_type: u8,
    /// Zero.
    pub reserved: u16,
    /// Second argument.
    pub arg1: u64,
    /// Third argument.
    pub arg2: u64,
}

const _: () = assert!(size_of::<Record>() == 64);

/// Flags of a record; the values are those of the capture's event flags.
pub mod flags {
    /// Name or data could not be read from the process's memory.
    pub const FAULT: u8 = 2;
    /// The call moved more bytes than `data` has.
    pub const TRUNCATED: u8 = 4;
    /// The name was cut.
    pub const NAME_TRUNCATED: u8 = 8;
}

/// Kinds of record that are not system calls.
pub mod life {
    /// A program was executed.
    pub const EXEC: u16 = 0x8001;
    /// A process was forked.
    pub const FORK: u16 = 0x8002;
    /// A process ended.
    pub const EXIT: u16 = 0x8003;
    /// A signal was sent.
    pub const SIGNAL_GENERATE: u16 = 0x8004;
    /// A signal was taken.
    pub const SIGNAL_DELIVER: u16 = 0x8005;
    /// The OOM killer chose a victim.
    pub const OOM_KILL: u16 = 0x8006;
    /// What descriptors 0 to 2 are.
    pub const STDIO: u16 = 0x8007;
    /// What a thread was doing when a signal came that ends its process or asks it to end: `ret` is a system call's number
    /// or one of [`interrupted`](super::interrupted), `arg0` the call's first argument, `arg1` for how many nanoseconds the
    /// thread has waited at least (0: not known), `arg2` the signal. [`Interrupted`](super::Interrupted) follows as data,
    /// after the name of the file or the address of the socket that the first argument refers to.
    pub const INTERRUPTED: u16 = 0x8008;
}

/// What a thread is doing that is in no system call whose number is known.
pub mod interrupted {
    /// It is running, or is in the kernel for another reason than a call.
    pub const RUNNING: i64 = -1;
    /// It is in a call of the 32-bit ABI.
    pub const COMPAT: i64 = -2;
}

/// Data of a record [`life::INTERRUPTED`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// The call's arguments.
    pub args: [u64; 6],
    /// How many threads the process has.
    pub threads: u64,
    /// Inode number of the file that the first argument refers to; 0: none, or not known.
    pub inode: u64,
    /// 1: the address is the socket's own, as it has no peer.
    pub own: u64,
}

// ── System calls ────────────────────────────────────────────────────────────────────────────────

/// System call numbers that the table covers.
pub const SYSCALLS: usize = 512;

/// What the programs do with a system call: which arguments mean what, and when it is worth a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Not recorded.
    None = 0,
    /// (fd, buffer, length): bytes read.
    Read,
    /// (fd, iovec, count): bytes read.
    Readv,
    /// (fd, buffer, length): bytes written.
    Write,
    /// (fd, iovec, count): bytes written.
    Writev,
    /// (path, flags, mode).
    Open,
    /// (dirfd, path, flags, mode).
    Openat,
    /// (dirfd, path, open_how).
    Openat2,
    /// (path, mode).
    Creat,
    /// Three plain arguments.
    Args,
    /// (path).
    Path,
    /// fcntl: only F_DUPFD and F_DUPFD_CLOEXEC, and locks that were not to be had.
    Fcntl,
    /// (int[2], flags).
    Pipe,
    /// (fd, sockaddr, length).
    Sockaddr,
    /// (fd, backlog).
    Listen,
    /// (fd, …) with a new socket as the result.
    Accept,
    /// getsockopt: only SO_ERROR.
    Getsockopt,
    /// (fd, buffer, length, flags, sockaddr, length).
    Sendto,
    /// (fd, buffer, length, flags, sockaddr, *length).
    Recvfrom,
    /// (fd, msghdr).
    Sendmsg,
    /// (fd, msghdr).
    Recvmsg,
    /// (fd, mmsghdr, count).
    Sendmmsg,
    /// (fd, mmsghdr, count).
    Recvmmsg,

    // From here on only failed calls are recorded; the programs compare with the first of them.
    /// (path, argv), when it failed.
    Execve,
    /// (dirfd, path, argv, envp, flags), when it failed.
    Execveat,
    /// Three plain arguments, when it failed.
    FailedArgs,
    /// (path, …), when it failed.
    FailedPath,
    /// (dirfd, path, …), when it failed.
    FailedPathat,
    /// (path, path), when it failed.
    FailedTwoPaths,
    /// (dirfd, path, dirfd, path), when it failed.
    FailedTwoPathsat,
    /// (target, dirfd, path), when it failed.
    FailedSymlinkat,
    /// (address, length, protection, flags), when it failed.
    Mmap,
}

// ── Whose event: cgroup id → ring ───────────────────────────────────────────────────────────────

/// Sets of the cgroup table.
pub const CGROUP_SETS: usize = 8192;
/// Cgroups in a set.
pub const CGROUP_WAYS: usize = 4;

/// A set of the table from cgroup id to ring; an id is in the set that [`cgroup_set`] names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupSet {
    /// Cgroup ids; 0: free. [`CLAIMED`] while the kernel side fills the place.
    pub ids: [u64; CGROUP_WAYS],
    /// The ring of each, and [`NESTED`].
    pub rings: [u32; CGROUP_WAYS],
}

/// The set of a cgroup's id. Ids count up in steps, which differ from kernel to kernel and with the controllers, so the id's
/// bits are mixed; and with the key of this load ([`Config::key`]), so that nobody can make cgroups that meet in one set.
#[inline(always)]
#[must_use]
pub const fn cgroup_set(cgroup: u64, key: u64) -> usize {
    /// A multiplier that changes every bit of the result with a probability near one half.
    const MIX: u64 = 0xd6e8_feb8_6659_fd93;
    let mut hash = cgroup ^ key;
    hash = (hash ^ hash >> 32).wrapping_mul(MIX);
    hash = (hash ^ hash >> 32).wrapping_mul(MIX);
    (hash >> (u64::BITS - CGROUP_SETS.ilog2())) as usize
}

/// Most cgroups inside an outermost container that share a ring. Others are treated as outside, so that a container that
/// may write to its cgroup file system leaves room for others.
pub const NESTED_MOST: u64 = 64;
/// Most containers inside an outermost container that have a ring.
pub const INNER_MOST: u64 = 4;
/// How many levels above a container's cgroup are searched for containers. One further down gets no ring.
pub const LEVELS: usize = 32;

/// Stands for an id while its place is being filled.
pub const CLAIMED: u64 = u64::MAX;
/// Bit of [`CgroupSet::rings`]: the cgroup is inside a container's, and shares its ring.
pub const NESTED: u32 = 1 << 31;
/// Most rings a node can have.
pub const RINGS: usize = 4096;

/// Shape of a container's cgroup name: a prefix, an id, and the end or a dot. The first shape whose prefix
/// fits decides.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// First bytes of the name, as words in this machine's byte order: the verifier follows three comparisons, not a loop.
    pub prefix: [u64; 3],
    /// Which bits of them count.
    pub mask: [u64; 3],
    /// How many bytes of the name the prefix covers.
    pub prefix_len: u32,
    /// 0: whatever follows fits. [`NO_SHAPE`] ends the table. Otherwise [`ID_DIGITS`] hexadecimal digits follow.
    pub digits: u32,
}

/// Hexadecimal digits of a container's id.
pub const ID_DIGITS: u64 = 64;

/// Not a shape.
pub const NO_SHAPE: u32 = u32::MAX;

impl Shape {
    /// The shape of a prefix (its first 24 bytes), which an id follows or anything.
    pub fn new(prefix: &[u8], has_id: bool) -> Self {
        let length = prefix.len().min(24);
        let (mut bytes, mut mask) = ([0; 24], [0; 24]);
        bytes[..length].copy_from_slice(&prefix[..length]);
        mask[..length].fill(0xff);
        Self {
            prefix: words(bytes),
            mask: words(mask),
            prefix_len: length as u32,
            digits: if has_id { ID_DIGITS as u32 } else { 0 },
        }
    }
}

fn words(bytes: [u8; 24]) -> [u64; 3] {
    let (chunks, _) = bytes.as_chunks::<8>();
    [0, 1, 2].map(|index| u64::from_ne_bytes(chunks[index]))
}

/// Shapes in the table.
pub const SHAPES: usize = 8;

// ── Control messages ────────────────────────────────────────────────────────────────────────────

/// What the kernel side tells user space at once; everything else waits in the rings. Where a cgroup was made, its path
/// in its hierarchy follows, without NUL and of at most [`NAME_MAX`] - 1 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// One of [`control`].
    pub kind: u32,
    /// Ring, where there is one.
    pub ring: u32,
    /// The container's cgroup.
    pub cgroup: u64,
    /// Of an exit: wait status and pid; of a refusal: one of [`control`]'s reasons; of an assignment: the cgroup of the
    /// outermost container around it, 0 if there is none.
    pub value: u64,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub time: u64,
}

/// A [`Control`] with the path of a cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ControlWithPath {
    /// What is told.
    pub control: Control,
    /// The path; as many bytes of it are sent as it has.
    pub path: [u8; NAME_MAX],
}

const _: () = assert!(offset_of!(ControlWithPath, path) == size_of::<Control>());

/// Kinds of control message, and reasons of a refusal.
pub mod control {
    /// A container's cgroup was made and got a ring.
    pub const ASSIGNED: u32 = 1;
    /// A container's cgroup was made and could not get a ring.
    pub const REFUSED: u32 = 2;
    /// The first process of a container (pid 1 of its namespace, started from outside) ended.
    pub const INIT_EXIT: u32 = 3;
    /// A container's cgroup was removed.
    pub const REMOVED: u32 = 4;
    /// Refused: no free ring.
    pub const POOL_EMPTY: u64 = 1;
    /// Refused: the cgroup's set is full.
    pub const SET_FULL: u64 = 2;
    /// Refused: a cgroup inside a recorded container's. Only the first such refusal is reported, with the outermost
    /// container's ring and cgroup; [`Ring::turned_away`](super::Ring::turned_away) counts them.
    pub const TURNED_AWAY: u64 = 3;
}

// ── Programs that outlive their agent ───────────────────────────────────────────────────────────

/// What an agent tells programs that may outlive it, and what it leaves to the next agent.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// CLOCK_BOOTTIME, in nanoseconds, until which the programs record; an agent that lives puts it off.
    pub until: u64,
    /// [`Config::key`], for the next agent.
    pub key: u64,
    /// How many messages without room an agent knows of.
    pub lost: u64,
}

/// Version of what user space alone writes into maps that the next agent reads. What the programs do has no number: it
/// is in the hash of the object.
pub const LEFT: u32 = 1;

// ── Settings ────────────────────────────────────────────────────────────────────────────────────

/// Settings, fixed when the programs are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Random per load, so that no payload can look like a record.
    pub key: u64,
    /// Bit `n - 1`: signal `n` is recorded when it is sent or taken.
    pub signals: u64,
    /// Largest regular file whose content is read as configuration, in bytes.
    pub config_file_max: u64,
    /// Bits of [`features`].
    pub features: u32,
    /// Most bytes kept of output, DNS, configuration and failed writes; at most [`DATA_MAX`].
    pub text_max: u32,
    /// Most bytes kept of other reads and writes; at most [`DATA_MAX`].
    pub other_max: u32,
    /// Of a version 1 hierarchy: index of one of its controllers in `css_set.subsys` (`enum cgroup_subsys_id`).
    pub subsystem: u32,
    /// The hierarchy that containers are told apart in (`cgroup_root.hierarchy_id`); 0: the unified one.
    pub hierarchy: u64,
    /// Id of the cgroup at which user space sees this hierarchy mounted; 0 if unknown. What is above is no container: the
    /// machine itself may be one.
    pub top: u64,
    /// Index of the memory controller in `css_set.subsys` (`enum cgroup_subsys_id`).
    pub memory: u32,
    /// Bytes of a page of memory.
    pub page_size: u32,
}

/// What the kernel's BTF has the offsets for.
pub mod features {
    /// What a descriptor refers to.
    pub const FILES: u32 = 1;
    /// Names of open files.
    pub const NAMES: u32 = 2;
    /// Peers of sockets.
    pub const SOCKETS: u32 = 4;
    /// Pids in the process's own namespace.
    pub const PID_NAMESPACES: u32 = 8;
    /// Calls in the 32-bit ABI are told from others.
    pub const COMPAT: u32 = 16;
    /// `mark_victim` passes the task, not its pid.
    pub const OOM_TASK: u32 = 32;
    /// Limit and usage of memory cgroups.
    pub const MEMORY: u32 = 64;
    /// What threads are doing.
    pub const THREADS: u32 = 128;
    /// For how long they have waited.
    pub const WAITED: u32 = 256;
}

/// Which cgroup had no memory left when the OOM killer chose: `OomScope` of the capture format; 0 where that is not known.
pub mod ran_out {
    /// One inside the container.
    pub const INSIDE: i32 = 1;
    /// The container's own.
    pub const CONTAINER: i32 = 2;
    /// The one above it: a pod's.
    pub const PARENT: i32 = 3;
    /// One further above.
    pub const ABOVE: i32 = 4;
    /// None: the machine had none left.
    pub const MACHINE: i32 = 5;
}

/// Declares [`Offsets`] and the list that user space fills it from.
macro_rules! offsets {
    ($($field:ident = $type:literal . $member:literal),+ $(,)?) => {
        /// Offsets of kernel structures' members in bytes, from the running kernel's BTF; [`MISSING`] where it has none.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct Offsets {
            $(#[doc = concat!("`", $type, ".", $member, "`")] pub $field: u32,)+
        }

        impl Offsets {
            /// Every offset unknown.
            pub const UNKNOWN: Self = Self { $($field: MISSING),+ };

            /// Fills every offset by asking for (structure, member).
            pub fn resolve(mut ask: impl FnMut(&'static str, &'static str) -> Option<u32>) -> Self {
                Self { $($field: ask($type, $member).unwrap_or(MISSING)),+ }
            }
        }
    };
}

/// An offset that BTF does not have.
pub const MISSING: u32 = 0xffff_fff1;

offsets! {
    task_mm = "task_struct"."mm",
    task_files = "task_struct"."files",
    task_signal = "task_struct"."signal",
    task_comm = "task_struct"."comm",
    task_pid = "task_struct"."pid",
    task_tgid = "task_struct"."tgid",
    task_exit_code = "task_struct"."exit_code",
    task_group_leader = "task_struct"."group_leader",
    task_real_parent = "task_struct"."real_parent",
    task_children = "task_struct"."children",
    task_sibling = "task_struct"."sibling",
    task_thread_pid = "task_struct"."thread_pid",
    task_cgroups = "task_struct"."cgroups",
    task_ti_status = "task_struct"."thread_info.status",
    task_ti_flags = "task_struct"."thread_info.flags",
    task_stack = "task_struct"."stack",
    task_on_cpu = "task_struct"."on_cpu",
    task_thread_node = "task_struct"."thread_node",
    task_last_arrival = "task_struct"."sched_info.last_arrival",
    task_ran = "task_struct"."se.sum_exec_runtime",
    task_ran_before = "task_struct"."se.prev_sum_exec_runtime",
    mm_arg_start = "mm_struct"."arg_start",
    mm_arg_end = "mm_struct"."arg_end",
    signal_live = "signal_struct"."live",
    signal_flags = "signal_struct"."flags",
    signal_group_exit_code = "signal_struct"."group_exit_code",
    signal_thread_head = "signal_struct"."thread_head",
    signal_nr_threads = "signal_struct"."nr_threads",
    pid_level = "pid"."level",
    pid_numbers = "pid"."numbers",
    binprm_filename = "linux_binprm"."filename",
    exec_record_filename = "trace_event_raw_sched_process_exec"."__data_loc_filename",
    exec_record_old_pid = "trace_event_raw_sched_process_exec"."old_pid",
    fork_record_child_pid = "trace_event_raw_sched_process_fork"."child_pid",
    files_fdt = "files_struct"."fdt",
    fdt_max_fds = "fdtable"."max_fds",
    fdt_fd = "fdtable"."fd",
    file_inode = "file"."f_inode",
    file_path_dentry = "file"."f_path.dentry",
    file_private_data = "file"."private_data",
    inode_mode = "inode"."i_mode",
    inode_rdev = "inode"."i_rdev",
    inode_size = "inode"."i_size",
    inode_ino = "inode"."i_ino",
    dentry_name = "dentry"."d_name",
    socket_sk = "socket"."sk",
    sock_dport = "sock_common"."skc_dport",
    sock_num = "sock_common"."skc_num",
    sock_family = "sock_common"."skc_family",
    sock_daddr = "sock_common"."skc_daddr",
    sock_rcv_saddr = "sock_common"."skc_rcv_saddr",
    sock_v6_daddr = "sock_common"."skc_v6_daddr",
    sock_v6_rcv_saddr = "sock_common"."skc_v6_rcv_saddr",
    css_set_dfl_cgrp = "css_set"."dfl_cgrp",
    css_set_subsys = "css_set"."subsys",
    css_cgroup = "cgroup_subsys_state"."cgroup",
    cgroup_kn = "cgroup"."kn",
    cgroup_root = "cgroup"."root",
    cgroup_self = "cgroup"."self",
    css_parent = "cgroup_subsys_state"."parent",
    cgroup_root_hierarchy = "cgroup_root"."hierarchy_id",
    kernfs_id = "kernfs_node"."id",
    kernfs_name = "kernfs_node"."name",
    mem_cgroup_memory = "mem_cgroup"."memory",
    mem_cgroup_events = "mem_cgroup"."memory_events_local",
    page_counter_usage = "page_counter"."usage",
    page_counter_max = "page_counter"."max",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_count_up_in_any_step_fill_the_sets_evenly() {
        const CGROUPS: u64 = 4000;
        for step in 1..=256 {
            let mut sets = [0u8; CGROUP_SETS];
            for number in 0..CGROUPS {
                sets[cgroup_set(5000 + number * step, 0x5bd1_e995)] += 1;
            }
            let over = sets
                .iter()
                .map(|ids| usize::from(*ids).saturating_sub(CGROUP_WAYS));
            let without_place: usize = over.sum();
            assert!(
                without_place <= 16,
                "{without_place} of {CGROUPS}, step {step}"
            );
        }
    }

    #[test]
    fn who_meets_in_a_set_depends_on_the_key() {
        let meet = |key| {
            let first = cgroup_set(1, key);
            (2..100_000)
                .filter(|id| cgroup_set(*id, key) == first)
                .take(4)
                .fold(0, |all, id| all ^ id << 8)
        };
        assert_ne!(meet(1), meet(2));
    }
}
