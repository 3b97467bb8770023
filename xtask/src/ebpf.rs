//! `xtask ebpf`: compiles the eBPF programs of `agent-ebpf` into one object.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    place, stamp, step,
    toolchain::{Source, Toolchain},
};

const TARGET: &str = "bpfel-unknown-none";

/// The release profile eBPF programs are built with: one optimised unit, with the debug information BTF is made from.
const PROFILE: [(&str, &str); 5] = [
    ("OPT_LEVEL", "3"),
    ("DEBUG", "2"),
    ("CODEGEN_UNITS", "1"),
    ("LTO", "fat"),
    ("PANIC", "abort"),
];

/// Builds the object for the kernels of an architecture, unless it is current already; a `source` of the compiler asks for a new build by that compiler.
///
/// # Errors
/// The toolchain cannot be had, or the programs do not compile.
pub(crate) fn build(arch: Arch, source: Option<Source>) -> Result<()> {
    let workspace = place::workspace();
    let object = workspace.join(stamp::object(arch.name()));
    let stamp_file = workspace.join(stamp::file(arch.name()));
    let stamp =
        stamp::of_sources(&workspace).context("cannot read the sources of the eBPF programs")?;
    if source.is_none()
        && object.exists()
        && fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp)
    {
        step::say("the eBPF programs are current");
        return Ok(());
    }
    let toolchain = Toolchain::get(source)?;
    step::say("building the eBPF programs");
    let folder = workspace.join("target/ebpf");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", arch.name()),
        "-Ctarget-cpu=v3".to_owned(),
        format!("-Clinker={}", toolchain.linker().display()),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut cargo = toolchain.cargo();
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "agent-ebpf",
            "--bin",
            "agent-ebpf",
        ])
        .args(["-Zbuild-std=core", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .envs(PROFILE.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)))
        .current_dir(&workspace);
    step::shown(
        &mut cargo,
        "mend agent-ebpf, or `cargo xtask ebpf --toolchain debian` to try the other compiler",
    )?;
    let built = folder.join(TARGET).join("release/agent-ebpf");
    // BTF stays; the DWARF that it was made from is nine tenths of the object.
    step::quiet(
        toolchain
            .objcopy()
            .arg("--strip-debug")
            .arg(&built)
            .arg(&object),
        "remove the cache's folder llvm-22 to fetch it anew",
    )?;
    fs::write(&stamp_file, stamp)
        .with_context(|| format!("cannot write {}", stamp_file.display()))?;
    Ok(())
}
