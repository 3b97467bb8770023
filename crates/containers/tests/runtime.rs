//! Against a real container runtime that has pods, one of which restarts:
//! `LASTWORD_CRI_SOCKET=/run/containerd/containerd.sock cargo test -p containers --test runtime -- --ignored`
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use containers::cri::{Client, State};
use containers::directory::Directory;
use containers::hierarchy::{Hierarchy, detect};
use containers::path::{is_id, parse};

async fn connect() -> Client {
    let socket = std::env::var("LASTWORD_CRI_SOCKET").expect("LASTWORD_CRI_SOCKET names a socket");
    let (client, version) = Client::connect(Some(&socket)).await.unwrap();
    assert!(!version.runtime.is_empty() && !version.version.is_empty());
    client
}

#[tokio::test]
#[ignore = "needs the socket of a container runtime in LASTWORD_CRI_SOCKET"]
async fn names_everything_that_a_real_runtime_has() {
    let client = connect().await;
    let sandboxes = client.sandboxes().await.unwrap();
    let containers = client.containers().await.unwrap();
    assert!(!sandboxes.is_empty() && !containers.is_empty());

    let mut directory = Directory::default();
    directory.saw_cri(&sandboxes, &containers, Duration::ZERO);
    for sandbox in &sandboxes {
        assert!(is_id(&sandbox.id), "{sandbox:?}");
        assert!(directory.is_sandbox(&sandbox.id));
        assert_eq!(directory.container(&sandbox.id), None);
        let found = client.sandbox(&sandbox.id).await.unwrap().unwrap();
        assert_eq!(found.pod_uid, sandbox.pod_uid);
        assert_eq!(client.container(&sandbox.id).await.unwrap(), None);
    }
    for container in &containers {
        assert!(is_id(&container.id), "{container:?}");
        assert!(!container.image_id.is_empty(), "{container:?}");
        assert!(container.created_at.is_some(), "{container:?}");
        let known = directory.container(&container.id).unwrap();
        assert!(!known.name.is_empty() && !known.pod.name.is_empty());
        let of_pod = (sandboxes.iter()).find(|sandbox| sandbox.pod_uid == container.pod_uid);
        assert_eq!(of_pod.unwrap().namespace, container.namespace);
    }
    assert_eq!(client.container(&"0".repeat(64)).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs the socket of a container runtime in LASTWORD_CRI_SOCKET"]
async fn reads_how_real_containers_ended() {
    let client = connect().await;
    let statuses = client.statuses().await.unwrap();
    let ended: Vec<_> = (statuses.iter())
        .filter(|status| status.container.state == State::Exited)
        .collect();
    assert!(!ended.is_empty(), "no container has ended yet");
    assert!(
        ended.iter().any(|status| status.container.attempt > 0),
        "no container has been restarted yet"
    );
    for status in &ended {
        assert!(
            status.finished_at > status.container.created_at,
            "{status:?}"
        );
        assert!(status.exit_code.is_some(), "{status:?}");
        assert!(!status.reason.is_empty(), "{status:?}");
    }
    for status in &statuses {
        if status.container.state == State::Running {
            assert_eq!((status.finished_at, status.exit_code), (None, None));
            assert!(status.started_at >= status.container.created_at);
        }
    }
    assert_eq!(client.status(&"0".repeat(64)).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs the socket of a container runtime in LASTWORD_CRI_SOCKET"]
async fn finds_the_cgroups_of_real_containers() {
    let client = connect().await;
    let before = client.containers().await.unwrap();
    let found = detect(Path::new("/sys/fs/cgroup")).unwrap();
    let mut pod_uids = HashMap::new();
    walk(&found.mount, &mut |path| {
        if let Some(parsed) = parse(path.to_str().unwrap()) {
            pod_uids.insert(parsed.container, parsed.pod_uid);
        }
    });
    let after = client.containers().await.unwrap();
    let lived = (before.iter())
        .filter(|container| container.state == State::Running && after.contains(container));
    let mut count = 0;
    for container in lived {
        count += 1;
        let pod_uid = pod_uids.get(&container.id).expect("its cgroup");
        assert_eq!(pod_uid.as_ref(), Some(&container.pod_uid), "{container:?}");
    }
    assert!(count > 0, "no container is running");
    assert!(found.containers >= count);
    // runc 1.1 and crun put containers into the unified hierarchy, also on hybrid nodes
    assert_eq!(found.hierarchy, Hierarchy::Unified);
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path());
            walk(&entry.path(), visit);
        }
    }
}
