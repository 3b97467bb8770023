//! Tests that need root and a kernel. They are ignored unless `LASTWORD_PRIVILEGED=1`.
//!
//! `cargo xtask test` runs them on this machine. It also runs this program as the only one in a virtual machine
//! (`LASTWORD_GUEST=1`), on every kernel that is supported.

mod agent;
mod containers;
mod lanes;
mod lives;
mod made;
mod network;
mod nginx;
mod preempted;
mod records;
mod run;
mod support;
mod verdicts;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{SigHandler, Signal, signal};

/// A test and its name.
type Case = (&'static str, fn() -> Result<(), Failed>);

/// Lets programs that are started from here end at a hang-up, even if this program was started by nohup(1), because an
/// ignored signal is inherited.
#[expect(unsafe_code, reason = "sigaction(2)")]
fn heed_hangups() -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of this program.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.map(drop)
}

fn main() -> ExitCode {
    if let Err(error) = heed_hangups() {
        eprintln!("cannot heed SIGHUP: {error}");
        return ExitCode::FAILURE;
    }
    let privileged = env::var_os("LASTWORD_PRIVILEGED").is_some_and(|value| value == "1");
    if privileged && let Err(error) = lastword_tests::enter_own_world() {
        eprintln!("cannot make namespaces for the tests: {error:#}; they need root");
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    // Most of a test's time is spent waiting until the kernel has verified the programs. Recordings do not disturb each
    // other.
    arguments.test_threads.get_or_insert(2);
    let cases = [
        records::CASES,
        network::CASES,
        verdicts::CASES,
        lanes::CASES,
        preempted::CASES,
        containers::CASES,
        lives::CASES,
        run::CASES,
        agent::CASES,
    ]
    .concat();
    let own = [&agent::OWN[..], &[containers::OWN]].concat();
    let trials = |cases: Vec<Case>, ignored: bool| {
        let trial = move |(name, case)| Trial::test(name, case).with_ignored_flag(ignored);
        cases.into_iter().map(trial)
    };
    // An emulated machine is too slow to repeat what a real machine has already shown.
    let guest = env::var_os("LASTWORD_GUEST").is_some();
    let without_nginx = env::var_os("LASTWORD_NGINX").is_none();
    let trials = trials(cases, !privileged)
        .chain(trials(own.concat(), !privileged || guest))
        .chain(trials(
            agent::UNIFIED_MEMORY.to_vec(),
            !privileged || !agent::has_unified_memory(),
        ))
        .chain(trials(nginx::CASES.to_vec(), !privileged || without_nginx))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
