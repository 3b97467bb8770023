//! Kept runs that pass from one agent to the next.

use std::fs;
use std::time::Duration;

use spool::{Config, Restored, SavedRun, Spool};

use crate::captures::{config, files, open, tree};

fn run(container: &str, run: u32, size: usize) -> SavedRun {
    SavedRun {
        pod_uid: "uid\n/../x".into(),
        container: container.into(),
        run,
        bytes: vec![b'\n'; size].into(),
    }
}

#[test]
fn they_stay_until_others_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let runs: Vec<_> = (0..12)
        .map(|number| run("app", number, 100 * number as usize))
        .collect();
    assert_eq!(open(directory.path()).save(&runs, "boot").unwrap(), 0);
    let kept = directory.path().join("kept");
    assert!(tree(&kept).iter().all(|(_, mode)| *mode == 0o600));
    let spool = open(directory.path());
    let restored = spool.restore("boot").unwrap();
    assert_eq!(
        restored,
        Restored {
            runs,
            ..Restored::default()
        }
    );
    // The agent that has read them may be killed at once.
    let before = files(&kept);
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(spool.restore("boot").unwrap(), restored);
    let restored = spool.restore("boot").unwrap().runs;
    // What is kept still is not written again, and what is not goes.
    let (first, new) = (restored[1].clone(), run("new", 1, 1));
    assert_eq!(spool.save(&[first, new], "boot").unwrap(), 0);
    let after = files(&kept);
    assert_eq!(after.len(), 2);
    assert!(
        before.contains(&after[0]) && !before.contains(&after[1]),
        "{after:?}"
    );
    spool.save(&[], "boot").unwrap();
    assert_eq!(spool.restore("boot").unwrap(), Restored::default());
}

#[test]
fn the_first_ones_are_kept_as_far_as_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        kept_bytes: 2_500,
        ..config(directory.path())
    };
    let spool = Spool::open(config).unwrap().0;
    let runs = [
        run("a", 1, 1_000),
        run("b", 1, 1_000),
        run("c", 1, 1_000),
        run("d", 1, 10),
    ];
    assert_eq!(spool.save(&runs, "boot").unwrap(), 1);
    let size: u64 = files(&directory.path().join("kept")).len() as u64;
    assert_eq!(size, 3);
    let names: Vec<_> = spool
        .restore("boot")
        .unwrap()
        .runs
        .into_iter()
        .map(|run| run.container)
        .collect();
    assert_eq!(names, ["a", "b", "d"]);
}

#[test]
fn no_more_than_the_limit_is_read() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path())
        .save(&[run("a", 1, 1_000), run("b", 1, 1_000)], "boot")
        .unwrap();
    let config = Config {
        kept_bytes: 1_500,
        ..config(directory.path())
    };
    let restored = Spool::open(config).unwrap().0.restore("boot").unwrap();
    assert_eq!((restored.runs.len(), restored.damaged), (1, 1));
}

#[test]
fn those_of_another_boot_or_too_old_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    spool.save(&[run("a", 1, 1)], "boot").unwrap();
    assert_eq!(
        spool.restore("another").unwrap(),
        Restored {
            stale: 1,
            ..Restored::default()
        }
    );
    drop(spool);
    let config = Config {
        kept_age: Duration::ZERO,
        ..config(directory.path())
    };
    let spool = Spool::open(config).unwrap().0;
    spool.save(&[run("a", 1, 1)], "boot").unwrap();
    assert_eq!(
        spool.restore("boot").unwrap(),
        Restored {
            stale: 1,
            ..Restored::default()
        }
    );
    assert_eq!(tree(&directory.path().join("kept")), []);
}

#[test]
fn damaged_files_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    spool
        .save(
            &[run("a", 1, 100), run("b", 1, 100), run("c", 1, 100)],
            "boot",
        )
        .unwrap();
    let kept = directory.path().join("kept");
    let whole = fs::read(kept.join("0.run")).unwrap();
    fs::write(kept.join("0.run"), &whole[..whole.len() - 1]).unwrap();
    fs::write(kept.join("1.run"), "{}").unwrap();
    fs::write(kept.join(".3.run.part"), "half").unwrap();
    let restored = spool.restore("boot").unwrap();
    assert_eq!(
        (restored.runs.len(), restored.damaged, restored.stale),
        (1, 2, 0)
    );
    assert_eq!(tree(&kept).len(), 1);
}

#[test]
fn what_is_kept_still_is_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let [a, b, c] = ["a", "b", "c"].map(|name| run(name, 1, 10));
    spool.save(&[a.clone(), b.clone()], "boot").unwrap();
    let kept = directory.path().join("kept");
    fs::write(kept.join("0.run"), "as it was").unwrap();
    // Another run has the number of `b`, as after a new count.
    let other = run("b", 1, 20);
    spool.save(&[a, other.clone(), c.clone()], "boot").unwrap();
    assert_eq!(fs::read(kept.join("0.run")).unwrap(), b"as it was");
    let restored = spool.restore("boot").unwrap();
    assert_eq!(
        (restored.runs, restored.damaged),
        (vec![other, c.clone()], 1)
    );
    spool.save(&[c], "boot").unwrap();
    assert_eq!(files(&kept).len(), 1);
    spool.save(&[], "boot").unwrap();
    assert_eq!(files(&kept).len(), 0);
}

#[test]
fn the_last_agents_runs_replace_earlier_ones() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    spool
        .save(&[run("a", 1, 1), run("b", 1, 1)], "boot")
        .unwrap();
    spool.save(&[run("c", 1, 1)], "boot").unwrap();
    assert_eq!(spool.restore("boot").unwrap().runs, [run("c", 1, 1)]);
}
