//! What newer Kubernetes can do with containers: restart rules, native sidecars, resizing in place. A cluster that does
//! not know the field skips the case.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Case, NotTried,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::Install,
    scenarios::{complete, of_pod, quick},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "a container that a restart rule restarts is captured as a loop",
        restart_rule,
    ),
    (
        "containers that are restarted with a failing one did not crash",
        restart_all,
    ),
    ("a native sidecar that crashes is captured", sidecar),
    (
        "a native sidecar that is stopped when its pod is done is no crash",
        sidecar_of_job,
    ),
    ("a container that is resized is no crash", resized),
];

const SPACE: &str = "lastword-e2e-newer";
const IMAGE: &str = "localhost/lastword-scenarios:1";
/// A program that runs until it is killed.
const FOREVER: &str = "while :; do sleep 1; done";
/// A program that ends as soon as it is asked to.
const POLITE: &str = "trap 'exit 143' TERM; while :; do sleep 0.1; done";
/// A program that fails, and what the verdict says of it.
const FAILING: &str = "cat /etc/app/settings.conf || exit 3";
const FAULT: &str = "/etc/app/settings.conf";

fn container(name: &str, program: &str, more: Value) -> Value {
    let mut container = json!({ "name": name, "image": IMAGE, "command": ["sh", "-c", program] });
    if let (Some(all), Value::Object(more)) = (container.as_object_mut(), more) {
        all.extend(more);
    }
    container
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": spec,
    });
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod
}

/// A rule of a container: with this exit code it, or with it the whole pod, is restarted, whatever else is said.
fn rule(action: &str, code: u8) -> Value {
    json!({
        "restartPolicy": "Never",
        "restartPolicyRules": [{ "action": action, "exitCodes": { "operator": "In", "values": [code] } }],
    })
}

/// Installs the agent, and applies an object that needs a newer field in an empty namespace. `field` is where it is.
///
/// # Errors
/// [`NotTried`] if the API server refuses the field or leaves it out, which it does if a feature is switched off.
fn prepare(cluster: &Cluster, object: &Value, field: &str) -> Result<Watch> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    let shown = field.trim_start_matches('/').replace('/', ".");
    if let Err(error) = cluster.apply(SPACE, &object.to_string()) {
        let said = format!("{error:#}");
        let refused = said.contains("Unsupported value") || said.contains("Forbidden");
        ensure!(refused, "{said}");
        bail!(NotTried(format!(
            "the API server refuses this in {shown}: {said}"
        )));
    }
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    if cluster
        .json(&[kind, name, "-n", SPACE])?
        .pointer(field)
        .is_none()
    {
        cluster.remove(SPACE, kind, name)?;
        bail!(NotTried(format!(
            "this Kubernetes has no {shown}, or its feature is switched off"
        )));
    }
    Ok(watch)
}

/// Waits for a Complete Capture of a container with this many runs.
fn captured(cluster: &Cluster, pod: &str, container: &str, runs: u64) -> Result<Value> {
    let what = format!("Complete Capture of {container} in {pod} with {runs} runs");
    wait(&what, || {
        let captures = of_pod(cluster, SPACE, pod)?;
        let mut good = captures.iter().filter(|capture| {
            text(capture, "/status/phase") == "Complete"
                && text(capture, "/status/container") == container
                && capture["status"]["runs"].as_u64() >= Some(runs)
        });
        Ok(good
            .next()
            .cloned()
            .ok_or_else(|| format!("{:?}", statuses(&captures))))
    })
}

fn statuses(captures: &[Value]) -> Vec<String> {
    let statuses = captures.iter().map(|capture| capture["status"].to_string());
    statuses.collect()
}

/// Lets another container crash. When it is captured, the agent has judged what came before.
fn let_another_crash(cluster: &Cluster) -> Result<()> {
    let scenario = quick()?;
    cluster.apply(SPACE, scenario.file)?;
    complete(cluster, SPACE, scenario.name, 1)?;
    Ok(())
}

/// The status of a pod's container.
fn status_of(cluster: &Cluster, pod: &str, container: &str) -> Result<Value> {
    let pod = cluster.json(&["pod", pod, "-n", SPACE])?;
    let lists = ["containerStatuses", "initContainerStatuses"].map(|list| &pod["status"][list]);
    let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
    let found = all.find(|status| text(status, "/name") == container);
    Ok(found.cloned().unwrap_or_default())
}

fn restart_rule(cluster: &Cluster) -> Result<String> {
    let ruled = pod(
        "ruled",
        json!({
            "restartPolicy": "Never",
            "containers": [
                container("main", "echo the queue is away >&2; exit 42", rule("Restart", 42)),
                container("once", FAILING, json!({})),
            ],
        }),
    );
    let watch = prepare(cluster, &ruled, "/spec/containers/0/restartPolicyRules")?;
    let main = captured(cluster, "ruled", "main", 3)?;
    let verdict = text(&main, "/status/verdict");
    ensure!(
        verdict.contains("exited 42") && verdict.contains("the queue is away"),
        "the verdict is: {verdict}"
    );
    let once = captured(cluster, "ruled", "once", 1)?;
    ensure!(
        text(&once, "/status/verdict").contains(FAULT),
        "the verdict is: {once}"
    );
    let captures = of_pod(cluster, SPACE, "ruled")?;
    ensure!(captures.len() == 2, "Captures: {:?}", statuses(&captures));
    let once = status_of(cluster, "ruled", "once")?;
    ensure!(
        once["restartCount"] == 0,
        "it has no rule and was restarted: {once}"
    );
    let events = watch.of("ruled");
    ensure!(!events.is_empty(), "the pod has no Event");
    Ok(verdict.to_owned())
}

fn restart_all(cluster: &Cluster) -> Result<String> {
    let together = pod(
        "together",
        json!({
            "restartPolicy": "Never",
            "containers": [
                container("main", "sleep 3; exit 88", rule("RestartAllContainers", 88)),
                container("deaf", FOREVER, json!({})),
                container("polite", POLITE, json!({})),
            ],
        }),
    );
    let watch = prepare(cluster, &together, "/spec/containers/0/restartPolicyRules")?;
    captured(cluster, "together", "main", 3)?;
    for sibling in ["deaf", "polite"] {
        let status = status_of(cluster, "together", sibling)?;
        ensure!(
            status["restartCount"].as_u64() > Some(0),
            "it was not restarted with the other one, so this tries nothing: {status}"
        );
    }
    let captures = of_pod(cluster, SPACE, "together")?;
    ensure!(captures.len() == 1, "Captures: {:?}", statuses(&captures));
    for event in watch.of("together") {
        ensure!(
            event.message.contains("exited 88"),
            "an Event on another one: {}",
            event.message
        );
    }
    Ok("one Capture, of the container that failed".to_owned())
}

fn sidecar(cluster: &Cluster) -> Result<String> {
    let meshed = pod(
        "meshed",
        json!({
            "initContainers": [container("mesh", FAILING, json!({ "restartPolicy": "Always" }))],
            "containers": [container("main", FOREVER, json!({}))],
        }),
    );
    let watch = prepare(cluster, &meshed, "/spec/initContainers/0/restartPolicy")?;
    let capture = captured(cluster, "meshed", "mesh", 3)?;
    let verdict = text(&capture, "/status/verdict");
    ensure!(verdict.contains(FAULT), "the verdict is: {verdict}");
    let events = watch.of("meshed");
    ensure!(!events.is_empty(), "the pod has no Event");
    for event in events {
        ensure!(event.message.contains(FAULT), "{}", event.message);
    }
    let explained = cluster.plugin(&["explain", "meshed", "-n", SPACE])?;
    ensure!(explained.contains(FAULT), "{explained}");
    let captures = of_pod(cluster, SPACE, "meshed")?;
    ensure!(captures.len() == 1, "Captures: {:?}", statuses(&captures));
    Ok(verdict.to_owned())
}

/// When a Job's work is done, the kubelet stops the sidecars of its pod: one that does not listen is killed after the
/// grace period, the other one ends at once.
fn sidecar_of_job(cluster: &Cluster) -> Result<String> {
    let always = || json!({ "restartPolicy": "Always" });
    let spec = pod(
        "",
        json!({
            "restartPolicy": "Never",
            "initContainers": [
                container("deaf", FOREVER, always()),
                container("polite", POLITE, always()),
            ],
            "containers": [container("main", "sleep 2", json!({}))],
        }),
    );
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "batch" },
        "spec": { "template": { "spec": spec["spec"] } },
    });
    let field = "/spec/template/spec/initContainers/0/restartPolicy";
    let watch = prepare(cluster, &job, field)?;
    let pod = wait("end of the Job's pod", || {
        let pods = cluster.list(&["pods", "-n", SPACE, "-l", "job-name=batch"])?;
        let pod = pods.into_iter().next().unwrap_or_default();
        Ok(if text(&pod, "/status/phase") == "Succeeded" {
            Ok(text(&pod, "/metadata/name").to_owned())
        } else {
            Err(pod["status"].to_string())
        })
    })?;
    let mut codes = Vec::new();
    for sidecar in ["deaf", "polite"] {
        let status = status_of(cluster, &pod, sidecar)?;
        let code = &status["state"]["terminated"]["exitCode"];
        ensure!(*code != 0, "it ended well, so this tries nothing: {status}");
        codes.push(format!("{sidecar} exited {code}"));
    }
    let_another_crash(cluster)?;
    let captures = of_pod(cluster, SPACE, &pod)?;
    ensure!(
        captures.is_empty(),
        "it was captured: {:?}",
        statuses(&captures)
    );
    for about in [&*pod, "batch"] {
        let events = watch.of(about);
        ensure!(events.is_empty(), "{about} has an Event: {events:?}");
    }
    Ok(format!("{}: no Capture, no Event", codes.join(", ")))
}

/// Resizes the pod's container. `None` if the API server has no way to do that.
fn resize(cluster: &Cluster, resource: &str, quantity: &str) -> Result<Option<()>> {
    let mut pod = cluster.json(&["pod", "sized", "-n", SPACE])?;
    for kind in ["limits", "requests"] {
        pod["spec"]["containers"][0]["resources"][kind][resource] = json!(quantity);
    }
    let path = format!("/api/v1/namespaces/{SPACE}/pods/sized/resize");
    match cluster.put(&path, &pod) {
        Ok(_) => Ok(Some(())),
        Err(error) if format!("{error:#}").contains("could not find the requested") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until the status of the pod's container says that it has its new size.
///
/// # Errors
/// [`NotTried`] if the kubelet says that it cannot do that.
fn has_size(cluster: &Cluster, resource: &str, quantity: &str) -> Result<Value> {
    let size = wait(&format!("{resource} of {quantity}"), || {
        let pod = cluster.json(&["pod", "sized", "-n", SPACE])?;
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        if let Some(refused) = conditions.find(|it| text(it, "/reason") == "Infeasible") {
            return Ok(Ok(Err(text(refused, "/message").to_owned())));
        }
        let main = &pod["status"]["containerStatuses"][0];
        let is_it = main["resources"]["limits"][resource] == quantity
            && !main["state"]["running"].is_null();
        Ok(if is_it {
            Ok(Ok(main.clone()))
        } else {
            Err(pod["status"].to_string())
        })
    })?;
    size.map_err(|refused| NotTried(format!("the kubelet does not resize: {refused}")).into())
}

fn resized(cluster: &Cluster) -> Result<String> {
    let resources = json!({ "cpu": "100m", "memory": "64Mi" });
    let sized = json!({
        "resources": { "limits": resources, "requests": resources },
        "resizePolicy": [
            { "resourceName": "cpu", "restartPolicy": "NotRequired" },
            { "resourceName": "memory", "restartPolicy": "RestartContainer" },
        ],
    });
    let sized = pod(
        "sized",
        json!({ "containers": [container("main", FOREVER, sized)] }),
    );
    let watch = prepare(cluster, &sized, "/spec/containers/0/resizePolicy")?;
    cluster.pods_ready(SPACE, &["pod/sized"])?;
    if resize(cluster, "cpu", "150m")?.is_none() {
        bail!(NotTried("this Kubernetes has no pods/resize".to_owned()));
    }
    let main = has_size(cluster, "cpu", "150m")?;
    ensure!(main["restartCount"] == 0, "it was restarted: {main}");
    resize(cluster, "memory", "96Mi")?;
    let main = has_size(cluster, "memory", "96Mi")?;
    ensure!(main["restartCount"] == 1, "it was not restarted: {main}");
    let_another_crash(cluster)?;
    let captures = of_pod(cluster, SPACE, "sized")?;
    ensure!(
        captures.is_empty(),
        "it was captured: {:?}",
        statuses(&captures)
    );
    let events = watch.of("sized");
    ensure!(events.is_empty(), "it has an Event: {events:?}");
    cluster.plugin(&["capture", "sized", "-n", SPACE, "--wait"])?;
    let said = cluster.plugin(&["explain", "sized", "-n", SPACE])?;
    ensure!(
        said.contains("the resources of its container were changed"),
        "{said}"
    );
    Ok("no Capture, no Event; cpu without a restart, memory with one".to_owned())
}
