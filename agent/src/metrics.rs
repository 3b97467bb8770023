//! The metrics for Prometheus; docs/metrics.md describes each metric for its readers.
//!
//! Whatever the node's loop knows at any moment is copied from its [`Status`] at each scrape. Only what happens once
//! and leaves no state is counted here, as it happens.

use std::{
    fmt, fs, io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

use crate::node::handle::{Connection, Status};

/// Content type of [`Metrics::encode`]: OpenMetrics text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the duration of a capture, in seconds.
const DURATIONS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

macro_rules! labels {
    ($($name:ident { $label:ident: $value:ty })*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name {
            $label: $value,
        }
    )*};
}

labels! {
    State { state: &'static str }
    Named { named: bool }
    TriggerKind { trigger: String }
    Reason { reason: &'static str }
    CauseName { cause: String }
    Outcome { result: &'static str }
    ProbeName { probe: String }
    Version { version: &'static str }
}

/// No labels: a family of at most one sample.
type Unlabelled = Vec<(String, String)>;

/// The labels of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ContainerNames {
    namespace: String,
    pod: String,
    container: String,
}

/// All metrics of the agent.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    containers: Family<Named, Gauge>,
    rings: Family<State, Gauge>,
    kept_run_bytes: Gauge,
    memory_budget_bytes: Gauge,
    lost: Counter,
    overwritten: Counter,
    recursion_misses: Family<ProbeName, Counter>,
    refused: Counter,
    turned_away: Counter,
    crowded: Family<ContainerNames, Gauge>,
    messages_lost: Counter,
    log_lines_lost: Counter,
    knowledge_entries: Gauge,
    knowledge_left_out: Gauge,
    announce_pending: Gauge,
    upload_pending: Gauge,
    spool_bytes: Gauge,
    spool_captures: Gauge,
    spool_trouble: Gauge,
    captures_dropped: Counter,
    captures_lost: Counter,
    api_up: Family<Unlabelled, Gauge>,
    cri_up: Family<Unlabelled, Gauge>,
    captures: Family<TriggerKind, Counter>,
    capture_failures: Family<Reason, Counter>,
    capture_duration: Histogram,
    verdicts: Family<CauseName, Counter>,
    uploads: Family<Outcome, Counter>,
    file_requests: Family<Outcome, Counter>,
}

impl Metrics {
    /// Registers all metrics.
    #[must_use]
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            containers: Family::default(),
            rings: Family::default(),
            kept_run_bytes: Gauge::default(),
            memory_budget_bytes: Gauge::default(),
            lost: Counter::default(),
            overwritten: Counter::default(),
            recursion_misses: Family::default(),
            refused: Counter::default(),
            turned_away: Counter::default(),
            crowded: Family::default(),
            messages_lost: Counter::default(),
            log_lines_lost: Counter::default(),
            knowledge_entries: Gauge::default(),
            knowledge_left_out: Gauge::default(),
            announce_pending: Gauge::default(),
            upload_pending: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_captures: Gauge::default(),
            spool_trouble: Gauge::default(),
            captures_dropped: Counter::default(),
            captures_lost: Counter::default(),
            api_up: Family::default(),
            cri_up: Family::default(),
            captures: Family::default(),
            capture_failures: Family::default(),
            capture_duration: Histogram::new(DURATIONS),
            verdicts: Family::default(),
            uploads: Family::default(),
            file_requests: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Self {
            registry,
            containers,
            rings,
            kept_run_bytes,
            memory_budget_bytes,
            lost,
            overwritten,
            recursion_misses,
            refused,
            turned_away,
            crowded,
            messages_lost,
            log_lines_lost,
            knowledge_entries,
            knowledge_left_out,
            announce_pending,
            upload_pending,
            spool_bytes,
            spool_captures,
            spool_trouble,
            captures_dropped,
            captures_lost,
            api_up,
            cri_up,
            captures,
            capture_failures,
            capture_duration,
            verdicts,
            uploads,
            file_requests,
        } = self;
        registry.register_collector(Box::new(Process));
        let r = registry.sub_registry_with_prefix("lastword");
        r.register("containers", "Containers recorded", containers.clone());
        r.register("rings", "Rings, the recorders of runs", rings.clone());
        r.register(
            "kept_run_bytes",
            "Memory of the runs kept for captures",
            kept_run_bytes.clone(),
        );
        r.register(
            "memory_budget_bytes",
            "What rings and kept runs may take",
            memory_budget_bytes.clone(),
        );
        r.register("lost", "Never recorded, at least", lost.clone());
        r.register(
            "events_overwritten",
            "Events displaced by newer ones",
            overwritten.clone(),
        );
        r.register(
            "recursion_misses",
            "Probe runs skipped by the kernel",
            recursion_misses.clone(),
        );
        r.register(
            "containers_refused",
            "Containers that were not recorded",
            refused.clone(),
        );
        r.register(
            "cgroups_turned_away",
            "Cgroups inside containers that were not recorded",
            turned_away.clone(),
        );
        r.register(
            "crowded_container_cgroups",
            "Cgroups inside a container that were not recorded",
            crowded.clone(),
        );
        r.register(
            "messages_lost",
            "What the kernel side had no room to say",
            messages_lost.clone(),
        );
        r.register(
            "log_lines_lost",
            "Log lines that nobody will read",
            log_lines_lost.clone(),
        );
        r.register(
            "knowledge_entries",
            "Entries of operators' packs by which verdicts are found",
            knowledge_entries.clone(),
        );
        r.register(
            "knowledge_left_out",
            "Entries and files of operators' packs with a fault",
            knowledge_left_out.clone(),
        );
        r.register(
            "announce_pending",
            "Captures that wait to be announced",
            announce_pending.clone(),
        );
        r.register(
            "upload_pending",
            "Captures that wait to be uploaded",
            upload_pending.clone(),
        );
        r.register(
            "spool_bytes",
            "Bytes of the captures on the node",
            spool_bytes.clone(),
        );
        r.register(
            "spool_captures",
            "Captures on the node",
            spool_captures.clone(),
        );
        r.register(
            "spool_trouble",
            "Whether captures cannot be written",
            spool_trouble.clone(),
        );
        r.register(
            "captures_dropped",
            "Captures dropped from the node",
            captures_dropped.clone(),
        );
        r.register(
            "captures_lost",
            "Captures that are gone and in no object storage",
            captures_lost.clone(),
        );
        r.register("api_up", "Whether the API server answers", api_up.clone());
        r.register("cri_up", "Whether the CRI socket answers", cri_up.clone());
        r.register("captures", "Captures written", captures.clone());
        r.register(
            "capture_failures",
            "Captures that could not be written",
            capture_failures.clone(),
        );
        r.register_with_unit(
            "capture_duration",
            "From the trigger to the file",
            Unit::Seconds,
            capture_duration.clone(),
        );
        r.register("verdicts", "Verdicts on captures", verdicts.clone());
        r.register("uploads", "Uploads tried", uploads.clone());
        r.register(
            "file_requests",
            "Readers who asked for a file",
            file_requests.clone(),
        );
        let version = env!("CARGO_PKG_VERSION");
        r.register("build", "This program", Info::new(Version { version }));
    }

    /// Counts a capture and the time since its trigger; `succeeded` says whether it could be taken. `trigger` is the
    /// kind that the capture's header names.
    pub(crate) fn captured(&self, trigger: &str, took: Duration, succeeded: bool) {
        if !succeeded {
            return self.failed("capture");
        }
        let trigger = trigger.to_owned();
        self.captures.get_or_create(&TriggerKind { trigger }).inc();
        self.capture_duration.observe(took.as_secs_f64());
    }

    /// Counts a part of a capture that could not be done; `reason` is a word for the part.
    pub(crate) fn failed(&self, reason: &'static str) {
        self.capture_failures
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// Counts a verdict by the stable name of its cause.
    pub(crate) fn verdict(&self, cause: &str) {
        let cause = cause.to_owned();
        self.verdicts.get_or_create(&CauseName { cause }).inc();
    }

    /// Counts an attempt to upload.
    pub(crate) fn uploaded(&self, succeeded: bool) {
        let result = if succeeded { "succeeded" } else { "failed" };
        self.uploads.get_or_create(&Outcome { result }).inc();
    }

    /// Counts a reader who asked for a file; `result` is a word for what came of it.
    pub(crate) fn file(&self, result: &'static str) {
        self.file_requests.get_or_create(&Outcome { result }).inc();
    }

    /// All metrics as OpenMetrics text, with the present values of the gauges.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub(crate) fn encode(&self, status: &Status) -> Result<String, fmt::Error> {
        self.mirror(status);
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    fn mirror(&self, status: &Status) {
        let containers = &status.containers;
        for (named, count) in [(true, containers.named), (false, containers.unnamed)] {
            set(&self.containers.get_or_create(&Named { named }), count);
        }
        let memory = &status.memory;
        for (state, count) in [("used", memory.rings_used), ("free", memory.rings_free)] {
            set(&self.rings.get_or_create(&State { state }), count);
        }
        set(&self.kept_run_bytes, memory.kept_run_bytes);
        set(&self.memory_budget_bytes, memory.budget_bytes);
        raise(&self.lost, status.losses.lost);
        raise(&self.overwritten, status.losses.overwritten);
        for (probe, count) in &status.skipped {
            let probe = probe.clone();
            let counter = self.recursion_misses.get_or_create(&ProbeName { probe });
            raise(&counter, *count);
        }
        raise(&self.refused, status.refused);
        raise(&self.turned_away, status.turned_away);
        // Those that have ended are not listed any more.
        self.crowded.clear();
        for one in &status.crowded {
            let names = ContainerNames {
                namespace: one.namespace.clone(),
                pod: one.pod.clone(),
                container: one.container.clone(),
            };
            set(&self.crowded.get_or_create(&names), one.turned_away);
        }
        raise(&self.messages_lost, status.messages_lost);
        raise(&self.log_lines_lost, status.log_lines_lost);
        let packs = status.knowledge.as_ref();
        set(
            &self.knowledge_entries,
            packs.map_or(0, |packs| packs.entries),
        );
        // A directory that cannot be read counts as one fault.
        let left_out = packs.map_or(0, |packs| packs.left_out.max(packs.faults.len() as u64));
        set(&self.knowledge_left_out, left_out);
        set(&self.announce_pending, status.announce_pending);
        let pending = status.storage.as_ref().map_or(0, |storage| storage.pending);
        set(&self.upload_pending, pending);
        set(&self.spool_bytes, status.spool.bytes);
        set(&self.spool_captures, status.spool.captures);
        set(&self.spool_trouble, status.spool.error.is_some().into());
        raise(&self.captures_dropped, status.spool.dropped);
        raise(&self.captures_lost, status.spool.lost);
        set_up(&self.api_up, status.api_server.as_ref());
        set_up(&self.cri_up, status.cri.as_ref());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

/// Raises a counter to a total that is counted elsewhere. The counter never decreases.
fn raise(counter: &Counter, total: u64) {
    let inner: &AtomicU64 = counter.inner();
    inner.fetch_max(total, Ordering::Relaxed);
}

/// Whether it answers; no sample where the configuration turns it off.
fn set_up(family: &Family<Unlabelled, Gauge>, connection: Option<&Connection>) {
    match connection {
        Some(connection) => set(&family.get_or_create(&Vec::new()), connection.up.into()),
        None => family.clear(),
    }
}

/// The agent's own memory and processor time, read at each scrape.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(usage) = Usage::of_this_process() else {
            return Ok(());
        };
        let resident = ConstGauge::new(usage.resident_bytes);
        let bytes = encoder.encode_descriptor(
            "process_resident_memory",
            "The agent's resident memory",
            Some(&Unit::Bytes),
            resident.metric_type(),
        )?;
        resident.encode(bytes)?;
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let seconds = encoder.encode_descriptor(
            "process_cpu",
            "The agent's processor time",
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?;
        cpu.encode(seconds)
    }
}

#[derive(Debug, PartialEq)]
struct Usage {
    resident_bytes: i64,
    cpu_seconds: f64,
}

impl Usage {
    fn of_this_process() -> io::Result<Self> {
        use nix::unistd::{SysconfVar, sysconf};
        let constant = |variable| {
            sysconf(variable)?.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
        };
        let (tick, page) = (
            constant(SysconfVar::CLK_TCK)?,
            constant(SysconfVar::PAGE_SIZE)?,
        );
        let stat = fs::read_to_string("/proc/self/stat")?;
        Self::parse(&stat, tick, page).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads `/proc/PID/stat`: utime, stime and rss, fields 14, 15 and 24 of proc_pid_stat(5).
    fn parse(stat: &str, ticks_per_second: i64, page_size: i64) -> Option<Self> {
        // The command name, field 2, may contain spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
        Some(Self {
            resident_bytes: number(24)? * page_size,
            cpu_seconds: (number(14)? + number(15)?) as f64 / ticks_per_second as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::node::handle::Crowded;

    fn status() -> Status {
        let mut status = Status::default();
        status.containers.named = 30;
        status.memory.rings_used = 31;
        status.losses.overwritten = 7;
        status.turned_away = 12;
        status.crowded = vec![Crowded {
            namespace: "ci".to_owned(),
            pod: "runner-1".to_owned(),
            container: "dind".to_owned(),
            turned_away: 11,
        }];
        status.skipped = [("sys_exit", 0), ("sched_process_exit", 9)]
            .map(|(probe, count)| (probe.to_owned(), count))
            .into();
        status.api_server = Some(Connection {
            up: true,
            ..Connection::default()
        });
        status.cri = Some(Connection::default());
        status
    }

    fn everything() -> String {
        let metrics = Metrics::new();
        metrics.captured("restarts", Duration::from_millis(30), true);
        metrics.captured("oom", Duration::from_millis(30), false);
        metrics.verdict("dns_no_such_host");
        metrics.uploaded(true);
        metrics.file("served");
        metrics.encode(&status()).unwrap()
    }

    #[test]
    fn the_state_and_what_happened_are_told() {
        let text = everything();
        for line in [
            "lastword_containers{named=\"true\"} 30",
            "lastword_rings{state=\"used\"} 31",
            "lastword_events_overwritten_total 7",
            "lastword_cgroups_turned_away_total 12",
            "lastword_crowded_container_cgroups{namespace=\"ci\",pod=\"runner-1\",container=\"dind\"} 11",
            "lastword_recursion_misses_total{probe=\"sched_process_exit\"} 9",
            "lastword_recursion_misses_total{probe=\"sys_exit\"} 0",
            "lastword_api_up{} 1",
            "lastword_cri_up{} 0",
            "lastword_captures_total{trigger=\"restarts\"} 1",
            "lastword_capture_failures_total{reason=\"capture\"} 1",
            "lastword_capture_duration_seconds_bucket{le=\"0.05\"} 1",
            "lastword_verdicts_total{cause=\"dns_no_such_host\"} 1",
            "lastword_uploads_total{result=\"succeeded\"} 1",
            "lastword_file_requests_total{result=\"served\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
        assert!(text.contains("lastword_build_info{version="), "{text}");
    }

    #[test]
    fn what_the_configuration_turns_off_is_neither_up_nor_down() {
        let metrics = Metrics::new();
        assert!(
            metrics
                .encode(&status())
                .unwrap()
                .contains("\nlastword_cri_up{} 0")
        );
        let off = metrics.encode(&Status::default()).unwrap();
        for name in ["lastword_cri_up", "lastword_api_up"] {
            assert!(!off.contains(&format!("\n{name}{{")), "{off}");
        }
    }

    #[test]
    fn counters_never_go_back() {
        let metrics = Metrics::new();
        metrics.encode(&status()).unwrap();
        let text = metrics.encode(&Status::default()).unwrap();
        assert!(
            text.contains("lastword_events_overwritten_total 7"),
            "{text}"
        );
        assert!(
            text.contains("lastword_containers{named=\"true\"} 0"),
            "{text}"
        );
    }

    #[test]
    fn every_metric_is_documented_and_nothing_else() {
        let text = everything();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let exported: BTreeSet<_> = types
            .filter_map(|line| line.split_once(' '))
            .map(|(name, kind)| {
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                (format!("{name}{suffix}"), kind.to_owned())
            })
            .collect();
        let page = include_str!("../../docs/metrics.md");
        let documented: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| {
                let (name, rest) = line.split_once('`')?;
                let name = name.split('{').next()?;
                let kind = rest.trim_start_matches(" | ").split(' ').next()?;
                Some((name.to_owned(), kind.to_owned()))
            })
            .collect();
        assert_eq!(exported, documented);
    }

    #[test]
    fn memory_and_time_are_found_behind_any_command_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 99 1000000 12 18446744073709551615";
        let usage = Usage::parse(stat, 100, 4096).unwrap();
        let expected = Usage {
            resident_bytes: 12 * 4096,
            cpu_seconds: 3.0,
        };
        assert_eq!(usage, expected);
        assert_eq!(Usage::parse("7 (a", 100, 4096), None);
        assert!(Usage::of_this_process().unwrap().resident_bytes > 0);
    }
}
