use futures::StreamExt as _;
use kubernetes::{Change, Health, pods};
use serde_json::{Value, json};

use crate::server::{answer, serve, status};

const PODS: &str = "/api/v1/pods";

fn pod(uid: &str, version: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": format!("web-{uid}"), "uid": uid, "resourceVersion": version}})
}

fn list(version: &str, pods: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": version}, "items": pods})
}

fn watched(events: &[(&str, Value)]) -> String {
    let line =
        |(kind, object): &(&str, Value)| format!("{}\n", json!({"type": kind, "object": object}));
    events.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_watch_outlives_errors_and_tells_what_it_missed() {
    let bookmark = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "7"}});
    let expired = status(410, "Expired", "too old resource version", json!({}));
    let (client, log) = serve(vec![
        answer(
            "GET",
            PODS,
            500,
            status(500, "InternalError", "etcd", json!({})),
        ),
        answer("GET", PODS, 200, list("5", &[pod("a", "3"), pod("b", "4")])),
        answer(
            "GET",
            PODS,
            200,
            watched(&[("MODIFIED", pod("a", "6")), ("BOOKMARK", bookmark)]),
        ),
        answer("GET", PODS, 200, watched(&[("ERROR", expired)])),
        answer("GET", PODS, 200, list("9", &[pod("b", "4"), pod("c", "8")])),
    ]);
    let health = Health::new();
    let told: Vec<String> = pods::watch(client, "n1", health.clone())
        .map(|change| match change {
            Change::Synced => "synced".to_owned(),
            Change::Changed(pod) => format!("changed {}", pod.uid),
            Change::Gone { uid } => format!("gone {uid}"),
        })
        .take(8)
        .collect()
        .await;
    assert_eq!(
        told,
        [
            "changed a",
            "changed b",
            "synced",
            "changed a",
            "changed b",
            "changed c",
            "gone a",
            "synced"
        ]
    );
    assert!(health.subscribe().borrow().is_up());
    let requests = log.lines();
    assert!(
        requests
            .iter()
            .all(|request| request.contains("fieldSelector=spec.nodeName%3Dn1")),
        "{requests:?}"
    );
    assert!(
        requests
            .iter()
            .all(|request| !request.contains("sendInitialEvents")),
        "{requests:?}"
    );
    assert!(
        [0, 1, 4]
            .iter()
            .all(|&list| requests[list].contains("resourceVersion=0&")),
        "from the API server's cache: {requests:?}"
    );
    assert!(
        requests[2].contains("watch=true") && requests[2].contains("allowWatchBookmarks=true"),
        "{requests:?}"
    );
    assert!(
        requests[3].contains("resourceVersion=7"),
        "the bookmark's: {requests:?}"
    );
}
