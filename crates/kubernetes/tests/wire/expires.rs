use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kubernetes::{
    Health,
    captures::{Captures, Notice},
};
use serde_json::{Value, json};

use crate::server::{Answer, answer, serve, status};

const LIST: &str = "/apis/lastword.dev/v1alpha1/captures";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn ago(days: i32) -> Timestamp {
    Timestamp::from_second((Timestamp::now() - DAY * days).as_second()).unwrap()
}

/// A finished Capture that the API server has had for this many days. The clock of its agent gives the same age.
fn capture(name: &str, node: Option<&str>, days: i32) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": ago(days)},
        "spec": {"podName": "web"},
        "status": {"phase": "Complete", "node": node, "finishedAt": ago(days)},
    })
}

/// Which of these the agent of the node `here` deletes after seven days, if its clock is `ahead` days ahead of the API
/// server's.
async fn deleted(captures: Vec<Value>, ahead: Option<i32>) -> Vec<String> {
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "5"}, "items": captures});
    let mut answers = vec![answer("GET", LIST, 200, list)];
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
async fn what_is_old_by_the_api_servers_clock_goes() {
    let all = ["nobodys", "ours", "theirs"];
    assert_eq!(deleted(of_everybody(9), Some(0)).await, all);
}

#[tokio::test(start_paused = true)]
async fn without_the_api_servers_clock_an_agent_deletes_its_own_alone() {
    assert_eq!(deleted(of_everybody(9), None).await, ["ours"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_was_behind_does_not_make_its_captures_old() {
    let mut young = capture("young", Some("there"), 0);
    young["status"]["finishedAt"] = json!(ago(30));
    assert_eq!(deleted(vec![young], Some(0)).await, [""; 0]);
}

/// Whether a Capture that is gone counts as deleted, if the attempt to create another gets this answer.
async fn is_deleted(code: u16, body: impl ToString) -> (Option<bool>, String) {
    let path = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures";
    let (client, log) = serve(vec![answer("POST", path, code, body)]);
    let captures = Captures::new(client, "here", Duration::ZERO, Health::new());
    let told = captures.is_deleted("shop", "web-1").await.ok();
    (told, log.lines().concat())
}

#[tokio::test(start_paused = true)]
async fn what_went_with_the_resource_definition_was_not_deleted() {
    let capture = json!({"apiVersion": "lastword.dev/v1alpha1", "kind": "Capture", "metadata": {}, "spec": {"podName": "web"}});
    let (deleted, request) = is_deleted(201, capture).await;
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
        assert_eq!(is_deleted(code, &answer).await.0, deleted, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_told_once_all_is_known_and_then_what_goes() {
    let captures = [
        capture("ours", Some("here"), 0),
        capture("theirs", Some("there"), 0),
        capture("nobodys", None, 0),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "5"}, "items": captures});
    let gone = json!({"type": "DELETED", "object": capture("ours", Some("here"), 0)});
    let (client, _) = serve(vec![
        answer("GET", LIST, 200, list),
        answer("GET", LIST, 200, format!("{gone}\n")),
    ]);
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
