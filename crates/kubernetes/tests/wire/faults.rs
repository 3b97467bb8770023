use std::{ops::Range, time::Duration};

use futures::future::join_all;
use kubernetes::{
    Timestamp,
    capture::{CaptureSpec, SimilarPod},
    faults::{Fault, Faults, Standing},
    owner::Owner,
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Trouble};

fn fault_of(pod: &Value) -> Fault {
    Fault {
        owner: Owner::of(pod).unwrap(),
        container: "main".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
    }
}

/// A replica of the Deployment `web`.
fn replica(number: u32) -> Value {
    json!({"metadata": {
        "name": format!("web-5796d5bc7c-{number}"), "labels": {"pod-template-hash": "5796d5bc7c"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5796d5bc7c", "uid": "u", "controller": true}],
    }})
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The agent of a node.
struct Agent {
    faults: Faults,
    node: String,
}

impl Agent {
    fn new(cluster: &Cluster, node: u32) -> Self {
        let node = format!("n{node}");
        Self {
            faults: Faults::new(cluster.client(), &node),
            node,
        }
    }

    /// Whether the file about a pod gets a Capture of its own. Tries until that is known.
    async fn stands(&self, pod: &Value) -> bool {
        let spec = CaptureSpec {
            pod_name: name(pod),
            ..CaptureSpec::default()
        };
        loop {
            match self
                .faults
                .stand("shop", &fault_of(pod), &name(pod), &spec)
                .await
            {
                Ok(standing) => return matches!(standing, Standing::Own(_)),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Adds pods to the similar ones. Tries until that is done; whoever is `killed` stops in the middle and begins anew.
    async fn add(&self, addition: &str, pods: &[Value], killed: bool) {
        let files: Vec<SimilarPod> = pods.iter().map(|pod| self.file(pod)).collect();
        let fault = fault_of(&pods[0]);
        if killed {
            let adding = self.faults.add("shop", &fault, addition, &files);
            let _ = tokio::time::timeout(Duration::from_millis(1), adding).await;
        }
        while self
            .faults
            .add("shop", &fault, addition, &files)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn file(&self, pod: &Value) -> SimilarPod {
        SimilarPod {
            pod_name: name(pod),
            node: self.node.clone(),
            file: name(pod),
            taken_at: Some(Timestamp::UNIX_EPOCH.into()),
        }
    }
}

/// All pods of a node crash: some get Captures, and the others are added.
async fn crash(cluster: &Cluster, node: u32, pods: Range<u32>) {
    let agent = Agent::new(cluster, node);
    let mut similar = Vec::new();
    for pod in pods.map(replica) {
        if !agent.stands(&pod).await {
            similar.push(pod);
        }
    }
    // In several additions, as minutes pass.
    for (minute, pods) in similar.chunks(3).enumerate() {
        agent
            .add(&format!("{node}-{minute}"), pods, node.is_multiple_of(2))
            .await;
    }
}

fn similar(capture: &Value) -> i64 {
    capture["status"]["similar"].as_i64().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn of_200_pods_three_have_captures_and_197_are_counted_once() {
    for (loses, disturbs) in [(0, 0), (3, 0), (0, 3), (3, 2)] {
        let cluster = Cluster::with(Trouble { loses, disturbs });
        let nodes = (0..20).map(|node| crash(&cluster, node, node * 10..node * 10 + 10));
        join_all(nodes).await;
        let captures = cluster.captures();
        let counts: Vec<i64> = captures.iter().map(similar).collect();
        assert_eq!(counts, [197, 0, 0]);
        assert_eq!(
            captures[0]["status"]["similarPods"]
                .as_array()
                .unwrap()
                .len(),
            10
        );
        let agent = Agent::new(&cluster, 0);
        let count = agent.faults.count("shop", &fault_of(&replica(0))).await;
        assert_eq!(count.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_anew_finds_its_captures() {
    let cluster = Cluster::default();
    for _ in 0..2 {
        for number in 0..4 {
            let own = Agent::new(&cluster, number).stands(&replica(number)).await;
            assert_eq!(own, number < 3, "{number}");
        }
    }
    assert_eq!(cluster.captures().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_deleted_capture_is_taken_by_the_next() {
    let cluster = Cluster::default();
    let agent = Agent::new(&cluster, 0);
    for number in 0..3 {
        agent.stands(&replica(number)).await;
    }
    let deleted = fault_of(&replica(0)).slots().next().unwrap();
    cluster.delete(&deleted);
    agent.add("a", &[replica(7)], false).await;
    assert_eq!(
        cluster.captures().iter().map(similar).collect::<Vec<_>>(),
        [1, 0]
    );
    assert!(agent.stands(&replica(8)).await);
    assert_eq!(cluster.captures().len(), 3);
    // The file was counted in a Capture that is the second one now.
    agent.add("a", &[replica(7)], false).await;
    assert_eq!(
        cluster.captures().iter().map(similar).collect::<Vec<_>>(),
        [0, 1, 0]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_capture_nothing_is_added() {
    let agent = Agent::new(&Cluster::default(), 0);
    let files = [agent.file(&replica(0))];
    let added = agent
        .faults
        .add("shop", &fault_of(&replica(0)), "a", &files)
        .await;
    assert_eq!(added.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_that_fails_each_minute_for_a_day_leaves_three_captures() {
    let cluster = Cluster::default();
    let agent = Agent::new(&cluster, 0);
    let begin = Timestamp::from_second(1_796_065_200).unwrap();
    for minute in 0..24 * 60 {
        let scheduled = begin + Duration::from_secs(minute * 60);
        let job = format!("report-{}", scheduled.as_second() / 60);
        let pod = json!({"metadata": {
            "name": format!("{job}-x2x9z"), "creationTimestamp": scheduled.to_string(),
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job, "controller": true}],
        }});
        if !agent.stands(&pod).await {
            agent.add(&job, &[pod], false).await;
        }
    }
    let captures = cluster.captures();
    assert_eq!(
        captures.iter().map(similar).collect::<Vec<_>>(),
        [1437, 0, 0]
    );
    let bytes = captures[0].to_string().len();
    assert!(bytes < 16 * 1024, "{bytes} bytes");
    assert!(
        cluster.requests() < 4 * 24 * 60,
        "{} requests",
        cluster.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn other_faults_have_captures_of_their_own() {
    let cluster = Cluster::default();
    let agent = Agent::new(&cluster, 0);
    for number in 0..4 {
        agent.stands(&replica(number)).await;
    }
    let mut other = fault_of(&replica(5));
    other.fingerprint = "fedcba9876543210".to_owned();
    let stood = agent
        .faults
        .stand("shop", &other, "f", &CaptureSpec::default())
        .await;
    assert!(matches!(stood, Ok(Standing::Own(_))), "{stood:?}");
    assert_eq!(cluster.captures().len(), 4);
}
