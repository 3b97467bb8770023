//! Asking the container runtime over its CRI socket.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use capture_format::{CgroupId, chain};
use containers::cri::{Client, Container, CriError, Sandbox, Status};
use tokio::sync::watch;

/// Pause between attempts to reach a runtime that does not answer, and between checks whether it still answers.
const PACE: Duration = Duration::from_secs(5);

/// Pauses between questions which container an id belongs to.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Who a cgroup's container is.
pub(super) struct Answer {
    pub(super) cgroup: CgroupId,
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

/// The questions to a runtime.
pub(super) trait Ask {
    /// A connection to it.
    type Connection;

    /// Connects, and asks for everything the runtime has.
    async fn everything(&self) -> Result<(Self::Connection, Everything), CriError>;

    /// Whether the runtime is still the same process, and not another one at the same socket.
    async fn is_same(&self, connection: &Self::Connection) -> Result<bool, CriError>;
}

/// Follows the runtime for as long as the agent lives. The runtime may come late, go, and come back. Each time it
/// comes, it is asked for everything it has, and `found` gets the answer.
pub(super) async fn follow(
    ask: impl Ask,
    standing: watch::Sender<Standing>,
    found: impl Fn(Everything),
) {
    let down = |error: &CriError| {
        let told = error.to_string();
        let news = !matches!(&*standing.borrow(), Standing::Down(before) if *before == told);
        if news {
            tracing::warn!("the container runtime does not answer: {told}");
            standing.send_replace(Standing::Down(told));
        }
    };
    loop {
        match ask.everything().await {
            Ok((connection, all)) => {
                standing.send_replace(Standing::Up);
                found(all);
                loop {
                    tokio::time::sleep(PACE).await;
                    match ask.is_same(&connection).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            down(&error);
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                down(&error);
                tokio::time::sleep(PACE).await;
            }
        }
    }
}

/// A CRI socket.
pub(super) struct Socket {
    /// Its path; none for the first of the usual paths that exists.
    pub(super) endpoint: Option<String>,
    /// Where others find the connection.
    pub(super) client: watch::Sender<Option<Client>>,
}

impl Ask for Socket {
    /// With it, what distinguishes the socket from one that is made anew.
    type Connection = (Client, Option<Made>);

    async fn everything(&self) -> Result<(Self::Connection, Everything), CriError> {
        let (client, version) = Client::connect(self.endpoint.as_deref()).await?;
        let made = made(&client);
        tracing::info!(runtime = version.runtime, version = version.version, socket = %client.socket().display(), "the container runtime answers");
        self.client.send_replace(Some(client.clone()));
        let all = Everything {
            sandboxes: client.sandboxes().await?,
            containers: client.statuses().await?,
        };
        Ok(((client, made), all))
    }

    async fn is_same(&self, (client, before): &Self::Connection) -> Result<bool, CriError> {
        client.version().await?;
        // A runtime that restarts quickly answers before anybody notices.
        Ok(made(client) == *before)
    }
}

/// Which file a socket is, and when it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    inode: u64,
    changed: (i64, i64),
}

fn made(client: &Client) -> Option<Made> {
    let file = std::fs::metadata(client.socket()).ok()?;
    Some(Made {
        inode: file.ino(),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

/// Asks which container or pause container an id belongs to. Asks again for a while, since a pause container is
/// listed only after its cgroup was made.
pub(super) async fn who_in_time(client: &Client, id: &str) -> Option<Who> {
    for pause in PAUSES {
        match who(client, id).await {
            Ok(None) => tokio::time::sleep(pause).await,
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(error = %chain(&error), id, "the runtime does not say who a container is");
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    /// A runtime that answers so, one look after the other: it is there, it is another one, it is away.
    struct Played(RefCell<VecDeque<Look>>);

    #[derive(Clone, Copy, PartialEq)]
    enum Look {
        There,
        Another,
        Away,
    }

    impl Played {
        fn look(&self) -> Result<bool, CriError> {
            match self.0.borrow_mut().pop_front() {
                Some(Look::Away) => Err(CriError::NoSocket),
                Some(Look::Another) => Ok(false),
                Some(Look::There) | None => Ok(true),
            }
        }
    }

    impl Ask for Played {
        type Connection = ();

        async fn everything(&self) -> Result<((), Everything), CriError> {
            let all = Everything {
                sandboxes: Vec::new(),
                containers: Vec::new(),
            };
            self.look().map(|_| ((), all))
        }

        async fn is_same(&self, (): &()) -> Result<bool, CriError> {
            self.look()
        }
    }

    /// Whether it is up after each look, and how often it was asked for everything.
    async fn followed(looks: &[Look]) -> (Vec<bool>, usize) {
        let (inputs, mut received) = mpsc::unbounded_channel();
        let (sender, standing) = watch::channel(Standing::default());
        let played = Played(RefCell::new(looks.iter().copied().collect()));
        let following = follow(played, sender, |all| drop(inputs.send(all)));
        tokio::pin!(following);
        let mut up = Vec::new();
        for _ in looks {
            let _ = timeout(PACE - Duration::from_millis(1), &mut following).await;
            up.push(matches!(*standing.borrow(), Standing::Up));
            let _ = timeout(Duration::from_millis(1), &mut following).await;
        }
        let mut asked = 0;
        while received.try_recv().is_ok() {
            asked += 1;
        }
        (up, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_goes_is_down_and_one_that_comes_back_is_asked_anew() {
        use Look::{Another, Away, There};
        let (up, asked) = followed(&[Away, There, There, Away, Away, There, There]).await;
        assert_eq!(up[..4], [false, true, true, false]);
        assert_eq!(up.last(), Some(&true));
        assert_eq!(asked, 2);
        let (up, asked) = followed(&[There, There, Another, There, There]).await;
        assert_eq!(up, [true; 5]);
        assert_eq!(asked, 2, "it restarted between two looks");
        assert_eq!(followed(&[There, There, There]).await.1, 1);
    }
}
