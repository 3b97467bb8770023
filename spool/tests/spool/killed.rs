//! An agent that is killed while it writes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use capture_format::open_file;
use spool::{Limits, Spool};

use crate::captures::{config, header, open, open_within, write};

const DIRECTORY: &str = "LASTWORD_TEST_SPOOL";

/// No test: the agent that is killed.
#[test]
#[ignore = "run by the test below"]
fn writes_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let limits = Limits {
        per_pod: 5,
        ..Limits::default()
    };
    let spool = open_within(Path::new(&directory), limits);
    loop {
        let entry = write(&spool, &header("web-0", 0), 300_000).entry;
        println!("written {}", entry.id);
    }
}

/// Whether a file is being written; looks only, since the files come and go.
fn half_written(directory: &Path) -> bool {
    let container = directory.join("captures/shop/web-0/app");
    let mut names = std::fs::read_dir(container).unwrap();
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
        let mut child = Command::new(std::env::current_exe().unwrap())
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
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let written: Vec<_> = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| Some(line.split_once("written ")?.1.to_owned()))
            .take(1 + round % 4)
            .collect();
        while !half_written(directory.path()) {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let (spool, found) = Spool::open(config(directory.path())).unwrap();
        halves += found.halves;
        assert!(spool.entry(written.last().unwrap()).is_some());
        for entry in spool.entries() {
            let reader = open_file(&spool.path(&entry.id).unwrap()).unwrap();
            assert_eq!((reader.damage(), reader.runs().len()), (&[][..], 2));
            assert_eq!(entry.info.runs, [4, 5]);
        }
        assert!(!half_written(directory.path()));
    }
    assert!(halves > 0, "none was killed while it wrote");
    write(&open(directory.path()), &header("web-0", 0), 100);
}
