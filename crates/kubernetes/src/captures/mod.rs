//! Captures that somebody asked for, and the end of all Captures.
//!
//! A Capture is labelled with the node whose agent has to do with it ([`NODE_LABEL`]). Every agent has two watches,
//! trimmed to what it needs: the Captures of its node, and those without a label, which wait for an agent. So what one
//! agent does with its Captures costs the others nothing.
//!
//! The agent of the pod's node takes a pending Capture; if several agents try, the resource version as a precondition
//! lets only one of them do so. Then it writes the label. [`book`] decides what becomes of the others: no Capture stays
//! pending for ever, and no expired Capture stays.

mod book;
mod sweep;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Change, Error, Health, Who,
    announce::apply_status,
    capture::{Capture, CaptureSpec, CaptureStatus, NODE_LABEL, Phase},
    clock::ServerClock,
    error::{
        CREATE_CAPTURES, DELETE_CAPTURES, GET_POD, LIST_CAPTURES, PATCH_CAPTURES,
        USER_CREATE_CAPTURES, USER_GET_POD, WATCH_CAPTURES, call,
    },
    faults,
    name::node_label,
    watch::{Watch, Which},
};

use book::{Book, Duty, Feed, Judged, PodPlace, Seen};

/// Field manager of the label. It is not the manager of the spec, which would give up the spec by applying a label.
const LABEL_MANAGER: &str = "lastword-node";

/// A Capture that waits for an agent. It is offered every few seconds until an agent claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its namespace, which is the pod's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which container, and why.
    pub spec: CaptureSpec,
    /// How often it was claimed before: by this node's agent, which ended before it was done.
    pub attempts: i32,
    resource_version: String,
}

/// News about the cluster's Captures for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A Capture waits for an agent.
    Offered(Offer),
    /// A watch has begun, or begun anew, and all Captures have been reported. These are the (namespace, name) of those
    /// that this node's agent claimed, or that nobody has claimed yet.
    Listed(HashSet<(String, String)>),
    /// A Capture is gone; [`Captures::is_deleted`] says why.
    Deleted {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A Capture object that this agent has claimed and will fill in.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What was offered.
    pub offer: Offer,
    /// Its present status. With all fields and the phase `Complete` it becomes part of an
    /// [`crate::announce::Announcement`].
    pub status: CaptureStatus,
}

/// The Captures of the cluster, as one node's agent sees them.
#[derive(Clone)]
pub struct Captures {
    client: Client,
    node: String,
    keep: Duration,
    health: Health,
}

impl Captures {
    /// The Captures for the agent of `node`. Finished Captures are deleted after `keep`, unless they say otherwise.
    #[must_use]
    pub fn new(client: Client, node: &str, keep: Duration, health: Health) -> Self {
        Self {
            client,
            node: node.to_owned(),
            keep,
            health,
        }
    }

    /// Captures that wait for an agent, on whatever node their pod is (the caller knows the pods of its own node), and
    /// Captures that were deleted.
    ///
    /// While the stream is polled, it also sets Captures that nobody claims to `Failed`, and deletes expired ones of
    /// this node, if the API server's clock says so: a node with a wrong clock must not delete what is not old.
    pub fn notices(&self) -> BoxStream<'static, Notice> {
        let labelled = format!("{NODE_LABEL}={}", node_label(&self.node));
        let unlabelled = format!("!{NODE_LABEL}");
        let changes = stream::select(
            self.watch("captures", labelled)
                .map(|change| (Feed::Labelled, change)),
            self.watch("requests", unlabelled)
                .map(|change| (Feed::Unlabelled, change)),
        );
        let keeper = Keeper {
            captures: self.clone(),
            book: Book::new(&self.node, self.keep),
            clock: ServerClock::default(),
            changes: changes.boxed(),
            duties: VecDeque::new(),
            notices: VecDeque::new(),
        };
        stream::unfold(keeper, Keeper::next).boxed()
    }

    fn watch(
        &self,
        who: &'static str,
        labels: String,
    ) -> impl Stream<Item = Change<Seen>> + Send + use<> {
        let watch = Watch {
            who,
            list: LIST_CAPTURES,
            watch: WATCH_CAPTURES,
            // What a list lacks is announced again.
            from_cache: false,
            which: Which {
                labels: Some(labels),
                ..Which::default()
            },
        };
        let api: Api<Capture> = Api::all(self.client.clone());
        watch.follow(api, self.health.clone(), |capture| {
            let seen = Seen::of(capture)?;
            Some((seen.uid.clone(), seen))
        })
    }

    /// Claims an offer: the phase becomes `Capturing`, with this node's name. `None` if another agent was faster, or if
    /// the Capture is gone.
    ///
    /// # Errors
    /// The API server is away, or forbids it.
    pub async fn claim(&self, offer: &Offer) -> Result<Option<Claim>, Error> {
        let status = CaptureStatus {
            phase: Phase::Capturing,
            node: Some(self.node.clone()),
            taken_at: Some(now()),
            attempts: Some(offer.attempts.saturating_add(1)),
            ..CaptureStatus::default()
        };
        let version = Some(offer.resource_version.as_str());
        let applied = apply_status(
            &self.client,
            &offer.namespace,
            &offer.name,
            version,
            &status,
        );
        if !unless_changed(applied.await)? {
            return Ok(None);
        }
        Ok(Some(Claim {
            offer: offer.clone(),
            status,
        }))
    }

    /// Reports that there will be no file: the phase becomes `Failed`. `reason` is one word such as `NothingRecorded`;
    /// `message` is for people.
    ///
    /// # Errors
    /// The API server is away, or forbids it.
    pub async fn fail(&self, claim: Claim, reason: &str, message: &str) -> Result<(), Error> {
        let Claim { offer, status } = claim;
        let status = failed(status, reason, message);
        let applied = apply_status(&self.client, &offer.namespace, &offer.name, None, &status);
        unless_changed(applied.await).map(drop)
    }

    /// Whether the Capture of a file was deleted by a person, together with its namespace, or because it expired. False
    /// if it went together with the resource definition, as when lastword is uninstalled, or if one with its name
    /// exists that is not known to be of another file: names of Captures that stand for a fault are used again.
    ///
    /// To find out, a Capture is created without effect (a dry run): the API server refuses that while a definition is
    /// being deleted.
    ///
    /// # Errors
    /// If that cannot be found out: the API server is away, or forbids it.
    pub async fn is_deleted(&self, namespace: &str, name: &str, file: &str) -> Result<bool, Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let spec = CaptureSpec {
            pod_name: name.to_owned(),
            ..CaptureSpec::default()
        };
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let capture = Capture::new(name, spec);
        match call(CREATE_CAPTURES, api.create(&params, &capture)).await {
            Ok(_) | Err(Error::Refused { .. } | Error::NamespaceGone(_)) => Ok(true),
            Err(Error::CrdMissing) => Ok(false),
            Err(Error::Conflict(_)) => self.is_of_another(namespace, name, file).await,
            Err(error) => Err(error),
        }
    }

    /// Whether the Capture of this name says that it is of another file.
    async fn is_of_another(&self, namespace: &str, name: &str, file: &str) -> Result<bool, Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = call(LIST_CAPTURES, api.list(&params)).await?;
        let own = faults::file_at(&self.node, file);
        let named = |it: &&Capture| it.metadata.name.as_deref() == Some(name);
        let there = listed.items.iter().find(named);
        Ok(there
            .and_then(faults::file_of)
            .is_some_and(|file| file != own))
    }

    /// Sets a Capture to `Failed` that nobody claimed, or that the agent which claimed it did not finish. Whoever does
    /// that also deletes it when its time is over.
    async fn give_up(&self, seen: &Seen, reason: &str, message: &str) -> Result<(), Error> {
        let status = failed(seen.status(), reason, message);
        let version = Some(seen.resource_version.as_str());
        let applied = apply_status(&self.client, &seen.namespace, &seen.name, version, &status);
        if !unless_changed(applied.await)? {
            return Ok(());
        }
        tracing::info!(namespace = seen.namespace, capture = seen.name, "{message}");
        match seen.label {
            Some(_) => Ok(()),
            None => self.label(seen, &self.node).await,
        }
    }

    /// Labels a Capture with a node. An object that was made anew under its name is left alone.
    async fn label(&self, seen: &Seen, node: &str) -> Result<(), Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), &seen.namespace);
        let labels = json!({ NODE_LABEL: node_label(node) });
        let patch = json!({"metadata": {"uid": seen.uid, "labels": labels}});
        let params = PatchParams {
            field_manager: Some(LABEL_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let patched = api.patch_metadata(&seen.name, &params, &patch);
        let patched = call(PATCH_CAPTURES, patched).await;
        unless_changed(patched.map(drop)).map(drop)
    }

    /// Writes down that a pending Capture was looked after. The time makes it a change, which all agents see.
    async fn note(&self, seen: &Seen, message: &str) -> Result<(), Error> {
        let status = CaptureStatus {
            message: Some(format!("{message} ({})", now().0)),
            ..seen.status()
        };
        let version = Some(seen.resource_version.as_str());
        let applied = apply_status(&self.client, &seen.namespace, &seen.name, version, &status);
        unless_changed(applied.await).map(drop)
    }

    async fn delete(&self, seen: &Seen) -> Result<(), Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), &seen.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(seen.uid.clone()),
                resource_version: Some(seen.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let deleted = call(DELETE_CAPTURES, api.delete(&seen.name, &params)).await;
        unless_changed(deleted.map(drop)).map(drop)
    }

    async fn place_of_pod(&self, seen: &Seen) -> Result<Option<PodPlace>, Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &seen.namespace);
        let pod = call(GET_POD, api.get_opt(&seen.spec.pod_name)).await?;
        Ok(pod.map(|pod| PodPlace {
            uid: pod.metadata.uid.unwrap_or_default(),
            node: pod.spec.and_then(|spec| spec.node_name),
        }))
    }

    async fn act(&self, duty: &Duty, clock: &mut ServerClock) -> Result<(), Error> {
        match duty {
            Duty::Offer(_) | Duty::Gone(_) => Ok(()),
            Duty::Label(seen) => self.label(seen, &self.node).await,
            Duty::Expire(seen, at) => {
                let now = clock.now(&self.client).await;
                match now.is_none_or(|now| now >= *at) {
                    true => self.delete(seen).await,
                    false => Ok(()),
                }
            }
            Duty::Fail(seen, reason, message) => self.give_up(seen, reason, message).await,
            Duty::LookForPod(seen, late) => {
                let place = self.place_of_pod(seen).await?;
                match book::judge(seen, place.as_ref(), *late) {
                    Judged::Fails(reason, message) => self.give_up(seen, reason, &message).await,
                    Judged::Waits(message) => self.note(seen, &message).await,
                    Judged::IsAt(node, message) => match &seen.label {
                        Some(label) if *label == node_label(&node) => {
                            self.note(seen, &message).await
                        }
                        _ => self.label(seen, &node).await,
                    },
                }
            }
        }
    }
}

/// Asks for a capture: makes a Capture that the agent of the pod's node will claim. False if one with this name already
/// exists. If the caller may see the pod, the Capture is labelled with the pod's node, so that no other agent sees it.
///
/// # Errors
/// The API server is away, forbids it, does not know Captures, or refuses the spec.
pub async fn create(
    client: &Client,
    who: Who,
    namespace: &str,
    name: &str,
    spec: CaptureSpec,
) -> Result<bool, Error> {
    let (get_pod, access) = match who {
        Who::Agent => (GET_POD, CREATE_CAPTURES),
        Who::User => (USER_GET_POD, USER_CREATE_CAPTURES),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = call(get_pod, pods.get_opt(&spec.pod_name)).await;
    // Whoever may ask for captures need not be allowed to see pods.
    let pod = pod.inspect_err(|error| tracing::debug!("the pod's node is not known: {error}"));
    let spec_of_pod = pod.ok().flatten().and_then(|pod| pod.spec);
    let node = spec_of_pod.and_then(|spec| spec.node_name);
    let api: Api<Capture> = Api::namespaced(client.clone(), namespace);
    let mut capture = Capture::new(name, spec.bounded());
    capture.metadata.labels =
        node.map(|node| BTreeMap::from([(NODE_LABEL.to_owned(), node_label(&node))]));
    match call(access, api.create(&PostParams::default(), &capture)).await {
        Ok(_) => Ok(true),
        Err(Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The state of [`Captures::notices`] between two notices.
struct Keeper {
    captures: Captures,
    book: Book,
    clock: ServerClock,
    changes: BoxStream<'static, (Feed, Change<Seen>)>,
    duties: VecDeque<Duty>,
    notices: VecDeque<Notice>,
}

impl Keeper {
    async fn next(mut self) -> Option<(Notice, Self)> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Some((notice, self));
            }
            match self.duties.pop_front() {
                Some(Duty::Offer(offer)) => return Some((Notice::Offered(offer), self)),
                Some(Duty::Gone(Seen {
                    namespace, name, ..
                })) => return Some((Notice::Deleted { namespace, name }, self)),
                Some(duty) => {
                    if let Err(error) = self.captures.act(&duty, &mut self.clock).await {
                        tracing::debug!(?duty, "{error}");
                    }
                }
                None => {
                    self.observe().await?;
                    let duties = self.book.due(Instant::now().into_std(), Timestamp::now());
                    self.duties.extend(duties);
                }
            }
        }
    }

    /// Waits for a change, or until something may be due. `None` if the watches have ended, which does not happen.
    async fn observe(&mut self) -> Option<()> {
        match tokio::time::timeout(
            self.book.pace(Instant::now().into_std()),
            self.changes.next(),
        )
        .await
        {
            Ok(change) => {
                let (from, change) = change?;
                let listed = matches!(change, Change::Synced);
                self.book.observe(from, change, Instant::now().into_std());
                let listed = listed && self.book.is_synced();
                self.notices
                    .extend(listed.then(|| Notice::Listed(self.book.ours())));
                Some(())
            }
            Err(_) => Some(()),
        }
    }
}

/// Whether the write succeeded; false if somebody else changed or deleted the object first.
fn unless_changed(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::Conflict(_) | Error::NotFound(_) | Error::NamespaceGone(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(status: CaptureStatus, reason: &str, message: &str) -> CaptureStatus {
    CaptureStatus {
        phase: Phase::Failed,
        finished_at: Some(now()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..status
    }
}

/// The present time, rounded to the second, as it is stored.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
