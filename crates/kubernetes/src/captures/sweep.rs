//! What no agent looks after: Captures of nodes that are gone, or that have no agent any more.
//!
//! Once an hour, one agent lists all Captures, page by page. A Lease decides which agent: everyone looks at it once an
//! hour, at a time that depends on the node, and the first one that finds it too old replaces it. The Lease is deleted
//! and made anew, not renewed, because its age is then measured by the API server's clock.
//!
//! | a Capture that | for | is |
//! |---|---|---|
//! | is Pending | 15 min since it was made | Failed: there is no agent on its node |
//! | is Capturing | 1 h since it was made | Failed: its agent did not finish |
//! | is finished | its time to live and 1 h | marked by an annotation, then deleted |
//!
//! Every time is measured by the API server's clock. An agent that lives was faster. The mark is a server-side apply,
//! because the API server notes when that was: so the admission policy can check whether the time is over
//! (deploy/components/admission).

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Resource as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tokio::time::sleep;

use super::{Captures, book::Seen, unless_changed};
use crate::{
    Error,
    capture::{Capture, Phase},
    clock::ServerClock,
    error::{CREATE_LEASE, DELETE_LEASE, GET_LEASE, LIST_CAPTURES, PATCH_CAPTURES, call},
};

/// Name of the Lease, in the agents' namespace.
const LEASE: &str = "lastword-sweep";
/// Annotation of a Capture that is about to be deleted: the node whose agent does that.
const EXPIRED: &str = "lastword.dev/expired";
/// Field manager of the annotation.
const MANAGER: &str = "lastword-sweep";
/// How often each agent looks at the Lease.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// From what age on the Lease is replaced. An agent that replaced it finds it old enough the next time.
const OLD: SignedDuration = SignedDuration::from_mins(55);
/// Captures that are read at once.
const PAGE: u32 = 250;
/// Pause after each change, so that many changes do not hurt the API server.
const PAUSE: Duration = Duration::from_millis(100);

const PENDING_FOR: SignedDuration = SignedDuration::from_mins(15);
const CAPTURING_FOR: SignedDuration = SignedDuration::from_hours(1);
const EXPIRED_FOR: SignedDuration = SignedDuration::from_hours(1);
/// A time that its node wrote is believed if it is in the future by no more than this.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What is done with a Capture.
#[derive(Debug, PartialEq)]
enum Swept {
    Deleted,
    Failed(&'static str, String),
}

/// What is done with a Capture at this time of the API server's clock. `keep` is the time to live of those that say
/// nothing else.
fn judge(seen: &Seen, keep: Duration, now: Timestamp) -> Option<Swept> {
    let age = now.duration_since(seen.created);
    let node = seen.node.as_deref().unwrap_or("its pod");
    match seen.phase {
        Phase::Pending if age >= PENDING_FOR => Some(Swept::Failed(
            "NoAgent",
            format!(
                "no agent on the node of its pod took it within {} min; see `kubectl get pods -A -o wide -l app.kubernetes.io/name=lastword`",
                PENDING_FOR.as_mins()
            ),
        )),
        Phase::Capturing if age >= CAPTURING_FOR => Some(Swept::Failed(
            "NotFinished",
            format!("the agent of node {node} took it and did not finish"),
        )),
        Phase::Pending | Phase::Capturing => None,
        Phase::Complete | Phase::Failed => {
            let told = seen.finished.filter(|at| now.duration_since(*at) >= -AHEAD);
            let from = told.map_or(seen.created, |at| at.max(seen.created));
            let over = now.duration_since(seen.expiry(from, keep));
            (over >= EXPIRED_FOR).then_some(Swept::Deleted)
        }
    }
}

impl Captures {
    /// Sweeps the Captures of the cluster whenever it is this agent's turn, for as long as it is polled.
    pub async fn sweep(self) {
        let mut hash = DefaultHasher::new();
        self.node.hash(&mut hash);
        sleep(EVERY.mul_f64((hash.finish() % 3600) as f64 / 3600.0)).await;
        loop {
            if let Err(error) = self.sweep_in_turn().await {
                tracing::debug!("Captures of nodes that are gone are looked for later: {error}");
            }
            sleep(EVERY).await;
        }
    }

    async fn sweep_in_turn(&self) -> Result<(), Error> {
        let Some(now) = ServerClock::default().now(&self.client).await else {
            return Ok(());
        };
        match self.takes_the_lease(now).await? {
            true => self.sweep_all(now).await,
            false => Ok(()),
        }
    }

    /// Whether this agent is the first one that found the Lease too old, or found none.
    async fn takes_the_lease(&self, now: Timestamp) -> Result<bool, Error> {
        let api: Api<Lease> = Api::default_namespaced(self.client.clone());
        if let Some(lease) = call(GET_LEASE, api.get_opt(LEASE)).await? {
            let Some(made) = &lease.meta().creation_timestamp else {
                return Ok(false);
            };
            if now.duration_since(made.0) < OLD {
                return Ok(false);
            }
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: lease.metadata.uid,
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            let deleted = call(DELETE_LEASE, api.delete(LEASE, &params)).await;
            if !unless_changed(deleted.map(drop))? {
                return Ok(false);
            }
        }
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.node.clone()),
                acquire_time: Some(MicroTime(now)),
                lease_duration_seconds: i32::try_from(EVERY.as_secs()).ok(),
                ..LeaseSpec::default()
            }),
        };
        let made = call(CREATE_LEASE, api.create(&PostParams::default(), &lease)).await;
        unless_changed(made.map(drop))
    }

    async fn mark_and_delete(&self, mut seen: Seen) -> Result<(), Error> {
        let api: Api<Capture> = Api::namespaced(self.client.clone(), &seen.namespace);
        let patch = Patch::Apply(json!({
            "apiVersion": Capture::api_version(&()),
            "kind": Capture::kind(&()),
            "metadata": {
                "name": seen.name,
                "resourceVersion": seen.resource_version,
                "annotations": {EXPIRED: self.node},
            },
        }));
        let params = PatchParams::apply(MANAGER).force();
        let marked = api.patch_metadata(&seen.name, &params, &patch);
        let marked = match call(PATCH_CAPTURES, marked).await {
            Err(error) => return unless_changed(Err(error)).map(drop),
            Ok(marked) => marked,
        };
        if let Some(version) = marked.metadata.resource_version {
            seen.resource_version = version;
        }
        self.delete(&seen).await
    }

    async fn sweep_all(&self, now: Timestamp) -> Result<(), Error> {
        let api: Api<Capture> = Api::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = call(LIST_CAPTURES, api.list(&params)).await?;
            for seen in page.items.into_iter().filter_map(Seen::of) {
                let done = match judge(&seen, self.keep, now) {
                    None => continue,
                    Some(Swept::Deleted) => self.mark_and_delete(seen.clone()).await,
                    Some(Swept::Failed(reason, message)) => {
                        self.give_up(&seen, reason, &message).await
                    }
                };
                if let Err(error) = done {
                    tracing::debug!(capture = seen.name, "it is swept later: {error}");
                }
                sleep(PAUSE).await;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    /// What becomes of a Capture that was made `minutes` ago, and finished by its node's clock `finished` minutes ago.
    fn swept(phase: &str, minutes: i64, finished: Option<i64>, ttl: Option<&str>) -> Option<Swept> {
        let now = Timestamp::now();
        let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
        let capture = json!({
            "apiVersion": "lastword.dev/v1alpha1", "kind": "Capture",
            "metadata": {
                "namespace": "shop", "name": "c", "uid": "u", "resourceVersion": "1", "creationTimestamp": ago(minutes),
            },
            "spec": {"podName": "web", "ttl": ttl},
            "status": {"phase": phase, "node": "gone", "finishedAt": finished.map(ago)},
        });
        let seen = Seen::of(serde_json::from_value(capture).unwrap()).unwrap();
        judge(&seen, WEEK, now)
    }

    fn reason(swept: Option<Swept>) -> Option<&'static str> {
        match swept {
            Some(Swept::Failed(reason, _)) => Some(reason),
            Some(Swept::Deleted) => Some("deleted"),
            None => None,
        }
    }

    #[test]
    fn what_is_left_unfinished_fails() {
        assert_eq!(reason(swept("Pending", 14, None, None)), None);
        assert_eq!(reason(swept("Pending", 15, None, None)), Some("NoAgent"));
        assert_eq!(reason(swept("Capturing", 59, None, None)), None);
        assert_eq!(
            reason(swept("Capturing", 60, None, None)),
            Some("NotFinished")
        );
    }

    #[test]
    fn what_has_expired_goes_an_hour_later() {
        let week = 7 * 24 * 60;
        for phase in ["Complete", "Failed"] {
            assert_eq!(reason(swept(phase, week + 59, Some(week + 59), None)), None);
            assert_eq!(reason(swept(phase, week + 60, None, None)), Some("deleted"));
            assert_eq!(reason(swept(phase, 89, None, Some("30m"))), None);
            assert_eq!(reason(swept(phase, 90, None, Some("30m"))), Some("deleted"));
        }
    }

    #[test]
    fn the_clock_of_its_node_changes_little() {
        let week = 7 * 24 * 60;
        // It was behind.
        assert_eq!(reason(swept("Complete", 0, Some(9 * week), None)), None);
        // It was ahead by years: that is not believed.
        assert_eq!(
            reason(swept("Complete", week + 60, Some(-99 * week), None)),
            Some("deleted")
        );
        // The Capture has a second file, which is younger than the object.
        assert_eq!(reason(swept("Complete", week + 60, Some(60), None)), None);
    }
}
