//! The containers of `tests/scenarios`: what the Event on the pod says, how soon, and whether the capture outlives the
//! pod.

use std::sync::{Mutex, OnceLock};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Boxed,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::{self, Install},
};

/// A file of `tests/scenarios`, and what must be said about its pod, which has the same name.
pub(crate) struct Scenario {
    /// The pod's name.
    pub(crate) name: &'static str,
    /// The file.
    pub(crate) file: &'static str,
    /// Stable name of the cause.
    cause: &'static str,
    /// Words that the verdict must contain.
    words: &'static [&'static str],
}

macro_rules! scenario {
    ($name:literal, $cause:literal, $words:expr) => {
        Scenario {
            name: $name,
            file: include_str!(concat!("../../scenarios/", $name, ".yaml")),
            cause: $cause,
            words: &$words,
        }
    };
}

/// The scenarios that crash.
pub(crate) const CRASHING: [Scenario; 7] = [
    scenario!(
        "nginx-missing-upstream",
        "dns_no_such_host",
        [
            "nginx exited 1",
            "\"flask\"",
            "NXDOMAIN",
            "host not found in upstream"
        ]
    ),
    scenario!(
        "bad-command",
        "command_not_found",
        ["/usr/local/bin/srever"]
    ),
    scenario!(
        "missing-config",
        "missing_file",
        ["exited 1", "/etc/app/settings.conf", "does not exist"]
    ),
    scenario!(
        "dependency-refused",
        "connection_refused",
        ["exited 3", ":5432", "refused"]
    ),
    scenario!("oom", "oom_killed", ["OOM killer", "64 MiB"]),
    scenario!(
        "readonly-volume",
        "read_only_file_system",
        ["/data/state", "ead-only file system"]
    ),
    scenario!(
        "liveness-kill",
        "liveness_probe_failed",
        ["liveness probe failed", "/run/app/healthy"]
    ),
];

/// The scenario whose container ends soonest.
pub(crate) fn quick() -> Result<&'static Scenario> {
    named("readonly-volume")
}

/// The scenario with this name.
pub(crate) fn named(name: &str) -> Result<&'static Scenario> {
    let found = CRASHING.iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("there is no scenario {name}"))
}

/// The scenario that does not crash.
pub(crate) const HEALTHY: Scenario = scenario!("healthy", "", []);

/// Every scenario, in each of several rounds.
pub(crate) fn cases(rounds: usize) -> Vec<(String, Boxed)> {
    let mut cases: Vec<(String, Boxed)> = Vec::new();
    for round in 1..=rounds {
        for (index, scenario) in CRASHING.iter().enumerate() {
            let case = move |cluster: &Cluster| crashes(cluster, round, index, scenario);
            cases.push((format!("{} round {round}", scenario.name), Box::new(case)));
        }
        let case = move |cluster: &Cluster| healthy(cluster, round);
        cases.push((format!("healthy round {round}"), Box::new(case)));
    }
    cases
}

/// A round: all containers in one namespace, which is watched from before they start.
struct Round {
    number: usize,
    namespace: String,
    watch: Watch,
    /// How many crashing scenarios were started, in their order.
    started: usize,
}

/// Starts a round unless it is the present one. Starts the crashing scenarios up to an index, including those that run
/// at the same time. Then calls `act`.
fn in_round<T>(
    cluster: &Cluster,
    number: usize,
    index: usize,
    act: impl FnOnce(&Round) -> Result<T>,
) -> Result<T> {
    static ROUND: OnceLock<Mutex<Option<Round>>> = OnceLock::new();
    let round = ROUND.get_or_init(Mutex::default).lock();
    let mut round = round.map_err(|_| anyhow::anyhow!("a former case panicked"))?;
    if round.as_ref().is_none_or(|round| round.number != number) {
        if let Some(former) = round.take() {
            cluster.delete_namespace(&former.namespace)?;
        }
        let namespace = format!("lastword-e2e-{number}");
        Install::standard(cluster)?.complete(cluster)?;
        cluster.fresh_namespace(&namespace)?;
        let watch = Watch::start(cluster, &namespace)?;
        cluster.apply(&namespace, HEALTHY.file)?;
        *round = Some(Round {
            number,
            namespace,
            watch,
            started: 0,
        });
    }
    let round = round.as_mut().context("no round")?;
    let at_once = crate::number("LASTWORD_E2E_AT_ONCE", CRASHING.len()).max(1);
    for scenario in CRASHING.iter().take(index + at_once).skip(round.started) {
        cluster.apply(&round.namespace, scenario.file)?;
        round.started += 1;
    }
    act(round)
}

fn crashes(cluster: &Cluster, round: usize, index: usize, scenario: &Scenario) -> Result<String> {
    in_round(cluster, round, index, |round| {
        let name = scenario.name;
        let event = wait(&format!("Event on {name}"), || {
            let events = round.watch.of(name);
            Ok(events
                .first()
                .cloned()
                .ok_or_else(|| status(cluster, &round.namespace, name)))
        })?;
        scenario.check(&event.message)?;
        // A crash loop: the capture at the back-off has more runs, and replaces the first one.
        let capture = complete(cluster, &round.namespace, name, 3)?;
        for event in round.watch.of(name) {
            scenario.check(&event.message)?;
        }
        let cause = text(&capture, "/status/cause");
        ensure!(
            cause == scenario.cause,
            "the cause of {name} is {cause:?}, expected {:?}",
            scenario.cause
        );
        scenario.check(text(&capture, "/status/verdict"))?;
        let explained = outlives(cluster, &round.namespace, name)?;
        scenario.check(&explained)?;
        let latency = latency(cluster, &round.namespace, name)?;
        Ok(format!("{latency} ms | {}", event.message))
    })
}

/// Milliseconds from the end of a pod's first captured run until the API server has the Event, by the clock of the
/// node.
fn latency(cluster: &Cluster, namespace: &str, pod: &str) -> Result<u64> {
    let said = install::logs(cluster, &["--tail=-1"])?;
    let (namespace, pod) = (
        format!("namespace=\"{namespace}\""),
        format!("pod=\"{pod}\""),
    );
    let told = said.lines().find_map(|line| {
        let (_, since) = line.split_once("since_end_ms=")?;
        (line.contains(&namespace) && line.contains(&pod)).then_some(since)
    });
    let told = told.with_context(|| format!("no agent logged an Event on {pod}:\n{said}"))?;
    let digits = told.split(|other: char| !other.is_ascii_digit()).next();
    digits.unwrap_or_default().parse().context(told.to_owned())
}

/// Deletes the pod, and fetches its capture afterwards.
fn outlives(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    cluster.run(&[
        "delete",
        "pod",
        name,
        "-n",
        namespace,
        "--grace-period=1",
        "--timeout=600s",
    ])?;
    cluster
        .plugin(&["explain", name, "-n", namespace])
        .with_context(|| format!("the capture of {name} cannot be read once its pod is gone"))
}

/// The Capture of a pod when it is Complete and has at least this many runs.
pub(crate) fn complete(cluster: &Cluster, namespace: &str, pod: &str, runs: u64) -> Result<Value> {
    wait(
        &format!("Complete Capture of {pod} with {runs} runs"),
        || {
            let captures = of_pod(cluster, namespace, pod)?;
            let mut good = captures.iter().filter(|capture| {
                text(capture, "/status/phase") == "Complete"
                    && capture["status"]["runs"].as_u64() >= Some(runs)
            });
            Ok(good.next().cloned().ok_or_else(|| {
                let seen: Vec<String> = captures
                    .iter()
                    .map(|capture| capture["status"].to_string())
                    .collect();
                format!("{seen:?}")
            }))
        },
    )
}

/// The Captures of a pod.
pub(crate) fn of_pod(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Vec<Value>> {
    let mut captures = cluster.list(&["captures", "-n", namespace])?;
    captures.retain(|capture| text(capture, "/spec/podName") == pod);
    Ok(captures)
}

/// The state of the first container, for a message.
fn status(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    cluster.json(&["pod", pod, "-n", namespace]).map_or_else(
        |error| format!("{error:#}"),
        |pod| pod["status"]["containerStatuses"][0].to_string(),
    )
}

impl Scenario {
    /// Checks that a verdict or an explanation says what is true of this scenario.
    pub(crate) fn check(&self, said: &str) -> Result<()> {
        if let Some(missing) = self.words.iter().find(|word| !said.contains(**word)) {
            bail!(
                "what is said of {} does not hold {missing:?}: {said}",
                self.name
            );
        }
        Ok(())
    }
}

fn healthy(cluster: &Cluster, round: usize) -> Result<String> {
    in_round(cluster, round, CRASHING.len(), |round| {
        let pod = cluster.json(&["pod", HEALTHY.name, "-n", &round.namespace])?;
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        ensure!(
            *restarts == 0,
            "the healthy container restarted: {restarts}"
        );
        let events = round.watch.of(HEALTHY.name);
        ensure!(
            events.is_empty(),
            "the healthy container got a verdict: {events:?}"
        );
        let captures = of_pod(cluster, &round.namespace, HEALTHY.name)?;
        ensure!(
            captures.is_empty(),
            "the healthy container was captured: {captures:?}"
        );
        Ok("no Event, no Capture".to_owned())
    })
}
