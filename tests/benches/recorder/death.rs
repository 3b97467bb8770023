//! The time from the exit of a container to its capture on the disk.

use std::{
    fs,
    io::Cursor,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agent::recorder::{Recorder, Settings};
use anyhow::{Context as _, Result, ensure};
use capture_format::{EventKind, Header, Run, RunIndex, WriteError, Writer, write_file};

use crate::{container::Container, mark, median, program, say, thousands};

const TARGET_MS: f64 = 100.0;

/// One death, in milliseconds.
struct Death {
    read: f64,
    encode: f64,
    write: f64,
    events: usize,
    bytes: u64,
}

pub(crate) fn run(folder: &Path) -> Result<()> {
    const DEATHS: usize = 11;
    let mut recorder = Recorder::start(&Settings::default())?;
    let deaths = (0..DEATHS)
        .map(|number| one(&mut recorder, number, folder))
        .collect::<Result<Vec<Death>>>()?;
    drop(recorder);
    let over = |value: fn(&Death) -> f64| {
        let all: Vec<f64> = deaths.iter().map(value).collect();
        (
            median(all.clone()),
            all.iter().copied().fold(f64::INFINITY, f64::min),
            all.iter().copied().fold(0.0, f64::max),
        )
    };
    let last = deaths.last().context("no death")?;
    say!(
        "A ring of {} events in all eight lanes, {} bytes as a file; {DEATHS} deaths.",
        last.events,
        thousands(last.bytes as f64)
    );
    say!("");
    say!("| step | median | least | most |");
    say!("|---|--:|--:|--:|");
    let row = |name: &str, (middle, least, most): (f64, f64, f64)| {
        say!("| {name} | {middle:.1} ms | {least:.1} ms | {most:.1} ms |")
    };
    row(
        "read and decode the ring (`Recorder::read`)",
        over(|death| death.read),
    );
    row("encode and compress, in memory", over(|death| death.encode));
    row(
        "`write_file` as a whole: encode, write, fsync, rename",
        over(|death| death.write),
    );
    let total = over(|death| death.read + death.write);
    row("**from waitpid to the file: read + `write_file`**", total);
    say!("");
    say!(
        "Target: {TARGET_MS} ms; median: {}.",
        mark(total.0, TARGET_MS)
    );
    through_lastword(folder)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn one(recorder: &mut Recorder, number: usize, folder: &Path) -> Result<Death> {
    let container = Container::make(number)?;
    let ring = recorder.ring_of(container.id()?).context("no ring")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["payload", "fill"])
        .arg(folder.join("text"))
        .arg(&container.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = child.wait()?;
    let start = Instant::now();
    let recording = recorder.read(ring)?;
    let read = milliseconds(start);
    let run = Run {
        number: 1,
        cgroup: container.id()?,
        losses: recording.losses,
        ..Run::default()
    };
    let header = Header::default();
    let start = Instant::now();
    let summary = write_file(&folder.join("death.lwcap"), &header, |writer| {
        all(writer, &run, &recording.events)
    })?;
    let write = milliseconds(start);
    let start = Instant::now();
    let mut writer = Writer::new(Cursor::new(Vec::new()), &header)?;
    all(&mut writer, &run, &recording.events)?;
    writer.finish()?;
    let encode = milliseconds(start);
    ensure!(
        status.code() == Some(1),
        "the payload did not end as it should: {status}"
    );
    ensure!(recording.losses.overwritten > 0, "the ring was not full");
    drop(container);
    recorder.release(ring);
    Ok(Death {
        read,
        encode,
        write,
        events: recording.events.len(),
        bytes: summary.bytes,
    })
}

fn all<W: std::io::Write>(
    writer: &mut Writer<W>,
    run: &Run,
    events: &[capture_format::Event],
) -> Result<(), WriteError> {
    writer.begin_run(run)?;
    events.iter().try_for_each(|event| writer.event(event))?;
    writer.end_run()
}

/// Measures the same with `lastword run`, from outside: from the exit event of the command to the change time of the
/// file.
fn through_lastword(folder: &Path) -> Result<()> {
    let capture = folder.join("run.lwcap");
    let mut took = Vec::new();
    for _ in 0..5 {
        let status = Command::new(program("LASTWORD_BIN")?)
            .args(["run", "--restarts", "1", "-o"])
            .arg(&capture)
            .arg("--")
            .arg(std::env::current_exe()?)
            .args(["payload", "fill"])
            .arg(folder.join("text"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(
            status.code() == Some(1),
            "lastword run did not end as its command: {status}"
        );
        let mut reader = capture_format::open_file(&capture)?;
        let offset = reader.header().host.clock_offset;
        let pid = reader.runs()[0].init_pid;
        let exit = reader
            .events(RunIndex(0))
            .flatten()
            .map(|event| event.event)
            .filter(|event| event.kind == EventKind::EXIT && event.pid == pid)
            .last();
        let exit = exit.context("no exit event")?.time.0 as i64 + offset;
        let file = fs::metadata(&capture)?;
        let written = file.ctime() * 1_000_000_000 + file.ctime_nsec();
        took.push(Duration::from_nanos((written - exit).max(0) as u64).as_secs_f64() * 1e3);
    }
    say!("");
    say!(
        "The same by `lastword run`, from the exit event to the change time of the capture, which includes waking up, removing the run's cgroup and giving the ring back: {:.1} ms (median of {}).",
        median(took.clone()),
        took.len()
    );
    Ok(())
}
