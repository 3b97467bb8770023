//! A tenant who may write to a container's cgroup file system: what the agent makes of the cgroups there.

use lastword_tests::api_server::{ApiServer, namespace};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    asked::send,
    cluster::{Pod, holds, node_of, start},
    container::{Container, Running},
    node::{Node, until},
};
use crate::{Case, made::Made};

pub(super) const CASES: &[Case] = &[
    ("agent_names_nobody_by_a_cgroup_in_a_container", named),
    ("agent_reports_who_has_too_many_cgroups", crowded),
    (
        "agent_keeps_nothing_of_what_is_inside_who_is_opted_out",
        opted_out,
    ),
];

/// A pod with a container that may write to its cgroup file system.
struct Tenant {
    pod: Pod,
    container: Container,
    running: Running,
    /// The container's cgroup.
    cgroup: Made,
}

impl Tenant {
    fn on(node: &Node, api: &ApiServer) -> Result<Self, Failed> {
        let pod = Pod::on(node, 99, "tenant")?;
        let container = Container::below(&pod.cgroup);
        let running = container.start(&["wait", "exit", "0"])?;
        api.has(&pod.object(&json!({}), &[&container]));
        let name = format!("cri-containerd-{}.scope", container.id);
        let cgroup = Made(pod.cgroup.0.join(name));
        Ok(Self {
            pod,
            container,
            running,
            cgroup,
        })
    }

    /// The id by which lastword knows a container inside the tenant's.
    fn id_of(&self, inner: &Container) -> String {
        format!("{}/{}", self.container.id, inner.id)
    }
}

fn cluster() -> Result<(ApiServer, Node), Failed> {
    let api = ApiServer::start()?;
    api.tell_namespaces(vec![namespace("shop", &json!({}))]);
    let mut node = node_of(&api)?;
    start(&mut node)?;
    Ok((api, node))
}

/// Waits until this many containers are recorded and known by name.
fn has_named(node: &Node, count: u64) -> Result<(), Failed> {
    until("containers have their names", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        (status["containers"]["named"].as_u64() >= Some(count)).then_some(())
    })
}

fn named() -> Result<(), Failed> {
    let (api, node) = cluster()?;
    let victims = Pod::on(&node, 1, "victim")?;
    let victim = Container::below(&victims.cgroup);
    let running = victim.start(&["wait", "open", "/missing/own"])?;
    api.has(&victims.object(&json!({}), &[&victim]));
    let tenant = Tenant::on(&node, &api)?;
    has_named(&node, 2)?;

    let mut forged = Container::below(&tenant.cgroup);
    forged.id.clone_from(&victim.id);
    forged.crash("/missing/forged")?;
    let inner = Container::below(&tenant.cgroup);
    inner.crash("/missing/inner")?;
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(1));
    victims.is_told(&api, &node)?;
    node.judged()?;
    let capture = node.captured(&victim, &[1])?;
    assert!(capture.has(|event| event.name == "/missing/own"));
    assert!(!capture.has(|event| event.name == "/missing/forged"));
    // What is inside a container stays on the node, under the ids of both.
    assert!(holds(&node.spool(), &tenant.id_of(&inner)));
    assert!(!holds(&node.spool(), &tenant.id_of(&forged)));
    assert_eq!(verdicts(&api, &tenant.pod.name), 0);
    Ok(())
}

/// How many verdicts were announced about a pod.
fn verdicts(api: &ApiServer, pod: &str) -> usize {
    let written = api.written_about(pod);
    let has_verdict = |(_, body): &&(String, Value)| body["status"]["verdict"].is_string();
    written.iter().filter(has_verdict).count()
}

fn crowded() -> Result<(), Failed> {
    let (api, node) = cluster()?;
    let tenant = Tenant::on(&node, &api)?;
    has_named(&node, 1)?;
    let nested: Vec<Made> = (0..20_000)
        .map(|number| Made::below(&tenant.cgroup.0, &number.to_string()))
        .collect::<Result<_, _>>()?;
    let shaped: Vec<Made> = (0..220)
        .map(|number| Made::below(&tenant.cgroup.0, &format!("{number:064x}")))
        .collect::<Result<_, _>>()?;
    let events = || -> Vec<Value> {
        let written = api.written_about(&tenant.pod.name).into_iter();
        let events = written.filter(|(_, body)| body["reason"] == "CgroupsNotRecorded");
        events.map(|(_, body)| body).collect()
    };
    let event = until("the tenant's pod has its Event", || events().pop())?;
    assert_eq!(
        event["involvedObject"]["fieldPath"], "spec.containers{app}",
        "{event:#}"
    );
    let refused = 20_000 - 64 + 220 - 4;
    let status = node.ask(&["status", "--json"])?;
    assert_eq!(status["turned_away"], refused, "{status:#}");
    let culprit =
        json!([{"namespace": "shop", "pod": "tenant", "container": "app", "turned_away": refused}]);
    assert_eq!(status["crowded"], culprit);
    for (path, words) in [
        ("/readyz", format!("shop tenant app ({refused})")),
        (
            "/metrics",
            format!("lastword_cgroups_turned_away_total {refused}"),
        ),
        (
            "/metrics",
            format!("{{namespace=\"shop\",pod=\"tenant\",container=\"app\"}} {refused}"),
        ),
    ] {
        let answer = send(&node, &format!("GET {path}"), "", "")?;
        assert!(answer.contains(&words), "{words}: {answer}");
    }
    node.logged(&[
        "not all cgroups inside a container are recorded",
        &tenant.pod.uid,
    ])?;

    // Others are recorded, and have their names.
    let mut honest = Vec::new();
    for number in 0..30 {
        let pod = Pod::on(&node, number, &format!("honest-{number}"))?;
        let container = Container::below(&pod.cgroup);
        let running = container.start(&["wait", "exit", "0"])?;
        api.has(&pod.object(&json!({}), &[&container]));
        honest.push((running, pod));
    }
    has_named(&node, 31)?;
    let status = node.ask(&["status", "--json"])?;
    assert_eq!(status["refused"], 0, "{status:#}");
    for (running, _) in &honest {
        running.go_on()?;
    }
    drop((nested, shaped));
    tenant.running.go_on()?;
    assert_eq!(events().len(), 1);
    let said = node.log();
    assert_eq!(said.matches("not all cgroups inside").count(), 1, "{said}");
    Ok(())
}

/// The pod opts out after what is inside its container has crashed.
fn opted_out() -> Result<(), Failed> {
    let (api, mut node) = cluster()?;
    let tenant = Tenant::on(&node, &api)?;
    has_named(&node, 1)?;
    let [ended, living] = [(); 2].map(|()| Container::below(&tenant.cgroup));
    ended.crash("/missing/inner")?;
    let running = living.start(&["wait", "exit", "0"])?;
    running.settled("wait")?;
    until("it is in the spool", || {
        holds(&node.spool(), &tenant.id_of(&ended)).then_some(())
    })?;
    let used = |node: &Node| {
        let status = node.ask(&["status", "--json"]).ok()?;
        status["memory"]["rings_used"].as_u64()
    };
    let before = used(&node).ok_or("no status")?;
    let off = json!({"lastword.dev/capture": "off"});
    api.has(&tenant.pod.object(&off, &[&tenant.container]));
    until("nothing of it is in the spool", || {
        (!holds(&node.spool(), &tenant.id_of(&ended))).then_some(())
    })?;
    until("both rings are released", || {
        (used(&node)? + 2 <= before).then_some(())
    })?;
    // A container that is made inside it now gets none.
    let later = Container::below(&tenant.cgroup);
    later.crash("/missing/later")?;
    node.judged()?;
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(0));
    for inner in [&ended, &living, &later] {
        assert!(!holds(&node.spool(), &inner.id));
    }
    let log = node.log();
    assert!(!log.contains("/missing/later"), "{log}");
    Ok(())
}
