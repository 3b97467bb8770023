//! The agent's socket and its HTTP endpoint.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    time::Duration,
};

use libtest_mimic::Failed;

use super::{
    captures::mode,
    container::Container,
    node::{Node, until},
};
use crate::Case;

pub(super) const CASES: &[Case] = &[
    ("agent_captures_a_live_container_when_asked", by_id),
    ("agent_captures_everything_when_asked", all),
    ("agent_tells_its_state", state),
    ("agent_answers_root_alone", root_alone),
    ("agent_serves_health_and_metrics", serves),
    ("agent_refuses_alerts_that_it_cannot_take", alerts),
];

fn by_id() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let container = Container::on(&node);
    let running = container.start(&["both", "open /missing/early", "wait"])?;
    // The first call fails, so the program ends, and no run is live any more.
    assert_eq!(running.wait()?.code(), Some(1));
    node.captured(&container, &[1])?;

    let container = Container::on(&node);
    let running = container.start(&["both", "print hello", "wait", "exit", "0"])?;
    running.settled("both")?;
    let copy = node.file("copy.lwcap");
    let words = ["capture", "--json", "--container-id", &container.id];
    let output = node
        .request(&words)
        .arg("--reason=it is slow")
        .arg("--output")
        .arg(&copy)
        .output()?;
    assert!(output.status.success(), "{output:?}");
    let outcomes: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(outcomes[0]["container_id"], container.id.as_str());
    assert_eq!(outcomes[0]["result"]["Ok"]["runs"], 1, "{outcomes:#}");
    let capture = node.captured(&container, &[1])?;
    assert_eq!(std::fs::read(&copy)?, std::fs::read(&capture.path)?);
    assert_eq!(mode(&copy)?, 0o600);
    assert_eq!(capture.header.trigger.kind, "manual");
    assert_eq!(capture.header.trigger.detail, "it is slow");
    assert_eq!(capture.runs[0].0.end, None);
    assert!(capture.has(|event| event.data == "hello\n"));
    // The container goes on unharmed. Its end is without a fault, so it is not captured.
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(0));
    node.judged()?;
    node.captured(&container, &[1])?;

    let nobody = "f".repeat(64);
    let output = node
        .request(&["capture", "--container-id", &nobody])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("records no such container"), "{said}");
    Ok(())
}

fn all() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let containers = [Container::on(&node), Container::on(&node)];
    let mut running = Vec::new();
    for container in &containers {
        let run = container.start(&["wait", "exit", "0"])?;
        run.settled("wait")?;
        running.push(run);
    }
    // The machine may have other containers, some of which may end at this moment.
    let output = node.request(&["capture", "--json", "--all"]).output()?;
    let outcomes: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    for container in &containers {
        node.captured(container, &[1])?;
        let told = outcomes.as_array().into_iter().flatten();
        let mut told = told.filter(|outcome| outcome["container_id"] == container.id.as_str());
        let result = told
            .next()
            .map(|outcome| outcome["result"]["Ok"]["runs"].clone());
        assert_eq!(result, Some(1.into()), "{outcomes:#}");
    }
    for run in running {
        run.go_on()?;
        assert_eq!(run.wait()?.code(), Some(0));
    }
    Ok(())
}

fn state() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let before = node.ask(&["status", "--json"])?;
    let recorded = |status: &serde_json::Value| status["containers"]["unnamed"].as_u64();
    let running = Container::on(&node).start(&["wait", "exit", "0"])?;
    running.settled("wait")?;
    let status = node.ask(&["status", "--json"])?;
    assert!(recorded(&status) >= Some(1), "{before:#}\n{status:#}");
    let attached = status["probes"].as_array().into_iter().flatten();
    assert!(attached.count() > 5, "{status:#}");
    for nothing in ["api_server", "cri", "storage", "recorder_failed"] {
        assert!(status[nothing].is_null(), "{nothing}: {status:#}");
    }
    let memory = &status["memory"];
    assert!(memory["rings_used"].as_u64() >= Some(1), "{status:#}");
    assert_eq!(memory["budget_bytes"], 256 << 20);
    let text = node.request(&["status"]).output()?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("API server    not configured"), "{text}");
    Ok(())
}

fn root_alone() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    for words in [&["status", "--json"][..], &["capture", "--all"]] {
        let output = node.request(words).uid(65534).gid(65534).output()?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("root"), "{said}");
    }
    Ok(())
}

/// Sends a request with these headers and no others, and returns the answer.
pub(super) fn send(
    node: &Node,
    request: &str,
    headers: &str,
    body: &str,
) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(node.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    let text =
        format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    // An answer may come before everything was sent.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn serves() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    for path in ["/healthz", "/readyz"] {
        let answer = send(&node, &format!("GET {path}"), "", "")?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let answer = send(&node, "GET /captures", "", "")?;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    node.captured(&container, &[1])?;
    let captures = until("the capture is counted", || {
        let answer = send(&node, "GET /metrics", "", "").ok()?;
        let counted = answer.lines().any(|line| {
            line.starts_with("lastword_captures_total{")
                && line.contains("first-crash")
                && !line.ends_with(" 0")
        });
        counted.then_some(answer)
    })?;
    assert!(captures.starts_with("HTTP/1.1 200"), "{captures}");
    Ok(())
}

fn alerts() -> Result<(), Failed> {
    const GOOD: &str = "Authorization: Bearer open-sesame\r\n";
    let node = Node::with_agent("")?;
    let plain = "{\"namespace\": \"shop\", \"pod\": \"web-1\"}";
    let endless = " ".repeat(2 << 20);
    for (headers, body, code) in [
        ("", plain, 401),
        ("Authorization: Bearer wrong\r\n", plain, 401),
        (GOOD, "rubbish", 400),
        (GOOD, &*endless, 413),
        // There is no API server that could be written to.
        (GOOD, plain, 503),
    ] {
        let answer = send(&node, "POST /api/v1/alerts", headers, body)?;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}")),
            "{code}: {answer}"
        );
        assert!(!answer.contains("open-sesame"), "{answer}");
    }
    let answer = send(&node, "GET /api/v1/alerts", GOOD, "")?;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    Ok(())
}
