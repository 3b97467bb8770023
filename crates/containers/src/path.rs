//! From the path of a cgroup to the container it belongs to: one table of how runtimes name cgroups.
//!
//! A container's cgroup is named `PREFIX ID [.scope]`, where ID is 64 lower-case hexadecimal digits. The prefix says
//! which runtime it is ([`PREFIXES`]); runtimes with the cgroupfs driver use none. The cgroup above it is the pod's,
//! if the container has a pod: `pod UID` (cgroupfs), `…-pod UID with underscores.slice` (systemd). What is further up
//! (the kubelet's `--cgroup-root`, the QoS class, a node that is itself a container) does not matter, and neither does
//! what the container created inside its own cgroup.

use std::fmt;

/// What makes containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd, by CRI or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker Engine, by itself or under cri-dockerd.
    Docker,
    /// podman.
    Podman,
}

impl fmt::Display for Runtime {
    /// As in the container ids of Kubernetes (`containerd://…`).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// Hexadecimal digits of a container id.
pub const ID_DIGITS: usize = 64;

/// What stands before the id in the name of a container's cgroup, and who writes it. An empty prefix says nothing about the runtime.
///
/// A monitor process has a cgroup beside the container's (`libpod-conmon-ID.scope`, `crio-conmon-ID`), which is none of these.
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

/// What a cgroup's path says about its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// Who made the container, where the name of the cgroup says so.
    pub runtime: Option<Runtime>,
    /// Id of the container, or of the sandbox: 64 lower-case hexadecimal digits.
    pub container: String,
    /// UID of its pod as kubelet knows it, with dashes. Of a static pod it is the hash of its manifest (32 hexadecimal
    /// digits), which the API server knows as annotation `kubernetes.io/config.mirror`.
    pub pod_uid: Option<String>,
}

/// The innermost container of a cgroup's path, or of any cgroup inside it.
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

/// The container that a cgroup was made for: not one that it is inside of.
pub fn parse_own(path: &str) -> Option<CgroupPath> {
    let (above, name) = path.rsplit_once('/')?;
    let (_, parent) = above.rsplit_once('/').unwrap_or_default();
    container(name, parent)
}

fn container(name: &str, parent: &str) -> Option<CgroupPath> {
    // containerd with the cgroupfs driver below a kubelet with the systemd driver takes the systemd syntax for a name.
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
        // A pod of podman with the cgroupfs driver; its containers are inside.
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

/// Whether this is a container id as all four runtimes make them.
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
