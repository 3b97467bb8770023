//! Captures for measuring reading and size: recorded ones, and a big one that is made of them.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use capture_format::{Event, Run, RunIndex, open_file, write_file};
use lastword_tests::scene::{NGINX, Scene};

use crate::{program, say};

/// How many runs the big capture has.
const BIG: u32 = 60;

/// Records one capture.
fn lastword(capture: &Path, command: &[&str]) -> Result<()> {
    // Its exit code is that of the command, which is meant to fail.
    Command::new(program("LASTWORD_BIN")?)
        .args(["run", "--restarts", "3", "--backoff", "none", "-o"])
        .arg(capture)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    open_file(capture).with_context(|| format!("`{}` was not recorded", command.join(" ")))?;
    Ok(())
}

/// Records nginx, Python, a chatty program and a program that fills its ring, into `folder`.
pub(crate) fn record(folder: &Path) -> Result<()> {
    let own = env::current_exe()?;
    let (own, victim) = (own.to_string_lossy(), program("LASTWORD_VICTIM")?);
    let text = folder.join("text");
    lastword(
        &folder.join("full-ring.lwcap"),
        &[&own, "payload", "fill", &text.to_string_lossy()],
    )?;
    lastword(
        &folder.join("chatty.lwcap"),
        &[&victim.to_string_lossy(), "chatter", "100000"],
    )?;
    if Command::new("python3")
        .args(["-c", ""])
        .status()
        .is_ok_and(|status| status.success())
    {
        lastword(
            &folder.join("python.lwcap"),
            &[
                "python3",
                "-c",
                "import json, http.server, flask_is_not_there",
            ],
        )?;
    } else {
        say!("Not recorded: Python, for there is no python3 here.");
    }
    let packages = program("LASTWORD_NGINX")?.into();
    let scene = Scene {
        packages,
        kept: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
    };
    scene.play(|| lastword(&folder.join("nginx.lwcap"), &NGINX))?;
    big(folder)
}

/// Makes a capture of many full rings, more than any container would have.
fn big(folder: &Path) -> Result<()> {
    let folder_of_big = folder.join("synthetic");
    fs::create_dir_all(&folder_of_big)?;
    let mut reader = open_file(&folder.join("full-ring.lwcap"))?;
    let header = reader.header().clone();
    let run = reader.runs().first().context("no run")?.clone();
    let events: Vec<Event> = reader
        .events(RunIndex(0))
        .flatten()
        .map(|event| event.event)
        .collect();
    write_file(&folder_of_big.join("big.lwcap"), &header, |writer| {
        for number in 1..=BIG {
            writer.begin_run(&Run {
                number,
                ..run.clone()
            })?;
            events.iter().try_for_each(|event| writer.event(event))?;
            writer.end_run()?;
        }
        Ok(())
    })?;
    Ok(())
}
