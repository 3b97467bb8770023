//! Cgroups that are recognised as containers; rings that are assigned and released.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use agent::recorder::{Budget, ContainerShape, MessageKind, Recorder, Settings};
use capture_format::EventKind as K;
use lastword_tests::in_thread;
use libtest_mimic::Failed;
use nix::{
    mount::{MsFlags, mount},
    sched::CloneFlags,
};

use crate::{
    Case,
    made::{ID, Made, alone, refill, top},
    support::{cgroup2, lastword, record_with, victim},
};

pub(crate) const CASES: &[Case] = &[
    (
        "a_container_inside_a_container_has_its_own_ring",
        containers_inside,
    ),
    ("a_message_has_the_cgroups_path", paths),
    ("a_container_that_lives_20_ms_loses_nothing", short_lives),
    ("the_table_forgets_removed_cgroups", forgets),
    ("many_nested_cgroups_keep_nobody_out", crowd),
];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("recognises_containers_by_their_cgroups_name", names),
    ("a_full_pool_refuses_and_recovers", full),
    ("the_pool_is_filled_before_it_is_empty", filled),
    ("without_btf_it_says_what_to_do", without_btf),
    ("the_programs_log_when_they_are_asked_to", log),
];

/// Tests for which no emulated machine is fast enough.
pub(crate) const OWN: &[Case] = &[(
    "a_hundred_containers_that_start_at_once_are_recorded",
    burst,
)];

fn names() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    for (name, is_container) in [
        (format!("cri-containerd-{ID}.scope"), true),
        (format!("crio-{ID}.scope"), true),
        (format!("docker-{ID}.scope"), true),
        (format!("libpod-{ID}.scope"), true),
        (format!("libpod-payload-{ID}.scope"), true),
        (format!("nerdctl-{ID}.scope"), true),
        (ID.to_owned(), true),
        (format!("crio-conmon-{ID}.scope"), false),
        (format!("docker-{}.scope", &ID[1..]), false),
        (format!("{ID}0"), false),
        ("kubepods-besteffort.slice".to_owned(), false),
        ("x".to_owned(), false),
    ] {
        // The machine's own containers take rings, too.
        refill(&mut recorder)?;
        let made = Made::below(&top.0, &name)?;
        let ring = recorder.ring_of(made.id()?);
        assert_eq!(ring.is_some(), is_container, "{name}");
        let shapes = ContainerShape::runtimes();
        assert_eq!(
            ContainerShape::any_fits(&shapes, &name),
            is_container,
            "{name}"
        );
        if is_container {
            let inner = Made::below(&made.0, "inner")?;
            assert_eq!(recorder.ring_of(inner.id()?), ring, "inside {name}");
        }
    }
    Ok(())
}

/// A node of kind is a container, and the node's containers are inside that container.
fn containers_inside() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let node = Made::below(&top.0, &format!("docker-{ID}.scope"))?;
    let kubelet = Made::below(&node.0, "kubelet.slice")?;
    let inner = Made::below(&kubelet.0, &format!("cri-containerd-{ID}.scope"))?;
    let app = Made::below(&inner.0, "app")?;
    let ring = |made: &Made| Ok::<_, Failed>(recorder.ring_of(made.id()?));
    let (outer_ring, inner_ring) = (ring(&node)?, ring(&inner)?);
    assert_eq!(ring(&kubelet)?, outer_ring);
    assert_eq!(ring(&app)?, inner_ring);
    assert!(outer_ring.is_some() && inner_ring.is_some() && outer_ring != inner_ring);
    let id = inner.id()?;
    drop(app);
    drop(inner);
    let removed = recorder
        .messages()
        .into_iter()
        .find_map(|message| match message.kind {
            MessageKind::Removed(ring) => Some((message.cgroup, ring)),
            _ => None,
        });
    assert_eq!(removed, Some((id, inner_ring.ok_or("no ring")?)));
    Ok(())
}

fn paths() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let deep = Made::below(&top.0, &"x".repeat(250))?;
    let deeper = Made::below(&deep.0, &"y".repeat(250))?;
    let name = format!("docker-{ID}.scope");
    let (short, long) = (Made::below(&top.0, &name)?, Made::below(&deeper.0, &name)?);
    let messages = recorder.messages();
    let path = |made: &Made| {
        let id = made.id()?;
        let mut of_it = messages.iter().filter(|message| message.cgroup == id);
        match of_it.next().map(|message| &message.kind) {
            Some(MessageKind::Assigned { ring, path, inside }) => {
                assert_eq!((recorder.ring_of(id), *inside), (Some(*ring), None));
                Ok(path.clone())
            }
            other => Err(Failed::from(format!("{other:?}"))),
        }
    };
    let below = |made: &Made| {
        let path = made.0.strip_prefix(cgroup2()).expect("below the mount");
        format!("/{}", path.display())
    };
    assert_eq!(path(&short)?, below(&short));
    assert_eq!(path(&long)?, below(&long)[..511]);
    assert_eq!(recorder.messages_lost()?, 0);
    Ok(())
}

fn short_lives() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    // More containers than the pool ever has rings, one after the other.
    for number in 0..30 {
        let made = Made::below(&top.0, &format!("docker-{:064x}.scope", number))?;
        let ring = recorder.ring_of(made.id()?).ok_or("no ring")?;
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                "echo 0 > \"$0/cgroup.procs\"; exec \"$1\" open /missing/$2",
            ])
            .args([made.0.as_os_str(), victim().as_os_str()])
            .arg(number.to_string())
            .stderr(std::process::Stdio::null())
            .status()?;
        assert_eq!(status.code(), Some(1));
        let recording = recorder.read(ring)?;
        let path = format!("/missing/{number}");
        assert!(
            recording
                .events
                .iter()
                .any(|event| event.kind == K::OPENAT && event.name == path),
            "{number}: {:#?}",
            recording.events
        );
        assert!(
            recording.events.iter().any(|event| event.kind == K::EXIT),
            "{number}"
        );
        assert!(
            recording
                .events
                .iter()
                .all(|event| event.time >= recording.since),
            "{number}: an event of another container"
        );
        assert_eq!(
            (recording.losses.overwritten, recording.losses.torn),
            (0, 0)
        );
        recorder.release(ring);
        refill(&mut recorder)?;
    }
    Ok(())
}

fn full() -> Result<(), Failed> {
    let _alone = alone();
    // There is memory for three rings, but not for four.
    let settings = Settings {
        budget: Budget {
            bytes: 4 << 20,
            ready: 4,
        },
        ..Settings::default()
    };
    let mut recorder = Recorder::start(&settings)?;
    let top = top()?;
    let made: Vec<Made> = (0..5)
        .map(|number| Made::below(&top.0, &format!("docker-{number:064x}.scope")))
        .collect::<Result<_, _>>()?;
    let rings: Vec<_> = made
        .iter()
        .map(|made| Ok(recorder.ring_of(made.id()?)))
        .collect::<Result<_, Failed>>()?;
    assert_eq!(rings.iter().flatten().count(), 3, "{rings:?}");
    let refused = recorder
        .messages()
        .into_iter()
        .filter(|message| matches!(&message.kind, MessageKind::PoolEmpty { path } if path.starts_with("/lastword-test-")))
        .count();
    assert_eq!((refused, recorder.stock().refused), (2, 2));
    recorder.release(rings.into_iter().flatten().next().ok_or("no ring")?);
    refill(&mut recorder)?;
    let later = Made::below(&top.0, &format!("docker-{:064x}.scope", 9))?;
    assert!(recorder.ring_of(later.id()?).is_some());
    Ok(())
}

/// Many containers live at the same time, and the recorder only listens.
fn filled() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let mut made = Vec::new();
    for number in 0..24 {
        let one = Made::below(&top.0, &format!("docker-{number:064x}.scope"))?;
        assert!(recorder.ring_of(one.id()?).is_some(), "container {number}");
        refill(&mut recorder)?;
        made.push(one);
    }
    let stock = recorder.stock();
    assert_eq!((stock.used, stock.free >= 4), (24, true), "{stock:?}");
    Ok(())
}

fn forgets() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    let made = Made::below(&top.0, &format!("docker-{ID}.scope"))?;
    let ring = recorder.ring_of(made.id()?).ok_or("no ring")?;
    let inner = Made::below(&made.0, "inner")?;
    let inner_id = inner.id()?;
    assert_eq!(recorder.ring_of(inner_id), Some(ring));
    drop(inner);
    assert_eq!(recorder.ring_of(inner_id), None);
    let id = made.id()?;
    recorder.release(ring);
    assert_eq!(recorder.ring_of(id), None);
    Ok(())
}

/// 200 containers start per second, and all of them live on.
fn burst() -> Result<(), Failed> {
    const CONTAINERS: usize = 100;
    let _alone = alone();
    let settings = Settings {
        budget: Budget::of_node(256 << 20),
        ..Settings::default()
    };
    let mut recorder = Recorder::start(&settings)?;
    let top = top()?;
    let (start, each) = (Instant::now(), Duration::from_millis(5));
    let made = thread::scope(|scope| {
        let starting = scope.spawn(|| {
            (0..CONTAINERS)
                .map(|number| {
                    let due = start + each * number as u32;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    Made::below(&top.0, &format!("docker-{number:064x}.scope"))
                        .map_err(|failed| format!("{failed:?}"))
                })
                .collect::<Result<Vec<Made>, String>>()
        });
        while !starting.is_finished() {
            let _ = recorder.messages();
            if !recorder.refill()? {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok::<_, Failed>(starting.join().map_err(|_| "it panicked")??)
    })?;
    let _ = recorder.messages();
    let mut recorded = 0;
    for one in &made {
        recorded += usize::from(recorder.ring_of(one.id()?).is_some());
    }
    assert_eq!((recorded, recorder.stock().refused), (CONTAINERS, 0));
    Ok(())
}

/// Ids of cgroups increase in steps. That must not fill some places of the table and leave others empty.
fn crowd() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = Recorder::start(&Settings::default())?;
    let top = top()?;
    // What is inside a container has to be removed before it.
    let mut crowds = Vec::new();
    for number in 100..111 {
        let made = Made::below(&top.0, &format!("docker-{number:064x}.scope"))?;
        let nested: Vec<Made> = (0..64)
            .map(|number| Made::below(&made.0, &format!("nested-{number}")))
            .collect::<Result<_, _>>()?;
        let ring = recorder.ring_of(made.id()?);
        for inner in &nested {
            assert_eq!(recorder.ring_of(inner.id()?), ring);
        }
        crowds.push((nested, made));
        refill(&mut recorder)?;
    }
    let mut others = Vec::new();
    for number in 0..30 {
        let other = Made::below(&top.0, &format!("docker-{number:064x}.scope"))?;
        assert!(
            recorder.ring_of(other.id()?).is_some(),
            "container {number}"
        );
        refill(&mut recorder)?;
        others.push(other);
    }
    assert_eq!(recorder.stock().refused, 0);
    Ok(())
}

fn log() -> Result<(), Failed> {
    let said = |options: &[&str]| {
        let recorded = record_with(options, &["/bin/sh", "-c", "exit 0"]);
        String::from_utf8_lossy(&recorded.output.stderr).contains("has ring")
    };
    assert!(said(&["--debug-programs"]));
    assert!(!said(&[]));
    Ok(())
}

/// The thread has its own mount namespace, in which the kernel's BTF is covered.
fn without_btf() -> Result<(), Failed> {
    let output = in_thread(CloneFlags::CLONE_NEWNS, || {
        let place = "/sys/kernel/btf";
        mount(
            Some("none"),
            place,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )?;
        // Otherwise an agent of this machine would answer.
        let status = ["status", "--socket", "/nowhere/agent.sock"];
        Ok::<_, Failed>(Command::new(lastword()).args(status).output()?)
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("/sys/kernel/btf/vmlinux") && said.contains("CONFIG_DEBUG_INFO_BTF"),
        "{said}"
    );
    Ok(())
}
