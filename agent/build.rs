//! Hands the eBPF object that `cargo xtask ebpf` builds to the agent, if there is one. Without it the agent builds too, but
//! can only read captures.

use std::{env, fs, path::Path};

#[path = "../xtask/src/stamp.rs"]
mod stamp;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ebpf_object)");
    let Some(workspace) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        println!("cargo::error=the agent's folder is not in a workspace");
        return;
    };
    let watched = ["Cargo.lock", stamp::OBJECT, stamp::STAMP];
    for source in watched.iter().chain(&stamp::SOURCES) {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let object = workspace.join(stamp::OBJECT);
    if !object.exists() {
        println!(
            "cargo::warning=built without eBPF programs: `lastword run` will refuse to work; `cargo xtask ebpf` builds them"
        );
        return;
    }
    match (
        stamp::of_sources(workspace),
        fs::read_to_string(workspace.join(stamp::STAMP)),
    ) {
        (Ok(sources), Ok(built)) if sources == built => {
            println!("cargo::rustc-cfg=ebpf_object");
            println!("cargo::rustc-env=LASTWORD_EBPF_OBJECT={}", object.display());
        }
        (Err(error), _) => {
            println!("cargo::error=cannot read the sources of the eBPF programs: {error}")
        }
        _ => println!("cargo::error=the eBPF programs changed; run `cargo xtask ebpf`"),
    }
}
