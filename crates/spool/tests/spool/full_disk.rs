//! A disk that is full, no matter what filled it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spool::{Config, Limits, Spool, SpoolError};

use crate::captures::{
    config, header, noise, open, sha256sum, tree, try_write, try_write_as, write, write_as,
};

/// A separate file system; `None` if mounting is not allowed.
struct Mounted(PathBuf);

impl Mounted {
    fn new(directory: &Path, options: &str) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory)
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(directory.to_owned()));
        }
        eprintln!("skipped: mounting a tmpfs needs root");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn captures(directory: &Path) -> usize {
    let is_capture = |path: &Path| path.extension().is_some_and(|it| it == "lwcap");
    tree(directory)
        .iter()
        .filter(|(path, _)| is_capture(path))
        .count()
}

#[test]
fn the_oldest_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(directory.path(), "size=256k") else {
        return;
    };
    let spool = open(directory.path());
    let mut ids = Vec::new();
    for age in (0..12).rev() {
        let written = write(&spool, &header("web-0", age), 40_000);
        ids.push(written.entry.id.clone());
        assert!(spool.path(&written.entry.id).unwrap().is_file());
        for entry in written.dropped {
            assert_eq!(entry.id, ids.remove(0));
        }
    }
    let left: Vec<_> = spool.entries().into_iter().map(|entry| entry.id).collect();
    assert_eq!(left, ids);
    assert!(ids.len() >= 4, "{ids:?}");
    drop(spool);
    assert_eq!(open(directory.path()).entries().len(), ids.len());
}

#[test]
fn nothing_is_dropped_where_that_cannot_help() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(directory.path(), "size=256k") else {
        return;
    };
    let spool = open(directory.path());
    let small = write(&spool, &header("web-0", 1), 4_000).entry;
    fs::write(directory.path().join("another's"), noise(200_000)).unwrap();
    let mut header = header("web-1", 0);
    header.pod.as_mut().unwrap().namespace = "bank".into();
    let error = try_write(&spool, &header, 100_000).unwrap_err();
    assert!(
        matches!(error, SpoolError::Full { dropped: 0, .. }),
        "{error}"
    );
    let error = capture_format::chain(&error).to_string();
    assert_eq!(
        error.matches("No space left on device").count(),
        1,
        "{error}"
    );
    assert!(error.contains("No space left on device"), "{error}");
    assert!(
        error.ends_with("; make room there or choose another place"),
        "{error}"
    );
    assert_eq!(spool.entries(), [small]);
    assert!(!directory.path().join("captures/bank").exists());
}

#[test]
fn a_capture_stays_when_there_is_no_room_for_the_one_that_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(directory.path(), "size=256k") else {
        return;
    };
    let spool = open(directory.path());
    let old = write_as(&spool, "c", &header("web-0", 1), 150_000);
    let error = try_write_as(&spool, "c", &header("web-0", 0), 150_000).unwrap_err();
    assert!(
        matches!(error, SpoolError::Full { dropped: 0, .. }),
        "{error}"
    );
    assert_eq!(sha256sum(&spool.path(&old.id).unwrap()), old.info.sha256);
    drop(spool);
    assert_eq!(open(directory.path()).entries(), [old]);
}

#[test]
fn a_capture_whose_sidecar_finds_no_room_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    // One inode each for the root, captures, clock, lock, namespace, capture and the filler.
    let Some(_mounted) = Mounted::new(directory.path(), "size=1m,nr_inodes=7") else {
        return;
    };
    let limits = Limits::default();
    let spool = Spool::open(Config {
        limits,
        ..config(directory.path())
    })
    .unwrap()
    .0;
    let filler = directory.path().join("another's");
    fs::write(&filler, "").unwrap();
    let entry = write(&spool, &header("web-0", 0), 4_000).entry;
    let sidecar = spool.path(&entry.id).unwrap().with_extension("json");
    assert!(!sidecar.exists());
    assert_eq!(captures(directory.path()), 1);
    assert!(
        spool
            .update(&entry.id, |it| it.state.announced = true)
            .is_err()
    );
    assert!(spool.entry(&entry.id).unwrap().state.announced);

    fs::remove_file(&filler).unwrap();
    assert_eq!(spool.enforce(), []);
    drop(spool);
    let after = open(directory.path()).entry(&entry.id).unwrap();
    assert!(after.state.announced);
    assert_eq!(after.info, entry.info);
}
