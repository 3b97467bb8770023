//! `lastword agent` on a node with quiet containers, a crash loop, and containers that come and go.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use capture_format::RunIndex;
use lastword_tests::{in_thread, on_a_node};
use nix::sched::CloneFlags;
use serde_json::Value;

use crate::{
    container::{self, Container},
    mark, median, program, say,
};

const QUIET: usize = 30;
const WINDOW: Duration = Duration::from_secs(30);
/// Pause between two crashes of the loop.
const PAUSE: Duration = Duration::from_secs(5);
const CRASHES: usize = 40;
/// How often containers start and end.
const TURNS: usize = 20;
/// Pause between two starts: a node that starts fifty containers a second has other problems.
const APART: Duration = Duration::from_millis(20);
const CPU_PERCENT: f64 = 1.0;
const BUDGET_MIB: f64 = 256.0;
const MIB: u64 = 1 << 20;
/// How much memory an allocator may keep, in MiB.
const NOISE_MIB: f64 = 2.0;

pub(crate) fn run(folder: &Path) -> Result<()> {
    let agent = Agent::start(folder)?;
    let others = agent.number("/containers/unnamed")?;
    let quiet = (0..QUIET)
        .map(|number| {
            thread::sleep(APART);
            Run::start(number, "quiet")
        })
        .collect::<Result<Vec<Run>>>()?;
    cpu(&agent)?;
    say!("");
    captures(&agent)?;
    say!("");
    memory(&agent)?;
    say!("");
    say!(
        "The machine had {others} containers of its own, which the agent recorded too. Containers that the agent could not record: {}.",
        agent.number("/refused")?
    );
    drop(quiet);
    Ok(())
}

/// More containers than there are rings for have filled theirs, and most of them die within a second.
pub(crate) fn storm(folder: &Path) -> Result<()> {
    const CONTAINERS: usize = 300;
    const CRASHING: usize = 250;
    /// Events of a full ring.
    const EVENTS: usize = 5000;
    /// How long the agent may take to make another ring. After that there are no more.
    const MADE: Duration = Duration::from_secs(2);
    const LOOK: Duration = Duration::from_millis(20);
    let limit = agent::config::Recorder::default().memory_limit() / MIB;
    let mut agent = Agent::start(folder)?;
    agent.memory = Some(Memory::limit(&agent, limit * MIB)?);
    let agent = agent;
    let before = agent.anonymous()?;
    let mut running = Vec::new();
    let mut full = false;
    for number in 0..CONTAINERS {
        let file = agent.folder.join(format!("full-{number}"));
        let path = file.to_str().context("a path in UTF-8")?;
        running.push(Run::start_with(number, &["full", path])?);
        // One after the other: all at once would leave none of them enough CPU time.
        while !file.exists() {
            thread::sleep(LOOK);
        }
        let filled = Instant::now();
        while !full && agent.number("/memory/rings_free")? < 1.0 {
            full = filled.elapsed() > MADE;
            thread::sleep(LOOK);
        }
    }
    let waiting = || agent.number("/containers/waiting");
    let (rings, waited) = (agent.number("/memory/rings_used")?, waiting()?);
    // The first containers have the rings.
    let expected = CRASHING.min(CONTAINERS - waited as usize);
    let start = Instant::now();
    for run in running.iter_mut().take(CRASHING) {
        run.child.kill()?;
    }
    let killed = start.elapsed();
    let (mut most, mut captured) = (0f64, 0f64);
    while captured < expected as f64 && start.elapsed().as_secs() < 300 {
        captured = agent.number("/spool/captures")?;
        most = most.max(agent.anonymous()?);
        thread::sleep(LOOK);
    }
    let took = start.elapsed();
    // Twice the interval at which the agent returns unused memory.
    thread::sleep(Duration::from_secs(60));
    let after = agent.anonymous()?;
    let still_waiting = waiting()?;
    let captures = fs::read_dir(agent.folder.join("spool/captures/_"))?;
    let mut whole = 0;
    for entry in captures {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "lwcap") {
            let mut reader = capture_format::open_file(&path)?;
            let lost = reader.runs().first().context("no run")?.losses.lost;
            whole += usize::from(lost == 0 && reader.events(RunIndex(0)).count() > EVENTS);
        }
    }
    say!("| what | |");
    say!("|---|--:|");
    say!(
        "| containers, rings in use, containers that wait for a ring | {CONTAINERS}, {rings}, {waited} |"
    );
    say!(
        "| killed, within | {CRASHING}, {:.0} ms |",
        killed.as_secs_f64() * 1e3
    );
    say!(
        "| from the first death to the last capture | {:.1} s |",
        took.as_secs_f64()
    );
    say!(
        "| whole captures of more than {EVENTS} events each, of {expected} with a ring | {whole} {} |",
        mark(expected as f64 - whole as f64, 0.0)
    );
    say!("| containers that still wait for a ring a minute later | {still_waiting} |");
    say!(
        "| messages of the kernel side lost | {} |",
        agent.number("/messages_lost")?
    );
    say!(
        "| anonymous memory (RssAnon) before, at most, a minute after (of which kept runs) | {before:.0}, {most:.0}, {after:.0} ({:.0}) MiB |",
        agent.number("/memory/kept_run_bytes")? / MIB as f64
    );
    let memory = agent.memory.as_ref();
    let (peak, kills) = memory.context("no limit")?.used()?;
    drop(running);
    say!(
        "| **memory of the agent's cgroup at most, rings and page cache with it; limit {limit}** | **{peak:.0} MiB** {} |",
        mark(kills, 0.0)
    );
    Ok(())
}

/// The cgroup that limits the memory of an agent.
struct Memory(PathBuf);

impl Memory {
    /// Uses the memory controller of the version that has it.
    fn limit(agent: &Agent, bytes: u64) -> Result<Self> {
        let version_1 = Path::new("/sys/fs/cgroup/memory");
        if !version_1.join("memory.limit_in_bytes").exists() {
            let path = agent.cgroup.path.clone();
            fs::write(path.join("memory.max"), bytes.to_string())
                .context("the memory controller is not enabled for the agent's cgroup")?;
            return Ok(Self(path));
        }
        let path = version_1.join(agent.cgroup.path.file_name().context("no name")?);
        fs::create_dir(&path)?;
        fs::write(path.join("memory.limit_in_bytes"), bytes.to_string())?;
        fs::write(path.join("cgroup.procs"), agent.child.id().to_string())?;
        Ok(Self(path))
    }

    /// The most memory in use, in MiB, and the number of OOM kills.
    fn used(&self) -> Result<(f64, f64)> {
        let read = |files: [&str; 2]| {
            let text = files
                .iter()
                .find_map(|file| fs::read_to_string(self.0.join(file)).ok());
            text.with_context(|| format!("none of {files:?}"))
        };
        let peak: f64 = read(["memory.peak", "memory.max_usage_in_bytes"])?
            .trim()
            .parse()?;
        let events = read(["memory.events", "memory.oom_control"])?;
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        Ok((peak / MIB as f64, kills.context("no oom_kill")?.parse()?))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The directory of version 1; the agent has ended.
        let _ = fs::remove_dir(&self.0);
    }
}

fn cpu(agent: &Agent) -> Result<()> {
    thread::sleep(Duration::from_secs(2));
    let (start, before) = (Instant::now(), agent.cpu()?);
    let mut crashes = 0;
    while start.elapsed() < WINDOW {
        Run::start(QUIET, "fail")?.end()?;
        crashes += 1;
        thread::sleep(PAUSE);
    }
    let (used, elapsed) = (agent.cpu()? - before, start.elapsed());
    let share = 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
    say!(
        "| quiet containers | crashes of one other | seconds | agent: CPU time | share of one core | target | |"
    );
    say!("|--:|--:|--:|--:|--:|--:|---|");
    say!(
        "| {QUIET} | {crashes} | {:.1} | {:.0} ms | {share:.2} % | {CPU_PERCENT} % | {} |",
        elapsed.as_secs_f64(),
        used.as_secs_f64() * 1e3,
        mark(share, CPU_PERCENT)
    );
    Ok(())
}

/// Measures the time from exits to captures; each exit is of another container.
fn captures(agent: &Agent) -> Result<()> {
    let mut took = Vec::new();
    for number in 0..CRASHES {
        let run = Run::start(1000 + number, "fail")?;
        let id = run.id();
        run.end()?;
        took.push(agent.captured(&id)?);
    }
    let most = took.iter().copied().fold(0.0, f64::max);
    say!(
        "From the exit of a container to its capture in the spool, over {CRASHES} crashes: {:.0} ms (median), {most:.0} ms (most). \
         The agent waits for half a second of this, because the pod may turn out to be deleted.",
        median(took)
    );
    Ok(())
}

fn memory(agent: &Agent) -> Result<()> {
    say!(
        "| starts and deaths | anonymous memory (RssAnon) | rings | together, at most so far | kept runs | |"
    );
    say!("|--:|--:|--:|--:|--:|---|");
    let (mut most, mut after) = (0f64, Vec::new());
    for number in 1..=1000 {
        Run::start(2000 + number % TURNS, "fail")?.end()?;
        thread::sleep(APART);
        if number % 20 == 0 {
            let (anonymous, rings) = (agent.anonymous()?, agent.rings()?);
            most = most.max(anonymous + rings);
            if number == 200 || number == 1000 {
                after.push(anonymous);
                say!(
                    "| {number} | {anonymous:.1} MiB | {rings:.1} MiB | {most:.1} MiB | {:.2} MiB | {} |",
                    agent.number("/memory/kept_run_bytes")? / 1048576.0,
                    mark(most, BUDGET_MIB)
                );
            }
        }
    }
    let grown = after[1] - after[0];
    say!("");
    say!(
        "Budget: {BUDGET_MIB} MiB. Between 200 and 1,000 starts anonymous memory grew by {grown:.1} MiB; target: {NOISE_MIB} MiB, {}.",
        mark(grown, NOISE_MIB)
    );
    Ok(())
}

/// One run of a container.
struct Run {
    container: Container,
    child: Child,
}

impl Run {
    /// Starts a payload as pid 1 of a pid namespace, as runtimes do.
    fn start(number: usize, payload: &str) -> Result<Self> {
        Self::start_with(number, &[payload])
    }

    fn start_with(number: usize, payload: &[&str]) -> Result<Self> {
        let container = Container::make(number)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["payload", "inside"])
            .arg(&container.path)
            .args(payload)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = in_thread(CloneFlags::CLONE_NEWPID, move || command.spawn())?;
        Ok(Self { container, child })
    }

    fn id(&self) -> String {
        let name = self.container.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let name = name.strip_prefix("docker-").unwrap_or(&name);
        name.strip_suffix(".scope").unwrap_or(name).to_owned()
    }

    fn end(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(
            status.code() == Some(1),
            "the container did not fail: {status}"
        );
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Agent {
    child: Child,
    folder: PathBuf,
    /// The agent's own cgroup.
    cgroup: Container,
    /// The limit of its memory, which outlives the process.
    memory: Option<Memory>,
}

impl Agent {
    fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("agent");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(&folder)?,
        }
        let config = folder.join("agent.yaml");
        let place = folder.display();
        fs::write(
            &config,
            format!(
                "kubernetes: {{enabled: off}}\ncontainer_runtime: {{endpoint: off}}\nspool: {{directory: {place}/spool}}\n\
                 socket: {place}/agent.sock\nhttp: {{listen: '127.0.0.1:0'}}\n"
            ),
        )?;
        let cgroup = Container::make_other()?;
        let mut command = Command::new(program("LASTWORD_BIN")?);
        command
            .args(["agent", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?);
        let child = on_a_node(move || command.spawn())?;
        fs::write(cgroup.path.join("cgroup.procs"), child.id().to_string())?;
        let mut agent = Self {
            child,
            folder,
            cgroup,
            memory: None,
        };
        let start = Instant::now();
        while agent.status().is_err() {
            let over = agent.child.try_wait()?;
            ensure!(
                over.is_none() && start.elapsed().as_secs() < 60,
                "the agent does not run: {}",
                fs::read_to_string(agent.folder.join("log"))?
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(agent)
    }

    fn status(&self) -> Result<Value> {
        let output = Command::new(program("LASTWORD_BIN")?)
            .args(["status", "--json", "--socket"])
            .arg(self.folder.join("agent.sock"))
            .output()?;
        ensure!(
            output.status.success(),
            "lastword status: {}",
            output.status
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// A number of the agent's status.
    fn number(&self, place: &str) -> Result<f64> {
        let status = self.status()?;
        let value = status.pointer(place).and_then(Value::as_f64);
        value.with_context(|| format!("no {place} in {status}"))
    }

    /// CPU time so far, including ended threads: cpu.stat of its cgroup.
    fn cpu(&self) -> Result<Duration> {
        let text = fs::read_to_string(self.cgroup.path.join("cpu.stat"))?;
        let usage = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(
            usage.context("no usage_usec")?.parse()?,
        ))
    }

    /// RssAnon of the agent in MiB.
    fn anonymous(&self) -> Result<f64> {
        crate::many::mib(&format!("/proc/{}/status", self.child.id()), "RssAnon")
    }

    /// Memory of all rings, in MiB.
    fn rings(&self) -> Result<f64> {
        Ok(self.number("/memory/ring_bytes")? / 1048576.0)
    }

    /// Waits for the capture of a container. Returns milliseconds from the container's exit to the last change of the
    /// file.
    fn captured(&self, id: &str) -> Result<f64> {
        let start = Instant::now();
        let captures = self.folder.join("spool/captures/_");
        while start.elapsed().as_secs() < 60 {
            for entry in fs::read_dir(&captures).into_iter().flatten().flatten() {
                let (name, path) = (entry.file_name(), entry.path());
                let name = name.to_string_lossy();
                if name.starts_with(id) && name.ends_with(".lwcap") {
                    let reader = capture_format::open_file(&path)?;
                    let offset = reader.header().host.clock_offset;
                    let end = reader.runs().last().and_then(|run| run.end);
                    let end = end.context("the run has no end")?.0 as i64 + offset;
                    let file = fs::metadata(&path)?;
                    let written = file.ctime() * 1_000_000_000 + file.ctime_nsec();
                    return Ok((written - end) as f64 / 1e6);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(anyhow!(
            "no capture of {id}: {}",
            fs::read_to_string(self.folder.join("log"))?
        ))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what a container runtime does: enters a cgroup and becomes the container's program.
pub(crate) fn inside(cgroup: &str, payload: &[&str]) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    container::enter(Path::new(cgroup))?;
    let own = std::env::current_exe()?;
    Err(Command::new(own).arg("payload").args(payload).exec().into())
}
