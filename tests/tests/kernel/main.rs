//! Tests that need root and a kernel. They are ignored unless `LASTWORD_PRIVILEGED=1`.
//!
//! `cargo xtask test` runs them on this machine. It also runs this program as the only one in a virtual machine
//! (`LASTWORD_GUEST=1`), on every kernel that is supported. What kernels do differently is in `CASES`, which run on all
//! of them. What they all do alike is in `ALIKE`: each of these runs on one kernel, if `LASTWORD_SHARE` says which part
//! of them is this kernel's (`1/3`: the second of three). What an emulated machine is too slow for is in `OWN`.

mod agent;
mod containers;
mod crowds;
mod interrupted;
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

/// Which of the tests that no kernel does differently run on this one.
struct Share {
    index: usize,
    of: usize,
}

impl Share {
    /// All of them, if nothing is said. Otherwise what is said, if it is wrong.
    fn of_this_kernel() -> Result<Self, String> {
        let Some(given) = env::var_os("LASTWORD_SHARE") else {
            return Ok(Self { index: 0, of: 1 });
        };
        let given = given.to_string_lossy();
        let numbers = given.split_once('/').and_then(|(index, of)| {
            let share = Self {
                index: index.parse().ok()?,
                of: of.parse().ok()?,
            };
            (share.index < share.of).then_some(share)
        });
        numbers.ok_or_else(|| given.into_owned())
    }

    /// Whether the test at this place of the list is among them.
    fn has(&self, place: usize) -> bool {
        place % self.of == self.index
    }
}

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
        interrupted::CASES,
        agent::CASES[0],
        agent::CASES[1],
    ];
    let alike = [
        records::ALIKE,
        network::ALIKE,
        verdicts::ALIKE,
        lanes::ALIKE,
        containers::ALIKE,
        crowds::ALIKE,
        lives::ALIKE,
        interrupted::ALIKE,
        run::ALIKE,
        agent::ALIKE[0],
        agent::ALIKE[1],
    ];
    let own = [&agent::OWN[..], &[containers::OWN]].concat();
    let guest = env::var_os("LASTWORD_GUEST").is_some();
    let share = match Share::of_this_kernel() {
        Ok(share) => share,
        Err(given) => {
            eprintln!(
                "LASTWORD_SHARE={given}: it should be a number and how many there are, as in 1/3"
            );
            return ExitCode::FAILURE;
        }
    };
    let without_nginx = env::var_os("LASTWORD_NGINX").is_none();
    let trial = |(name, case): Case, runs: bool| {
        Trial::test(name, case).with_ignored_flag(!privileged || !runs)
    };
    let group = |cases: &[&[Case]], runs: bool| -> Vec<Trial> {
        let cases = cases.concat();
        cases.into_iter().map(|case| trial(case, runs)).collect()
    };
    let dealt = alike.concat().into_iter().enumerate();
    let trials = group(&cases, true)
        .into_iter()
        .chain(dealt.map(|(place, case)| trial(case, share.has(place))))
        .chain(group(&own, !guest))
        .chain(group(&[agent::UNIFIED_MEMORY], agent::has_unified_memory()))
        .chain(group(&[nginx::CASES], !without_nginx))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
