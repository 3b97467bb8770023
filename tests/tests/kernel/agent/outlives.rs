//! Agents that end, and the rings that outlive them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use agent::recorder::{Budget, PinError, Recorder, Settings};
use capture_format::{Event, EventFlags, EventKind as K, ExitStatus, Run};
use lastword_tests::api_server::{ApiServer, namespace};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::json;

use super::{
    cluster::{self, Pod},
    container::Container,
    node::{Node, until},
};
use crate::{
    Case,
    made::{ID, Made, start},
};

pub(super) const CASES: &[Case] = &[
    ("rings_outlive_an_agent_that_is_killed", || {
        lives_through(Signal::SIGKILL)
    }),
    ("programs_outlive_an_agent_and_stop_by_themselves", lapse),
];

/// What no kernel does differently.
pub(super) const ALIKE: &[Case] = &[
    (
        "rings_outlive_an_agent_killed_in_a_crash_loop",
        no_run_missing,
    ),
    ("rings_outlive_an_agent_that_stops", || {
        lives_through(Signal::SIGTERM)
    }),
    (
        "rings_outlive_an_agent_while_containers_end",
        ended_meanwhile,
    ),
    ("rings_outlive_an_agent_that_adopted", adopted),
];

/// What only the agent does: it names runs, and decides what it may pin, take over or remove.
pub(super) const OWN: &[Case] = &[
    (
        "rings_outlive_an_agent_and_are_named_before_a_capture",
        named_first,
    ),
    ("agent_removes_what_another_version_pinned", other_version),
    ("agent_pins_nothing_where_others_could", not_trusted),
    ("agent_pins_nothing_where_another_one_does", two),
    ("agent_uninstalls_what_is_pinned", uninstall),
];

/// Triggers that only the last run of a container trips.
const AT_LAST: &str =
    "triggers: {first_crash: false, restarts: [], exit_codes: [7]}\nruns: {keep: 20}";

impl Node {
    /// Makes a node whose rings outlive its agents.
    fn that_pins(more: &str) -> Result<Self, Failed> {
        let mut node = Self::new("")?;
        node.mount_bpf()?;
        let pin = format!("recorder: {{pin: {}}}\n{more}", node.pins().display());
        node.configure(&pin)?;
        node.start()?;
        Ok(node)
    }

    /// Where its agents pin.
    fn pins(&self) -> PathBuf {
        self.file("bpf/lastword")
    }

    /// The versions of what is pinned.
    fn versions(&self) -> Result<Vec<String>, Failed> {
        let names = fs::read_dir(self.pins())?.map(|entry| {
            let name = entry?.file_name();
            Ok(name.to_string_lossy().into_owned())
        });
        Ok(names.collect::<std::io::Result<_>>()?)
    }

    /// What cannot be recorded, as its agent says.
    fn limitations(&self) -> Result<String, Failed> {
        Ok(self.ask(&["status", "--json"])?["limitations"].to_string())
    }
}

fn opened<'e>(events: &'e [Event], path: &str) -> Vec<&'e Event> {
    let opens = events.iter().filter(|event| event.name == path);
    opens.collect()
}

/// Whether a run is recorded from its start, and nothing of it is missing.
fn is_whole((run, events): &(Run, Vec<Event>)) -> bool {
    let exec = events.iter().find(|event| event.kind == K::EXEC);
    exec.is_some_and(|exec| !exec.flags.contains(EventFlags::ADOPTED)) && run.losses.lost == 0
}

fn no_run_missing() -> Result<(), Failed> {
    const RUNS: u32 = 12;
    let mut node = Node::that_pins(AT_LAST)?;
    let container = Container::on(&node);
    for run in 1..RUNS {
        container.crash(&format!("/missing/{run}"))?;
        // At once: the run is being read, closed, or written. The next one ends while no agent runs.
        match run % 3 {
            1 => drop(node.stop(Signal::SIGKILL)?),
            2 => node.start()?,
            _ => {}
        }
    }
    node.start_if_none()?;
    container.run(&["exit", "7"])?;
    let numbers: Vec<u32> = (1..=RUNS).collect();
    let capture = node.captured(&container, &numbers)?;
    for run in &capture.runs {
        assert!(is_whole(run), "{:#?}\n{}", run.0, node.log());
    }
    for (number, (run, events)) in (1..RUNS).zip(&capture.runs) {
        let opens = opened(events, &format!("/missing/{number}"));
        assert_eq!(opens.len(), 1, "{number}: {events:#?}");
        assert_eq!(run.status, Some(ExitStatus::Code(1)), "{number}");
    }
    Ok(())
}

/// The second run of a pod's container begins and ends while no agent runs. The next agent says whose it is, and which,
/// and captures it together with the first one.
fn named_first() -> Result<(), Failed> {
    let api = ApiServer::start()?;
    let mut node = Node::new("")?;
    node.mount_bpf()?;
    let pin = format!("recorder: {{pin: {}}}\n{AT_LAST}", node.pins().display());
    node.configure(&pin)?;
    node.join_cluster(&api.url())?;
    api.tell_namespaces(vec![namespace("shop", &json!({}))]);
    let pod = Pod::on(&node, 1, "looping")?;
    let [first, second] = [(); 2].map(|()| Container::below(&pod.cgroup));
    api.has(&pod.object(&json!({}), &[&first]));
    cluster::start(&mut node)?;
    first.crash("/missing/first")?;
    node.stop(Signal::SIGKILL)?;
    second.run(&["exit", "7"])?;
    api.has(&pod.object(&json!({}), &[&first, &second]));
    cluster::start(&mut node)?;
    let capture = node.captured(&second, &[1, 2])?;
    assert!(is_whole(&capture.runs[1]), "{}", node.log());
    Ok(())
}

fn lives_through(signal: Signal) -> Result<(), Failed> {
    let mut node = Node::that_pins("")?;
    let container = Container::on(&node);
    let files = ["before", "meanwhile"].map(|name| node.file(name));
    let [before, meanwhile] = files.each_ref().map(|path| path.display().to_string());
    let words = ["hold", &before, "wait", "hold", &meanwhile, "wait"];
    let running = container.start(&[&words[..], &["open", "/missing/after"]].concat())?;
    running.settled("hold")?;
    node.stop(signal)?;
    running.go_on()?;
    until("the container goes on", || files[1].exists().then_some(()))?;
    node.start()?;
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(1));
    let capture = node.captured(&container, &[1])?;
    let run = &capture.runs[0];
    assert!(is_whole(run), "{:#?}", run.0);
    for path in [&before, &meanwhile, "/missing/after"] {
        assert_eq!(opened(&run.1, path).len(), 1, "{path}: {:#?}", run.1);
    }
    assert_eq!(capture.sidecar()?["cause"], "missing_file");
    Ok(())
}

/// One container ends while no agent runs, another one starts then, too.
fn ended_meanwhile() -> Result<(), Failed> {
    let mut node = Node::that_pins("")?;
    let (first, second) = (Container::on(&node), Container::on(&node));
    let running = first.start(&["wait", "open", "/missing/first"])?;
    running.settled("wait")?;
    node.stop(Signal::SIGKILL)?;
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(1));
    second.crash("/missing/second")?;
    node.start()?;
    for (container, path) in [(&first, "/missing/first"), (&second, "/missing/second")] {
        let capture = node.captured(container, &[1])?;
        let run = &capture.runs[0];
        assert!(is_whole(run), "{:#?}", run.0);
        assert_eq!(run.0.status, Some(ExitStatus::Code(1)));
        assert_eq!(opened(&run.1, path).len(), 1, "{:#?}", run.1);
        assert_eq!(capture.sidecar()?["cause"], "missing_file");
    }
    Ok(())
}

/// The container ran before the first agent. The second one says that something is missing, and still knows what ran.
fn adopted() -> Result<(), Failed> {
    let mut node = Node::that_pins(AT_LAST)?;
    node.stop(Signal::SIGTERM)?;
    node.uninstall()?;
    let container = Container::on(&node);
    let held = node.file("held");
    let path = held.display().to_string();
    let running = container.start(&["wait", "hold", &path, "wait", "exit", "7"])?;
    running.settled("wait")?;
    node.start()?;
    running.go_on()?;
    until("the container goes on", || held.exists().then_some(()))?;
    node.stop(Signal::SIGKILL)?;
    node.start()?;
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(7));
    let capture = node.captured(&container, &[1])?;
    let (run, events) = &capture.runs[0];
    assert!(run.losses.lost > 0, "{run:#?}");
    assert_eq!(opened(events, &path).len(), 1, "{events:#?}");
    let exec = events.iter().find(|event| event.kind == K::EXEC);
    let exec = exec.ok_or("what runs is not known")?;
    assert!(exec.flags.contains(EventFlags::ADOPTED), "{exec:#?}");
    Ok(())
}

fn other_version() -> Result<(), Failed> {
    const OTHER: &str = "0123456789abcdef";
    let mut node = Node::that_pins("")?;
    let [version] = &node.versions()?[..] else {
        return Err("one version".into());
    };
    node.stop(Signal::SIGKILL)?;
    fs::rename(node.pins().join(version), node.pins().join(OTHER))?;
    node.start()?;
    assert_eq!(node.versions()?, [version.as_str()]);
    let container = Container::on(&node);
    container.crash("/missing/new")?;
    let capture = node.captured(&container, &[1])?;
    assert!(is_whole(&capture.runs[0]));
    assert_eq!(opened(&capture.runs[0].1, "/missing/new").len(), 1);
    Ok(())
}

fn not_trusted() -> Result<(), Failed> {
    let mut node = Node::that_pins("")?;
    assert!(!node.limitations()?.contains("pinned"));
    node.stop(Signal::SIGTERM)?;
    fs::set_permissions(node.pins(), fs::Permissions::from_mode(0o755))?;
    node.start()?;
    let said = node.limitations()?;
    assert!(
        said.contains("not pinned") && said.contains("another mode than 0700"),
        "{said}"
    );
    // It records all the same.
    let container = Container::on(&node);
    container.crash("/missing/not-pinned")?;
    node.captured(&container, &[1])?;
    // Where no BPF file system is mounted, that is said.
    node.stop(Signal::SIGTERM)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(node.file("elsewhere"))?;
    let elsewhere = node.file("elsewhere/lastword");
    node.configure(&format!("recorder: {{pin: {}}}", elsewhere.display()))?;
    node.start()?;
    assert!(node.limitations()?.contains("in no BPF file system"));
    Ok(())
}

fn two() -> Result<(), Failed> {
    let node = Node::that_pins("")?;
    let settings = Settings {
        pin: Some(node.pins()),
        budget: Budget::of_node(16 << 20),
        ..Settings::default()
    };
    let second = Recorder::start(&settings)?;
    assert!(!second.outlives());
    let why = second.not_pinned();
    assert!(matches!(why, Some(PinError::Taken(_))), "{why:?}");
    Ok(())
}

fn uninstall() -> Result<(), Failed> {
    let mut node = Node::that_pins("")?;
    let refused = node.uninstall();
    assert!(refused.is_err(), "an agent uses it");
    node.stop(Signal::SIGTERM)?;
    assert!(node.pins().exists());
    assert!(node.uninstall()?.contains("is removed"));
    assert!(!node.pins().exists());
    assert!(node.uninstall()?.contains("does not exist"));
    Ok(())
}

/// The lease ends at once, instead of after ten minutes.
fn lapse() -> Result<(), Failed> {
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    let mut node = Node::new("")?;
    node.mount_bpf()?;
    let settings = |lease| Settings {
        pin: Some(node.pins()),
        lease: Duration::from_secs(lease),
        budget: Budget::of_node(16 << 20),
        ..Settings::default()
    };
    let first = Recorder::start(&settings(600))?;
    assert!(first.outlives(), "{:?}", first.not_pinned());
    let container = Made::below(&node.cgroups.0, &format!("docker-{ID}.scope"))?;
    let mut child = start(
        &container,
        "cat /missing/1; echo; read line; cat /missing/2; echo",
    )?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut go_on = |child: &mut Child| -> Result<(), Failed> {
        child
            .stdin
            .as_mut()
            .ok_or("no standard input")?
            .write_all(b"\n")?;
        said.read_line(&mut String::new())?;
        Ok(())
    };
    go_on(&mut child)?;
    drop(first);
    let mut second = Recorder::start(&settings(0))?;
    let left = second.left();
    let ours = left
        .iter()
        .find(|left| left.path.ends_with(&format!("/docker-{ID}.scope")));
    let ours = ours.ok_or("the container was not left")?;
    assert_eq!((ours.cgroup, ours.was_adopted), (container.id()?, false));
    let events = second.read(ours.ring)?.events;
    assert_eq!(opened(&events, "/missing/1").len(), 1, "{events:#?}");
    assert!(second.go_on(0)?, "it is over at once");
    assert_eq!(second.ring_of(container.id()?), Some(ours.ring));
    drop(second);
    go_on(&mut child)?;
    let other = Made::below(&node.cgroups.0, &format!("docker-{OTHER}.scope"))?;
    child.wait()?;
    let third = Recorder::start(&settings(600))?;
    for made in [&container, &other] {
        assert_eq!(third.ring_of(made.id()?), None);
    }
    assert!(third.left().iter().all(|left| left.cgroup != ours.cgroup));
    // The rings are in the pool again.
    let stock = third.stock();
    assert_eq!(stock.used, third.left().len(), "{stock:?}");
    let late = Made::below(
        &node.cgroups.0,
        &format!("docker-{}.scope", OTHER.replace('f', "0")),
    )?;
    assert!(third.ring_of(late.id()?).is_some());
    Ok(())
}
