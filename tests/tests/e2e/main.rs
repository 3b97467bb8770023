//! End-to-end tests on the cluster that `$KUBECONFIG` names. They install `deploy/`, crash containers, and look at
//! what people would look at.
//!
//! They are ignored unless `LASTWORD_E2E=1`. `cargo xtask e2e` runs them: it makes the images and says where they are.
//! The cases run one after another, in the order of [`cases`], because all of them share one installation. Each case
//! sets up what it needs, so a filter may choose any of them.

mod capabilities;
mod clock;
mod cluster;
mod crowd;
mod edges;
mod events;
mod http;
mod install;
mod never_started;
mod newer;
mod pins;
mod policy;
mod reading;
mod report;
mod requests;
mod scenarios;
mod storage;
mod trouble;
mod upheaval;

use std::{collections::HashSet, env, fmt, process::ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::cluster::Cluster;

/// A test. It returns the text for the report.
type Case = fn(&Cluster) -> anyhow::Result<String>;

/// Why a case cannot be tried on this cluster: the error of a case that is skipped.
#[derive(Debug)]
struct NotTried(String);

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not tried: {}", self.0)
    }
}

impl std::error::Error for NotTried {}

/// A test that may refer to what it is about.
type Boxed = Box<dyn Fn(&Cluster) -> anyhow::Result<String> + Send>;

fn cases() -> Vec<(String, Boxed)> {
    let mut cases = scenarios::cases(number("LASTWORD_E2E_ROUNDS", 3));
    let groups: [&[(&str, Case)]; 13] = [
        requests::CASES,
        reading::CASES,
        never_started::CASES,
        crowd::CASES,
        edges::CASES,
        newer::CASES,
        policy::CASES,
        clock::CASES,
        upheaval::CASES,
        pins::CASES,
        storage::CASES,
        trouble::CASES,
        capabilities::CASES,
    ];
    for (name, case) in groups.concat() {
        cases.push((name.to_owned(), Box::new(case)));
    }
    cases
}

/// A number from the environment.
fn number(variable: &str, default: usize) -> usize {
    let given = env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    let asked = env::var_os("LASTWORD_E2E").is_some_and(|value| value == "1");
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let passed = if asked {
        report::passed()
    } else {
        HashSet::new()
    };
    let trials = cases()
        .into_iter()
        .filter(|(name, _)| !passed.contains(name))
        .map(|(name, case)| {
            let shown = name.clone();
            Trial::ignorable_test(name, move || run(&shown, &*case)).with_ignored_flag(!asked)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if asked && env::var_os("LASTWORD_E2E_KEEP").is_none() {
        install::remove_all();
    }
    conclusion.exit_code()
}

fn run(
    name: &str,
    case: &dyn Fn(&Cluster) -> anyhow::Result<String>,
) -> Result<Completion, Failed> {
    let outcome = Cluster::get().and_then(case);
    report::add(name, &outcome);
    match outcome {
        Ok(_) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<NotTried>() {
            Some(NotTried(why)) => Ok(Completion::ignored_with(why)),
            None => Err(format!("{error:#}").into()),
        },
    }
}
