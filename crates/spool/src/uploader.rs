//! Uploads captures that are not uploaded yet.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use capture_format::{WallTime, chain};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::entry::wall_time;
use crate::{Entry, Spool, SpoolError, Store, StoreError};

/// When a failed upload is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// The delay after the first failure; it doubles with each further failure.
    #[serde(with = "humantime_serde")]
    pub first: Duration,
    /// The longest delay.
    #[serde(with = "humantime_serde")]
    pub most: Duration,
}

impl Default for Backoff {
    /// 5 seconds, at most 5 minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            most: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// A delay between half of the delay for this number of failures and all of it, chosen by `random`: nodes that
    /// failed at the same time should not try again at the same time.
    fn delay(self, failures: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let half = doubled.min(self.most) / 2;
        half + half.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// The result of an attempt to upload.
#[derive(Debug)]
pub enum Progress {
    /// The capture is in the store.
    Uploaded {
        /// Id of the entry. It may have been dropped or replaced meanwhile.
        id: String,
        /// URL of the object.
        location: String,
    },
    /// The capture is not in the store yet.
    Failed {
        /// Id of the entry.
        id: String,
        /// Why.
        error: StoreError,
        /// How many attempts have failed so far.
        attempts: u32,
        /// The upload is not tried again before this time.
        next: WallTime,
    },
}

/// How long a capture waits until it is known whether another one, of the same fault, stands for it. It is uploaded then,
/// if the API server has not answered.
const UNDECIDED: Duration = Duration::from_secs(60);

/// Uploads captures that are not yet uploaded, one at a time: those with the fewest failures first, and among these the
/// oldest. Captures that another one stands for are not uploaded. The state is kept in the sidecars, so it goes on after a restart.
#[derive(Debug)]
pub struct Uploader {
    spool: Arc<Spool>,
    store: Arc<Store>,
    backoff: Backoff,
    progress: mpsc::Sender<Progress>,
    wake: Arc<Notify>,
    /// How many failures in a row the store had.
    failures: u32,
    /// Nothing is tried before this time.
    pause: WallTime,
}

impl Uploader {
    /// Makes an uploader that reports to `progress`, and looks for captures whenever `wake` tells it to.
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        store: Arc<Store>,
        backoff: Backoff,
        progress: mpsc::Sender<Progress>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            spool,
            store,
            backoff,
            progress,
            wake,
            failures: 0,
            pause: WallTime::default(),
        }
    }

    /// Uploads until `progress` is closed. The future may be dropped at any moment: an upload in progress then begins
    /// anew.
    pub async fn run(mut self) {
        loop {
            let now = wall_time(SystemTime::now());
            let next = self.next(now);
            let wait = match &next {
                Some(entry) => self.due(entry, now).since(now),
                None => u64::MAX,
            };
            match next {
                Some(entry) if wait == 0 => {
                    if let Some(progress) = self.upload(&entry).await
                        && self.progress.send(progress).await.is_err()
                    {
                        return;
                    }
                }
                _ => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = self.progress.closed() => return,
                        () = tokio::time::sleep(Duration::from_nanos(wait)) => {}
                    }
                }
            }
        }
    }

    /// The next capture to be uploaded, now or later.
    fn next(&self, now: WallTime) -> Option<Entry> {
        let entries = self.spool.entries().into_iter();
        let open = entries.filter(|entry| entry.present && !entry.is_uploaded());
        let open = open.filter(|entry| !entry.is_similar());
        open.min_by_key(|entry| (self.due(entry, now), entry.state.upload.attempts))
    }

    /// When the capture is to be uploaded; `now` if that time has come. A time further away than the longest delay was
    /// set by another clock.
    fn due(&self, entry: &Entry, now: WallTime) -> WallTime {
        let most = u64::try_from(self.backoff.most.as_nanos()).unwrap_or(u64::MAX);
        let sane = |time: WallTime| {
            if time.since(now) > most {
                now
            } else {
                time.max(now)
            }
        };
        let info = &entry.info;
        let may_be_similar = info.owner.is_some() && info.fingerprint.is_some();
        let decided = match may_be_similar && !entry.state.exists {
            true => WallTime(info.created.0.saturating_add(UNDECIDED.as_nanos() as u64)),
            false => now,
        };
        sane(entry.state.upload.next)
            .max(sane(self.pause))
            .max(sane(decided))
    }

    async fn upload(&mut self, entry: &Entry) -> Option<Progress> {
        let id = entry.id.clone();
        let path = self.spool.path(&id)?;
        let error = match self.store.put(entry, &path).await {
            Ok(uploaded) => {
                self.failures = 0;
                let location = uploaded.location;
                self.update(entry, {
                    let location = location.clone();
                    move |entry| entry.state.upload.location = Some(location)
                })
                .await;
                return Some(Progress::Uploaded { id, location });
            }
            Err(StoreError::File { error, .. })
                if error.kind() == ErrorKind::NotFound && self.forget(&id).await =>
            {
                warn!(id, "a capture is gone from the spool without our doing");
                return None;
            }
            Err(error) => error,
        };
        let attempts = entry.state.upload.attempts.saturating_add(1);
        let next = self.later(attempts);
        if !error.is_of_capture() {
            self.failures = self.failures.saturating_add(1);
            self.pause = self.later(self.failures);
        }
        self.update(entry, move |entry| {
            entry.state.upload.attempts = attempts;
            entry.state.upload.next = next;
        })
        .await;
        Some(Progress::Failed {
            id,
            error,
            attempts,
            next,
        })
    }

    fn later(&self, failures: u32) -> WallTime {
        let random = RandomState::new().build_hasher().finish();
        wall_time(SystemTime::now() + self.backoff.delay(failures, random))
    }

    /// Saves the state of `tried`'s upload, unless it was dropped or replaced meanwhile.
    async fn update(&self, tried: &Entry, change: impl FnOnce(&mut Entry) + Send + 'static) {
        let (spool, id) = (self.spool.clone(), tried.id.clone());
        let sha256 = tried.info.sha256.clone();
        let change = move |entry: &mut Entry| {
            if entry.info.sha256 == sha256 {
                change(entry);
            }
        };
        let updated = tokio::task::spawn_blocking(move || match spool.update(&id, change) {
            Ok(_) | Err(SpoolError::Unknown { .. }) => {}
            Err(error) => {
                warn!(error = %chain(&error), "the sidecar of a capture is written later")
            }
        });
        // This panics only if the spool does, and that has been reported then.
        let _ = updated.await;
    }

    /// Removes a capture whose file is gone from the spool, unless another one has replaced it meanwhile.
    async fn forget(&self, id: &str) -> bool {
        let (spool, id) = (self.spool.clone(), id.to_owned());
        let removed = tokio::task::spawn_blocking(move || spool.remove_gone(&id)).await;
        matches!(removed, Ok(Ok(true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, New, Owner, Similar, StoreConfig};

    fn capture(spool: &Spool) -> Entry {
        let created = wall_time(SystemTime::now());
        capture_as(spool, &format!("c{}", created.0), created)
    }

    fn capture_as(spool: &Spool, name: &str, created: WallTime) -> Entry {
        let header = capture_format::Header {
            created,
            ..capture_format::Header::default()
        };
        let new = New {
            name,
            requested: false,
            header: &header,
            rank: 0,
            pinned: false,
            expected_bytes: 0,
        };
        spool.write(&new, |_| Ok(()), |_, _| ()).unwrap().entry
    }

    /// A spool, and a store beside it.
    fn spool_and_store(directory: &std::path::Path) -> (Arc<Spool>, Store) {
        let config = Config {
            directory: directory.join("spool"),
            ..Config::default()
        };
        let store = StoreConfig {
            url: format!("file://{}", directory.join("store").display()),
            ..StoreConfig::default()
        };
        let spool = Spool::open(config).unwrap().0;
        (Arc::new(spool), Store::open(&store).unwrap())
    }

    #[tokio::test]
    async fn a_store_that_fails_is_let_alone_and_a_capture_that_fails_delays_itself() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            directory: directory.path().to_owned(),
            ..Config::default()
        };
        let spool = Arc::new(Spool::open(config).unwrap().0);
        // Nobody listens on port 1.
        let options = [
            ("endpoint", "http://127.0.0.1:1"),
            ("allow_http", "true"),
            ("skip_signature", "true"),
        ];
        let store = Store::open(&StoreConfig {
            url: "s3://bucket".into(),
            options: options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..StoreConfig::default()
        });
        let (sender, _progress) = mpsc::channel(1);
        let backoff = Backoff {
            first: Duration::from_secs(600),
            most: Duration::from_secs(600),
        };
        let mut uploader = Uploader::new(
            spool.clone(),
            Arc::new(store.unwrap()),
            backoff,
            sender,
            Arc::default(),
        );
        let (damaged, whole, other) = (capture(&spool), capture(&spool), capture(&spool));
        std::fs::write(spool.path(&damaged.id).unwrap(), "damaged").unwrap();

        let now = wall_time(SystemTime::now());
        let due = |uploader: &Uploader, entry: &Entry| {
            uploader.due(&spool.entry(&entry.id).unwrap(), now) > now
        };
        let failed = uploader.upload(&damaged).await;
        assert!(
            matches!(
                failed,
                Some(Progress::Failed {
                    error: StoreError::Changed { .. },
                    ..
                })
            ),
            "{failed:?}"
        );
        assert_eq!(
            [&damaged, &whole, &other].map(|entry| due(&uploader, entry)),
            [true, false, false]
        );
        let failed = uploader.upload(&whole).await;
        assert!(
            matches!(
                failed,
                Some(Progress::Failed {
                    error: StoreError::Unreachable { .. },
                    ..
                })
            ),
            "{failed:?}"
        );
        assert_eq!(
            [&damaged, &whole, &other].map(|entry| due(&uploader, entry)),
            [true, true, true]
        );
    }

    #[tokio::test]
    async fn what_another_capture_stands_for_is_not_uploaded() {
        let directory = tempfile::tempdir().unwrap();
        let (spool, store) = spool_and_store(directory.path());
        let (sender, _progress) = mpsc::channel(1);
        let (store, backoff) = (Arc::new(store), Backoff::default());
        let uploader = Uploader::new(spool.clone(), store, backoff, sender, Arc::default());
        let of_fault = capture(&spool);
        spool
            .update(&of_fault.id, |entry| {
                entry.info.owner = Some(Owner::default());
                entry.info.fingerprint = Some("0123456789abcdef".into());
            })
            .unwrap();
        let now = of_fault.info.created;
        let wait = |now| {
            let next = uploader.next(now);
            next.map(|entry| uploader.due(&entry, now).since(now))
        };
        let whole = UNDECIDED.as_nanos() as u64;
        assert_eq!(wait(now), Some(whole));
        assert_eq!(wait(WallTime(now.0 + whole)), Some(0));
        spool
            .update(&of_fault.id, |entry| entry.state.exists = true)
            .unwrap();
        assert_eq!(wait(now), Some(0));
        spool
            .update(&of_fault.id, |entry| {
                entry.state.similar = Some(Similar::default());
            })
            .unwrap();
        assert_eq!(wait(WallTime(now.0 + whole)), None);
        assert_eq!(spool.usage().not_uploaded, 0);
    }

    #[tokio::test]
    async fn what_became_of_a_capture_is_not_noted_of_the_one_that_replaced_it() {
        let directory = tempfile::tempdir().unwrap();
        let (spool, store) = spool_and_store(directory.path());
        let (sender, _progress) = mpsc::channel(1);
        let backoff = Backoff::default();
        let mut uploader = Uploader::new(
            spool.clone(),
            Arc::new(store),
            backoff,
            sender,
            Arc::default(),
        );
        let old = capture_as(&spool, "c", WallTime(1));
        let new = capture_as(&spool, "c", WallTime(2));
        let failed = uploader.upload(&old).await;
        assert!(
            matches!(failed, Some(Progress::Failed { .. })),
            "{failed:?}"
        );
        uploader
            .update(&old, |entry| {
                entry.state.upload.location = Some("s3://b/k".into())
            })
            .await;
        assert!(!uploader.forget(&old.id).await);
        assert_eq!(spool.entry(&new.id).as_ref(), Some(&new));
    }

    #[test]
    fn delays_double_up_to_the_most_and_are_spread() {
        let backoff = Backoff::default();
        let seconds = |failures, random| backoff.delay(failures, random).as_secs_f64().round();
        assert_eq!(
            [1, 2, 3, 4, 7, 100, u32::MAX].map(|it| seconds(it, u64::MAX)),
            [5., 10., 20., 40., 300., 300., 300.]
        );
        assert_eq!([2, 3, 100].map(|it| seconds(it, 0)), [5., 10., 150.]);
    }
}
