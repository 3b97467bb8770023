//! Which evidence survives when a container writes as many lines as it can.

use std::{net::UdpSocket, path::Path, process::Command, thread};

use anyhow::{Context as _, Result};
use capture_format::{Event, EventKind as K, RunIndex};

use crate::{program, say, thousands};

const LINES: u32 = 500_000;

/// Starts a name server that answers everything with NXDOMAIN.
fn name_server() -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.2:53")?;
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut message) {
            message[2] |= 0x80;
            message[3] = 0x83;
            let _ = socket.send_to(&message[..length], peer);
        }
    });
    Ok(())
}

pub(crate) fn run(folder: &Path) -> Result<()> {
    name_server()?;
    let capture = folder.join("chatter.lwcap");
    Command::new(program("LASTWORD_BIN")?)
        .args(["run", "--restarts", "1", "-o"])
        .arg(&capture)
        .arg("--")
        .arg(program("LASTWORD_VICTIM")?)
        .args(["chatter", &LINES.to_string()])
        .output()?;
    let mut reader = capture_format::open_file(&capture)?;
    let losses = reader.runs().first().context("no run")?.losses;
    let events: Vec<Event> = reader
        .events(RunIndex(0))
        .flatten()
        .map(|event| event.event)
        .collect();
    let said = |text: &str| {
        let is_it = |event: &&Event| {
            event.kind == K::WRITE && String::from_utf8_lossy(&event.data).contains(text)
        };
        Ok::<_, anyhow::Error>(events.iter().find(is_it).context("a word is missing")?.time)
    };
    let took = said("the last word")?.since(said("the first word")?);
    let is_output = |event: &&Event| event.kind == K::WRITE && event.args[0] == 1;
    let kept = events.iter().filter(is_output).count();
    let rate = f64::from(LINES) / (took as f64 / 1e9);
    say!("| lines a second | lines kept | lines overwritten, as counted | lost or torn |");
    say!("|--:|--:|--:|--:|");
    say!(
        "| {} | {kept} | {} | {} |",
        thousands(rate),
        thousands(losses.overwritten as f64),
        losses.lost + losses.torn + losses.recursion_misses
    );
    say!("");
    say!(
        "Target: evidence survives 50,000 lines a second; the program {} that.",
        if rate >= 50_000.0 {
            "exceeds"
        } else {
            "**does not reach**"
        }
    );
    say!("");
    let wrote = |text: &str| {
        events.iter().any(|event| {
            event.kind == K::WRITE
                && event.args[0] == 2
                && event
                    .data
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
        })
    };
    say!("| evidence | survived |");
    say!("|---|---|");
    for (name, found) in [
        (
            "exec of the container's program",
            events.iter().any(|event| event.kind == K::EXEC),
        ),
        (
            "open of a missing file, before the chatter",
            events.iter().any(|event| event.name == "/precious/missing"),
        ),
        (
            "first line on standard error, before it",
            wrote("the first word"),
        ),
        (
            "signal, before it",
            events
                .iter()
                .any(|event| event.kind == K::SIGNAL_GENERATE && event.ret == 10),
        ),
        (
            "NXDOMAIN, before it",
            events
                .iter()
                .any(|event| event.kind == K::RECVFROM && event.data.len() > 12),
        ),
        (
            "last line on standard error, after it",
            wrote("the last word"),
        ),
        ("exit", events.iter().any(|event| event.kind == K::EXIT)),
    ] {
        say!("| {name} | {} |", if found { "yes" } else { "**no**" });
    }
    Ok(())
}
