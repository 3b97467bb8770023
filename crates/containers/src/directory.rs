//! What the node knows about its containers, from whichever source knew first: the container runtime or the API
//! server.
//!
//! The directory is pure: the caller passes in what was seen ([`Directory::saw_cri`], [`Directory::saw_pod`], …) and
//! at what time, and asks which container an id belongs to. What no source knows any more is kept for
//! [`Limits::keep`], for runs that get their names late. There are never more entries than [`Limits`] allows.
//!
//! Where the two sources differ, the container runtime is right about a container's attempt, and the API server is
//! right about labels, annotations, and the image that was asked for.

mod presence;
mod types;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cri;
use crate::path::is_id;
use presence::{By, Presence};

pub use types::{ContainerSighting, Identity, Kind, Pod, PodSighting};

/// Prefix of the names of lastword's own annotations. Other annotations are not kept.
pub(crate) const ANNOTATIONS: &str = "lastword.dev/";

/// How many bytes of labels, and of annotations, are kept of a pod: as many as fit, in the order of their names.
pub(crate) const MAX_LABELS: usize = 16 << 10;

/// How many bytes of an image's name are kept. Names that work are shorter.
const MAX_IMAGE: usize = 1 << 10;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many containers, and how many sandboxes.
    pub containers: usize,
    /// How many pods.
    pub pods: usize,
    /// How long something is kept after it is gone.
    pub keep: Duration,
}

impl Default for Limits {
    /// Several times what the largest nodes have, and an hour.
    fn default() -> Self {
        Self {
            containers: 16_384,
            pods: 4_096,
            keep: Duration::from_secs(3_600),
        }
    }
}

/// The node's pods and containers. All times must be from one clock that does not jump; its origin does not matter.
#[derive(Default)]
pub struct Directory {
    limits: Limits,
    pods: HashMap<String, PodEntry>,
    containers: HashMap<String, ContainerEntry>,
    sandboxes: HashMap<String, SandboxEntry>,
    given_up: u64,
}

#[derive(Default)]
struct PodEntry {
    pod: Arc<Pod>,
    specs: Vec<Spec>,
    presence: Presence,
}

/// What the specification says about a container.
struct Spec {
    name: String,
    kind: Kind,
    image: String,
}

#[derive(Default)]
struct ContainerEntry {
    pod_uid: String,
    name: String,
    attempt: u32,
    attempt_from_runtime: bool,
    image: String,
    image_id: String,
    presence: Presence,
}

#[derive(Default)]
struct SandboxEntry {
    pod_uid: String,
    presence: Presence,
}

impl Directory {
    /// An empty directory.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes everything that the container runtime has at the moment. Whatever it had before and does not list now is
    /// gone for the runtime.
    pub fn saw_cri(
        &mut self,
        sandboxes: &[cri::Sandbox],
        containers: &[cri::Container],
        now: Duration,
    ) {
        for sandbox in sandboxes {
            self.saw_sandbox(sandbox, now);
        }
        for container in containers {
            self.saw_container(container, now);
        }
        let sandbox_ids: HashSet<&str> = sandboxes.iter().map(|one| one.id.as_str()).collect();
        let container_ids: HashSet<&str> = containers.iter().map(|one| one.id.as_str()).collect();
        let pod_uids: HashSet<&str> = (sandboxes.iter().map(|one| one.pod_uid.as_str()))
            .chain(containers.iter().map(|one| one.pod_uid.as_str()))
            .collect();
        let missing = |presence: &mut Presence| presence.miss(By::Runtime, now);
        (self.sandboxes.iter_mut())
            .filter(|(id, _)| !sandbox_ids.contains(id.as_str()))
            .for_each(|(_, entry)| missing(&mut entry.presence));
        (self.containers.iter_mut())
            .filter(|(id, _)| !container_ids.contains(id.as_str()))
            .for_each(|(_, entry)| missing(&mut entry.presence));
        (self.pods.iter_mut())
            .filter(|(uid, _)| !pod_uids.contains(uid.as_str()))
            .for_each(|(_, entry)| missing(&mut entry.presence));
    }

    /// Takes one container from the container runtime. A container that kubelet did not create is ignored.
    pub fn saw_container(&mut self, container: &cri::Container, now: Duration) {
        if container.pod_uid.is_empty() || !is_id(&container.id) {
            return;
        }
        self.pod_by_runtime(
            &container.pod_uid,
            &container.namespace,
            &container.pod_name,
            now,
        );
        let entry = self.containers.entry(container.id.clone()).or_default();
        entry.pod_uid.clone_from(&container.pod_uid);
        entry.name.clone_from(&container.name);
        entry.attempt = container.attempt;
        entry.attempt_from_runtime = true;
        entry.image = image_name(&container.image);
        entry.image_id = image_name(&container.image_id);
        entry.presence.see(By::Runtime, now);
        self.bound();
    }

    /// Takes one sandbox from the container runtime.
    pub fn saw_sandbox(&mut self, sandbox: &cri::Sandbox, now: Duration) {
        if sandbox.pod_uid.is_empty() || !is_id(&sandbox.id) {
            return;
        }
        let entry =
            self.pod_by_runtime(&sandbox.pod_uid, &sandbox.namespace, &sandbox.pod_name, now);
        // A sandbox that is not ready is an old one of the pod.
        if entry.pod.api_uid.is_none() && (sandbox.ready || entry.pod.labels.is_empty()) {
            let pod = Arc::make_mut(&mut entry.pod);
            set_metadata(pod, &sandbox.labels, &sandbox.annotations);
        }
        let entry = self.sandboxes.entry(sandbox.id.clone()).or_default();
        entry.pod_uid.clone_from(&sandbox.pod_uid);
        entry.presence.see(By::Runtime, now);
        self.bound();
    }

    /// Takes a pod from the API server.
    pub fn saw_pod(&mut self, sighting: &PodSighting, now: Duration) {
        let uid = sighting.mirror.as_ref().unwrap_or(&sighting.uid);
        let entry = self.pods.entry(uid.clone()).or_default();
        let mut pod = Pod {
            uid: uid.clone(),
            api_uid: Some(sighting.uid.clone()),
            namespace: sighting.namespace.clone(),
            name: sighting.name.clone(),
            ..Pod::default()
        };
        set_metadata(&mut pod, &sighting.labels, &sighting.annotations);
        if *entry.pod != pod {
            entry.pod = Arc::new(pod);
        }
        entry.specs = (sighting.containers.iter())
            .map(|container| Spec {
                name: container.name.clone(),
                kind: container.kind,
                image: image_name(&container.image),
            })
            .collect();
        entry.presence.see(By::ApiServer, now);
        self.saw_containers_of(uid, &sighting.containers, now);
        self.bound();
    }

    /// Notes that a pod is gone for the API server, which knows it by this UID.
    pub fn pod_deleted(&mut self, api_uid: &str, now: Duration) {
        let found =
            (self.pods.values_mut()).find(|entry| entry.pod.api_uid.as_deref() == Some(api_uid));
        if let Some(entry) = found {
            entry.presence.miss(By::ApiServer, now);
            let uid = entry.pod.uid.clone();
            self.saw_containers_of(&uid, &[], now);
        }
    }

    /// Drops what has been gone for longer than [`Limits::keep`].
    pub fn expire(&mut self, now: Duration) {
        let keep = self.limits.keep;
        let stays = |presence: &Presence| presence.gone_for(now).is_none_or(|gone| gone < keep);
        self.containers.retain(|_, entry| stays(&entry.presence));
        self.sandboxes.retain(|_, entry| stays(&entry.presence));
        self.pods.retain(|_, entry| stays(&entry.presence));
        self.drop_orphans();
    }

    /// Name and pod of a container. A sandbox has no identity.
    pub fn container(&self, id: &str) -> Option<Identity> {
        let (id, entry) = self.containers.get_key_value(id)?;
        self.identity(id, entry)
    }

    /// Whether this is the id of a sandbox, that is, of a pause container.
    pub fn is_sandbox(&self, id: &str) -> bool {
        self.sandboxes.contains_key(id)
    }

    /// The pod with this UID, in kubelet's form as in [`CgroupPath::pod_uid`](crate::path::CgroupPath::pod_uid). It
    /// names the pod of a container that is not known.
    pub fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        Some(Arc::clone(&self.pods.get(uid)?.pod))
    }

    /// All containers that are known, in no order.
    pub fn containers(&self) -> impl Iterator<Item = Identity> {
        (self.containers.iter()).filter_map(|(id, entry)| self.identity(id, entry))
    }

    /// How many containers, sandboxes and pods were dropped early because there were too many.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    fn identity(&self, id: &str, entry: &ContainerEntry) -> Option<Identity> {
        let pod = self.pods.get(&entry.pod_uid)?;
        let spec = pod.specs.iter().find(|spec| spec.name == entry.name);
        let image = match spec {
            // The specification may have changed since, so a name from the runtime goes first.
            Some(spec) if is_image_id(&entry.image) => &spec.image,
            _ => &entry.image,
        };
        Some(Identity {
            id: id.into(),
            name: entry.name.clone(),
            kind: spec.map(|spec| spec.kind),
            image: image.clone(),
            image_id: entry.image_id.clone(),
            attempt: entry.attempt,
            pod: Arc::clone(&pod.pod),
        })
    }

    fn pod_by_runtime(
        &mut self,
        uid: &str,
        namespace: &str,
        name: &str,
        now: Duration,
    ) -> &mut PodEntry {
        let entry = self.pods.entry(uid.into()).or_default();
        if entry.pod.uid.is_empty() {
            entry.pod = Arc::new(Pod {
                uid: uid.into(),
                namespace: namespace.into(),
                name: name.into(),
                ..Pod::default()
            });
        }
        entry.presence.see(By::Runtime, now);
        entry
    }

    /// Takes all containers that the API server has of the pod.
    fn saw_containers_of(&mut self, uid: &str, containers: &[ContainerSighting], now: Duration) {
        let mut seen = HashSet::new();
        for container in containers {
            let current = container.current.as_deref().filter(|id| is_id(id));
            let previous = container.previous.as_deref().filter(|id| is_id(id));
            // During the back-off both are the container that ended last.
            let previous = previous.filter(|_| previous != current);
            // Without a current container (a new sandbox after a reboot), the count still is that of the previous one.
            let before = container
                .restart_count
                .saturating_sub(u32::from(current.is_some()));
            let attempts = [(current, container.restart_count), (previous, before)];
            for (id, attempt) in attempts {
                let Some(id) = id else { continue };
                let entry = self.containers.entry(id.into()).or_default();
                entry.pod_uid = uid.into();
                entry.name.clone_from(&container.name);
                if !entry.attempt_from_runtime {
                    entry.attempt = attempt;
                }
                if entry.image_id.is_empty() && Some(id) == current {
                    entry.image_id = image_name(&container.image_id);
                }
                entry.presence.see(By::ApiServer, now);
                seen.insert(id.to_owned());
            }
        }
        (self.containers.iter_mut())
            .filter(|(id, entry)| entry.pod_uid == uid && !seen.contains(*id))
            .for_each(|(_, entry)| entry.presence.miss(By::ApiServer, now));
    }

    fn bound(&mut self) {
        let before = self.len();
        shrink(&mut self.pods, self.limits.pods, |entry| &entry.presence);
        if self.len() < before {
            self.drop_orphans();
        }
        let limit = self.limits.containers;
        shrink(&mut self.containers, limit, |entry| &entry.presence);
        shrink(&mut self.sandboxes, limit, |entry| &entry.presence);
        self.given_up += (before - self.len()) as u64;
    }

    fn drop_orphans(&mut self) {
        let pods = &self.pods;
        (self.containers).retain(|_, entry| pods.contains_key(&entry.pod_uid));
        (self.sandboxes).retain(|_, entry| pods.contains_key(&entry.pod_uid));
    }

    fn len(&self) -> usize {
        self.pods.len() + self.containers.len() + self.sandboxes.len()
    }
}

/// If there are more than `limit` items, drops an eighth of them at once, because finding them takes a pass over all.
fn shrink<T>(map: &mut HashMap<String, T>, limit: usize, presence: impl Fn(&T) -> &Presence) {
    if map.len() <= limit {
        return;
    }
    let excess = map.len() - limit + limit / 8;
    let mut order: Vec<_> = (map.iter())
        .map(|(key, entry)| (presence(entry).worth(), key.clone()))
        .collect();
    order.sort_unstable();
    for (_, key) in order.iter().take(excess) {
        map.remove(key);
    }
}

fn set_metadata(
    pod: &mut Pod,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) {
    pod.labels = fitting(labels.iter());
    pod.labels_cut = pod.labels.len() < labels.len();
    pod.annotations =
        fitting((annotations.iter()).filter(|(name, _)| name.starts_with(ANNOTATIONS)));
}

fn fitting<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> BTreeMap<String, String> {
    let mut room = MAX_LABELS;
    pairs
        .take_while(|(name, value)| {
            let size = name.len() + value.len();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn image_name(image: &str) -> String {
    image[..image.floor_char_boundary(MAX_IMAGE)].into()
}

/// Whether a runtime's name for an image is only an id, which says nothing to people.
fn is_image_id(image: &str) -> bool {
    image.is_empty() || image.starts_with("sha256:") || is_id(image)
}

#[cfg(test)]
mod tests;
