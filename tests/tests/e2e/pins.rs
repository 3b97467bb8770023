//! Programs and rings that outlive the agent: no run is lost while it is away, and nothing of it stays once it was
//! removed as docs/install.md says.

use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Case, NotTried,
    cluster::{Cluster, text, wait},
    install::{self, Install, NAMESPACE},
    requests::request,
    scenarios::{complete, named, of_pod},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "no run is lost while the agent is killed again and again",
        away,
    ),
    (
        "an agent that was removed leaves nothing on its node after the cleanup",
        removed,
    ),
];

const SPACE: &str = "lastword-e2e-pins";
/// The scenarios that loop while the agent is away.
const LOOPING: [&str; 3] = [
    "readonly-volume",
    "missing-config",
    "nginx-missing-upstream",
];
/// More than a case has.
const KEPT: usize = 20;

/// A pod that sees the node's processes and what agents leave on it. It has Python.
const HELPER: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: helper
  annotations: {lastword.dev/capture: "off"}
spec:
  hostPID: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: helper
    image: localhost/lastword-scenarios:1
    command: [sleep, "1000000"]
    volumeMounts:
    - {name: bpf, mountPath: /node/bpf}
    - {name: lib, mountPath: /node/lib}
    - {name: run, mountPath: /node/run, mountPropagation: HostToContainer}
  volumes:
  - {name: bpf, hostPath: {path: /sys/fs/bpf}}
  - {name: lib, hostPath: {path: /var/lib}}
  - {name: run, hostPath: {path: /run}}
"#;

/// Kills the agent of a pod with SIGKILL as soon as it is there, until the file /stop is.
const KEEP_AWAY: &str = "
import os, sys, time
pod, killed, end = sys.argv[1], set(), time.monotonic() + 600
while time.monotonic() < end and not os.path.exists('/stop'):
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            if open(f'/proc/{process}/comm').read() != 'lastword\\n':
                continue
            groups = open(f'/proc/{process}/cgroup').read()
            if pod in groups or pod.replace('-', '_') in groups:
                os.kill(int(process), 9)
                killed.add(process)
        except OSError:
            pass
    time.sleep(0.01)
print(len(killed))
";

/// Lists what agents leave on a node.
const LEFT: &str = "
import os
for path in '/node/bpf/lastword', '/node/lib/lastword', '/node/run/lastword':
    if os.path.lexists(path):
        print(path, *os.listdir(path))
";

fn helper(cluster: &Cluster, command: &[&str]) -> Result<String> {
    let exec = ["exec", "-n", SPACE, "helper", "--"];
    cluster.run(&[&exec, command].concat())
}

/// # Errors
/// [`NotTried`] where the agent says that nothing of it outlives it.
fn pinned(cluster: &Cluster) -> Result<()> {
    match install::not_pinned(cluster)? {
        Some(why) => bail!(NotTried(why)),
        None => Ok(()),
    }
}

/// How many runs of a pod's container have ended.
fn ended(cluster: &Cluster, pod: &str) -> Result<u64> {
    let pod = cluster.json(&["pod", pod, "-n", SPACE])?;
    let status = &pod["status"]["containerStatuses"][0];
    let restarts = status["restartCount"].as_u64().unwrap_or_default();
    Ok(restarts + u64::from(status["state"]["running"].is_null()))
}

fn away(cluster: &Cluster) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    install.set("runs", "keep", json!(KEPT))?;
    install.complete(cluster)?;
    pinned(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    for name in LOOPING {
        cluster.apply(SPACE, named(name)?.file)?;
    }
    let mut before = Vec::new();
    for name in LOOPING {
        complete(cluster, SPACE, name, 1)?;
        before.push(ended(cluster, name)?);
    }

    let pods = install::pods(cluster)?;
    let uid = text(pods.first().context("no agent is there")?, "/metadata/uid");
    let killed = thread::scope(|scope| {
        let kills = scope.spawn(|| helper(cluster, &["python3", "-c", KEEP_AWAY, uid]));
        // No more than needed: Kubernetes names the newest two runs of a container only.
        let looped = wait("a further run of each container", || {
            let mut counts = Vec::new();
            for name in LOOPING {
                counts.push(ended(cluster, name)?);
            }
            let enough = before.iter().zip(&counts).all(|(was, is)| *is > *was);
            Ok(if enough {
                Ok(counts)
            } else {
                Err(format!("{counts:?}"))
            })
        });
        helper(cluster, &["sh", "-c", ": > /stop"])?;
        let killed = kills
            .join()
            .map_err(|_| anyhow::anyhow!("the killing panicked"))??;
        looped.map(|_| killed)
    })?;
    let killed: u32 = killed.trim().parse().context("no number of processes")?;
    ensure!(killed > 0, "no process of the agent was found");
    install::ready(cluster)?;

    let mut found = Vec::new();
    for (name, before) in LOOPING.iter().zip(&before) {
        let captures = of_pod(cluster, SPACE, name)?;
        ensure!(
            captures.len() == 1,
            "several Captures of one loop: {captures:?}"
        );
        cluster.apply(SPACE, &request(name))?;
        let by_hand = format!("by-hand-{name}");
        let runs = wait("Capture asked for", || {
            let capture = cluster.json(&["captures", &by_hand, "-n", SPACE])?;
            if text(&capture, "/status/phase") != "Complete" {
                return Ok(Err(capture["status"].to_string()));
            }
            all_of(cluster, &by_hand).map(Ok)
        })?;
        let numbers: Vec<u64> = runs
            .iter()
            .filter_map(|run| run["number"].as_u64())
            .collect();
        let gapless = (1..)
            .zip(&numbers)
            .all(|(expected, number)| expected == *number);
        ensure!(
            gapless && numbers.len() as u64 > *before,
            "runs of {name} are missing: {numbers:?}, with {before} before it was killed, and one more"
        );
        for run in runs.iter().filter(|run| !run["end"].is_null()) {
            ensure!(
                run["status"]["code"] == 1
                    && run["events"].as_u64() > Some(10)
                    && run["losses"]["lost"] == 0,
                "not all of a run of {name} was recorded: {run}"
            );
        }
        let explained = cluster.plugin(&["explain", &by_hand, "-n", SPACE])?;
        named(name)?.check(&explained)?;
        found.push(format!("{} of {name}", numbers.len()));
    }
    Ok(format!(
        "agents killed: {killed}; all runs recorded: {}",
        found.join(", ")
    ))
}

/// The runs of a capture.
fn all_of(cluster: &Cluster, capture: &str) -> Result<Vec<Value>> {
    let info = cluster.plugin(&["info", capture, "-n", SPACE, "--json"])?;
    let info: Value = serde_json::from_str(&info).context("`info --json` prints no JSON")?;
    let runs = info["runs"].as_array().cloned();
    runs.context("`info --json` has no runs")
}

fn removed(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    pinned(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    let left = || helper(cluster, &["python3", "-c", LEFT]);

    cluster.remove(NAMESPACE, "daemonset", "lastword-agent")?;
    wait("end of the agents", || {
        let pods = install::pods(cluster)?.len();
        Ok(if pods == 0 {
            Ok(())
        } else {
            Err(format!("{pods} agents"))
        })
    })?;
    let without = left()?;
    ensure!(
        without.lines().count() == 3,
        "the agent removed something itself: {without}"
    );
    let cleanup = include_str!("../../../deploy/components/cleanup.yaml")
        .replace("busybox:1.37", "localhost/lastword-scenarios:1");
    cluster.apply(NAMESPACE, &cleanup)?;
    let rollout = [
        "rollout",
        "status",
        "daemonset/lastword-cleanup",
        "-n",
        NAMESPACE,
    ];
    cluster.run(&[&rollout[..], &["--timeout=600s"]].concat())?;
    cluster.remove(NAMESPACE, "daemonset", "lastword-cleanup")?;
    let after = left()?;
    ensure!(after.is_empty(), "left after the cleanup: {after}");
    Ok("no program, ring, capture or socket is left".to_owned())
}
