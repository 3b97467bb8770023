//! Installs lastword in the cluster from `deploy/`, as it is or with a change.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cluster::{Cluster, text, wait};

/// The namespace that `deploy/` installs into.
pub(crate) const NAMESPACE: &str = "lastword";
/// Prefix of the namespaces whose containers are captured; other namespaces are left alone.
pub(crate) const SPACES: &str = "lastword-e2e-";
/// Marks an installation made by these tests. No other installation is touched.
const MARK: &str = "lastword.dev/end-to-end-test";

/// `deploy/`, rendered but not yet applied.
pub(crate) struct Install {
    documents: Vec<Value>,
}

impl Install {
    /// The documents that `kubectl apply -k deploy` would apply, and those of `deploy/components/admission` if the
    /// cluster can have them.
    ///
    /// # Errors
    /// If kubectl cannot render them, or somebody else has installed lastword here.
    pub(crate) fn standard(cluster: &Cluster) -> Result<Install> {
        refuse_others(cluster)?;
        let mut documents = rendered(cluster, "../deploy")?;
        if knows_policies(cluster)? {
            documents.extend(rendered(cluster, "../deploy/components/admission")?);
        }
        let mut install = Install { documents };
        install.document("Namespace", NAMESPACE)?["metadata"]["labels"][MARK] = json!("true");
        if let Some(image) = &cluster.image {
            install.container()?["image"] = json!(image);
        }
        install.set(
            "selectors",
            "namespaces",
            json!({ "include": [format!("{SPACES}*")] }),
        )?;
        Ok(install)
    }

    /// Sets a key in a section of the agent's configuration.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: Value) -> Result<()> {
        let document = self.document("ConfigMap", "lastword-agent")?;
        let mut configuration: Value = serde_saphyr::from_str(text(document, "/data/agent.yaml"))?;
        configuration[section][key] = value;
        self.configure(&configuration.to_string())
    }

    /// A document that can be changed.
    pub(crate) fn document(&mut self, kind: &str, name: &str) -> Result<&mut Value> {
        let mut documents = self.documents.iter_mut();
        documents
            .find(|document| {
                text(document, "/kind") == kind
                    && text(document, "/metadata/name").starts_with(name)
            })
            .with_context(|| format!("deploy/ has no {kind} {name}"))
    }

    /// Leaves a document out.
    pub(crate) fn without(&mut self, kind: &str) {
        self.documents
            .retain(|document| text(document, "/kind") != kind);
    }

    /// The agent's pod, which can be changed.
    pub(crate) fn pod(&mut self) -> Result<&mut Value> {
        Ok(&mut self.document("DaemonSet", "lastword-agent")?["spec"]["template"]["spec"])
    }

    /// The agent's container, which can be changed.
    pub(crate) fn container(&mut self) -> Result<&mut Value> {
        Ok(&mut self.pod()?["containers"][0])
    }

    /// Adds an element to a list of the agent's container: `env`, `volumeMounts`.
    pub(crate) fn push(&mut self, list: &str, element: Value) -> Result<()> {
        let list = self.container()?[list].as_array_mut();
        list.context("the container has no such list")?
            .push(element);
        Ok(())
    }

    /// Adds a volume to the agent's pod, mounted at a path.
    pub(crate) fn mount(&mut self, mut volume: Value, name: &str, path: &str) -> Result<()> {
        volume["name"] = json!(name);
        let volumes = self.pod()?["volumes"].as_array_mut();
        volumes.context("the pod has no volumes")?.push(volume);
        self.push("volumeMounts", json!({ "name": name, "mountPath": path }))
    }

    /// Replaces the agent's configuration.
    pub(crate) fn configure(&mut self, yaml: &str) -> Result<()> {
        self.document("ConfigMap", "lastword-agent")?["data"]["agent.yaml"] = json!(yaml);
        // The map's name is unchanged, so something else must make the agent's pod differ from the earlier one.
        let template = &mut self.document("DaemonSet", "lastword-agent")?["spec"]["template"];
        template["metadata"]["annotations"]["checksum/config"] = json!(yaml);
        Ok(())
    }

    /// Applies the documents without waiting for anything.
    pub(crate) fn apply(&self, cluster: &Cluster) -> Result<()> {
        // A list is applied in its order. The namespace and the resource definition come first.
        let (first, then): (Vec<&Value>, Vec<&Value>) =
            self.documents.iter().partition(|document| {
                ["Namespace", "CustomResourceDefinition"].contains(&text(document, "/kind"))
            });
        for documents in [first, then] {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": documents });
            cluster.apply(NAMESPACE, &list.to_string())?;
        }
        Ok(())
    }

    /// Validates the documents as `kubectl apply` does, without changing anything. Returns a line for each document.
    ///
    /// # Errors
    /// A document has a field that the API server does not know.
    pub(crate) fn validate(&self, cluster: &Cluster) -> Result<String> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": self.documents });
        cluster.validate(&list.to_string())
    }

    /// Deletes all documents, including the resource definition and with it all Captures.
    pub(crate) fn remove(&self, cluster: &Cluster) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": self.documents });
        cluster.delete(&list.to_string())
    }

    /// Applies the documents, and waits until every agent is ready.
    pub(crate) fn complete(&self, cluster: &Cluster) -> Result<()> {
        self.apply(cluster)?;
        ready(cluster)
    }
}

/// What kustomize makes of a folder.
fn rendered(cluster: &Cluster, folder: &str) -> Result<Vec<Value>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let folder = folder
        .to_str()
        .context("the path of deploy/ is not UTF-8")?;
    let documents = cluster.run(&["kustomize", folder])?;
    serde_saphyr::from_multiple(&documents).context("deploy/ renders to no YAML")
}

/// Whether the cluster has admission policies (Kubernetes 1.30).
pub(crate) fn knows_policies(cluster: &Cluster) -> Result<bool> {
    let resources = cluster.run(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"])?;
    Ok(resources.contains("\"validatingadmissionpolicies\""))
}

/// Replaces the agents by new ones, without waiting for them.
pub(crate) fn restart(cluster: &Cluster) -> Result<String> {
    cluster.run(&[
        "rollout",
        "restart",
        "daemonset/lastword-agent",
        "-n",
        NAMESPACE,
    ])
}

/// Waits until every node has a ready agent of the newest template.
pub(crate) fn ready(cluster: &Cluster) -> Result<()> {
    cluster
        .run(&[
            "rollout",
            "status",
            "daemonset/lastword-agent",
            "-n",
            NAMESPACE,
            "--timeout=600s",
        ])
        .map(drop)
        .with_context(|| format!("the agent does not get ready; it says:\n{}", log(cluster)))
}

/// The last log lines of the agents, and of the ones before the last restart.
pub(crate) fn log(cluster: &Cluster) -> String {
    let last = |more: &[&str]| {
        let arguments = [&["--tail=30"], more].concat();
        logs(cluster, &arguments).unwrap_or_default()
    };
    last(&[]) + &last(&["--previous"])
}

/// `kubectl logs` of all agents.
pub(crate) fn logs(cluster: &Cluster, options: &[&str]) -> Result<String> {
    let selected = [
        "logs",
        "-n",
        NAMESPACE,
        "-l",
        "app.kubernetes.io/name=lastword",
    ];
    cluster.run(&[&selected, options].concat())
}

/// Runs something in an agent's container.
pub(crate) fn exec(cluster: &Cluster, command: &[&str]) -> Result<String> {
    let arguments = [
        "exec",
        "-n",
        NAMESPACE,
        "daemonset/lastword-agent",
        "-c",
        "agent",
        "--",
    ];
    cluster.run(&[&arguments, command].concat())
}

/// Why rings and programs do not outlive the agent, as it says itself; none if they do.
pub(crate) fn not_pinned(cluster: &Cluster) -> Result<Option<String>> {
    let status = exec(cluster, &["lastword", "status"])?;
    let line = status
        .lines()
        .find(|line| line.contains("rings are not pinned"));
    Ok(line.map(|line| line.trim().to_owned()))
}

/// The agents' pods, except those that are being deleted.
pub(crate) fn pods(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut pods = cluster.list(&[
        "pods",
        "-n",
        NAMESPACE,
        "-l",
        "app.kubernetes.io/name=lastword",
    ])?;
    pods.retain(|pod| text(pod, "/metadata/deletionTimestamp").is_empty());
    Ok(pods)
}

/// Waits until the agent's log contains these words.
pub(crate) fn says(cluster: &Cluster, words: &[&str]) -> Result<()> {
    let what = format!("word of the agent on {}", words.join(", "));
    wait(&what, || {
        let log = log(cluster);
        Ok(if words.iter().all(|word| log.contains(word)) {
            Ok(())
        } else {
            Err(log)
        })
    })
}

/// Removes what these tests installed.
pub(crate) fn remove_all() {
    let Ok(cluster) = Cluster::get() else { return };
    let removed = Install::standard(cluster).and_then(|install| {
        let namespaces = cluster.list(&["namespaces", "-l", MARK])?;
        if namespaces.is_empty() {
            return Ok(());
        }
        install.remove(cluster)
    });
    if let Err(error) = removed {
        eprintln!("cannot remove the installation: {error:#}");
    }
}

fn refuse_others(cluster: &Cluster) -> Result<()> {
    let found = cluster.run(&[
        "get",
        "namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--show-labels",
    ])?;
    if !found.is_empty() && !found.contains(MARK) {
        bail!(
            "this cluster has a namespace {NAMESPACE} that these tests did not make; remove it, or label it {MARK}=true if it may be replaced"
        );
    }
    Ok(())
}
