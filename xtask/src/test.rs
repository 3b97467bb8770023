//! `xtask test`: every test there is.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    ahead,
    apt::Suite,
    arch::Arch,
    browser,
    built::{self, Built},
    cargo, chart, deny, ebpf, fast,
    kernel::{KERNELS, Kernel},
    native, place, readers, step,
    vm::{Guest, Machine},
};

/// Ends a guest that hangs: each test prints a line, and none takes a minute, or five where the machine is busy.
const GUEST_SILENCE: Duration = Duration::from_secs(600);

/// What to test.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Do not boot Debian's kernels under QEMU
    #[arg(long)]
    no_vm: bool,
    /// Run the kernel tests alone, and only on Debian's kernels for this architecture
    #[arg(long, conflicts_with = "no_vm")]
    arch: Option<Arch>,
    /// Of these kernels, only that of this suite
    #[arg(long, requires = "arch")]
    suite: Option<Suite>,
    /// Only formatting, lints, and the unprivileged tests of the crates that changed since main and of those that
    /// depend on them
    #[arg(long, conflicts_with_all = ["no_vm", "arch", "filter"])]
    fast: bool,
    /// Run only the tests whose names hold this text, and no lints
    filter: Option<String>,
}

/// Runs lints, unprivileged tests, and the kernel tests on the running kernel and on Debian's.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let filter: Vec<&str> = arguments.filter.as_deref().into_iter().collect();
    if let Some(arch) = arguments.arch {
        ebpf::build(arch, None)?;
        let built = built::programs(arch, built::PROFILE, &["--test", "kernel"])?;
        let machine = Machine::with(arch, &built, Vec::new())?;
        return in_guests(&machine, arch, arguments.suite, &filter);
    }
    ebpf::build(Arch::HERE, None)?;
    if arguments.fast {
        return fast::run();
    }
    ahead::begin(!arguments.no_vm);
    if filter.is_empty() {
        lint()?;
    }
    let built = Built::get()?;
    step::say("running the unprivileged tests");
    step::shown(
        built::cargo("test")?
            .args(["--quiet", "--"])
            .args(&filter)
            .env("LASTWORD_READERS", readers::get()?),
        "see the failed tests above",
    )?;
    chart::test(arguments.filter.as_deref())?;
    browser::test(arguments.filter.as_deref())?;
    let here = on_all_kernels(&built, arguments.no_vm, &filter)?;
    step::say(format_args!(
        "all tests passed{}, in {} s",
        match here {
            Ok(()) => "",
            Err(_) => " that can run here",
        },
        start.elapsed().as_secs()
    ));
    Ok(())
}

fn lint() -> Result<()> {
    step::say("checking format, lints and licences");
    step::shown(
        cargo::command("fmt").args(["--all", "--check"]),
        "run `cargo fmt --all`",
    )?;
    deny::check()?;
    step::shown(
        built::cargo("clippy")?.args(["--quiet", "--all-targets", "--", "--deny", "warnings"]),
        "fix what clippy says",
    )?;
    // In the workspace, features that other crates ask for may hide one that lastword forgot to ask for.
    step::say("checking lastword with its own features alone, as it is released");
    step::shown(
        built::cargo_alone("check", "agent")?.arg("--quiet"),
        "name the feature that is missing in the Cargo.toml of the crate that needs it",
    )
}

/// Runs the kernel tests in guests and at the same time here, where they mostly wait. Says what is in the way of running
/// them here.
fn on_all_kernels(built: &Built, no_vm: bool, filter: &[&str]) -> Result<Result<(), String>> {
    let machine = match no_vm {
        true => None,
        false => Some(Machine::with(Arch::HERE, &built.for_guests(), Vec::new())?),
    };
    thread::scope(|scope| {
        let guests = machine
            .as_ref()
            .map(|machine| scope.spawn(|| in_guests(machine, Arch::HERE, None, filter)));
        let here = on_this_kernel(built, filter);
        match &here {
            Ok(Ok(())) => {}
            Ok(Err(why)) => step::say(format_args!(
                "not run: the kernel tests on the running kernel, as this machine cannot record: {why}"
            )),
            Err(failed) => step::say(format_args!("{failed:#}; the guests go on")),
        }
        match guests.map(|guests| guests.join()) {
            None => step::say("not run: the kernel tests in guests (--no-vm)"),
            Some(Ok(outcome)) => outcome?,
            Some(Err(_)) => bail!("the guests' thread panicked"),
        }
        here
    })
}

/// Runs the kernel tests here, or says what is in the way.
fn on_this_kernel(built: &Built, filter: &[&str]) -> Result<Result<(), String>> {
    if let Some(why) = native::obstacle() {
        return Ok(Err(why));
    }
    let lastword = built.program("lastword")?;
    if let Some(why) = native::refusal(lastword) {
        return Ok(Err(why));
    }
    step::say("running the kernel tests on the running kernel");
    let mut command = std::process::Command::new(built.kernel_tests()?);
    command
        .args(filter)
        .env("LASTWORD_BIN", lastword)
        .env("LASTWORD_VICTIM", built.program("victim")?)
        .env("LASTWORD_PRIVILEGED", "1")
        // Under sudo commands would be the caller's.
        .env_remove("SUDO_UID")
        .current_dir(place::workspace().join("tests"));
    #[cfg(target_os = "linux")]
    command.env("LASTWORD_NGINX", crate::demo::PACKAGES.get()?.root);
    step::shown(&mut command, "see the failed tests above")?;
    Ok(Ok(()))
}

/// Boots every kernel, or only that of a suite, all at the same time: a guest takes one processor.
fn in_guests(machine: &Machine, arch: Arch, suite: Option<Suite>, filter: &[&str]) -> Result<()> {
    let kernels = KERNELS
        .iter()
        .filter(|source| suite.is_none_or(|suite| source.1 == suite))
        .map(|source| Kernel::get(*source, arch))
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let guests: Vec<_> = kernels
            .iter()
            .enumerate()
            .map(|(index, kernel)| {
                // Who names a test wants it on every kernel.
                let share = filter
                    .is_empty()
                    .then(|| format!("{index}/{}", kernels.len()));
                scope.spawn(move || in_guest(machine, kernel, share, filter))
            })
            .collect();
        let outcomes: Vec<Result<()>> = guests
            .into_iter()
            .map(|guest| {
                guest
                    .join()
                    .unwrap_or_else(|_| bail!("a guest's thread panicked"))
            })
            .collect();
        outcomes.into_iter().collect()
    })
}

/// Runs the tests, and of those that no kernel does differently the share.
fn in_guest(
    machine: &Machine,
    kernel: &Kernel,
    share: Option<String>,
    filter: &[&str],
) -> Result<()> {
    let release = &kernel.release;
    step::say(format_args!("running the kernel tests on Linux {release}"));
    let share = share.map(|share| format!("LASTWORD_SHARE={share}"));
    let mut command = Vec::new();
    if let Some(share) = &share {
        command.extend(["/bin/env", share]);
    }
    command.push("/bin/kernel-tests");
    command.extend(filter);
    let guest = Guest {
        kernel,
        command: &command,
        received: None,
        icount: false,
        silence: GUEST_SILENCE,
    };
    let outcome = machine.run(&guest, |line| eprintln!("  {release} | {line}"))?;
    if outcome.code != 0 {
        bail!(
            "kernel tests failed on Linux {release} (exit code {})",
            outcome.code
        );
    }
    if !outcome.console.contains("test result: ok") {
        bail!(
            "no kernel tests ran on Linux {release}: the guest's console has no `test result: ok`"
        );
    }
    Ok(())
}
