//! One process, as /proc shows it (proc(5)).

use std::{
    fs,
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::Path,
};

use agent_ebpf::wire::DATA_MAX;
use capture_format::{BootTime, NamespacePid};

/// Length of a tick of USER_HZ, the unit of times in /proc: 100 per second on the architectures that are recorded.
pub(super) const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;
/// A mode that only says that a descriptor is open, and not what it refers to; the kernel's own inodes have it, too.
const UNKNOWN: u64 = 0o600;
/// `S_IFMT` modes of inode(7).
const S_IFIFO: u64 = 0o010_000;
const S_IFSOCK: u64 = 0o140_000;

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// The pid in the process's own namespace; 0 if unknown.
    pub(super) namespace_pid: NamespacePid,
    /// Command name.
    pub(super) comm: Vec<u8>,
    /// When it started.
    pub(super) start: BootTime,
}

impl Process {
    /// Reads a process; `None` if it has ended.
    pub(super) fn read(proc: &Path, pid: u32) -> Option<Self> {
        let own = proc.join(pid.to_string());
        let stat = fs::read(own.join("stat")).ok()?;
        // `PID (NAME) STATE PARENT …`: the name may contain blanks and brackets.
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = String::from_utf8_lossy(stat.get(close + 1..)?).into_owned();
        let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse().ok();
        let status = fs::read(own.join("status")).unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let namespace_pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        Some(Self {
            pid,
            parent: field(4).map(|parent: u64| parent as u32)?,
            namespace_pid: namespace_pids
                .and_then(|pids| {
                    pids.split_whitespace()
                        .last()?
                        .parse()
                        .ok()
                        .map(NamespacePid)
                })
                .unwrap_or_default(),
            comm: stat.get(open + 1..close)?.to_vec(),
            start: BootTime(field(22)? * NANOSECONDS_PER_TICK),
        })
    }
}

/// The path of the program that a process runs, as the process sees it.
pub(super) fn executable(process: &Path) -> Option<Vec<u8>> {
    link(&process.join("exe"))
}

/// A process's working directory.
pub(super) fn directory(process: &Path) -> Option<Vec<u8>> {
    link(&process.join("cwd"))
}

/// A process's arguments, each ended by NUL, and whether there are more.
pub(super) fn arguments(process: &Path) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(process.join("cmdline")) {
        // If reading fails, the bytes before the error are kept.
        let _ = file.take(DATA_MAX as u64 + 1).read_to_end(&mut bytes);
    }
    let is_cut = bytes.len() > DATA_MAX;
    bytes.truncate(DATA_MAX);
    (bytes, is_cut)
}

/// The target of a link, without the mark of a file that was removed.
fn link(path: &Path) -> Option<Vec<u8>> {
    let target = fs::read_link(path).ok()?.into_os_string().into_vec();
    let removed = target.strip_suffix(b" (deleted)").map(<[u8]>::to_vec);
    Some(removed.unwrap_or(target))
}

/// What a descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A path, with inode number and mode of the file if they could be read.
    File {
        /// The path as the process sees it.
        path: Vec<u8>,
        inode: u64,
        mode: u64,
    },
    /// A pipe, by its inode number.
    Pipe(u64),
    /// A socket, by its inode number.
    Socket(u64),
    /// Something of the kernel's, such as an eventfd.
    Other,
}

impl Target {
    /// Reads a descriptor of the process whose folder in /proc is `process`; `None` if it is not open.
    pub(super) fn read(process: &Path, descriptor: u32) -> Option<Self> {
        let link_path = process.join("fd").join(descriptor.to_string());
        let path = link(&link_path)?;
        let bracketed = |kind: &[u8]| {
            let rest = path.strip_prefix(kind)?.strip_suffix(b"]")?;
            std::str::from_utf8(rest).ok()?.parse().ok()
        };
        if let Some(inode) = bracketed(b"pipe:[") {
            return Some(Self::Pipe(inode));
        }
        if let Some(inode) = bracketed(b"socket:[") {
            return Some(Self::Socket(inode));
        }
        if !Path::new(std::ffi::OsStr::from_bytes(&path)).is_absolute() {
            return Some(Self::Other);
        }
        let metadata = fs::metadata(&link_path).ok();
        Some(Self::File {
            path,
            inode: metadata.as_ref().map_or(0, MetadataExt::ino),
            mode: metadata.map_or(UNKNOWN, |metadata| metadata.mode().into()),
        })
    }

    pub(super) fn inode(&self) -> u64 {
        match self {
            Self::File { inode, .. } | Self::Pipe(inode) | Self::Socket(inode) => *inode,
            Self::Other => 0,
        }
    }

    /// `st_mode`; for pipes and sockets only the type.
    pub(super) fn mode(&self) -> u64 {
        match self {
            Self::File { mode, .. } => *mode,
            Self::Pipe(_) => S_IFIFO,
            Self::Socket(_) => S_IFSOCK,
            Self::Other => UNKNOWN,
        }
    }
}

/// The flags with which a descriptor was opened, O_CLOEXEC included; 0 if unknown.
pub(super) fn open_flags(process: &Path, descriptor: u32) -> i64 {
    let info = fs::read_to_string(process.join("fdinfo").join(descriptor.to_string()));
    let flags = info.unwrap_or_default();
    let mut octal = flags.lines().filter_map(|line| line.strip_prefix("flags:"));
    octal
        .next()
        .and_then(|octal| i64::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or_default()
}

/// Descriptors of a process, the lowest first; at most `most`.
pub(super) fn descriptors(process: &Path, most: usize) -> Vec<u32> {
    let entries = fs::read_dir(process.join("fd")).into_iter().flatten();
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = numbers.take(most).collect();
    numbers.sort_unstable();
    numbers
}
