//! Captures in object storage: they can be read when the node's own files are gone.
//!
//! Here the storage is a folder on the node; the tests of the crate `spool` use a real S3 server.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    Case,
    cluster::{Cluster, text, wait},
    install::Install,
    scenarios::{CRASHING, complete, of_pod},
    upheaval::HELPER,
};

pub(crate) const CASES: &[(&str, Case)] =
    &[("an uploaded capture outlives pod and node", outlives)];

const SPACE: &str = "lastword-e2e-storage";

fn outlives(cluster: &Cluster) -> Result<String> {
    let scenario = &CRASHING[0];
    let mut install = Install::standard(cluster)?;
    install.set("storage", "url", json!("file:///store/captures"))?;
    let folder = json!({ "hostPath": { "path": "/var/tmp/lastword-e2e-store", "type": "DirectoryOrCreate" } });
    install.mount(folder, "store", "/store")?;
    install.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, HELPER)?;
    cluster.pods_ready(SPACE, &["pod/helper"])?;
    cluster.apply(SPACE, scenario.file)?;
    complete(cluster, SPACE, scenario.name, 3)?;
    let url = wait("uploaded capture", || {
        let captures = of_pod(cluster, SPACE, scenario.name)?;
        let status = captures.first().map(|capture| &capture["status"]);
        let status = status.context("no Capture")?;
        let url = text(status, "/location/objectUrl").to_owned();
        Ok(if url.is_empty() {
            Err(status.to_string())
        } else {
            Ok(url)
        })
    })?;
    cluster.run(&[
        "delete",
        "pod",
        scenario.name,
        "-n",
        SPACE,
        "--ignore-not-found",
        "--grace-period=1",
        "--timeout=600s",
    ])?;
    cluster.run(&[
        "exec",
        "-n",
        SPACE,
        "helper",
        "--",
        "sh",
        "-c",
        "rm -rf /spool/*",
    ])?;
    let explained = cluster.plugin(&["explain", scenario.name, "-n", SPACE])?;
    scenario.check(&explained)?;
    ensure!(
        url.starts_with("file:///store/captures/"),
        "uploaded to {url}"
    );
    Install::standard(cluster)?.complete(cluster)?;
    Ok(url)
}
