//! Bad configurations, and an agent that lacks something, at its start or later.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpListener,
};

use libtest_mimic::Failed;
use nix::{
    fcntl::{FcntlArg, fcntl},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};

use super::{
    asked::send,
    container::{Container, Running},
    node::{Node, until},
};
use crate::{Case, made::Made};

pub(super) const CASES: &[Case] = &[
    ("agent_refuses_a_bad_configuration", bad_configurations),
    ("agent_records_on_with_a_read_only_spool", read_only),
    ("agent_waits_for_a_spool_that_it_cannot_make", in_the_way),
    ("agent_refuses_a_port_that_is_in_use", no_port),
    ("agent_is_the_only_one_of_its_node", second),
    ("agent_lives_on_when_the_spool_is_full", full),
    ("agent_tells_which_containers_it_does_not_record", refused),
    ("agent_tells_that_its_spool_was_removed", removed),
    ("agent_records_who_was_refused_when_a_ring_is_free", late),
    ("agent_records_pods_before_others", pods_first),
    ("agent_keeps_no_ring_for_what_looks_like_a_container", alike),
    ("agent_lives_on_when_nobody_reads_its_log", log_reader_gone),
    ("agent_lives_on_when_its_log_is_stuck", log_reader_stuck),
];

fn bad_configurations() -> Result<(), Failed> {
    for (more, said) in [
        ("runs: {keeep: 2}", "did you mean `keep`?"),
        ("trigers: {first_crash: true}", "did you mean `triggers`?"),
        (
            "triggers: {crash_loop_backoff: true}",
            "did you mean `crash_loop_back_off`?",
        ),
        ("triggers: {signals: [SIGSEGF]}", "SIGSEGV"),
        ("runs: {keep: 0}", "the least is 1"),
        ("log: {level: loud}", "there is no value `loud`"),
        ("redaction: {patterns: [{name: x, regex: '('}]}", "x"),
        ("runs: [", "agent.yaml"),
    ] {
        let node = Node::new(more)?;
        let text = node.refused()?;
        assert!(text.contains(said), "{more}: {text}");
        assert!(!text.contains("panicked"), "{more}: {text}");
    }
    let node = Node::new("")?;
    fs::remove_file(node.file("agent.yaml"))?;
    let text = node.refused()?;
    assert!(text.contains("cannot read the configuration"), "{text}");
    Ok(())
}

fn read_only() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let small = Small::at(node.spool())?;
    small.protect()?;
    node.start()?;
    told_without_a_file(&node, "Read-only file system", "mount it writable")
}

fn in_the_way() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    // Even root cannot make a directory below a file.
    fs::write(node.spool(), "")?;
    node.start()?;
    told_without_a_file(
        &node,
        "Not a directory",
        "remove the file that is in the way",
    )?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    // The agent tries again by itself.
    fs::remove_file(node.spool())?;
    node.captured(&container, &[1])?;
    until("no trouble", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        status["spool"]["error"].is_null().then_some(())
    })
}

/// A container crashes. Its verdict is logged although no file can be written, and so is the reason for that.
fn told_without_a_file(node: &Node, why: &str, advice: &str) -> Result<(), Failed> {
    let container = Container::on(node);
    container.crash("/missing/1")?;
    until("the verdict without a file", || {
        let log = node.log();
        let said = ["cannot be written", why, "/missing/1"];
        let mut lines = log.lines();
        lines.find(|line| said.iter().all(|said| line.contains(said)))?;
        Some(())
    })?;
    let status = node.ask(&["status", "--json"])?;
    let trouble = status["spool"]["error"].as_str().unwrap_or_default();
    assert!(trouble.contains(advice), "{status:#}");
    let ready = send(node, "GET /readyz", "", "")?;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("captures cannot be written"), "{ready}");
    Ok(())
}

fn no_port() -> Result<(), Failed> {
    let node = Node::new("")?;
    let _listener = TcpListener::bind(node.address())?;
    let text = node.refused()?;
    assert!(
        text.contains(&node.address()) && text.contains("http.listen"),
        "{text}"
    );
    Ok(())
}

fn second() -> Result<(), Failed> {
    let mut node = Node::with_agent("")?;
    let text = node.refused()?;
    let place = node.spool().display().to_string();
    assert!(text.contains("in use") && text.contains(&place), "{text}");
    assert!(node.runs());
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    node.captured(&container, &[1])?;
    // The socket that a killed agent left does not count as an agent.
    node.stop(Signal::SIGKILL)?;
    node.start()
}

/// A small file system. It is removed when dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn at(path: std::path::PathBuf) -> Result<Self, Failed> {
        fs::create_dir(&path)?;
        mount(
            Some("none"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=2m"),
        )?;
        Ok(Self(path))
    }

    fn protect(&self) -> Result<(), Failed> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let (none, size) = (None::<&str>, Some("size=2m"));
        Ok(mount(none, &self.0, none, flags, size)?)
    }

    /// Fills the file system. When the returned file is removed, there is room again.
    fn fill(&self) -> Result<std::path::PathBuf, Failed> {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path)?;
        while std::io::Write::write_all(&mut file, &[b'x'; 4096]).is_ok() {}
        Ok(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn full() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let small = Small::at(node.spool())?;
    node.start()?;
    let filler = small.fill()?;
    let container = Container::on(&node);
    container.crash("/missing/full")?;
    node.logged(&[
        "ERROR",
        &container.id,
        "a capture cannot be written",
        "space",
    ])?;
    assert!(node.runs());
    node.ask(&["status", "--json"])?;
    fs::remove_file(filler)?;
    // The agent tries again by itself.
    let capture = node.captured(&container, &[1])?;
    assert_eq!(capture.sidecar()?["cause"], "missing_file");
    node.stop(Signal::SIGTERM)?;
    Ok(())
}

/// The agent records, answers and stops as if its log were read.
fn works(mut node: Node) -> Result<(), Failed> {
    for _ in 0..3 {
        let container = Container::on(&node);
        container.crash("/missing/log")?;
        node.captured(&container, &[1])?;
    }
    node.ask(&["status", "--json"])?;
    node.signal(Signal::SIGTERM)?;
    assert_eq!(node.ended()?.code(), Some(0));
    Ok(())
}

fn log_reader_gone() -> Result<(), Failed> {
    let mut node = Node::new("log: {level: debug}")?;
    let (mut reader, writer) = io::pipe()?;
    node.start_as(|command| command.stderr(writer))?;
    let mut first = [0; 100];
    reader.read_exact(&mut first)?;
    drop(reader);
    let container = Container::on(&node);
    container.crash("/missing/log")?;
    node.captured(&container, &[1])?;
    let status = node.ask(&["status", "--json"])?;
    assert!(status["log_lines_lost"].as_u64() > Some(0), "{status:#}");
    works(node)
}

fn log_reader_stuck() -> Result<(), Failed> {
    let mut node = Node::new("log: {level: debug}")?;
    let (reader, mut writer) = io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096))?;
    writer.write_all(&[b'x'; 4096])?;
    node.start_as(|command| command.stderr(writer))?;
    works(node)?;
    drop(reader);
    Ok(())
}

/// The value of a metric.
fn metric(node: &Node, name: &str) -> Option<f64> {
    let text = send(node, "GET /metrics", "", "").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

fn refused() -> Result<(), Failed> {
    let mut node = Node::new("recorder: {memory: 32MiB, pin: off}")?;
    node.start()?;
    let containers: Vec<Container> = (0..40).map(|_| Container::on(&node)).collect();
    let running: Result<Vec<_>, Failed> = containers.iter().map(|it| it.start(&["wait"])).collect();
    let status = until("containers are refused", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        (status["refused"].as_u64() > Some(0)).then_some(status)
    })?;
    let refused = status["refused"].as_u64();
    assert!(status["losses"]["lost"].as_u64() >= refused, "{status:#}");
    assert!(status["last_refused"]["reason"].is_string(), "{status:#}");
    let answer = send(&node, "GET /readyz", "", "")?;
    assert!(answer.contains("containers were not recorded"), "{answer}");
    for name in ["lastword_lost_total", "lastword_containers_refused_total"] {
        let value = metric(&node, name).ok_or(name)?;
        assert!(
            value >= refused.unwrap_or_default() as f64,
            "{name} {value}"
        );
    }
    drop(running);
    Ok(())
}

fn removed() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.crash("/missing/removed")?;
    node.captured(&container, &[1])?;
    // If the agent has not noted this yet, it would write the deleted file again.
    until("the capture is noted", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        (status["spool"]["captures"] == 1).then_some(())
    })?;
    fs::remove_dir_all(node.spool())?;
    let told = |path: &str| {
        let answer = send(&node, &format!("GET {path}"), "", "").ok()?;
        answer.contains("was removed").then_some(())
    };
    until("/readyz tells it", || told("/readyz"))?;
    let status = node.ask(&["status", "--json"])?;
    assert_eq!(status["spool"]["lost"], 1, "{status:#}");
    assert_eq!(metric(&node, "lastword_captures_lost_total"), Some(1.0));
    // The directory is still used.
    let container = Container::on(&node);
    container.crash("/missing/after")?;
    node.captured(&container, &[1])?;
    until("all is well again", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        status["spool"]["error"].is_null().then_some(())
    })
}

/// A node with the least memory that is allowed. Containers are started until one of them, the last, finds no ring.
fn crowded() -> Result<(Node, Vec<Container>, Vec<Running>), Failed> {
    const FAR_MORE_THAN_RINGS: usize = 40;
    let node = Node::with_agent("recorder: {memory: 16MiB, pin: off}")?;
    let (mut containers, mut all) = (Vec::new(), Vec::new());
    for _ in 0..FAR_MORE_THAN_RINGS {
        let container = Container::on(&node);
        let running = container.start(&["wait", "open", "/missing/late"])?;
        running.settled("wait")?;
        let id = container.id.clone();
        containers.push(container);
        all.push(running);
        let waits = until("the container is recorded, or not", || {
            let status = node.ask(&["status", "--json"]).ok()?;
            let number = |part: &str, key: &str| status[part][key].as_u64();
            let waits = number("containers", "waiting")? > 0;
            let recorded = number("containers", "unnamed")? >= all.len() as u64;
            (waits || recorded).then_some(waits)
        })?;
        if waits {
            node.logged(&["not recorded", &id])?;
            return Ok((node, containers, all));
        }
    }
    Err(format!("nobody was refused:\n{}", node.log()).into())
}

/// A container that found no ring gets one when another container ends. Its run says that something was lost.
fn late() -> Result<(), Failed> {
    let (node, containers, mut all) = crowded()?;
    let (first, last) = (&containers[0], containers.last().ok_or("none")?);
    let refused = all.pop().ok_or("none")?;
    let early = all.remove(0);
    early.go_on()?;
    early.wait()?;
    node.captured(first, &[1])?;
    until("the one that was refused is recorded", || {
        let status = node.ask(&["status", "--json"]).ok()?;
        (status["containers"]["waiting"] == 0).then_some(())
    })?;
    refused.go_on()?;
    assert_eq!(refused.wait()?.code(), Some(1));
    let capture = node.captured(last, &[1])?;
    assert!(capture.has(|event| event.name == "/missing/late"));
    assert_eq!(capture.runs[0].0.losses.lost, 1);
    Ok(())
}

/// Podman's pods, and cgroups in a container with names like those of another runtime: the kernel side takes all of
/// them for containers.
fn alike() -> Result<(), Failed> {
    const MORE_THAN_RINGS: usize = 24;
    let node = Node::with_agent("recorder: {memory: 16MiB, pin: off}")?;
    let outer = Container::on(&node);
    let running = outer.start(&["wait", "open", "/missing/outer"])?;
    running.settled("wait")?;
    let inside = node
        .cgroups
        .0
        .join(format!("cri-containerd-{}.scope", outer.id));
    let mut alike = Vec::new();
    for number in 0..MORE_THAN_RINGS {
        let name = format!("libpod-{number:064x}.slice");
        alike.push(Made::below(&node.cgroups.0, &name)?);
        alike.push(Made::below(&inside, &name)?);
        node.ready()?;
    }
    drop(alike);
    running.go_on()?;
    running.wait()?;
    // It has had one run.
    let capture = node.captured(&outer, &[1])?;
    assert!(capture.has(|event| event.name == "/missing/outer"));
    let status = node.ask(&["status", "--json"])?;
    assert_eq!(status["refused"], 0, "{status:#}");
    Ok(())
}

/// A pod's container gets the ring of one that is in no pod.
fn pods_first() -> Result<(), Failed> {
    let (node, _others, _all) = crowded()?;
    let pod = Made::below(&node.cgroups.0, "pod0a1b2c3d-0000-1111-2222-333344445555")?;
    let container = Container::below(&pod);
    let running = container.start(&["wait", "exit", "0"])?;
    running.settled("wait")?;
    until(
        "the pod's container is recorded, with some to spare",
        || {
            let status = node.ask(&["status", "--json"]).ok()?;
            let free = status["memory"]["rings_free"].as_u64()?;
            let waiting = status["containers"]["waiting"].as_u64()?;
            (free >= 3 && waiting >= 4).then_some(())
        },
    )?;
    // The container is recorded although nobody knows its name.
    let asked = ["capture", "--json", "--container-id", &container.id];
    let output = node.request(&asked).output()?;
    assert!(output.status.success(), "{output:?}\n{}", node.log());
    Ok(())
}
