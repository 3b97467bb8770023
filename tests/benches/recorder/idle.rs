//! What the agent's process costs while a container is busy and no container dies.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{mark, program, say, thousands};

/// CPU time of all threads of a process, and how often they were switched to.
fn used(pid: u32) -> Result<(Duration, u64)> {
    let (mut nanoseconds, mut switches) = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Time on a processor in nanoseconds, time waiting for one, and how often it ran:
        // Documentation/scheduler/sched-stats.rst.
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let mut fields = text.split_whitespace().map(str::parse::<u64>);
        let mut field = || {
            fields
                .next()
                .context("schedstat is cut")
                .and_then(|field| Ok(field?))
        };
        nanoseconds += field()?;
        field()?;
        switches += field()?;
    }
    Ok((Duration::from_nanos(nanoseconds), switches))
}

pub(crate) fn run(folder: &Path) -> Result<()> {
    const RATE: &str = "100000";
    const WINDOW: Duration = Duration::from_secs(10);
    let told = folder.join("rate");
    let mut lastword = Command::new(program("LASTWORD_BIN")?)
        .args(["run", "--restarts", "1", "-o"])
        .arg(folder.join("idle.lwcap"))
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(["payload", "write", RATE, "13"])
        .arg(&told)
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start lastword")?;
    // Loading ends long before that, so its time is not in the window.
    thread::sleep(Duration::from_secs(2));
    let (start, before) = (Instant::now(), used(lastword.id())?);
    thread::sleep(WINDOW);
    let (after, elapsed) = (used(lastword.id())?, start.elapsed());
    lastword.wait()?;
    let rate: f64 = fs::read_to_string(&told)
        .context("the writer failed")?
        .parse()?;
    let time = after.0 - before.0;
    let share = 100.0 * time.as_secs_f64() / elapsed.as_secs_f64();
    say!(
        "| writes a second, as made | seconds | agent: CPU time | times it ran | share of one core | target | |"
    );
    say!("|--:|--:|--:|--:|--:|--:|---|");
    say!(
        "| {} | {:.1} | {:.3} ms | {} | {share:.4} % | 0.5 % | {} |",
        thousands(rate),
        elapsed.as_secs_f64(),
        time.as_secs_f64() * 1e3,
        after.1 - before.1,
        mark(share, 0.5)
    );
    say!("");
    say!(
        "Loading and attaching cost {:.0} ms of CPU time, once.",
        before.0.as_secs_f64() * 1e3
    );
    Ok(())
}
