use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kubernetes::{
    Health, Who,
    capture::CaptureSpec,
    captures::{self, Captures, Notice},
};
use serde_json::{Value, json};

use crate::server::{Answer, answer, serve, status};

const LIST: &str = "/apis/lastword.dev/v1alpha1/captures";
/// The query of the watch of this node's Captures, and of that of Captures without a label.
const OURS: &str = "labelSelector=lastword.dev%2Fnode%3Dhere";
const UNASSIGNED: &str = "labelSelector=%21lastword.dev%2Fnode";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn ago(days: i32) -> Timestamp {
    Timestamp::from_second((Timestamp::now() - DAY * days).as_second()).unwrap()
}

/// A finished Capture that the API server has had for this many days. The clock of its agent gives the same age.
fn capture(name: &str, node: Option<&str>, days: i32) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": ago(days),
            "labels": node.map(|node| json!({"lastword.dev/node": node})),
        },
        "spec": {"podName": "web"},
        "status": {"phase": "Complete", "node": node, "finishedAt": ago(days)},
    })
}

fn list(captures: impl IntoIterator<Item = Value>) -> Value {
    let items: Vec<Value> = captures.into_iter().collect();
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "5"}, "items": items})
}

/// The lists of both watches, of which each has what its selector allows.
fn lists(captures: Vec<Value>) -> Vec<Answer> {
    let label = |capture: &Value| capture["metadata"]["labels"]["lastword.dev/node"].clone();
    let ours = captures.iter().filter(|it| label(it) == "here").cloned();
    let unassigned = captures.iter().filter(|it| label(it).is_null()).cloned();
    vec![
        answer("GET", LIST, 200, list(ours)).to(OURS),
        answer("GET", LIST, 200, list(unassigned)).to(UNASSIGNED),
    ]
}

/// Which of these the agent of the node `here` deletes after seven days, if its clock is `ahead` days ahead of the API
/// server's.
async fn deleted(captures: Vec<Value>, ahead: Option<i32>) -> Vec<String> {
    let mut answers = lists(captures);
    let version = || answer("GET", "/version", 403, "{}");
    answers.extend((0..9).map(|_| match ahead {
        Some(days) => version().at(date(ago(days))),
        None => version(),
    }));
    let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let delete = || -> Answer {
        answer(
            "DELETE",
            "/apis/lastword.dev/v1alpha1/namespaces/shop",
            200,
            &done,
        )
    };
    answers.extend((0..9).map(|_| delete()));
    let (client, log) = serve(answers);
    let captures = Captures::new(
        client,
        "here",
        Duration::from_secs(7 * 24 * 3600),
        Health::new(),
    );
    let watching = captures.notices().for_each(|_| async {});
    let _ = tokio::time::timeout(Duration::from_secs(60), watching).await;
    let lines = log.lines();
    let deleted = lines.iter().filter(|line| line.starts_with("DELETE"));
    let names = deleted.map(|line| line.rsplit('/').next().unwrap_or_default());
    let mut names: Vec<String> = names
        .map(|name| name.trim_end_matches('?').to_owned())
        .collect();
    names.sort();
    names
}

fn date(time: Timestamp) -> String {
    rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap()
}

fn of_everybody(days: i32) -> Vec<Value> {
    vec![
        capture("ours", Some("here"), days),
        capture("theirs", Some("there"), days),
        capture("nobodys", None, days),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_ahead_deletes_nothing_that_is_not_old() {
    // Made just now by the API server's clock, but 8 days ago by the node's.
    assert_eq!(deleted(of_everybody(8), Some(8)).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_old_by_the_api_servers_clock_goes_if_it_is_this_nodes() {
    assert_eq!(deleted(of_everybody(9), Some(0)).await, ["ours"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_api_servers_clock_an_agent_deletes_its_own_alone() {
    assert_eq!(deleted(of_everybody(9), None).await, ["ours"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_was_behind_does_not_make_its_captures_old() {
    let mut young = capture("young", Some("here"), 0);
    young["status"]["finishedAt"] = json!(ago(30));
    assert_eq!(deleted(vec![young], Some(0)).await, [""; 0]);
}

/// Whether the Capture of a file counts as deleted, if the attempt to create another gets this answer, and there is one
/// with this annotation now.
async fn is_deleted(code: u16, body: impl ToString, there: Value) -> (Option<bool>, String) {
    let path = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures";
    let mut capture = capture("web-1", Some("here"), 0);
    capture["metadata"]["annotations"] = json!({ "lastword.dev/file": there });
    if there.is_null() {
        capture["metadata"]["annotations"] = json!({});
    }
    let listed = list(vec![capture]);
    let (client, log) = serve(vec![
        answer("POST", path, code, body),
        answer("GET", path, 200, listed),
    ]);
    let captures = Captures::new(client, "here", Duration::ZERO, Health::new());
    let told = captures.is_deleted("shop", "web-1", "web-1-abc").await.ok();
    (told, log.lines().concat())
}

#[tokio::test(start_paused = true)]
async fn what_went_with_the_resource_definition_was_not_deleted() {
    let capture = json!({"apiVersion": "lastword.dev/v1alpha1", "kind": "Capture", "metadata": {}, "spec": {"podName": "web"}});
    let (deleted, request) = is_deleted(201, capture, Value::Null).await;
    assert_eq!(deleted, Some(true));
    assert!(request.contains("dryRun=All"), "{request}");
    let says = |code, reason, message| status(code, reason, message, json!({}));
    let terminating = says(
        405,
        "MethodNotAllowed",
        "create not allowed while custom resource definition is terminating",
    );
    let quota = says(403, "Forbidden", "exceeded quota: few");
    let ending = says(403, "Forbidden", "forbidden because it is being terminated");
    let rbac = says(
        403,
        "Forbidden",
        "User \"x\" cannot create resource \"captures\"",
    );
    let another = says(409, "AlreadyExists", "captures \"web-1\" already exists");
    for (code, answer, deleted) in [
        (405, terminating.to_string(), Some(false)),
        (404, "404 page not found\n".to_owned(), Some(false)),
        (409, another.to_string(), Some(false)),
        (403, quota.to_string(), Some(true)),
        (403, ending.to_string(), Some(true)),
        (403, rbac.to_string(), None),
        (503, "{}".to_owned(), None),
    ] {
        let told = is_deleted(code, &answer, Value::Null).await.0;
        assert_eq!(told, deleted, "{answer}");
    }
    // The name may have been given to another file meanwhile.
    for (there, deleted) in [
        ("here/web-1-abc", false),
        ("here/web-1-def", true),
        ("there/web-1-abc", true),
    ] {
        let told = is_deleted(409, &another, json!(there)).await.0;
        assert_eq!(told, Some(deleted), "{there}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_told_once_all_is_known_and_then_what_goes() {
    let gone = json!({"type": "DELETED", "object": capture("ours", Some("here"), 0)});
    let mut answers = lists(of_everybody(0));
    answers.push(answer("GET", LIST, 200, format!("{gone}\n")).to(OURS));
    let (client, _) = serve(answers);
    let captures = Captures::new(
        client,
        "here",
        Duration::from_secs(7 * 24 * 3600),
        Health::new(),
    );
    let told: Vec<Notice> = captures.notices().take(2).collect().await;
    let place = |name: &str| ("shop".to_owned(), name.to_owned());
    let there = [place("ours"), place("nobodys")].into_iter().collect();
    let (namespace, name) = place("ours");
    assert_eq!(
        told,
        [Notice::Listed(there), Notice::Deleted { namespace, name }]
    );
}

/// A Capture that an agent of an earlier version made for this node: it has no label.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_version_made_is_labelled_and_expires() {
    let mut older = capture("older", Some("here"), 9);
    older["metadata"]["labels"] = Value::Null;
    let path = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures/older";
    let mut answers = lists(vec![older.clone()]);
    let metadata =
        json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": older["metadata"]});
    answers.push(answer("PATCH", path, 200, metadata));
    answers.push(answer("GET", "/version", 200, "{}").at(date(ago(0))));
    answers.push(answer(
        "DELETE",
        path,
        200,
        json!({"kind": "Status", "status": "Success"}),
    ));
    let (client, log) = serve(answers);
    let captures = Captures::new(
        client,
        "here",
        Duration::from_secs(7 * 24 * 3600),
        Health::new(),
    );
    let watching = captures.notices().for_each(|_| async {});
    let _ = tokio::time::timeout(Duration::from_secs(60), watching).await;
    let sent: Value = serde_json::from_str(&log.body("PATCH")).unwrap();
    assert_eq!(
        sent,
        json!({"metadata": {"uid": "older", "labels": {"lastword.dev/node": "here"}}})
    );
    let lines = log.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("DELETE")),
        "{lines:?}"
    );
}

/// A request for a pod on another node gets that node's label, from whoever looks for the pod first.
#[tokio::test(start_paused = true)]
async fn a_request_whose_pod_is_elsewhere_is_labelled_with_its_node() {
    let mut wanted = capture("wanted", None, 0);
    wanted["status"] = Value::Null;
    let mut answers = lists(vec![wanted.clone()]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "uid": "u"}, "spec": {"nodeName": "there", "containers": []}});
    answers.push(answer("GET", "/api/v1/namespaces/shop/pods/web", 200, pod));
    let metadata = json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": wanted["metadata"]});
    answers.push(answer("PATCH", "/apis", 200, metadata));
    let (client, log) = serve(answers);
    let captures = Captures::new(
        client,
        "here",
        Duration::from_secs(7 * 24 * 3600),
        Health::new(),
    );
    let labelled = async {
        while log.body("PATCH").is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = captures.notices().for_each(|_| async {}) => unreachable!(),
        done = tokio::time::timeout(Duration::from_secs(45), labelled) => done.unwrap(),
    }
    let sent: Value = serde_json::from_str(&log.body("PATCH")).unwrap();
    assert_eq!(sent["metadata"]["labels"]["lastword.dev/node"], "there");
}

/// The labels of a Capture that somebody asks for, if the API server answers this when it is asked for the pod.
async fn labels_of_request(code: u16, pod: Value) -> Value {
    let made = json!({"apiVersion": "lastword.dev/v1alpha1", "kind": "Capture", "metadata": {}, "spec": {"podName": "web"}});
    let (client, log) = serve(vec![
        answer("GET", "/api/v1/namespaces/shop/pods/web", code, pod),
        answer(
            "POST",
            "/apis/lastword.dev/v1alpha1/namespaces/shop/captures",
            201,
            made,
        ),
    ]);
    let spec = CaptureSpec {
        pod_name: "web".to_owned(),
        ..CaptureSpec::default()
    };
    assert!(
        captures::create(&client, Who::User, "shop", "wanted", spec)
            .await
            .unwrap()
    );
    let sent: Value = serde_json::from_str(&log.body("POST")).unwrap();
    sent["metadata"]["labels"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_labelled_with_the_node_of_its_pod_if_that_is_known() {
    let pod = |node: Option<&str>| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"nodeName": node, "containers": []}});
    assert_eq!(
        labels_of_request(200, pod(Some("n1"))).await,
        json!({"lastword.dev/node": "n1"})
    );
    assert_eq!(labels_of_request(200, pod(None)).await, Value::Null);
    let forbidden = status(
        403,
        "Forbidden",
        "User \"u\" cannot get resource \"pods\"",
        json!({}),
    );
    assert_eq!(labels_of_request(403, forbidden).await, Value::Null);
    let missing = status(
        404,
        "NotFound",
        "pods \"web\" not found",
        json!({"kind": "pods", "name": "web"}),
    );
    assert_eq!(labels_of_request(404, missing).await, Value::Null);
}
