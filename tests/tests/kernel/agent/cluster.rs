//! Agents with a fake API server: what they may announce, and what they announce again.

use std::fs;

use lastword_tests::api_server::{ApiServer, namespace, pod};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    container::Container,
    node::{Node, until},
};
use crate::{Case, made::Made};

pub(super) const CASES: &[Case] = &[
    ("agent_keeps_nothing_of_who_is_opted_out", opted_out),
    ("agent_records_nothing_of_who_is_excluded", excluded),
    ("agent_announces_anew_what_the_api_server_lacks", anew),
    ("agent_names_a_crash_without_the_runtimes_socket", no_socket),
    (
        "agent_tells_a_namespace_from_a_former_one_of_its_name",
        former,
    ),
];

/// A node whose agent uses this API server. The agent is not started yet.
pub(super) fn node_of(api: &ApiServer) -> Result<Node, Failed> {
    let node = Node::new("")?;
    node.join_cluster(&api.url())?;
    Ok(node)
}

pub(super) fn start(node: &mut Node) -> Result<(), Failed> {
    let kubeconfig = node.file("kubeconfig");
    node.start_as(|command| {
        command
            .args(["--node-name", "n1", "--kubeconfig"])
            .arg(kubeconfig)
    })
}

/// A pod's cgroup, and the pod object of the API server.
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) cgroup: Made,
}

impl Pod {
    pub(super) fn on(node: &Node, number: u32, name: &str) -> Result<Self, Failed> {
        let uid = format!("0a1b2c3d-0000-1111-2222-{number:012x}");
        let cgroup = Made::below(&node.cgroups.0, &format!("pod{uid}"))?;
        Ok(Self {
            name: name.to_owned(),
            uid,
            cgroup,
        })
    }

    pub(super) fn object(&self, annotations: &Value, containers: &[&Container]) -> Value {
        let ids: Vec<&str> = containers.iter().map(|it| it.id.as_str()).collect();
        pod(&self.name, &self.uid, annotations, &ids)
    }

    /// Waits until the pod has its Event, and until its Capture has a status with a verdict.
    pub(super) fn is_told(&self, api: &ApiServer, node: &Node) -> Result<(), Failed> {
        let told = until(&format!("{} is told of", self.name), || {
            let written = api.written_about(&self.name);
            let has_event = written.iter().any(|(path, _)| path.contains("/events/"));
            let has_verdict = |(_, body): &(String, Value)| body["status"]["verdict"].is_string();
            (has_event && written.iter().any(has_verdict)).then_some(())
        });
        told.map_err(|error| format!("{error:?}\n{}", node.log()).into())
    }
}

/// Whether a folder has a file that contains these words in its name or content.
pub(super) fn holds(folder: &std::path::Path, words: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let has = |bytes: &[u8]| {
            bytes
                .windows(words.len())
                .any(|part| part == words.as_bytes())
        };
        has(path.as_os_str().as_encoded_bytes())
            || holds(&path, words)
            || fs::read(&path).is_ok_and(|bytes| has(&bytes))
    })
}

/// Pods that opt out themselves or through their namespace, before they crash or afterwards: no run, no file and no log
/// line has anything of what they did, and the API server gets nothing.
fn opted_out() -> Result<(), Failed> {
    let off = json!({"lastword.dev/capture": "off"});
    let api = ApiServer::start()?;
    let mut node = node_of(&api)?;
    start(&mut node)?;
    let late = Pod::on(&node, 1, "late-off")?;
    let own = Pod::on(&node, 2, "own-off")?;
    let on = Pod::on(&node, 4, "on")?;
    let after = Pod::on(&node, 5, "after")?;
    let of = |pod: &Pod| Container::below(&pod.cgroup);
    let spool = node.spool();
    let gone = |container: &Container| {
        until("what is opted out is not in the spool", || {
            (!holds(&spool, &container.id)).then_some(())
        })
    };

    let (early, first, known, marker) = (of(&late), of(&own), of(&on), of(&after));
    let mut in_quiet = late.object(&json!({}), &[&early]);
    in_quiet["metadata"]["namespace"] = "quiet".into();
    api.has(&in_quiet);
    api.has(&own.object(&off, &[&first]));
    api.has(&on.object(&json!({}), &[&known]));
    api.has(&after.object(&json!({}), &[&marker]));

    // The container crashes before the namespace is known: it is captured, but the log does not say what it did.
    early.crash("/missing/opted-out")?;
    node.captured(&early, &[1])?;
    api.tell_namespaces(vec![
        namespace("shop", &json!({})),
        namespace("quiet", &off),
    ]);
    gone(&early)?;
    first.crash("/missing/opted-out")?;
    // The container was restarted under another id, as in pods, and ended before it was known to which pod it belongs.
    let second = of(&own);
    second.crash("/missing/opted-out")?;
    api.has(&own.object(&off, &[&first, &second]));
    known.crash("/missing/on")?;
    on.is_told(&api, &node)?;
    for container in [&early, &first, &second] {
        gone(container)?;
    }
    marker.crash("/missing/on")?;
    after.is_told(&api, &node)?;
    for pod in [&late, &own] {
        assert_eq!(api.written_about(&pod.name), []);
    }
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(0));
    let log = node.log();
    assert!(log.contains("/missing/on"), "{log}");
    assert!(!log.contains("/missing/opted-out"), "{log}");
    let kept = node.spool().join("kept");
    assert!(holds(&kept, &on.uid), "the runs of others are kept");
    for pod in [&late, &own] {
        assert!(!holds(&kept, &pod.uid), "{}", pod.name);
    }
    Ok(())
}

/// Pods that run, in a namespace that is excluded or opted out after some time: their rings are released, and a request
/// for a capture fails. So it is with a container that somebody adds for debugging.
fn excluded() -> Result<(), Failed> {
    let off = json!({"lastword.dev/capture": "off"});
    let api = ApiServer::start()?;
    api.tell_namespaces(vec![
        namespace("shop", &json!({})),
        namespace("quiet", &json!({})),
    ]);
    let mut node = Node::new("selectors: {namespaces: {exclude: [qui*]}}")?;
    node.join_cluster(&api.url())?;
    start(&mut node)?;
    let (quiet, late) = (Pod::on(&node, 1, "quiet")?, Pod::on(&node, 2, "late")?);
    let [first, second] = [&quiet, &late].map(|pod| Container::below(&pod.cgroup));
    let before = node.ask(&["status", "--json"])?;
    let used = |node: &Node| {
        let status = node.ask(&["status", "--json"]).ok()?;
        let used = |status: &Value| status["memory"]["rings_used"].as_u64();
        Some(used(&status)? - used(&before)?)
    };
    let running = [
        first.start(&["wait", "open", "/missing/hushed"])?,
        second.start(&["wait", "open", "/missing/hushed"])?,
    ];
    until("both are recorded", || (used(&node)? == 2).then_some(()))?;
    let mut in_quiet = quiet.object(&json!({}), &[&first]);
    in_quiet["metadata"]["namespace"] = "quiet".into();
    api.has(&in_quiet);
    api.has(&late.object(&json!({}), &[&second]));
    until("one is released", || (used(&node)? == 1).then_some(()))?;
    api.has(&late.object(&off, &[&second]));
    until("both are released", || (used(&node)? == 0).then_some(()))?;

    // Somebody adds containers. Of one of them the API server says so.
    let [debugger, nameless] = [(); 2].map(|()| Container::below(&late.cgroup));
    for container in [&debugger, &nameless] {
        container.crash("/missing/hushed")?;
    }
    let mut object = late.object(&off, &[&second]);
    object["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "debug:1"}]);
    object["status"]["ephemeralContainerStatuses"] = json!([{
        "name": "debugger", "image": "debug:1", "imageID": "", "ready": false, "restartCount": 0,
        "containerID": format!("containerd://{}", debugger.id),
        "state": {"terminated": {"exitCode": 1, "containerID": format!("containerd://{}", debugger.id)}},
    }]);
    api.has(&object);
    for run in running {
        run.go_on()?;
        assert_eq!(run.wait()?.code(), Some(1));
    }
    for (namespace, pod) in [("quiet", &quiet.name), ("shop", &late.name)] {
        api.is_asked(namespace, "asked", pod);
        let told = until("the request fails", || {
            let status = api.status_of(namespace, "asked");
            (status["phase"] == "Failed").then_some(status)
        });
        let status = told.map_err(|error| format!("{error:?}\n{}", node.log()))?;
        assert_eq!(status["reason"], "OptedOut", "{status:#}");
    }
    let marker = Pod::on(&node, 3, "marker")?;
    let known = Container::below(&marker.cgroup);
    api.has(&marker.object(&json!({}), &[&known]));
    known.crash("/missing/marker")?;
    marker.is_told(&api, &node)?;
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(0));
    assert!(!node.log().contains("/missing/hushed"), "{}", node.log());
    for container in [&first, &second, &debugger, &nameless] {
        assert!(!holds(&node.spool(), &container.id));
    }
    for pod in [&quiet, &late] {
        let written = api.written_about(&pod.name);
        let has_event = written.iter().any(|(path, _)| path.contains("/events/"));
        assert!(!has_event, "{written:?}");
        assert!(!holds(&node.spool(), &pod.uid), "{}", pod.name);
    }
    Ok(())
}

/// The API server lost one of two Captures while no agent was running.
fn anew() -> Result<(), Failed> {
    let api = ApiServer::start()?;
    let mut node = node_of(&api)?;
    let lost = Pod::on(&node, 1, "lost")?;
    let there = Pod::on(&node, 2, "there")?;
    let marker = Pod::on(&node, 3, "marker")?;
    let containers = [&lost, &there, &marker].map(|pod| Container::below(&pod.cgroup));
    for (pod, container) in [&lost, &there, &marker].into_iter().zip(&containers) {
        api.has(&pod.object(&json!({}), &[container]));
    }
    api.tell_namespaces(vec![namespace("shop", &json!({}))]);
    start(&mut node)?;
    for (pod, container) in [(&lost, &containers[0]), (&there, &containers[1])] {
        container.crash("/missing/anew")?;
        pod.is_told(&api, &node)?;
        // It is noted in the capture's sidecar, so the next agent does not announce it again only because it does not
        // know.
        let capture = node.captured(container, &[1])?;
        until("it is noted that it was announced", || {
            let text = fs::read_to_string(capture.sidecar_path()).ok()?;
            let sidecar: Value = serde_json::from_str(&text).ok()?;
            (sidecar["state"]["announced"] == true).then_some(())
        })?;
    }
    node.stop(Signal::SIGTERM)?;
    api.lose_captures(&lost.name);
    start(&mut node)?;
    lost.is_told(&api, &node)?;
    containers[2].crash("/missing/marker")?;
    marker.is_told(&api, &node)?;
    assert_eq!(api.written_about(&there.name), []);
    Ok(())
}

/// The runtime is not asked: the API server has the names, the kernel the exit status.
fn no_socket() -> Result<(), Failed> {
    let api = ApiServer::start()?;
    let mut node = node_of(&api)?;
    let pod = Pod::on(&node, 1, "web")?;
    let container = Container::below(&pod.cgroup);
    api.has(&pod.object(&json!({}), &[&container]));
    api.tell_namespaces(vec![namespace("shop", &json!({}))]);
    start(&mut node)?;
    container.crash("/missing/no-socket")?;
    pod.is_told(&api, &node)?;
    let capture = node.captured(&container, &[1])?;
    let (header, run) = (&capture.header, &capture.runs[0].0);
    assert_eq!(header.container.name, "app");
    assert_eq!(header.pod.as_ref().map(|pod| &*pod.name), Some("web"));
    assert!(run.status.is_some(), "{run:?}");
    assert!(run.terminated.is_none(), "nobody asked the runtime");
    let status = node.request(&["status"]).output()?;
    let status = String::from_utf8(status.stdout)?;
    assert!(
        status.contains("container_runtime.endpoint is off"),
        "{status}"
    );
    Ok(())
}

/// A namespace is deleted while no agent runs, and made again under its name: what was captured in the former one is
/// removed, and the API server gets nothing of it.
fn former() -> Result<(), Failed> {
    let api = ApiServer::start()?;
    let mut node = node_of(&api)?;
    let old = Pod::on(&node, 1, "old")?;
    let new = Pod::on(&node, 2, "new")?;
    let containers = [&old, &new].map(|pod| Container::below(&pod.cgroup));
    api.has(&old.object(&json!({}), &[&containers[0]]));
    api.has(&new.object(&json!({}), &[&containers[1]]));
    let shop = |uid: &str| {
        let mut shop = namespace("shop", &json!({}));
        shop["metadata"]["uid"] = uid.into();
        vec![shop]
    };
    api.tell_namespaces(shop("first"));
    start(&mut node)?;
    containers[0].crash("/missing/former")?;
    old.is_told(&api, &node)?;
    let capture = node.captured(&containers[0], &[1])?;
    node.stop(Signal::SIGTERM)?;
    api.lose_captures(&old.name);
    api.tell_namespaces(shop("second"));
    start(&mut node)?;
    containers[1].crash("/missing/new")?;
    new.is_told(&api, &node)?;
    assert_eq!(api.written_about(&old.name), []);
    assert!(!capture.sidecar_path().exists());
    Ok(())
}
