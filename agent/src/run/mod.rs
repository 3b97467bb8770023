//! `lastword run`: records and explains the runs of a command, without a cluster.
//!
//! Each run has a cgroup of its own. So the kernel side gives it a ring when the cgroup is created, exactly as it does
//! for a container on a node. When the command ends, its ring is read at once. Then whatever is left of the run is
//! killed, as happens to a container whose first process has ended.

mod caller;
mod cgroup;
mod child;
mod output;
mod restart;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use capture_format::{
    Container, Event, EventKind, ExitStatus, Header, Run, Trigger, WriteError, Writer,
};
use redact::{Manifest, Payload, Redactor};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    host, logging,
    recorder::{Budget, ContainerShape, Message, Misses, Recorder, RingId, Settings},
};
use caller::Caller;
use cgroup::Cgroup;
use output::Output;
pub(crate) use restart::{Backoff, RestartPolicy};

/// What the command line asks for.
pub(crate) struct Request {
    /// Command and arguments.
    pub(crate) command: Vec<OsString>,
    /// After this many exits the command is not started again.
    pub(crate) exits: u32,
    pub(crate) policy: RestartPolicy,
    pub(crate) backoff: Backoff,
    /// Where to write the capture. `None`: a name is made from the command's name and the time.
    pub(crate) output: Option<PathBuf>,
    /// Whether the command runs as root and the capture belongs to root, even if another user called sudo.
    pub(crate) as_root: bool,
    pub(crate) settings: Settings,
}

/// The result.
pub(crate) struct Outcome {
    /// The capture, as in its file.
    pub(crate) capture: Vec<u8>,
    /// The command's last exit code, or 128 + the signal that killed it. An error if lastword itself failed: then the
    /// capture is not where it should be, or ends early.
    pub(crate) code: anyhow::Result<u8>,
}

/// How many runs are kept. A loop of a thousand restarts can be explained by its last ones.
const KEPT_RUNS: usize = 20;
/// The part of the budget that kept runs may take; the rest is for rings.
const KEPT_SHARE: u64 = 2;

/// Records the command, restarts it, and writes the capture.
pub(crate) fn run(request: Request) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(session(request));
    // From here on nobody handles signals. The reader of the verdict may be stuck.
    let hangup = (!ignores(nix::sys::signal::Signal::SIGHUP)).then_some(libc::SIGHUP);
    for signal in [libc::SIGINT, libc::SIGTERM].into_iter().chain(hangup) {
        // If this fails, the signals still do nothing. That is better than losing the verdict.
        let _ = signal_hook::flag::register_conditional_default(signal, Arc::new(true.into()));
    }
    outcome
}

async fn session(mut request: Request) -> anyhow::Result<Outcome> {
    let caller = match request.as_root {
        true => None,
        false => Caller::of_sudo()?,
    };
    let output = request.output.take();
    let output = output.unwrap_or_else(|| default_name(&request.command));
    let output = Output::open(output, caller.as_ref())?;
    let prefix = cgroup::prefix();
    request.settings.shapes = vec![ContainerShape {
        prefix: prefix.clone(),
        has_id: false,
    }];
    request.settings.budget = Budget {
        ready: 1,
        ..request.settings.budget
    };
    let recorder = Recorder::start(&request.settings)?;
    for limitation in recorder.limitations() {
        progress(format_args!("limited: {limitation}"));
    }
    if let Some(caller) = &caller {
        let who = caller.shown();
        progress(format_args!(
            "the command runs as {who}, who called sudo; --as-root runs it as root"
        ));
        caller.take_streams();
    }
    let parent = cgroup::own()?;
    for left in cgroup::sweep() {
        let place = left.display();
        progress(format_args!(
            "a lastword that was killed has left processes in {place}; `echo 1 > {place}/cgroup.kill` ends them"
        ));
    }
    let mut stop = Stop::listen()?;
    let mut lives = Lives {
        request,
        recorder,
        caller,
        parent,
        prefix,
        kept: Vec::new(),
        redactor: Redactor::new(&redact::Config::default())?,
        masked: Manifest::default(),
        code: 1,
    };
    let lived = lives.live(&mut stop).await;
    // What was recorded before a failure is kept, too.
    let (interrupted, failed) = match lived {
        Ok(interrupted) => (interrupted, None),
        Err(error) if lives.kept.is_empty() => return Err(error),
        Err(error) => (false, Some(error)),
    };
    let (capture, events) = lives.capture(interrupted)?;
    let written = output.write(&capture, lives.caller.as_ref());
    if let Ok(place) = &written {
        progress(format_args!(
            "wrote {} ({events} events, {} bytes)",
            place.display(),
            capture.len()
        ));
    }
    let code = match (failed, written) {
        (None, Ok(_)) => Ok(lives.code),
        (Some(error), Ok(_)) | (None, Err(error)) => Err(error),
        (Some(first), Err(second)) => {
            progress(format_args!("{second:#}"));
            Err(first)
        }
    };
    Ok(Outcome { capture, code })
}

/// The runs of the command.
struct Lives {
    request: Request,
    recorder: Recorder,
    /// The user that the command runs as, if that is not the user that lastword runs as.
    caller: Option<Caller>,
    parent: PathBuf,
    prefix: String,
    kept: Vec<(Run, Vec<Event>)>,
    redactor: Redactor,
    /// What was masked in all runs.
    masked: Manifest,
    /// The last exit code, as a shell's `$?`.
    code: u8,
}

impl Lives {
    /// Starts the command again and again. Returns true if somebody asked to stop.
    async fn live(&mut self, stop: &mut Stop) -> anyhow::Result<bool> {
        for number in 1.. {
            self.one(number, stop).await?;
            let Some((run, events)) = self.kept.last() else {
                return Ok(stop.asked);
            };
            let last = stop.asked
                || number >= self.request.exits
                || !self.request.policy.restarts(run.status);
            let of = self.request.exits;
            let delay = if last {
                Duration::ZERO
            } else {
                self.request.backoff.before(number)
            };
            let next = if last {
                String::new()
            } else {
                format!("; next start in {}", humantime::format_duration(delay))
            };
            progress(format_args!(
                "run {number} of {of} {}, {} events{next}",
                describe(run),
                events.len()
            ));
            if last {
                return Ok(stop.asked);
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.asked() => return Ok(true),
            }
        }
        Ok(false)
    }

    /// One run.
    async fn one(&mut self, number: u32, stop: &mut Stop) -> anyhow::Result<()> {
        let cgroup = Cgroup::make(&self.parent, &format!("{}{number}", self.prefix))?;
        let id = cgroup.id()?;
        let ring = self.recorder.ring_of(id).context("the kernel gave the run's cgroup no ring; is another program holding the memory budget?")?;
        let misses = self.recorder.misses();
        let mut run = Run {
            number,
            cgroup: id,
            start: host::boottime(),
            memory_limit: cgroup.memory_limit(),
            ..Run::default()
        };
        match child::start(&self.request.command, cgroup.path(), self.caller.as_ref()) {
            Ok(mut child) => {
                run.init_pid = child.id().unwrap_or_default();
                let status = stop
                    .wait(&mut child, &cgroup)
                    .await
                    .context("cannot wait for the command")?;
                let status = exit_status(status);
                run.status = Some(status);
                self.code = exit_code(status);
            }
            Err(error) => {
                run.start_error = Some(error.message);
                self.code = error.code;
            }
        }
        run.end = Some(host::boottime());
        self.keep(run, ring, &cgroup, &misses)?;
        cgroup
            .empty()
            .context("cannot end what the command left running")?;
        drop(cgroup);
        self.recorder.release(ring);
        while self.recorder.refill().context("cannot make rings")? {}
        Ok(())
    }

    /// Reads the ring of a run that has ended.
    fn keep(
        &mut self,
        mut run: Run,
        ring: RingId,
        cgroup: &Cgroup,
        before: &Misses,
    ) -> anyhow::Result<()> {
        let mut recording = self.recorder.read(ring).context("cannot read the ring")?;
        drop_preparations(&mut recording.events, run.init_pid);
        self.redactor.run(
            &mut recording.events,
            Payload::Default,
            &[],
            &mut self.masked,
        );
        run.oom_kills = cgroup.oom_kills();
        run.losses = recording.losses;
        run.set_skipped(self.recorder.misses().since(before));
        let is_loss = |message: &&Message| message.kind.is_refusal();
        run.losses.lost += self.recorder.messages().iter().filter(is_loss).count() as u64;
        self.kept.push((run, recording.events));
        let most = self.request.settings.budget.bytes / KEPT_SHARE;
        while self.kept.len() > KEPT_RUNS || (self.kept.len() > 1 && self.kept_bytes() > most) {
            self.kept.remove(0);
        }
        self.recorder.set_kept(self.kept_bytes());
        Ok(())
    }

    /// Memory of the kept runs, in bytes.
    fn kept_bytes(&self) -> u64 {
        let events = self.kept.iter().flat_map(|(_, events)| events);
        events
            .map(|event| (size_of::<Event>() + event.name.len() + event.data.len()) as u64)
            .sum()
    }

    /// The capture of the kept runs, and the number of its events. It is made in memory, so it can be explained even if
    /// the file cannot be written.
    fn capture(&mut self, interrupted: bool) -> Result<(Vec<u8>, u64), WriteError> {
        let mut header = self.header(interrupted);
        self.redactor.header(&mut header, &mut self.masked);
        let mut writer = Writer::new(Vec::new(), &header)?;
        for (run, events) in &self.kept {
            writer.begin_run(run)?;
            events.iter().try_for_each(|event| writer.event(event))?;
            writer.end_run()?;
        }
        let (capture, summary) = writer.finish()?;
        Ok((capture, summary.events))
    }

    fn header(&self, interrupted: bool) -> Header {
        let command: Vec<String> = self
            .request
            .command
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let exits = self.kept.last().map_or(0, |(run, _)| run.number);
        let trigger = if interrupted {
            Trigger {
                kind: "interrupted".into(),
                detail: format!("lastword run was interrupted in run {exits}"),
            }
        } else {
            let times = if exits == 1 {
                "once".into()
            } else {
                format!("{exits} times")
            };
            Trigger {
                kind: "run".into(),
                detail: format!("lastword run: the command exited {times}"),
            }
        };
        Header {
            program: concat!("lastword ", env!("CARGO_PKG_VERSION")).into(),
            created: host::realtime(),
            host: host::host(),
            container: Container {
                name: base_name(&self.request.command),
                command,
                ..Container::default()
            },
            trigger,
            probes: self.recorder.probes().cloned().collect(),
            ..Header::default()
        }
    }
}

/// Whether somebody has asked to stop: by Ctrl-C, by SIGTERM, or by closing the terminal.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if lastword was started so that it outlives its terminal, as by nohup(1).
    hangup: Option<Signal>,
    asked: bool,
}

impl Stop {
    /// How long the command may take to end, like a pod's terminationGracePeriodSeconds, but shorter than that one's
    /// default of 30 s.
    const GRACE: Duration = Duration::from_secs(10);

    fn listen() -> io::Result<Self> {
        let hangup = match ignores(nix::sys::signal::Signal::SIGHUP) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
            asked: false,
        })
    }

    async fn asked(&mut self) {
        self.first().await;
    }

    /// The first signal that we get, as it is passed on to the command. A hang-up is passed on as SIGTERM, because to a
    /// server SIGHUP means something else.
    async fn first(&mut self) -> nix::sys::signal::Signal {
        let hangup = self.hangup.as_mut();
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let signal = tokio::select! {
            _ = self.interrupt.recv() => nix::sys::signal::Signal::SIGINT,
            _ = self.terminate.recv() => nix::sys::signal::Signal::SIGTERM,
            _ = hangup => nix::sys::signal::Signal::SIGTERM,
        };
        self.asked = true;
        signal
    }

    /// Waits for another signal from a person. Kernel and shell may both report the same hang-up.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the command. Passes a signal on, and kills the command if it does not end in time or if a second
    /// signal comes.
    async fn wait(
        &mut self,
        child: &mut tokio::process::Child,
        cgroup: &Cgroup,
    ) -> io::Result<std::process::ExitStatus> {
        let signal = tokio::select! {
            status = child.wait() => return status,
            signal = self.first() => signal,
        };
        // Ctrl-C at a terminal reaches the command, too, because it is in the same foreground process group.
        let from_terminal = signal == nix::sys::signal::Signal::SIGINT && io::stdin().is_terminal();
        if let (false, Some(pid)) = (from_terminal, child.id()) {
            match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal) {
                // The command has just ended by itself.
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        progress(format_args!(
            "interrupted: waiting for the command to end; once more to kill it"
        ));
        tokio::select! {
            status = child.wait() => return status,
            () = self.again() => {}
            () = tokio::time::sleep(Self::GRACE) => {}
        }
        cgroup.empty()?;
        child.wait().await
    }
}

/// Whether this process was started with a signal ignored (proc_pid_status(5)).
fn ignores(signal: nix::sys::signal::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

fn progress(message: std::fmt::Arguments<'_>) {
    logging::say(message);
}

fn base_name(command: &[OsString]) -> String {
    let name = command
        .first()
        .map(|program| Path::new(program).file_name().unwrap_or(program));
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The default file name: `NAME-YYYY-MM-DDTHH-MM-SSZ.lwcap` in the working directory.
fn default_name(command: &[OsString]) -> PathBuf {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    format!("{}-{}.lwcap", base_name(command), now.replace(':', "-")).into()
}

/// Removes what lastword itself did before it started the command: the write that entered the cgroup. If it is still
/// there, it is the first of all events.
fn drop_preparations(events: &mut Vec<Event>, init_pid: u32) {
    let is_ours = |event: &Event| {
        event.kind == EventKind::WRITE && event.pid == init_pid && &event.data[..] == b"0"
    };
    if events.first().is_some_and(is_ours) {
        events.remove(0);
    }
}

fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt;
    ExitStatus::from_wait(status.into_raw())
}

fn exit_code(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { signal, .. } => 128 + signal,
    }
}

fn describe(run: &Run) -> String {
    let took = Duration::from_nanos(run.end.unwrap_or(run.start).since(run.start));
    let took = humantime::format_duration(Duration::from_millis(took.as_millis() as u64));
    match (run.status, &run.start_error) {
        (Some(ExitStatus::Code(code)), _) => format!("exited {code} after {took}"),
        (Some(ExitStatus::Signal { signal, .. }), _) => {
            format!("was killed by signal {signal} after {took}")
        }
        (None, Some(error)) => format!("could not be started: {error}"),
        (None, None) => format!("ended after {took}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_write_is_dropped() {
        let event = |kind, pid, data: &'static [u8]| Event {
            kind,
            pid,
            data: data.into(),
            ..Event::default()
        };
        let all = [
            event(EventKind::WRITE, 7, b"0"),
            event(EventKind::SIGNAL_GENERATE, 7, b""),
            event(EventKind::WRITE, 7, b"0"),
        ];
        let mut whole = all.to_vec();
        drop_preparations(&mut whole, 7);
        assert_eq!(whole, all[1..]);
        // The start was displaced, including the exec: nothing in the rest is lastword's own.
        let mut displaced = all[1..].to_vec();
        drop_preparations(&mut displaced, 7);
        assert_eq!(displaced, all[1..]);
    }
}
