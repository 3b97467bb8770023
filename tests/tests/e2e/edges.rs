//! Cases beside the ordinary crash: pods that are opted out, people who debug, quotas, a spool and a runtime that
//! fail, probes that no event reports.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Case, NotTried,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::{self, Install, NAMESPACE},
    scenarios::{HEALTHY, complete, of_pod, quick},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a pod that is opted out leaves no trace", opted_out),
    ("a debugging container is no crash", debugging),
    (
        "a container that is restarted with another image is no crash",
        changed,
    ),
    (
        "a quota that refuses Captures is distinguished from a missing permission",
        quota,
    ),
    ("with a read-only spool verdicts are reported", read_only),
    (
        "a runtime that stops and comes back is asked anew",
        runtime_stops,
    ),
    (
        "a kill by a probe, without an event of the kubelet, is reported as probable",
        unseen_probe,
    ),
];

const SPACE: &str = "lastword-e2e-edges";

/// The image of the scenarios.
const IMAGE: &str = "localhost/lastword-scenarios:1";

/// The last words of a pod; nobody may see them.
const HUSHED: &str = "these words stay in the container";

/// A container that crashes at once, in a pod that is opted out.
fn hushed() -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "hushed", "annotations": { "lastword.dev/capture": "off" } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": IMAGE,
                "command": ["sh", "-c", format!("echo {HUSHED} >&2; exit 3")],
            }],
        },
    })
    .to_string()
}

/// Waits until the container of a pod was started again.
fn restarted(cluster: &Cluster, pod: &str) -> Result<()> {
    wait(&format!("restart of {pod}"), || {
        let pod = cluster.json(&["pod", pod, "-n", SPACE])?;
        let main = &pod["status"]["containerStatuses"][0];
        Ok(if main["restartCount"].as_u64() > Some(0) {
            Ok(())
        } else {
            Err(main.to_string())
        })
    })
}

fn opted_out(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    let install = Install::standard(cluster)?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, &hushed())?;
    cluster.apply(SPACE, scenario.file)?;
    // Captures of the other pod show that this agent captures and keeps runs.
    complete(cluster, SPACE, scenario.name, 1)?;
    restarted(cluster, "hushed")?;
    let spool = install::exec(cluster, &["lastword", "spool", "ls"])?;
    let said = install::logs(cluster, &["--tail=-1"])?;
    ensure!(
        said.contains(&format!("pod=\"{}\"", scenario.name)),
        "the log says nothing of the other pod:\n{said}"
    );
    for (place, text) in [("spool", &spool), ("log", &said)] {
        ensure!(
            !text.contains("hushed") && !text.contains(HUSHED),
            "the {place} holds what was opted out:\n{text}"
        );
    }
    let captures = of_pod(cluster, SPACE, "hushed")?;
    ensure!(captures.is_empty(), "it was captured: {captures:?}");
    let events = watch.of("hushed");
    ensure!(events.is_empty(), "it has an Event: {events:?}");
    let kept = kept_runs(cluster, install)?;
    let is_kept = |pod: &str| {
        let pod = cluster.json(&["pod", pod, "-n", SPACE])?;
        anyhow::Ok(kept.contains(text(&pod, "/metadata/uid")))
    };
    ensure!(is_kept(scenario.name)?, "no run was kept:\n{kept}");
    ensure!(!is_kept("hushed")?, "a run of it was kept:\n{kept}");
    Ok("nothing in log, spool, kept runs, Captures and Events".to_owned())
}

/// Runs that a stopped agent leaves to the next one, which is started after they were read.
fn kept_runs(cluster: &Cluster, mut install: Install) -> Result<String> {
    const READ: &str = "
import os
for folder, _, files in os.walk('/spool/kept'):
    for name in files:
        print(open(os.path.join(folder, name), 'rb').readline())
";
    cluster.apply(SPACE, crate::upheaval::HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    install.pod()?["nodeSelector"]["lastword.dev/nowhere"] = json!("true");
    install.apply(cluster)?;
    wait("end of the agents", || {
        let agents = cluster.run(&["get", "pods", "-n", NAMESPACE, "-o", "name"])?;
        Ok(if agents.is_empty() {
            Ok(())
        } else {
            Err(agents)
        })
    })?;
    let kept = cluster.run(&["exec", "-n", SPACE, "helper", "--", "python3", "-c", READ])?;
    Install::standard(cluster)?.complete(cluster)?;
    Ok(kept)
}

/// Somebody mistypes a command in a container for debugging.
fn debugging(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, HEALTHY.file)?;
    cluster.pods_ready(SPACE, &["pod/healthy"])?;
    let pod = cluster.json(&["pod", HEALTHY.name, "-n", SPACE])?;
    let image = format!("--image={}", text(&pod, "/spec/containers/0/image"));
    let debug = ["debug", HEALTHY.name, "-n", SPACE, "-c", "debugger", &image];
    let command = [
        "--attach=false",
        "--",
        "sh",
        "-c",
        "echo typo >&2; exit 127",
    ];
    if let Err(error) = cluster.run(&[&debug[..], &command].concat()) {
        let said = format!("{error:#}");
        ensure!(said.contains("ephemeral containers are disabled"), "{said}");
        bail!(NotTried(
            "this cluster has no ephemeral containers".to_owned()
        ));
    }
    wait("end of the debugging container", || {
        let pod = cluster.json(&["pod", HEALTHY.name, "-n", SPACE])?;
        let debugger = &pod["status"]["ephemeralContainerStatuses"][0];
        Ok(if debugger["state"]["terminated"]["exitCode"] == 127 {
            Ok(())
        } else {
            Err(debugger.to_string())
        })
    })?;
    let said = cluster.plugin(&["capture", HEALTHY.name, "-n", SPACE, "--wait"])?;
    let capture = complete(cluster, SPACE, HEALTHY.name, 1)?;
    let container = text(&capture, "/status/container");
    ensure!(
        container == "main",
        "the container that was captured is {container:?}: {said}"
    );
    let captures = of_pod(cluster, SPACE, HEALTHY.name)?;
    ensure!(captures.len() == 1, "a crash was made of it: {captures:?}");
    for event in watch.of(HEALTHY.name) {
        ensure!(
            !event.message.contains("127"),
            "the pod has an Event on it: {}",
            event.message
        );
    }
    let asked = ["capture", HEALTHY.name, "-n", SPACE, "-c", "debugger"];
    let said = cluster.plugin(&[&asked[..], &["--wait"]].concat())?;
    ensure!(said.contains("127"), "of the debugging container: {said}");
    Ok("the running container is captured, the debugging one only by name".to_owned())
}

/// A container without a fault.
fn calm() -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "calm" },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "main", "image": IMAGE, "command": ["sleep", "1000"] }],
        },
    })
    .to_string()
}

/// The kubelet ends a container as soon as its image is changed, even if it cannot get the new one.
fn changed(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, &calm())?;
    cluster.pods_ready(SPACE, &["pod/calm"])?;
    // The tests may run with another image, which `apply` has put in.
    let pod = cluster.json(&["pod", "calm", "-n", SPACE])?;
    let image = text(&pod, "/spec/containers/0/image");
    let set = |image: &str| {
        let image = format!("main={image}");
        cluster.run(&["set", "image", "pod/calm", &image, "-n", SPACE])
    };
    set("localhost/lastword-nothing:1")?;
    wait("end of the container", || {
        let pod = cluster.json(&["pod", "calm", "-n", SPACE])?;
        let main = &pod["status"]["containerStatuses"][0];
        Ok(if main["state"]["running"].is_null() {
            Ok(())
        } else {
            Err(main.to_string())
        })
    })?;
    set(image)?;
    restarted(cluster, "calm")?;
    cluster.pods_ready(SPACE, &["pod/calm"])?;
    // A capture of another crash shows that the agent has judged what came before.
    let scenario = quick()?;
    cluster.apply(SPACE, scenario.file)?;
    complete(cluster, SPACE, scenario.name, 1)?;
    let captures = of_pod(cluster, SPACE, "calm")?;
    ensure!(captures.is_empty(), "it was captured: {captures:?}");
    let events = watch.of("calm");
    ensure!(events.is_empty(), "it has an Event: {events:?}");
    cluster.plugin(&["capture", "calm", "-n", SPACE, "--wait"])?;
    let said = cluster.plugin(&["explain", "calm", "-n", SPACE])?;
    ensure!(
        said.contains("the image of its container was changed"),
        "{said}"
    );
    Ok("no Capture, no Event".to_owned())
}

/// A quota that only counts objects, because it sets no limit.
const QUOTA: &str = r#"
apiVersion: v1
kind: ResourceQuota
metadata:
  name: no-captures
spec:
  hard: {count/captures.lastword.dev: "0"}
"#;

fn quota(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, QUOTA)?;
    cluster.apply(SPACE, scenario.file)?;
    let said = wait("word of the agent on the quota", || {
        let log = install::logs(cluster, &["--tail=-1"])?;
        let line = log.lines().rfind(|line| line.contains("no-captures"));
        Ok(line.map(str::to_owned).ok_or(log))
    })?;
    ensure!(
        said.contains("refused to") && !said.contains("ClusterRole"),
        "what is said of a quota: {said}"
    );
    let event = wait("Event", || {
        Ok(watch.of(scenario.name).pop().ok_or("none".to_owned()))
    })?;
    scenario.check(&event.message)?;
    cluster.delete_namespace(SPACE)?;
    Ok(said.trim().to_owned())
}

fn read_only(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    let mut install = Install::standard(cluster)?;
    let mounts = install.container()?["volumeMounts"].as_array_mut();
    let mut mounts = mounts.context("no volumeMounts")?.iter_mut();
    let spool = mounts.find(|mount| text(mount, "/name") == "spool");
    spool.context("no volume `spool`")?["readOnly"] = json!(true);
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, scenario.file)?;
    let event = wait("Event", || {
        Ok(watch.of(scenario.name).pop().ok_or("none".to_owned()))
    })?;
    scenario.check(&event.message)?;
    let message = wait("Failed Capture", || {
        let captures = of_pod(cluster, SPACE, scenario.name)?;
        let status = captures.first().map(|capture| &capture["status"]);
        let status = status.context("no Capture")?;
        let not_written =
            text(status, "/phase") == "Failed" && text(status, "/reason") == "NotWritten";
        Ok(if not_written {
            Ok(text(status, "/message").to_owned())
        } else {
            Err(status.to_string())
        })
    })?;
    let trouble = metric(cluster, "lastword_spool_trouble")?;
    ensure!(trouble == "1", "lastword_spool_trouble is {trouble}");
    let agents = install::pods(cluster)?;
    let restarts = &agents[0]["status"]["containerStatuses"][0]["restartCount"];
    ensure!(*restarts == 0, "the agent restarted: {restarts}");
    Install::standard(cluster)?.complete(cluster)?;
    Ok(message)
}

/// A metric of an agent, read through the API server: port-forward does not work without the runtime.
fn metric(cluster: &Cluster, name: &str) -> Result<String> {
    let agents = install::pods(cluster)?;
    let agent = text(agents.first().context("no agent")?, "/metadata/name");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{agent}:9440/proxy/metrics");
    let metrics = cluster.run(&["get", "--raw", &path])?;
    let mut values = metrics.lines().filter_map(|line| line.split_once(' '));
    let value = values.find(|(key, _)| key.trim_end_matches("{}") == name);
    let (_, value) = value.with_context(|| format!("no metric {name}"))?;
    Ok(value.to_owned())
}

/// A pod that may send signals to the node's processes and see their namespaces.
const STOPPER: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: stopper
  annotations: {lastword.dev/capture: "off"}
spec:
  hostPID: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/lastword-scenarios:1
    command: [sleep, "1000000"]
    securityContext: {capabilities: {add: [SYS_PTRACE]}}
"#;

/// Stops for some seconds the runtime that started this container. The caller cannot wait for that, because the runtime
/// would have to answer.
const STOP: &str = "
import os, signal, sys, time
def comm(process):
    try:
        return open(f'/proc/{process}/comm').read().strip()
    except OSError:
        return ''
def space(process):
    try:
        return os.readlink(f'/proc/{process}/ns/mnt')
    except OSError:
        return ''
mine = space(os.getppid())
found = [int(p) for p in os.listdir('/proc') if p.isdigit() and comm(p) in ('containerd', 'crio') and space(p) == mine]
print(found)
if os.fork() == 0:
    os.setsid()
    for end in range(3):
        os.close(end)
    time.sleep(2)
    for process in found:
        os.kill(process, signal.SIGSTOP)
    time.sleep(float(sys.argv[1]))
    for process in found:
        os.kill(process, signal.SIGCONT)
";

fn runtime_stops(cluster: &Cluster) -> Result<String> {
    const ANSWERS: &str = "the container runtime answers";
    let scenario = quick()?;
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, STOPPER)?;
    cluster.pods_ready(SPACE, &["pod/stopper"])?;
    let answered = || {
        let log = install::logs(cluster, &["--tail=-1"])?;
        anyhow::Ok(log.matches(ANSWERS).count())
    };
    let before = answered()?;
    let up = |value: &str| {
        wait(&format!("lastword_cri_up {value}"), || {
            let now = metric(cluster, "lastword_cri_up")?;
            Ok(if now == value { Ok(()) } else { Err(now) })
        })
    };
    up("1")?;
    let stop = [
        "exec", "-n", SPACE, "stopper", "--", "python3", "-c", STOP, "30",
    ];
    let stopped = cluster.run(&stop)?;
    ensure!(stopped.trim() != "[]", "no runtime was found");
    up("0")?;
    up("1")?;
    let after = answered()?;
    ensure!(after > before, "the runtime was not asked anew");
    cluster.apply(SPACE, scenario.file)?;
    let capture = complete(cluster, SPACE, scenario.name, 1)?;
    scenario.check(text(&capture, "/status/verdict"))?;
    Ok("lastword_cri_up 1, 0 while it was stopped, 1; asked anew".to_owned())
}

/// A pod whose readiness probes fail so often that kubelet's client drops later events of the pod (after 25 for an
/// object it sends one in five minutes).
fn noisy() -> String {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "localhost/lastword-scenarios:1",
            "command": ["sh", "-c", "while :; do sleep 1; done"],
            "readinessProbe": { "exec": { "command": ["cat", "/never"] }, "periodSeconds": 1, "timeoutSeconds": 10 },
        })
    };
    let mut containers: Vec<Value> = ["main", "second", "third", "fourth"].map(container).into();
    // Nobody listens on this port.
    containers[0]["livenessProbe"] = json!({
        "httpGet": { "path": "/", "port": 81 },
        "initialDelaySeconds": 15,
        "periodSeconds": 1,
        "failureThreshold": 1,
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "noisy" },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": containers },
    })
    .to_string()
}

fn unseen_probe(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, &noisy())?;
    let capture = complete(cluster, SPACE, "noisy", 1)?;
    let verdict = text(&capture, "/status/verdict").to_owned();
    let events = cluster.list(&["events", "-n", SPACE])?;
    let killing = events
        .iter()
        .find(|event| text(event, "/reason") == "Killing");
    if killing.is_some() {
        bail!(NotTried(
            "the kubelet wrote its event in spite of so many others".to_owned()
        ));
    }
    ensure!(
        verdict.contains("probably because its liveness probe failed"),
        "the verdict is: {verdict}"
    );
    let confidence = capture["status"]["confidence"].as_u64();
    ensure!(
        confidence < Some(98),
        "it is too sure of it: {confidence:?} %"
    );
    Ok(verdict)
}
