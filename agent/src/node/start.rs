//! The start of the agent: everything it needs, in the order in which it can fail; and its end.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Context;
use containers::{directory::Directory, hierarchy};
use futures::{StreamExt, stream};
use kubernetes::{Health, Who, announce::Announcer, captures::Captures, connect, namespaces, pods};
use redact::Redactor;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use spool::{Backoff, Entry, Spool, Store, Uploader};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use triggers::{Captured, Description, Labels, Machine, Observation, PodObservation, Subject};

use super::{
    capture,
    clock::Clock,
    closing::Clients,
    event_loop::{Node, Sources, Tally},
    handle::Handle,
    kept::KeptRun,
    recording::{Places, RecordingThread},
    routes::captures::subject_of_entry,
    routes::lives::{History, ended},
    routes::opt_out::Heard,
    routes::requests::ASKED_FOR,
    routes::status::Connections,
    runtime,
    state::readiness::Unready,
    tell::{Place, Teller},
};
use crate::{
    cgroupfs::Mounts,
    config::{Config, RuntimeEndpoint, Switch},
    host, http,
    metrics::Metrics,
    recorder::{Budget, Hierarchy, Settings},
    socket,
};

/// Where the kernel shows cgroups; in a pod the host's are mounted here.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the command line adds to the configuration.
pub(crate) struct Options {
    /// The configuration file, for `lastword status`.
    pub(crate) config: Option<PathBuf>,
    /// Name of the node; the host's name without.
    pub(crate) node: Option<String>,
    /// Where the node has the spool's directory; there, where the agent has it, without.
    pub(crate) spool: Option<PathBuf>,
    /// The kubeconfig, instead of the cluster that the agent runs in.
    pub(crate) kubeconfig: Option<PathBuf>,
}

pub(super) async fn serve(config: Arc<Config>, options: Options) -> anyhow::Result<()> {
    let node = options.node.clone().unwrap_or_else(|| host::host().name);
    let redactor = Arc::new(Redactor::new(&config.redaction)?);
    let (spool, found) = Spool::open(spool_config(&config)).context("cannot use the spool")?;
    let spool = Arc::new(spool);
    tracing::info!(
        node,
        halves = found.halves,
        rebuilt = found.rebuilt,
        orphans = found.orphans,
        captures = spool.usage().captures,
        "the spool is open"
    );
    let listener = socket::server::listen(&config.socket)?;
    let endpoint = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| {
            format!(
                "cannot listen on {} (http.listen in the configuration)",
                config.http.listen
            )
        })?;

    let health = Health::new();
    let cluster = cluster(&config, &options).await?;
    let detected = hierarchy::detect(CGROUPS.as_ref())?;
    tracing::info!(hierarchy = ?detected.hierarchy, mount = %detected.mount.display(), containers = detected.containers, "containers are told apart here");
    let places = Places {
        proc: "/proc".into(),
        cgroups: detected.mount,
        mounts: Mounts::read()?,
    };
    let (recording, reports) =
        RecordingThread::start(settings(&config, detected.hierarchy), places)?;
    for limitation in &recording.setup.limitations {
        tracing::warn!("limited: {limitation}");
    }

    let (inputs, received) = mpsc::unbounded_channel();
    let mut services = JoinSet::new();
    let (cri, found_cri) = watch::channel(None);
    let endpoint_of_runtime = match &config.container_runtime.endpoint {
        RuntimeEndpoint::Off => None,
        RuntimeEndpoint::Auto => Some(None),
        RuntimeEndpoint::Path(path) => Some(Some(path.display().to_string())),
    };
    let mut cri_standing = None;
    if let Some(endpoint) = endpoint_of_runtime {
        let (standing, watched) = watch::channel(runtime::Standing::default());
        cri_standing = Some(watched);
        let socket = runtime::Socket {
            endpoint,
            client: cri,
        };
        services.spawn(runtime::follow(socket, standing, inputs.clone()));
    }

    let client = cluster.map(|cluster| cluster.client);
    let teller = Teller::default();
    let captures = client
        .clone()
        .map(|client| Captures::new(client, &node, config.kubernetes.ttl, health.clone()));
    if let (Some(client), Some(captures)) = (client.clone(), captures.clone()) {
        let announcer = Announcer::new(client, &node, health.clone());
        let teller = teller.clone();
        let place = Place {
            node: node.clone(),
            spool: match options.spool {
                Some(directory) => directory,
                None => std::path::absolute(&config.spool.directory)?,
            },
        };
        services.spawn(teller.run(announcer, captures, spool.clone(), place));
    }
    let (handle, requests) = Handle::new();
    let metrics = Arc::new(Metrics::new());
    services.spawn(socket::server::serve(listener, handle.clone()));
    let served = http::Endpoint {
        handle,
        metrics: metrics.clone(),
        token_file: config.http.alerts_token_file.clone(),
    };
    services.spawn(served.serve(endpoint));

    let uploader = Arc::new(Notify::new());
    let (progress, uploads) = mpsc::channel(1);
    if let Some(store) = config.storage.store() {
        let store = Store::open(&store).context("cannot use the object storage")?;
        let upload = Uploader::new(
            spool.clone(),
            store,
            Backoff::default(),
            progress,
            uploader.clone(),
        );
        services.spawn(upload.run());
    }

    let mut sources = Sources {
        reports,
        inputs: received,
        requests,
        pods: client.clone().map_or_else(
            || stream::pending().boxed(),
            |client| pods::watch(client, &node, health.clone()),
        ),
        namespaces: client.clone().map_or_else(
            || stream::pending().boxed(),
            |client| namespaces::watch(client, health.clone()),
        ),
        notices: captures
            .as_ref()
            .map_or_else(|| stream::pending().boxed(), Captures::notices),
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        uploads,
    };
    let mut state = Node {
        config_path: options.config,
        started: host::realtime(),
        clients: Clients {
            cri: found_cri,
            kube: client.clone(),
            redactor,
            node,
            probes: recording.setup.probes.clone().into(),
        },
        recording: Arc::new(recording),
        captures,
        teller,
        metrics,
        connections: Connections::new(client.is_some().then(|| health.subscribe()), cri_standing),
        inputs,
        directory: Directory::default(),
        machine: Machine::new(config.machine()),
        clock: Clock::start(),
        namespaces: HashMap::new(),
        pods: HashMap::new(),
        live: HashMap::new(),
        subjects: HashMap::new(),
        off: HashMap::new(),
        heard: Heard::default(),
        unready: Unready::default(),
        taking: HashSet::new(),
        leaving: HashSet::new(),
        tally: Tally::default(),
        uploader,
        upload_error: None,
        tasks: JoinSet::new(),
        spool,
        config,
    };
    state.remember();
    exit_at_second_signal()?;
    let outcome = state.serve(&mut sources).await;
    tracing::info!("stopping");
    services.shutdown().await;
    state.stop(sources).await;
    outcome
}

/// The first signal to stop is the loop's. One that comes after it ends the process at once, whatever it is waiting for; what is kept is not left to
/// the next agent then.
fn exit_at_second_signal() -> std::io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, stopping.clone())?;
        flag::register(signal, stopping.clone())?;
    }
    Ok(())
}

/// The API server, if there is one. Not waited for: it may be away.
async fn cluster(config: &Config, options: &Options) -> anyhow::Result<Option<connect::Cluster>> {
    let asked = connect::Options {
        kubeconfig: options.kubeconfig.clone(),
        context: None,
    };
    match (
        config.kubernetes.enabled,
        connect::connect(&asked, Who::Agent).await,
    ) {
        (Switch::Off, _) => Ok(None),
        (_, Ok(cluster)) => {
            tracing::info!(server = cluster.server, "announcing to the API server");
            Ok(Some(cluster))
        }
        (Switch::Auto, Err(error)) => {
            tracing::info!(%error, "no Kubernetes here: captures stay in the spool");
            Ok(None)
        }
        (Switch::On, Err(error)) => Err(error).context("kubernetes.enabled is on"),
    }
}

fn settings(config: &Config, hierarchy: Hierarchy) -> Settings {
    let recorder = &config.recorder;
    Settings {
        text_max: recorder.text_payload.as_u64() as u32,
        other_max: recorder.other_payload.as_u64() as u32,
        config_file_max: recorder.config_file_max.as_u64(),
        budget: Budget::of_node(recorder.memory.as_u64()),
        hierarchy,
        ..Settings::default()
    }
}

fn spool_config(config: &Config) -> spool::Config {
    let limits = &config.spool;
    spool::Config {
        directory: limits.directory.clone(),
        limits: spool::Limits {
            bytes: limits.bytes.as_u64(),
            per_pod: limits.per_pod,
            age: limits.max_age,
        },
        kept_bytes: config.recorder.memory.as_u64() / 4,
        ..spool::Config::default()
    }
}

impl Node {
    /// Takes back what an earlier agent left: its captures, so that none is taken twice, and the runs it kept.
    fn remember(&mut self) {
        if self.clients.kube.is_none() {
            // Nobody will describe the pods of containers that have none.
            self.machine.observe_pod(
                self.clock.now(),
                "",
                PodObservation::Described(Description {
                    namespace_annotations: Some(Labels::new()),
                    ..Description::default()
                }),
            );
        }
        for entry in self.spool.entries() {
            self.remember_capture(entry);
        }
        let restored = match self.spool.restore(&host::boot_id()) {
            Ok(restored) => restored,
            Err(error) => {
                return tracing::warn!(%error, "the runs that an earlier agent kept cannot be read");
            }
        };
        for run in restored.runs {
            let subject = Subject {
                pod_uid: run.pod_uid,
                container: run.container,
            };
            match KeptRun::from_bytes(run.bytes) {
                Ok(kept) => {
                    let runs: &mut History = self.subjects.entry(subject).or_default();
                    runs.kept.push_back(Arc::new(kept));
                }
                Err(error) => {
                    tracing::warn!(%error, container = subject.container, "a kept run cannot be read")
                }
            }
        }
        let subjects: Vec<Subject> = self.subjects.keys().cloned().collect();
        for subject in subjects {
            self.remember_runs(&subject);
        }
    }

    /// What was captured is not captured again.
    fn remember_capture(&mut self, mut entry: Entry) {
        if entry.present
            && entry.info.verdict.is_none()
            && let Some(path) = self.spool.path(&entry.id)
        {
            // The agent was killed before it wrote the sidecar.
            match capture::explained(&path, &mut entry.info) {
                Ok(_) => {
                    let noted = self
                        .spool
                        .update(&entry.id, |old| old.info = entry.info.clone());
                    if let Err(error) = noted {
                        tracing::warn!(%error, capture = entry.id, "a verdict is noted in memory only");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, capture = entry.id, "a capture of the spool cannot be read")
                }
            }
        }
        let subject = subject_of_entry(&entry);
        let info = entry.info;
        let last_run = info.runs.last().copied().unwrap_or_default();
        if info.container.is_empty() {
            let runs: &mut History = self.subjects.entry(subject.clone()).or_default();
            runs.newest = runs.newest.max(last_run);
            runs.seen = host::boottime();
        }
        if info.rank >= ASKED_FOR {
            return;
        }
        let found = Captured {
            id: entry.id,
            at: self.clock.of_day(info.created),
            cause: info.cause.filter(|cause| cause != "unknown"),
            runs: info.runs.len(),
            last_run,
        };
        let at = found.at;
        let decisions = self
            .machine
            .observe(at, &subject, Observation::CaptureFound(found));
        self.decide(decisions);
    }

    /// What is kept counts as if it had been seen by this agent.
    fn remember_runs(&mut self, subject: &Subject) {
        let Some(runs) = self.subjects.get_mut(subject) else {
            return;
        };
        runs.kept
            .make_contiguous()
            .sort_by_key(|run| run.run.number);
        let kept: Vec<Arc<KeptRun>> = runs.kept.iter().cloned().collect();
        let newest = kept.last().map_or(0, |run| run.run.number);
        runs.newest = runs.newest.max(newest);
        runs.seen = host::boottime();
        for kept in kept {
            let run = &kept.run;
            let verdict = kept.explain().ok().and_then(|mut said| said.runs.pop());
            let started = Observation::Started { run: run.number };
            let ended = Observation::Ended(ended(&kept, verdict.as_ref()));
            for (at, seen) in [(run.start, started), (run.end.unwrap_or(run.start), ended)] {
                let decisions = self.machine.observe(self.clock.at(at), subject, seen);
                self.decide(decisions);
            }
        }
    }
}
