//! Builds, tests and demonstrates lastword: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod apt;
mod ebpf;
mod place;
mod stamp;
mod step;
mod toolchain;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Ebpf { toolchain } => ebpf::build(toolchain),
    }
}
