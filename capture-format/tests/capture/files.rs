//! Captures on disk.

use std::fs;
use std::io;
use std::path::Path;

use capture_format::{WriteError, chain, open_file, write_file};

use crate::captures::{RunWithEvents, header, runs};

fn write(path: &Path, runs: &[RunWithEvents]) -> Result<capture_format::Summary, WriteError> {
    write_file(path, &header(), |writer| {
        for (run, events) in runs {
            writer.begin_run(run)?;
            events.iter().try_for_each(|event| writer.event(event))?;
        }
        Ok(())
    })
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_written_file_opens_and_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.lwcap");
    let summary = write(&path, &runs(2, 5)).unwrap();
    assert_eq!((summary.events, summary.runs), (10, 2));
    assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(open_file(&path).unwrap().runs().len(), 2);
    assert_eq!(names(directory.path()), ["a.lwcap"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_failure_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.lwcap");
    let fail = || {
        write_file(&path, &header(), |_| {
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        })
        .unwrap_err()
    };
    let error = fail();
    assert_eq!(names(directory.path()), [""; 0]);
    let expected = format!(
        "writing {} failed: no storage space; make room there or choose another place",
        path.display()
    );
    assert_eq!(chain(&error).to_string(), expected);

    write(&path, &runs(1, 1)).unwrap();
    let before = fs::read(&path).unwrap();
    fail();
    assert_eq!(names(directory.path()), ["a.lwcap"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no/a.lwcap");
    let error = chain(&write(&path, &[]).unwrap_err()).to_string();
    assert!(
        error.starts_with(&format!("creating {} failed: ", path.display())),
        "{error}"
    );
    assert!(
        error.ends_with("; check that its directory exists"),
        "{error}"
    );
}

#[test]
fn only_regular_files_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    for path in [
        Path::new("/dev/null"),
        directory.path(),
        Path::new("/dev/full"),
    ] {
        if path.exists() {
            assert!(
                matches!(write(path, &[]), Err(WriteError::NotAFile { .. })),
                "{path:?}"
            );
        }
    }
}

#[test]
#[cfg(unix)]
fn a_link_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    write(&link, &runs(1, 1)).unwrap();
    assert!(link.is_symlink());
    assert_eq!(open_file(&file).unwrap().runs().len(), 1);
}

/// A file system of 64 KiB; `None` if mounting is not allowed.
#[cfg(target_os = "linux")]
fn tiny_file_system(directory: &Path) -> Option<impl Drop> {
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(&self.0).status();
        }
    }
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(directory)
        .stderr(std::process::Stdio::null())
        .status();
    mount
        .is_ok_and(|status| status.success())
        .then(|| Mounted(directory.to_owned()))
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_mounted) = tiny_file_system(directory.path()) else {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    };
    let mut runs = runs(1, 1);
    let mut random = 1u64;
    let noise = std::iter::repeat_with(|| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 56) as u8
    });
    runs[0].1[0].data = noise.take(200_000).collect();
    let path = directory.path().join("a.lwcap");
    let error = chain(&write(&path, &runs).unwrap_err()).to_string();
    assert!(
        error.starts_with(&format!(
            "writing {} failed: No space left on device",
            path.display()
        )),
        "{error}"
    );
    assert!(
        error.ends_with("; make room there or choose another place"),
        "{error}"
    );
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_refuses_bytes_is_an_error() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let error = capture_format::Writer::new(full, &header())
        .map(drop)
        .unwrap_err();
    let error = chain(&error).to_string();
    assert!(
        error.starts_with("the capture could not be written: No space left on device"),
        "{error}"
    );
    assert!(
        error.ends_with("; make room there or choose another place"),
        "{error}"
    );
}

#[test]
fn a_file_left_by_a_killed_process_is_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let left = format!(".a.lwcap.{}-0.part", std::process::id());
    fs::write(directory.path().join(&left), "half").unwrap();
    let path = directory.path().join("a.lwcap");
    write(&path, &runs(1, 1)).unwrap();
    assert_eq!(open_file(&path).unwrap().damage(), []);
    assert_eq!(names(directory.path()), [left, "a.lwcap".into()]);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| chain(&open_file(path).map(drop).unwrap_err()).to_string();
    let path = directory.path().join("none.lwcap");
    let expected = format!(
        "cannot read {}: No such file or directory (os error 2)",
        path.display()
    );
    assert_eq!(open(&path), expected);
    let expected = format!(
        "cannot read {}: it is a directory; name a capture (*.lwcap) in it",
        directory.path().display()
    );
    assert_eq!(open(directory.path()), expected);
    fs::write(&path, b"\x1f\x8b\x08\x00").unwrap();
    let expected = format!(
        "{}: not a lastword capture: it looks like a gzip file; decompress it first (lastword reads the .lwcap files that it writes)",
        path.display()
    );
    assert_eq!(open(&path), expected);
}
