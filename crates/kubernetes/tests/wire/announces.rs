use kubernetes::{
    Error, Health, Retry, Timestamp,
    announce::{Announcement, Announcer, Object},
    capture::{CaptureSpec, CaptureStatus, Phase},
    faults::Standing,
    pods::ContainerKind,
};
use serde_json::{Value, json};

use crate::server::{Answer, Log, answer, serve, status};

const EVENT: &str = "/api/v1/namespaces/shop/events/web.";
const CAPTURE: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures/web-1";

fn announcement() -> Announcement {
    Announcement {
        namespace: "shop".to_owned(),
        object: Object::Named("web-1".to_owned()),
        spec: CaptureSpec {
            pod_name: "web".to_owned(),
            ..CaptureSpec::default()
        },
        status: CaptureStatus {
            phase: Phase::Complete,
            pod_uid: Some("u1".to_owned()),
            container: Some("main".to_owned()),
            verdict: Some("main exited 1".to_owned()),
            ..CaptureStatus::default()
        },
        kind: ContainerKind::App,
        ended: Timestamp::UNIX_EPOCH,
        recurred: None,
        fault: None,
    }
}

fn event() -> Value {
    json!({"metadata": {}, "involvedObject": {}})
}

fn capture() -> Value {
    json!({"apiVersion": "lastword.dev/v1alpha1", "kind": "Capture", "metadata": {}, "spec": {"podName": "web"}})
}

/// Announces to a server that gives these answers. Returns the result, whether the server counts as up, and the
/// requests.
async fn announce(answers: Vec<Answer>) -> (Result<Standing, Error>, bool, Log) {
    let (client, log) = serve(answers);
    let health = Health::new();
    let announcer = Announcer::new(client, "n1", health.clone());
    let outcome = announcer.announce(&announcement()).await;
    (outcome, health.subscribe().borrow().is_up(), log)
}

#[tokio::test(start_paused = true)]
async fn the_event_is_published_even_if_the_cluster_does_not_know_captures() {
    let (outcome, up, requests) = announce(vec![
        answer("PATCH", EVENT, 200, event()),
        answer("PATCH", CAPTURE, 404, "404 page not found\n"),
    ])
    .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::CrdMissing), "{error:?}");
    assert!(
        error.to_string().contains("kubectl apply -f deploy/crds"),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Later);
    assert!(up, "it did answer");
    let requests = requests.lines();
    let event = requests
        .iter()
        .find(|request| request.contains(EVENT))
        .unwrap();
    assert!(
        event.contains("fieldManager=lastword") && event.contains("force=true"),
        "{event}"
    );
}

#[tokio::test(start_paused = true)]
async fn spec_and_status_are_applied_by_two_managers() {
    let (outcome, up, log) = announce(vec![
        answer("PATCH", EVENT, 200, event()),
        answer("PATCH", CAPTURE, 200, capture()),
        answer("PATCH", CAPTURE, 200, capture()),
    ])
    .await;
    outcome.unwrap();
    assert!(up);
    let sent: Value = serde_json::from_str(&log.body(&format!("PATCH {CAPTURE}"))).unwrap();
    assert_eq!(
        sent["metadata"]["labels"],
        json!({"lastword.dev/node": "n1"})
    );
    let requests = log.lines();
    let sent = |part: &str| requests.iter().any(|request| request.contains(part));
    assert!(
        sent("/captures/web-1?&force=true&fieldManager=lastword"),
        "{requests:?}"
    );
    assert!(
        sent("/captures/web-1/status?&force=true&fieldManager=lastword-status"),
        "{requests:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn errors_say_what_to_do_and_whether_to_try_again() {
    let forbidden = status(
        403,
        "Forbidden",
        "captures.lastword.dev \"web-1\" is forbidden: User \"system:serviceaccount:lastword:lastword-agent\" cannot patch resource \"captures\" in API group \"lastword.dev\" in the namespace \"shop\"",
        json!({"kind": "captures", "name": "web-1"}),
    );
    let quota = status(
        403,
        "Forbidden",
        "captures.lastword.dev \"web-1\" is forbidden: exceeded quota: few, requested: count/captures.lastword.dev=1, used: count/captures.lastword.dev=2, limited: count/captures.lastword.dev=2",
        json!({"kind": "captures", "name": "web-1"}),
    );
    let webhook = status(
        403,
        "Forbidden",
        "admission webhook \"names.example.com\" denied the request: a name needs a team",
        Value::Null,
    );
    let ending = status(
        403,
        "Forbidden",
        "unable to create new content in namespace shop because it is being terminated",
        json!({"name": "web-1", "causes": [{"reason": "NamespaceTerminating"}]}),
    );
    let missing = status(
        404,
        "NotFound",
        "namespaces \"shop\" not found",
        json!({"kind": "namespaces", "name": "shop"}),
    );
    let deleted = status(
        404,
        "NotFound",
        "captures \"web-1\" not found",
        json!({"kind": "captures", "name": "web-1"}),
    );
    let invalid = status(422, "Invalid", "spec.ttl: Invalid value", json!({}));
    for (code, body, retry, says) in [
        (
            401,
            status(401, "Unauthorized", "Unauthorized", json!({})),
            Retry::Later,
            "expired",
        ),
        (
            403,
            forbidden,
            Retry::Later,
            "add this rule to ClusterRole lastword-agent",
        ),
        (
            403,
            quota,
            Retry::Seldom,
            "refused to patch captures (API group lastword.dev): captures.lastword.dev \"web-1\" is forbidden: exceeded quota: few",
        ),
        (403, webhook, Retry::Seldom, "a name needs a team"),
        (403, ending, Retry::Never, "being terminated"),
        (404, missing, Retry::Never, "the namespace is gone"),
        (404, deleted, Retry::Never, "not found"),
        (422, invalid, Retry::Never, "spec.ttl"),
        (
            500,
            status(500, "InternalError", "etcd", json!({})),
            Retry::Soon,
            "away: etcd",
        ),
    ] {
        let (outcome, ..) = announce(vec![
            answer("PATCH", EVENT, 200, event()),
            answer("PATCH", CAPTURE, code, &body),
        ])
        .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.retry(), retry, "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        let rbac = error.to_string().contains("add this rule");
        assert_eq!(rbac, matches!(error, Error::Forbidden { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_away_after_a_while() {
    let (outcome, up, _) = announce(Vec::new()).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Away(_)), "{error:?}");
    assert!(!up);
}
