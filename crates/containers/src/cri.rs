//! A client of the container runtime interface (CRI, `runtime.v1`), the protocol that the kubelet and its container
//! runtime speak over a socket.
//!
//! The client only lists things; it never changes anything. It connects again when the connection is lost. It waits at
//! most [`TIMEOUT`] for an answer, and refuses an answer larger than [`MAX_MESSAGE`].

mod error;
mod messages;
mod types;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

pub use error::CriError;
pub use types::{Container, Sandbox, State, Status, Version};

/// Where runtimes listen, in the order in which the sockets are tried: containerd, CRI-O, k3s and RKE2, cri-dockerd.
pub const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
];

/// How long to wait for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes; kubelet has the same limit.
pub const MAX_MESSAGE: usize = 16 << 20;

struct Call {
    path: &'static str,
    name: &'static str,
}

macro_rules! call {
    ($name:literal) => {
        call!("runtime.v1", $name)
    };
    ($version:literal, $name:literal) => {
        Call {
            path: concat!("/", $version, ".RuntimeService/", $name),
            name: $name,
        }
    };
}

/// A connection to the container runtime. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    grpc: Grpc<Channel>,
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Connects to `endpoint`, a path that may begin with `unix://`. Without an endpoint, it connects to the first of
    /// [`SOCKETS`] that exists.
    ///
    /// # Errors
    ///
    /// If the socket does not exist or may not be opened, or if no runtime answers there that speaks `runtime.v1`.
    pub async fn connect(endpoint: Option<&str>) -> Result<(Self, Version), CriError> {
        Self::connect_within(TIMEOUT, endpoint).await
    }

    async fn connect_within(
        timeout: Duration,
        endpoint: Option<&str>,
    ) -> Result<(Self, Version), CriError> {
        let socket = match endpoint {
            Some(endpoint) => socket_of(endpoint)?,
            None => SOCKETS
                .iter()
                .map(PathBuf::from)
                .find(|socket| socket.exists())
                .ok_or(CriError::NoSocket)?,
        };
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(|_| CriError::BadEndpoint(socket.display().to_string()))?
            .connect_lazy();
        let client = Self {
            grpc: Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE),
            socket,
            timeout,
        };
        match client.version().await {
            Ok(version) => Ok((client, version)),
            Err(CriError::NoCri(socket)) if client.is_old().await => {
                Err(CriError::OldVersion(socket))
            }
            Err(error) => Err(error),
        }
    }

    /// The socket that it is connected to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Name and version of the runtime.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn version(&self) -> Result<Version, CriError> {
        let version: messages::VersionResponse = self
            .call(call!("Version"), messages::VersionRequest {})
            .await?;
        Ok(Version {
            runtime: version.runtime_name,
            version: version.runtime_version,
        })
    }

    /// All containers, running or not, except those of sandboxes.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn containers(&self) -> Result<Vec<Container>, CriError> {
        self.list_containers(None).await
    }

    /// The container with this id, if it exists. A sandbox does not count.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn container(&self, id: &str) -> Result<Option<Container>, CriError> {
        let found = self.list_containers(Some(id)).await?;
        Ok(found.into_iter().find(|container| container.id == id))
    }

    /// All sandboxes.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn sandboxes(&self) -> Result<Vec<Sandbox>, CriError> {
        self.list_sandboxes(None).await
    }

    /// The sandbox with this id, if it exists.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn sandbox(&self, id: &str) -> Result<Option<Sandbox>, CriError> {
        let found = self.list_sandboxes(Some(id)).await?;
        Ok(found.into_iter().find(|sandbox| sandbox.id == id))
    }

    /// The state of a container, or how it ended; `None` if the runtime does not know it (any more).
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn status(&self, id: &str) -> Result<Option<Status>, CriError> {
        let request = messages::ContainerStatusRequest {
            container_id: id.into(),
        };
        let answer: Result<messages::ContainerStatusResponse, _> =
            self.call(call!("ContainerStatus"), request).await;
        match answer {
            Ok(answer) => Ok(answer.status.map(Into::into)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The states of all containers, or how they ended, for an agent that starts: kubelet keeps the last ended
    /// container of each container of a pod.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn statuses(&self) -> Result<Vec<Status>, CriError> {
        let mut statuses = Vec::new();
        for container in self.containers().await? {
            statuses.extend(self.status(&container.id).await?);
        }
        Ok(statuses)
    }

    async fn list_containers(&self, id: Option<&str>) -> Result<Vec<Container>, CriError> {
        let request = messages::ListContainersRequest { filter: filter(id) };
        let list: messages::ListContainersResponse =
            self.call(call!("ListContainers"), request).await?;
        Ok(list.containers.into_iter().map(Into::into).collect())
    }

    async fn list_sandboxes(&self, id: Option<&str>) -> Result<Vec<Sandbox>, CriError> {
        let request = messages::ListPodSandboxRequest { filter: filter(id) };
        let list: messages::ListPodSandboxResponse =
            self.call(call!("ListPodSandbox"), request).await?;
        Ok(list.items.into_iter().map(Into::into).collect())
    }

    /// Whether the runtime answers in the version before.
    async fn is_old(&self) -> bool {
        let call = call!("runtime.v1alpha2", "Version");
        self.call::<_, messages::VersionResponse>(call, messages::VersionRequest {})
            .await
            .is_ok()
    }

    async fn call<Q, A>(&self, call: Call, request: Q) -> Result<A, CriError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let answer = async {
            grpc.ready()
                .await
                .map_err(|error| tonic::Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(call.path);
            grpc.unary(Request::new(request), path, ProstCodec::default())
                .await
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(CriError::new(&self.socket, call.name, &status)),
            Err(_) => Err(CriError::TimedOut {
                socket: self.socket.clone(),
                call: call.name,
                after: self.timeout,
            }),
        }
    }
}

fn socket_of(endpoint: &str) -> Result<PathBuf, CriError> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    let path = Path::new(path);
    path.is_absolute()
        .then(|| path.to_owned())
        .ok_or_else(|| CriError::BadEndpoint(endpoint.into()))
}

fn filter(id: Option<&str>) -> Option<messages::IdFilter> {
    id.map(|id| messages::IdFilter { id: id.into() })
}

#[cfg(test)]
mod tests;
