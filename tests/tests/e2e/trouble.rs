//! Whatever is missing or wrong is reported, together with what to do about it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::Cluster,
    install::{self, Install, says},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "an unknown key of the configuration is refused with a suggestion",
        unknown_key,
    ),
    (
        "an unknown trigger is refused with a suggestion",
        unknown_trigger,
    ),
    (
        "every field of what is installed is known to the API server",
        known_fields,
    ),
    ("a missing permission is named", forbidden),
    ("a missing resource definition is named", no_definition),
];

fn unknown_key(cluster: &Cluster) -> Result<String> {
    refused(
        cluster,
        "recorder:\n  memroy: 64MiB\n",
        &["memroy", "memory"],
    )
}

fn unknown_trigger(cluster: &Cluster) -> Result<String> {
    refused(
        cluster,
        "triggers:\n  frist_crash: true\n",
        &["frist_crash", "first_crash"],
    )
}

fn known_fields(cluster: &Cluster) -> Result<String> {
    let install = Install::standard(cluster)?;
    install.complete(cluster)?;
    let said = install.validate(cluster)?;
    Ok(format!("{} objects", said.lines().count()))
}

fn refused(cluster: &Cluster, configuration: &str, words: &[&str]) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    install.configure(configuration)?;
    install.apply(cluster)?;
    says(cluster, words)?;
    let said = said(cluster, words[0]);
    Install::standard(cluster)?.complete(cluster)?;
    Ok(said)
}

/// The line of the log that contains a word.
fn said(cluster: &Cluster, word: &str) -> String {
    let log = install::log(cluster);
    let line = log.lines().find(|line| line.contains(word));
    line.unwrap_or_default().trim().to_owned()
}

fn forbidden(cluster: &Cluster) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    let rules = install.document("ClusterRole", "lastword-agent")?["rules"].as_array_mut();
    let rules = rules.context("the role has no rules")?;
    rules.retain(|rule| rule["resources"] != json!(["captures"]));
    install.apply(cluster)?;
    restart(cluster)?;
    let words = ["captures", "lastword.dev", "ClusterRole"];
    says(cluster, &words)?;
    let said = said(cluster, "ClusterRole");
    Install::standard(cluster)?.complete(cluster)?;
    Ok(said)
}

fn no_definition(cluster: &Cluster) -> Result<String> {
    let mut install = Install::standard(cluster)?;
    install.without("CustomResourceDefinition");
    cluster.run(&[
        "delete",
        "crd",
        "captures.lastword.dev",
        "capturereads.lastword.dev",
        "--ignore-not-found",
        "--timeout=600s",
    ])?;
    install.apply(cluster)?;
    restart(cluster)?;
    says(cluster, &["deploy/crds"])?;
    let said = said(cluster, "deploy/crds");
    Install::standard(cluster)?.complete(cluster)?;
    Ok(said)
}

/// Restarts the agents, so that their log is about the present state.
fn restart(cluster: &Cluster) -> Result<()> {
    let pods: Vec<Value> = install::pods(cluster)?;
    for pod in pods {
        let name = pod["metadata"]["name"]
            .as_str()
            .context("a pod without a name")?;
        cluster.remove(install::NAMESPACE, "pod", name)?;
    }
    Ok(())
}
