//! Captures to put into a spool.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use capture_format::{
    BootTime, Container, Event, EventKind, Header, Host, Losses, Pod, Run, Trigger, WallTime,
};
use spool::{Config, Entry, Limits, New, Spool, SpoolError, Written};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

pub(crate) fn config(directory: &Path) -> Config {
    Config {
        directory: directory.to_owned(),
        ..Config::default()
    }
}

pub(crate) fn open(directory: &Path) -> Spool {
    Spool::open(config(directory)).unwrap().0
}

pub(crate) fn open_within(directory: &Path, limits: Limits) -> Spool {
    let config = Config {
        limits,
        ..config(directory)
    };
    Spool::open(config).unwrap().0
}

/// The header of a capture of container `app` in `shop/POD`, written `age` seconds ago.
pub(crate) fn header(pod: &str, age: u64) -> Header {
    Header {
        program: "lastword test".into(),
        created: WallTime(now() - age * SECOND),
        host: Host {
            name: "node-1".into(),
            clock_offset: 20 * SECOND as i64,
            ..Host::default()
        },
        container: Container {
            id: "c0ffee".into(),
            name: "app".into(),
            ..Container::default()
        },
        pod: Some(Pod {
            namespace: "shop".into(),
            name: pod.into(),
            uid: format!("uid-of-{pod}"),
        }),
        trigger: Trigger {
            kind: "restarts".into(),
            detail: "more than 4 restarts in 2 minutes".into(),
        },
        ..Header::default()
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut random = 1u64;
    let next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Writes a capture of two runs and about `size` bytes, with a unique name.
pub(crate) fn try_write(
    spool: &Spool,
    header: &Header,
    size: usize,
) -> Result<Written, SpoolError> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("c{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    try_write_as(spool, &name, header, size)
}

/// Writes a capture with this name.
pub(crate) fn try_write_as(
    spool: &Spool,
    name: &str,
    header: &Header,
    size: usize,
) -> Result<Written, SpoolError> {
    let new = New {
        name,
        requested: false,
        header,
        rank: 3,
        pinned: false,
        expected_bytes: size as u64,
    };
    let data = noise(size);
    spool.write(
        &new,
        |writer| {
            for number in [4, 5] {
                writer.begin_run(&Run {
                    number,
                    end: Some(BootTime(u64::from(number) * SECOND)),
                    losses: Losses {
                        overwritten: 10,
                        ..Losses::default()
                    },
                    ..Run::default()
                })?;
                for part in data.chunks(2_000).filter(|_| number == 5) {
                    let data = part.to_vec().into();
                    let kind = EventKind::WRITE;
                    writer.event(&Event {
                        kind,
                        data,
                        ..Event::default()
                    })?;
                }
            }
            Ok(())
        },
        |path, info| {
            assert!(path.is_file());
            info.verdict = Some("app exited 1: no such host".into());
            info.cause = Some("dns_nxdomain".into());
        },
    )
}

pub(crate) fn write(spool: &Spool, header: &Header, size: usize) -> Written {
    try_write(spool, header, size).unwrap()
}

pub(crate) fn write_as(spool: &Spool, name: &str, header: &Header, size: usize) -> Entry {
    try_write_as(spool, name, header, size).unwrap().entry
}

/// The checksum of a file, computed by another program.
pub(crate) fn sha256sum(path: &Path) -> String {
    let sum = std::process::Command::new("sha256sum")
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(sum.stdout).unwrap()[..64].to_owned()
}

/// All files and directories below a directory, as relative paths with their permissions.
pub(crate) fn tree(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for child in fs::read_dir(next).unwrap() {
            let path = child.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                left.push(path.clone());
            }
            let relative = path.strip_prefix(directory).unwrap().to_owned();
            found.push((relative, metadata.permissions().mode() & 0o777));
        }
    }
    found.sort();
    found
}

/// The size of all files in bytes, in blocks of 4 KiB.
pub(crate) fn bytes_on_disk(directory: &Path) -> u64 {
    let files = tree(directory)
        .into_iter()
        .map(|(path, _)| fs::metadata(directory.join(path)).unwrap());
    files
        .filter(fs::Metadata::is_file)
        .map(|file| file.len().div_ceil(4096) * 4096)
        .sum()
}

/// Names of the files, without directories.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = tree(directory)
        .into_iter()
        .filter(|(path, _)| directory.join(path).is_file());
    files.map(|(path, _)| name(&path)).collect()
}
