//! Agents that stop, gracefully or not, and the agents that start after them.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use capture_format::WallTime;
use libtest_mimic::Failed;
use nix::sys::signal::Signal;

use super::{
    container::Container,
    node::{Node, PATIENCE, until},
};
use crate::Case;

pub(super) const CASES: &[Case] = &[
    ("agent_keeps_runs_over_a_restart", || kept(Signal::SIGTERM)),
    ("agent_keeps_ended_runs_when_it_is_killed", || {
        kept(Signal::SIGKILL)
    }),
    ("agent_captures_nothing_again_after_a_restart", once),
    ("agent_counts_restarts_over_a_restart", restarts),
    ("agent_killed_while_it_captures_leaves_no_half_file", killed),
    ("agent_takes_over_the_runs_of_what_it_replaces", taken_over),
    ("agent_stops_while_many_containers_die", many),
    ("agent_ends_at_once_at_a_second_signal", twice),
];

/// Triggers that only the last run of a container trips.
const AT_LAST: &str = "triggers: {first_crash: false, restarts: [], exit_codes: [7]}";

fn kept(signal: Signal) -> Result<(), Failed> {
    let mut node = Node::with_agent(AT_LAST)?;
    let container = Container::on(&node);
    for run in 1..=2 {
        container.crash("/missing/kept")?;
        node.logged(&[&container.id, &format!("run={run}")])?;
    }
    let files = || Some(fs::read_dir(node.file("spool/kept")).ok()?.count());
    until("both runs are written", || {
        (files() == Some(2)).then_some(())
    })?;
    let code = node.stop(signal)?.code();
    assert_eq!(code, (signal == Signal::SIGTERM).then_some(0));
    node.start()?;
    container.run(&["exit", "7"])?;
    let capture = node.captured(&container, &[1, 2, 3])?;
    assert_eq!(capture.header.trigger.kind, "exit-code");
    let opens = capture
        .events()
        .filter(|event| event.name == "/missing/kept");
    assert_eq!(opens.count(), 2);
    Ok(())
}

/// So many containers end that the agent cannot have handled all of them when it is asked to stop.
fn many() -> Result<(), Failed> {
    const CONTAINERS: usize = 150;
    let mut node = Node::with_agent(AT_LAST)?;
    let container = Container::on(&node);
    container.crash("/missing/kept")?;
    node.logged(&[&container.id, "run=1"])?;
    let others: Vec<Container> = (0..CONTAINERS).map(|_| Container::on(&node)).collect();
    let mut running = Vec::new();
    for (number, other) in others.iter().enumerate() {
        if number % 4 == 0 {
            node.ready()?;
        }
        running.push(other.start(&["wait"])?);
    }
    for run in &running {
        run.signal(Signal::SIGKILL)?;
    }
    thread::sleep(Duration::from_millis(12));
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(0), "{}", node.log());
    drop(running);
    node.start()?;
    container.run(&["exit", "7"])?;
    node.captured(&container, &[1, 2])?;
    // The agent that was asked to stop kept the runs that ended before that.
    let kept = |other: &&Container| {
        let words = [other.id.as_str(), "run=1"];
        let of_it = |line: &str| words.iter().all(|word| line.contains(word));
        node.log().lines().any(of_it)
    };
    assert!(others.iter().any(|other| kept(&other)), "{}", node.log());
    Ok(())
}

/// An agent that waits for an API server that never answers.
fn twice() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    node.join_cluster(&format!("http://{}", silent.local_addr()?))?;
    let kubeconfig = node.file("kubeconfig");
    node.start_as(|command| command.arg("--kubeconfig").arg(kubeconfig))?;
    // The agent waits for the answer even if it is asked to stop.
    let mut asking = TcpStream::connect(node.address())?;
    let body = "{\"namespace\": \"shop\", \"pod\": \"web-1\"}";
    write!(
        asking,
        "POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open-sesame\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let asked = |connections: &mut Vec<TcpStream>| {
        // Watches and the alert: whatever is asked first, the alert is among the requests when all connections are
        // open.
        connections.iter_mut().any(|connection| {
            let mut bytes = [0; 4096];
            let read = connection.read(&mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..read]).starts_with("POST")
        })
    };
    silent.set_nonblocking(true)?;
    let mut connections = Vec::new();
    until("the API server is asked", || {
        while let Ok((connection, _)) = silent.accept() {
            connection.set_nonblocking(true).ok()?;
            connections.push(connection);
        }
        asked(&mut connections).then_some(())
    })?;
    node.signal(Signal::SIGTERM)?;
    node.logged(&["stopping"])?;
    assert!(node.runs());
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(128 + Signal::SIGTERM as i32));
    Ok(())
}

fn once() -> Result<(), Failed> {
    let mut node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    let capture = node.captured(&container, &[1])?;
    capture.sidecar()?;
    // With and without the earlier runs, with and without the sidecar.
    for (signal, with_runs, with_sidecar) in [
        (Signal::SIGTERM, true, true),
        (Signal::SIGKILL, true, true),
        (Signal::SIGKILL, false, true),
        (Signal::SIGKILL, false, false),
    ] {
        node.stop(signal)?;
        if !with_runs {
            fs::remove_dir_all(node.file("spool/kept"))?;
        }
        if !with_sidecar {
            fs::remove_file(capture.sidecar_path())?;
        }
        node.start()?;
        container.crash("/missing/1")?;
        node.judged()?;
        let still = node.captured(&container, &[1])?;
        assert_eq!(still.header.created, capture.header.created);
        assert_eq!(still.sidecar()?["cause"], "missing_file");
    }
    // Where no run was left to the next agent, the captured run counts. (On a busy machine the log leaves out lines that
    // are alike, as that of the first run may be.)
    let log = node.log();
    let runs = log.lines().filter(|line| line.contains(&container.id));
    let runs = runs.filter_map(|line| line.split(" run=").nth(1));
    let runs: Vec<&str> = runs.filter(|run| *run != "1").collect();
    assert_eq!(runs, ["2", "3", "2", "2"], "{log}");
    Ok(())
}

fn restarts() -> Result<(), Failed> {
    let mut node = Node::with_agent("triggers: {restarts: [{more_than: 1, within: 1h}]}")?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    node.captured(&container, &[1])?;
    container.crash("/missing/1")?;
    node.logged(&[&container.id, "run=2"])?;
    node.stop(Signal::SIGTERM)?;
    node.start()?;
    container.crash("/missing/1")?;
    node.captured(&container, &[1, 2, 3])?;
    Ok(())
}

/// The run of a capture that shows no cause is also in the next capture, which shows the cause, although the agent that
/// recorded it left nothing else.
fn taken_over() -> Result<(), Failed> {
    let mut node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.run(&["exit", "7"])?;
    let silent = node.captured(&container, &[1])?;
    assert_eq!(silent.sidecar()?["cause"], "unknown");
    node.stop(Signal::SIGKILL)?;
    node.start()?;
    container.crash("/missing/2")?;
    let capture = node.captured(&container, &[1, 2])?;
    assert_eq!(capture.path, silent.path);
    assert_eq!(capture.sidecar()?["cause"], "missing_file");
    assert_eq!(capture.runs[0].0.status, silent.runs[0].0.status);
    assert_eq!(capture.runs[0].1.len(), silent.runs[0].1.len());
    Ok(())
}

/// Agents are killed while they write captures of several containers.
fn killed() -> Result<(), Failed> {
    const ROUNDS: u64 = 8;
    const AT_ONCE: usize = 3;
    let mut node = Node::new("")?;
    let mut containers: Vec<Container> = Vec::new();
    let mut taken: HashMap<String, Option<WallTime>> = HashMap::new();
    for round in 0..ROUNDS {
        node.start()?;
        without_halves(&node)?;
        let before = node.files();
        for _ in 0..AT_ONCE {
            let container = Container::on(&node);
            container.crash("/missing/killed")?;
            containers.push(container);
        }
        // The first change in the spool is a file that is being written. It is seen at once, and each time the writing
        // is let go on a little further.
        let start = Instant::now();
        while node.files() == before {
            assert!(start.elapsed() < PATIENCE, "{}", node.log());
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(round * 2));
        node.stop(Signal::SIGKILL)?;
        for container in &containers {
            // Every file with its final name is complete.
            let captures = node.captures(container)?;
            let created = captures.first().map(|capture| capture.header.created);
            let before = taken.entry(container.id.clone()).or_insert(created);
            assert!(before.is_none() || *before == created, "taken again");
            *before = created;
        }
    }
    node.start()?;
    without_halves(&node)?;
    for container in &containers {
        node.ready()?;
        container.crash("/missing/killed")?;
    }
    node.ready()?;
    node.judged()?;
    for container in &containers {
        let captures = node.captures(container)?;
        assert_eq!(captures.len(), 1, "{}", container.id);
        let before = taken[&container.id];
        let again = before.is_some_and(|created| created != captures[0].header.created);
        assert!(!again, "{} was taken again:\n{}", container.id, node.log());
        assert_eq!(captures[0].sidecar()?["cause"], "missing_file");
    }
    Ok(())
}

/// Whether the spool has a file that was not written completely.
/// Waits until no file is half written. What an agent left is removed at the next start, which may write files itself.
fn without_halves(node: &Node) -> Result<(), Failed> {
    until("no file is half written", || {
        let files = node.files();
        let mut names = files.iter().filter_map(|path| path.file_name()?.to_str());
        (!names.any(|name| name.ends_with(".part"))).then_some(())
    })
}
