//! What must not reach the disk.

use std::fs;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;

use super::{container::Container, node::Node};
use crate::Case;

pub(super) const CASES: &[Case] = &[
    (
        "agent_stores_nothing_of_environment_and_runtime",
        environment,
    ),
    ("agent_masks_credentials_in_payloads", masked),
];

const PASSWORD: &str = "correct-horse-battery-staple";

/// Whether a text is in any file of the spool, or in the events of a container's captures.
fn is_stored(node: &Node, container: &Container, text: &str) -> Result<bool, Failed> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    for capture in node.captures(container)? {
        if holds(format!("{:?}", capture.header).as_bytes())
            || capture.has(|event| holds(&event.data) || holds(&event.name))
        {
            return Ok(true);
        }
    }
    let kept = fs::read_dir(node.spool().join("kept"));
    let kept = kept.into_iter().flatten().flatten().map(|it| it.path());
    let mut files = node.files().into_iter().chain(kept);
    Ok(files.any(|path| fs::read(path).is_ok_and(|bytes| holds(&bytes))))
}

fn environment() -> Result<(), Failed> {
    let mut node = Node::with_agent("")?;
    let container = Container::on(&node);
    let running = container.start_with(PASSWORD, &["open", "/missing/env"])?;
    running.wait()?;
    let capture = node.captured(&container, &[1])?;
    // The events of the program itself are there.
    assert!(capture.has(|event| event.name == "/missing/env"));
    assert!(!is_stored(&node, &container, PASSWORD)?);
    // The same holds for a container that was already running when the agent started.
    node.stop(Signal::SIGTERM)?;
    assert!(!is_stored(&node, &container, PASSWORD)?);
    let lives = Container::on(&node);
    let running = lives.start_with(PASSWORD, &["wait", "open", "/missing/env"])?;
    running.settled("wait")?;
    node.start()?;
    running.go_on()?;
    running.wait()?;
    node.captured(&lives, &[1])?;
    assert!(!is_stored(&node, &lives, PASSWORD)?);
    Ok(())
}

fn masked() -> Result<(), Failed> {
    let node = Node::with_agent("redaction: {patterns: [{name: badge, regex: 'badge-[0-9]+'}]}")?;
    let container = Container::on(&node);
    let header = format!("print GET /items\r\nAuthorization:\tBearer\t{PASSWORD}\r\nbadge-4711");
    let header = header.replace("GET ", "GET\t");
    container.run(&["both", &header, "open", "/missing/masked"])?;
    let capture = node.captured(&container, &[1])?;
    let mut shown = capture
        .events()
        .filter(|event| event.data.starts_with(b"GET\t/items"));
    let shown = shown.next().ok_or("the output is not there")?;
    let text = String::from_utf8_lossy(&shown.data).into_owned();
    assert!(text.contains("Authorization"), "{text}");
    for secret in [PASSWORD, "badge-4711"] {
        assert!(!is_stored(&node, &container, secret)?, "{secret}");
    }
    let manifest = format!("{:?}", capture.header.redaction);
    assert!(manifest.contains("badge"), "{manifest}");
    Ok(())
}
