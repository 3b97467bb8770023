//! Captures that people and alerts ask for.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::{Cluster, text, wait},
    http::{Forward, HTTP},
    install::{self, Install, NAMESPACE},
    scenarios::{HEALTHY, complete, quick},
    upheaval::HELPER,
};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a live pod is captured on request without a restart", live),
    ("a Capture of a pod that is not there fails", not_there),
    (
        "a container that never gets ready is captured alive",
        unready,
    ),
    ("a loop whose Capture was deleted is captured anew", deleted),
    ("an alert has its pod captured", alert),
    (
        "alerts without a token or with an invalid body are refused",
        bad_alerts,
    ),
    (
        "alerts are limited to their namespaces and their rate",
        limited_alerts,
    ),
    ("metrics and health are served", metrics),
    ("the agent says how it records", status),
];

const SPACE: &str = "lastword-e2e-requests";
const TOKEN: &str = "end-to-end";
const ALERTS: &str = "/api/v1/alerts";

/// Installs the agent with a token for alerts, and the healthy pod.
fn prepare(cluster: &Cluster) -> Result<()> {
    prepare_with(cluster, Install::standard(cluster)?)
}

/// The same with an agent that is configured.
fn prepare_with(cluster: &Cluster, install: Install) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "lastword-alerts" },
        "stringData": { "token": TOKEN },
    });
    install.apply(cluster)?;
    cluster.apply(NAMESPACE, &secret.to_string())?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HEALTHY.file)?;
    cluster.pods_ready(SPACE, &["pod/healthy"])
}

/// Checks that a container is still in its first run.
fn untouched(cluster: &Cluster, pod: &str) -> Result<()> {
    let pod = cluster.json(&["pod", pod, "-n", SPACE])?;
    let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
    ensure!(
        *restarts == 0,
        "capturing restarted the container: {restarts}"
    );
    Ok(())
}

/// A Capture that a person applies.
pub(crate) fn request(pod: &str) -> String {
    request_with(pod, json!({}))
}

/// The same with more in its specification.
pub(crate) fn request_with(pod: &str, mut spec: Value) -> String {
    spec["podName"] = json!(pod);
    json!({
        "apiVersion": "lastword.dev/v1alpha1",
        "kind": "Capture",
        "metadata": { "name": format!("by-hand-{pod}") },
        "spec": spec,
    })
    .to_string()
}

fn live(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    cluster.apply(SPACE, &request(HEALTHY.name))?;
    complete(cluster, SPACE, HEALTHY.name, 1)?;
    let shown = cluster.plugin(&["show", HEALTHY.name, "-n", SPACE])?;
    ensure!(
        shown.contains("/data/beat"),
        "the capture does not hold what the container did:\n{shown}"
    );
    untouched(cluster, HEALTHY.name)?;
    Ok("Complete, container untouched".to_owned())
}

fn not_there(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    cluster.apply(SPACE, &request("nobody"))?;
    wait("Failed Capture", || {
        let capture = cluster.json(&["captures", "by-hand-nobody", "-n", SPACE])?;
        let message = text(&capture, "/status/message").to_owned();
        let failed = text(&capture, "/status/phase") == "Failed" && message.contains("nobody");
        Ok(if failed {
            Ok(message)
        } else {
            Err(capture["status"].to_string())
        })
    })
}

/// A pod whose readiness probe asks for a file that nobody writes.
const UNREADY: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: unready
  annotations: {lastword.dev/trigger: readiness}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/lastword-scenarios:1
    command: [sh, -c, "echo waiting for the database; while :; do sleep 1; done"]
    readinessProbe:
      exec:
        command: [cat, /run/app/ready]
      periodSeconds: 5
      timeoutSeconds: 10
      failureThreshold: 1
"#;

fn unready(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, UNREADY)?;
    let capture = complete(cluster, SPACE, "unready", 1)?;
    let kind = text(&capture, "/spec/trigger/kind");
    ensure!(kind == "readiness", "the Capture's trigger is {kind:?}");
    let shown = cluster.plugin(&["show", "unready", "-n", SPACE])?;
    ensure!(
        shown.contains("waiting for the database"),
        "the capture does not hold what the container wrote:\n{shown}"
    );
    untouched(cluster, "unready")?;
    Ok("Complete, container untouched".to_owned())
}

fn deleted(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    cluster.apply(SPACE, scenario.file)?;
    let first = complete(cluster, SPACE, scenario.name, 1)?;
    let path = text(&first, "/status/location/nodePath");
    let first = text(&first, "/metadata/name");
    let file = path.replacen("/var/lib/lastword/", "/spool/", 1);
    let ls = ["exec", "-n", SPACE, "helper", "--", "ls", &file];
    cluster
        .run(&ls)
        .with_context(|| format!("nodePath is no path on the node: {path:?}"))?;
    cluster.remove(SPACE, "capture", first)?;
    wait("end of the file of a Capture that was deleted", || {
        Ok(match cluster.run(&ls) {
            Ok(listed) => Err(listed),
            Err(_) => Ok(()),
        })
    })?;
    // The name is free again, and the file is another one.
    let second = complete(cluster, SPACE, scenario.name, 2)?;
    let second = text(&second, "/status/location/nodePath");
    ensure!(path != second, "{path} is back");
    Ok(format!(
        "{first} deleted with its file {path}, then {second}"
    ))
}

/// Opens the port of an agent after the kubelet has given it the token.
fn with_token(cluster: &Cluster) -> Result<Forward> {
    wait("agent with a token", || {
        let forward = Forward::open(cluster, HTTP)?;
        let (status, answer) = forward.request("POST", ALERTS, None, "{}")?;
        Ok(if status == 401 {
            Ok(forward)
        } else {
            Err(format!("{status} {answer}"))
        })
    })
}

fn alert(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    let body = json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"PodNotReady\"}",
        "status": "firing",
        "receiver": "lastword",
        "groupLabels": {},
        "commonLabels": { "alertname": "PodNotReady" },
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": [{
            "status": "firing",
            "labels": { "alertname": "PodNotReady", "namespace": SPACE, "pod": HEALTHY.name, "container": "main" },
            "annotations": {},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "1",
        }],
    });
    let (status, answer) =
        with_token(cluster)?.request("POST", ALERTS, Some(TOKEN), &body.to_string())?;
    ensure!(
        status == 202,
        "an alert is answered with {status}: {answer}"
    );
    let capture = complete(cluster, SPACE, HEALTHY.name, 1)?;
    let kind = text(&capture, "/spec/trigger/kind");
    ensure!(kind == "alert", "the Capture's trigger is {kind:?}");
    untouched(cluster, HEALTHY.name)?;
    Ok(format!("202, {}", text(&capture, "/spec/trigger/detail")))
}

fn bad_alerts(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    let forward = with_token(cluster)?;
    let answers = [
        (401, forward.request("POST", ALERTS, None, "{}")?),
        (401, forward.request("POST", ALERTS, Some("guess"), "{}")?),
        (
            400,
            forward.request("POST", ALERTS, Some(TOKEN), "rubbish")?,
        ),
        (413, forward.endless(ALERTS, TOKEN)?),
        (405, forward.request("GET", ALERTS, Some(TOKEN), "")?),
    ];
    for (expected, (status, answer)) in &answers {
        ensure!(
            status == expected,
            "answered {status} instead of {expected}: {answer}"
        );
    }
    let captures = cluster.list(&["captures", "-n", SPACE])?;
    ensure!(
        captures.is_empty(),
        "refused alerts left Captures: {captures:?}"
    );
    Ok("401 without a token and with a wrong one, 400, 413, 405".to_owned())
}

fn limited_alerts(cluster: &Cluster) -> Result<String> {
    const RATE: usize = 3;
    let mut install = Install::standard(cluster)?;
    install.set("http", "alerts_namespaces", json!([SPACE]))?;
    install.set("http", "alerts_per_minute", json!(RATE))?;
    prepare_with(cluster, install)?;
    let forward = with_token(cluster)?;
    let post = |namespace: &str, reason: &str| {
        let body = json!({ "namespace": namespace, "pod": HEALTHY.name, "reason": reason });
        forward.request("POST", ALERTS, Some(TOKEN), &body.to_string())
    };
    let (status, answer) = post("kube-system", "elsewhere")?;
    ensure!(status == 200, "another namespace: {status} {answer}");
    // The second one exists already, and takes nothing from the rate.
    let mut statuses = Vec::new();
    for reason in ["one", "one", "two", "three", "four"] {
        statuses.push(post(SPACE, reason)?.0);
    }
    ensure!(
        statuses == [202, 202, 202, 202, 503],
        "{RATE} a minute: {statuses:?}"
    );
    for (namespace, expected) in [(SPACE, RATE), ("kube-system", 0)] {
        let captures = cluster.list(&["captures", "-n", namespace])?;
        ensure!(
            captures.len() == expected,
            "{namespace} has not {expected} Captures: {captures:?}"
        );
    }
    Ok(format!(
        "another namespace ignored; {statuses:?}; {RATE} Captures"
    ))
}

fn metrics(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    let forward = Forward::open(cluster, HTTP)?;
    for path in ["/healthz", "/readyz"] {
        let (status, answer) = forward.request("GET", path, None, "")?;
        ensure!(status == 200, "{path}: {status} {answer}");
    }
    let (status, metrics) = forward.request("GET", "/metrics", None, "")?;
    ensure!(status == 200, "/metrics: {status}");
    let containers = metrics
        .lines()
        .find(|line| line.starts_with("lastword_containers"));
    let containers = containers.context("no lastword_containers among the metrics")?;
    Ok(containers.to_owned())
}

fn status(cluster: &Cluster) -> Result<String> {
    prepare(cluster)?;
    let status = install::exec(cluster, &["lastword", "status"])?;
    for field in [
        "containers",
        "rings",
        "memory",
        "losses",
        "spool",
        "API server",
        "sys_exit",
    ] {
        ensure!(
            status.contains(field),
            "`lastword status` does not tell of {field}:\n{status}"
        );
    }
    let said = install::logs(cluster, &["--tail=-1"])?;
    let hierarchy = said.lines().find_map(|line| line.split_once("hierarchy="));
    let (_, hierarchy) = hierarchy.context("the log does not tell the cgroup hierarchy")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.map_or("", |line| line.trim_start_matches(name).trim())
            .to_owned()
    };
    Ok(format!(
        "cgroups: {hierarchy}; rings: {}; memory: {}; {}",
        field("rings"),
        field("memory"),
        field("losses")
    ))
}
