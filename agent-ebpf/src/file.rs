//! What a file descriptor refers to.

use agent_ebpf::wire::features;

use crate::{
    kernel::{Typed, has, read},
    maps::offset,
};

/// `S_IFMT >> 12` of inode(7).
pub mod file_type {
    pub const UNKNOWN: u8 = 0;
    pub const CHARACTER: u8 = 2;
    pub const REGULAR: u8 = 8;
    pub const SOCKET: u8 = 12;
}

/// An open file description (`struct file`).
#[derive(Clone, Copy)]
pub struct File(u64);

/// Its inode (`struct inode`).
#[derive(Clone, Copy)]
pub struct Inode(u64);

/// Last component of a path, in kernel memory.
#[derive(Clone, Copy)]
pub struct Name {
    pub source: u64,
    pub len: u64,
}

impl Name {
    pub const NONE: Self = Self { source: 0, len: 0 };
    /// File names kept in records of reads and writes are cut here.
    const KEPT: u64 = 63;

    /// How many bytes of it a record keeps.
    #[inline(always)]
    pub fn kept(&self) -> u64 {
        if self.len > Self::KEPT {
            Self::KEPT
        } else {
            self.len
        }
    }

    /// Whether it ends in `.log`.
    #[inline(always)]
    pub fn is_log(&self) -> bool {
        self.len > 4 && read::<[u8; 4]>(self.source + self.len - 4) == *b".log"
    }
}

impl File {
    /// What a descriptor of the current task refers to; none when it is not open, or when BTF lacks the offsets.
    #[inline(always)]
    pub fn of(task: Typed, descriptor: u32) -> Option<Self> {
        if !has(features::FILES) {
            return None;
        }
        let table = task
            .pointer(offset!(task_files))
            .pointer(offset!(files_fdt));
        if descriptor >= table.field::<u32>(offset!(fdt_max_fds)) {
            return None;
        }
        let descriptors: u64 = table.field(offset!(fdt_fd));
        match read::<u64>(descriptors + u64::from(descriptor) * 8) {
            0 => None,
            file => Some(Self(file)),
        }
    }

    /// What a descriptor of another task refers to.
    #[inline(always)]
    pub fn of_other(task: u64, descriptor: u32) -> Option<Self> {
        if !has(features::FILES) {
            return None;
        }
        let files: u64 = read(task + u64::from(offset!(task_files)));
        let table: u64 = read(files + u64::from(offset!(files_fdt)));
        if descriptor >= read::<u32>(table + u64::from(offset!(fdt_max_fds))) {
            return None;
        }
        let descriptors: u64 = read(table + u64::from(offset!(fdt_fd)));
        match read::<u64>(descriptors + u64::from(descriptor) * 8) {
            0 => None,
            file => Some(Self(file)),
        }
    }

    #[inline(always)]
    pub fn inode(self) -> Inode {
        Inode(read(self.0 + u64::from(offset!(file_inode))))
    }

    /// `private_data`: of a socket, the `struct socket`.
    #[inline(always)]
    pub fn private_data(self) -> u64 {
        read(self.0 + u64::from(offset!(file_private_data)))
    }

    /// Last component of the path it was opened by.
    #[inline(always)]
    pub fn name(self) -> Name {
        if !has(features::NAMES) {
            return Name::NONE;
        }
        let dentry: u64 = read(self.0 + u64::from(offset!(file_path_dentry)));
        // struct qstr { u32 hash; u32 len; const unsigned char *name; }
        let [hash_len, source]: [u64; 2] = read(dentry + u64::from(offset!(dentry_name)));
        Name {
            source,
            len: hash_len >> 32,
        }
    }
}

impl Inode {
    /// `S_IFMT >> 12` of its mode.
    #[inline(always)]
    pub fn file_type(self) -> u8 {
        (self.mode() >> 12) as u8
    }

    #[inline(always)]
    pub fn mode(self) -> u16 {
        read(self.0 + u64::from(offset!(inode_mode)))
    }

    /// Whether it is the end of a pseudo-terminal where somebody types, `/dev/ptmx` or an instance's `ptmx`: what is written to
    /// it, a program reads from a terminal.
    #[inline(always)]
    pub fn is_terminal_master(self) -> bool {
        /// Major 5, minor 2 (Documentation/admin-guide/devices.txt), as a `dev_t` of include/linux/kdev_t.h.
        const PTMX: u32 = 5 << 20 | 2;
        self.file_type() == file_type::CHARACTER
            && read::<u32>(self.0 + u64::from(offset!(inode_rdev))) == PTMX
    }

    #[inline(always)]
    pub fn number(self) -> u64 {
        read(self.0 + u64::from(offset!(inode_ino)))
    }

    #[inline(always)]
    pub fn size(self) -> u64 {
        read(self.0 + u64::from(offset!(inode_size)))
    }
}
