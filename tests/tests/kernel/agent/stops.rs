//! Agents that end, well or not, and those that come after them.

use std::{fs, thread, time::Duration};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;

use super::{
    container::Container,
    node::{Node, until},
};
use crate::Case;

pub(super) const CASES: &[Case] = &[
    ("agent_keeps_runs_over_a_restart", kept),
    ("agent_captures_nothing_again_after_a_restart", once),
    ("agent_counts_restarts_over_a_restart", restarts),
    ("agent_killed_while_it_captures_leaves_no_half_file", killed),
];

/// A trigger that only the last run of a container trips.
const AT_LAST: &str = "triggers: {first_crash: false, restarts: [], exit_codes: [7]}";

fn kept() -> Result<(), Failed> {
    let mut node = Node::with_agent(AT_LAST)?;
    let container = Container::on(&node);
    for run in 1..=2 {
        container.crash("/missing/kept")?;
        node.logged(&[&container.id, &format!("run={run}")])?;
    }
    assert_eq!(node.stop(Signal::SIGTERM)?.code(), Some(0));
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

fn once() -> Result<(), Failed> {
    let mut node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    let capture = node.captured(&container, &[1])?;
    capture.sidecar()?;
    // With and without the runs before, with and without what stands beside the capture.
    for (signal, with_sidecar) in [
        (Signal::SIGTERM, true),
        (Signal::SIGKILL, true),
        (Signal::SIGKILL, false),
    ] {
        node.stop(signal)?;
        if !with_sidecar {
            fs::remove_file(capture.sidecar_path())?;
        }
        node.start()?;
        container.crash("/missing/1")?;
        node.judged()?;
        node.captured(&container, &[1])?;
        assert_eq!(capture.sidecar()?["cause"], "missing_file");
    }
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

/// Containers crash all the time while agents are killed at the moment at which they write.
fn killed() -> Result<(), Failed> {
    const ROUNDS: u64 = 8;
    let mut node = Node::new("triggers: {cool_down: 1h}")?;
    let containers: Vec<Container> = (0..3).map(|_| Container::on(&node)).collect();
    let is_half = |node: &Node| {
        let files = node.files();
        let mut names = files.iter().filter_map(|path| path.file_name()?.to_str());
        names.any(|name| name.ends_with(".part"))
    };
    for round in 0..ROUNDS {
        node.start()?;
        assert!(!is_half(&node), "what the agent before left is still there");
        // Each round another cause, which is worth a capture.
        let path = format!("/missing/{round}");
        let exit = (40 + round).to_string();
        let words: [&[&str]; 2] = [&["open", &path], &["exit", &exit]];
        for container in &containers {
            container.run(words[round as usize % 2])?;
        }
        // Every other time the first file is enough; else it is let go on a little further each time.
        until("a capture is being written", || {
            (is_half(&node) || round % 2 == 1).then_some(())
        })?;
        thread::sleep(Duration::from_millis(round / 2 * 3));
        node.stop(Signal::SIGKILL)?;
        for container in &containers {
            // Whatever has its name is whole.
            node.captures(container)?;
        }
    }
    node.start()?;
    assert!(!is_half(&node));
    for container in &containers {
        container.crash("/missing/last")?;
    }
    node.judged()?;
    for container in &containers {
        let captures = node.captures(container)?;
        let mut causes = Vec::new();
        for capture in &captures {
            causes.push(capture.sidecar()?["cause"].to_string());
        }
        causes.sort();
        let all = causes.len();
        causes.dedup();
        assert_eq!(causes.len(), all, "the same twice: {causes:?}");
        assert!(causes.iter().any(|cause| cause.contains("missing_file")));
    }
    Ok(())
}
