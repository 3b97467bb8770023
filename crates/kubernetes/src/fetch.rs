//! Finding Captures and reading their files. The kubectl plugin does this with a person's own rights.
//!
//! The reader makes a CaptureRead in the Capture's namespace, which takes a right there, and shows it to the agent that
//! wrote the file, through a port-forward to the agent's pod. If that agent is gone and the file is in object storage,
//! any other agent reads it from there.

mod forward;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use tokio::io::AsyncWrite;

use crate::{
    Error,
    announce::{FILE, FINGERPRINT, REASON},
    capture::{Capture, Phase, SimilarPod},
    capture_read::{CaptureRead, CaptureReadSpec, Proof},
    error::{
        USER_CREATE_CAPTURE_READ, USER_DELETE_CAPTURE_READ, USER_GET_CAPTURE, USER_LIST_CAPTURES,
        USER_LIST_EVENTS, USER_LIST_PODS, call,
    },
};

use forward::Sum;

/// Every pod of the agent has these labels.
const AGENT_LABEL: &str = "app.kubernetes.io/name=lastword,app.kubernetes.io/component=agent";
/// The namespace in which agents are looked for if the caller may not list the pods of all namespaces.
const USUAL_NAMESPACE: &str = "lastword";
/// The container of the agent in its pod.
const AGENT_CONTAINER: &str = "agent";
/// How many agents are asked for a file that is in object storage.
const AGENTS: usize = 3;

/// How long a Capture may have the checksum of a file that has been replaced: the agent first writes the file and then
/// updates the Capture.
const BEHIND: Duration = Duration::from_secs(30);

/// Which file: that of a Capture, or that of a similar pod for which the Capture stands.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    capture: &'a Capture,
    similar: Option<&'a SimilarPod>,
}

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

/// The Captures of the pod with this name, or the Capture that itself has this name, newest first. If there is none, the
/// Captures that count the pod among the similar ones and name it; or else the Captures that stand for the fault that an
/// Event on the pod names, with the pod among the similar ones.
///
/// # Errors
/// As for [`list`]; [`Error::NotFound`] if there is none.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Vec<Capture>, Error> {
    let mut captures = list(client, Some(namespace)).await?;
    let is_meant = |capture: &&Capture| capture.spec.pod_name == name || capture.name_any() == name;
    match captures.iter().any(|capture| is_meant(&capture)) {
        true => captures.retain(|capture| is_meant(&capture)),
        false
            if captures
                .iter()
                .any(|capture| similar(capture, name).is_some()) =>
        {
            captures.retain(|capture| similar(capture, name).is_some());
        }
        false => captures = of_fault(client, namespace, name, captures).await,
    }
    if captures.is_empty() {
        return Err(Error::NotFound(format!(
            "no capture of pod {namespace}/{name}, nor one of that name; see `kubectl get captures -A`"
        )));
    }
    Ok(captures)
}

/// The Captures that stand for the fault of which an Event on the pod speaks. The pod is added to the similar ones that
/// they name. None if there is no such Event, or if nobody says.
async fn of_fault(
    client: &Client,
    namespace: &str,
    pod: &str,
    mut captures: Vec<Capture>,
) -> Vec<Capture> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let fields = format!("involvedObject.kind=Pod,involvedObject.name={pod},reason={REASON}");
    let params = ListParams::default().fields(&fields);
    let listed = call(USER_LIST_EVENTS, api.list(&params)).await;
    let events = listed.map_or_else(|_| Vec::new(), |listed| listed.items);
    let newest = events
        .into_iter()
        .max_by_key(|event| event.last_timestamp.clone());
    let Some(newest) = newest else {
        return Vec::new();
    };
    let annotations = newest.metadata.annotations.unwrap_or_default();
    let (Some(fingerprint), Some(file)) = (annotations.get(FINGERPRINT), annotations.get(FILE))
    else {
        return Vec::new();
    };
    let of_pod = SimilarPod {
        pod_name: pod.to_owned(),
        node: newest
            .source
            .and_then(|source| source.host)
            .unwrap_or_default(),
        file: file.clone(),
        taken_at: None,
    };
    captures.retain_mut(|capture| {
        let status = capture.status.get_or_insert_default();
        // A Capture of somebody's own stands for no other pod.
        let stands = status.owner.is_some() && status.fingerprint.as_ref() == Some(fingerprint);
        status.similar_pods.push(of_pod.clone());
        stands
    });
    captures
}

/// The newest file of the pod with this name, if the Capture counts it among the similar ones and names it.
#[must_use]
pub fn similar<'a>(capture: &'a Capture, pod: &str) -> Option<&'a SimilarPod> {
    let named = &capture.status.as_ref()?.similar_pods;
    named.iter().find(|similar| similar.pod_name == pod)
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

/// Writes the file of `capture`, or that of a similar pod for which it stands, to `out`. Agents are looked for in the namespace `agents`; without it in all
/// namespaces, or, if that is forbidden, in `lastword`. When `stop` is over, reading ends with [`Error::Stopped`].
///
/// # Errors
/// If there is no file yet, or no agent has it; if the API server is away or forbids it; if the checksum differs.
/// Whatever was written must then not be used.
pub async fn read(
    client: &Client,
    capture: &Capture,
    similar: Option<&SimilarPod>,
    agents: Option<&str>,
    out: &mut (impl AsyncWrite + Unpin),
    stop: impl Future<Output = ()>,
) -> Result<Fetched, Error> {
    let status = capture.status.clone().unwrap_or_default();
    let title = title(capture);
    if status.phase != Phase::Complete {
        let why = status.message.unwrap_or_default();
        let phase = status.phase;
        return Err(Error::Fetch(format!("capture {title} is {phase:?}: {why}")));
    }
    let is_remote = |location: crate::capture::Location| location.object_url.is_some();
    // What a Capture stands for stays on its node.
    let remote = similar.is_none() && status.location.is_some_and(is_remote);
    let node = match similar {
        Some(similar) => similar.node.clone(),
        None => status.node.unwrap_or_default(),
    };
    let pods = find_agents(client, agents).await?;
    let asked = to_ask(&pods, &node, remote);
    if asked.is_empty() {
        let what = if remote {
            "no agent is ready, so nobody can read it from object storage".to_owned()
        } else {
            format!("no agent is ready on node {node}, and only that node has the file")
        };
        return Err(Error::Fetch(format!("cannot read capture {title}: {what}")));
    }
    let proof = Proof::new()?;
    let reading = async {
        prove(client, capture, &proof).await?;
        let wanted = Wanted { capture, similar };
        let sum = ask(client, &asked, wanted, &proof, out).await?;
        Ok(sum.finish())
    };
    let outcome = tokio::select! {
        outcome = reading => outcome,
        () = stop => Err(Error::Stopped),
    };
    withdraw(client, capture, &proof).await;
    let (bytes, sha256) = outcome?;
    if similar.is_some() {
        return Ok(Fetched {
            bytes,
            sha256,
            verified: false,
        });
    }
    confirm(client, capture, bytes, sha256).await
}

/// Makes the CaptureRead. It goes with its Capture, should nobody delete it.
async fn prove(client: &Client, capture: &Capture, proof: &Proof) -> Result<(), Error> {
    let spec = CaptureReadSpec {
        capture_name: capture.name_any(),
        secret_sha256: proof.secret_sha256(),
    };
    let mut read = CaptureRead::new(proof.name(), spec);
    read.metadata.owner_references = capture.owner_ref(&()).map(|owner| vec![owner]);
    let api = reads(client, capture);
    let params = PostParams::default();
    let created = call(USER_CREATE_CAPTURE_READ, api.create(&params, &read)).await;
    created.map(drop)
}

/// Deletes the CaptureRead, if it exists. One that is left behind is of no use after five minutes.
async fn withdraw(client: &Client, capture: &Capture, proof: &Proof) {
    let api = reads(client, capture);
    let params = DeleteParams::default();
    let _ = call(USER_DELETE_CAPTURE_READ, api.delete(proof.name(), &params)).await;
}

fn reads(client: &Client, capture: &Capture) -> Api<CaptureRead> {
    Api::namespaced(client.clone(), &capture.namespace().unwrap_or_default())
}

/// Asks the agents, one after the other, until one gives the file.
async fn ask(
    client: &Client,
    agents: &[&Pod],
    wanted: Wanted<'_>,
    proof: &Proof,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<Sum, Error> {
    let mut failures = Vec::new();
    for pod in agents {
        let mut sum = Sum::new();
        match forward::file(client, pod, wanted, proof, out, &mut sum).await {
            Ok(()) => return Ok(sum),
            // What was written cannot be undone, so another agent cannot help.
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
    Err(Error::Fetch(format!(
        "cannot read capture {}: {}",
        title(wanted.capture),
        failures.join("; ")
    )))
}

/// Namespace and name, for messages.
fn title(capture: &Capture) -> String {
    let namespace = capture.namespace().unwrap_or_default();
    format!("{namespace}/{}", capture.name_any())
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

/// The agents to ask, in this order: the agent of the node, then a few others if the file is in object storage.
fn to_ask<'a>(agents: &'a [Pod], node: &str, uploaded: bool) -> Vec<&'a Pod> {
    let on_node = |pod: &&Pod| {
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        name == Some(node)
    };
    let mut asked: Vec<_> = agents.iter().filter(on_node).collect();
    if uploaded {
        let others = agents.iter().filter(|pod| !on_node(pod));
        asked.extend(others.take(AGENTS.saturating_sub(asked.len())));
    }
    asked
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
        let asked = |node: &str, uploaded: bool| -> Vec<String> {
            let pods = to_ask(&agents, node, uploaded);
            pods.into_iter().map(Pod::name_any).collect()
        };
        assert_eq!(asked("b", false), ["lastword-b"]);
        assert_eq!(asked("gone", false), [""; 0]);
        assert_eq!(asked("b", true), ["lastword-b", "lastword-a", "lastword-c"]);
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
