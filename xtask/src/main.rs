//! Builds, tests and demonstrates lastword: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod ahead;
mod apt;
mod arch;
mod bench;
mod browser;
mod built;
mod cargo;
mod chart;
mod crds;
#[cfg(target_os = "linux")]
mod demo;
mod deny;
mod e2e;
mod ebpf;
mod fast;
mod image;
mod initramfs;
mod kernel;
mod mirror;
mod native;
mod oci;
#[cfg(target_os = "linux")]
mod picture;
mod pip;
mod place;
mod readers;
mod stamp;
mod step;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::arch::Arch;

/// Build, test and demonstrate lastword.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set the eBPF toolchain up (in the cache and by rustup) and build the eBPF programs
    Ebpf {
        /// Where the compiler comes from [default: rustup, else Debian]
        #[arg(long, value_enum)]
        toolchain: Option<toolchain::Source>,
    },
    /// Build the eBPF programs and target/release/lastword
    Build,
    /// Write the custom resources' definitions in deploy/crds from their Rust types
    Crds,
    /// Run every test: lints, unprivileged tests, and the kernel tests here, as root, and on Debian's kernels under
    /// QEMU
    Test(test::Arguments),
    /// Open HTML reports of a dozen captures in Debian's Chromium, and test what a person does there; a part of `test`
    Browser {
        /// Run only the tests whose names hold this text
        filter: Option<String>,
    },
    /// Run an nginx that cannot resolve its upstream under lastword, and show capture and verdict; in a guest under
    /// QEMU where this machine cannot record
    #[cfg(target_os = "linux")]
    Demo,
    /// Record the demo's nginx in a terminal, as root, and write the session to docs/session.svg, which README shows
    #[cfg(target_os = "linux")]
    Picture,
    /// Fetch the programs of others that exports are tested with into the cache, and say where they are
    Readers,
    /// Make a container image, as an OCI archive, without Docker: target/images/lastword.tar
    Image(image::Arguments),
    /// Run the end-to-end tests on the cluster that $KUBECONFIG names, and write docs/e2e.md
    E2e(e2e::Arguments),
    /// Measure costs, as root, and write them to docs/performance.md
    Bench {
        /// Only this
        #[arg(value_enum)]
        section: Option<bench::Section>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Ebpf { toolchain } => ebpf::build(Arch::HERE, toolchain),
        Task::Build => build(),
        Task::Crds => crds::write(),
        Task::Test(arguments) => test::run(&arguments),
        Task::Browser { filter } => browser::test(filter.as_deref()),
        #[cfg(target_os = "linux")]
        Task::Demo => demo::run(),
        #[cfg(target_os = "linux")]
        Task::Picture => picture::write(),
        Task::Readers => readers::get().map(|folder| println!("{}", folder.display())),
        Task::Image(arguments) => image::run(&arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Bench { section } => bench::run(section),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(format_args!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    ebpf::build(Arch::HERE, None)?;
    step::say("building target/release/lastword (some minutes the first time)");
    step::shown(
        cargo::command("build").args(["--quiet", "--release", "--package", "agent"]),
        "fix what the compiler says",
    )
}
