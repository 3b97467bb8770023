//! One fault, many pods: the few Captures that stand for it, and how often else it happened.
//!
//! A fault is a fingerprint in one container of one owner ([`crate::owner`]). It has three *slots*, which are names of
//! Captures. The agent that records the fault creates a Capture with the first free name; the API server lets only one
//! agent do so. If none is free, the file is *similar*: it stays on its node and is added to the `status.similar` of the
//! first Capture.
//!
//! An addition must not be lost or made twice. It is a patch with the object's resource version as a precondition, so
//! two agents cannot overwrite each other's. It has a name, which the agent writes down before it tries, and which the
//! patch puts into `status.additions`. An agent that got no answer, or that was killed, finds the name there.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    Error,
    capture::{Capture, CaptureSpec, CaptureStatus, NODE_LABEL, SimilarPod},
    error::{CREATE_CAPTURES, LIST_CAPTURES, PATCH_CAPTURE_STATUS, call},
    name::{named, node_label},
    owner::Owner,
    random,
};

/// How many Captures a fault has at most.
const SLOTS: usize = 3;
/// How many similar pods are named.
const NAMED: usize = 10;
/// How many names of additions are kept. If more additions came between the attempt of an agent and its next one, it
/// would add once more; an agent tries again within seconds, and adds to a fault once a minute.
const ADDITIONS: usize = 256;
/// How often an addition is tried at once if others add at the same time.
const ATTEMPTS: u32 = 8;
/// The longest pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// Label of a Capture that stands for a fault: a digest of the fault.
const FAULT: &str = "lastword.dev/fault";
/// Annotation of a Capture that stands for a fault: node and name of its file, as `NODE/FILE`. It says whose the Capture
/// is before the status does.
const FILE: &str = "lastword.dev/file";
/// Field managers: of what is created, and of what is added.
const MANAGER: &str = "lastword";
const SIMILAR_MANAGER: &str = "lastword-similar";

/// A fault of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fault {
    /// Whose fault it is.
    pub owner: Owner,
    /// The container's name.
    pub container: String,
    /// The verdict's fingerprint.
    pub fingerprint: String,
}

impl Fault {
    /// The names of the Captures that may stand for it, in the order in which they are taken.
    pub fn slots(&self) -> impl Iterator<Item = String> + use<> {
        let stem = self.stem();
        (1..=SLOTS).map(move |number| format!("{stem}-{number}"))
    }

    fn stem(&self) -> String {
        let Owner { kind, name, .. } = &self.owner;
        named(
            &format!("{name}-{}", self.container),
            '-',
            &[kind, &self.fingerprint],
        )
    }

    /// The value of its label: the digest at the end of its names, which is short enough for one.
    fn label(&self) -> String {
        let stem = self.stem();
        stem.rsplit('-').next().unwrap_or_default().to_owned()
    }
}

/// What became of a file whose fault may have Captures already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The Capture of this name stands for it, and is its own.
    Own(String),
    /// All slots are taken by others: it is to be added to the similar ones.
    Similar {
        /// The files of this node that have them.
        own: Vec<String>,
    },
}

/// The Captures that stand for faults, for the agent of one node.
#[derive(Clone)]
pub struct Faults {
    client: Client,
    node: String,
}

impl Faults {
    /// For the agent of `node`.
    #[must_use]
    pub fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
        }
    }

    /// Finds out whether a file gets a Capture of its own, and creates that, without its status. May be repeated: the
    /// Capture that was created is found again.
    ///
    /// # Errors
    /// The API server is away, forbids it, or does not know Captures.
    pub async fn stand(
        &self,
        namespace: &str,
        fault: &Fault,
        file: &str,
        spec: &CaptureSpec,
    ) -> Result<Standing, Error> {
        let here = file_at(&self.node, "");
        let mut pause = PAUSE;
        for _ in 0..ATTEMPTS {
            let there = self.captures(namespace, fault).await?;
            let own = there.iter().filter_map(|capture| {
                Some((name(capture)?, file_of(capture)?.strip_prefix(&here)?))
            });
            if let Some((name, _)) = own.clone().find(|(_, own)| *own == file) {
                return Ok(Standing::Own(name.to_owned()));
            }
            let is_taken = |slot: &String| there.iter().any(|capture| name(capture) == Some(slot));
            let mut free = fault.slots().filter(|slot| !is_taken(slot)).peekable();
            if free.peek().is_none() {
                let own = own.map(|(_, file)| file.to_owned()).collect();
                return Ok(Standing::Similar { own });
            }
            for slot in free {
                match self.create(namespace, fault, &slot, file, spec).await {
                    Ok(()) => return Ok(Standing::Own(slot)),
                    // Another agent was faster, or the list was old.
                    Err(Error::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(pause.mul_f64(random::fraction())).await;
            pause *= 2;
        }
        Err(Error::Away(format!(
            "its list of the Captures that stand for a fault of {} is too old",
            fault.owner
        )))
    }

    async fn create(
        &self,
        namespace: &str,
        fault: &Fault,
        slot: &str,
        file: &str,
        spec: &CaptureSpec,
    ) -> Result<(), Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let mut capture = Capture::new(slot, spec.clone().bounded());
        let metadata = &mut capture.metadata;
        let labels = [(FAULT, fault.label()), (NODE_LABEL, node_label(&self.node))];
        metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
        let file = file_at(&self.node, file);
        metadata.annotations = Some([(FILE.to_owned(), file)].into());
        let created = call(CREATE_CAPTURES, api.create(&params, &capture)).await;
        created.map(drop)
    }

    /// Adds files to the similar ones of a fault, under the name of the addition. May be repeated under the same name
    /// with the same files: they are counted once. Returns the name of the Capture; `None` if there is none any more.
    ///
    /// # Errors
    /// The API server is away, or forbids it; [`Error::Conflict`] if many others add at the same time.
    pub async fn add(
        &self,
        namespace: &str,
        fault: &Fault,
        addition: &str,
        files: &[SimilarPod],
    ) -> Result<Option<String>, Error> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let there = self.captures(namespace, fault).await?;
            let has_it = |capture: &&Capture| {
                let status = capture.status.as_ref();
                status.is_some_and(|status| status.additions.iter().any(|it| it == addition))
            };
            if let Some(done) = there.iter().find(has_it) {
                return Ok(name(done).map(str::to_owned));
            }
            let Some(first) = there.first() else {
                return Ok(None);
            };
            match self.patch(namespace, first, addition, files).await {
                Ok(()) => return Ok(name(first).map(str::to_owned)),
                Err(Error::Conflict(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(pause.mul_f64(random::fraction())).await;
                    pause *= 2;
                }
                Err(Error::NotFound(_)) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// How often a fault was recorded in all, as far as Captures say.
    ///
    /// # Errors
    /// The API server is away, or forbids it.
    pub async fn count(&self, namespace: &str, fault: &Fault) -> Result<i64, Error> {
        let there = self.captures(namespace, fault).await?;
        let of = |capture: &Capture| {
            1 + capture
                .status
                .as_ref()
                .and_then(|it| it.similar)
                .unwrap_or(0)
        };
        Ok(there.iter().map(of).sum())
    }

    async fn patch(
        &self,
        namespace: &str,
        capture: &Capture,
        addition: &str,
        files: &[SimilarPod],
    ) -> Result<(), Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let before = capture.status.clone().unwrap_or_default();
        let CaptureStatus {
            similar,
            similar_pods,
            additions,
            ..
        } = added(before, addition, files);
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": capture.metadata.resource_version},
            "status": {"similar": similar, "similarPods": similar_pods, "additions": additions},
        }));
        let params = PatchParams {
            field_manager: Some(SIMILAR_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let name = name(capture).unwrap_or_default();
        call(
            PATCH_CAPTURE_STATUS,
            api.patch_status(name, &params, &patch),
        )
        .await?;
        Ok(())
    }

    /// The Captures that stand for a fault, in the order of their slots. The answer may be a little old: who creates or
    /// patches finds out.
    async fn captures(&self, namespace: &str, fault: &Fault) -> Result<Vec<Capture>, Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default()
            .labels(&format!("{FAULT}={}", fault.label()))
            .match_any();
        let listed = call(LIST_CAPTURES, api.list(&params)).await?;
        let mut there = listed.items;
        let slots: Vec<String> = fault.slots().collect();
        // Anybody may write labels.
        there.retain(|capture| slots.iter().any(|slot| name(capture) == Some(slot)));
        there.sort_by(|one, other| name(one).cmp(&name(other)));
        Ok(there)
    }
}

/// The file of a Capture that stands for a fault, as [`file_at`] gives it.
pub(crate) fn file_of(capture: &Capture) -> Option<&str> {
    let annotations = capture.metadata.annotations.as_ref()?;
    annotations.get(FILE).map(String::as_str)
}

/// `NODE/FILE`.
pub(crate) fn file_at(node: &str, file: &str) -> String {
    format!("{node}/{file}")
}

fn name(capture: &Capture) -> Option<&str> {
    capture.metadata.name.as_deref()
}

/// A status with an addition.
fn added(mut status: CaptureStatus, addition: &str, files: &[SimilarPod]) -> CaptureStatus {
    let count = i64::try_from(files.len()).unwrap_or(i64::MAX);
    status.similar = Some(status.similar.unwrap_or(0).saturating_add(count));
    let mut newest = files.to_vec();
    newest.append(&mut status.similar_pods);
    newest.sort_by(|one, other| other.taken_at.cmp(&one.taken_at));
    newest.truncate(NAMED);
    status.similar_pods = newest;
    status.additions.insert(0, addition.to_owned());
    status.additions.truncate(ADDITIONS);
    status
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::Timestamp;

    fn fault(owner: &str) -> Fault {
        let owner = Owner {
            kind: "Deployment".to_owned(),
            name: owner.to_owned(),
            ..Owner::default()
        };
        Fault {
            owner,
            container: "main".to_owned(),
            fingerprint: "0123456789abcdef".to_owned(),
        }
    }

    #[test]
    fn slots_have_names_that_are_the_same_on_every_node() {
        let slots: Vec<String> = fault("web").slots().collect();
        assert_eq!(slots, fault("web").slots().collect::<Vec<_>>());
        assert!(
            slots[0].starts_with("web-main-") && slots[0].ends_with("-1"),
            "{slots:?}"
        );
        let mut job = fault("web");
        job.owner.kind = "Job".to_owned();
        let mut other = fault("web");
        other.fingerprint = "fedcba9876543210".to_owned();
        let of_pod = |uid: &str| {
            let mut fault = fault("web");
            fault.owner.uid = Some(uid.to_owned());
            fault
        };
        assert!(
            slots
                .iter()
                .all(|slot| job.slots().chain(other.slots()).all(|it| it != *slot))
        );
        assert_eq!(slots, of_pod("u1").slots().collect::<Vec<_>>());
        let long = fault(&"x".repeat(253));
        assert!(long.slots().all(|slot| slot.len() <= 253));
        assert!(long.label().len() <= 63);
    }

    #[test]
    fn the_ten_newest_are_named_and_all_are_counted() {
        let pods = |range: std::ops::Range<i64>| -> Vec<SimilarPod> {
            let pod = |second| SimilarPod {
                pod_name: format!("web-{second}"),
                taken_at: Some(Time(Timestamp::from_second(second).unwrap())),
                ..SimilarPod::default()
            };
            range.map(pod).collect()
        };
        let status = added(CaptureStatus::default(), "a", &pods(0..8));
        let status = added(status, "b", &pods(8..20));
        assert_eq!(status.similar, Some(20));
        let named: Vec<_> = status
            .similar_pods
            .iter()
            .map(|pod| &*pod.pod_name)
            .collect();
        assert_eq!((named.len(), named[0], named[9]), (10, "web-19", "web-10"));
        assert_eq!(status.additions, ["b", "a"]);
        let many = (0..300).fold(status, |status, n| added(status, &n.to_string(), &[]));
        assert_eq!(
            (many.additions.len(), &*many.additions[0]),
            (ADDITIONS, "299")
        );
    }
}
