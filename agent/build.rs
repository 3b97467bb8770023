//! Embeds the eBPF object that `cargo xtask ebpf` builds into the agent, if the object exists. Without it the agent
//! builds, too, but can only read captures.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

#[path = "../xtask/src/stamp.rs"]
mod stamp;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ebpf_object)");
    // Cargo runs this program in the package's folder. Paths are reported to Cargo relative to it: Cargo keeps them in
    // `target/`, which may be copied together with the checkout.
    let workspace = Path::new("..");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let (object, stamp_file) = (stamp::object(&arch), stamp::file(&arch));
    let watched = ["Cargo.lock", &object, &stamp_file];
    for source in watched.iter().chain(&stamp::SOURCES) {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let object = workspace.join(object);
    if !object.exists() {
        println!(
            "cargo::warning=built without eBPF programs: `lastword run` will refuse to work; `cargo xtask ebpf` builds them"
        );
        return;
    }
    match (
        stamp::of_sources(workspace),
        fs::read_to_string(workspace.join(stamp_file)),
    ) {
        (Ok(sources), Ok(built)) if sources == built => {
            let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
            match fs::copy(&object, out.join("lastword.bpf.o")) {
                Ok(_) => println!("cargo::rustc-cfg=ebpf_object"),
                Err(error) => println!("cargo::error=cannot copy {}: {error}", object.display()),
            }
        }
        (Err(error), _) => {
            println!("cargo::error=cannot read the sources of the eBPF programs: {error}")
        }
        _ => println!("cargo::error=the eBPF programs changed; run `cargo xtask ebpf`"),
    }
}
