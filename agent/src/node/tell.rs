//! What stands in the spool and the cluster does not know yet: announced until it does, of one pod in the order it was taken.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use capture_format::Container;
use futures::{StreamExt as _, stream::FuturesUnordered};
use kubernetes::{
    Error, Retry, Timestamp,
    announce::{Announcement, Announcer},
    capture::{CaptureSpec, CaptureStatus, Location, Losses, Phase, Trigger},
    pods::ContainerKind,
};
use spool::{Entry, Spool};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Pods that are told of at the same time. An API server that is slow or far away is waited for by all of them at once.
const AT_ONCE: usize = 4;
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
        let (announcer, node) = (&announcer, &node);
        let announce = |entry: Arc<Entry>| async move {
            announcer.announce(&announcement(&entry, node)).await
        };
        self.serve(&spool, announce).await;
    }

    /// Announces what the spool has by `announce`: the captures of one pod one after the other, as its Event may be the same object, those of
    /// different pods at the same time.
    async fn serve<F>(self, spool: &Arc<Spool>, announce: impl Fn(Arc<Entry>) -> F)
    where
        F: Future<Output = Result<(), Error>>,
    {
        let mut under_way = FuturesUnordered::new();
        let mut pods = HashSet::new();
        // What needs a person.
        let mut refused = HashSet::new();
        let mut away = false;
        let mut again: Option<Instant> = None;
        let mut pause = SOON;
        loop {
            let waiting: Vec<Entry> = spool
                .entries()
                .into_iter()
                .filter(|entry| !entry.state.announced)
                .collect();
            self.pending.store(waiting.len() as u64, Ordering::Relaxed);
            for entry in waiting {
                if away || under_way.len() == AT_ONCE {
                    break;
                }
                let pod = (entry.info.namespace.clone(), entry.info.pod.clone());
                if refused.contains(&entry.id) || !pods.insert(pod.clone()) {
                    continue;
                }
                let entry = Arc::new(entry);
                let attempt = announce(entry.clone());
                under_way.push(async move { (pod, entry, attempt.await) });
            }
            let time = sleep_until(again.unwrap_or_else(Instant::now));
            tokio::select! {
                Some((pod, entry, outcome)) = under_way.next() => {
                    pods.remove(&pod);
                    let Err(error) = outcome else {
                        pause = SOON;
                        announced(spool, &entry, true).await;
                        continue;
                    };
                    match error.retry() {
                        Retry::Never => {
                            tracing::warn!(capture = entry.id, %error, "a capture is not announced");
                            announced(spool, &entry, false).await;
                        }
                        // The others would fail, or do, for the same reason.
                        Retry::Soon => {
                            tracing::warn!(capture = entry.id, %error, "a capture is announced later");
                            if !away {
                                away = true;
                                again = Some(Instant::now() + pause);
                                pause = (pause * 2).min(LATER);
                            }
                        }
                        Retry::Later => {
                            tracing::error!(capture = entry.id, %error, "a capture cannot be announced");
                            refused.insert(entry.id.clone());
                            again.get_or_insert(Instant::now() + LATER);
                        }
                    }
                }
                // A new capture may be in another namespace, or the API server back.
                () = self.news.notified() => again = again.map(|at| at.min(Instant::now() + SOON)),
                () = time, if again.is_some() => {
                    away = false;
                    refused.clear();
                    again = None;
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
    use std::sync::{Mutex, PoisonError};

    use capture_format::{Header, Pod};
    use spool::{Config, Info, New};
    use tokio::{
        sync::Barrier,
        time::{sleep, timeout},
    };

    use super::*;

    /// Announces captures (pod and name of each) until none waits; `announce` is given the name. Returns what was attempted, with the seconds since the
    /// first attempt.
    async fn told<F>(
        captures: &[(&str, &str)],
        announce: impl Fn(String) -> F,
    ) -> Vec<(String, u64)>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            directory: folder.path().into(),
            ..Config::default()
        };
        let spool = Arc::new(Spool::open(config).unwrap().0);
        for (created, (pod, name)) in (crate::host::realtime()..).zip(captures) {
            let header = Header {
                created,
                pod: Some(Pod {
                    namespace: "shop".into(),
                    name: (*pod).into(),
                    uid: (*pod).into(),
                }),
                ..Header::default()
            };
            let new = New {
                name,
                header: &header,
                rank: 0,
                requested: false,
                pinned: false,
                expected_bytes: 0,
            };
            spool.write(&new, |_| Ok(()), |_, _| ()).unwrap();
        }
        let attempts = Mutex::new(Vec::new());
        let begun = Instant::now();
        let noted = |entry: Arc<Entry>| {
            let attempt = (entry.name().to_owned(), begun.elapsed().as_secs());
            attempts.lock().unwrap().push(attempt);
            announce(entry.name().to_owned())
        };
        let all = async {
            while spool.entries().iter().any(|entry| !entry.state.announced) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = Teller::default().serve(&spool, noted) => {}
            done = timeout(Duration::from_secs(600), all) => done.expect("something is never told"),
        }
        attempts
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[tokio::test(start_paused = true)]
    async fn pods_do_not_wait_for_each_other() {
        let both = Barrier::new(2);
        told(&[("web", "a"), ("db", "b")], |_| async {
            both.wait().await;
            Ok(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn captures_of_one_pod_are_told_one_after_the_other() {
        let attempts = told(&[("web", "b"), ("web", "a")], |_| async {
            sleep(Duration::from_secs(3)).await;
            Ok(())
        })
        .await;
        assert_eq!(attempts, [("b".to_owned(), 0), ("a".to_owned(), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_is_asked_again_with_longer_and_longer_pauses() {
        let calls = AtomicU64::new(0);
        let attempts = told(&[("web", "a"), ("db", "b")], |_| async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0..6 => Err(Error::Away("closed".into())),
                _ => Ok(()),
            }
        })
        .await;
        let seconds: Vec<u64> = attempts.iter().map(|(_, second)| *second).collect();
        assert_eq!(seconds, [0, 0, 1, 1, 3, 3, 7, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_holds_up_nothing_else() {
        const REFUSED: u64 = AT_ONCE as u64;
        let calls = AtomicU64::new(0);
        let refused: Vec<String> = (0..AT_ONCE).map(|pod| format!("refused-{pod}")).collect();
        let mut captures: Vec<_> = refused
            .iter()
            .map(|pod| (pod.as_str(), pod.as_str()))
            .collect();
        captures.push(("web", "web"));
        let attempts = told(&captures, |_| async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0..REFUSED => Err(Error::CrdMissing),
                _ => Ok(()),
            }
        })
        .await;
        let second = |name: &str| attempts.iter().rfind(|(of, _)| of == name).unwrap().1;
        assert_eq!(second("web"), 0);
        assert!(refused.iter().all(|name| second(name) == LATER.as_secs()));
    }

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
