//! The stamp of an eBPF object: a hash of everything it was built from. Used by `xtask ebpf`, which writes it, and by
//! `agent/build.rs`, which includes this file to tell an object that is current from one that is stale.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// What the eBPF object is built from, below the workspace: the crate, and the module that holds the compiler flags.
/// `Cargo.lock` belongs to it too, but only by its entries on eBPF crates.
pub(crate) const SOURCES: [&str; 2] = ["agent-ebpf", "xtask/src/ebpf.rs"];

/// The object for kernels of an architecture (Rust's name), below the workspace: registers and system calls differ.
pub(crate) fn object(arch: &str) -> String {
    format!("target/ebpf/agent-ebpf-{arch}.o")
}

/// The object's stamp.
pub(crate) fn file(arch: &str) -> String {
    format!("target/ebpf/agent-ebpf-{arch}.stamp")
}

/// Hashes the sources of the eBPF object, as 16 hexadecimal digits.
///
/// # Errors
/// A source cannot be read.
pub(crate) fn of_sources(workspace: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&workspace.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        file.strip_prefix(workspace)
            .unwrap_or(file)
            .hash(&mut hasher);
        fs::read(file)?.hash(&mut hasher);
    }
    ebpf_entries(&fs::read_to_string(workspace.join("Cargo.lock"))?).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}

/// The entries of a lock file whose packages have `ebpf` in their name (aya's kernel side all do).
fn ebpf_entries(lock: &str) -> Vec<&str> {
    let named_ebpf = |entry: &&str| {
        let mut lines = entry.lines().map(str::trim);
        lines.any(|line| line.starts_with("name = ") && line.contains("ebpf"))
    };
    lock.split("[[package]]")
        .skip(1)
        .filter(named_ebpf)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in a folder of its own, named after the test.
    fn workspace(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-stamp-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("agent-ebpf/src")).unwrap();
        fs::create_dir_all(root.join("xtask/src")).unwrap();
        fs::write(root.join("agent-ebpf/src/main.rs"), "fn main() {}").unwrap();
        fs::write(root.join("xtask/src/ebpf.rs"), "flags").unwrap();
        fs::write(root.join("Cargo.lock"), lock("0.2.1", "1.0.0")).unwrap();
        root
    }

    fn lock(aya_ebpf: &str, clap: &str) -> String {
        format!(
            "version = 4\n\n[[package]]\nname = \"aya-ebpf\"\nversion = \"{aya_ebpf}\"\n\n\
             [[package]]\nname = \"clap\"\nversion = \"{clap}\"\n"
        )
    }

    #[test]
    fn changes_with_what_the_object_is_built_from_and_with_nothing_else() {
        let root = workspace("changes");
        let first = of_sources(&root).unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(first, of_sources(&root).unwrap());

        fs::write(root.join("Cargo.lock"), lock("0.2.1", "2.0.0")).unwrap();
        assert_eq!(
            first,
            of_sources(&root).unwrap(),
            "another package's version"
        );

        fs::write(root.join("Cargo.lock"), lock("0.2.2", "1.0.0")).unwrap();
        let newer_aya = of_sources(&root).unwrap();
        assert_ne!(first, newer_aya);

        fs::write(root.join("xtask/src/ebpf.rs"), "other flags").unwrap();
        let other_flags = of_sources(&root).unwrap();
        assert_ne!(newer_aya, other_flags);

        fs::rename(
            root.join("agent-ebpf/src/main.rs"),
            root.join("agent-ebpf/src/probe.rs"),
        )
        .unwrap();
        assert_ne!(
            other_flags,
            of_sources(&root).unwrap(),
            "a file's name counts"
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_ebpf_entries_of_the_lock_file_count() {
        let lock = lock("0.2.1", "1.0.0");
        let entries = ebpf_entries(&lock);
        assert_eq!(entries.len(), 1);
        assert!(entries[0].contains("aya-ebpf"));
    }
}
