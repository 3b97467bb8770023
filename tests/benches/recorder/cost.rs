//! What recording adds to the cost of system calls.

#![expect(unsafe_code, reason = "counts instructions")]

use std::{fs, time::Instant};

use agent::recorder::{Recorder, Settings};
use anyhow::{Context as _, Result, bail};
use capture_format::Probe;

use crate::{
    calls::{self, CLOSE_EBADF, Call, GETPPID, WRITE, WRITE_NOTHING},
    container::Container,
    mark, median, say, thousands,
};

/// How many rounds a call is measured in each variant.
const ROUNDS: usize = 160;

/// Redirects standard error to /dev/null while calls are measured, because some of them write to it.
struct Silence(std::os::fd::OwnedFd);

impl Silence {
    fn begin() -> Result<Self> {
        let kept = nix::unistd::dup(std::io::stderr())?;
        nix::unistd::dup2_stderr(fs::File::options().write(true).open("/dev/null")?)?;
        Ok(Self(kept))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Otherwise error messages would be lost.
        let _ = nix::unistd::dup2_stderr(&self.0);
    }
}

/// How many nanoseconds this many instructions take, by the clock that is used for all measurements.
#[cfg(target_arch = "x86_64")]
fn calibration(instructions: u64) -> f64 {
    let start = Instant::now();
    // SAFETY: the code only counts a register down.
    unsafe {
        std::arch::asm!("2:", "dec {0}", "jnz 2b", inout(reg) instructions / 2 => _);
    }
    start.elapsed().as_nanos() as f64
}

/// Waits until the guest has nothing more to do after its start: during a loop of 20 ms nothing else runs except timer
/// ticks.
#[cfg(target_arch = "x86_64")]
fn settle() -> Result<()> {
    const LOOP: u64 = 20_000_000;
    const SECONDS: usize = 60;
    for _ in 0..SECONDS {
        if calibration(LOOP) < LOOP as f64 * 1.03 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    bail!("the guest does not come to rest, or its clock does not count instructions")
}

/// Nanoseconds of each call: without the agent, with the agent outside of containers, and in a container.
struct Variants {
    without: Vec<f64>,
    unwatched: Vec<f64>,
    watched: Vec<f64>,
    probe: Probe,
}

impl Variants {
    /// Measures all variants, always in a cgroup of the same depth: the kernel's own accounting costs more there than
    /// at the root.
    fn measure(calls: &mut [Call], number: usize) -> Result<Self> {
        let mut all = || calls.iter_mut().map(|call| call.time(ROUNDS)).collect();
        let other = Container::make_other()?;
        let without = other.inside(&mut all)?;
        let recorder = Recorder::start(&Settings::default())?;
        let unwatched = other.inside(&mut all)?;
        let container = Container::make(number)?;
        recorder.ring_of(container.id()?).context("no ring")?;
        let watched = container.inside(&mut all)?;
        let mut probes = recorder.probes();
        let probe = probes.find(|probe| probe.name == "sys_exit");
        let probe = probe.context("no probe sys_exit")?.clone();
        Ok(Self {
            without,
            unwatched,
            watched,
            probe,
        })
    }

    fn say_probe(&self) {
        let Probe { attach, reason, .. } = &self.probe;
        say!("System calls are observed by `{attach}` on this kernel: {reason}.");
        say!("");
    }
}

/// Measures under `-icount shift=0`, where a nanosecond is an instruction.
pub(crate) fn in_instructions() -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    settle()?;
    let mut calls = calls::all()?;
    let silence = Silence::begin()?;
    let variants = Variants::measure(&mut calls, 0)?;
    drop(silence);
    variants.say_probe();
    say!(
        "| call | without agent | added, not watched | added, watched | Falco adds | a quarter of that | |"
    );
    say!("|---|--:|--:|--:|--:|--:|---|");
    for (index, call) in calls.iter().enumerate() {
        let without = variants.without[index];
        let unwatched = variants.unwatched[index] - without;
        let watched = variants.watched[index] - without;
        let measured = if call.hooked {
            watched
        } else {
            watched.max(unwatched)
        };
        let (falco, target, verdict) = match call.falco {
            Some(falco) => (
                thousands(falco),
                thousands(falco / 4.0),
                mark(measured, falco / 4.0),
            ),
            None => <_>::default(),
        };
        let columns = [without, unwatched, watched].map(thousands).join(" | ");
        say!(
            "| {} | {columns} | {falco} | {target} | {verdict} |",
            call.name
        );
    }
    breakdown(&calls, &variants)
}

/// Prints what a recorded write costs, part by part: differences between calls that each have one more of the parts.
fn breakdown(calls: &[Call], variants: &Variants) -> Result<()> {
    let added = |name: &str, variant: &[f64]| {
        let index = calls.iter().position(|call| call.name == name);
        let index = index.with_context(|| format!("{name} is not measured"))?;
        Ok::<_, anyhow::Error>(variant[index] - variants.without[index])
    };
    let hook = added(GETPPID, &variants.unwatched)?;
    let unwatched = added(WRITE, &variants.unwatched)?;
    let record = added(CLOSE_EBADF, &variants.watched)?;
    let descriptor = added(WRITE_NOTHING, &variants.watched)?;
    let whole = added(WRITE, &variants.watched)?;
    say!("");
    say!(
        "The {} instructions that are added to a watched `{WRITE}` are {} for the call of the probe, {} to find out \
         whose cgroup it is, {} for a record without payload, {} to find out what the descriptor is, and {} for a \
         payload of 64 bytes.",
        thousands(whole),
        thousands(hook),
        thousands(unwatched - hook),
        thousands(record - unwatched),
        thousands(descriptor - record),
        thousands(whole - descriptor)
    );
    Ok(())
}

/// Measures on the running kernel: medians over several passes. In each pass all variants are measured one after
/// another.
pub(crate) fn as_ratios() -> Result<()> {
    const PASSES: usize = 15;
    let mut calls = calls::all()?;
    let silence = Silence::begin()?;
    let passes: Vec<Variants> = (0..PASSES)
        .map(|number| Variants::measure(&mut calls, number))
        .collect::<Result<_>>()?;
    drop(silence);
    passes[0].say_probe();
    say!(
        "| call | without agent, ns | not watched, ns added | watched, ns added | not watched, ratio | watched, ratio |"
    );
    say!("|---|--:|--:|--:|--:|--:|");
    for (index, call) in calls.iter().enumerate() {
        let over = |value: fn(f64, f64, f64) -> f64| {
            let values = passes
                .iter()
                .map(|it| value(it.without[index], it.unwatched[index], it.watched[index]));
            median(values.collect())
        };
        say!(
            "| {} | {} | {} | {} | {:.2} | {:.2} |",
            call.name,
            thousands(over(|without, _, _| without)),
            thousands(over(|without, unwatched, _| unwatched - without)),
            thousands(over(|without, _, watched| watched - without)),
            over(|without, unwatched, _| unwatched / without),
            over(|without, _, watched| watched / without)
        );
    }
    Ok(())
}
