//! The agent, its configuration and its spool.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::MutexGuard,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use lastword_tests::on_a_node;
use libtest_mimic::Failed;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::{
    made::{Made, alone, top},
    support::lastword,
};

/// How long anything may take on an emulated guest while the machine is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `there` returns something.
pub(super) fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> Result<T, Failed> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = there() {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into())
}

/// A node: the files of its agent, and the cgroups of its containers.
pub(crate) struct Node {
    folder: tempfile::TempDir,
    port: u16,
    pub(super) cgroups: Made,
    agent: Option<Child>,
    /// Where a BPF file system of its own is mounted.
    bpf: Option<PathBuf>,
    _alone: MutexGuard<'static, ()>,
}

impl Node {
    /// Makes a node with this added to the configuration; the agent is not started yet.
    pub(super) fn new(more: &str) -> Result<Self, Failed> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let node = Self {
            folder: tempfile::tempdir()?,
            port: 20_000 + NUMBER.fetch_add(1, Ordering::Relaxed),
            cgroups: top()?,
            agent: None,
            bpf: None,
            _alone: alone(),
        };
        node.configure(more)?;
        Ok(node)
    }

    /// Makes a node with an agent that records.
    pub(super) fn with_agent(more: &str) -> Result<Self, Failed> {
        let mut node = Self::new(more)?;
        node.start()?;
        Ok(node)
    }

    pub(super) fn configure(&self, more: &str) -> Result<(), Failed> {
        let (spool, socket) = (self.spool(), self.socket());
        // What agents of other tests pinned is not for this one.
        let recorder = match more.contains("recorder:") {
            true => "",
            false => "recorder: {pin: off}",
        };
        let text = format!(
            "kubernetes: {{enabled: off}}\ncontainer_runtime: {{endpoint: off}}\nsocket: {}\n\
             spool: {{directory: {}, bytes: 1MiB}}\nhttp: {{listen: '{}', files_listen: '127.0.0.1:0', alerts_token_file: {}}}\n{recorder}\n{more}\n",
            socket.display(),
            spool.display(),
            self.address(),
            self.file("token").display(),
        );
        fs::write(self.file("token"), "open-sesame\n")?;
        Ok(fs::write(self.file("agent.yaml"), text)?)
    }

    /// Mounts a BPF file system in the folder `bpf`. What is pinned there is gone with this node.
    pub(super) fn mount_bpf(&mut self) -> Result<(), Failed> {
        let place = self.file("bpf");
        fs::create_dir(&place)?;
        let kind = Some("bpf");
        mount(kind, &place, kind, MsFlags::empty(), Some("mode=0700"))?;
        self.bpf = Some(place);
        Ok(())
    }

    /// `lastword agent --uninstall`. Returns what it says.
    pub(super) fn uninstall(&self) -> Result<String, Failed> {
        let mut command = self.command();
        command.arg("--uninstall");
        let output = on_a_node(move || command.output())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes its agents use an API server, by the file `kubeconfig`.
    pub(super) fn join_cluster(&self, url: &str) -> Result<(), Failed> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        fs::write(self.file("kubeconfig"), kubeconfig.to_string())?;
        let config = self.file("agent.yaml");
        let text = fs::read_to_string(&config)?;
        let (off, on) = ("kubernetes: {enabled: off}", "kubernetes: {enabled: on}");
        Ok(fs::write(&config, text.replace(off, on))?)
    }

    /// A file in this node's folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.file("spool")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.file("agent.sock")
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `lastword agent` with this node's configuration.
    fn command(&self) -> Command {
        let mut command = Command::new(lastword());
        command.arg("agent").arg("--config");
        command.arg(self.file("agent.yaml"));
        command
    }

    /// Starts the agent and waits until it records.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
        self.start_as(|command| command)
    }

    /// Does the same if no agent runs.
    pub(super) fn start_if_none(&mut self) -> Result<(), Failed> {
        match self.agent {
            Some(_) => Ok(()),
            None => self.start(),
        }
    }

    /// Does the same, with a change to the command.
    pub(super) fn start_as(
        &mut self,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<(), Failed> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))?;
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        change(&mut command);
        self.agent = Some(on_a_node(move || command.spawn())?);
        until("the agent answers", || {
            let over = self.agent.as_mut().and_then(|it| it.try_wait().ok()?);
            assert!(over.is_none(), "the agent ended: {over:?}\n{}", self.log());
            self.ask(&["status", "--json"]).ok()
        })?;
        // Containers that already ran took some rings.
        self.ready()
    }

    /// Runs an agent that is expected to end by itself, with an error.
    pub(super) fn refused(&self) -> Result<String, Failed> {
        let mut command = self.command();
        let output = on_a_node(move || command.output())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        Ok(said)
    }

    /// Sends the agent a signal and waits for its end.
    pub(super) fn stop(&mut self, signal: Signal) -> Result<ExitStatus, Failed> {
        let mut agent = self.agent.take().ok_or("no agent")?;
        kill(Pid::from_raw(agent.id() as i32), signal)?;
        Ok(agent.wait()?)
    }

    /// Sends the agent a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let agent = self.agent.as_ref().ok_or("no agent")?;
        Ok(kill(Pid::from_raw(agent.id() as i32), signal)?)
    }

    /// Waits for the agent's end. If the agent does not end, the test fails.
    pub(super) fn ended(&mut self) -> Result<ExitStatus, Failed> {
        let mut agent = self.agent.take().ok_or("no agent")?;
        let ended = until("the agent ends", || agent.try_wait().ok()?);
        if ended.is_err() {
            self.agent = Some(agent);
        }
        ended
    }

    /// Whether the agent still runs.
    pub(super) fn runs(&mut self) -> bool {
        let over = self.agent.as_mut().map(|agent| agent.try_wait());
        matches!(over, Some(Ok(None)))
    }

    /// The command for `lastword capture` or `lastword status`.
    pub(super) fn request(&self, words: &[&str]) -> Command {
        let mut command = Command::new(lastword());
        command.args(words).arg("--socket").arg(self.socket());
        command
    }

    /// The agent's answer to `lastword capture` or `lastword status`, in JSON.
    pub(super) fn ask(&self, words: &[&str]) -> Result<serde_json::Value, Failed> {
        let Output { status, stdout, .. } = self.request(words).output()?;
        if !status.success() {
            return Err(format!("{words:?}: {status}\n{}", self.log()).into());
        }
        Ok(serde_json::from_slice(&stdout)?)
    }

    /// Waits until there are free rings for several containers.
    pub(super) fn ready(&self) -> Result<(), Failed> {
        until("free rings", || {
            let status = self.ask(&["status", "--json"]).ok()?;
            (status["memory"]["rings_free"].as_u64() >= Some(4)).then_some(())
        })
    }

    /// What the agents of this node have logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Waits until the log has a line that contains all of these words.
    pub(super) fn logged(&self, words: &[&str]) -> Result<(), Failed> {
        let there = |line: &str| words.iter().all(|word| line.contains(word));
        until(&format!("{words:?} in the log"), || {
            self.log().lines().any(there).then_some(())
        })
        .map_err(|_| format!("no line with {words:?}:\n{}", self.log()).into())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.agent.is_some() {
            let _ = self.stop(Signal::SIGKILL);
        }
        if let Some(place) = &self.bpf {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}
