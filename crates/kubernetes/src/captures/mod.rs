//! Captures that somebody asked for, and the end of all Captures.
//!
//! Every agent watches all Captures, trimmed to what it needs. The agent of the pod's node takes a pending Capture; if
//! several agents try, the resource version as a precondition lets only one of them do so. [`book`] decides what
//! becomes of the others: no Capture stays pending for ever, and no expired Capture stays.

mod book;

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};

use crate::{
    Change, Error, Health, Who,
    announce::apply_status,
    capture::{Capture, CaptureSpec, CaptureStatus, Phase},
    clock::ServerClock,
    error::{
        CREATE_CAPTURES, DELETE_CAPTURES, GET_POD, LIST_CAPTURES, USER_CREATE_CAPTURES,
        WATCH_CAPTURES, call,
    },
    watch::Watch,
};

use book::{Book, Duty, Judged, PodPlace, Seen};

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
    /// The watch has begun, or begun anew, and has reported all Captures. These are the (namespace, name) of those that
    /// this node's agent claimed, or that nobody has claimed yet.
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
    /// While the stream is polled, it also sets Captures that nobody claims to `Failed`, and deletes expired ones:
    /// those of this node, and those that no other agent has deleted. Both happen only if the API server's clock says
    /// so, because a node with a wrong clock must not delete what is not old.
    pub fn notices(&self) -> BoxStream<'static, Notice> {
        let watch = Watch {
            who: "captures",
            list: LIST_CAPTURES,
            watch: WATCH_CAPTURES,
            // What a list lacks is announced again.
            from_cache: false,
        };
        let api: Api<Capture> = Api::all(self.client.clone());
        let changes = watch.follow(api, None, self.health.clone(), |capture| {
            let seen = Seen::of(capture)?;
            Some((seen.uid.clone(), seen))
        });
        let keeper = Keeper {
            captures: self.clone(),
            book: Book::new(&self.node, self.keep),
            clock: ServerClock::default(),
            changes,
            duties: VecDeque::new(),
            notices: VecDeque::new(),
        };
        stream::unfold(keeper, Keeper::next).boxed()
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

    /// Whether a Capture that is gone was deleted by a person, together with its namespace, or because it expired.
    /// False if it went together with the resource definition, as when lastword is uninstalled, or if another one with
    /// its name exists.
    ///
    /// To find out, a Capture is created without effect (a dry run): the API server refuses that while a definition is
    /// being deleted.
    ///
    /// # Errors
    /// If that cannot be found out: the API server is away, or forbids it.
    pub async fn is_deleted(&self, namespace: &str, name: &str) -> Result<bool, Error> {
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
            Err(Error::CrdMissing | Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets a Capture to `Failed` that nobody claimed, or that the agent which claimed it did not finish.
    async fn give_up(&self, seen: &Seen, reason: &str, message: &str) -> Result<(), Error> {
        let status = failed(seen.status(), reason, message);
        let version = Some(seen.resource_version.as_str());
        let applied = apply_status(&self.client, &seen.namespace, &seen.name, version, &status);
        if unless_changed(applied.await)? {
            tracing::info!(namespace = seen.namespace, capture = seen.name, "{message}");
        }
        Ok(())
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
            Duty::Offer(_) => Ok(()),
            Duty::Expire(seen, expiry) => match expiry.is_over(clock.now(&self.client).await) {
                true => self.delete(seen).await,
                false => Ok(()),
            },
            Duty::Fail(seen, reason, message) => self.give_up(seen, reason, message).await,
            Duty::LookForPod(seen, late) => {
                let place = self.place_of_pod(seen).await?;
                match book::judge(seen, place.as_ref(), *late) {
                    Judged::Fails(reason, message) => self.give_up(seen, reason, &message).await,
                    Judged::Waits(message) => self.note(seen, &message).await,
                }
            }
        }
    }
}

/// Asks for a capture: makes a Capture that the agent of the pod's node will claim. False if one with this name already
/// exists.
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
    let access = match who {
        Who::Agent => CREATE_CAPTURES,
        Who::User => USER_CREATE_CAPTURES,
    };
    let api: Api<Capture> = Api::namespaced(client.clone(), namespace);
    let capture = Capture::new(name, spec.bounded());
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
    changes: BoxStream<'static, Change<Seen>>,
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
                Some(duty) => {
                    if let Err(error) = self.captures.act(&duty, &mut self.clock).await {
                        tracing::debug!(?duty, "{error}");
                    }
                }
                None => {
                    self.observe().await?;
                    let duties = self.book.due(Instant::now(), Timestamp::now());
                    self.duties.extend(duties);
                }
            }
        }
    }

    /// Waits for a change, or until something may be due. `None` if the watch has ended, which does not happen.
    async fn observe(&mut self) -> Option<()> {
        match tokio::time::timeout(self.book.pace(Instant::now()), self.changes.next()).await {
            Ok(change) => {
                let change = change?;
                let listed = matches!(change, Change::Synced);
                let deleted = self.book.observe(change, Instant::now());
                let deleted = deleted.map(|seen| Notice::Deleted {
                    namespace: seen.namespace,
                    name: seen.name,
                });
                self.notices.extend(deleted);
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
