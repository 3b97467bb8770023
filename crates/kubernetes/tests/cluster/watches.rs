use futures::StreamExt as _;
use kube::{
    Client, Config,
    api::DeleteParams,
    config::{AuthInfo, KubeConfigOptions},
};
use kubernetes::{
    Change, Error, Health, namespaces,
    pods::{self, ContainerKind, ContainerState, PodInfo},
};
use tokio::time::timeout;

use crate::scene::{PATIENCE, Scene};

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn a_pod_is_followed_from_its_start_over_a_restart_to_its_end() {
    let scene = Scene::new("pods").await;
    let uid = scene
        .pod(
            "crash",
            "main",
            serde_json::json!({"app": "crash"}),
            "sleep 1; exit 3",
        )
        .await;
    let node = {
        let placed = |pod: Option<&k8s_openapi::api::core::v1::Pod>| {
            pod.is_some_and(|pod| {
                pod.spec
                    .as_ref()
                    .is_some_and(|spec| spec.node_name.is_some())
            })
        };
        let pod = kube::runtime::wait::await_condition(scene.pods(), "crash", placed).await;
        pod.unwrap().unwrap().spec.unwrap().node_name.unwrap()
    };
    let health = Health::new();
    let mut changes = pods::watch(scene.client.clone(), &node, health.clone());
    let mut synced = false;
    let crashed: PodInfo = timeout(PATIENCE, async {
        loop {
            match changes.next().await.unwrap() {
                Change::Synced => synced = true,
                Change::Changed(pod) if pod.uid == uid && pod.containers[0].restart_count > 0 => {
                    break pod;
                }
                Change::Changed(_) | Change::Gone { .. } => {}
            }
        }
    })
    .await
    .unwrap();
    assert!(synced);
    assert!(health.subscribe().borrow().is_up());
    assert_eq!(
        (crashed.namespace.as_str(), crashed.name.as_str()),
        (scene.namespace.as_str(), "crash")
    );
    assert_eq!(crashed.labels["app"], "crash");
    assert_eq!(crashed.annotations.len(), 1, "{:?}", crashed.annotations);
    assert!(!crashed.terminating);
    let container = &crashed.containers[0];
    assert_eq!(
        (container.kind, container.image.as_str()),
        (ContainerKind::App, "localhost/busybox:1")
    );
    assert_eq!(
        crashed.object["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "32Mi"
    );
    let last = container.last.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (3, "Error"));
    assert_eq!(last.container_id.as_ref().unwrap().len(), 64);
    assert!(last.started <= last.finished);
    assert!(
        !matches!(&container.state, ContainerState::Waiting { reason, .. } if reason.is_empty()),
        "{:?}",
        container.state
    );

    scene
        .pods()
        .delete("crash", &DeleteParams::default())
        .await
        .unwrap();
    let mut terminating = false;
    timeout(PATIENCE, async {
        loop {
            match changes.next().await.unwrap() {
                Change::Changed(pod) if pod.uid == uid => terminating |= pod.terminating,
                Change::Gone { uid: gone } if gone == uid => break,
                _ => {}
            }
        }
    })
    .await
    .unwrap();
    assert!(terminating);
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn namespaces_are_told_with_their_labels() {
    let scene = Scene::new("labels").await;
    let mut changes = namespaces::watch(scene.client.clone(), Health::new());
    let found = timeout(PATIENCE, async {
        loop {
            match changes.next().await.unwrap() {
                Change::Changed(namespace) if namespace.name == scene.namespace => break true,
                Change::Synced => break false,
                _ => {}
            }
        }
    });
    assert!(found.await.unwrap());
    scene.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster: cargo test -p kubernetes --test cluster -- --ignored"]
async fn a_missing_permission_is_told_with_the_rule_that_is_missing() {
    let mut config = Config::from_kubeconfig(&KubeConfigOptions::default())
        .await
        .unwrap();
    config.auth_info = AuthInfo {
        impersonate: Some("system:serviceaccount:default:nobody".to_owned()),
        ..config.auth_info
    };
    let client = Client::try_from(config).unwrap();
    let error = pods::get(&client, "default", "web").await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("get pods (API group \"\")")
            && message.contains("ClusterRole lastword-agent"),
        "{message}"
    );

    let health = Health::new();
    let mut standing = health.subscribe();
    let mut changes = pods::watch(client, "node-1", health);
    tokio::select! {
        _ = changes.next() => panic!("nothing can be told"),
        changed = timeout(PATIENCE, standing.changed()) => changed.unwrap().unwrap(),
    }
    let standing = standing.borrow();
    let trouble = &standing.troubles["pods"];
    assert!(
        !trouble.away && trouble.message.contains("list pods"),
        "{trouble:?}"
    );
}
