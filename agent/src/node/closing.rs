//! The end of a run. The container runtime and Kubernetes are asked briefly how the run ended; then the run is
//! redacted, encoded and explained.

use std::{mem, sync::Arc, time::Duration};

use capture_format::{
    BootTime, CgroupId, Container, Event, EventFlags, EventKind, ExitStatus, Header, Host,
    Kubernetes, Pod, PodEvent, Probe, Run, SignalOrigin, Terminated, WallTime, WriteError, chain,
};
use containers::{
    cri,
    directory::{Identity, Kind},
};
use redact::Redactor;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use verdict::explain::RunVerdict;

use super::{
    kept::{KeptRun, Masked, Policy},
    recording::{Hold, Life},
    setup_steps,
};
use crate::host;

/// Pauses between questions to the runtime how a container ended. The runtime learns of the end as the recorder does,
/// by the death of the process, and cleans up before it reports the end. That mostly takes some ten milliseconds, on
/// a busy node seconds.
const RUNTIME_PACE: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
/// How long the runtime is asked: no longer than the kubelet is waited for.
const RUNTIME_PATIENCE: Duration = KILLING_PATIENCE;
/// How long an event of the kubelet is waited for that says why the kubelet killed a container. The kubelet writes
/// events later than it acts.
const KILLING_PATIENCE: Duration = Duration::from_secs(7);
/// Pause between questions for that event.
const KILLING_PACE: Duration = Duration::from_millis(300);
/// Nanoseconds by which the event about a kill may be older than the signal: a preStop hook runs between the two.
const EVENT_AGE: u64 = 60_000_000_000;
/// Signals that runtimes stop containers with (`STOPSIGNAL` of an image).
const STOPPING: [i32; 4] = [libc::SIGTERM, libc::SIGKILL, libc::SIGQUIT, libc::SIGINT];
/// How long an answer of the API server about a pod is waited for. A busy API server takes seconds; and without the
/// probes in the pod's specification, a kill by the kubelet cannot be explained. An API server that does not answer
/// at all delays a capture by this much.
const API_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer of the API server at the end of a run is used for the capture that follows. A busy API server
/// takes seconds to answer again.
const FRESH: Duration = Duration::from_secs(5);
/// How long closing a run and capturing it may wait for others, together.
pub(super) const LONGEST_WAIT: Duration = KILLING_PATIENCE.saturating_add(API_PATIENCE);

/// The clients of container runtime and API server, and what else closing a run needs. Clones share everything.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) cri: watch::Receiver<Option<cri::Client>>,
    pub(super) kube: Option<kubernetes::Client>,
    pub(super) redactor: Arc<Redactor>,
    pub(super) node: String,
    pub(super) probes: Arc<[Probe]>,
}

/// A run that is over, or that is read while it goes on, and the container it belongs to.
pub(super) struct RunToClose {
    pub(super) cgroup: CgroupId,
    /// The container's id.
    pub(super) id: String,
    /// Number of the run.
    pub(super) number: u32,
    /// When the container's cgroup was made. For an adopted container: when its first process started, 0 if that is
    /// unknown.
    pub(super) started: BootTime,
    pub(super) identity: Option<Identity>,
    /// The pod's object, as far as it is known; null if it is not.
    pub(super) pod: Arc<Value>,
    pub(super) policy: Policy,
}

/// A run that is over, redacted, encoded and explained. Or the part so far of a run that goes on.
pub(super) struct RunClosed {
    pub(super) kept: KeptRun,
    pub(super) verdict: Option<RunVerdict>,
    pub(super) around: Around,
    /// Whether somebody outside the container sent its first process a signal that ends processes.
    pub(super) stopped: bool,
    /// Keeps the run's ring until the run is written.
    pub(super) ring: Hold,
}

/// What the API server said about a pod around the end of a run.
pub(super) struct Around {
    asked: Instant,
    /// The pod's object, secrets included; null if it was not asked for, or there was no answer.
    pub(super) pod: Value,
    pub(super) events: Vec<PodEvent>,
}

impl Around {
    /// Whether a capture that is taken now may use this answer. A pod whose container has run has events; if there
    /// are none here, they were not reported.
    pub(super) fn is_fresh(&self) -> bool {
        !self.pod.is_null() && !self.events.is_empty() && self.asked.elapsed() < FRESH
    }
}

impl Clients {
    /// Redacts, encodes and explains a run. It is encoded while others are still asked how it ended: many runs may
    /// end at once and wait for long, and decoded runs are large.
    ///
    /// # Errors
    /// When the run does not fit the format.
    pub(super) async fn close(self, run: RunToClose, mut life: Life) -> anyhow::Result<RunClosed> {
        let ring = mem::take(&mut life.ring);
        let over = life.end.is_some();
        // Many jobs succeed, and these are hardly ever captured.
        let crashed = over && !matches!(life.exit, Some((_, ExitStatus::Code(0))));
        let killed = killed_from_outside(&life);
        let masking = tokio::task::spawn_blocking({
            let redactor = self.redactor.clone();
            let (cgroup, number, started) = (run.cgroup, run.number, run.started);
            let policy = run.policy.clone();
            move || mask(cgroup, number, started, life, &redactor, &policy)
        });
        let (terminated, around, masked) = tokio::join!(
            async {
                if !over {
                    return None;
                }
                let told = timeout(RUNTIME_PATIENCE, self.terminated(&run.id)).await;
                told.ok().flatten()
            },
            self.around_end(run.identity.as_ref(), killed, crashed),
            masking
        );
        let (masked, executed) = masked??;
        let header = self.header(&run, around.events.clone());
        let work = move || -> anyhow::Result<RunClosed> {
            let kept = masked.finish(header, &self.redactor, |run| {
                add_termination(run, executed, terminated);
            })?;
            let verdict = kept.explain()?.runs.pop();
            Ok(RunClosed {
                kept,
                verdict,
                around,
                stopped: killed.is_some(),
                ring,
            })
        };
        tokio::task::spawn_blocking(work).await?
    }

    /// How a container ended, as the runtime reports it.
    async fn terminated(&self, id: &str) -> Option<Terminated> {
        let client = self.cri.borrow().clone()?;
        let [.., longest] = RUNTIME_PACE;
        let mut pace = RUNTIME_PACE.into_iter();
        loop {
            match client.status(id).await {
                Ok(Some(status)) if status.exit_code.is_some() => {
                    return Some(Terminated {
                        reason: status.reason,
                        message: status.message,
                        exit_code: status.exit_code,
                        started_at: status.started_at.map(WallTime),
                        finished_at: status.finished_at.map(WallTime),
                    });
                }
                Ok(Some(_)) => sleep(pace.next().unwrap_or(longest)).await,
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(error = %chain(&error), id, "the runtime does not say how a container ended");
                    return None;
                }
            }
        }
    }

    /// Asks the API server about a pod whose container has ended, or is read while it lives.
    async fn around_end(
        &self,
        identity: Option<&Identity>,
        killed: Option<BootTime>,
        crashed: bool,
    ) -> Around {
        let asked = Instant::now();
        let (pod, events) = match killed {
            // The capture asks for the object: whoever killed the container may write the reason there later, as with
            // the event.
            Some(killed) => (Value::Null, self.killing_events(identity, killed).await),
            None if crashed => return self.around(identity).await,
            None => (Value::Null, self.events(identity).await),
        };
        Around { asked, pod, events }
    }

    /// Asks the API server about a pod now.
    pub(super) async fn around(&self, identity: Option<&Identity>) -> Around {
        let asked = Instant::now();
        let (pod, events) = tokio::join!(self.object(identity), self.events(identity));
        Around { asked, pod, events }
    }

    /// The pod as the API server has it.
    async fn object(&self, identity: Option<&Identity>) -> Value {
        let (Some(client), Some(identity)) = (&self.kube, identity) else {
            return Value::Null;
        };
        let pod = &identity.pod;
        let asked = kubernetes::pods::get(client, &pod.namespace, &pod.name);
        let object = timeout(API_PATIENCE, asked).await;
        let object = object
            .ok()
            .and_then(Result::ok)
            .flatten()
            .unwrap_or_default();
        // A pod that was deleted and created again under the same name is another pod.
        let uid = pod.api_uid.as_ref().unwrap_or(&pod.uid);
        if object["metadata"]["uid"] == uid.as_str() {
            object
        } else {
            Value::Null
        }
    }

    /// The pod's events. An event that says why the kubelet killed the container is waited for: it may come later
    /// than the death.
    async fn killing_events(&self, identity: Option<&Identity>, killed: BootTime) -> Vec<PodEvent> {
        if self.kube.is_none() || identity.is_none() {
            return Vec::new();
        }
        let killed = WallTime(killed.0.saturating_add_signed(host::clock_offset()));
        let told = |event: &PodEvent| {
            event.reason == "Killing"
                && event
                    .last
                    .is_some_and(|last| killed.since(last) < EVENT_AGE)
        };
        let deadline = Instant::now() + KILLING_PATIENCE;
        let mut events = Vec::new();
        while let Ok(listed) = timeout_at(deadline, self.list_events(identity)).await {
            events = listed;
            if events.iter().any(told) || Instant::now() + KILLING_PACE > deadline {
                break;
            }
            sleep(KILLING_PACE).await;
        }
        events
    }

    /// The pod's events, if the API server answers in time.
    async fn events(&self, identity: Option<&Identity>) -> Vec<PodEvent> {
        timeout(API_PATIENCE, self.list_events(identity))
            .await
            .unwrap_or_default()
    }

    /// The pod's events, in which the kubelet says why it killed a container.
    async fn list_events(&self, identity: Option<&Identity>) -> Vec<PodEvent> {
        let (Some(client), Some(identity)) = (&self.kube, identity) else {
            return Vec::new();
        };
        let pod = &identity.pod;
        let asked = kubernetes::events::of_pod(
            client,
            kubernetes::Who::Agent,
            &pod.namespace,
            pod.api_uid.as_ref().unwrap_or(&pod.uid),
        );
        match asked.await {
            // Events of lastword itself are no evidence.
            Ok(events) => events
                .into_iter()
                .filter(|event| event.reason != kubernetes::announce::REASON)
                .map(pod_event)
                .collect(),
            Err(error) => {
                tracing::debug!(error = %chain(&error), pod = pod.name, "the pod's events are not known");
                Vec::new()
            }
        }
    }

    fn header(&self, run: &RunToClose, events: Vec<PodEvent>) -> Header {
        let mut header = Header {
            program: concat!("lastword ", env!("CARGO_PKG_VERSION")).into(),
            created: host::realtime(),
            host: Host {
                name: self.node.clone(),
                ..host::host()
            },
            container: Container {
                id: run.id.clone(),
                ..Container::default()
            },
            probes: self.probes.to_vec(),
            ..Header::default()
        };
        if let Some(identity) = &run.identity {
            identify(&mut header, identity);
            header.kubernetes = Some(Kubernetes {
                pod: Value::clone(&run.pod),
                events,
            });
        }
        header
    }
}

/// Writes into a header which container it is about.
pub(super) fn identify(header: &mut Header, identity: &Identity) {
    header.container.name.clone_from(&identity.name);
    header.container.kind = kind(identity.kind).into();
    header.container.image.clone_from(&identity.image);
    header.container.image_id.clone_from(&identity.image_id);
    header.pod = Some(Pod {
        namespace: identity.pod.namespace.clone(),
        name: identity.pod.name.clone(),
        uid: identity.pod.uid.clone(),
    });
}

fn kind(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::App) => Container::APP,
        Some(Kind::Init) => Container::INIT,
        Some(Kind::Sidecar) => Container::SIDECAR,
        Some(Kind::Ephemeral) => Container::EPHEMERAL,
        None => "",
    }
}

/// Redacts and encodes a run; also returns whether its first process has executed a program. The decoded run is freed
/// when this returns.
fn mask(
    cgroup: CgroupId,
    number: u32,
    started: BootTime,
    mut life: Life,
    redactor: &Redactor,
    policy: &Policy,
) -> Result<(Masked, bool), WriteError> {
    let complete = life.recording.losses.overwritten == 0;
    let first = setup_steps::remove(&mut life.recording.events, complete);
    let run = run(cgroup, number, started, &life, first);
    let executed = life
        .recording
        .events
        .iter()
        .any(|event| event.kind == EventKind::EXEC && event.pid == run.init_pid);
    let masked = KeptRun::mask(run, life.recording.events, redactor, policy);
    drop(life.slot);
    masked.map(|masked| (masked, executed))
}

/// Adds the runtime's report of the end. `executed`: the run's first process has executed a program.
fn add_termination(run: &mut Run, executed: bool, terminated: Option<Terminated>) {
    run.start_error = terminated
        .as_ref()
        .filter(|said| {
            !executed && matches!(said.reason.as_str(), "StartError" | "ContainerCannotRun")
        })
        .map(|said| said.message.clone());
    run.terminated = terminated;
}

/// The run's metadata, as far as the recorder knows it. `process` is the first process, if the kernel side did not
/// report it.
fn run(cgroup: CgroupId, number: u32, started: BootTime, life: &Life, process: Option<u32>) -> Run {
    let events = &life.recording.events;
    let first = events.iter().find(|event| event.kind == EventKind::EXEC);
    let init_pid = life
        .exit
        .map(|(pid, _)| pid)
        .or(process)
        .or(first.map(|event| event.pid))
        .unwrap_or_default();
    let own = events
        .iter()
        .find(|event| event.kind == EventKind::EXEC && event.pid == init_pid);
    // The container was adopted.
    let adopted = events
        .iter()
        .find(|event| event.flags.contains(EventFlags::ADOPTED));
    let mut run = Run {
        number,
        cgroup,
        init_pid,
        start: match (own, adopted) {
            // The container's cgroup exists before its program runs.
            (Some(exec), _) if !exec.flags.contains(EventFlags::ADOPTED) => exec.time,
            (_, Some(first)) if started > BootTime(0) => started.min(first.time),
            (_, Some(first)) => first.time,
            (_, None) => life.recording.since,
        },
        end: life.end,
        status: life
            .exit
            .map(|(_, status)| status)
            .or_else(|| exit_of(events, init_pid)),
        start_error: None,
        memory_limit: life.figures.memory_limit,
        oom_kills: life.figures.oom_kills,
        memory_peak: life.figures.memory_peak,
        memory_current: life.figures.memory,
        cpu: life.figures.cpu,
        terminated: None,
        losses: life.recording.losses,
        ..Run::default()
    };
    run.set_skipped(life.skipped.clone());
    run
}

fn pod_event(event: kubernetes::events::PodEvent) -> PodEvent {
    let time = |time: Option<kubernetes::Timestamp>| {
        u64::try_from(time?.as_nanosecond()).ok().map(WallTime)
    };
    PodEvent {
        kind: if event.warning { "Warning" } else { "Normal" }.into(),
        reason: event.reason,
        message: event.message,
        count: event.count,
        first: time(event.first),
        last: time(event.last),
        source: event.source,
        field_path: event.field_path,
    }
}

/// When somebody outside first sent a container that has ended a signal that ends processes. The kubelet's signal
/// goes to the first process: not to a probe that took too long, nor to the runtime's own process in a container that
/// could not be started. If the first process is unknown, or the events that would show it were overwritten, any
/// process counts: waiting in vain costs seconds, not waiting costs the verdict.
fn killed_from_outside(life: &Life) -> Option<BootTime> {
    life.end?;
    let events = &life.recording.events;
    let fatal = |event: &&Event| {
        event.kind == EventKind::SIGNAL_GENERATE
            && event.args[2] == SignalOrigin::Outside as i64
            && STOPPING.contains(&(event.ret as i32))
            && life.exit.is_none_or(|(first, _)| event.pid == first)
    };
    let killed = events.iter().find(fatal)?.time;
    let complete = life.recording.losses.overwritten == 0;
    let started = life.exit.is_some() || !setup_steps::never_started(events, complete);
    started.then_some(killed)
}

fn exit_of(events: &[Event], pid: u32) -> Option<ExitStatus> {
    let exit = events
        .iter()
        .rfind(|event| event.kind == EventKind::EXIT && event.pid == pid)?;
    Some(ExitStatus::from_wait(exit.ret as i32))
}

#[cfg(test)]
mod tests {
    use capture_format::Losses;

    use super::super::recording::Slot;
    use super::*;
    use crate::{figures::Figures, recorder::Recording};

    const FIRST: u32 = 12;

    fn event(kind: EventKind, pid: u32) -> Event {
        Event {
            kind,
            pid,
            name: b"/bin/app".as_slice().into(),
            ..Event::default()
        }
    }

    fn killed(pid: u32) -> Event {
        Event {
            time: BootTime(u64::from(pid)),
            ret: i64::from(libc::SIGKILL),
            args: [0, 0, SignalOrigin::Outside as i64],
            ..event(EventKind::SIGNAL_GENERATE, pid)
        }
    }

    fn over(events: Vec<Event>, first: Option<u32>) -> Life {
        Life {
            recording: Recording {
                events,
                since: BootTime(0),
                losses: Losses::default(),
            },
            end: Some(BootTime(99)),
            exit: first.map(|pid| (pid, ExitStatus::from_wait(libc::SIGKILL))),
            figures: Figures::default(),
            skipped: Default::default(),
            ring: Hold::default(),
            slot: Slot::default(),
        }
    }

    #[test]
    fn who_kills_the_first_process_kills_the_container() {
        let events = vec![event(EventKind::EXEC, FIRST), killed(30), killed(FIRST)];
        let ended = over(events, Some(FIRST));
        assert_eq!(killed_from_outside(&ended), Some(BootTime(FIRST.into())));
        let alive = Life { end: None, ..ended };
        assert_eq!(killed_from_outside(&alive), None);
    }

    #[test]
    fn who_kills_a_probe_does_not() {
        let events = vec![
            event(EventKind::EXEC, FIRST),
            event(EventKind::EXEC, 30),
            killed(30),
        ];
        assert_eq!(killed_from_outside(&over(events, Some(FIRST))), None);
    }

    #[test]
    fn a_runtime_that_kills_what_it_could_not_start_is_waited_for_no_longer() {
        let events = vec![event(EventKind::FORK, 11), killed(FIRST)];
        let mut ended = over(events, None);
        assert_eq!(killed_from_outside(&ended), None);
        // That nothing was executed is not known where events are missing.
        ended.recording.losses.overwritten = 1;
        assert_eq!(killed_from_outside(&ended), Some(BootTime(FIRST.into())));
    }

    #[test]
    fn where_the_first_process_is_not_known_anyone_may_be_it() {
        let events = vec![event(EventKind::EXEC, 30), killed(FIRST)];
        let ended = over(events, None);
        assert_eq!(killed_from_outside(&ended), Some(BootTime(FIRST.into())));
    }

    #[test]
    fn what_was_not_told_is_asked_again() {
        let around = |pod: Value, events: Vec<PodEvent>| Around {
            asked: Instant::now(),
            pod,
            events,
        };
        let (pod, events) = (|| Value::from("pod"), || vec![PodEvent::default()]);
        assert!(around(pod(), events()).is_fresh());
        assert!(!around(Value::Null, events()).is_fresh());
        assert!(!around(pod(), Vec::new()).is_fresh());
    }
}
