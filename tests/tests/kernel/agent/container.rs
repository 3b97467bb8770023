//! Containers as a runtime makes them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::{
        fd::OwnedFd,
        unix::{net::UnixDatagram, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use lastword_tests::in_thread;
use libtest_mimic::Failed;
use nix::{
    sched::CloneFlags,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::node::{Node, until};
use crate::{made::Made, support::victim};

/// The id of a container. The container may run several times under it.
pub(crate) struct Container {
    pub(super) id: String,
    parent: PathBuf,
}

/// A run of a container. It is killed when dropped.
pub(crate) struct Running {
    cgroup: Option<Made>,
    child: Child,
    stdin: UnixDatagram,
}

impl Container {
    pub(super) fn on(node: &Node) -> Self {
        Self::below(&node.cgroups)
    }

    /// A container whose cgroup is in this one.
    pub(super) fn below(cgroup: &Made) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            id: format!("{:032x}{number:032x}", std::process::id()),
            parent: cgroup.0.clone(),
        }
    }

    /// Starts the victim as a container runtime does.
    pub(super) fn start(&self, words: &[&str]) -> Result<Running, Failed> {
        self.start_with("nothing", words)
    }

    /// Starts the victim likewise, with a password in the configuration that the runtime reads, and in the environment.
    pub(super) fn start_with(&self, password: &str, words: &[&str]) -> Result<Running, Failed> {
        self.start_program(&victim(), password, words)
    }

    /// Starts another program likewise.
    pub(super) fn start_program(
        &self,
        program: &Path,
        password: &str,
        words: &[&str],
    ) -> Result<Running, Failed> {
        let mut command = Command::new(victim());
        command.arg("enter");
        let running = self.spawn(command, CloneFlags::CLONE_NEWPID, program, words)?;
        running.stdin.send(password.as_bytes())?;
        Ok(running)
    }

    /// Starts a container that its runtime still sets up: only runc is there. When it is let go on, it makes the victim
    /// and reports its pid.
    pub(super) fn set_up(&self, words: &[&str]) -> Result<Running, Failed> {
        self.set_up_for(&victim(), words)
    }

    /// Does the same for another program.
    pub(super) fn set_up_for(&self, program: &Path, words: &[&str]) -> Result<Running, Failed> {
        let mut command = Command::new(victim());
        command.arg0("runc").arg("init");
        self.spawn(command, CloneFlags::empty(), program, words)
    }

    fn spawn(
        &self,
        mut command: Command,
        namespaces: CloneFlags,
        program: &Path,
        words: &[&str],
    ) -> Result<Running, Failed> {
        let name = format!("cri-containerd-{}.scope", self.id);
        let cgroup = Made::below(&self.parent, &name)?;
        let (stdin, theirs) = UnixDatagram::pair()?;
        command
            .args([cgroup.0.as_os_str(), program.as_os_str()])
            .args(words)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = in_thread(namespaces, || command.spawn())?;
        Ok(Running {
            cgroup: Some(cgroup),
            child,
            stdin,
        })
    }

    /// Lets the victim run until it ends. Returns its exit status.
    pub(super) fn run(&self, words: &[&str]) -> Result<ExitStatus, Failed> {
        self.start(words)?.wait()
    }

    /// Lets the victim open a file that does not exist: its exit code is 1.
    pub(super) fn crash(&self, path: &str) -> Result<(), Failed> {
        assert_eq!(self.run(&["open", path])?.code(), Some(1));
        Ok(())
    }
}

impl Running {
    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Writes a file of its cgroup.
    pub(super) fn set(&self, file: &str, value: &str) -> Result<(), Failed> {
        let cgroup = self.cgroup.as_ref().ok_or("no cgroup")?;
        Ok(fs::write(cgroup.0.join(file), value)?)
    }

    /// Waits until the run's own program runs and waits for a message or a signal.
    pub(super) fn settled(&self, word: &str) -> Result<(), Failed> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        until("the container's program runs", || {
            let arguments = fs::read_to_string(proc.join("cmdline")).ok()?;
            let status = fs::read_to_string(proc.join("status")).ok()?;
            let second = arguments.split('\0').nth(1)?;
            (second == word && status.contains("State:\tS")).then_some(())
        })
    }

    /// Lets a victim that waits go on.
    pub(super) fn go_on(&self) -> Result<(), Failed> {
        self.stdin.send(b"go on")?;
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill(self.pid(), signal)?)
    }

    /// For a container that is being set up: lets runc go on and end. Returns the victim's pid.
    pub(super) fn made(&mut self) -> Result<Pid, Failed> {
        self.go_on()?;
        let told = self.child.stdout.take().ok_or("no standard output")?;
        let mut pid = String::new();
        BufReader::new(told).read_line(&mut pid)?;
        assert_eq!(self.child.wait()?.code(), Some(0));
        Ok(Pid::from_raw(pid.trim().parse()?))
    }

    /// Waits for its end, and removes its cgroup.
    pub(super) fn wait(mut self) -> Result<ExitStatus, Failed> {
        let status = self.child.wait()?;
        self.cgroup.take();
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
