//! Which files are where, and what an agent finds when it starts.

use std::fs;
use std::path::Path;

use capture_format::{Header, Pod, Run, WallTime, open_file};
use spool::{Entry, Found, Info, New, Spool, SpoolError, list};

use crate::captures::{
    SECOND, config, files, header, now, open, sha256sum, tree, try_write, write, write_as,
};

fn reopen(directory: &Path) -> (Spool, Found) {
    Spool::open(config(directory)).unwrap()
}

#[test]
fn a_capture_lies_beside_its_sidecar_and_both_are_their_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let mut header = header("web-0", 0);
    header.created = WallTime(1_795_229_877_123_456_789);
    let entry = write_as(&spool, "web-0-app-x7k2p", &header, 5_000);
    assert_eq!(
        (&*entry.id, entry.name()),
        ("shop/web-0-app-x7k2p", "web-0-app-x7k2p")
    );
    let path = spool.path(&entry.id).unwrap();
    assert_eq!(open_file(&path).unwrap().header(), &header);
    let expected = [
        ("captures", 0o700),
        ("captures/shop", 0o700),
        ("captures/shop/web-0-app-x7k2p.json", 0o600),
        ("captures/shop/web-0-app-x7k2p.lwcap", 0o600),
        ("clock", 0o600),
        ("lock", 0o600),
    ];
    assert_eq!(
        tree(directory.path()),
        expected.map(|(path, mode)| (path.into(), mode))
    );
}

#[test]
fn the_entry_says_what_the_capture_is_and_the_next_agent_knows_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let entry = write(&spool, &header("web-0", 0), 5_000).entry;
    let info = &entry.info;
    let names = [
        &info.namespace,
        &info.pod,
        &info.pod_uid,
        &info.container,
        &info.container_id,
        &info.node,
    ];
    assert_eq!(
        names,
        ["shop", "web-0", "uid-of-web-0", "app", "c0ffee", "node-1"]
    );
    assert_eq!(
        (&*info.trigger.kind, info.rank, info.pinned),
        ("restarts", 3, false)
    );
    assert_eq!(info.ended, Some(WallTime(25 * SECOND)));
    assert_eq!((&*info.runs, info.losses.overwritten), (&[4, 5][..], 20));
    assert_eq!(info.verdict.as_deref(), Some("app exited 1: no such host"));
    let path = spool.path(&entry.id).unwrap();
    assert_eq!(info.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(info.sha256, sha256sum(&path));

    let entry = spool
        .update(&entry.id, |entry| entry.state.announced = true)
        .unwrap();
    assert_eq!(
        list(directory.path()).unwrap(),
        std::slice::from_ref(&entry)
    );
    drop(spool);
    let (spool, found) = reopen(directory.path());
    assert_eq!((spool.entries(), found), (vec![entry], Found::default()));
}

#[test]
fn names_cannot_leave_the_spool_or_meet() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    for (namespace, name) in [
        ("../..", "/etc"),
        ("..", "."),
        ("a/b", "c"),
        ("a", "b/c"),
        ("", ""),
        (".x", "\0"),
        ("..", ".."),
        ("a", "b_c"),
        ("a", "b.json"),
        ("a", "b"),
        ("a", "b.lwcap"),
    ] {
        write_as(&spool, name, &header_in(namespace), 10);
    }
    let places: Vec<_> = tree(directory.path())
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let captures = |path: &&std::path::PathBuf| path.extension().is_some_and(|it| it == "lwcap");
    assert_eq!(places.iter().filter(captures).count(), 11);
    assert!(
        places
            .iter()
            .filter(captures)
            .all(|path| path.components().count() == 3),
        "{places:?}"
    );
    assert_eq!(reopen_after(spool, directory.path()).0.entries().len(), 11);
}

fn reopen_after(spool: Spool, directory: &Path) -> (Spool, Found) {
    drop(spool);
    reopen(directory)
}

/// The header of a capture of a pod in this namespace.
fn header_in(namespace: &str) -> Header {
    let mut header = header("web-0", 0);
    header.pod = header.pod.map(|pod| Pod {
        namespace: namespace.into(),
        uid: format!("uid-in-{namespace}"),
        ..pod
    });
    header
}

#[test]
fn sidecars_that_are_missing_or_damaged_are_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let entries: Vec<Entry> = (0..5)
        .map(|age| write(&spool, &header("web-0", age), 5_000).entry)
        .collect();
    let sidecars: Vec<_> = entries
        .iter()
        .map(|it| spool.path(&it.id).unwrap().with_extension("json"))
        .collect();
    fs::remove_file(&sidecars[0]).unwrap();
    fs::write(&sidecars[1], "{\"id\": \"shop/we").unwrap();
    fs::write(&sidecars[2], vec![b' '; 100_000]).unwrap();
    let of_another = fs::read_to_string(&sidecars[4])
        .unwrap()
        .replace("\"bytes\": ", "\"bytes\": 1");
    fs::write(&sidecars[3], of_another).unwrap();
    let (spool, found) = reopen_after(spool, directory.path());
    assert_eq!(
        found,
        Found {
            rebuilt: 4,
            ..Found::default()
        }
    );
    for (number, before) in entries.iter().enumerate() {
        let mut expected = before.clone();
        if number < 4 {
            (
                expected.info.verdict,
                expected.info.cause,
                expected.info.rank,
            ) = (None, None, 0);
            // The time at which it came is the time at which it was found.
            let since = spool.entry(&before.id).unwrap().state.since;
            assert!(since > expected.state.since);
            expected.state.since = since;
        }
        assert_eq!(spool.entry(&before.id).unwrap(), expected);
    }
    assert_eq!(reopen_after(spool, directory.path()).1, Found::default());
}

#[test]
fn a_capture_that_cannot_be_read_is_kept_under_the_namespace_of_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let entry = write(&spool, &header("web-0", 0), 5_000).entry;
    let path = spool.path(&entry.id).unwrap();
    fs::write(&path, "damaged").unwrap();
    let (spool, found) = reopen_after(spool, directory.path());
    assert_eq!(found.rebuilt, 1);
    let info = spool.entry(&entry.id).unwrap().info;
    assert_eq!(
        [&info.namespace, &info.pod, &info.container],
        ["shop", "", ""]
    );
    assert_eq!(info.bytes, 7);
    assert!(now() - info.created.0 < 3_600 * 1_000_000_000);
}

#[test]
fn what_a_killed_agent_left_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let entry = write(&spool, &header("web-0", 0), 100).entry;
    let here = spool.path(&entry.id).unwrap().parent().unwrap().to_owned();
    fs::write(here.join("..oom.lwcap.part.1-0.part"), "half").unwrap();
    fs::write(here.join(".oom.lwcap.part"), "whole, without a name").unwrap();
    fs::write(here.join(".oom.json.part"), "half").unwrap();
    fs::write(here.join("oom.json"), "{}").unwrap();
    fs::write(here.join("notes.txt"), "mine").unwrap();
    fs::create_dir_all(directory.path().join("captures/a")).unwrap();
    let (_spool, found) = reopen_after(spool, directory.path());
    assert_eq!(
        found,
        Found {
            halves: 3,
            orphans: 1,
            rebuilt: 0
        }
    );
    assert_eq!(files(&here).len(), 3, "{:?}", files(&here));
    assert!(!directory.path().join("captures/a").exists());
}

#[test]
fn links_are_not_followed() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = open(elsewhere.path());
    write(&other, &header("web-0", 0), 100);
    drop(open(directory.path()));
    let link = directory.path().join("captures/shop");
    std::os::unix::fs::symlink(elsewhere.path().join("captures/shop"), link).unwrap();
    assert_eq!(open(directory.path()).entries(), []);
}

#[test]
fn the_record_of_an_uploaded_capture_outlives_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let uploaded = write(&spool, &header("web-0", 1), 100).entry;
    let other = write(&spool, &header("web-0", 0), 100).entry;
    let location = Some("s3://bucket/key".to_owned());
    spool
        .update(&uploaded.id, |it| {
            it.state.upload.location = location.clone()
        })
        .unwrap();
    for entry in [&uploaded, &other] {
        fs::remove_file(spool.path(&entry.id).unwrap()).unwrap();
    }
    let (spool, found) = reopen_after(spool, directory.path());
    assert_eq!(
        found,
        Found {
            orphans: 1,
            ..Found::default()
        }
    );
    let [record] = &spool.entries()[..] else {
        panic!("{:?}", spool.entries());
    };
    assert_eq!(
        (record.present, &record.state.upload.location),
        (false, &location)
    );
    assert_eq!(spool.path(&record.id), None);
}

#[test]
fn one_agent_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let _spool = open(directory.path());
    let error = Spool::open(config(directory.path())).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
}

#[test]
fn a_removed_capture_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let entry = write(&spool, &header("web-0", 0), 100).entry;
    spool.remove(&entry.id).unwrap();
    assert_eq!(files(directory.path()), ["clock", "lock"]);
    assert!(!directory.path().join("captures/shop").exists());
    let error = spool.update(&entry.id, |_| ()).unwrap_err().to_string();
    assert!(error.contains("may have been dropped"), "{error}");
}

#[test]
fn a_directory_that_somebody_removed_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    write(&spool, &header("web-0", 0), 100);
    fs::remove_dir_all(directory.path().join("captures")).unwrap();
    let entry = write(&spool, &header("web-0", 0), 100).entry;
    assert!(spool.path(&entry.id).unwrap().is_file());
}

#[test]
fn a_spool_that_somebody_removed_is_told_once_and_used_on() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("spool");
    let spool = open(&directory);
    let gone = write(&spool, &header("web-0", 0), 100).entry;
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(spool.enforce(), []);
    let trouble = spool.trouble().unwrap();
    assert!(
        trouble.contains("was removed") && trouble.contains("1 captures"),
        "{trouble}"
    );
    assert_eq!((spool.usage().captures, spool.usage().lost), (0, 1));
    assert_eq!(spool.entry(&gone.id), None);
    let entry = write(&spool, &header("web-0", 0), 100).entry;
    assert!(spool.path(&entry.id).unwrap().is_file());
    assert_eq!(spool.enforce(), []);
    assert_eq!(spool.trouble(), None);
    // The directory belongs to this agent alone again.
    let error = Spool::open(config(&directory)).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
}

#[test]
fn a_directory_that_cannot_be_written_is_told_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let captures = directory.path().join("captures");
    fs::remove_dir(&captures).unwrap();
    fs::write(&captures, "").unwrap();
    spool.enforce();
    let trouble = spool.trouble().unwrap();
    assert!(
        trouble.contains("remove the file that is in the way") || trouble.contains("captures"),
        "{trouble}"
    );
    try_write(&spool, &header("web-0", 0), 100).unwrap_err();
    assert!(spool.trouble().is_some());
    fs::remove_file(&captures).unwrap();
    spool.enforce();
    assert_eq!(spool.trouble(), None);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("spool")).trouble().unwrap();
    assert!(
        error.contains("file/spool") && error.ends_with("; remove the file that is in the way"),
        "{error}"
    );
}

#[test]
fn a_directory_that_cannot_be_used_is_waited_for_and_what_would_be_written_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("spool");
    fs::write(&place, "in the way").unwrap();
    let spool = open(&place);
    let trouble = spool.trouble().expect("a reason");
    assert!(
        trouble.contains("remove the file that is in the way"),
        "{trouble}"
    );
    let header = header("web-0", 0);
    let new = New {
        name: "web-0-app",
        header: &header,
        rank: 0,
        requested: false,
        pinned: false,
        expected_bytes: 0,
    };
    let run = Run {
        number: 7,
        ..Run::default()
    };
    let refused = || spool.write(&new, |_| Ok(()), |_, _| ()).unwrap_err();
    let note = |name: &str| {
        let new = New { name, ..new };
        let verdict = |info: &mut Info| info.verdict = Some("it failed".to_owned());
        spool.note(&new, &refused(), std::slice::from_ref(&run), verdict)
    };
    let entry = note("web-0-app").unwrap();
    assert_eq!(entry.info.runs, [7]);
    assert_eq!(
        spool.find(|entry| !entry.state.announced),
        std::slice::from_ref(&entry)
    );
    assert_eq!(spool.path(&entry.id), None);
    spool
        .update(&entry.id, |entry| entry.state.announced = true)
        .unwrap();
    assert!(spool.entry(&entry.id).unwrap().state.announced);
    for number in 0..1000 {
        note(&format!("web-0-app-{number}")).unwrap();
    }
    assert!(spool.entries().len() < 500, "they are bounded");
    assert!(spool.forget("shop/web-0-app-999"));
    assert!(!spool.forget("shop/web-0-app-999"));

    fs::remove_file(&place).unwrap();
    spool.enforce();
    assert_eq!(spool.trouble(), None);
    let written = write_as(&spool, "web-0-app", &header, 5_000);
    assert!(spool.path(&written.id).unwrap().exists());
    assert!(note_of(&spool, &new).is_none(), "there is one that stands");
    assert!(matches!(
        Spool::open(config(&place)),
        Err(SpoolError::InUse { .. })
    ));
    drop(spool);
    let (spool, _) = reopen(&place);
    assert_eq!(spool.entries().len(), 1, "the others were in memory only");
}

fn note_of(spool: &Spool, new: &New) -> Option<Entry> {
    let why = SpoolError::Unknown { id: String::new() };
    spool.note(new, &why, &[], |_| ())
}
