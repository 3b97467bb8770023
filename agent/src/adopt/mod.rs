//! Containers that already run when the recorder starts: they are found in the cgroup file system, and described from
//! /proc.
//!
//! [`containers`] is called after the recorder has started, so no container falls between what is found here and what
//! the kernel side sees. [`Recorder::adopt`](crate::recorder::Recorder::adopt) gives each container a ring, using its
//! [`first_process`] and [`nested`]. [`preface`] makes the events that come first in its run. Everything here may
//! vanish while it is read; what has vanished is left out. Reading the descriptors of other processes needs
//! CAP_SYS_PTRACE.

mod preface;
mod process;
mod sockets;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use agent_ebpf::wire::{INNER_MOST, LEVELS, NESTED_MOST};
use capture_format::{BootTime, CgroupId, NamespacePid};

use crate::recorder::{ContainerShape, FirstProcess};

pub use preface::{preface, survivors};
use process::Process;

/// How many levels of nested cgroups are looked at.
const MAX_DEPTH: usize = LEVELS;
/// How many cgroups inside a container are looked at. It has processes in more only if somebody wants to be unseen.
const MAX_NESTED: usize = NESTED_MOST as usize + 1;

/// A container that already runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Path of its cgroup in its hierarchy; starts with `/`.
    pub path: String,
    /// The cgroup's directory.
    pub directory: PathBuf,
    /// Id of its cgroup: the inode number of the directory.
    pub cgroup: CgroupId,
    /// Id of the cgroup of the outermost container around it, or else its own.
    pub outermost: CgroupId,
    /// The container's first process; 0 if it has none yet, or if it shares a pid namespace, so that none is known.
    pub init_pid: u32,
    /// The first process; if none is known, the oldest process that was started from outside. 0 if there is neither.
    pub eldest: u32,
    /// When that process started, to a hundredth of a second; 0 if unknown.
    pub start: BootTime,
}

impl Running {
    /// Whether it is inside another container.
    #[must_use]
    pub fn is_inner(&self) -> bool {
        self.cgroup != self.outermost
    }
}

/// Finds the containers below the mount point of a cgroup hierarchy, by the names of their cgroups; `proc` is where
/// /proc is mounted. Of those inside another container it finds as many as may be recorded.
///
/// # Errors
/// The mount point cannot be read.
pub fn containers(
    proc: &Path,
    mount: &Path,
    shapes: &[ContainerShape],
) -> io::Result<Vec<Running>> {
    fs::read_dir(mount).map_err(|error| {
        let shown = format!("the cgroups in {} cannot be read: {error}", mount.display());
        io::Error::new(error.kind(), shown)
    })?;
    Ok(below(proc, mount, mount, shapes))
}

/// The containers inside an outermost container: as many as may be recorded.
#[must_use]
pub fn inner(
    proc: &Path,
    mount: &Path,
    outer: &Running,
    shapes: &[ContainerShape],
) -> Vec<Running> {
    below(proc, mount, &outer.directory, shapes)
}

fn below(proc: &Path, mount: &Path, from: &Path, shapes: &[ContainerShape]) -> Vec<Running> {
    let mut found = Vec::new();
    let mut inner: HashMap<CgroupId, u64> = HashMap::new();
    walk(from, MAX_DEPTH, &mut |directory| {
        if is_container(directory, shapes)
            && let Some(running) = running(proc, mount, directory, shapes)
        {
            let count = inner.entry(running.outermost).or_default();
            if !running.is_inner() {
                found.push(running);
            } else if *count < INNER_MOST {
                *count += 1;
                found.push(running);
            }
        }
        Visit::Enter
    });
    found
}

/// The container whose cgroup is at a path below the mount point of a cgroup hierarchy; `None` if the cgroup is gone.
#[must_use]
pub fn container(
    proc: &Path,
    mount: &Path,
    path: &str,
    shapes: &[ContainerShape],
) -> Option<Running> {
    running(
        proc,
        mount,
        &mount.join(path.trim_start_matches('/')),
        shapes,
    )
}

/// Whether a container seems to be a pause container, which only holds its pod's namespaces. Every Kubernetes
/// distribution has one program for that, called "pause". Another container may have a program with this name, too.
#[must_use]
pub fn looks_like_pause(proc: &Path, running: &Running) -> bool {
    let eldest = Process::read(proc, running.eldest);
    eldest.is_some_and(|process| process.comm == b"pause")
}

/// Ids of the cgroups inside a container's cgroup, except those that are containers themselves. Of too many, not all.
///
/// # Errors
/// The container's cgroup is gone.
pub fn nested(running: &Running, shapes: &[ContainerShape]) -> io::Result<Vec<CgroupId>> {
    fs::read_dir(&running.directory)?;
    Ok(inside(&running.directory, shapes)
        .iter()
        .filter_map(|directory| id(directory))
        .collect())
}

/// The container's first process, if known, and its standard streams.
#[must_use]
pub fn first_process(proc: &Path, running: &Running) -> FirstProcess {
    let process = proc.join(running.eldest.to_string());
    let inode =
        |descriptor| process::Target::read(&process, descriptor).map(|target| target.inode());
    FirstProcess {
        pid: running.init_pid,
        stdout: inode(1).unwrap_or_default(),
        stderr: inode(2).unwrap_or_default(),
    }
}

fn running(
    proc: &Path,
    mount: &Path,
    directory: &Path,
    shapes: &[ContainerShape],
) -> Option<Running> {
    let cgroup = id(directory)?;
    let outermost = outermost(mount, directory, shapes)?;
    let pids = pids(directory, shapes).into_iter();
    let read = pids.filter_map(|pid| Process::read(proc, pid));
    let eldest = eldest(read.collect());
    let path = directory.strip_prefix(mount).ok()?;
    Some(Running {
        path: format!("/{}", path.display()),
        directory: directory.to_owned(),
        cgroup,
        outermost: id(&outermost)?,
        // If this process is not pid 1, it may belong to the runtime, which still sets the container up.
        init_pid: eldest
            .as_ref()
            .filter(|it| it.namespace_pid == NamespacePid(1))
            .map_or(0, |it| it.pid),
        start: eldest.as_ref().map_or(BootTime(0), |it| it.start),
        eldest: eldest.map_or(0, |it| it.pid),
    })
}

/// The directory of the outermost container around a container's, or else its own.
fn outermost(mount: &Path, directory: &Path, shapes: &[ContainerShape]) -> Option<PathBuf> {
    let below = directory.strip_prefix(mount).ok()?;
    let mut path = mount.to_owned();
    for name in below {
        path.push(name);
        if is_container(&path, shapes) {
            break;
        }
    }
    Some(path)
}

/// A container's processes, in no order, including those in nested cgroups.
fn pids(directory: &Path, shapes: &[ContainerShape]) -> Vec<u32> {
    let mut pids = processes(directory);
    for inner in inside(directory, shapes) {
        pids.extend(processes(&inner));
    }
    pids
}

/// The oldest process that was started from outside; pid 1 of its namespace goes before any other. A shell that
/// somebody opened in the container was started from outside, too, but later.
fn eldest(processes: Vec<Process>) -> Option<Process> {
    let pids: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
    let outside = processes
        .into_iter()
        .filter(|process| !pids.contains(&process.parent));
    outside.min_by_key(|process| {
        (
            process.namespace_pid != NamespacePid(1),
            process.start,
            process.pid,
        )
    })
}

/// Directories inside a container's cgroup, except those of other containers; at most [`MAX_NESTED`].
fn inside(container: &Path, shapes: &[ContainerShape]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(container, MAX_DEPTH, &mut |directory| {
        if is_container(directory, shapes) {
            return Visit::Pass;
        }
        found.push(directory.to_owned());
        if found.len() < MAX_NESTED {
            Visit::Enter
        } else {
            Visit::Stop
        }
    });
    found
}

/// What is done about a directory.
enum Visit {
    /// Those in it are visited, too.
    Enter,
    /// Those in it are not visited.
    Pass,
    /// No more are visited.
    Stop,
}

/// Calls `visit` for every directory below this one, as its answers say. False if it was stopped.
fn walk(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path) -> Visit) -> bool {
    // A directory that cannot be read has been removed.
    let Ok(entries) = fs::read_dir(directory) else {
        return true;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        match visit(&path) {
            Visit::Enter if depth > 1 && !walk(&path, depth - 1, visit) => return false,
            Visit::Enter | Visit::Pass => {}
            Visit::Stop => return false,
        }
    }
    true
}

fn is_container(directory: &Path, shapes: &[ContainerShape]) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| ContainerShape::any_fits(shapes, name))
}

fn id(directory: &Path) -> Option<CgroupId> {
    fs::metadata(directory)
        .ok()
        .map(|metadata| CgroupId(metadata.ino()))
}

/// Processes of a cgroup; 0 means a process of another pid namespace.
fn processes(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok());
    pids.filter(|pid| *pid != 0).collect()
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{ID, OTHER, Tree};
    use super::*;

    #[test]
    fn finds_containers_their_processes_and_the_first_of_them() {
        let tree = Tree::new();
        let name = format!("kubepods.slice/pod1.slice/cri-containerd-{ID}.scope");
        // The shell that was opened in the container has the lower pid, because pids wrap around.
        tree.cgroup(&name, &[40, 20])
            .cgroup(&format!("{name}/inner"), &[41]);
        tree.cgroup("kubepods.slice/pod1.slice", &[])
            .cgroup("system.slice/x.service", &[7]);
        tree.process(20, 9, &[20, 8], 5000)
            .process(40, 9, &[40, 1], 4000)
            .process(41, 40, &[41, 2], 4001);
        let shapes = ContainerShape::runtimes();
        let found = containers(&tree.proc(), &tree.cgroups(), &shapes).unwrap();
        assert_eq!(found.len(), 1, "{found:#?}");
        let running = &found[0];
        assert_eq!(running.path, format!("/{name}"));
        assert_eq!(
            (running.init_pid, running.eldest, running.start),
            (40, 40, BootTime(40_000_000_000))
        );
        let mut pids = pids(&running.directory, &shapes);
        pids.sort();
        assert_eq!(pids, [20, 40, 41]);
        let inner = id(&tree.cgroups().join(&name).join("inner")).unwrap();
        assert_eq!(nested(running, &shapes).unwrap(), [inner]);
    }

    #[test]
    fn what_shares_its_pid_namespace_is_no_first_process() {
        let tree = Tree::new();
        tree.cgroup(&format!("docker-{ID}.scope"), &[40, 41]);
        tree.process(40, 9, &[40], 4000).process(41, 9, &[41], 3000);
        let shapes = ContainerShape::runtimes();
        let found = containers(&tree.proc(), &tree.cgroups(), &shapes).unwrap();
        let running = &found[0];
        assert_eq!(
            (running.init_pid, running.eldest, running.start),
            (0, 41, BootTime(30_000_000_000))
        );
    }

    #[test]
    fn a_container_inside_a_container_is_one_of_its_own() {
        let tree = Tree::new();
        let (outer, inner) = (
            format!("docker-{ID}.scope"),
            format!("docker-{ID}.scope/kubelet/{OTHER}"),
        );
        tree.cgroup(&outer, &[10]).cgroup(&inner, &[11]);
        tree.process(10, 1, &[10, 1], 1)
            .process(11, 10, &[11, 5, 1], 2);
        let shapes = ContainerShape::runtimes();
        let mut found = containers(&tree.proc(), &tree.cgroups(), &shapes).unwrap();
        found.sort_by_key(|running| running.init_pid);
        let pids: Vec<_> = found
            .iter()
            .map(|it| pids(&it.directory, &shapes))
            .collect();
        assert_eq!(pids, [[10], [11]]);
        assert_eq!(nested(&found[0], &shapes).unwrap().len(), 1);
        for running in &found {
            assert_eq!(running.outermost, found[0].cgroup);
        }
    }

    #[test]
    fn a_crowd_in_a_container_is_not_all_looked_at() {
        let tree = Tree::new();
        let outer = format!("docker-{ID}.scope");
        for number in 0..100 {
            tree.cgroup(&format!("{outer}/{number}"), &[]);
            tree.cgroup(&format!("{outer}/far/{number:064x}"), &[]);
        }
        tree.cgroup(&format!("docker-{OTHER}.scope"), &[]);
        let shapes = ContainerShape::runtimes();
        let found = containers(&tree.proc(), &tree.cgroups(), &shapes).unwrap();
        let (own, inner): (Vec<_>, Vec<_>) = found.iter().partition(|running| !running.is_inner());
        assert_eq!((own.len(), inner.len() as u64), (2, INNER_MOST));
        let crowded = own.iter().find(|running| running.path.contains(ID));
        let crowded = crowded.unwrap();
        let inside = super::inner(&tree.proc(), &tree.cgroups(), crowded, &shapes);
        assert_eq!(inside.len() as u64, INNER_MOST);
        let nested = nested(crowded, &shapes).unwrap();
        assert_eq!(nested.len() as u64, NESTED_MOST + 1);
    }

    #[test]
    fn what_has_vanished_is_left_out() {
        let tree = Tree::new();
        let name = format!("docker-{ID}.scope");
        tree.cgroup(&name, &[10, 11]);
        tree.process(11, 1, &[11, 1], 1);
        let shapes = ContainerShape::runtimes();
        let found = containers(&tree.proc(), &tree.cgroups(), &shapes).unwrap();
        assert_eq!(found[0].init_pid, 11);
        fs::remove_dir_all(tree.cgroups().join(&name)).unwrap();
        assert!(nested(&found[0], &shapes).is_err());
        let missing = containers(&tree.proc(), &tree.cgroups().join("x"), &shapes);
        assert!(missing.is_err());
    }
}
