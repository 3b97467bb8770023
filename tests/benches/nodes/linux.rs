use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use kubernetes::{
    Health, Timestamp, Who,
    announce::{Announcement, Announcer, Object},
    capture::{CaptureSpec, CaptureStatus, Location, Losses, Phase, SimilarPod, Trigger},
    captures::{self, Captures, Notice},
    connect::{self, Options},
    faults::{Fault, Standing},
    namespaces,
    owner::Owner,
    pods::{self, ContainerKind},
};
use lastword_tests::api_server::{ApiServer, Served, namespace, pod};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

const NODES: [usize; 3] = [10, 100, 1000];
/// How often each thing is done; on nodes of their own.
const TIMES: usize = 10;
/// Watches of an agent: pods, namespaces, its Captures, and Captures without a label.
const WATCHES: usize = 4;
/// How long changes take to reach all agents, at most.
const SETTLES: Duration = Duration::from_secs(2);
/// Pods that whoever requests a capture may see, and may not see.
const SEEN: &str = "seen";
const HIDDEN: &str = "hidden";
const NAMESPACE: &str = "shop";
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is measured.
const CASES: [&str; 4] = [
    "a pod crashes, whose fault is new",
    "a pod crashes with the same fault as others",
    "somebody requests a capture who may see the pod",
    "somebody requests a capture who may not see the pod",
];

struct Node {
    number: usize,
    client: kubernetes::Client,
    announcer: Announcer,
}

/// What one of the cases cost, for the whole cluster.
struct Cost {
    served: Served,
    cpu: Duration,
}

pub(super) fn main() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let mut all = Vec::new();
    for nodes in NODES {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        all.push((nodes, runtime.block_on(measure(nodes))?));
        runtime.shutdown_background();
    }
    for (case, name) in CASES.iter().enumerate() {
        // Every agent has to see a request whose node nobody knows.
        let per_agent = case + 1 == CASES.len();
        let bytes = |(nodes, costs): &(usize, Vec<Cost>)| {
            costs[case].served.bytes / if per_agent { *nodes as u64 } else { 1 }
        };
        let bytes: Vec<u64> = all.iter().map(bytes).collect();
        let (few, many) = (bytes[0], bytes[bytes.len() - 1]);
        ensure!(
            many * 4 < few * 5,
            "{name}: the bytes grow with the nodes: {bytes:?}"
        );
    }
    println!(
        "| for each time that | nodes | requests | changes sent to watches | bytes | CPU of all agents |"
    );
    println!("|---|---|---|---|---|---|");
    for (case, name) in CASES.iter().enumerate() {
        for (nodes, costs) in &all {
            let Cost { served, cpu } = &costs[case];
            let each = |count: u64| count as f64 / TIMES as f64;
            println!(
                "| {name} | {nodes} | {:.1} | {:.1} | {:.0} | {:.1} ms |",
                each(served.requests),
                each(served.changes),
                each(served.bytes),
                cpu.as_secs_f64() * 1000.0 / TIMES as f64
            );
        }
    }
    Ok(())
}

fn name(node: usize) -> String {
    format!("node-{node}.example")
}

async fn measure(nodes: usize) -> Result<Vec<Cost>> {
    let server = ApiServer::start()?;
    server.tell_namespaces(vec![namespace(NAMESPACE, &json!({}))]);
    for node in 0..TIMES {
        let mut pod = pod(
            &format!("{SEEN}-{node}"),
            &format!("uid-{node}"),
            &json!({}),
            &["c1"],
        );
        pod["spec"]["nodeName"] = name(node).into();
        server.has(&pod);
    }
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(
        &kubeconfig,
        format!(
            "{{apiVersion: v1, kind: Config, clusters: [{{name: c, cluster: {{server: \"{}\"}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}], current-context: c}}",
            server.url()
        ),
    )?;
    let mut tasks = JoinSet::new();
    let mut agents = Vec::new();
    for number in 0..nodes {
        agents.push(start(&kubeconfig, number, &mut tasks).await?);
    }
    eventually("all agents watch", || server.watches() == nodes * WATCHES).await?;

    // The first time also opens connections.
    crash_all(&agents, "first", false).await?;
    let mut costs = vec![
        cost(&server, crash_all(&agents, "new", false)).await?,
        cost(&server, crash_all(&agents, "same", true)).await?,
    ];
    for pod in [SEEN, HIDDEN] {
        let before = server.in_phase("Failed");
        let requests = async {
            for agent in &agents[..TIMES] {
                let spec = CaptureSpec {
                    pod_name: format!("{pod}-{}", agent.number),
                    ..CaptureSpec::default()
                };
                let name = format!("wanted-{pod}-{}", agent.number);
                captures::create(&agent.client, Who::User, NAMESPACE, &name, spec).await?;
            }
            eventually("all requests are answered", || {
                server.in_phase("Failed") == before + TIMES
            })
            .await
        };
        costs.push(cost(&server, requests).await?);
    }
    Ok(costs)
}

/// What something costs, until its changes have reached all agents.
async fn cost(server: &ApiServer, what: impl Future<Output = Result<()>>) -> Result<Cost> {
    sleep(SETTLES).await;
    let (served, cpu) = (server.served(), thread_cpu()?);
    what.await?;
    sleep(SETTLES).await;
    let now = server.served();
    Ok(Cost {
        served: Served {
            requests: now.requests - served.requests,
            changes: now.changes - served.changes,
            bytes: now.bytes - served.bytes,
        },
        cpu: thread_cpu()? - cpu,
    })
}

fn thread_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

async fn eventually(what: &str, is: impl Fn() -> bool) -> Result<()> {
    for _ in 0..1200 {
        if is() {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("within a minute it does not happen that {what}")
}

/// Starts what the agent of a node does at the API server. It has nothing recorded of the pods on its node.
async fn start(kubeconfig: &Path, number: usize, tasks: &mut JoinSet<()>) -> Result<Node> {
    let options = Options {
        kubeconfig: Some(kubeconfig.to_owned()),
        context: None,
    };
    let client = connect::connect(&options, Who::Agent).await?.client;
    let (node, health) = (name(number), Health::new());
    let watched = pods::watch(client.clone(), &node, health.clone());
    tasks.spawn(watched.for_each(|_| async {}));
    let watched = namespaces::watch(client.clone(), health.clone());
    tasks.spawn(watched.for_each(|_| async {}));
    let captures = Captures::new(client.clone(), &node, WEEK, health.clone());
    let answering = captures.clone();
    tasks.spawn(captures.notices().for_each(move |notice| {
        let captures = answering.clone();
        async move {
            let Notice::Offered(offer) = notice else {
                return;
            };
            // A Capture that an agent has just made for a crash is offered, too, until it has its status.
            let asked = [SEEN, HIDDEN].map(|pod| format!("{pod}-{number}"));
            if !asked.contains(&offer.spec.pod_name) {
                return;
            }
            if let Ok(Some(claim)) = captures.claim(&offer).await {
                let failed = captures.fail(claim, "NothingRecorded", "nothing was recorded");
                drop(failed.await);
            }
        }
    }));
    Ok(Node {
        number,
        announcer: Announcer::new(client.clone(), &node, health),
        client,
    })
}

/// One pod crashes on each of some nodes: each with a fault of its own, or all with the fault of one Deployment.
async fn crash_all(agents: &[Node], what: &str, same: bool) -> Result<()> {
    for agent in &agents[..TIMES] {
        let pod = format!("{what}-{}", agent.number);
        let owner = if same { what.to_owned() } else { pod.clone() };
        crash(agent, &pod, owner).await.context(what.to_owned())?;
    }
    Ok(())
}

async fn crash(agent: &Node, pod: &str, owner: String) -> Result<()> {
    let fault = Fault {
        owner: Owner {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: owner,
            uid: None,
        },
        container: "app".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
    };
    let now = Timestamp::now();
    let file = format!("{pod}-app-0123456789");
    let announcement = Announcement {
        namespace: NAMESPACE.to_owned(),
        object: Object::OfFault(fault.clone()),
        spec: CaptureSpec {
            pod_name: pod.to_owned(),
            pod_uid: Some(format!("uid-{pod}")),
            container: Some("app".to_owned()),
            container_id: Some("c".repeat(64)),
            trigger: Trigger {
                kind: "restarts".to_owned(),
                detail: Some("5 restarts within 2 min".to_owned()),
            },
            ttl: None,
        },
        status: CaptureStatus {
            phase: Phase::Complete,
            node: Some(name(agent.number)),
            pod_uid: Some(format!("uid-{pod}")),
            container: Some("app".to_owned()),
            container_id: Some("c".repeat(64)),
            verdict: Some("app exited 1, 41 ms after start: DNS says no such host \"flask.default.svc.cluster.local\"".to_owned()),
            cause: Some("dns_no_such_host".to_owned()),
            fingerprint: Some(fault.fingerprint.clone()),
            confidence: Some(95),
            runs: Some(5),
            size_bytes: Some(123_456),
            losses: Some(Losses::default()),
            location: Some(Location {
                node_path: Some(format!("/var/lib/lastword/captures/{NAMESPACE}/{file}.lwcap")),
                object_url: None,
            }),
            sha256: Some("a".repeat(64)),
            taken_at: Some(now.into()),
            finished_at: Some(now.into()),
            file: Some(file.clone()),
            ..CaptureStatus::default()
        },
        kind: ContainerKind::App,
        ended: now,
        recurred: None,
        fault: Some(fault.clone()),
    };
    if let Standing::Similar { .. } = agent.announcer.announce(&announcement).await? {
        let similar = SimilarPod {
            pod_name: pod.to_owned(),
            node: name(agent.number),
            file: file.clone(),
            taken_at: Some(now.into()),
        };
        agent
            .announcer
            .add(NAMESPACE, &fault, &file, &[similar])
            .await?;
    }
    Ok(())
}
