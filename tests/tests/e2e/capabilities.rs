//! The agent without each of its capabilities: every one is needed, and docs/install.md says for what.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    Case,
    cluster::Cluster,
    install::{self, Install, SPACES},
    requests::request,
    scenarios::complete,
};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("without BPF the agent says so", |cluster| {
        needed(cluster, "BPF")
    }),
    ("without PERFMON the agent says so", |cluster| {
        needed(cluster, "PERFMON")
    }),
    (
        "open files of containers that ran before the agent are known",
        |cluster| adopted(cluster, None, [true, true]),
    ),
    (
        "without SYS_PTRACE these open files are unknown",
        |cluster| adopted(cluster, Some("SYS_PTRACE"), [false, false]),
    ),
    (
        "without DAC_READ_SEARCH those of processes of other users are unknown",
        |cluster| adopted(cluster, Some("DAC_READ_SEARCH"), [true, false]),
    ),
];

/// Drops a capability that recording needs.
fn needed(cluster: &Cluster, capability: &str) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    leave_out(&mut install, capability)?;
    install.apply(cluster)?;
    let named = format!("CAP_{capability}");
    install::says(cluster, &[&named])?;
    let log = install::log(cluster);
    let said = log
        .lines()
        .find(|line| line.contains(&named))
        .unwrap_or_default()
        .to_owned();
    Install::standard(cluster)?.complete(cluster)?;
    Ok(said)
}

fn leave_out(install: &mut Install, capability: &str) -> Result<()> {
    let added = &mut install.container()?["securityContext"]["capabilities"]["add"];
    let added = added
        .as_array_mut()
        .context("deploy/ adds no capabilities")?;
    let had = added.len();
    added.retain(|name| *name != json!(capability));
    ensure!(added.len() + 1 == had, "deploy/ does not add {capability}");
    Ok(())
}

/// Two containers that keep a file open: one runs as root, one as another user.
const OPEN: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: as-root
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/lastword-scenarios:1
    command: [sh, -c, "exec 7</etc/passwd; while :; do sleep 1; done"]
---
apiVersion: v1
kind: Pod
metadata:
  name: as-nobody
spec:
  terminationGracePeriodSeconds: 1
  securityContext:
    runAsUser: 65534
  containers:
  - name: main
    image: localhost/lastword-scenarios:1
    command: [sh, -c, "exec 7</etc/passwd; while :; do sleep 1; done"]
"#;

/// Starts the agent after containers that have a file open. `known` says whether the agent can then know the file: for
/// root's container, and for the other user's.
fn adopted(cluster: &Cluster, without: Option<&str>, known: [bool; 2]) -> Result<String> {
    let space = format!("{SPACES}adopted");
    let mut install = Install::standard(cluster)?;
    // Otherwise the agent goes on with what the earlier one has recorded from the start of the containers.
    install.set("recorder", "other_payload", json!(255))?;
    if let Some(capability) = without {
        leave_out(&mut install, capability)?;
    }
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(&space)?;
    cluster.apply(&space, OPEN)?;
    cluster.pods_ready(&space, &["pod", "--all"])?;
    install.apply(cluster)?;
    install::restart(cluster)?;
    install::ready(cluster)?;
    let mut found = Vec::new();
    for (pod, known) in ["as-root", "as-nobody"].into_iter().zip(known) {
        cluster.apply(&space, &request(pod))?;
        complete(cluster, &space, pod, 1)?;
        let shown = cluster.plugin(&["show", pod, "-n", &space])?;
        let mut before = shown.lines().filter(|line| line.contains("was so before"));
        let is_known = before.any(|line| line.contains("openat(\"/etc/passwd\""));
        ensure!(
            is_known == known,
            "the open file of {pod}: known is {is_known}, expected {known}\n{shown}"
        );
        found.push(format!(
            "{pod}: {}",
            if known { "known" } else { "unknown" }
        ));
    }
    cluster.delete_namespace(&space)?;
    Install::standard(cluster)?.complete(cluster)?;
    Ok(found.join(", "))
}
