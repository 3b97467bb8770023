//! Which container a cgroup belongs to, and what the node knows about that container.
//!
//! # How a container is recognised
//!
//! A container is recognised by the name of its cgroup ([`path`]): 64 hexadecimal digits, with the prefix of its
//! runtime or without a prefix. The digits are the container's id. The UID of its pod is in the name of the cgroup
//! above. The container's names come from the container runtime ([`cri`]) or from the API server, whichever answers
//! first ([`directory`]). Pause containers look like any other container; the runtime knows which they are
//! ([`Directory::is_sandbox`](directory::Directory::is_sandbox)).
//!
//! | | cgroup driver systemd | cgroup driver cgroupfs |
//! |---|---|---|
//! | containerd, k3s, RKE2 | `cri-containerd-ID.scope` | `podUID/ID` |
//! | CRI-O | `crio-ID.scope` | `podUID/crio-ID` |
//! | Docker | `docker-ID.scope` | `docker/ID` |
//! | Docker under cri-dockerd | `docker-ID.scope` | `podUID/ID` |
//! | podman, root or not | `libpod-ID.scope` | `libpod_parent/libpod-ID` |
//! | podman `--cgroups=split` | `libpod-payload-ID` | |
//! | nerdctl | `nerdctl-ID.scope` | `default/ID` |
//!
//! The position of the cgroup does not matter: another `--cgroup-root`, a node that is itself a container (kind,
//! minikube), the slice of a user. Whatever the container creates below its own cgroup does not matter either. Only
//! containers that the kubelet created have names; of other containers, only the id and mostly the runtime are known.
//!
//! Where the kubelet uses the systemd driver and containerd does not, the cgroup is called
//! `…-podUID.slice:cri-containerd:ID`. [`path::parse`] understands that name, but the program that watches for new
//! cgroups looks for a prefix ([`path::PREFIXES`]) and finds none. Set `SystemdCgroup = true` in containerd, as
//! Kubernetes requires.
//!
//! Not recognised are runtimes with ids of another form (LXC, systemd-nspawn), and containers inside virtual machines
//! (Kata Containers).
//!
//! # Cgroup versions
//!
//! | node | hierarchy that is used ([`hierarchy`]) |
//! |---|---|
//! | version 2 only | the unified one |
//! | hybrid, runc 1.1 or newer, or crun | the unified one |
//! | hybrid, older runtime | version 1: memory, or else pids, cpu, … |
//! | version 1 only | version 1 |
//!
//! # What the container runtime must offer
//!
//! CRI `runtime.v1`, which the kubelet itself requires since Kubernetes 1.26; containerd has it since 1.6. Without it,
//! names still come from the API server.
#![forbid(unsafe_code)]

pub mod cri;
pub mod directory;
pub mod hierarchy;
pub mod path;
