use kubernetes::{
    Error,
    capture::{Capture, CaptureSpec, CaptureStatus, Phase},
    fetch,
};
use serde_json::{Value, json};

use crate::server::{Answer, Log, answer, serve, status};

const CAPTURE: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures/web-1";

fn capture(sha256: Option<&str>) -> Capture {
    let mut capture = Capture::new("web-1", CaptureSpec::default());
    capture.metadata.namespace = Some("shop".to_owned());
    capture.status = Some(CaptureStatus {
        phase: Phase::Complete,
        sha256: sha256.map(str::to_owned),
        ..CaptureStatus::default()
    });
    capture
}

fn told(sha256: &str) -> Answer {
    let capture = serde_json::to_string(&capture(Some(sha256))).unwrap();
    answer("GET", CAPTURE, 200, capture)
}

/// Whether a file with checksum `new` is verified, if its Capture had the checksum `before`; otherwise the error's
/// text.
async fn confirm(before: Option<&str>, answers: Vec<Answer>) -> Result<bool, String> {
    let (client, _) = serve(answers);
    let fetched = fetch::confirm(&client, &capture(before), 3, "new".to_owned()).await;
    fetched
        .map(|fetched| fetched.verified)
        .map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn the_checksum_of_a_file_that_was_replaced_may_follow() {
    assert_eq!(confirm(Some("new"), vec![]).await, Ok(true));
    assert_eq!(confirm(None, vec![]).await, Ok(false));
    let follows = vec![told("old"), told("old"), told("new")];
    assert_eq!(confirm(Some("old"), follows).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn another_checksum_is_an_error() {
    let never = (0..60).map(|_| told("old")).collect();
    let gone = status(404, "NotFound", "captures \"web-1\" not found", Value::Null);
    for answers in [never, vec![answer("GET", CAPTURE, 404, gone)]] {
        let error = confirm(Some("old"), answers).await.unwrap_err();
        assert!(
            error.contains("checksum new instead of old") && error.contains("try again"),
            "{error}"
        );
    }
}

const READS: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/capturereads";
const FORWARD: &str = "/api/v1/namespaces/lastword/pods/agent-1/portforward";

/// The list of agents: one, on the node of the Capture.
fn agents() -> Answer {
    let agent = json!({
        "metadata": {"namespace": "lastword", "name": "agent-1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "agent", "ports": [{"name": "files", "containerPort": 9999}]}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [agent]});
    answer("GET", "/api/v1/pods", 200, list)
}

fn made() -> Answer {
    let read = json!({
        "apiVersion": "lastword.dev/v1alpha1", "kind": "CaptureRead", "metadata": {},
        "spec": {"captureName": "web-1", "secretSha256": "0".repeat(64)},
    });
    answer("POST", READS, 201, read)
}

fn deleted() -> Answer {
    let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    answer("DELETE", READS, 200, done)
}

/// Reads the file of shop/web-1 until `stop`, from a server that gives these answers.
async fn read(answers: Vec<Answer>, stop: impl Future<Output = ()>) -> (Error, Log) {
    let (client, log) = serve(answers);
    let mut capture = capture(Some("new"));
    capture.metadata.uid = Some("u1".to_owned());
    capture.status.as_mut().unwrap().node = Some("n1".to_owned());
    let mut out = Vec::new();
    let read = fetch::read(&client, &capture, None, None, &mut out, stop).await;
    assert!(out.is_empty());
    (read.unwrap_err(), log)
}

fn forbidden(message: &str) -> Value {
    status(403, "Forbidden", message, json!({}))
}

#[tokio::test(start_paused = true)]
async fn who_may_not_make_a_capture_read_learns_which_right_is_missing_and_how_to_get_it() {
    for (user, subject) in [
        ("jane", "--user=jane"),
        ("system:serviceaccount:ci:jane", "--serviceaccount=ci:jane"),
    ] {
        let message = format!(
            "capturereads.lastword.dev is forbidden: User \"{user}\" cannot create resource \"capturereads\" in API group \"lastword.dev\" in the namespace \"shop\""
        );
        let answers = vec![
            agents(),
            answer("POST", READS, 403, forbidden(&message)),
            deleted(),
        ];
        let (error, log) = read(answers, std::future::pending()).await;
        let error = error.to_string();
        let command = format!(
            "`kubectl -n shop create rolebinding lastword-file-reader-jane --clusterrole=lastword-file-reader {subject}`"
        );
        for said in ["not allowed to create capturereads", &command] {
            assert!(error.contains(said), "{error}");
        }
        let asked = log.lines().iter().any(|line| line.contains("portforward"));
        assert!(!asked, "no agent is asked without a right");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_reach_the_agents_learns_it_and_nothing_is_left_behind() {
    let message = "pods \"agent-1\" is forbidden: User \"jane\" cannot get resource \"pods/portforward\" in API group \"\" in the namespace \"lastword\"";
    let answers = vec![
        agents(),
        made(),
        answer("GET", FORWARD, 403, forbidden(message)),
        deleted(),
    ];
    let (error, log) = read(answers, std::future::pending()).await;
    let error = error.to_string();
    let command = "`kubectl -n lastword create rolebinding lastword-reader-jane --role=lastword-reader --user=jane`";
    for said in ["not allowed to get pods/portforward", command] {
        assert!(error.contains(said), "{error}");
    }
    let lines = log.lines();
    let forward = lines.iter().find(|line| line.contains("portforward"));
    assert!(forward.unwrap().contains("ports=9999"), "{lines:?}");
    let read: Value = serde_json::from_str(&log.body("POST")).unwrap();
    let name = read["metadata"]["name"].as_str().unwrap();
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with(&format!("DELETE {READS}/{name}"))
    );
    let owner = &read["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("Capture"), &json!("u1"))
    );
    assert_eq!(read["spec"]["captureName"], "web-1");
    assert_eq!(read["spec"]["secretSha256"].as_str().unwrap().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn an_old_installation_is_to_be_applied_again() {
    let missing = answer("POST", READS, 404, "404 page not found\n");
    let (error, _) = read(vec![agents(), missing, deleted()], std::future::pending()).await;
    assert!(matches!(error, Error::CrdMissing), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("kubectl apply -f deploy/crds"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_stops_leaves_nothing_behind() {
    // The agent is never reached.
    let stop = tokio::time::sleep(std::time::Duration::from_secs(5));
    let (error, log) = read(vec![agents(), made(), deleted()], stop).await;
    assert!(matches!(error, Error::Stopped), "{error:?}");
    assert!(log.lines().last().unwrap().starts_with("DELETE"));
}

const LIST: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures";
const EVENTS: &str = "/api/v1/namespaces/shop/events";

fn list(items: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})
}

/// A Capture that stands for a fault, and names this pod.
fn slot(name: &str, fingerprint: &str, named: &str) -> Value {
    json!({
        "apiVersion": "lastword.dev/v1alpha1", "kind": "Capture", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podName": "web-0"},
        "status": {
            "phase": "Complete", "owner": "Deployment/web", "fingerprint": fingerprint, "similar": 11,
            "similarPods": [{"podName": named, "node": "n1", "file": "f1"}],
        },
    })
}

/// Names of the Captures that are found for the pod web-9, each with the node and the file of the pod.
async fn found(answers: Vec<Answer>) -> Vec<(String, String)> {
    let (client, _) = serve(answers);
    let found = fetch::find(&client, "shop", "web-9").await;
    let of_pod = |capture: &Capture| {
        let similar = fetch::similar(capture, "web-9").unwrap();
        let name = capture.metadata.name.clone().unwrap();
        (name, format!("{}/{}", similar.node, similar.file))
    };
    found.map_or_else(|_| Vec::new(), |found| found.iter().map(of_pod).collect())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_only_counted_is_found_by_its_name_or_by_its_event() {
    let captures = |named| list(json!([slot("a", "0a", named), slot("b", "0b", "other")]));
    let listed = |named| answer("GET", LIST, 200, captures(named));
    let is = |name: &str, file: &str| vec![(name.to_owned(), file.to_owned())];
    assert_eq!(found(vec![listed("web-9")]).await, is("a", "n1/f1"));
    let event = |file: Value| {
        let event = json!({
            "metadata": {"annotations": {"lastword.dev/fingerprint": "0b", "lastword.dev/file": file}},
            "involvedObject": {}, "source": {"host": "n7"},
        });
        answer("GET", EVENTS, 200, list(json!([event])))
    };
    let by_event = found(vec![listed("web-8"), event(json!("f7"))]).await;
    assert_eq!(by_event, is("b", "n7/f7"));
    assert_eq!(found(vec![listed("web-8"), event(Value::Null)]).await, []);
    let forbidden = answer("GET", EVENTS, 403, "{}");
    assert_eq!(found(vec![listed("web-8"), forbidden]).await, []);
}
