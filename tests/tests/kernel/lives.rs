//! Containers that already run, containers that lose their ring, and the messages about a container's end; in both
//! kinds of cgroup hierarchy.

use std::{
    path::Path,
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use agent::{
    adopt,
    recorder::{
        AdoptError, ContainerShape, FirstProcess, Hierarchy, Message, MessageKind, Recorder,
        RingId, Settings,
    },
};
use capture_format::{CgroupId, Event, EventKind as K, ExitStatus, SignalOrigin};
use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{
    Case,
    made::{ID, Made, alone, refill, start, start_as_pid_1, top},
    support::cgroup2,
};

pub(crate) const CASES: &[Case] = &[
    ("adopts_a_container_that_runs_already", adopts),
    (
        "a_container_that_starts_with_the_recorder_is_recorded_whole",
        at_the_start,
    ),
    ("tells_the_end_of_a_containers_first_process", first_process),
    (
        "tells_no_end_of_a_process_that_shares_its_pid_namespace",
        shared_pids,
    ),
    ("recognises_containers_in_a_version_1_hierarchy", version_1),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("refuses_to_adopt_twice_or_what_is_gone", adopts_once),
    ("a_released_container_lives_on_unrecorded", released),
];

fn container(top: &Made) -> Result<Made, Failed> {
    Made::below(&top.0, &format!("docker-{ID}.scope"))
}

/// Events in the ring that open a path.
fn opens(recorder: &Recorder, ring: RingId, path: &str) -> Result<Vec<Event>, Failed> {
    let mut events = recorder.read(ring)?.events;
    events.retain(|event| event.kind == K::OPENAT && event.name == path);
    Ok(events)
}

fn first_exit(messages: Vec<Message>) -> Option<(CgroupId, RingId, u32, ExitStatus)> {
    messages.into_iter().find_map(|message| match message.kind {
        MessageKind::InitExit { ring, pid, status } => Some((message.cgroup, ring, pid, status)),
        _ => None,
    })
}

/// Closes the standard input of a script, so that the script goes on, and waits for its end.
fn finish(mut child: Child) -> Result<(), Failed> {
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn adopts() -> Result<(), Failed> {
    let _alone = alone();
    let top = top()?;
    let made = container(&top)?;
    let inner = Made::below(&made.0, "inner")?;
    let child = start_as_pid_1(
        &made,
        "echo 0 > inner/cgroup.procs; cat /missing/1; echo out; echo err >&2; exit 3",
    )?;
    let pid = child.id();
    let mut recorder = Recorder::start(&Settings::default())?;
    let (proc, shapes) = (Path::new("/proc"), ContainerShape::runtimes());
    let found = adopt::containers(proc, &cgroup2(), &shapes)?;
    let running = found.iter().find(|running| running.directory == made.0);
    let running = running.ok_or("the container was not found")?;
    assert_eq!((running.cgroup, running.init_pid), (made.id()?, pid));
    let first = adopt::first_process(proc, running);
    let adopted = recorder.adopt(
        running.cgroup,
        running.outermost,
        &running.path,
        first,
        || adopt::nested(running, &shapes),
    )?;
    let ring = adopted.ring;
    assert_eq!(recorder.ring_of(inner.id()?), Some(ring));
    let since = recorder.read(ring)?.since;
    let preface = adopt::preface(proc, running, &shapes, || since);
    let exec = preface.first().ok_or("no preface")?;
    assert_eq!((exec.kind, exec.pid), (K::EXEC, pid));
    assert!(
        exec.data.starts_with(b"/bin/sh\0-c\0read line;"),
        "{exec:?}"
    );
    finish(child)?;
    let recording = recorder.read(ring)?;
    for (data, inode) in [("out\n", first.stdout), ("err\n", first.stderr)] {
        let mut writes = recording.events.iter().filter(|event| event.data == data);
        let written_to = writes.next().map(|event| event.args[1] as u64);
        assert_eq!(written_to, Some(inode), "{data:?}");
    }
    assert_eq!(opens(&recorder, ring, "/missing/1")?.len(), 1);
    let told = first_exit(recorder.messages());
    assert_eq!(told, Some((made.id()?, ring, pid, ExitStatus::Code(3))));
    Ok(())
}

fn adopts_once() -> Result<(), Failed> {
    let _alone = alone();
    let top = top()?;
    let made = container(&top)?;
    let mut recorder = Recorder::start(&Settings::default())?;
    let used = recorder.stock().used;
    let first = FirstProcess::default();
    let gone = recorder.adopt(made.id()?, made.id()?, "/made", first, || {
        Err(std::io::ErrorKind::NotFound.into())
    });
    assert!(matches!(gone, Err(AdoptError::Gone)), "{gone:?}");
    assert_eq!(
        (recorder.ring_of(made.id()?), recorder.stock().used),
        (None, used)
    );
    let ring = recorder
        .adopt(made.id()?, made.id()?, "/made", first, || Ok(Vec::new()))?
        .ring;
    let again = recorder.adopt(made.id()?, made.id()?, "/made", first, || Ok(Vec::new()));
    assert!(
        matches!(again, Err(AdoptError::HasOne(same)) if same == ring),
        "{again:?}"
    );
    // Cgroups that are made inside the container from now on belong to it.
    let inner = Made::below(&made.0, "inner")?;
    assert_eq!(recorder.ring_of(inner.id()?), Some(ring));
    Ok(())
}

/// One container after another starts while the recorder starts, the last one after that.
fn at_the_start() -> Result<(), Failed> {
    let _alone = alone();
    let top = top()?;
    let has_started = AtomicBool::new(false);
    let live = |number: usize| -> Result<Made, Failed> {
        let made = Made::below(&top.0, &format!("docker-{number:064x}.scope"))?;
        let child = start(&made, "cat /missing/3")?;
        finish(child)?;
        Ok(made)
    };
    let (recorder, all) = thread::scope(|scope| {
        let living = scope.spawn(|| -> Result<Vec<Made>, String> {
            let mut all = Vec::new();
            loop {
                let is_last = has_started.load(Ordering::Relaxed);
                all.push(live(all.len()).map_err(|failed| format!("{failed:?}"))?);
                if is_last {
                    return Ok(all);
                }
            }
        });
        let recorder = Recorder::start(&Settings::default());
        has_started.store(true, Ordering::Relaxed);
        (recorder, living.join().expect("no panic"))
    });
    let (recorder, all) = (recorder?, all?);
    let mut recorded = 0;
    for made in &all {
        if let Some(ring) = recorder.ring_of(made.id()?) {
            recorded += 1;
            assert_eq!(opens(&recorder, ring, "/missing/3")?.len(), 1);
        }
    }
    assert_ne!(recorded, 0, "of {} containers", all.len());
    Ok(())
}

fn released() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let made = container(&top)?;
    let id = made.id()?;
    let ring = recorder.ring_of(id).ok_or("no ring")?;
    let child = start(&made, "cat /missing/2")?;
    let before = recorder.stock();
    recorder.release(ring);
    assert_eq!(recorder.ring_of(id), None);
    // The ring counts as free at once, so no other ring is made instead.
    assert_eq!(recorder.stock().used + 1, before.used);
    assert_eq!(recorder.stock().free, before.free + 1);
    refill(&mut recorder)?;
    finish(child)?;
    assert_eq!(opens(&recorder, ring, "/missing/2")?, []);
    Ok(())
}

fn first_process() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let made = container(&top)?;
    let inner = Made::below(&made.0, "inner")?;
    let ring = recorder.ring_of(made.id()?).ok_or("no ring")?;
    // A shell in a pid namespace inside the container is not the container's first process.
    let child = start_as_pid_1(&inner, "unshare -p -f /bin/sh -c 'exit 4'; exit 5")?;
    let pid = child.id();
    finish(child)?;
    let told = first_exit(recorder.messages());
    assert_eq!(told, Some((made.id()?, ring, pid, ExitStatus::Code(5))));
    Ok(())
}

fn shared_pids() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let made = container(&top)?;
    finish(start(&made, "unshare -p -f /bin/sh -c 'exit 4'; exit 5")?)?;
    assert_eq!(first_exit(recorder.messages()), None);
    Ok(())
}

/// A mount that is removed when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts the version 1 hierarchy of the freezer. Version 2 does not have the freezer as a controller, so every
    /// kernel can mount it.
    fn freezer() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        mount(
            Some("none"),
            folder.path(),
            Some("cgroup"),
            MsFlags::empty(),
            Some("freezer"),
        )?;
        Ok(Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn version_1() -> Result<(), Failed> {
    let _alone = alone();
    let mounted = Mounted::freezer()?;
    let mut recorder = Recorder::start(&Settings {
        hierarchy: Hierarchy::V1 {
            controller: "freezer".into(),
        },
        ..Settings::default()
    })?;
    let unified = top()?;
    let elsewhere = container(&unified)?;
    let made = container(&Made(mounted.0.path().into()))?;
    let inner = Made::below(&made.0, "inner")?;
    let ring = recorder.ring_of(made.id()?).ok_or("no ring")?;
    assert_eq!(recorder.ring_of(inner.id()?), Some(ring));
    let assigned: Vec<String> = recorder
        .messages()
        .into_iter()
        .filter_map(|message| match message.kind {
            MessageKind::Assigned { path, .. } => Some(path),
            _ => None,
        })
        .filter(|path| path.contains(ID))
        .collect();
    assert_eq!(assigned, [format!("/docker-{ID}.scope")]);
    let child = start_as_pid_1(
        &inner,
        "cat /missing/3; sleep 100 & kill -TERM $!; wait; exit 6",
    )?;
    let pid = child.id();
    finish(child)?;
    assert_eq!(opens(&recorder, ring, "/missing/3")?.len(), 1);
    let events = recorder.read(ring)?.events;
    for kind in [K::EXEC, K::FORK, K::EXIT, K::STDIO, K::SIGNAL_DELIVER] {
        assert!(events.iter().any(|event| event.kind == kind), "{kind:?}");
    }
    let mut sent = events
        .iter()
        .filter(|event| event.kind == K::SIGNAL_GENERATE);
    let origin = sent.find(|event| event.ret == 15).ok_or("no SIGTERM")?.args[2];
    assert_eq!(SignalOrigin::from_code(origin), Some(SignalOrigin::Inside));
    let told = first_exit(recorder.messages());
    assert_eq!(told, Some((made.id()?, ring, pid, ExitStatus::Code(6))));
    let id = made.id()?;
    drop(inner);
    drop(made);
    drop(elsewhere);
    let removed: Vec<CgroupId> = recorder
        .messages()
        .into_iter()
        .filter(|message| matches!(message.kind, MessageKind::Removed(_)))
        .map(|message| message.cgroup)
        .collect();
    assert_eq!(removed, [id]);
    Ok(())
}
