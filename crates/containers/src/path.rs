//! From the path of a cgroup to the container it belongs to: one table of how runtimes name cgroups.
//!
//! A container's cgroup is named `PREFIX ID [.scope]`, where ID is 64 lower-case hexadecimal digits. The prefix says
//! which runtime it is ([`PREFIXES`]); runtimes with the cgroupfs driver use none. The cgroup above it is the pod's,
//! if the container has a pod: `pod UID` (cgroupfs), `…-pod UID with underscores.slice` (systemd). What is further up
//! (the kubelet's `--cgroup-root`, the QoS class, a node that is itself a container) does not matter, and neither does
//! what the container created inside its own cgroup.

use std::fmt;

/// A program that creates containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd, by CRI or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker Engine, alone or with cri-dockerd.
    Docker,
    /// podman.
    Podman,
}

impl fmt::Display for Runtime {
    /// The name as in the container ids of Kubernetes (`containerd://…`).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// How many hexadecimal digits a container id has.
pub const ID_DIGITS: usize = 64;

/// The text before the id in the name of a container's cgroup, and the runtime that writes it. The empty prefix does
/// not identify the runtime.
///
/// A monitor process has its own cgroup beside the container's (`libpod-conmon-ID.scope`, `crio-conmon-ID`). These
/// names match none of the prefixes.
pub const PREFIXES: [(&str, Option<Runtime>); 7] = [
    ("", None),
    ("cri-containerd-", Some(Runtime::Containerd)),
    ("crio-", Some(Runtime::CriO)),
    ("docker-", Some(Runtime::Docker)),
    ("libpod-", Some(Runtime::Podman)),
    // podman --cgroups=split, which Quadlet uses
    ("libpod-payload-", Some(Runtime::Podman)),
    ("nerdctl-", Some(Runtime::Containerd)),
];

/// What the path of a cgroup says about its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// The runtime, if the name of the cgroup identifies it.
    pub runtime: Option<Runtime>,
    /// Id of the container, or of the sandbox: 64 lower-case hexadecimal digits.
    pub container: String,
    /// UID of its pod as kubelet knows it, with dashes. For a static pod it is the hash of the pod's manifest (32
    /// hexadecimal digits), which the API server has as the annotation `kubernetes.io/config.mirror`.
    pub pod_uid: Option<String>,
}

/// The innermost container that a cgroup's path contains; the cgroup may also be inside the container's cgroup.
pub fn parse(path: &str) -> Option<CgroupPath> {
    let mut names = path.rsplit('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let parent = names.peek().copied().unwrap_or_default();
        if let Some(found) = container(name, parent) {
            return Some(found);
        }
    }
    None
}

/// The container that a cgroup was created for. A cgroup inside a container's cgroup has none.
pub fn parse_own(path: &str) -> Option<CgroupPath> {
    let (above, name) = path.rsplit_once('/')?;
    let (_, parent) = above.rsplit_once('/').unwrap_or_default();
    container(name, parent)
}

fn container(name: &str, parent: &str) -> Option<CgroupPath> {
    // If kubelet uses the systemd driver and containerd the cgroupfs driver, containerd takes the systemd syntax for a
    // name.
    if let Some((slice, id)) = name.split_once(":cri-containerd:") {
        return is_id(id).then(|| CgroupPath {
            runtime: Some(Runtime::Containerd),
            container: id.into(),
            pod_uid: pod_uid(slice),
        });
    }
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (id, runtime) = PREFIXES.iter().find_map(|&(prefix, runtime)| {
        let id = name.strip_prefix(prefix)?;
        is_id(id).then_some((id, runtime))
    })?;
    let runtime = match (runtime, parent) {
        // The cgroup of a podman pod with the cgroupfs driver; the pod's containers are inside.
        (None, "libpod_parent") => return None,
        (None, "docker") => Some(Runtime::Docker),
        _ => runtime,
    };
    Some(CgroupPath {
        runtime,
        container: id.into(),
        pod_uid: pod_uid(parent),
    })
}

/// Whether a text is a container id as all four runtimes create them.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(is_hex)
}

fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let uuid = uid.len() == 36 && uid.bytes().all(|byte| is_hex(byte) || byte == b'-');
    let hash = uid.len() == 32 && uid.bytes().all(is_hex);
    (uuid || hash).then_some(uid)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests;
