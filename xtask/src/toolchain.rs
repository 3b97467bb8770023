//! The eBPF toolchain: a Rust compiler that may use unstable features, with the sources of `core`, and `bpf-linker`.
//!
//! `bpf-linker` must be built against an LLVM that is at least the compiler's. Debian has LLVM 22, so the nightly is
//! pinned to one with LLVM 22 too; Debian's own Rust, which takes the nightly's place where rustup cannot fetch it,
//! has it as well.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    apt::{Bundle, Suite, Unpacked},
    place, step,
};

/// The last nightly but few with LLVM 22.
const NIGHTLY: &str = "nightly-2026-05-20";
const LLVM_MAJOR: u32 = 22;
const BPF_LINKER: &str = "0.13.0";

const LLVM: Bundle = Bundle {
    name: "llvm-22",
    suite: Suite::Bookworm,
    packages: &["llvm-22-dev", "zlib1g-dev", "libzstd-dev"],
    // Only the shared library is linked with; the static ones take a gigabyte.
    without: &["*/libLLVM[A-Z]*.a", "*/libPolly*", "*/share/doc/*"],
};

const RUST: Bundle = Bundle {
    name: "rust-web",
    suite: Suite::Bookworm,
    packages: &["rustc-web", "cargo-web", "rust-web-src"],
    without: &["*/share/doc/*"],
};

/// Where the compiler comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// A nightly, by rustup.
    Rustup,
    /// Debian's rustc-web, unpacked into the cache.
    Debian,
}

/// A compiler and a linker for eBPF.
pub(crate) struct Toolchain {
    rust: Rust,
    linker: PathBuf,
    llvm: Unpacked,
}

enum Rust {
    Rustup,
    Debian(Unpacked),
}

impl Toolchain {
    /// Gets what is missing. Without a `source`, rustup is tried first.
    ///
    /// # Errors
    /// Neither source works, or `bpf-linker` cannot be built.
    pub(crate) fn get(source: Option<Source>) -> Result<Toolchain> {
        let rust = match source {
            Some(Source::Rustup) => nightly()?,
            Some(Source::Debian) => debian()?,
            None => match nightly() {
                Ok(rust) => rust,
                Err(error) => {
                    step::say(format_args!(
                        "rustup cannot bring {NIGHTLY} with rust-src, taking Debian's Rust: {error:#}"
                    ));
                    debian()?
                }
            },
        };
        let llvm = LLVM.get()?;
        let linker = bpf_linker(&llvm)?;
        Ok(Toolchain { rust, linker, llvm })
    }

    /// cargo of this toolchain, with unstable features allowed.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match &self.rust {
            Rust::Rustup => {
                let mut command = Command::new("rustup");
                command.args(["run", NIGHTLY, "cargo"]);
                step::without_cargo_env(&mut command);
                command.env("LD_LIBRARY_PATH", libraries(&[&self.llvm]));
                command
            }
            Rust::Debian(root) => {
                let mut command = Command::new(root.root.join("usr/bin/cargo"));
                step::without_cargo_env(&mut command);
                command
                    .env("RUSTC", root.root.join("usr/bin/rustc"))
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("LD_LIBRARY_PATH", libraries(&[root, &self.llvm]));
                command
            }
        };
        command.env("CARGO_TERM_QUIET", "true");
        command
    }

    /// The path of `bpf-linker`.
    pub(crate) fn linker(&self) -> &Path {
        &self.linker
    }

    /// LLVM's objcopy, which knows eBPF objects where the machine's own may not.
    pub(crate) fn objcopy(&self) -> Command {
        let bin = format!("usr/lib/llvm-{LLVM_MAJOR}/bin/llvm-objcopy");
        self.llvm.command(&bin)
    }
}

fn libraries(roots: &[&Unpacked]) -> String {
    let paths: Vec<String> = roots.iter().map(|root| root.libraries()).collect();
    paths.join(":")
}

fn nightly() -> Result<Rust> {
    let installed = step::quiet(
        Command::new("rustup").args(["toolchain", "list"]),
        "install rustup",
    )?;
    if !installed.lines().any(|line| line.starts_with(NIGHTLY)) {
        step::say(format_args!(
            "installing Rust {NIGHTLY} with rust-src by rustup"
        ));
    }
    // Does nothing, and needs no network, where toolchain and component are there.
    let has_sources = step::quiet(
        Command::new("rustup").args(["component", "list", "--installed", "--toolchain", NIGHTLY]),
        "",
    )
    .is_ok_and(|components| components.lines().any(|line| line == "rust-src"));
    if !has_sources {
        step::quiet(
            Command::new("rustup").args([
                "toolchain",
                "install",
                NIGHTLY,
                "--profile",
                "minimal",
                "--component",
                "rust-src",
                "--no-self-update",
            ]),
            "check that https://static.rust-lang.org can be reached",
        )?;
    }
    Ok(Rust::Rustup)
}

fn debian() -> Result<Rust> {
    let root = RUST.get()?;
    let version = step::quiet(
        root.command("usr/bin/rustc").arg("-vV"),
        "the machine's glibc must be 2.36 or newer",
    )?;
    let major = llvm_major(&version)
        .with_context(|| format!("rustc does not tell its LLVM version:\n{version}"))?;
    if major > LLVM_MAJOR {
        bail!(
            "Debian's Rust is built with LLVM {major} now and bpf-linker with LLVM {LLVM_MAJOR}; \
             let rustup fetch {NIGHTLY}, or raise the LLVM version in xtask/src/toolchain.rs"
        );
    }
    Ok(Rust::Debian(root))
}

/// The major version of LLVM in the output of `rustc -vV`.
fn llvm_major(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

fn bpf_linker(llvm: &Unpacked) -> Result<PathBuf> {
    let cache = place::cache()?;
    let root = cache.join(format!("bpf-linker-{BPF_LINKER}-llvm-{LLVM_MAJOR}"));
    let linker = root.join("bin/bpf-linker");
    let _lock = place::locked(&root)?;
    if linker.exists() {
        return Ok(linker);
    }
    step::say(format_args!(
        "building bpf-linker {BPF_LINKER} into the cache (1 to 2 minutes)"
    ));
    let build = root.join("build");
    let mut install = Command::new("cargo");
    step::without_cargo_env(&mut install);
    install
        .args([
            "install",
            "bpf-linker",
            "--quiet",
            "--locked",
            "--no-default-features",
        ])
        .args([
            "--version",
            BPF_LINKER,
            "--features",
            &format!("llvm-{LLVM_MAJOR}"),
        ])
        .arg("--root")
        .arg(&root)
        .env("CARGO_TARGET_DIR", &build)
        .env(
            "LLVM_PREFIX",
            llvm.root.join(format!("usr/lib/llvm-{LLVM_MAJOR}")),
        )
        .env("LD_LIBRARY_PATH", llvm.libraries())
        .env(
            "LIBRARY_PATH",
            llvm.root.join(format!("usr/lib/{ARCH}-linux-gnu")),
        )
        .current_dir(&cache);
    step::quiet(
        &mut install,
        "check that crates.io can be reached and that a C compiler is installed",
    )?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_version_is_read_from_rustc() {
        let version =
            "rustc 1.96.0 (built from a source tarball)\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }
}
