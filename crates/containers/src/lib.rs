//! Which container a cgroup belongs to, and what the node knows of it.
//!
//! # How a container is recognised
//!
//! By the name of its cgroup ([`path`]): 64 hexadecimal digits, with the prefix of its runtime or none. From there on it is known by that id, and
//! its pod by the UID in the name of the cgroup above. Its names come from the container runtime ([`cri`]) or from the
//! API server, whichever is heard first ([`directory`]). Pause containers look like any other; the runtime knows which they are
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
//! Wherever it is: with another `--cgroup-root`, in a node that is itself a container (kind, minikube), in the slice of a user; and whatever
//! the container makes below. Only containers that kubelet made get names; of others there are the id and, mostly, the runtime.
//!
//! Where kubelet has the systemd driver and containerd has not, the cgroup is called `…-podUID.slice:cri-containerd:ID`: [`path::parse`] knows
//! that, but what watches for new cgroups looks for a prefix ([`path::PREFIXES`]) and finds none. Set `SystemdCgroup = true`, as Kubernetes asks for.
//!
//! Not recognised: runtimes whose ids are others (LXC, systemd-nspawn), and what runs inside virtual machines (Kata Containers).
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
//! CRI `runtime.v1`, as kubelet since Kubernetes 1.26 asks for itself; containerd has it since 1.6. Without it there are still the API server's
//! names.
#![forbid(unsafe_code)]

pub mod cri;
pub mod directory;
pub mod hierarchy;
pub mod path;
