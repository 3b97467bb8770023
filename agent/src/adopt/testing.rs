//! A tree of files that looks like /proc and a cgroup hierarchy, for tests.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// Ids as container runtimes give them.
pub(super) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(super) const OTHER: &str = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir(tree.proc()).unwrap();
        fs::create_dir(tree.cgroups()).unwrap();
        tree
    }

    pub(super) fn proc(&self) -> PathBuf {
        self.0.path().join("proc")
    }

    pub(super) fn cgroups(&self) -> PathBuf {
        self.0.path().join("cgroup")
    }

    pub(super) fn cgroup(&self, path: &str, pids: &[u32]) -> &Self {
        let directory = self.cgroups().join(path);
        fs::create_dir_all(&directory).unwrap();
        let lines: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        fs::write(directory.join("cgroup.procs"), lines).unwrap();
        self
    }

    /// A process that started at this hundredth of a second; `namespace_pids` as in `NSpid`.
    pub(super) fn process(
        &self,
        pid: u32,
        parent: u32,
        namespace_pids: &[u32],
        start: u64,
    ) -> &Self {
        let numbers: Vec<String> = namespace_pids.iter().map(u32::to_string).collect();
        self.file(
            pid,
            "status",
            &format!("Name:\tx\nNSpid:\t{}\nNSsid:\t1\n", numbers.join("\t")),
        );
        // Field 22 is the start; the name may be any text.
        let rest = "0 ".repeat(17);
        self.file(
            pid,
            "stat",
            &format!("{pid} (a) b) S {parent} {rest}{start} 4096 1\n"),
        );
        self
    }

    pub(super) fn file(&self, pid: u32, name: &str, content: &str) -> &Self {
        let path = self.proc().join(pid.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(super) fn link(&self, pid: u32, name: &str, target: &str) -> &Self {
        let path = self.proc().join(pid.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A descriptor with the flags with which it was opened, in octal.
    pub(super) fn descriptor(&self, pid: u32, number: u32, target: &str, flags: &str) -> &Self {
        self.link(pid, &format!("fd/{number}"), target);
        self.file(
            pid,
            &format!("fdinfo/{number}"),
            &format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t9\n"),
        )
    }
}
