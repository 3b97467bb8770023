use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kubernetes::{Health, captures::Captures};
use serde_json::{Value, json};

use crate::server::{Answer, answer, serve};

const LIST: &str = "/apis/lastword.dev/v1alpha1/captures";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn ago(days: i32) -> Timestamp {
    Timestamp::from_second((Timestamp::now() - DAY * days).as_second()).unwrap()
}

/// A finished Capture that the API server has for so many days; its agent's clock said it was as old.
fn capture(name: &str, node: Option<&str>, days: i32) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": ago(days)},
        "spec": {"podName": "web"},
        "status": {"phase": "Complete", "node": node, "finishedAt": ago(days)},
    })
}

/// Which of these an agent of the node `here` deletes after seven days, with a clock that is `ahead` days ahead of the API server's.
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
    // Made just now by the API server's clock, 8 days ago by the node's.
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
