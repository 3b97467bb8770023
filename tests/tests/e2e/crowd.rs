//! Many pods with one fault: few Captures stand for them, and the others are counted.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::Install,
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "three Captures stand for the pods of a Deployment that crash alike",
        alike,
    ),
    (
        "three Captures stand for a Job whose pods fail again and again",
        job,
    ),
    (
        "three Captures stand for a CronJob whose Jobs fail again and again",
        cron_job,
    ),
];

const SPACE: &str = "lastword-e2e-crowd";
/// Small, because the cluster of the tests is: what matters is that it is more than three, and made twice.
const PODS: usize = 6;
/// Captures of one fault.
const SLOTS: usize = 3;
/// In the verdict of each.
const FAULT: &str = "/etc/app/settings.conf";

fn alike(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, &deployment(PODS).to_string())?;
    let first = counted(cluster, PODS - SLOTS)?;

    // Each pod has its Event, and a pod that is only counted has its own file.
    for pod in pods(cluster)? {
        let events = watch.of(&pod);
        ensure!(
            events.iter().any(|event| event.message.contains(FAULT)),
            "pod {pod} has no Event: {events:?}"
        );
    }
    let named = first["status"]["similarPods"].as_array();
    let similar = named
        .and_then(|named| named.first())
        .context("none named")?;
    let similar = text(similar, "/podName").to_owned();
    let explained = cluster.plugin(&["explain", &similar, "-n", SPACE])?;
    ensure!(explained.contains(FAULT), "{similar}: {explained}");
    let file = std::env::temp_dir().join(format!("{similar}.lwcap"));
    let path = file.to_string_lossy();
    cluster.plugin(&["get", &similar, "-n", SPACE, "-o", &path])?;
    let info = std::process::Command::new(&cluster.binary)
        .args(["info", &path])
        .output()?;
    std::fs::remove_file(&file)?;
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    ensure!(
        info.contains(&similar),
        "the file is of another pod: {info}"
    );
    let of_owner = watch.of("web");
    ensure!(
        of_owner.iter().any(|event| event.message.contains(FAULT)),
        "the Deployment has no Event: {of_owner:?}"
    );

    // As many pods again change nothing but the number.
    cluster.run(&["scale", "deployment", "web", "-n", SPACE, "--replicas=0"])?;
    wait("end of the first pods", || {
        let left = pods(cluster)?;
        Ok(if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        })
    })?;
    let replicas = format!("--replicas={PODS}");
    cluster.run(&["scale", "deployment", "web", "-n", SPACE, &replicas])?;
    counted(cluster, 2 * PODS - SLOTS)?;
    Ok(format!(
        "{} pods, {SLOTS} Captures, of which one counts the others",
        2 * PODS
    ))
}

/// Waits until so many pods are counted. There are never more Captures than slots. Returns the Capture that counts.
fn counted(cluster: &Cluster, expected: usize) -> Result<Value> {
    let mut most = 0;
    let first = wait(&format!("{expected} counted pods"), || {
        let captures = cluster.list(&["captures", "-n", SPACE])?;
        most = most.max(captures.len());
        let similar = |capture: &Value| capture["status"]["similar"].as_u64().unwrap_or(0);
        let counts: Vec<u64> = captures.iter().map(similar).collect();
        let first = captures.into_iter().find(|capture| similar(capture) > 0);
        let is_it = counts.iter().sum::<u64>() == expected as u64;
        Ok(first.filter(|_| is_it).ok_or_else(|| format!("{counts:?}")))
    })?;
    ensure!(most == SLOTS, "{most} Captures");
    Ok(first)
}

fn pods(cluster: &Cluster) -> Result<Vec<String>> {
    let pods = cluster.list(&["pods", "-n", SPACE])?;
    Ok(pods
        .iter()
        .map(|pod| text(pod, "/metadata/name").to_owned())
        .collect())
}

/// How often a Job's pod is made anew.
const RETRIES: u64 = 3;
/// Jobs of the CronJob that are made by hand, as if it had been due in these minutes before.
const MISSED: i64 = 3;

fn failing_job() -> Value {
    json!({
        "backoffLimit": RETRIES,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [failing()],
            },
        },
    })
}

fn job(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "import" },
        "spec": failing_job(),
    });
    cluster.apply(SPACE, &job.to_string())?;
    storm(cluster, &watch, 1, "import")
}

fn cron_job(cluster: &Cluster) -> Result<String> {
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    let watch = Watch::start(cluster, SPACE)?;
    let batch = cluster.run(&["get", "--raw", "/apis/batch/v1"])?;
    let version = match batch.contains("\"cronjobs\"") {
        true => "batch/v1",
        false => "batch/v1beta1",
    };
    let cron_job = json!({
        "apiVersion": version, "kind": "CronJob", "metadata": { "name": "report" },
        "spec": {
            "schedule": "* * * * *",
            "failedJobsHistoryLimit": 100,
            "jobTemplate": { "spec": failing_job() },
        },
    });
    cluster.apply(SPACE, &cron_job.to_string())?;
    let first = wait("Job of the CronJob", || {
        let jobs = cluster.list(&["jobs", "-n", SPACE])?;
        let name = jobs.first().map(|job| text(job, "/metadata/name"));
        Ok(name.map(str::to_owned).ok_or("none".to_owned()))
    })?;
    let suspended = r#"{"spec":{"suspend":true}}"#;
    cluster.run(&["patch", "cronjob", "report", "-n", SPACE, "-p", suspended])?;
    // The name has the minute for which the Job was scheduled, or the second before Kubernetes 1.21.
    let (name, scheduled) = first.rsplit_once('-').context("a Job without a time")?;
    let minute = if scheduled.len() == 8 { 1 } else { 60 };
    let scheduled: i64 = scheduled.parse().context("a Job without a time")?;
    for before in 1..=MISSED {
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": format!("{name}-{}", scheduled - before * minute) },
            "spec": failing_job(),
        });
        cluster.apply(SPACE, &job.to_string())?;
    }
    storm(cluster, &watch, 1 + MISSED as usize, "report")
}

/// Waits until at least so many Jobs have failed for good, and until all of their pods are counted.
fn storm(cluster: &Cluster, watch: &Watch, jobs: usize, owner: &str) -> Result<String> {
    let jobs = wait("Jobs that failed", || {
        let all = cluster.list(&["jobs", "-n", SPACE])?;
        let failed = all.iter().filter(|job| {
            let conditions = job["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| text(it, "/type") == "Failed" && text(it, "/status") == "True")
        });
        let failed = failed.count();
        Ok(if failed == all.len() && failed >= jobs {
            Ok(failed)
        } else {
            Err(format!("{failed} of {}", all.len()))
        })
    })?;
    let pods = pods(cluster)?.len();
    ensure!(
        pods > SLOTS,
        "only {pods} pods failed, so this tries nothing"
    );
    counted(cluster, pods - SLOTS)?;
    let of_owner = watch.of(owner);
    ensure!(
        of_owner.iter().any(|event| event.message.contains(FAULT)),
        "{owner} has no Event: {of_owner:?}"
    );
    Ok(format!(
        "{jobs} Jobs, {pods} pods, {SLOTS} Captures, of which one counts the others"
    ))
}

/// A container that fails.
fn failing() -> Value {
    json!({
        "name": "main", "image": "localhost/lastword-scenarios:1",
        "command": ["sh", "-c", format!("cat {FAULT} || exit 3")],
    })
}

fn deployment(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [failing()],
                },
            },
        },
    })
}
