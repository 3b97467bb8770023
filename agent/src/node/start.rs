//! The start of the agent: its parts, in the order in which they can fail; and its end.

use std::{
    net::SocketAddr,
    path::{self, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Context;
use capture_format::chain;
use containers::{cri, hierarchy};
use futures::{StreamExt, stream};
use kubernetes::{
    Health, Who, announce::Announcer, captures::Captures, connect, namespaces, pods,
    reading::Reading,
};
use redact::Redactor;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use spool::{Backoff, Progress, Spool, Store, Uploader};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use super::{
    clock::Clock,
    closing::Clients,
    event_loop::{Node, Sources},
    handle::Handle,
    left_runs::LeftRuns,
    recording::{Places, RecordingThread, Report},
    runtime,
    state::{
        account::Account, histories::Histories, lives::Lives, loops::Loops, orders::Orders,
        outside::Outside, pods::Pods,
    },
    tasks::{Input, Tasks},
    tell::{Place, Teller},
};
use crate::{
    allowance::Allowance,
    cgroupfs::Mounts,
    config::{Config, RuntimeEndpoint, Switch},
    host, http,
    metrics::Metrics,
    packs::Packs,
    recorder::{Budget, Hierarchy, Settings},
    socket,
};

/// Where the kernel shows cgroups; in a pod the host's are mounted here.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the command line adds to the configuration.
pub(crate) struct Options {
    /// The configuration file, for `lastword status`.
    pub(crate) config: Option<PathBuf>,
    /// The operators' packs that were read; none if there is no directory for them.
    pub(crate) packs: Option<Packs>,
    /// Name of the node; the host's name without.
    pub(crate) node: Option<String>,
    /// Where the node has the spool's directory; there, where the agent has it, without.
    pub(crate) spool: Option<PathBuf>,
    /// The kubeconfig, instead of the cluster that the agent runs in.
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Services: tasks that run beside the loop and never change the state.
type Services = JoinSet<()>;

pub(super) async fn serve(config: Arc<Config>, options: Options) -> anyhow::Result<()> {
    let name = options.node.clone().unwrap_or_else(|| host::host().name);
    let redactor = Arc::new(Redactor::new(&config.redaction)?);
    let spool = open_spool(&config, &name)?;
    let listener = socket::server::listen(&config.socket)?;
    let endpoint = listen(config.http.listen, "http.listen").await?;
    let health = Health::new();
    let kube = cluster(&config, &options).await?;
    let (recording, reports) = start_recording(&config)?;

    let mut services = Services::new();
    let (tasks, inputs) = Tasks::new();
    let (cri, cri_standing) = follow_runtime(&config, &tasks, &mut services);
    let captures = kube
        .clone()
        .map(|kube| Captures::new(kube, &name, config.kubernetes.ttl, health.clone()));
    let teller = Teller::default();
    if let (Some(kube), Some(captures)) = (&kube, &captures) {
        let announcer = Announcer::new(kube.clone(), &name, health.clone());
        let place = place(&config, &options, &name)?;
        let telling = teller
            .clone()
            .run(announcer, captures.clone(), spool.clone(), place);
        services.spawn(telling);
        services.spawn(captures.clone().sweep());
    }
    let (handle, requests) = Handle::new();
    let metrics = Arc::new(Metrics::new());
    services.spawn(socket::server::serve(listener, handle.clone()));
    let certificate = config.http.alerts_tls_directory.clone();
    let certificate = certificate.map(|directory| Arc::new(http::Certificate::new(directory)));
    let alerts_tls = certificate.as_ref().map(|it| it.trouble());
    let http = http::Endpoint {
        handle,
        metrics: metrics.clone(),
        token_file: config.http.alerts_token_file.clone(),
        namespaces: Arc::new(config.http.alerts_namespaces.iter().cloned().collect()),
        allowance: Arc::new(Allowance::new(config.http.alerts_per_minute)),
        certificate,
    };
    if http.certificate.is_some() {
        let listener = listen(config.http.alerts_tls_listen, "http.alerts_tls_listen").await?;
        services.spawn(http.clone().serve_tls(listener));
    }
    services.spawn(http.serve(endpoint));
    let store = open_store(&config)?;
    if let Some(kube) = &kube {
        let listener = listen(config.http.files_listen, "http.files_listen").await?;
        let (reading, directory) = (Reading::new(kube.clone()), config.spool.directory.clone());
        let files = http::Files::new(reading, directory, store.clone(), metrics.clone());
        services.spawn(files.serve(listener));
    }
    let left_runs = Arc::new(LeftRuns::default());
    services.spawn(left_runs.clone().write(spool.clone()));
    let uploader = teller.decided();
    let uploads = start_uploader(store, &spool, uploader.clone(), &mut services);

    let watched = kube.clone().map(|kube| (kube, health.clone()));
    let pods = watched
        .clone()
        .map(|(kube, health)| pods::watch(kube, &name, health));
    let namespaces = watched.map(|(kube, health)| namespaces::watch(kube, health));
    let notices = captures.as_ref().map(Captures::notices);
    let mut sources = Sources {
        reports,
        inputs,
        requests,
        pods: pods.unwrap_or_else(|| stream::pending().boxed()),
        namespaces: namespaces.unwrap_or_else(|| stream::pending().boxed()),
        notices: notices.unwrap_or_else(|| stream::pending().boxed()),
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        uploads,
    };
    let (has_api, clock) = (kube.is_some(), Clock::start());
    let mut node = Node {
        lives: Lives::default(),
        histories: Histories::new(config.runs.keep, kept_bytes(&config)),
        pods: Pods::new(has_api),
        orders: Orders::new(config.machine(), has_api, clock.now()),
        loops: Loops::new(config.triggers.cool_down),
        outside: Outside::new(
            spool,
            captures,
            teller,
            uploader,
            left_runs,
            config.kubernetes.ttl,
        ),
        account: Account::new(
            options.config,
            options.packs,
            has_api.then(|| health.subscribe()),
            cri_standing,
            alerts_tls,
        ),
        clock,
        clients: Clients {
            cri,
            kube,
            redactor,
            node: name,
            probes: recording.setup.probes.clone().into(),
        },
        recording: Arc::new(recording),
        metrics,
        tasks,
        config,
    };
    node.resume();
    exit_at_second_signal()?;
    let outcome = node.serve(&mut sources).await;
    tracing::info!("stopping");
    services.shutdown().await;
    node.stop(sources).await;
    outcome
}

fn open_spool(config: &Config, node: &str) -> anyhow::Result<Arc<Spool>> {
    let (spool, found) = Spool::open(spool_config(config)).context("cannot use the spool")?;
    tracing::info!(
        node,
        halves = found.halves,
        rebuilt = found.rebuilt,
        orphans = found.orphans,
        captures = spool.usage().captures,
        "the spool is open"
    );
    Ok(Arc::new(spool))
}

async fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({key} in the configuration)"))
}

fn open_store(config: &Config) -> anyhow::Result<Option<Arc<Store>>> {
    let store = config.storage.store().map(|store| Store::open(&store));
    let store = store.transpose().context("cannot use the object storage")?;
    Ok(store.map(Arc::new))
}

fn start_recording(config: &Config) -> anyhow::Result<(RecordingThread, mpsc::Receiver<Report>)> {
    let detected = hierarchy::detect(CGROUPS.as_ref())?;
    tracing::info!(hierarchy = ?detected.hierarchy, mount = %detected.mount.display(), containers = detected.containers, "containers are told apart here");
    let places = Places {
        proc: "/proc".into(),
        cgroups: detected.mount,
        mounts: Mounts::read()?,
    };
    let started = RecordingThread::start(settings(config, detected.hierarchy), places)?;
    for limitation in &started.0.setup.limitations {
        tracing::warn!("limited: {limitation}");
    }
    Ok(started)
}

/// Where the connection to the container runtime is found once there is one, and whether it answers; the latter is
/// none if the configuration turns it off.
fn follow_runtime(
    config: &Config,
    tasks: &Tasks,
    services: &mut Services,
) -> (
    watch::Receiver<Option<cri::Client>>,
    Option<watch::Receiver<runtime::Standing>>,
) {
    let (client, found) = watch::channel(None);
    let endpoint = match &config.container_runtime.endpoint {
        RuntimeEndpoint::Off => return (found, None),
        RuntimeEndpoint::Auto => None,
        RuntimeEndpoint::Path(path) => Some(path.display().to_string()),
    };
    let (standing, watched) = watch::channel(runtime::Standing::default());
    let inputs = tasks.inputs();
    let bring = move |all| drop(inputs.send(Input::Runtime(Box::new(all))));
    let socket = runtime::Socket { endpoint, client };
    services.spawn(runtime::follow(socket, standing, bring));
    (found, Some(watched))
}

/// Where those who look for captures find them.
fn place(config: &Config, options: &Options, node: &str) -> anyhow::Result<Place> {
    Ok(Place {
        node: node.to_owned(),
        spool: match &options.spool {
            Some(directory) => directory.clone(),
            None => path::absolute(&config.spool.directory)?,
        },
    })
}

/// What the uploader reports: nothing without object storage.
fn start_uploader(
    store: Option<Arc<Store>>,
    spool: &Arc<Spool>,
    wake: Arc<Notify>,
    services: &mut Services,
) -> mpsc::Receiver<Progress> {
    let (progress, uploads) = mpsc::channel(1);
    if let Some(store) = store {
        let backoff = Backoff::default();
        let uploader = Uploader::new(spool.clone(), store, backoff, progress, wake);
        services.spawn(uploader.run());
    }
    uploads
}

/// The first signal to stop is the loop's. One that comes after it ends the process at once, whatever it is waiting
/// for; what is kept is not left to the next agent then.
fn exit_at_second_signal() -> std::io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, stopping.clone())?;
        flag::register(signal, stopping.clone())?;
    }
    Ok(())
}

/// The API server, if there is one. Not waited for: it may be away.
async fn cluster(config: &Config, options: &Options) -> anyhow::Result<Option<kubernetes::Client>> {
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
            Ok(Some(cluster.client))
        }
        (Switch::Auto, Err(error)) => {
            tracing::info!(error = %chain(&error), "no Kubernetes here: captures stay in the spool");
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
        pin: recorder.pin.folder(),
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
        kept_bytes: kept_bytes(config),
        ..spool::Config::default()
    }
}

/// Bytes of kept runs, at most: their part of the memory budget.
fn kept_bytes(config: &Config) -> u64 {
    config.recorder.memory.as_u64() / 4
}
