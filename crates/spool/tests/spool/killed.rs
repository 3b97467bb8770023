//! An agent that is killed while it writes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use capture_format::{WallTime, open_file};
use spool::{Limits, Spool};

use crate::captures::{config, header, open, open_within, sha256sum, write, write_as};

const DIRECTORY: &str = "LASTWORD_TEST_SPOOL";
const PER_POD: usize = 5;

/// Not a test: this is the agent that is killed.
#[test]
#[ignore = "run by the test below"]
fn writes_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let limits = Limits {
        per_pod: PER_POD,
        ..Limits::default()
    };
    let spool = open_within(Path::new(&directory), limits);
    // When they are used, some of these names are free and some are taken.
    for name in ["a", "b", "a", "c", "d", "e", "f", "g"].iter().cycle() {
        let entry = write_as(&spool, name, &header("web-0", 0), 300_000);
        println!("written {} {}", entry.id, entry.info.created.0);
    }
}

/// A child that is killed when the test ends, if not before.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whether a file is being written. This only looks, because files come and go.
fn half_written(directory: &Path) -> bool {
    let mut names = std::fs::read_dir(directory.join("captures/shop")).unwrap();
    names.any(|child| {
        child
            .unwrap()
            .path()
            .extension()
            .is_some_and(|it| it == "part")
    })
}

#[test]
fn no_half_capture_has_a_name_and_the_next_start_picks_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut halves = 0;
    for round in 0..12 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "killed::writes_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let written: Vec<_> = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| Some(line.split_once("written ")?.1.to_owned()))
            .take(1 + round % 4)
            .collect();
        while !half_written(directory.path()) {
            assert_eq!(child.0.try_wait().unwrap(), None, "it ended by itself");
        }
        drop(child);

        let (spool, found) = Spool::open(config(directory.path())).unwrap();
        halves += found.halves;
        let (id, created) = written.last().unwrap().split_once(' ').unwrap();
        let entries = spool.entries();
        let newer = entries
            .iter()
            .filter(|it| it.info.created > WallTime(created.parse().unwrap()));
        // It may have written some more captures, and dropped that one for them.
        assert!(
            spool.entry(id).is_some() || newer.count() >= PER_POD - 1,
            "{id} {created}: {entries:?}"
        );
        for entry in entries {
            let path = spool.path(&entry.id).unwrap();
            assert_eq!(entry.info.sha256, sha256sum(&path));
            let reader = open_file(&path).unwrap();
            assert_eq!((reader.damage(), reader.runs().len()), (&[][..], 2));
            assert_eq!(entry.info.runs, [4, 5]);
        }
        assert!(!half_written(directory.path()));
    }
    assert!(halves > 0, "none was killed while it wrote");
    write(&open(directory.path()), &header("web-0", 0), 100);
}
