mod fake;

use tonic::Code;

use super::*;
use fake::{Behaviour, FakeRuntime};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const GONE: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

#[tokio::test]
async fn reads_containers_with_what_kubelet_called_them() {
    let runtime = FakeRuntime::start(Behaviour::Good);
    let endpoint = format!("unix://{}", runtime.socket().display());
    let (client, version) = Client::connect(Some(&endpoint)).await.unwrap();
    assert_eq!(version.runtime, "containerd");
    assert_eq!(version.version, "2.1");

    let found = client.container(B).await.unwrap().unwrap();
    assert_eq!(
        found,
        types::Container {
            id: B.into(),
            pod_uid: POD.into(),
            namespace: "shop".into(),
            pod_name: "web-1".into(),
            name: "nginx".into(),
            attempt: 4,
            state: State::Running,
            created_at: Some(1_000),
            image: "nginx:1".into(),
            image_id: "docker.io/library/nginx@sha256:5678".into(),
        }
    );
    assert_eq!(client.container(POD).await.unwrap(), None);
}

#[tokio::test]
async fn reads_how_containers_ended_and_skips_those_removed_meanwhile() {
    let runtime = FakeRuntime::start(Behaviour::Good);
    let (client, _) = runtime.connect().await.unwrap();
    assert_eq!(client.containers().await.unwrap().len(), 3);
    let statuses = client.statuses().await.unwrap();
    let read: Vec<_> = statuses
        .iter()
        .map(|status| {
            (
                status.container.id.as_str(),
                status.container.attempt,
                status.exit_code,
                status.finished_at,
                status.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            (A, 3, Some(137), Some(3_000), "OOMKilled"),
            (B, 4, None, None, ""),
        ]
    );
}

#[tokio::test]
async fn keeps_of_a_sandbox_only_what_is_the_pods_and_ours() {
    let runtime = FakeRuntime::start(Behaviour::Good);
    let (client, _) = runtime.connect().await.unwrap();
    let sandbox = client.sandbox(GONE).await.unwrap().unwrap();
    assert_eq!((sandbox.pod_uid.as_str(), sandbox.ready), (POD, false));
    assert_eq!(
        sandbox.labels,
        [
            ("app".into(), "web".into()),
            ("io.kubernetes.container.name".into(), "nginx".into())
        ]
        .into()
    );
    assert_eq!(
        sandbox.annotations,
        [("lastword.dev/capture".into(), "off".into())].into()
    );
    assert_eq!(client.sandbox(A).await.unwrap(), None);
}

#[tokio::test]
async fn connects_again_after_the_runtime_restarted() {
    let runtime = FakeRuntime::start(Behaviour::Good);
    let (client, _) = runtime.connect().await.unwrap();
    let folder = runtime.stop();
    assert!(matches!(
        client.version().await,
        Err(CriError::NotListening(_) | CriError::Failed { .. })
    ));
    std::fs::remove_file(client.socket()).unwrap();
    assert!(matches!(client.version().await, Err(CriError::Missing(_))));
    let _runtime = FakeRuntime::start_in(folder, Behaviour::Good);
    assert_eq!(client.version().await.unwrap().runtime, "containerd");
}

#[tokio::test]
async fn says_what_is_wrong_with_the_runtime() {
    let old = FakeRuntime::start(Behaviour::OnlyOldVersion);
    assert!(matches!(old.connect().await, Err(CriError::OldVersion(_))));
    let none = FakeRuntime::start(Behaviour::NoCri);
    assert!(matches!(none.connect().await, Err(CriError::NoCri(_))));

    let silent = FakeRuntime::start(Behaviour::Silent);
    let socket = silent.socket();
    let timeout = Duration::from_millis(20);
    let answer = Client::connect_within(timeout, socket.to_str()).await;
    let Err(error @ CriError::TimedOut { .. }) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        error
            .to_string()
            .contains("did not answer Version within 0.02 s")
    );
}

#[tokio::test]
async fn refuses_answers_that_are_too_large() {
    let runtime = FakeRuntime::start(Behaviour::Huge);
    let (client, _) = runtime.connect().await.unwrap();
    assert!(matches!(
        client.containers().await,
        Err(CriError::TooLarge {
            call: "ListContainers",
            ..
        })
    ));
}

#[tokio::test]
async fn says_what_is_wrong_with_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sock");
    assert!(matches!(
        Client::connect(missing.to_str()).await,
        Err(CriError::Missing(path)) if path == missing
    ));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        Client::connect(file.to_str()).await,
        Err(CriError::NotListening(path)) if path == file
    ));

    for bad in ["tcp://127.0.0.1:1234", "run/containerd.sock", ""] {
        assert!(matches!(
            Client::connect(Some(bad)).await,
            Err(CriError::BadEndpoint(_))
        ));
    }
    assert!(
        CriError::NoSocket
            .to_string()
            .contains("/run/crio/crio.sock, /run/k3s/containerd/containerd.sock")
    );
}

#[test]
fn knows_dockers_way_of_saying_that_there_is_no_such_container() {
    let status = tonic::Status::new(Code::Unknown, "Error: No such container: abc");
    assert!(CriError::new(Path::new("/s"), "ContainerStatus", &status).is_absence());
    let status = tonic::Status::new(Code::Unknown, "disk on fire");
    assert!(!CriError::new(Path::new("/s"), "ContainerStatus", &status).is_absence());
}
