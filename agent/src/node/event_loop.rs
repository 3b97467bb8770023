//! The node's state, and the loop that alone changes it.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use capture_format::Losses;
use containers::directory::Directory;
use futures::{StreamExt, stream::BoxStream};
use kubernetes::{
    captures::{Captures, Notice},
    namespaces::NamespaceInfo,
    pods::{ContainerKind, PodChange},
};
use serde_json::Value;
use spool::{Progress, Spool};
use tokio::{
    signal::unix::Signal,
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use triggers::{Machine, Subject};

use super::{
    Input,
    clock::Clock,
    closing::{Clients, LONGEST_WAIT},
    handle::{Refused, Request},
    recording::{RecordingThread, Report},
    routes::lives::{History, Live},
    routes::opt_out::Heard,
    routes::status::Connections,
    state::readiness::Unready,
    tell::Teller,
};
use crate::{config::Config, host, logging, memory, metrics::Metrics};

/// How often what nobody asks for any more is forgotten.
const TIDY: Duration = Duration::from_secs(30);

/// What happened since the start.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) losses: Losses,
    pub(super) refused: u64,
    pub(super) last_refused: Option<Refused>,
    pub(super) messages_lost: u64,
}

/// A pod of the node, as the API server told it last.
pub(super) struct KnownPod {
    /// Its UID, as the kubelet has it.
    pub(super) uid: String,
    /// Its UID, as the API server has it: another one for static pods only.
    pub(super) api_uid: String,
    /// Names and kinds of its containers, in the order of the specification.
    pub(super) containers: Vec<(String, ContainerKind)>,
    /// See [`PodInfo::object`](kubernetes::pods::PodInfo::object).
    pub(super) object: Arc<Value>,
}

/// The node.
pub(super) struct Node {
    pub(super) config: Arc<Config>,
    pub(super) config_path: Option<PathBuf>,
    /// Nanoseconds since the Unix epoch.
    pub(super) started: u64,
    pub(super) recording: Arc<RecordingThread>,
    pub(super) clients: Clients,
    pub(super) spool: Arc<Spool>,
    pub(super) captures: Option<Captures>,
    pub(super) teller: Teller,
    pub(super) metrics: Arc<Metrics>,
    pub(super) connections: Connections,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) directory: Directory,
    pub(super) machine: Machine,
    /// What `machine` goes by.
    pub(super) clock: Clock,
    /// Labels and annotations of namespaces.
    pub(super) namespaces: HashMap<String, NamespaceInfo>,
    /// The node's pods, by namespace and name.
    pub(super) pods: HashMap<(String, String), KnownPod>,
    /// Containers that are recorded, or whose run is being kept, by the id of their cgroup.
    pub(super) live: HashMap<u64, Live>,
    pub(super) subjects: HashMap<Subject, History>,
    /// The ids of the newest containers that run and are opted out.
    pub(super) off: HashMap<Subject, String>,
    pub(super) heard: Heard,
    pub(super) unready: Unready,
    /// Names of the Captures that are being taken.
    pub(super) taking: HashSet<(String, String)>,
    /// Captures whose Capture object is gone: whether their files go too is being asked.
    pub(super) leaving: HashSet<String>,
    pub(super) tally: Tally,
    /// Wakes the uploader.
    pub(super) uploader: Arc<Notify>,
    /// Why the last upload failed.
    pub(super) upload_error: Option<String>,
    pub(super) tasks: JoinSet<()>,
}

/// Where the loop's inputs come from.
pub(super) struct Sources {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) inputs: mpsc::UnboundedReceiver<Input>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) pods: BoxStream<'static, PodChange>,
    pub(super) namespaces: BoxStream<'static, kubernetes::Change<NamespaceInfo>>,
    pub(super) notices: BoxStream<'static, Notice>,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    /// Without object storage nothing comes.
    pub(super) uploads: mpsc::Receiver<Progress>,
}

impl Node {
    /// Runs until somebody asks to stop.
    ///
    /// # Errors
    /// The recorder works no more.
    pub(super) async fn serve(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = self.clock.now();
            let due = self.machine.next_due().map(|due| due.since(now));
            tokio::select! {
                // What the kernel says comes first: rings wait for it.
                biased;
                Some(report) = sources.reports.recv() => self.report(report)?,
                Some(input) = sources.inputs.recv() => self.input(input),
                Some(pod) = sources.pods.next() => self.pod(pod),
                Some(namespace) = sources.namespaces.next() => self.namespace(namespace),
                Some(notice) = sources.notices.next() => self.noticed(notice),
                Some(progress) = sources.uploads.recv() => self.uploaded(progress),
                Some(request) = sources.requests.recv() => self.request(request),
                () = tokio::time::sleep(due.unwrap_or(TIDY)) => {
                    let decisions = self.machine.due(self.clock.now());
                    self.decide(decisions);
                }
                _ = tidy.tick() => self.tidy(),
                Some(_) = self.tasks.join_next() => {}
                _ = sources.terminate.recv() => return Ok(()),
                _ = sources.interrupt.recv() => return Ok(()),
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Who(answer) => self.answered(answer),
            Input::Runtime(all) => self.found_runtime(&all),
            Input::RunClosed(ended) => self.kept(*ended),
            Input::LiveRunRead(looked) => self.looked(*looked),
            Input::ClaimAnswered(taken) => self.granted(*taken),
            Input::DeletionSettled(id) => drop(self.leaving.remove(&id)),
            Input::OrderDone(outcome) => self.taken(*outcome),
        }
    }

    fn uploaded(&mut self, progress: Progress) {
        match progress {
            Progress::Uploaded { id, location } => {
                tracing::info!(capture = id, location, "a capture is in the object storage");
                self.metrics.uploaded(true);
                self.upload_error = None;
                let (spool, teller) = (self.spool.clone(), self.teller.clone());
                self.tasks.spawn_blocking(move || {
                    // Its Capture object is to say where it is.
                    if let Err(error) = spool.update(&id, |entry| entry.state.announced = false) {
                        tracing::debug!(%error, "a capture left the spool as it was uploaded");
                    }
                    teller.wake();
                });
            }
            Progress::Failed {
                id,
                error,
                attempts,
                ..
            } => {
                tracing::warn!(capture = id, attempts, %error, "a capture is uploaded later");
                self.metrics.uploaded(false);
                self.upload_error = Some(error.to_string());
            }
        }
    }

    fn tidy(&mut self) {
        logging::summarise();
        self.directory.expire(host::uptime());
        self.ask_again();
        self.tell_unready();
        self.forget_old();
        for runs in self.subjects.values_mut() {
            runs.around.take_if(|around| !around.is_fresh());
        }
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        self.tasks.spawn_blocking(move || {
            for dropped in spool.enforce() {
                tracing::info!(
                    capture = dropped.id,
                    "a capture left the spool, which keeps within its limits"
                );
            }
            teller.wake();
            memory::give_back();
        });
    }

    /// Waits for what is under way (runs that have ended among it), and leaves what is kept to the next start.
    pub(super) async fn stop(mut self, mut sources: Sources) {
        /// With time to write it; shorter than a pod's grace period.
        const PATIENCE: Duration = LONGEST_WAIT.saturating_add(Duration::from_secs(3));
        self.recording.stop();
        let mut recording = true;
        let finish = async {
            loop {
                tokio::select! {
                    biased;
                    report = sources.reports.recv(), if recording => match report.map(|report| self.report(report)) {
                        Some(Ok(())) => {}
                        Some(Err(error)) => tracing::error!("{error:#}"),
                        None => recording = false,
                    },
                    Some(input) = sources.inputs.recv() => self.input(input),
                    task = self.tasks.join_next(), if !(recording && self.tasks.is_empty()) => {
                        if task.is_none() && sources.inputs.is_empty() {
                            break;
                        }
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, finish).await.is_err() {
            tracing::warn!("captures that were under way are given up");
        }
        // The recording thread is waited for at the end, and must not wait for us.
        drop(sources);
        let runs: Vec<spool::SavedRun> = self
            .subjects
            .iter()
            .flat_map(|(subject, runs)| runs.kept.iter().map(move |run| (subject, run)))
            .map(|(subject, run)| spool::SavedRun {
                pod_uid: subject.pod_uid.clone(),
                container: subject.container.clone(),
                run: run.run.number,
                bytes: run.bytes().to_vec(),
            })
            .collect();
        match self.spool.save(&runs, &host::boot_id()) {
            Ok(left_out) => tracing::info!(
                runs = runs.len() - left_out,
                left_out,
                "kept runs wait for the next start"
            ),
            Err(error) => tracing::error!(%error, "kept runs cannot be left to the next start"),
        }
    }
}
