//! The Helm chart makes the same objects as the kustomize base. `cargo xtask test` runs the tests that need Helm 3
//! (`$HELM`, or `helm` in PATH).

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use crate::base::{base, read};

/// The documents that the chart makes.
fn rendered(options: &[&str]) -> Vec<Value> {
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/lastword");
    let helm = env::var_os("HELM").unwrap_or_else(|| "helm".into());
    let output = Command::new(helm)
        .args(["template", "lastword"])
        .arg(chart)
        .args(["--include-crds", "--namespace", "lastword"])
        .args(options)
        .output()
        .expect("helm in PATH, or its path in HELM");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

/// Documents by kind and name, without intended differences: how agents are restarted when the configuration changes,
/// and comments in the configuration.
fn comparable(documents: Vec<Value>) -> BTreeMap<String, Value> {
    let mut comparable = BTreeMap::new();
    for mut document in documents {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        let name = document["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        match kind.as_str() {
            // `helm install --create-namespace` makes the namespace.
            "Namespace" => continue,
            "ConfigMap" => {
                let configuration = document["data"]["agent.yaml"].as_str().expect("agent.yaml");
                let configuration: Value = serde_saphyr::from_str(configuration).unwrap();
                document["data"]["agent.yaml"] = configuration;
                if let Some(metadata) = document["metadata"].as_object_mut() {
                    metadata.remove("labels");
                }
            }
            "DaemonSet" => {
                let metadata = &mut document["spec"]["template"]["metadata"];
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.remove("annotations");
                }
            }
            _ => {}
        }
        comparable.insert(format!("{kind} {name}"), document);
    }
    comparable
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_memory_limit_of_the_chart_follows_the_budget() {
    for (memory, given, limit) in [
        ("1GiB", "", "1280Mi"),
        ("300 MB", "", "543Mi"),
        ("536870912", "", "768Mi"),
        ("1GiB", "2Gi", "2Gi"),
    ] {
        let memory = format!("config.recorder.memory={memory}");
        let given = format!("resources.limits.memory={given}");
        let documents = rendered(&["--set", &memory, "--set", &given]);
        let agent = documents.iter().find(|it| it["kind"] == "DaemonSet");
        let container = &agent.expect("a DaemonSet")["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["resources"]["limits"]["memory"], limit,
            "{memory}"
        );
        assert_eq!(container["resources"]["requests"]["cpu"], "20m");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_chart_makes_what_the_base_has() {
    let (chart, base) = (comparable(rendered(&[])), comparable(base()));
    let names =
        |documents: &BTreeMap<String, Value>| documents.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&chart), names(&base));
    for (name, document) in &base {
        assert_eq!(
            &chart[name], document,
            "{name} of the chart (left) differs from the base's"
        );
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_chart_has_the_examples_for_prometheus() {
    let options = [
        "--set",
        "podMonitor.enabled=true",
        "--set",
        "prometheusRule.enabled=true",
    ];
    let chart = rendered(&options);
    for (file, kind) in [
        ("podmonitor", "PodMonitor"),
        ("prometheusrule", "PrometheusRule"),
    ] {
        let expected = read(&format!("deploy/components/prometheus/{file}.yaml"));
        let expected: Value = serde_saphyr::from_str(&expected).unwrap();
        let found = chart.iter().find(|document| document["kind"] == kind);
        assert_eq!(found, Some(&expected));
    }
}

#[test]
fn every_value_is_in_the_schema() {
    let values: Value = serde_saphyr::from_str(&read("deploy/helm/lastword/values.yaml")).unwrap();
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/lastword/values.schema.json")).unwrap();
    let names = |object: &Value| -> BTreeSet<String> {
        object
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let mut known = names(&schema["properties"]);
    // This value belongs to Helm itself.
    known.remove("global");
    assert_eq!(names(&values), known);
    for (name, value) in values.as_object().expect("an object") {
        let property = &schema["properties"][name];
        let property = match property["$ref"].as_str() {
            Some(reference) => schema
                .pointer(reference.trim_start_matches('#'))
                .expect("a definition"),
            None => property,
        };
        if property["additionalProperties"] == false {
            assert_eq!(names(value), names(&property["properties"]), "{name}");
        }
    }
}
