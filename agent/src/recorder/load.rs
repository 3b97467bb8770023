//! Loading the programs: the running kernel's offsets, which features these offsets allow, the settings, the object.

use std::{cmp::Reverse, fs, io, path::PathBuf, time::Duration};

use agent_ebpf::wire::{
    self, Config, DATA_MAX, ID_DIGITS, MISSING, NO_SHAPE, Offsets, SHAPES, Shape, features,
};
use aya::{Ebpf, EbpfLoader, maps::Array};
use capture_format::chain;
use containers::path;

use sha2::{Digest as _, Sha256};

use super::{Hierarchy, StartError, btf::Btf, hierarchy::Place, lease, sys::Plain, syscalls};
use crate::cgroupfs::Mounts;

/// Where the kernel shows its own type information.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What to record. It does not change while a recorder lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most bytes kept of output, DNS, configuration files and failed writes; at most 4096.
    pub text_max: u32,
    /// Most bytes kept of other reads and writes; at most 4096.
    pub other_max: u32,
    /// Largest file whose content counts as configuration, in bytes.
    pub config_file_max: u64,
    /// The hierarchy in which containers have their cgroups.
    pub hierarchy: Hierarchy,
    /// The names that cgroups of containers have.
    pub shapes: Vec<ContainerShape>,
    /// Memory and free rings.
    pub budget: super::Budget,
    /// Whether the programs log what they do, through aya-log and the `log` crate.
    pub debug_programs: bool,
    /// A folder in a BPF file system, in which rings and programs outlive this process; none if they should not.
    pub pin: Option<PathBuf>,
    /// How long pinned programs record while no recorder runs.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            text_max: DATA_MAX as u32,
            other_max: 256,
            config_file_max: 64 << 10,
            hierarchy: Hierarchy::default(),
            shapes: ContainerShape::runtimes(),
            budget: super::Budget::default(),
            debug_programs: false,
            pin: None,
            lease: Duration::from_secs(10 * 60),
        }
    }
}

/// Shape of a container's cgroup name: a prefix and an id, then the end or a dot.
#[derive(Clone, Debug)]
pub struct ContainerShape {
    /// The prefix, at most 24 bytes.
    pub prefix: String,
    /// Whether 64 hexadecimal digits follow. Otherwise anything may follow the prefix.
    pub has_id: bool,
}

impl ContainerShape {
    /// The shapes of the container runtimes. The first prefix that fits decides, so longer prefixes come first and the
    /// empty one last.
    #[must_use]
    pub fn runtimes() -> Vec<Self> {
        let mut shapes = path::PREFIXES.map(|(prefix, _)| Self {
            prefix: prefix.into(),
            has_id: true,
        });
        shapes.sort_by_key(|shape| Reverse(shape.prefix.len()));
        shapes.into()
    }

    /// Whether a cgroup's name has one of these shapes. As in the kernel, the first shape whose prefix fits decides.
    #[must_use]
    pub fn any_fits(shapes: &[Self], name: &str) -> bool {
        let mut with_prefix = shapes
            .iter()
            .filter_map(|shape| Some((shape, name.strip_prefix(shape.prefix.as_str())?)));
        with_prefix.next().is_some_and(|(shape, rest)| {
            const DIGITS: usize = ID_DIGITS as usize;
            !shape.has_id
                || rest.bytes().take_while(u8::is_ascii_hexdigit).count() == DIGITS
                    && matches!(rest.as_bytes().get(DIGITS), None | Some(b'.'))
        })
    }
}

/// Signals that are not worth a record if nothing else happens: they are sent all the time and are harmless by default.
const EVERYDAY_SIGNALS: [i32; 5] = [
    libc::SIGCHLD,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGVTALRM,
    libc::SIGPROF,
];

fn signals() -> u64 {
    // Real-time signals (33 and up) are left out, because thread libraries and timers use them.
    let standard = (1u64 << 32) - 1;
    EVERYDAY_SIGNALS
        .iter()
        .fold(standard, |mask, signal| mask & !(1 << (signal - 1)))
}

/// The kernel's BTF.
pub(super) fn kernel_btf() -> Result<Btf, StartError> {
    let data = fs::read(KERNEL_BTF).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StartError::NoBtf,
        _ => StartError::Read {
            path: KERNEL_BTF,
            source: error,
        },
    })?;
    Btf::parse(data).map_err(|error| StartError::BadBtf(error.to_string()))
}

/// The hierarchy in which containers have their cgroups on this kernel.
pub(super) fn place(settings: &Settings, btf: &Btf) -> Result<Place, StartError> {
    const FILE: &str = "/proc/cgroups";
    // Without mount points the programs look further up than they have to.
    let mounts = Mounts::read().unwrap_or_default();
    let Hierarchy::V1 { controller } = &settings.hierarchy else {
        return Ok(Place::unified(mounts.unified()));
    };
    let cgroups =
        fs::read_to_string(FILE).map_err(|source| StartError::Read { path: FILE, source })?;
    Place::of(controller, &cgroups, mounts.controller(controller), btf)
}

/// What the offsets allow, and what they do not.
pub(super) struct Abilities {
    pub(super) offsets: Offsets,
    pub(super) features: u32,
    /// Index of the memory controller in `css_set.subsys`; 0 if unknown.
    memory: u32,
    /// Whether the records of the perf tracepoints `sched:*` and the lists of children are as the programs need them.
    pub(super) life_records: bool,
    /// What is missing: one sentence each, for people.
    pub(super) missing: Vec<String>,
}

/// Finds every offset. A missing required offset is an error; any other missing offset disables what needs it.
pub(super) fn abilities(btf: &Btf) -> Result<Abilities, StartError> {
    let mut unknown: Vec<String> = Vec::new();
    let offsets = Offsets::resolve(|structure, member| {
        let offset = btf.offset(structure, member);
        if offset.is_none() {
            unknown.push(format!("{structure}.{member}"));
        }
        offset
    });
    let o = &offsets;
    require(
        &[
            (
                "exec",
                &[o.task_mm, o.mm_arg_start, o.mm_arg_end, o.binprm_filename],
            ),
            (
                "exit",
                &[
                    o.task_signal,
                    o.signal_live,
                    o.signal_flags,
                    o.signal_group_exit_code,
                    o.task_exit_code,
                    o.task_group_leader,
                    o.task_real_parent,
                ],
            ),
            ("processes", &[o.task_pid, o.task_tgid, o.task_comm]),
            (
                "containers",
                &[
                    o.task_cgroups,
                    o.css_set_dfl_cgrp,
                    o.css_set_subsys,
                    o.css_cgroup,
                    o.cgroup_kn,
                    o.cgroup_root,
                    o.cgroup_self,
                    o.css_parent,
                    o.cgroup_root_hierarchy,
                    o.kernfs_id,
                    o.kernfs_name,
                ],
            ),
        ],
        &unknown,
    )?;

    let files = all(&[
        o.task_files,
        o.files_fdt,
        o.fdt_max_fds,
        o.fdt_fd,
        o.file_inode,
        o.inode_mode,
        o.inode_rdev,
        o.inode_size,
        o.inode_ino,
    ]);
    let names = files && all(&[o.file_path_dentry, o.dentry_name]);
    // The programs read the port, the own port and the family at once.
    let in_a_row =
        o.sock_num == o.sock_dport.wrapping_add(2) && o.sock_family == o.sock_dport.wrapping_add(4);
    let sockets = files
        && in_a_row
        && all(&[
            o.file_private_data,
            o.socket_sk,
            o.sock_dport,
            o.sock_daddr,
            o.sock_rcv_saddr,
            o.sock_v6_daddr,
            o.sock_v6_rcv_saddr,
        ]);
    let pids = all(&[o.task_thread_pid, o.pid_level, o.pid_numbers]);
    let compat = all(&[if cfg!(target_arch = "aarch64") {
        o.task_ti_flags
    } else {
        o.task_ti_status
    }]);
    let memory = btf.enumerator("cgroup_subsys_id", "memory_cgrp_id");
    let limits = memory.is_some()
        && all(&[
            o.mem_cgroup_memory,
            o.mem_cgroup_events,
            o.page_counter_usage,
            o.page_counter_max,
        ]);
    let threads = all(&[
        o.task_stack,
        o.task_on_cpu,
        o.task_thread_node,
        o.signal_thread_head,
        o.signal_nr_threads,
    ]);
    let waited = threads && all(&[o.task_last_arrival, o.task_ran, o.task_ran_before]);
    let oom_task = btf.first_argument_is_pointer("mark_victim") == Some(true);

    let mut missing = Vec::new();
    let mut features = if oom_task { features::OOM_TASK } else { 0 };
    for (has, feature, without) in [
        (
            files,
            features::FILES,
            "what descriptors refer to is unknown, so what was read is not kept, and of what was written the smaller limit, to sockets too",
        ),
        (
            names,
            features::NAMES,
            "writes to *.log files count as other writes",
        ),
        (
            sockets,
            features::SOCKETS,
            "DNS over connected sockets is not recognised",
        ),
        (
            pids,
            features::PID_NAMESPACES,
            "pids inside the container are unknown",
        ),
        (
            compat,
            features::COMPAT,
            "calls in the 32-bit ABI are not told from others",
        ),
        (
            limits,
            features::MEMORY,
            "which memory limit an OOM kill is for is unknown",
        ),
        (
            threads,
            features::THREADS,
            "what threads were doing when a signal ended them is unknown",
        ),
        (
            waited,
            features::WAITED,
            "for how long they had waited is unknown",
        ),
    ] {
        if has {
            features |= feature;
        } else {
            missing.push(format!("{without} (BTF lacks {})", unknown.join(", ")));
        }
    }
    let life_records = all(&[
        o.exec_record_filename,
        o.exec_record_old_pid,
        o.fork_record_child_pid,
        o.task_children,
        o.task_sibling,
    ]);
    Ok(Abilities {
        offsets,
        life_records,
        features,
        memory: memory.unwrap_or_default(),
        missing,
    })
}

fn all(offsets: &[u32]) -> bool {
    offsets.iter().all(|offset| *offset != MISSING)
}

fn require(groups: &[(&'static str, &[u32])], unknown: &[String]) -> Result<(), StartError> {
    match groups.iter().find(|(_, offsets)| !all(offsets)) {
        Some((what, _)) => Err(StartError::Offsets {
            what,
            unknown: unknown.join(", "),
        }),
        None => Ok(()),
    }
}

/// What the programs are loaded with.
pub(super) struct Load<'a> {
    pub(super) object: &'static [u8],
    pub(super) abilities: &'a Abilities,
    pub(super) place: Place,
    pub(super) settings: &'a Settings,
    /// Whether tracepoint programs can be preempted.
    pub(super) preemptible: bool,
}

impl Load<'_> {
    fn config(&self, key: u64) -> Config {
        let (settings, place) = (self.settings, self.place);
        Config {
            key,
            signals: signals(),
            config_file_max: settings.config_file_max,
            features: self.abilities.features,
            text_max: settings.text_max.min(DATA_MAX as u32),
            other_max: settings.other_max.min(DATA_MAX as u32),
            subsystem: place.subsystem,
            hierarchy: place.hierarchy,
            top: place.top,
            memory: self.abilities.memory,
            page_size: page_size(),
        }
    }

    /// A hash of everything on which it depends whether an agent can go on with what another one left, as 16
    /// hexadecimal digits.
    pub(super) fn version(&self) -> String {
        let Self {
            object,
            abilities,
            place: _,
            settings,
            preemptible,
        } = self;
        let rest = (
            wire::LEFT,
            self.config(0),
            abilities.offsets,
            abilities.life_records,
            &settings.shapes,
            preemptible,
        );
        let mut hash = Sha256::new();
        hash.update(object);
        hash.update(format!("{rest:?}"));
        let hash = hash.finalize();
        hash.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Loads the object with its settings. Also returns the key that marks the records of this load.
    pub(super) fn load(&self, outlives: bool) -> Result<(Ebpf, u64), StartError> {
        let key = random_key().map_err(|source| StartError::Read {
            path: "/dev/urandom",
            source,
        })?;
        let config = Plain(self.config(key));
        let lease = Plain(wire::Lease {
            until: lease::until(outlives.then_some(self.settings.lease)),
            key,
            lost: 0,
        });
        let offsets = Plain(self.abilities.offsets);
        let ops = syscalls::ops();
        let debug_programs = self.settings.debug_programs;
        let log_level: u8 = if debug_programs {
            aya_log::Level::Debug as u8
        } else {
            0
        };
        let mut loader = EbpfLoader::new();
        loader
            .override_global("OPS", &ops, true)
            .override_global("OFFSETS", &offsets, true)
            .override_global("CONFIG", &config, true)
            .override_global("LEASE", &lease, true)
            .override_global(aya_log::LEVEL, &log_level, true);
        if !debug_programs {
            loader.map_max_entries("AYA_LOGS", 4096);
        }
        let mut ebpf = loader
            .load(self.object)
            .map_err(|error| StartError::Load(chain(&error).to_string()))?;
        set_shapes(&mut ebpf, &self.settings.shapes)?;
        Ok((ebpf, key))
    }
}

/// Bytes of a page of memory.
fn page_size() -> u32 {
    const USUAL: u32 = 4096;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let size = size.ok().flatten().and_then(|size| size.try_into().ok());
    size.unwrap_or(USUAL)
}

fn set_shapes(ebpf: &mut Ebpf, shapes: &[ContainerShape]) -> Result<(), StartError> {
    let map = ebpf
        .map_mut("CONTAINER_SHAPES")
        .ok_or(StartError::Object("CONTAINER_SHAPES"))?;
    let mut table: Array<_, Plain<Shape>> = map
        .try_into()
        .map_err(|_| StartError::Object("CONTAINER_SHAPES"))?;
    for index in 0..SHAPES {
        let entry = match shapes.get(index) {
            Some(shape) => Shape::new(shape.prefix.as_bytes(), shape.has_id),
            None => Shape {
                digits: NO_SHAPE,
                ..Shape::default()
            },
        };
        table
            .set(index as u32, Plain(entry), 0)
            .map_err(|error| StartError::Load(chain(&error).to_string()))?;
    }
    Ok(())
}

fn random_key() -> io::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_every_runtime_are_recorded() {
        let shapes = ContainerShape::runtimes();
        assert!(shapes.len() <= SHAPES);
        let id = "0123456789abcdef".repeat(4);
        for (prefix, _) in path::PREFIXES {
            for name in [format!("{prefix}{id}"), format!("{prefix}{id}.scope")] {
                assert!(ContainerShape::any_fits(&shapes, &name), "{name}");
            }
        }
    }
}
