//! What outlives the agent: maps, rings, programs and links, pinned in a folder of the BPF file system.
//!
//! The folder is root's alone, and the agent that uses it has it locked. Inside it there is a folder for one version:
//! its name is a hash of everything that has to be the same for the next agent to go on. A version is whole when its
//! last link is pinned, which is that of the probe that is attached last.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use agent_ebpf::wire::{CGROUP_SETS, CgroupSet, Lease, RINGS};
use aya::{
    maps::{Map, MapData, MapType},
    programs::links::FdLink,
};
use capture_format::chain;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{ring::RING_BYTES, sys};

/// The probe that is attached last.
pub(super) const LAST: &str = "cgroup_mkdir";

/// A map that is pinned: its name in the object, and what it has to be like.
struct Shape {
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: usize,
}

const fn shape(
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: usize,
) -> Shape {
    Shape {
        name,
        kind,
        key,
        value,
        entries,
    }
}

/// Every map that the next agent reads.
const MAPS: [Shape; 6] = [
    shape("RINGS", MapType::ArrayOfMaps, 4, 4, RINGS),
    shape("POOL", MapType::Queue, 0, 4, RINGS),
    shape(
        "CGROUPS",
        MapType::Array,
        4,
        size_of::<CgroupSet>(),
        CGROUP_SETS,
    ),
    shape("CONTROL", MapType::RingBuf, 0, 0, 256 << 10),
    shape("CONTROL_LOST", MapType::Array, 4, 8, 1),
    shape(LEASE, MapType::Array, 4, size_of::<Lease>(), 1),
];
/// The section of the programs' `LEASE`, which is a map.
pub(super) const LEASE: &str = ".data.lease";
const RING: Shape = shape("ring", MapType::Array, 4, RING_BYTES, 1);

/// Why nothing outlives the agent.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// No BPF file system is mounted there.
    #[error(
        "{} is in no BPF file system; mount one on the node (`mount -t bpf bpf /sys/fs/bpf`), and in the agent's pod the node's", .0.display()
    )]
    NoBpf(PathBuf),
    /// Somebody else could have changed what is in the folder.
    #[error("{} {why}; remove it, or name another one (recorder.pin)", .path.display())]
    NotTrusted {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another agent has locked the folder.
    #[error("another agent of this node uses {}", .0.display())]
    Taken(PathBuf),
    /// The kernel's answer.
    #[error("cannot {act} {}", .path.display())]
    Kernel {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel makes no link of an attached program.
    #[error("this kernel makes no link of the program {0}, which Linux 5.15 and newer do")]
    NoLink(&'static str),
    /// What is pinned is not what this version pins.
    #[error("{} is no map of this version", .0.display())]
    OtherMap(PathBuf),
}

/// For `map_err`: what could not be done, and with what.
fn cannot(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Kernel { act, path, source }
}

/// The folder of all versions, locked.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock, for as long as this is open.
    _lock: File,
}

impl Folder {
    /// Makes the folder, or opens the one that is there if it can be trusted, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, PinError> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let system = statfs(parent).map_err(|error| cannot("look at", parent)(error.into()))?;
        if system.filesystem_type() != BPF_FS_MAGIC {
            return Err(PinError::NoBpf(path.to_owned()));
        }
        trust_parent(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(cannot("make", path)(error));
            }
            _ => {}
        }
        Self::lock(path)
    }

    /// Opens the folder if it is there.
    fn existing(path: &Path) -> Result<Option<Self>, PinError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::lock(path).map(Some),
        }
    }

    fn lock(path: &Path) -> Result<Self, PinError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
        let folder = options.open(path).map_err(cannot("open", path))?;
        let found = folder.metadata().map_err(cannot("look at", path))?;
        let not_trusted = |why| PinError::NotTrusted {
            path: path.to_owned(),
            why,
        };
        if found.uid() != 0 {
            return Err(not_trusted("does not belong to root"));
        }
        if found.mode() & 0o7777 != 0o700 {
            return Err(not_trusted("has another mode than 0700"));
        }
        match folder.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: folder,
            }),
            Err(TryLockError::WouldBlock) => Err(PinError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(cannot("lock", path)(error)),
        }
    }

    /// The folder of a version, which need not be there.
    pub(super) fn version(&self, name: &str) -> Version {
        Version {
            path: self.path.join(name),
        }
    }

    /// Removes what other versions left, so that their programs stop.
    pub(super) fn remove_others(&self, name: &str) -> Result<(), PinError> {
        let entries = fs::read_dir(&self.path).map_err(cannot("read", &self.path))?;
        for entry in entries.flatten() {
            if entry.file_name() != name {
                let path = entry.path();
                tracing::info!(path = %path.display(), "what another version left is removed");
                Version { path }.remove()?;
            }
        }
        Ok(())
    }
}

/// Others who may write to the folder above must not be able to put another folder in the place of ours.
fn trust_parent(parent: &Path) -> Result<(), PinError> {
    let found = fs::metadata(parent).map_err(cannot("look at", parent))?;
    let (others_write, is_sticky) = (found.mode() & 0o022 != 0, found.mode() & 0o1000 != 0);
    let why = if found.uid() != 0 {
        "does not belong to root"
    } else if others_write && !is_sticky {
        "can be written by others, and is not sticky"
    } else {
        return Ok(());
    };
    Err(PinError::NotTrusted {
        path: parent.to_owned(),
        why,
    })
}

/// Removes everything that agents left in a folder, and the folder. False if there was none.
///
/// # Errors
/// An agent uses it, it cannot be trusted, or the kernel's answer.
pub fn uninstall(path: &Path) -> Result<bool, PinError> {
    let Some(folder) = Folder::existing(path)? else {
        return Ok(false);
    };
    folder.remove_others("")?;
    fs::remove_dir(path).map_err(cannot("remove", path))?;
    Ok(true)
}

/// The folder of one version.
#[derive(Clone, Debug)]
pub(super) struct Version {
    path: PathBuf,
}

impl Version {
    /// Whether everything was pinned.
    pub(super) fn is_whole(&self) -> bool {
        self.link(LAST).exists()
    }

    /// Makes the folder, empty.
    pub(super) fn make(&self) -> Result<(), PinError> {
        self.remove()?;
        let made = DirBuilder::new().mode(0o700).create(&self.path);
        made.map_err(cannot("make", &self.path))
    }

    /// Removes the folder if it is there: its links first, so that the programs stop before their rings go.
    pub(super) fn remove(&self) -> Result<(), PinError> {
        let cannot = || cannot("remove", &self.path);
        if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.flatten() {
                let name = entry.file_name();
                if name.to_string_lossy().starts_with("link_") {
                    fs::remove_file(entry.path()).map_err(cannot())?;
                }
            }
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot()(error)),
            _ => Ok(()),
        }
    }

    /// Pins a map of the object if the next agent reads it.
    pub(super) fn pin_map(&self, name: &str, map: &Map) -> Result<(), PinError> {
        if !MAPS.iter().any(|shape| shape.name == name) {
            return Ok(());
        }
        let path = self.map_path(name);
        let pinned = map.pin(&path);
        pinned.map_err(|error| cannot("pin", &path)(io::Error::other(chain(&error).to_string())))
    }

    /// A map that an earlier agent pinned.
    pub(super) fn map(&self, name: &str) -> Result<Map, PinError> {
        let path = self.map_path(name);
        let shape = MAPS.iter().find(|shape| shape.name == name);
        let shape = shape.ok_or_else(|| PinError::OtherMap(path.clone()))?;
        let data = open(&path, shape)?;
        Map::from_map_data(data).map_err(|_| PinError::OtherMap(path))
    }

    /// Pins a ring.
    pub(super) fn pin_ring(&self, number: u32, ring: &OwnedFd) -> io::Result<()> {
        let path = self.ring_path(number);
        // Of a ring that was removed from the pool the file may be left.
        remove_file(&path)?;
        sys::pin(ring, &path)
    }

    /// Removes the file of a ring.
    pub(super) fn remove_ring(&self, number: u32) -> io::Result<()> {
        remove_file(&self.ring_path(number))
    }

    /// The rings that an earlier agent pinned, by number.
    pub(super) fn rings(&self) -> Result<Vec<(u32, MapData)>, PinError> {
        let entries = fs::read_dir(&self.path).map_err(cannot("read", &self.path))?;
        let number = |name: &str| name.strip_prefix("ring_")?.parse::<u32>().ok();
        let mut rings = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            if let Some(number) = number(&name.to_string_lossy())
                && number < RINGS as u32
            {
                rings.push((number, open(&entry.path(), &RING)?));
            }
        }
        Ok(rings)
    }

    /// Pins an attached program and its link.
    pub(super) fn pin_probe(
        &self,
        tracepoint: &str,
        name: &str,
        program: impl AsFd,
        link: FdLink,
    ) -> Result<(), PinError> {
        let path = self.program_path(name);
        sys::pin(program, &path).map_err(cannot("pin", &path))?;
        let path = self.link(tracepoint);
        let pinned = link.pin(&path);
        let pinned = pinned.map_err(|error| io::Error::other(chain(&error).to_string()));
        pinned.map_err(cannot("pin", &path)).map(drop)
    }

    /// A program that an earlier agent attached, if it attached this one.
    pub(super) fn program(&self, name: &str) -> Result<Option<OwnedFd>, PinError> {
        let path = self.program_path(name);
        match sys::pinned(&path) {
            Ok(program) => Ok(Some(program)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("open", &path)(error)),
        }
    }

    /// Whether the link of a probe is there.
    pub(super) fn has_link(&self, tracepoint: &str) -> bool {
        self.link(tracepoint).exists()
    }

    fn link(&self, tracepoint: &str) -> PathBuf {
        self.path.join(format!("link_{tracepoint}"))
    }

    fn program_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("program_{name}"))
    }

    fn ring_path(&self, number: u32) -> PathBuf {
        self.path.join(format!("ring_{number}"))
    }

    /// The BPF file system allows no dots in names (`bpf_lookup` of kernel/bpf/inode.c).
    fn map_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("map_{}", name.replace('.', "")))
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a map that must be like this.
fn open(path: &Path, shape: &Shape) -> Result<MapData, PinError> {
    let other = || PinError::OtherMap(path.to_owned());
    let data = MapData::from_pin(path).map_err(|_| other())?;
    let info = data.info().map_err(|_| other())?;
    let fits = info.map_type().is_ok_and(|kind| kind == shape.kind)
        && info.key_size() as usize == shape.key
        && info.value_size() as usize == shape.value
        && info.max_entries() as usize == shape.entries;
    if fits { Ok(data) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bpf_file_system_the_reason_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lastword");
        let error = Folder::open(&path).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_of_somebody_else_or_a_link_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            assert!(Folder::lock(path).is_err(), "{}", path.display());
        }
        assert!(!uninstall(&folder.path().join("none")).unwrap());
    }
}
