//! Measures bytes per event and the speed of the format, and prints a table:
//!
//! ```sh
//! cargo bench -p lastword-tests --bench size -- [FILE.lwcap | DIRECTORY]…
//! ```
//!
//! The same events are written in three formats: `.lwcap`; JSON, an object a line, compressed by zstd at the same
//! level; and `.scap` as `lastword export` writes it, compressed by gzip as sysdig does. Without captures to measure,
//! the program makes up a corpus that looks like recorded captures. With `--make EVENTS FILE` it writes that many
//! events of the corpus as one capture, on which readers can be measured.

mod corpus;
mod json;

use std::hint::black_box;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inspect::export::scap::{self, Flavour};
use inspect::select::Selection;

use capture_format::{Event, Header, Reader, Run, RunIndex, Writer, open_file};

/// A capture in memory.
struct Capture {
    name: String,
    header: Header,
    runs: Vec<(Run, Vec<Event>)>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--make") {
        let (Some(events), Some(path)) = (words.get(at + 1), words.get(at + 2)) else {
            return Err("--make wants a number of events and a file".into());
        };
        return corpus::make(events.parse()?, Path::new(path));
    }
    let paths: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .filter(|it| !it.to_string_lossy().starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let mut captures = Vec::new();
    for path in &paths {
        add(path, &mut captures)?;
    }
    if paths.is_empty() {
        captures = corpus::captures();
        println!("Synthetic corpus; name captures to measure real ones.\n");
    }
    println!(
        "| capture | runs | events | .lwcap B/event | JSON+zstd B/event | scap+gzip B/event | write events/s | read events/s |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for capture in &captures {
        measure(capture)?;
    }
    Ok(())
}

/// Reads a capture, or every capture of a directory and those below it.
fn add(path: &Path, captures: &mut Vec<Capture>) -> Result<()> {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(|entry| entry.path());
        for entry in entries {
            let path = entry.path();
            if path.is_dir() || path.extension().is_some_and(|it| it == "lwcap") {
                add(&path, captures)?;
            }
        }
        return Ok(());
    }
    let mut reader = open_file(path)?;
    let mut runs = Vec::new();
    for (index, run) in reader.runs().to_vec().into_iter().enumerate() {
        runs.push((
            run,
            reader
                .events(RunIndex(index))
                .flatten()
                .map(|it| it.event)
                .collect(),
        ));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    captures.push(Capture {
        name,
        header: reader.header().clone(),
        runs,
    });
    Ok(())
}

fn measure(capture: &Capture) -> Result<()> {
    let events: usize = capture.runs.iter().map(|(_, events)| events.len()).sum();
    if events == 0 {
        println!(
            "| {} | {} | 0 | | | | | |",
            capture.name,
            capture.runs.len()
        );
        return Ok(());
    }
    let lwcap = write(capture)?;
    let json = zstd::bulk::compress(&json::encode(capture)?, 3)?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut reader = Reader::open(Cursor::new(&lwcap))?;
    scap::write(
        &mut reader,
        &Selection::default(),
        Flavour::Modern,
        &mut gzip,
    )?;
    let scap = gzip.finish()?;

    let per_event = |bytes: &[u8]| bytes.len() as f64 / events as f64;
    let write_time = time(|| write(capture).map(|bytes| bytes.len()))?;
    let read_time = time(|| read(&lwcap))?;
    let speed = |time: Duration| events as f64 / time.as_secs_f64();
    println!(
        "| {} | {} | {events} | {:.2} | {:.2} | {:.2} | {:.2e} | {:.2e} |",
        capture.name,
        capture.runs.len(),
        per_event(&lwcap),
        per_event(&json),
        per_event(&scap),
        speed(write_time),
        speed(read_time),
    );
    Ok(())
}

fn write(capture: &Capture) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), &capture.header)?;
    for (run, events) in &capture.runs {
        writer.begin_run(run)?;
        for event in events {
            writer.event(event)?;
        }
    }
    Ok(writer.finish()?.0)
}

fn read(bytes: &[u8]) -> Result<usize> {
    let mut reader = Reader::open(Cursor::new(bytes))?;
    let runs = reader.runs().len();
    Ok((0..runs)
        .map(|run| reader.events(RunIndex(run)).map(black_box).count())
        .sum())
}

/// Shortest time of a call, measured as often as half a second allows.
fn time(mut call: impl FnMut() -> Result<usize>) -> Result<Duration> {
    let start = Instant::now();
    let mut shortest = Duration::MAX;
    while start.elapsed() < Duration::from_millis(500) {
        let before = Instant::now();
        black_box(call()?);
        shortest = shortest.min(before.elapsed());
    }
    Ok(shortest)
}
