//! The uploader against a real S3 server that comes and goes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spool::{Backoff, Entry, Limits, Progress, Spool, Store, StoreConfig, StoreError, Uploader};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::captures::{files, header, open, open_within, write, write_as};
use crate::server::Server;

struct Running {
    spool: Arc<Spool>,
    progress: mpsc::Receiver<Progress>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(spool: Spool, store: Store) -> Self {
        let backoff = Backoff {
            first: Duration::from_millis(1),
            most: Duration::from_millis(20),
        };
        let (spool, wake) = (Arc::new(spool), Arc::new(Notify::new()));
        let (sender, progress) = mpsc::channel(1);
        let uploader = Uploader::new(
            spool.clone(),
            Arc::new(store),
            backoff,
            sender,
            wake.clone(),
        );
        let task = tokio::spawn(uploader.run());
        Self {
            spool,
            progress,
            wake,
            task,
        }
    }

    async fn failed(&mut self) -> (String, StoreError, u32) {
        match self.progress.recv().await.unwrap() {
            Progress::Failed {
                id,
                error,
                attempts,
                ..
            } => (id, error, attempts),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a successful upload; failures before it are ignored.
    async fn uploaded(&mut self) -> (String, String) {
        loop {
            if let Progress::Uploaded { id, location } = self.progress.recv().await.unwrap() {
                return (id, location);
            }
        }
    }

    /// Ends as if the agent was killed. Returns when nothing uses the spool any more.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        while Arc::strong_count(&self.spool) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

fn entries<const N: usize>(spool: &Spool, ages: [u64; N]) -> [Entry; N] {
    ages.map(|age| write(spool, &header("web-0", age), 5_000).entry)
}

#[tokio::test]
async fn the_oldest_first_and_new_ones_when_woken() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let spool = open(directory.path());
    // Neither their names nor the time of day say which one came first.
    let [old, new] =
        [("b", 1), ("a", 2)].map(|(name, age)| write_as(&spool, name, &header("web-0", age), 10));
    let mut running = Running::start(spool, server.store());
    for entry in [&old, &new] {
        let (id, location) = running.uploaded().await;
        assert_eq!(id, entry.id);
        assert_eq!(
            running.spool.entry(&id).unwrap().state.upload.location,
            Some(location)
        );
        assert!(server.object(&entry.key()).is_file());
    }
    let [later] = entries(&running.spool, [0]);
    running.wake.notify_one();
    assert_eq!(running.uploaded().await.0, later.id);
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_until_it_is_up() {
    let (mut server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    server.stop().await;
    let spool = open(directory.path());
    let [first, second] = entries(&spool, [2, 1]);
    let mut running = Running::start(spool, server.store());
    // The one with the fewest failures is tried first, so they alternate.
    for (expected, number) in [(&first, 1), (&second, 1), (&first, 2), (&second, 2)] {
        let (id, error, attempts) = running.failed().await;
        assert_eq!((&id, attempts), (&expected.id, number));
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
    server.resume().await;
    let mut ids = [running.uploaded().await.0, running.uploaded().await.0];
    ids.sort();
    assert_eq!(ids, [first.id, second.id]);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let (mut server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let spool = open(directory.path());
    let [done] = entries(&spool, [3]);
    let mut running = Running::start(spool, server.store());
    running.uploaded().await;
    server.stop().await;
    let [open_one] = entries(&running.spool, [1]);
    running.wake.notify_one();
    let (_, _, attempts) = running.failed().await;
    running.kill().await;

    let spool = open(directory.path());
    assert!(spool.entry(&done.id).unwrap().is_uploaded());
    assert!(spool.entry(&open_one.id).unwrap().state.upload.attempts >= attempts);
    let before = server.behaviour().writes.load(Ordering::Relaxed);
    server.resume().await;
    let mut running = Running::start(spool, server.store());
    assert_eq!(running.uploaded().await.0, open_one.id);
    // Capture and description of one of them, and nothing of the other.
    assert_eq!(
        server.behaviour().writes.load(Ordering::Relaxed) - before,
        2
    );
}

#[tokio::test]
async fn wrong_credentials_are_told_and_right_ones_take_over() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let mut wrong = server.config();
    wrong
        .options
        .insert("secret_access_key".into(), "wrong".into());
    let spool = open(directory.path());
    let [entry] = entries(&spool, [0]);
    let mut running = Running::start(spool, Store::open(&wrong).unwrap());
    let (_, error, _) = running.failed().await;
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    running.kill().await;
    let mut running = Running::start(open(directory.path()), server.store());
    assert_eq!(running.uploaded().await.0, entry.id);
}

#[tokio::test]
async fn one_bad_capture_does_not_hold_up_the_others() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let spool = open(directory.path());
    let [bad, gone, good] = entries(&spool, [3, 2, 1]);
    fs::write(spool.path(&bad.id).unwrap(), "damaged").unwrap();
    fs::remove_file(spool.path(&gone.id).unwrap()).unwrap();
    let mut running = Running::start(spool, server.store());
    let (id, error, _) = running.failed().await;
    assert_eq!(id, bad.id);
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    assert_eq!(running.uploaded().await.0, good.id);
    assert_eq!(running.spool.entry(&gone.id), None);
    assert!(!server.object(&bad.key()).exists());
}

#[tokio::test]
async fn what_is_dropped_after_the_upload_is_still_in_the_store() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let spool = open_within(
        directory.path(),
        Limits {
            per_pod: 1,
            ..Limits::default()
        },
    );
    let [old] = entries(&spool, [9]);
    let mut running = Running::start(spool, server.store());
    let (_, location) = running.uploaded().await;
    let new = write(&running.spool, &header("web-0", 0), 5_000);
    assert_eq!(new.dropped.first().map(|entry| &entry.id), Some(&old.id));
    running.kill().await;
    let record = open(directory.path()).entry(&old.id).unwrap();
    assert_eq!(
        (record.present, record.state.upload.location),
        (false, Some(location.clone()))
    );
    let (config, key) = StoreConfig::of_location(&location).unwrap();
    let store = Store::open(&StoreConfig {
        url: config.url,
        ..server.config()
    })
    .unwrap();
    let download = store.get(&key, Some(&record.info.sha256)).await.unwrap();
    assert_eq!(download.bytes(), record.info.bytes);
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("store");
    let url = format!("file://{}", folder.display());
    let store = Store::open(&StoreConfig {
        url,
        ..StoreConfig::default()
    })
    .unwrap();
    let spool = open(directory.path());
    entries(&spool, [0]);
    let mut running = Running::start(spool, store);
    running.uploaded().await;
    drop(running.progress);
    running.task.await.unwrap();
    assert_eq!(files(Path::new(&folder)).len(), 2);
}
