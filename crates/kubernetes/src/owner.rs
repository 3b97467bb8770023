//! The owner of a pod: the controller above it that lives longest. What all its replicas do alike counts as one fault.
//!
//! | the pod is controlled by | its owner is | known by |
//! |---|---|---|
//! | a ReplicaSet of a Deployment | the Deployment | the ReplicaSet's name ends with the pod's label `pod-template-hash` |
//! | a Job of a CronJob | the CronJob | the Job's name ends with the time it was scheduled for |
//! | anything else, except a Node | that | its owner reference |
//! | nothing, or a Node (a static pod) | the pod | |
//!
//! A Deployment's ReplicaSet is `NAME-HASH`, and the controller labels its pods with the same hash
//! (kubernetes/pkg/controller/deployment/sync.go, `getNewReplicaSet`). A CronJob's Job is `NAME-MINUTES`, with the
//! scheduled time in minutes since 1970, or in seconds before Kubernetes 1.21 (kubernetes/pkg/controller/cronjob/utils.go,
//! `getJobName`, `getTimeHash`). Both could be asked of the API server, for two more rights and one more request. The
//! names are enough: a number that is no time near the pod's creation is not taken for one, and a Job that is named like
//! this by hand only shares its Captures with the others of that name.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Label of a Deployment's pods.
pub(crate) const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// A pod of a Job may be made this long after the time for which the Job was scheduled: Jobs that were missed are made
/// later, and pods that failed are made again.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Clocks differ, and the name of a time zone may be wrong.
const EARLY: SignedDuration = SignedDuration::from_hours(1);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
    /// Its UID, where the pod's object has it: not for a Deployment or a CronJob.
    pub uid: Option<String>,
}

impl Owner {
    /// The owner of a pod, from the pod's object; `None` for an object without a name.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        let text = |at: &Value, key: &str| at[key].as_str().map(str::to_owned);
        let metadata = &pod["metadata"];
        let this = Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: text(metadata, "name")?,
            uid: text(metadata, "uid"),
        };
        let references = metadata["ownerReferences"].as_array();
        let controls = |reference: &&Value| {
            reference["controller"] == Value::Bool(true) && reference["kind"] != "Node"
        };
        let controller = references.and_then(|all| all.iter().find(controls));
        let named = controller.and_then(|reference| {
            Some(Self {
                api_version: text(reference, "apiVersion")?,
                kind: text(reference, "kind")?,
                name: text(reference, "name")?,
                uid: text(reference, "uid"),
            })
        });
        let Some(named) = named else {
            return Some(this);
        };
        let above = match named.kind.as_str() {
            "ReplicaSet" => {
                let hash = metadata["labels"][POD_TEMPLATE_HASH].as_str();
                hash.and_then(|hash| named.name.strip_suffix(hash)?.strip_suffix('-'))
                    .map(|name| ("Deployment", name))
            }
            "Job" => {
                let created = metadata["creationTimestamp"].as_str();
                let created = created.and_then(|time| time.parse().ok());
                created
                    .and_then(|created| cron_job(&named.name, created))
                    .map(|name| ("CronJob", name))
            }
            _ => None,
        };
        Some(match above.filter(|(_, name)| !name.is_empty()) {
            Some((kind, name)) => Self {
                kind: kind.to_owned(),
                name: name.to_owned(),
                uid: None,
                ..named.clone()
            },
            None => named,
        })
    }
}

/// `KIND/NAME`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// The name of the CronJob that made the Job of this name, one of whose pods was created then.
fn cron_job(job: &str, created: Timestamp) -> Option<&str> {
    let (name, digits) = job.rsplit_once('-')?;
    let number: i64 = digits.parse().ok()?;
    let seconds = match digits.len() {
        8 => number.checked_mul(60)?,
        10 => number,
        _ => return None,
    };
    let late = created.duration_since(Timestamp::from_second(seconds).ok()?);
    (late < LATE && late > -EARLY).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The owner of a pod with this controller, as `KIND/NAME`, and whether its UID is known.
    fn owner(kind: &str, name: &str, labels: Value) -> (String, bool) {
        let pod = json!({"metadata": {
            "name": "pod-1", "uid": "u1", "creationTimestamp": "2026-11-30T19:00:05Z", "labels": labels,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "u2"},
                {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u3", "controller": true},
            ],
        }});
        let owner = Owner::of(&pod).unwrap();
        (owner.to_string(), owner.uid.is_some())
    }

    #[test]
    fn a_replica_sets_deployment_is_known_by_the_hash() {
        let hash = json!({"pod-template-hash": "5796d5bc7c"});
        let expected = ("Deployment/web".to_owned(), false);
        assert_eq!(
            owner("ReplicaSet", "web-5796d5bc7c", hash.clone()),
            expected
        );
        let expected = ("ReplicaSet/web-other".to_owned(), true);
        assert_eq!(owner("ReplicaSet", "web-other", hash.clone()), expected);
        assert_eq!(owner("ReplicaSet", "web-other", json!({})), expected);
        let bare = ("ReplicaSet/-5796d5bc7c".to_owned(), true);
        assert_eq!(owner("ReplicaSet", "-5796d5bc7c", hash), bare);
    }

    #[test]
    fn a_jobs_cron_job_is_known_by_the_time_in_its_name() {
        let minutes = 1_796_065_200 / 60;
        for (job, expected) in [
            (format!("report-{minutes}"), "CronJob/report"),
            ("report-1796065200".to_owned(), "CronJob/report"),
            (
                format!("report-{}", minutes - 6 * 24 * 60),
                "CronJob/report",
            ),
            // A date, a year ago, no number.
            ("report-20261130".to_owned(), "Job/report-20261130"),
            ("report-29408820".to_owned(), "Job/report-29408820"),
            ("report-x2x9z".to_owned(), "Job/report-x2x9z"),
            ("migrate".to_owned(), "Job/migrate"),
        ] {
            assert_eq!(owner("Job", &job, json!({})).0, expected);
        }
    }

    #[test]
    fn other_controllers_are_owners_and_a_node_is_none() {
        for kind in [
            "StatefulSet",
            "DaemonSet",
            "ReplicationController",
            "CloneSet",
        ] {
            let expected = (format!("{kind}/db"), true);
            assert_eq!(owner(kind, "db", json!({})), expected);
        }
        assert_eq!(
            owner("Node", "n1", json!({})),
            ("Pod/pod-1".to_owned(), true)
        );
        let alone = Owner::of(&json!({"metadata": {"name": "web"}})).unwrap();
        assert_eq!((alone.to_string(), alone.uid), ("Pod/web".to_owned(), None));
        assert_eq!(Owner::of(&Value::Null), None);
    }
}
