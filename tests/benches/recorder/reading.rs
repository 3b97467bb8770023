//! How fast captures are read: `show` and `explain` on those of `corpus`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use capture_format::open_file;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

use crate::{median, program, say, thousands};

/// CPU time of the children that were waited for, in seconds.
fn children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

/// CPU seconds of one command of lastword, the median of some.
fn time(words: &[&str], capture: &Path, times: usize) -> Result<f64> {
    let one = || {
        let before = children()?;
        let status = Command::new(program("LASTWORD_BIN")?)
            .args(words)
            .arg(capture)
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "lastword {}: {status}", words.join(" "));
        Ok(children()? - before)
    };
    Ok(median((0..times).map(|_| one()).collect::<Result<_>>()?))
}

pub(crate) fn run(folder: &Path) -> Result<()> {
    say!("| capture | runs | events | show | show --json | explain |");
    say!("|---|--:|--:|--:|--:|--:|");
    for (name, times) in [
        ("nginx", 15),
        ("python", 15),
        ("chatty", 15),
        ("full-ring", 9),
        ("synthetic/big", 3),
    ] {
        let capture = folder.join(name).with_extension("lwcap");
        if !capture.exists() {
            continue;
        }
        let mut reader =
            open_file(&capture).with_context(|| format!("cannot read {name}.lwcap"))?;
        let runs = reader.runs().len();
        let events: usize = (0..runs).map(|run| reader.events(run).count()).sum();
        let column = |words: &[&str]| {
            let seconds = time(words, &capture, times)?;
            Ok::<_, anyhow::Error>(format!(
                "{:.1} ms, {} events/s",
                seconds * 1e3,
                thousands(events as f64 / seconds)
            ))
        };
        say!(
            "| {name} | {runs} | {events} | {} | {} | {} |",
            column(&["show"])?,
            column(&["show", "--json"])?,
            column(&["explain"])?
        );
    }
    Ok(())
}
