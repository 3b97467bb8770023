use std::future::pending;

use kube::{
    Api,
    api::ListParams,
    runtime::wait::{await_condition, conditions::is_pod_running},
};
use kubernetes::{
    Error,
    capture::{Capture, CaptureSpec, CaptureStatus, Location, Phase},
    capture_read::CaptureRead,
    fetch,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::scene::Scene;

/// Serves 300,000 known bytes, some of which are not text, as an agent does for a capture called `web`. It asks nobody
/// who may read.
const AGENT: &str = r#"
folder=/tmp/www/api/v1/namespaces/$NAMESPACE/captures/web
mkdir -p $folder
i=0; while [ $i -lt 3000 ]; do printf '%099d\377' $i; i=$((i+1)); done > $folder/file
exec busybox httpd -f -p 127.0.0.1:9441 -h /tmp/www
"#;

fn content() -> Vec<u8> {
    let mut content = Vec::new();
    for i in 0..3000 {
        content.extend(format!("{i:099}").bytes());
        content.push(0xff);
    }
    content
}

fn capture(scene: &Scene, name: &str, node: &str, sha256: &str, uploaded: bool) -> Capture {
    let mut capture = Capture::new(name, CaptureSpec::default());
    capture.metadata.namespace = Some(scene.namespace.clone());
    capture.status = Some(CaptureStatus {
        phase: Phase::Complete,
        node: Some(node.to_owned()),
        sha256: Some(sha256.to_owned()),
        location: uploaded.then(|| Location {
            object_url: Some("s3://bucket/key".to_owned()),
            ..Location::default()
        }),
        ..CaptureStatus::default()
    });
    capture
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn a_file_is_read_from_the_agent_of_its_node_or_through_another_from_object_storage() {
    let scene = Scene::new("fetch").await;
    let labels =
        json!({"app.kubernetes.io/name": "lastword", "app.kubernetes.io/component": "agent"});
    let agent = AGENT.replace("$NAMESPACE", &scene.namespace);
    scene.pod("lastword-x", "agent", labels, &agent).await;
    let pod = await_condition(scene.pods(), "lastword-x", is_pod_running()).await;
    let node = pod.unwrap().unwrap().spec.unwrap().node_name.unwrap();
    let content = content();
    let digest = Sha256::digest(&content);
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let agents = Some(scene.namespace.as_str());

    let mut out = Vec::new();
    let local = capture(&scene, "web", &node, &sha256, false);
    let read = fetch::read(&scene.client, &local, None, agents, &mut out, pending()).await;
    let fetched = read.unwrap();
    assert!(out == content && fetched.verified && fetched.bytes == 300_000);

    let mut out = Vec::new();
    let remote = capture(&scene, "web", "gone", &sha256, true);
    let read = fetch::read(&scene.client, &remote, None, None, &mut out, pending()).await;
    read.unwrap();
    assert!(out == content);

    let mut out = Vec::new();
    let damaged = capture(&scene, "web", &node, "00", false);
    let read = fetch::read(&scene.client, &damaged, None, agents, &mut out, pending()).await;
    let message = read.unwrap_err().to_string();
    assert!(message.contains(&sha256), "{message}");
    let reads: Api<CaptureRead> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let left = reads.list(&ListParams::default()).await.unwrap().items;
    assert!(left.is_empty(), "{left:?}");

    let mut out = Vec::new();
    let lost = capture(&scene, "web", "gone", &sha256, false);
    let error = fetch::read(&scene.client, &lost, None, agents, &mut out, pending())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no agent is ready on node gone"),
        "{error}"
    );
    let missing = capture(&scene, "missing", &node, &sha256, false);
    let error = fetch::read(&scene.client, &missing, None, agents, &mut out, pending())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("agent lastword-x: <HTML>"),
        "{error}"
    );
    assert!(matches!(error, Error::Fetch(_)));
    scene.end().await;
}
