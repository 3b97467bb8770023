//! A hundred containers.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Instant,
};

use agent::recorder::{Budget, Recorder, Settings};
use anyhow::{Context as _, Result, ensure};

use crate::{container::Container, mark, median, say};

const CONTAINERS: usize = 100;
/// How many rings the recorder has that is compared with.
const FEW: usize = 2;
const BUDGET_MIB: f64 = 256.0;

/// A value of a file in the form of /proc/meminfo, in MiB.
pub(crate) fn mib(file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("no {name} in {file}"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

/// Makes containers one after another. Returns each with the microseconds that making its directory took.
fn make(first: usize, count: usize) -> Result<Vec<(Container, f64)>> {
    (first..first + count)
        .map(|number| {
            let start = Instant::now();
            let container = Container::make(number)?;
            Ok((container, start.elapsed().as_secs_f64() * 1e6))
        })
        .collect()
}

/// Processes that are killed when this is dropped.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Settings of a recorder that starts with this many free rings.
fn settings(rings: usize) -> Settings {
    // A recorder makes twice as many rings as must be ready.
    Settings {
        budget: Budget {
            ready: rings / 2,
            ..Budget::default()
        },
        ..Settings::default()
    }
}

pub(crate) fn run() -> Result<()> {
    let own = "/proc/self/status";
    let times = |made: &[(Container, f64)]| median(made.iter().map(|(_, time)| *time).collect());
    let mkdir_without = times(&make(CONTAINERS, CONTAINERS)?);

    let (kernel_before, anonymous_before) =
        (mib("/proc/meminfo", "VmallocUsed")?, mib(own, "RssAnon")?);
    // There are as many free rings as there will be containers: the pool is filled when the recorder starts.
    let many = settings(CONTAINERS);
    let start = Instant::now();
    let recorder = Recorder::start(&many)?;
    let started = start.elapsed();
    let made = make(0, CONTAINERS)?;
    let mkdir_with = times(&made);
    let rings = made
        .iter()
        .map(|(container, _)| Ok(recorder.ring_of(container.id()?)))
        .collect::<Result<Vec<_>>>()?;
    let rings: Vec<_> = rings.into_iter().flatten().collect();
    ensure!(
        rings.len() == CONTAINERS,
        "only {} of {CONTAINERS} containers have rings",
        rings.len()
    );
    let mut children = Children(Vec::new());
    for (container, _) in &made {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["payload", "wait"])
            .arg(&container.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        children.0.push(command.spawn()?);
    }
    // A container is recorded if it has written its line.
    let start = Instant::now();
    for ring in &rings {
        while !recorder
            .read(*ring)?
            .events
            .iter()
            .any(|event| event.data.starts_with(b"a container"))
        {
            ensure!(
                start.elapsed().as_secs() < 60,
                "a container's line was not recorded"
            );
        }
    }
    let kernel = mib("/proc/meminfo", "VmallocUsed")? - kernel_before;
    let (anonymous, shared) = (
        mib(own, "RssAnon")?,
        mib(own, "RssFile")? + mib(own, "RssShmem")?,
    );
    let peak = mib(own, "VmHWM")?;
    let ring = size_of::<agent_ebpf::wire::Ring>() as f64 / 1048576.0;
    say!("| what | MiB |");
    say!("|---|--:|");
    say!("| a ring, as the programs see it | {ring:.2} |");
    say!("| {CONTAINERS} rings | {:.1} |", ring * CONTAINERS as f64);
    say!("| kernel memory that was added (VmallocUsed): rings, tables, programs | {kernel:.1} |");
    say!(
        "| agent process: anonymous memory (RssAnon), {anonymous_before:.1} of it before the recorder | {anonymous:.1} |"
    );
    say!(
        "| agent process: mapped pages (RssFile and RssShmem); the rings are among them, and counted above | {shared:.1} |"
    );
    say!("| agent process: largest RSS so far, the rings with it (VmHWM) | {peak:.1} |");
    let total = kernel + anonymous;
    say!(
        "| **kernel + anonymous; budget {BUDGET_MIB}** | **{total:.1}** {} |",
        mark(total, BUDGET_MIB)
    );
    say!("");
    drop(children);
    drop(made);
    drop(recorder);
    let started_few = {
        let few = settings(FEW);
        let start = Instant::now();
        let _recorder = Recorder::start(&few)?;
        start.elapsed()
    };
    say!(
        "Starting the recorder took {:.0} ms with {FEW} rings and {:.0} ms with {CONTAINERS}: {:.1} ms a ring.",
        started_few.as_secs_f64() * 1e3,
        started.as_secs_f64() * 1e3,
        (started - started_few).as_secs_f64() * 1e3 / (CONTAINERS - FEW) as f64
    );
    say!(
        "A container has its ring when mkdir(2) of its cgroup returns; mkdir took {mkdir_with:.0} µs with the recorder and {mkdir_without:.0} µs without (medians of {CONTAINERS})."
    );
    Ok(())
}
