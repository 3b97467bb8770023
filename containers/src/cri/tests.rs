use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use futures::stream;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::server::{Grpc as ServerGrpc, UnaryService};
use tonic::transport::Server;
use tonic::{Code, Response};

use super::messages::*;
use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const GONE: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// How the runtime in the test behaves.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Good,
    OnlyOldVersion,
    NoCri,
    Silent,
    Huge,
}

struct Handler<F>(F);

impl<F, Q, A> UnaryService<Q> for Handler<F>
where
    F: FnMut(Q) -> Result<A, tonic::Status>,
{
    type Response = A;
    type Future = std::future::Ready<Result<Response<A>, tonic::Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}

async fn answer<Q, A, F>(request: http::Request<Body>, handler: F) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: FnMut(Q) -> Result<A, tonic::Status>,
{
    ServerGrpc::new(ProstCodec::<A, Q>::default())
        .unary(Handler(handler), request)
        .await
}

fn labels() -> BTreeMap<String, String> {
    [
        ("io.kubernetes.pod.name", "web-1"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", POD),
        ("io.kubernetes.container.name", "nginx"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

fn container(id: &str, attempt: u32, state: ContainerState) -> messages::Container {
    messages::Container {
        id: id.into(),
        metadata: Some(ContainerMetadata {
            name: "nginx".into(),
            attempt,
        }),
        image: Some(ImageSpec {
            image: "sha256:1234".into(),
            user_specified_image: "nginx:1".into(),
        }),
        image_ref: "docker.io/library/nginx@sha256:5678".into(),
        state: state.into(),
        created_at: 1_000,
        labels: labels(),
    }
}

async fn serve(
    behaviour: Behaviour,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    if behaviour == Behaviour::Silent {
        std::future::pending::<()>().await;
    }
    let path = request.uri().path().to_owned();
    let version = match behaviour {
        Behaviour::OnlyOldVersion => "runtime.v1alpha2",
        Behaviour::NoCri => "none",
        _ => "runtime.v1",
    };
    let call = path
        .strip_prefix(&format!("/{version}.RuntimeService/"))
        .unwrap_or("unknown");
    let all = [
        container(A, 3, ContainerState::Exited),
        container(B, 4, ContainerState::Running),
    ];
    Ok(match call {
        "Version" => {
            answer(request, |_: VersionRequest| {
                Ok(VersionResponse {
                    runtime_name: "containerd".into(),
                    runtime_version: "2.1".into(),
                })
            })
            .await
        }
        "ListContainers" => {
            answer(request, |request: ListContainersRequest| {
                if behaviour == Behaviour::Huge {
                    let mut huge = container(A, 0, ContainerState::Running);
                    huge.image_ref = "x".repeat(MAX_MESSAGE);
                    return Ok(ListContainersResponse {
                        containers: vec![huge],
                    });
                }
                let mut containers = all.to_vec();
                match request.filter {
                    Some(filter) => containers.retain(|container| container.id == filter.id),
                    // removed by kubelet right after it was listed
                    None => containers.push(container(GONE, 2, ContainerState::Exited)),
                }
                Ok(ListContainersResponse { containers })
            })
            .await
        }
        "ContainerStatus" => {
            answer(request, |request: ContainerStatusRequest| {
                let found = all
                    .iter()
                    .find(|container| container.id == request.container_id)
                    .ok_or_else(|| tonic::Status::not_found("not found"))?;
                let ended = found.state == i32::from(ContainerState::Exited);
                Ok(ContainerStatusResponse {
                    status: Some(ContainerStatus {
                        id: found.id.clone(),
                        metadata: found.metadata.clone(),
                        state: found.state,
                        created_at: found.created_at,
                        started_at: 2_000,
                        finished_at: if ended { 3_000 } else { 0 },
                        exit_code: if ended { 137 } else { 0 },
                        image: found.image.clone(),
                        image_ref: found.image_ref.clone(),
                        reason: if ended {
                            "OOMKilled".into()
                        } else {
                            String::new()
                        },
                        message: String::new(),
                        labels: found.labels.clone(),
                    }),
                })
            })
            .await
        }
        "ListPodSandbox" => {
            answer(request, |_: ListPodSandboxRequest| {
                let mut sandbox_labels = labels();
                sandbox_labels.insert("app".into(), "web".into());
                Ok(ListPodSandboxResponse {
                    items: vec![PodSandbox {
                        id: GONE.into(),
                        metadata: Some(PodSandboxMetadata {
                            name: "web-1".into(),
                            uid: POD.into(),
                            namespace: "shop".into(),
                        }),
                        state: 1,
                        labels: sandbox_labels,
                        annotations: [
                            ("lastword.dev/capture".into(), "off".into()),
                            ("secret.example/token".into(), "x".into()),
                        ]
                        .into(),
                    }],
                })
            })
            .await
        }
        _ => tonic::Status::unimplemented(format!("unknown service {path}")).into_http(),
    })
}

/// A runtime at a socket in a folder of its own. Its connections end when it is stopped.
struct FakeRuntime {
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl FakeRuntime {
    fn start(behaviour: Behaviour) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), behaviour)
    }

    fn start_in(folder: tempfile::TempDir, behaviour: Behaviour) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("cri.sock"));
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let executor = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            executor.block_on(async {
                let listener = UnixListener::from_std(listener).unwrap();
                let incoming = stream::unfold(listener, |listener| async {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    Some((accepted, listener))
                });
                let service = tower::service_fn(move |request| serve(behaviour, request));
                tokio::select! {
                    served = Server::builder().serve_with_incoming(service, incoming) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            folder,
            stop,
            thread,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }

    fn stop(self) -> tempfile::TempDir {
        drop(self.stop);
        self.thread.join().unwrap();
        self.folder
    }

    async fn connect(&self) -> Result<(Client, Version), CriError> {
        Client::connect(Some(self.socket().to_str().unwrap())).await
    }
}

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
