//! Reading a file from an agent: a port-forward to its pod, and one request over it.
//!
//! Whatever comes from the agent is untrusted. Its node may be in somebody else's hands.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::Portforwarder};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::{AGENT_CONTAINER, Wanted};
use crate::{
    Error,
    capture_read::Proof,
    error::{USER_FORWARD, call, chain},
    name::hex,
};

/// The agent's container port of this name serves files.
const PORT_NAME: &str = "files";
/// Where an agent's pod has no port of that name.
const USUAL_PORT: u16 = 9441;
/// If no byte comes for this long, the agent is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// How many bytes of a refusal are reported.
const REFUSAL: usize = 4096;

/// Computes size and checksum of the bytes that pass.
#[derive(Clone)]
pub(super) struct Sum {
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.hash.update(data);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Size in bytes, and SHA-256 in hexadecimal digits.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hash.finalize()))
    }
}

/// Copies the wanted file from the agent in `pod` to `out`.
///
/// # Errors
/// If there is no connection to the agent, if the agent refuses or falls silent, or if `out` fails.
pub(super) async fn file(
    client: &Client,
    pod: &Pod,
    wanted: Wanted<'_>,
    proof: &Proof,
    out: &mut (impl AsyncWrite + Unpin),
    sum: &mut Sum,
) -> Result<(), Error> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let port = port(pod);
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut forward = call(USER_FORWARD, api.portforward(&name, &[port])).await?;
    let exchanged = exchange(&mut forward, port, wanted, proof, out, sum).await;
    // Without this the connection would live as long as the API server likes.
    forward.abort();
    exchanged
}

/// The port on which the agent in this pod serves files.
fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers
        .filter(|container| container.name == AGENT_CONTAINER)
        .flat_map(|container| container.ports.iter().flatten());
    ports
        .filter(|port| port.name.as_deref() == Some(PORT_NAME))
        .find_map(|port| u16::try_from(port.container_port).ok())
        .unwrap_or(USUAL_PORT)
}

/// Sends the request, and copies the answer's body to `out`.
async fn exchange(
    forward: &mut Portforwarder,
    port: u16,
    wanted: Wanted<'_>,
    proof: &Proof,
    out: &mut (impl AsyncWrite + Unpin),
    sum: &mut Sum,
) -> Result<(), Error> {
    let trouble = forward.take_error(port);
    let stream = forward.take_stream(port);
    let stream = stream.ok_or_else(|| broken("the port was not forwarded"))?;
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let sent = sender.send_request(request(wanted, proof)?);
        // The connection drives the body, too, so it goes on in its own task. It ends with the port-forward.
        tokio::spawn(connection);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(sent.await?)
    };
    let answer = match timeout(SILENCE, answer).await {
        Err(_) => return Err(silent()),
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            // The kubelet says why it cannot reach the port, such as that nothing listens there.
            let said = match trouble {
                Some(trouble) => timeout(Duration::from_secs(1), trouble)
                    .await
                    .ok()
                    .flatten(),
                None => None,
            };
            let said = said.unwrap_or_else(|| chain(&*error));
            return Err(Error::Fetch(format!(
                "port {port} of the pod cannot be reached: {}; does an agent of this version run there?",
                printable(said.as_bytes())
            )));
        }
    };
    let (head, mut body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(refusal(head.status, body).await);
    }
    loop {
        let frame = match timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(silent()),
            Ok(None) => return out.flush().await.map_err(Error::Output),
            Ok(Some(frame)) => frame.map_err(|error| broken(chain(&error)))?,
        };
        if let Some(data) = frame.data_ref() {
            sum.add(data);
            out.write_all(data).await.map_err(Error::Output)?;
        }
    }
}

fn request(wanted: Wanted<'_>, proof: &Proof) -> Result<Request<Empty<Bytes>>, http::Error> {
    let namespace = wanted.capture.namespace().unwrap_or_default();
    let name = wanted.capture.name_any();
    // Names of files need no escape. Others are refused here, or by the agent.
    let part = match wanted.similar {
        Some(similar) => format!("similar/{}", similar.file),
        None => "file".to_owned(),
    };
    Request::get(format!(
        "/api/v1/namespaces/{namespace}/captures/{name}/{part}"
    ))
    .header(HOST, "localhost")
    .header(AUTHORIZATION, format!("Bearer {}", proof.text()))
    .body(Empty::new())
}

/// The error for an answer that is no file. The agent says what to do next.
async fn refusal(status: StatusCode, body: Incoming) -> Error {
    let said = timeout(SILENCE, Limited::new(body, REFUSAL).collect()).await;
    let said = match said {
        Ok(Ok(said)) => printable(&said.to_bytes()),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    if said.is_empty() {
        return Error::Fetch(format!("it answered {status}"));
    }
    Error::Fetch(said)
}

/// Text from an agent that cannot control a terminal.
fn printable(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(shown).collect()
}

fn silent() -> Error {
    Error::Away(format!("nothing came for {} s", SILENCE.as_secs()))
}

fn broken(error: impl Display) -> Error {
    Error::Away(format!("the connection broke: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_on_which_port_files_are_served() {
        let pod = |ports| -> Pod {
            let agent = json!({"name": "agent", "ports": ports});
            let spec = json!({"containers": [{"name": "x", "ports": [{"name": "files", "containerPort": 1}]}, agent]});
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        assert_eq!(
            port(&pod(json!([{"name": "files", "containerPort": 7}]))),
            7
        );
        assert_eq!(
            port(&pod(json!([{"name": "http", "containerPort": 7}]))),
            9441
        );
        assert_eq!(port(&pod(json!(null))), 9441);
        assert_eq!(port(&Pod::default()), 9441);
    }

    #[test]
    fn what_an_agent_says_cannot_control_a_terminal() {
        assert_eq!(printable(b" no\x1b[2J\r\n\xff\n"), "no [2J  \u{fffd}");
    }
}
