//! The agent without each of its capabilities: every one is needed, and the table in docs/install.md says for what.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    Case,
    cluster::Cluster,
    install::{self, Install},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("without BPF the agent says so", |cluster| {
        needed(cluster, "BPF")
    }),
    ("without PERFMON the agent says so", |cluster| {
        needed(cluster, "PERFMON")
    }),
];

/// Drops a capability without which there is no recording.
fn needed(cluster: &Cluster, capability: &str) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    drop_capability(&mut install, capability)?;
    install.apply(cluster)?;
    let named = format!("CAP_{capability}");
    install::says(cluster, &[&named])?;
    let log = install::log(cluster);
    let said = log
        .lines()
        .find(|line| line.contains(&named))
        .unwrap_or_default()
        .to_owned();
    Install::standard(cluster)?.complete(cluster)?;
    Ok(said)
}

fn drop_capability(install: &mut Install, capability: &str) -> Result<()> {
    let added = &mut install.container()?["securityContext"]["capabilities"]["add"];
    let had = added.as_array().map_or(0, Vec::len);
    if let Some(added) = added.as_array_mut() {
        added.retain(|name| *name != json!(capability));
        ensure!(added.len() + 1 == had, "deploy/ does not add {capability}");
    }
    Ok(())
}
