//! A capture whose name is already in use.

use std::fs;
use std::path::Path;
use std::process::Command;

use capture_format::{Header, WallTime, WriteError};
use spool::{Limits, New, Spool, SpoolError, State, Upload};

use crate::captures::{
    bytes_on_disk, config, files, header, noise, open, open_within, sha256sum, write, write_as,
};

fn copy(directory: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-rT").args([directory, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
fn it_takes_the_place_of_the_old_one_and_that_its_object_exists_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let old = write_as(&spool, "c", &header("web-0", 1), 5_000);
    spool
        .update(&old.id, |entry| {
            entry.state = State {
                announced: true,
                exists: true,
                upload: Upload {
                    location: Some("s3://bucket/key".into()),
                    attempts: 3,
                    next: WallTime(4),
                },
                ..entry.state.clone()
            }
        })
        .unwrap();
    let new = write_as(&spool, "c", &header("web-1", 0), 9_000);
    assert_eq!(new.id, old.id);
    let state = State {
        exists: true,
        since: new.state.since,
        ..State::default()
    };
    assert!(state.since > old.state.since);
    assert_eq!((&*new.info.pod, &new.state), ("web-1", &state));
    assert_eq!(sha256sum(&spool.path(&new.id).unwrap()), new.info.sha256);
    assert_eq!(files(&directory.path().join("captures")).len(), 2);
    drop(spool);
    assert_eq!(open(directory.path()).entries(), [new]);
}

#[test]
fn the_old_one_is_whole_until_the_new_one_is_and_stays_if_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 100 * 1024,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let old = write_as(&spool, "c", &header("web-0", 1), 60_000);
    let path = spool.path(&old.id).unwrap();
    let header = header("web-0", 0);
    let new = New {
        name: "c",
        requested: false,
        header: &header,
        rank: 0,
        pinned: false,
        expected_bytes: 0,
    };
    let failed = spool.write(
        &new,
        |_| {
            assert_eq!(sha256sum(&path), old.info.sha256);
            Err(WriteError::Io(std::io::Error::other("a run is gone")))
        },
        |_, _| (),
    );
    assert!(matches!(failed, Err(SpoolError::Write(_))), "{failed:?}");
    let data = noise(200_000);
    let too_large = spool.write(
        &new,
        |writer| {
            writer.begin_run(&capture_format::Run::default())?;
            for part in data.chunks(2_000) {
                writer.event(&capture_format::Event {
                    data: part.to_vec().into(),
                    ..Default::default()
                })?;
            }
            Ok(())
        },
        |_, _| (),
    );
    assert!(
        matches!(too_large, Err(SpoolError::TooLarge { .. })),
        "{too_large:?}"
    );
    assert_eq!(sha256sum(&path), old.info.sha256);
    assert_eq!(files(&directory.path().join("captures")).len(), 2);
    drop(spool);
    assert_eq!(open(directory.path()).entries(), [old]);
}

#[test]
fn neither_of_the_two_is_dropped_for_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 100 * 1024,
        per_pod: 2,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let other = write(&spool, &header("web-0", 2), 10_000).entry;
    for age in [1, 0] {
        let new = write_as(&spool, "c", &header("web-0", age), 60_000);
        assert!(spool.path(&new.id).unwrap().is_file());
        assert_eq!(spool.entries(), [other.clone(), new]);
    }
    assert_eq!(spool.usage().dropped, 0);
    assert!(bytes_on_disk(directory.path()) <= 100 * 1024);
}

#[test]
fn an_agent_killed_before_the_new_sidecar_leaves_none_that_tells_of_the_old_one() {
    let (directory, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spool = open(directory.path());
    let write = |header: &Header, describe: &dyn Fn()| {
        let new = New {
            name: "c",
            requested: false,
            header,
            rank: 3,
            pinned: false,
            expected_bytes: 0,
        };
        spool
            .write(&new, |_| Ok(()), |_, _| describe())
            .unwrap()
            .entry
    };
    let old = write(&header("web-0", 1), &|| ());
    spool
        .update(&old.id, |entry| {
            entry.state.exists = true;
            entry.state.upload.location = Some("s3://bucket/key".into());
        })
        .unwrap();
    let new = write(&header("web-1", 0), &|| {
        copy(directory.path(), killed.path())
    });
    assert_eq!(
        new.info.bytes, old.info.bytes,
        "so size does not tell them apart"
    );

    let (spool, found) = Spool::open(config(killed.path())).unwrap();
    assert_eq!(found.rebuilt, 1);
    let left = spool.entry("shop/c").unwrap();
    assert_eq!(
        (&*left.info.pod, &left.info.sha256),
        ("web-1", &new.info.sha256)
    );
    let state = State {
        since: left.state.since,
        ..new.state
    };
    assert_eq!(left.state, state);
    assert!(left.state.exists);
    assert!(fs::metadata(spool.path("shop/c").unwrap()).is_ok());
}
