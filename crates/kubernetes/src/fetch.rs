//! Finding Captures and reading their files. The kubectl plugin does this with a person's own rights.
//!
//! The file is read by running `lastword spool cat NAMESPACE/NAME` in the pod of the agent that wrote it (pods/exec).
//! If that agent is gone and the file is in object storage, any other agent reads it from there. So RBAC alone decides
//! who may read.

mod exec;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::io::AsyncWrite;

use crate::{
    Error,
    capture::{Capture, Phase},
    error::{USER_GET_CAPTURE, USER_LIST_CAPTURES, USER_LIST_PODS, call},
};

use exec::Sum;

/// Every pod of the agent has this label.
const AGENT_LABEL: &str = "app.kubernetes.io/name=lastword";
/// The namespace in which agents are looked for if the caller may not list the pods of all namespaces.
const USUAL_NAMESPACE: &str = "lastword";
/// The container of the agent in its pod.
const AGENT_CONTAINER: &str = "agent";
/// How many agents are asked for a file that is in object storage.
const OTHERS: usize = 3;

/// How long a Capture may have the checksum of a file that has been replaced: the agent first writes the file and then
/// updates the Capture.
const BEHIND: Duration = Duration::from_secs(30);

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Whether the Capture has a checksum, and the file matches it.
    pub verified: bool,
}

/// All Captures of a namespace, or of all namespaces, newest first.
///
/// # Errors
/// The API server is away, forbids it, or does not know Captures.
pub async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<Capture>, Error> {
    let api: Api<Capture> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let listed = call(USER_LIST_CAPTURES, api.list(&ListParams::default())).await?;
    let mut captures = listed.items;
    captures.sort_by_key(|capture| {
        let made = capture.creation_timestamp().map(|time| time.0);
        (std::cmp::Reverse(made), capture.name_any())
    });
    Ok(captures)
}

/// The Captures of the pod with this name, or the Capture that itself has this name, newest first.
///
/// # Errors
/// As for [`list`]; [`Error::NotFound`] if there is none.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Vec<Capture>, Error> {
    let mut captures = list(client, Some(namespace)).await?;
    captures.retain(|capture| capture.spec.pod_name == name || capture.name_any() == name);
    if captures.is_empty() {
        return Err(Error::NotFound(format!(
            "no capture of pod {namespace}/{name}, nor one of that name; see `kubectl get captures -A`"
        )));
    }
    Ok(captures)
}

/// Waits until a Capture is Complete or Failed, at most for `limit`. Returns its state then.
///
/// # Errors
/// The API server is away, or forbids it; the Capture was deleted.
pub async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    limit: Duration,
) -> Result<Capture, Error> {
    let api: Api<Capture> = Api::namespaced(client.clone(), namespace);
    let end = tokio::time::Instant::now() + limit;
    loop {
        let capture = call(USER_GET_CAPTURE, api.get(name)).await?;
        let finished = matches!(capture.phase(), Phase::Complete | Phase::Failed);
        if finished || tokio::time::Instant::now() >= end {
            return Ok(capture);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Writes the file of `capture` to `out`. Agents are looked for in the namespace `agents`; without it in all
/// namespaces, or, if that is forbidden, in `lastword`.
///
/// # Errors
/// If there is no file yet, or no agent has it; if the API server is away or forbids it; if the checksum differs.
/// Whatever was written must then not be used.
pub async fn read(
    client: &Client,
    capture: &Capture,
    agents: Option<&str>,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<Fetched, Error> {
    let status = capture.status.clone().unwrap_or_default();
    let namespace = capture.namespace().unwrap_or_default();
    let title = format!("{namespace}/{}", capture.name_any());
    if status.phase != Phase::Complete {
        let why = status.message.unwrap_or_default();
        let phase = status.phase;
        return Err(Error::Fetch(format!("capture {title} is {phase:?}: {why}")));
    }
    let is_remote = |location: crate::capture::Location| location.object_url.is_some();
    let remote = status.location.is_some_and(is_remote);
    let node = status.node.unwrap_or_default();
    let pods = find_agents(client, agents).await?;
    let sources = sources(&pods, &node, remote);
    let mut failures = Vec::new();
    for source in sources {
        let mut command = vec!["lastword", "spool", "cat"];
        if source.remote {
            command.push("--remote");
        }
        command.push(&title);
        let mut sum = Sum::new();
        let pod = source.pod;
        match exec::output(client, pod, AGENT_CONTAINER, &command, out, &mut sum).await {
            Ok(()) => {
                let (bytes, sha256) = sum.finish();
                return confirm(client, capture, bytes, sha256).await;
            }
            // What was written cannot be undone, so another source cannot help.
            Err(error) if sum.bytes() > 0 => return Err(error),
            Err(
                error @ (Error::Forbidden { .. }
                | Error::Refused { .. }
                | Error::Unauthorized(_)
                | Error::Output(_)),
            ) => return Err(error),
            Err(error) => failures.push(format!("agent {}: {error}", pod.name_any())),
        }
    }
    if failures.is_empty() {
        let what = if remote {
            "no agent is ready, so nobody can read it from object storage".to_owned()
        } else {
            format!("no agent is ready on node {node}, and only that node has the file")
        };
        failures.push(what);
    }
    Err(Error::Fetch(format!(
        "cannot read capture {title}: {}",
        failures.join("; ")
    )))
}

/// Compares the checksum of a file, in lower-case hexadecimal digits, with that of its Capture. The Capture may be
/// updated up to half a minute after the file.
///
/// # Errors
/// If the checksums differ.
pub async fn confirm(
    client: &Client,
    capture: &Capture,
    bytes: u64,
    sha256: String,
) -> Result<Fetched, Error> {
    let (namespace, name) = (capture.namespace().unwrap_or_default(), capture.name_any());
    let api: Api<Capture> = Api::namespaced(client.clone(), &namespace);
    let told = |capture: &Capture| capture.status.as_ref()?.sha256.clone();
    let end = tokio::time::Instant::now() + BEHIND;
    let mut expected = told(capture);
    while let Some(other) = expected.as_ref().filter(|expected| **expected != sha256) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = api.get(&name).await;
        match asked {
            Ok(now) if tokio::time::Instant::now() < end => expected = told(&now).or(expected),
            _ => {
                return Err(Error::Fetch(format!(
                    "the file of capture {namespace}/{name} has the checksum {sha256} instead of {other}: it was damaged on the way or replaced; try again"
                )));
            }
        }
    }
    Ok(Fetched {
        bytes,
        verified: expected.is_some(),
        sha256,
    })
}

/// The pods of ready agents.
async fn find_agents(client: &Client, namespace: Option<&str>) -> Result<Vec<Pod>, Error> {
    let params = ListParams::default().labels(AGENT_LABEL);
    let within = |namespace: &str| Api::<Pod>::namespaced(client.clone(), namespace);
    let listed = match namespace {
        Some(namespace) => call(USER_LIST_PODS, within(namespace).list(&params)).await?,
        None => {
            let everywhere: Api<Pod> = Api::all(client.clone());
            match call(USER_LIST_PODS, everywhere.list(&params)).await {
                Err(Error::Forbidden { .. }) => {
                    call(USER_LIST_PODS, within(USUAL_NAMESPACE).list(&params)).await?
                }
                answer => answer?,
            }
        }
    };
    Ok(listed.items.into_iter().filter(is_ready_agent).collect())
}

fn is_ready_agent(pod: &Pod) -> bool {
    let has_agent = pod.spec.as_ref().is_some_and(|spec| {
        spec.containers
            .iter()
            .any(|container| container.name == AGENT_CONTAINER)
    });
    let status = pod.status.as_ref();
    let is_ready = status
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
    has_agent && is_ready && pod.metadata.deletion_timestamp.is_none()
}

#[derive(Debug, PartialEq)]
struct Source<'a> {
    pod: &'a Pod,
    remote: bool,
}

/// The agents to ask, in this order: the agent of the node for its file, then this agent and a few others for the file
/// in object storage.
fn sources<'a>(agents: &'a [Pod], node: &str, remote: bool) -> Vec<Source<'a>> {
    let on_node = |pod: &&Pod| {
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        name == Some(node)
    };
    let local = agents.iter().filter(on_node);
    let mut sources: Vec<_> = local
        .clone()
        .map(|pod| Source { pod, remote: false })
        .collect();
    if remote {
        let others = agents.iter().filter(|pod| !on_node(pod));
        let all = local.chain(others).take(OTHERS);
        sources.extend(all.map(|pod| Source { pod, remote: true }));
    }
    sources
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(node: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": format!("lastword-{node}")},
            "spec": {"nodeName": node, "containers": [{"name": "agent"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_agent_of_the_node_is_asked_first_and_others_only_for_what_was_uploaded() {
        let agents = [agent("a", "True"), agent("b", "True"), agent("c", "True")];
        let asked = |node: &str, remote: bool| -> Vec<String> {
            let told = |source: Source<'_>| format!("{} {}", source.pod.name_any(), source.remote);
            sources(&agents, node, remote)
                .into_iter()
                .map(told)
                .collect()
        };
        assert_eq!(asked("b", false), ["lastword-b false"]);
        assert_eq!(asked("gone", false), [""; 0]);
        assert_eq!(
            asked("b", true),
            [
                "lastword-b false",
                "lastword-b true",
                "lastword-a true",
                "lastword-c true"
            ]
        );
        assert_eq!(asked("gone", true).len(), 3);
    }

    #[test]
    fn an_agent_that_is_not_ready_is_not_asked() {
        assert!(is_ready_agent(&agent("a", "True")));
        assert!(!is_ready_agent(&agent("a", "False")));
        let mut other = agent("a", "True");
        other.spec.as_mut().unwrap().containers[0].name = "web".to_owned();
        assert!(!is_ready_agent(&other));
    }
}
