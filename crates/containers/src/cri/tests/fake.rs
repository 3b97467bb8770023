//! A fake container runtime inside this process, with a socket of its own.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use futures::stream;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tonic::Response;
use tonic::body::Body;
use tonic::server::{Grpc as ServerGrpc, UnaryService};
use tonic::transport::Server;

use super::*;
use crate::cri::messages::*;

/// How the runtime in the test behaves.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Behaviour {
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
                    // kubelet removes the container right after it was listed
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
pub(super) struct FakeRuntime {
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl FakeRuntime {
    pub(super) fn start(behaviour: Behaviour) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), behaviour)
    }

    pub(super) fn start_in(folder: tempfile::TempDir, behaviour: Behaviour) -> Self {
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

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }

    pub(super) fn stop(self) -> tempfile::TempDir {
        drop(self.stop);
        self.thread.join().unwrap();
        self.folder
    }

    pub(super) async fn connect(&self) -> Result<(Client, Version), CriError> {
        Client::connect(Some(self.socket().to_str().unwrap())).await
    }
}
