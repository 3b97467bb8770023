//! Pods of which nothing ever runs: `kubectl lastword explain` says what Kubernetes reports.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::{Cluster, wait},
};

pub(crate) const CASES: &[(&str, Case)] = &[(
    "why a pod was never started is said as Kubernetes reports it",
    never_started,
)];

const SPACE: &str = "lastword-e2e-never-started";
const IMAGE: &str = "localhost/lastword-scenarios:1";

/// Name of a pod, its spec, and what is said about it.
fn pods() -> [(&'static str, Value, &'static str); 6] {
    let container = |image: &str, more: Value| {
        let mut container = json!({ "name": "main", "image": image, "command": ["sleep", "1000"] });
        if let (Some(all), Some(more)) = (container.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        json!({ "terminationGracePeriodSeconds": 1, "containers": [container] })
    };
    let of_secret = json!({ "env": [{
        "name": "PASSWORD",
        "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } },
    }] });
    let mut unmounted = container(
        IMAGE,
        json!({ "volumeMounts": [{ "name": "conf", "mountPath": "/conf" }] }),
    );
    unmounted["volumes"] = json!([{ "name": "conf", "configMap": { "name": "web-conf" } }]);
    let mut nowhere = container(IMAGE, json!({}));
    nowhere["nodeSelector"] = json!({ "lastword.dev/none": "such" });
    [
        (
            "no-secret",
            container(IMAGE, of_secret),
            "main of pod no-secret was never started: the Secret \"db\" does not exist",
        ),
        (
            "no-image",
            container(
                "localhost/nobody/made-this:1",
                json!({ "imagePullPolicy": "Never" }),
            ),
            "is not on the node, and imagePullPolicy is Never",
        ),
        (
            "no-registry",
            container("registry.invalid/web:1", json!({})),
            "the image \"registry.invalid/web:1\" cannot be pulled: ",
        ),
        (
            "bad-image",
            container("Web:1", json!({})),
            "\"Web:1\" is no valid name of an image",
        ),
        (
            "no-volume",
            unmounted,
            "the volume \"conf\" cannot be mounted: configmap \"web-conf\" not found",
        ),
        (
            "no-node",
            nowhere,
            "no-node was never started: no node takes it: 0/1 nodes are available",
        ),
    ]
}

fn never_started(cluster: &Cluster) -> Result<String> {
    cluster.fresh_namespace(SPACE)?;
    for (name, spec, _) in pods() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec,
        });
        cluster.apply(SPACE, &pod.to_string())?;
    }
    let mut said = Vec::new();
    for (name, _, expected) in pods() {
        let explained = wait(&format!("the reason of {name}"), || {
            let explained = cluster.plugin(&["explain", name, "-n", SPACE]);
            Ok(match explained {
                Ok(explained) if explained.contains(expected) => Ok(explained),
                Ok(other) => Err(other),
                Err(error) => Err(format!("{error:#}")),
            })
        })?;
        ensure!(
            explained.contains("Kubernetes; nothing was recorded"),
            "it does not say where it is from: {explained}"
        );
        said.extend(explained.lines().next().map(str::to_owned));
    }
    Ok(said.join("; "))
}
