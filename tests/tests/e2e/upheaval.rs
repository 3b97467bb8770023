//! The agent is restarted, upgraded, killed and cut off from the API server in the middle of crash loops.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::{self, Install, NAMESPACE},
    requests::request,
    scenarios::{CRASHING, complete, named, of_pod, quick},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "a restart of the agent forgets no run and captures nothing twice",
        restart,
    ),
    (
        "an upgrade of the agent forgets no run and captures nothing twice",
        upgrade,
    ),
    (
        "a loop is announced anew after uninstallation and installation",
        reinstalled,
    ),
    (
        "an agent that is killed while it captures leaves no half file",
        kill,
    ),
    (
        "without the API server captures are written, and announced later",
        cut_off,
    ),
];

const SPACE: &str = "lastword-e2e-upheaval";
/// How many runs of a container an agent keeps (`runs.keep`).
const KEPT: usize = 3;

fn restart(cluster: &Cluster) -> Result<String> {
    in_the_middle(cluster, |pod| cluster.remove(NAMESPACE, "pod", pod))
}

fn upgrade(cluster: &Cluster) -> Result<String> {
    in_the_middle(cluster, |_| install::restart(cluster))
}

/// Does something to the agent after the first capture of a crash loop, and checks the later captures.
fn in_the_middle(cluster: &Cluster, act: impl Fn(&str) -> Result<String>) -> Result<String> {
    let scenario = quick()?;
    let install = Install::standard(cluster)?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, scenario.file)?;
    complete(cluster, SPACE, scenario.name, 1)?;

    let before = runs(cluster, scenario.name)?;

    act(&agent(cluster)?)?;
    install::ready(cluster)?;
    // A capture that is requested now contains what the earlier agent had recorded.
    let asked = format!("by-hand-{}", scenario.name);
    cluster.apply(SPACE, &request(scenario.name))?;
    wait("Capture asked for", || {
        let capture = cluster.json(&["captures", &asked, "-n", SPACE])?;
        let is_complete = text(&capture, "/status/phase") == "Complete";
        Ok(if is_complete {
            Ok(())
        } else {
            Err(capture["status"].to_string())
        })
    })?;
    let after = runs(cluster, &asked)?;
    let last = before.last().context("a capture without runs")?;
    // On a slow node, newer runs may have replaced them. Of the runs in the capture, those before a gap are from the
    // earlier agent.
    ensure!(
        after.contains(last) || after.len() == KEPT && !unseen(&after).is_empty(),
        "run {last} is gone: {before:?} before, {after:?} after"
    );
    cluster.remove(SPACE, "capture", &asked)?;
    let capture = complete(cluster, SPACE, scenario.name, 3)?;
    scenario.check(text(&capture, "/status/verdict"))?;

    let captures = of_pod(cluster, SPACE, scenario.name)?;
    ensure!(
        captures.len() == 1,
        "{} Captures of one loop: {captures:?}",
        captures.len()
    );
    let events = cluster.list(&[
        "events",
        "-n",
        SPACE,
        "--field-selector",
        "reason=LastWords",
    ])?;
    ensure!(
        events.len() == 1,
        "{} Events on one loop: {events:?}",
        events.len()
    );
    for event in watch.of(scenario.name) {
        scenario.check(&event.message)?;
    }
    let numbers = runs(cluster, scenario.name)?;
    // Where rings do not outlive the agent, runs that ended while none ran are not recorded.
    let gaps = unseen(&numbers);
    let accepted = usize::from(install::not_pinned(cluster)?.is_some());
    ensure!(
        gaps.len() <= accepted,
        "runs are missing between {numbers:?}"
    );
    let unseen = gaps.first().copied().unwrap_or_default();
    Ok(format!(
        "runs {before:?} before, {after:?} right after, {numbers:?} at last ({unseen} while no agent ran); one Capture, one Event"
    ))
}

/// The spool stays on the node, and still says that the capture was announced.
fn reinstalled(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    let install = Install::standard(cluster)?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, scenario.file)?;
    complete(cluster, SPACE, scenario.name, 2)?;
    install.remove(cluster)?;
    let events = ["events", "--all", "-n", SPACE];
    cluster.run(&[&["delete"], &events[..]].concat())?;
    let watch = Watch::start(cluster, SPACE)?;
    install.complete(cluster)?;
    let capture = complete(cluster, SPACE, scenario.name, 2)?;
    scenario.check(text(&capture, "/status/verdict"))?;
    let event = wait("Event after the installation", || {
        Ok(watch.of(scenario.name).pop().ok_or("none".to_owned()))
    })?;
    scenario.check(&event.message)?;
    let explained = cluster.plugin(&["explain", scenario.name, "-n", SPACE])?;
    scenario.check(&explained)?;
    let captures = of_pod(cluster, SPACE, scenario.name)?;
    ensure!(
        captures.len() == 1,
        "several Captures of one loop: {captures:?}"
    );
    Ok("Capture and Event are there again".to_owned())
}

/// The lengths of the gaps between these numbers of runs.
fn unseen(numbers: &[u64]) -> Vec<u64> {
    let gaps = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1);
    gaps.filter(|unseen| *unseen > 0).collect()
}

/// The agent's pod.
fn agent(cluster: &Cluster) -> Result<String> {
    let pods = install::pods(cluster)?;
    let pod = pods.first().context("no agent is there")?;
    Ok(text(pod, "/metadata/name").to_owned())
}

/// The numbers of the runs in a capture, or in a pod's newest capture.
fn runs(cluster: &Cluster, pod: &str) -> Result<Vec<u64>> {
    let info = cluster.plugin(&["info", pod, "-n", SPACE, "--json"])?;
    let info: Value = serde_json::from_str(&info).context("`info --json` prints no JSON")?;
    let runs = info["runs"]
        .as_array()
        .context("`info --json` has no runs")?;
    Ok(runs
        .iter()
        .filter_map(|run| run["number"].as_u64())
        .collect())
}

/// A pod that sees the node's processes and the spool. It has Python.
pub(crate) const HELPER: &str = r#"
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
    - {name: spool, mountPath: /spool}
  volumes:
  - name: spool
    hostPath: {path: /var/lib/lastword}
"#;

/// Runs a Python program in the helper.
fn helper(cluster: &Cluster, program: &str, argument: &str) -> Result<String> {
    cluster.run(&[
        "exec", "-n", SPACE, "helper", "--", "python3", "-c", program, argument,
    ])
}

/// Kills every process of a container with SIGKILL.
const KILL: &str = "
import os, sys
for process in filter(str.isdigit, os.listdir('/proc')):
    try:
        if sys.argv[1] in open(f'/proc/{process}/cgroup').read():
            os.kill(int(process), 9)
            print(process)
    except OSError:
        pass
";

/// Lists files below the spool that are not complete.
const HALF: &str = "
import os
for folder, _, files in os.walk('/spool'):
    for name in files:
        if not name.endswith(('.lwcap', '.json')):
            print(os.path.join(folder, name))
";

fn kill(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    for scenario in &CRASHING {
        cluster.apply(SPACE, scenario.file)?;
    }
    let mut killed = 0;
    for _ in 0..3 {
        // The first captures follow the first crashes, a few seconds after the pods.
        thread::sleep(Duration::from_secs(4));
        let pods = install::pods(cluster)?;
        let id = pods
            .first()
            .map(|pod| text(pod, "/status/containerStatuses/0/containerID"));
        let id = id.and_then(|id| id.rsplit('/').next()).unwrap_or_default();
        ensure!(id.len() == 64, "the agent's container has no id");
        killed += helper(cluster, KILL, id)?.lines().count();
        // Until the kubelet notices the end, it reports the agent as ready.
        wait("new container of the agent", || {
            let pods = install::pods(cluster)?;
            let pod = pods.first().context("no agent is there")?;
            let now = text(pod, "/status/containerStatuses/0/state/running/startedAt");
            let former = text(pod, "/status/containerStatuses/0/containerID").contains(id);
            Ok(if now.is_empty() || former {
                Err(pod["status"].to_string())
            } else {
                Ok(())
            })
        })?;
        install::ready(cluster)?;
    }
    ensure!(killed > 0, "no process of the agent was found");
    for scenario in &CRASHING {
        let what = format!("verdict on {} that knows why", scenario.name);
        let verdict = wait(&what, || {
            let capture = complete(cluster, SPACE, scenario.name, 1)?;
            let verdict = text(&capture, "/status/verdict").to_owned();
            // An agent saw only the end of this run; a later run says more.
            Ok(if verdict.ends_with("why is not known") {
                Err(verdict)
            } else {
                Ok(verdict)
            })
        })?;
        scenario.check(&verdict)?;
        // This fails on a damaged file.
        cluster.plugin(&["info", scenario.name, "-n", SPACE])?;
        let captures = of_pod(cluster, SPACE, scenario.name)?;
        let uid = text(&captures[0], "/status/podUid");
        let same = captures
            .iter()
            .filter(|capture| text(capture, "/status/podUid") == uid);
        ensure!(
            same.count() == 1,
            "several Captures of one loop: {captures:?}"
        );
    }
    let half = helper(cluster, HALF, "")?;
    ensure!(!half.contains("lwcap"), "half files are left: {half}");
    Ok(format!("{killed} processes killed, every capture whole"))
}

/// Passes TCP connections on to the API server, until it is scaled to zero.
const PROXY: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api-proxy
spec:
  replicas: 1
  selector: {matchLabels: {app: api-proxy}}
  template:
    metadata:
      labels: {app: api-proxy}
      annotations: {lastword.dev/capture: "off"}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: proxy
        image: localhost/lastword-scenarios:1
        command:
        - python3
        - -uc
        - |
          import os, socket, threading
          api = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
          def copy(source, sink):
              try:
                  while data := source.recv(65536):
                      sink.sendall(data)
              except OSError:
                  pass
              for end in source, sink:
                  try:
                      end.shutdown(socket.SHUT_RDWR)
                  except OSError:
                      pass
          def serve(client):
              server = socket.create_connection(api)
              threading.Thread(target=copy, args=(client, server), daemon=True).start()
              copy(server, client)
          listener = socket.create_server(("", 6443))
          while True:
              client, _ = listener.accept()
              threading.Thread(target=serve, args=(client,), daemon=True).start()
---
apiVersion: v1
kind: Service
metadata:
  name: api-proxy
spec:
  selector: {app: api-proxy}
  ports: [{port: 6443}]
"#;

/// The agent's own credentials, with the proxy's address under the API server's name.
const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: proxy
contexts: [{name: proxy, context: {cluster: proxy, user: agent}}]
clusters:
- name: proxy
  cluster:
    server: https://ADDRESS:6443
    tls-server-name: kubernetes.default.svc
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
users:
- name: agent
  user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}
"#;

fn cut_off(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    // The fields of the pod that say why it was killed must be known before.
    let probed = named("liveness-kill")?;
    let mut install = Install::standard(cluster)?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, PROXY)?;
    cluster.run(&[
        "rollout",
        "status",
        "deployment/api-proxy",
        "-n",
        SPACE,
        "--timeout=600s",
    ])?;
    let address = cluster.json(&["service", "api-proxy", "-n", SPACE])?;
    let address = text(&address, "/spec/clusterIP");
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "end-to-end-kubeconfig" },
        "data": { "kubeconfig": KUBECONFIG.replace("ADDRESS", address) },
    });
    cluster.apply(NAMESPACE, &map.to_string())?;
    install.mount(
        json!({ "configMap": { "name": "end-to-end-kubeconfig" } }),
        "kubeconfig",
        "/etc/end-to-end",
    )?;
    install.push(
        "env",
        json!({ "name": "KUBECONFIG", "value": "/etc/end-to-end/kubeconfig" }),
    )?;
    install.complete(cluster)?;

    let scale =
        |replicas: &str| cluster.run(&["scale", "deployment/api-proxy", "-n", SPACE, replicas]);
    // The pod is known before the connection is cut, as in a cluster whose API server fails.
    let watch = Watch::start(cluster, SPACE)?;
    for each in [scenario, probed] {
        cluster.apply(SPACE, each.file)?;
    }
    for each in [scenario, probed] {
        wait("container", || {
            let pod = cluster.json(&["pod", each.name, "-n", SPACE])?;
            let id = text(&pod, "/status/containerStatuses/0/containerID").to_owned();
            Ok(if id.is_empty() {
                Err(pod["status"].to_string())
            } else {
                Ok(())
            })
        })?;
    }
    scale("--replicas=0")?;
    wait("crash loop of three restarts", || {
        let pod = cluster.json(&["pod", scenario.name, "-n", SPACE])?;
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        Ok(if restarts >= Some(3) {
            Ok(())
        } else {
            Err(format!("{restarts:?}"))
        })
    })?;
    for each in [scenario, probed] {
        let capture = format!("/{}-", each.name);
        let line = wait("capture in the spool while the API server is away", || {
            let listed = install::exec(cluster, &["lastword", "spool", "ls"])?;
            let line = listed.lines().find(|line| line.contains(&capture));
            Ok(line.map(str::to_owned).ok_or(listed))
        })?;
        each.check(&line)?;
    }
    let before = watch.of(scenario.name).len();

    scale("--replicas=1")?;
    let capture = complete(cluster, SPACE, scenario.name, 3)?;
    scenario.check(text(&capture, "/status/verdict"))?;
    let event = wait("Event after the API server is back", || {
        Ok(watch
            .of(scenario.name)
            .pop()
            .ok_or_else(|| "none".to_owned()))
    })?;
    scenario.check(&event.message)?;
    let captures = of_pod(cluster, SPACE, scenario.name)?;
    ensure!(
        captures.len() == 1,
        "several Captures of one loop: {captures:?}"
    );
    Ok(format!(
        "{before} Events before the line was cut; captures written while away, with the probe that failed; announced after"
    ))
}
