//! The container runtime, asked over its CRI socket.

use std::time::Duration;

use containers::cri::{Client, Container, CriError, Sandbox, Status};
use tokio::sync::{mpsc, watch};

use super::Input;

/// Between attempts to reach a runtime that does not answer.
const RETRY: Duration = Duration::from_secs(5);

/// Between questions who a container is.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Who a cgroup's container is.
pub(super) struct Answer {
    pub(super) cgroup: u64,
    pub(super) who: Option<Who>,
}

/// A container, or the pause container of a pod.
pub(super) enum Who {
    Container(Container),
    Sandbox(Sandbox),
}

/// All that a runtime has.
pub(super) struct Everything {
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) containers: Vec<Status>,
}

/// Whether the runtime answers.
#[derive(Clone, Debug, Default)]
pub(super) enum Standing {
    /// It has not been reached yet.
    #[default]
    Unknown,
    Up,
    Down(String),
}

/// Finds the runtime, however late it comes, and asks it for everything once.
pub(super) async fn find(
    endpoint: Option<String>,
    client: watch::Sender<Option<Client>>,
    standing: watch::Sender<Standing>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    loop {
        match everything(endpoint.as_deref(), &client).await {
            Ok(all) => {
                standing.send_replace(Standing::Up);
                let _ = inputs.send(Input::Runtime(Box::new(all)));
                return;
            }
            Err(error) => {
                let told = error.to_string();
                let news =
                    !matches!(&*standing.borrow(), Standing::Down(before) if *before == told);
                if news {
                    tracing::warn!("the container runtime does not answer: {told}");
                    standing.send_replace(Standing::Down(told));
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn everything(
    endpoint: Option<&str>,
    found: &watch::Sender<Option<Client>>,
) -> Result<Everything, CriError> {
    let (client, version) = Client::connect(endpoint).await?;
    tracing::info!(runtime = version.runtime, version = version.version, socket = %client.socket().display(), "the container runtime answers");
    found.send_replace(Some(client.clone()));
    Ok(Everything {
        sandboxes: client.sandboxes().await?,
        containers: client.statuses().await?,
    })
}

/// Asks who a container is, for as long as a sandbox may take to be listed: that is after its cgroup was made.
pub(super) async fn who_in_time(client: &Client, id: &str) -> Option<Who> {
    for pause in PAUSES {
        match who(client, id).await {
            Ok(None) => tokio::time::sleep(pause).await,
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%error, id, "the runtime does not say who a container is");
                return None;
            }
        }
    }
    None
}

async fn who(client: &Client, id: &str) -> Result<Option<Who>, CriError> {
    if let Some(container) = client.container(id).await? {
        return Ok(Some(Who::Container(container)));
    }
    Ok(client.sandbox(id).await?.map(Who::Sandbox))
}
