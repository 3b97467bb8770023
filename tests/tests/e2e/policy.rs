//! The admission policy (`deploy/components/admission`), with which all cases run where the cluster can have it: an
//! agent writes what is of its own node, and nothing else.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Case, NotTried,
    cluster::{Cluster, text, wait},
    install::{self, Install, NAMESPACE},
    reading::{refusal, with_token},
};

pub(crate) const CASES: &[(&str, Case)] = &[(
    "with an agent's token nothing of another node is deleted",
    in_force,
)];

const SPACE: &str = "lastword-e2e-policy";
/// A node that does not exist.
const ELSEWHERE: &str = "elsewhere";

/// Makes a Complete Capture of a node that does not exist. One without a label is like those of earlier versions.
pub(crate) fn foreign(cluster: &Cluster, space: &str, name: &str, labelled: bool) -> Result<()> {
    let labels = match labelled {
        true => json!({ "lastword.dev/node": ELSEWHERE }),
        false => json!({}),
    };
    let capture = json!({
        "apiVersion": "lastword.dev/v1alpha1",
        "kind": "Capture",
        "metadata": { "name": name, "labels": labels },
        "spec": { "podName": "long-gone" },
    });
    cluster.apply(space, &capture.to_string())?;
    let path = format!("{}/status", path(space, name));
    // An agent that sees it without a label writes to it as well.
    wait("status of another node's Capture", || {
        let mut capture = cluster.json(&["capture", name, "-n", space])?;
        capture["status"] = json!({
            "phase": "Complete",
            "node": ELSEWHERE,
            "container": "main",
            "finishedAt": capture["metadata"]["creationTimestamp"],
        });
        Ok(cluster
            .put(&path, &capture)
            .map_err(|error| format!("{error:#}")))
    })?;
    Ok(())
}

fn path(space: &str, name: &str) -> String {
    format!("/apis/lastword.dev/v1alpha1/namespaces/{space}/captures/{name}")
}

/// A token of the agents' account; with a pod, it is bound to that.
fn token(cluster: &Cluster, pod: Option<&Value>) -> Result<String> {
    let bound = pod.map(|pod| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        })
    });
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "audiences": [], "boundObjectRef": bound },
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/lastword-agent/token");
    let made = cluster.post(&path, &request)?;
    Ok(text(&made, "/status/token").to_owned())
}

fn in_force(cluster: &Cluster) -> Result<String> {
    if !install::knows_policies(cluster)? {
        bail!(NotTried(
            "this Kubernetes has no ValidatingAdmissionPolicy".to_owned()
        ));
    }
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    foreign(cluster, SPACE, "foreign", true)?;
    let agents = install::pods(cluster)?;
    let agent = agents.first().context("no agent")?;
    let node = text(agent, "/spec/nodeName");
    let mut said = Vec::new();
    for (token, words) in [
        (
            token(cluster, Some(agent))?,
            format!("the Capture is not of node {node}"),
        ),
        (token(cluster, None)?, "the token names no node".to_owned()),
    ] {
        let file = tempfile::NamedTempFile::new()?;
        write!(&file, "{}", with_token(cluster, &token)?)?;
        let kubeconfig = format!("--kubeconfig={}", file.path().display());
        let delete = ["delete", &kubeconfig, "--raw", &path(SPACE, "foreign")];
        let refused = refusal(cluster.run(&delete))?;
        ensure!(refused.contains(&words), "no {words:?} in {refused}");
        said.push(words);
    }
    cluster.json(&["capture", "foreign", "-n", SPACE])?;
    Ok(format!("refused: {}", said.join("; ")))
}
