//! The spool stays within its limits.

use std::fs::{self, File};
use std::time::Duration;

use capture_format::{Event, Header, Run, WriteError, Writer};
use spool::{Limits, New, SpoolError};

use crate::captures::{SECOND, bytes_on_disk, files, header, noise, open_within, try_write, write};

const KIB: u64 = 1024;

fn new(header: &Header, expected_bytes: u64) -> New<'_> {
    New {
        name: "big",
        requested: false,
        header,
        rank: 0,
        pinned: false,
        expected_bytes,
    }
}

/// Fills a capture with 60,000 bytes that do not compress.
fn fill(writer: &mut Writer<File>) -> Result<(), WriteError> {
    writer.begin_run(&Run::default())?;
    writer.event(&Event {
        data: noise(60_000).into(),
        ..Event::default()
    })
}

#[test]
fn the_bytes_are_never_exceeded() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 200 * KIB,
        per_pod: 100,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let mut dropped = 0;
    for number in 0..40usize {
        let pod = format!("web-{}", number % 7);
        dropped += write(&spool, &header(&pod, 0), number % 5 * 10_000)
            .dropped
            .len();
        let bytes = bytes_on_disk(&directory.path().join("captures"));
        assert!(bytes <= 200 * KIB, "{bytes} after {number}");
        assert!(spool.usage().bytes >= bytes);
    }
    let usage = spool.usage();
    assert_eq!(
        (usage.dropped, usage.lost),
        (dropped as u64, dropped as u64)
    );
    assert_eq!(usage.captures + dropped, 40);
}

#[test]
fn room_is_made_before_writing() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 100 * KIB,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    write(&spool, &header("web-0", 1), 60_000);
    let header = header("web-1", 0);
    let mut before = None;
    let fill = |_: &mut _| {
        before = Some(files(&directory.path().join("captures")).len());
        Ok(())
    };
    spool.write(&new(&header, 60_000), fill, |_, _| ()).unwrap();
    assert_eq!(before, Some(1), "the file being written, and nothing else");
}

#[test]
fn a_wrong_guess_of_the_size_is_made_good() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 100 * KIB,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let old = write(&spool, &header("web-0", 1), 60_000).entry;
    let header = header("web-1", 0);
    let written = spool.write(&new(&header, 0), fill, |_, _| ()).unwrap();
    assert_eq!(written.dropped, [old]);
    assert!(bytes_on_disk(directory.path()) <= 100 * KIB);
}

#[test]
fn a_capture_larger_than_the_spool_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 50 * KIB,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let small = write(&spool, &header("web-0", 1), 1_000).entry;
    let error = try_write(&spool, &header("web-1", 0), 60_000).unwrap_err();
    assert!(
        matches!(error, SpoolError::TooLarge { bytes: 60_000, .. }),
        "{error}"
    );

    let header = header("web-1", 0);
    let error = spool
        .write(&new(&header, 10), fill, |_, _| panic!("it is not kept"))
        .unwrap_err();
    assert!(
        matches!(error, SpoolError::TooLarge { limit, .. } if limit == 50 * KIB),
        "{error}"
    );
    assert_eq!(spool.entries(), [small]);
    assert!(!directory.path().join("captures/shop/web-1").exists());
}

#[test]
fn each_pod_keeps_its_newest() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        per_pod: 2,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let other = write(&spool, &header("web-1", 100), 10).entry;
    let ids: Vec<_> = [4, 3, 2, 1]
        .map(|age| write(&spool, &header("web-0", age), 10).entry.id)
        .into();
    let left: Vec<_> = spool.entries().into_iter().map(|entry| entry.id).collect();
    assert_eq!(left, [&other.id, &ids[2], &ids[3]].map(String::clone));
}

#[test]
fn what_is_too_old_goes_at_the_next_look() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open_within(directory.path(), Limits::default());
    // The time of day at which it was taken does not matter.
    let old = write(&spool, &header("web-0", 0), 10).entry;
    drop(spool);
    let clock = directory.path().join("clock");
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(&clock).unwrap()).unwrap();
    let ahead = saved["ahead"].as_u64().unwrap() + 7_200 * SECOND;
    let mut later = saved;
    later["ahead"] = ahead.into();
    fs::write(&clock, later.to_string()).unwrap();
    let spool = open_within(directory.path(), Limits::default());
    write(&spool, &header("web-0", 0), 10);
    assert_eq!(spool.enforce(), []);
    drop(spool);
    let limits = Limits {
        age: Duration::from_secs(3_600),
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    assert_eq!((spool.usage().dropped, spool.entry(&old.id)), (1, None));
    assert_eq!(spool.entries().len(), 1);
}

#[test]
fn an_uploaded_capture_leaves_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        per_pod: 1,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    let old = write(&spool, &header("web-0", 1), 10).entry;
    let location = Some("file:///captures/x".to_owned());
    spool
        .update(&old.id, |it| it.state.upload.location = location.clone())
        .unwrap();
    write(&spool, &header("web-0", 0), 10);
    let record = spool.entry(&old.id).unwrap();
    assert_eq!(
        (record.present, record.state.upload.location),
        (false, location)
    );
    let usage = spool.usage();
    assert_eq!(
        (usage.captures, usage.records, usage.dropped, usage.lost),
        (1, 1, 1, 0)
    );
}

#[test]
fn a_time_of_day_that_jumps_drops_nothing() {
    const EIGHT_DAYS: u64 = 8 * 24 * 60 * 60;
    let directory = tempfile::tempdir().unwrap();
    let spool = open_within(directory.path(), Limits::default());
    // This one was taken before the clock was set 8 days ahead.
    let old = write(&spool, &header("web-0", EIGHT_DAYS), 10).entry;
    assert_eq!(spool.enforce(), []);
    drop(spool);
    let limits = Limits {
        per_pod: 2,
        ..Limits::default()
    };
    let spool = open_within(directory.path(), limits);
    assert!(spool.entry(&old.id).is_some());
    // And before the clock was set back: the newest one is kept, although it is the oldest by the time of day.
    write(&spool, &header("web-0", EIGHT_DAYS), 10);
    let back = write(&spool, &header("web-0", 2 * EIGHT_DAYS), 10).entry;
    assert!(spool.entry(&back.id).is_some());
    assert_eq!(spool.entry(&old.id), None);
}
