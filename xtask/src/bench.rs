//! `xtask bench`: measures, prints tables, and writes them to docs/performance.md, where a section that is measured
//! alone replaces its former self.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    arch::Arch,
    built,
    cargo::Artifact,
    demo, ebpf,
    kernel::{KERNELS, Kernel},
    place, step,
    vm::{Guest, Machine},
};

/// Ends a guest that hangs; measuring takes a minute.
const GUEST_SILENCE: Duration = Duration::from_secs(600);

/// What the measuring program puts before each line of a report.
const MARK: &str = "bench> ";

const DOCUMENT: &str = "docs/performance.md";

const HEAD: &str = "\
# Performance

What recording costs, and how fast captures are read. Written by `cargo xtask bench`, as root;
`cargo xtask bench SECTION` measures one section again (`--help` lists the sections).

Times on the running kernel come from a machine that was also doing other things. They are therefore
medians, or ratios of values that were measured side by side. Instruction counts are the same in
every run and on every machine.
";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Instructions added to a system call, on Debian's Linux 6.12 and its newest, under QEMU
    Calls,
    /// The same in time, on the running kernel
    Native,
    /// The agent's CPU time while nothing dies
    Idle,
    /// From a container's exit to its capture on the disk
    Death,
    /// Memory with 100 containers
    Memory,
    /// The node agent: CPU and memory while containers come, crash and go
    Agent,
    /// Memory of the node agent when all containers of its node die at once
    Storm,
    /// What survives a chatty container
    Evidence,
    /// Events a second of the reading commands, bytes an event of the format
    Reading,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Section::Calls => "Added to a system call, in instructions",
            Section::Native => "Added to a system call, in time",
            Section::Idle => "The agent while nothing dies",
            Section::Death => "From the exit of a container to its capture",
            Section::Memory => "Memory with 100 containers",
            Section::Agent => "The node agent",
            Section::Storm => "A node that dies at once",
            Section::Evidence => "Evidence first",
            Section::Reading => "Reading captures",
        }
    }

    /// What is measured, and how.
    fn about(self) -> &'static str {
        match self {
            Section::Calls => {
                "How many instructions lastword adds to one system call, user and kernel space together. The guest\n\
                 runs under QEMU with `-icount shift=0`, where one nanosecond of the guest is one instruction. Each\n\
                 value is the least of 160 rounds of 50 calls, minus the same without the agent, in a cgroup of the\n\
                 same depth.\n\
                 \n\
                 *Watched* is a process in a container's cgroup, whose calls are recorded. Sends go to a socket whose\n\
                 buffer is full. *Falco adds* is what Falco's modern eBPF probe (libs, July 2026) adds on Linux 6.12,\n\
                 measured in the same way. The target is a quarter of it."
            }
            Section::Native => {
                "Each value is the median of 15 passes. Each pass measures all three variants one after another, and\n\
                 a ratio is of two values of one pass. The values are right only if nothing else is attached to\n\
                 system calls meanwhile, because that would make the variant *without agent* dearer."
            }
            Section::Idle => {
                "Under `lastword run`, a container writes 64 bytes to /dev/null 100,000 times a second. Measured is\n\
                 the time that all threads of lastword's process spent on a processor within ten seconds\n\
                 (/proc/PID/task/*/schedstat)."
            }
            Section::Death => {
                "A process in a container's cgroup fills all eight lanes (exec, fork, signals, failing opens, DNS,\n\
                 opens, reads of a text file, standard error and output, other writes), and exits."
            }
            Section::Memory => {
                "There are 100 cgroups with the name of a container, each with a process that wrote a line."
            }
            Section::Agent => {
                "`lastword agent` runs without Kubernetes and without a container runtime. First, 30 containers write\n\
                 a line every three seconds and another container crashes again and again; measured is the CPU time\n\
                 of the agent's cgroup (cpu.stat) over half a minute. Then 40 containers crash one after another;\n\
                 measured is the time from the exit of each to the change time of its capture. Then 20 containers\n\
                 take turns to start and crash, a thousand times in all; measured is memory."
            }
            Section::Storm => {
                "`lastword agent` runs with the budget and the memory limit of `deploy/`. 300 containers, more than the\n\
                 budget has rings for, each fill all eight lanes: the last ones wait for a ring. 250 of them, those\n\
                 with a ring first, are killed within a second, and all that have a ring are captured."
            }
            Section::Evidence => {
                "A program opens a missing file, writes to standard error, gets a signal, and gets the DNS answer\n\
                 NXDOMAIN. Then it writes half a million lines to standard output as fast as it can. Then it writes\n\
                 its last words. The question is whether the evidence survives the flood."
            }
            Section::Reading => {
                "Speed is measured by the CPU time of the command (user and system, including the start of the\n\
                 process), as the median of several runs. The captures are nginx that cannot resolve its upstream,\n\
                 Python that misses a module, the chatty program and the full ring of the sections above (three runs\n\
                 each), and 60 copies of the full ring in one file.\n\
                 \n\
                 The million events are made up (`tests/benches/size/corpus.rs`): servers, scripts and loggers.\n\
                 sysdig reads them from the plain file that `lastword export --to scap` makes of the capture;\n\
                 lastword's capture is compressed. The values are medians of five passes. Each pass measures both\n\
                 programs, and a ratio is of two values of one pass. The filters are those of `show --filter` and of\n\
                 sysdig's command line. All of it is the work of one thread."
            }
        }
    }
}

/// Measures one section, or all.
///
/// # Errors
/// Something is missing or fails. What was measured before is in the document.
pub(crate) fn run(only: Option<Section>) -> Result<()> {
    ebpf::build(Arch::HERE, None)?;
    let bench = Bench::build()?;
    for section in Section::value_variants() {
        if only.is_some_and(|only| only != *section) {
            continue;
        }
        step::say(format_args!("measuring: {}", section.title()));
        let report = bench.measure(*section)?;
        let report = report.trim();
        println!("\n{}\n\n{report}", section.title());
        update(&place::workspace().join(DOCUMENT), *section, report)?;
    }
    Ok(())
}

/// What measures.
struct Bench {
    artifacts: Vec<Artifact>,
    folder: PathBuf,
}

impl Bench {
    fn build() -> Result<Bench> {
        let artifacts = built::programs(Arch::HERE, "release", &["--bench", "recorder"])?;
        let folder = place::workspace().join("target/bench");
        fs::create_dir_all(folder.join("corpus"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Bench { artifacts, folder })
    }

    fn measure(&self, section: Section) -> Result<String> {
        let folder = &self.folder;
        match section {
            Section::Calls => self.in_guests("calls"),
            Section::Native => self.here("native", None),
            Section::Idle => self.here("idle", Some(folder)),
            Section::Death => self.here("death", Some(folder)),
            Section::Memory => self.here("many", None),
            Section::Agent => self.here("agent", Some(folder)),
            Section::Storm => self.here("storm", Some(folder)),
            Section::Evidence => self.here("chatter", Some(folder)),
            Section::Reading => {
                let corpus = folder.join("corpus");
                let missing = self.here("corpus", Some(&corpus))?;
                make_millions(&folder.join("million"))?;
                let speed = self.here("reading", Some(&corpus))?;
                Ok(format!("{missing}{speed}\n{}", sizes(&corpus)?))
            }
        }
    }

    fn program(&self, name: &str) -> Result<&Path> {
        let mut found = self.artifacts.iter().filter(|it| it.name == name);
        let found = found
            .next()
            .with_context(|| format!("cargo built no `{name}`"))?;
        Ok(&found.executable)
    }

    fn here(&self, what: &str, folder: Option<&Path>) -> Result<String> {
        let mut command = Command::new(self.program("recorder")?);
        command
            .arg(what)
            .args(folder)
            .env("LASTWORD_BIN", self.program("lastword")?)
            .env("LASTWORD_VICTIM", self.program("victim")?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if what == "corpus" {
            command.env("LASTWORD_NGINX", demo::PACKAGES.get()?.root);
        }
        if what == "reading" && std::env::var_os("LASTWORD_READERS").is_none() {
            command.env("LASTWORD_READERS", place::cache()?.join("readers"));
        }
        let mut child = command
            .spawn()
            .context("cannot start the measuring program")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut report = String::new();
        for line in BufReader::new(stdout).lines() {
            add(&mut report, &line?);
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("measuring `{what}`: {status}; see its message above (it needs root)");
        }
        Ok(report)
    }

    /// On the kernel that the targets are about, and on the newest, where another kind of probe is attached.
    fn in_guests(&self, what: &str) -> Result<String> {
        let machine = Machine::with(Arch::HERE, &self.artifacts, Vec::new())?;
        let mut report = String::new();
        for source in &KERNELS[1..] {
            let kernel = Kernel::get(*source, Arch::HERE)?;
            report.push_str(&format!("\n### Linux {}\n\n", kernel.release));
            let guest = Guest {
                kernel: &kernel,
                command: &["/bin/recorder-tests", what],
                received: None,
                icount: true,
                silence: GUEST_SILENCE,
            };
            let outcome = machine.run(&guest, |line| add(&mut report, line))?;
            if outcome.code != 0 {
                bail!(
                    "measuring `{what}` on Linux {} failed:\n{}",
                    kernel.release,
                    step::tail(&outcome.console)
                );
            }
        }
        Ok(report)
    }
}

/// Keeps a line of a console if it belongs to the report.
fn add(report: &mut String, line: &str) {
    if let Some((_, line)) = format!("{line} ").split_once(MARK) {
        report.push_str(line.trim_end());
        report.push('\n');
    }
}

/// The benchmark of the format, which also makes up captures.
fn of_format() -> Result<Command> {
    let mut command = built::without_shared_libraries(Arch::HERE, "bench")?;
    command.args([
        "--quiet",
        "--package",
        "lastword-tests",
        "--bench",
        "size",
        "--",
    ]);
    Ok(command)
}

/// Captures of one and five million made-up events, in a folder.
fn make_millions(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, events) in [("1.lwcap", "1000000"), ("5.lwcap", "5000000")] {
        let mut command = of_format()?;
        command.args(["--make", events]).arg(folder.join(name));
        step::quiet(&mut command, "fix the format's benchmark")?;
    }
    Ok(())
}

/// Bytes an event of the captures in a folder, by the benchmark of the format.
fn sizes(corpus: &Path) -> Result<String> {
    let output = step::quiet(of_format()?.arg(corpus), "fix the format's benchmark")?;
    let table = output.lines().filter(|line| line.starts_with('|'));
    Ok(table.map(|line| format!("{line}\n")).collect())
}

/// Puts a section into the document, in place of itself or where it belongs.
fn update(document: &Path, section: Section, report: &str) -> Result<()> {
    let old = fs::read_to_string(document).unwrap_or_default();
    let date = step::quiet(
        Command::new("date").args(["-u", "+%Y-%m-%d"]),
        "install coreutils",
    )?;
    let part = format!(
        "{}\n\n{report}\n\nMeasured {} on {}.\n",
        section.about(),
        date.trim(),
        machine(section)
    );
    fs::write(document, replaced(&old, section, &part))
        .with_context(|| format!("cannot write {}", document.display()))
}

/// The document with this section's part replaced.
fn replaced(old: &str, section: Section, part: &str) -> String {
    let mut text = HEAD.to_owned();
    for each in Section::value_variants() {
        let title = format!("## {}\n", each.title());
        let body = if *each == section {
            Some(part)
        } else {
            let found = old.split_once(&title).map(|(_, rest)| rest);
            found.map(|rest| rest.split("\n## ").next().unwrap_or(rest).trim())
        };
        if let Some(body) = body {
            text.push_str(&format!("\n{title}\n{}\n", body.trim()));
        }
    }
    text
}

/// The machine, without its name.
fn machine(section: Section) -> String {
    if section == Section::Calls {
        return "QEMU's TCG, one CPU".to_owned();
    }
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name")
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "Linux {}, {cpus} CPUs ({cpu}), load average {} at the end",
        kernel.split('-').next().unwrap_or_default().trim(),
        load.split(' ').next().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_itself_and_nothing_else() {
        let first = replaced("", Section::Idle, "idle 1\n");
        let both = replaced(&first, Section::Calls, "calls 1\n\n| a |\n");
        let again = replaced(&both, Section::Idle, "idle 2");
        assert!(again.starts_with("# Performance\n"));
        assert!(
            again.contains("calls 1\n\n| a |\n\n## The agent"),
            "{again}"
        );
        assert!(again.ends_with("\n\nidle 2\n"), "{again}");
        assert!(!again.contains("idle 1"));
        assert_eq!(again.matches("\n## ").count(), 2);
    }

    #[test]
    fn only_marked_lines_belong_to_a_report() {
        let mut report = String::new();
        for line in [
            "[    1.0] kernel",
            "bench> | a |",
            "[    2.0] bench> | b | ",
        ] {
            add(&mut report, line);
        }
        assert_eq!(report, "| a |\n| b |\n");
    }
}
