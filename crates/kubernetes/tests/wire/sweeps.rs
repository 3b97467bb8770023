//! Which agent looks for what the agents of other nodes left behind, and what it does then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822, tz::TimeZone};
use kubernetes::{Health, captures::Captures};
use serde_json::{Value, json};

use crate::server::{Answer, answer, serve, status};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/lastword-sweep";
const LIST: &str = "/apis/lastword.dev/v1alpha1/captures";
const SHOP: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures";

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// A Lease that was made so many minutes ago.
fn lease(minutes: i64) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "lastword-sweep", "uid": "l1", "creationTimestamp": ago(minutes)},
    })
}

fn capture(name: &str, phase: &str, days: i64) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": name, "resourceVersion": "1",
            "creationTimestamp": ago(days * 24 * 60), "labels": {"lastword.dev/node": "gone"},
        },
        "spec": {"podName": "web"},
        "status": {"phase": phase, "node": "gone"},
    })
}

/// The answer to the mark.
fn marked(name: &str) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "resourceVersion": "2"}})
}

fn page(captures: &[Value], next: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "5", "continue": next}, "items": captures})
}

fn done() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})
}

/// The requests in one hour of the agent of node `here`, without their host, and the bodies of those that delete.
async fn sweep(mut answers: Vec<Answer>, clock: bool) -> Vec<String> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let version = answer("GET", "/version", 200, "{}");
    answers.push(match clock {
        true => version.at(rfc2822::to_string(&now).unwrap()),
        false => version,
    });
    let (client, log) = serve(answers);
    let week = Duration::from_secs(7 * 24 * 3600);
    let captures = Captures::new(client, "here", week, Health::new());
    let _ = tokio::time::timeout(Duration::from_secs(3600), captures.sweep()).await;
    let lines = log.lines().into_iter();
    lines.filter(|line| !line.contains("/version")).collect()
}

#[tokio::test(start_paused = true)]
async fn one_that_finds_a_young_lease_does_nothing() {
    let requests = sweep(vec![answer("GET", LEASE, 200, lease(54))], true).await;
    assert_eq!(requests, [format!("GET {LEASE}")]);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_know_the_time_does_nothing() {
    let requests = sweep(vec![answer("GET", LEASE, 200, lease(90))], false).await;
    assert_eq!(requests, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slower_than_another_does_nothing() {
    let other = status(
        409,
        "Conflict",
        "the UID in the precondition",
        json!({"name": "lastword-sweep"}),
    );
    let requests = sweep(
        vec![
            answer("GET", LEASE, 200, lease(56)),
            answer("DELETE", LEASE, 409, other),
        ],
        true,
    )
    .await;
    assert_eq!(requests.len(), 2, "{requests:?}");
    let missing = status(
        404,
        "NotFound",
        "not found",
        json!({"kind": "leases", "name": "lastword-sweep"}),
    );
    let made = status(
        409,
        "AlreadyExists",
        "it exists",
        json!({"name": "lastword-sweep"}),
    );
    let requests = sweep(
        vec![
            answer("GET", LEASE, 404, missing),
            answer("POST", LEASES, 409, made),
        ],
        true,
    )
    .await;
    assert_eq!(requests.len(), 2, "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_replaces_the_lease_goes_through_all_captures_page_by_page() {
    let first = [
        capture("old", "Complete", 8),
        capture("young", "Complete", 6),
    ];
    let second = [
        capture("lost", "Capturing", 1),
        capture("older", "Failed", 9),
    ];
    let requests = sweep(
        vec![
            answer("GET", LEASE, 200, lease(56)),
            answer("DELETE", LEASE, 200, done()),
            answer("POST", LEASES, 201, lease(0)),
            answer("GET", LIST, 200, page(&first, "more")),
            answer("GET", LIST, 200, page(&second, "")).to("continue=more"),
            answer("PATCH", SHOP, 200, marked("old")),
            answer("DELETE", SHOP, 200, done()),
            answer("PATCH", SHOP, 200, capture("lost", "Failed", 1)),
            answer("PATCH", SHOP, 200, marked("older")),
            answer("DELETE", SHOP, 200, done()),
        ],
        true,
    )
    .await;
    let changes: Vec<&str> = requests
        .iter()
        .filter(|request| request.contains("/captures/"))
        .map(|request| request.split(['?', '&']).next().unwrap_or_default())
        .collect();
    let expected = [
        format!("PATCH {SHOP}/old"),
        format!("DELETE {SHOP}/old"),
        format!("PATCH {SHOP}/lost/status"),
        format!("PATCH {SHOP}/older"),
        format!("DELETE {SHOP}/older"),
    ];
    assert_eq!(changes, expected, "{requests:?}");
}
