//! What stands in the spool and the cluster does not know yet: announced until it does, in the order it was taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use capture_format::Container;
use kubernetes::{
    Retry, Timestamp,
    announce::{Announcement, Announcer},
    capture::{CaptureSpec, CaptureStatus, Location, Losses, Phase, Trigger},
    pods::ContainerKind,
};
use spool::{Entry, Spool};
use tokio::sync::Notify;

/// After an API server that was away, and after each further attempt twice as long.
const SOON: Duration = Duration::from_secs(1);
/// Until what needs a person (a missing CRD, a missing permission) is tried again, and between attempts at most.
const LATER: Duration = Duration::from_secs(30);

/// Wakes the task that announces.
#[derive(Clone, Default)]
pub(super) struct Teller {
    news: Arc<Notify>,
    pending: Arc<AtomicU64>,
}

impl Teller {
    /// There is something to announce.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Captures that wait to be announced.
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Announces, for as long as the agent lives.
    pub(super) async fn run(self, announcer: Announcer, spool: Arc<Spool>, node: String) {
        let mut pause = SOON;
        loop {
            let waiting: Vec<Entry> = spool
                .entries()
                .into_iter()
                .filter(|entry| !entry.state.announced)
                .collect();
            self.pending.store(waiting.len() as u64, Ordering::Relaxed);
            let mut retry = None;
            for entry in &waiting {
                match announcer.announce(&announcement(entry, &node)).await {
                    Ok(()) => announced(&spool, entry, true).await,
                    Err(error) => match error.retry() {
                        Retry::Never => {
                            tracing::warn!(capture = entry.id, %error, "a capture is not announced");
                            announced(&spool, entry, false).await;
                        }
                        Retry::Soon => {
                            tracing::warn!(capture = entry.id, %error, "a capture is announced later");
                            retry = Some(pause);
                            // What is behind it would fail for the same reason.
                            break;
                        }
                        Retry::Later => {
                            tracing::error!(capture = entry.id, %error, "a capture cannot be announced");
                            retry = Some(LATER);
                        }
                    },
                }
            }
            match retry {
                Some(delay) => {
                    pause = (pause * 2).min(LATER);
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        // A new capture may be in another namespace, or the API server back.
                        () = self.news.notified() => tokio::time::sleep(SOON).await,
                    }
                }
                None => {
                    pause = SOON;
                    self.pending.store(0, Ordering::Relaxed);
                    self.news.notified().await;
                }
            }
        }
    }
}

/// Notes that the cluster knows of a capture, unless it has been superseded meanwhile.
async fn announced(spool: &Arc<Spool>, entry: &Entry, exists: bool) {
    let (spool, told) = (spool.clone(), entry.clone());
    let noted = tokio::task::spawn_blocking(move || {
        spool.update(&told.id, |entry| {
            if entry.info.sha256 == told.info.sha256
                && entry.state.upload.location == told.state.upload.location
            {
                entry.state.announced = true;
                entry.state.exists |= exists;
            }
        })
    })
    .await;
    if let Ok(Err(error)) = noted {
        tracing::warn!(capture = entry.id, %error, "that a capture was announced is noted in memory only");
    }
}

fn announcement(entry: &Entry, node: &str) -> Announcement {
    let info = &entry.info;
    let at = |time: u64| Timestamp::from_nanosecond(time.into()).unwrap_or_default();
    let created = at(info.created);
    Announcement {
        namespace: info.namespace.clone(),
        name: entry.name().to_owned(),
        create: !entry.state.exists,
        spec: CaptureSpec {
            pod_name: info.pod.clone(),
            pod_uid: Some(info.pod_uid.clone()),
            container: Some(info.container.clone()),
            container_id: Some(info.container_id.clone()),
            trigger: Trigger {
                kind: info.trigger.kind.clone(),
                detail: Some(info.trigger.detail.clone()),
            },
            ttl: None,
        },
        status: CaptureStatus {
            phase: Phase::Complete,
            node: Some(node.to_owned()),
            pod_uid: Some(info.pod_uid.clone()),
            container: Some(info.container.clone()),
            container_id: Some(info.container_id.clone()),
            verdict: info.verdict.clone(),
            cause: info.cause.clone(),
            confidence: info.confidence.map(i32::from),
            runs: Some(info.runs.len() as i32),
            size_bytes: i64::try_from(info.bytes).ok(),
            losses: Some(Losses {
                lost: info.losses.lost as i64,
                overwritten: info.losses.overwritten as i64,
                torn: info.losses.torn as i64,
            }),
            location: Some(Location {
                node_path: Some(entry.key()),
                object_url: entry.state.upload.location.clone(),
            }),
            sha256: Some(info.sha256.clone()),
            taken_at: Some(created.into()),
            finished_at: Some(created.into()),
            ..CaptureStatus::default()
        },
        kind: kind(&info.container_kind),
        ended: info.ended.map_or(created, at),
    }
}

/// A container's kind as captures name it.
fn kind(name: &str) -> ContainerKind {
    match name {
        Container::INIT => ContainerKind::Init,
        Container::SIDECAR => ContainerKind::Sidecar,
        Container::EPHEMERAL => ContainerKind::Ephemeral,
        _ => ContainerKind::App,
    }
}

#[cfg(test)]
mod tests {
    use spool::Info;

    use super::*;

    #[test]
    fn the_event_has_the_time_at_which_the_run_ended() {
        let mut entry = Entry {
            info: Info {
                created: 9_500_000_000,
                ended: Some(7_250_000_000),
                ..Info::default()
            },
            ..Entry::default()
        };
        let ended = |entry: &Entry| announcement(entry, "node").ended.as_millisecond();
        assert_eq!(ended(&entry), 7250);
        // A live container has its verdict from when it was looked at.
        entry.info.ended = None;
        assert_eq!(ended(&entry), 9500);
    }
}
