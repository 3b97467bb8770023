//! The Helm chart makes the same objects as the kustomize base. `cargo xtask test` runs the tests that need Helm 3
//! (`$HELM`, or `helm` in PATH).

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::Command,
};

use serde_json::{Value, json};

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

/// Labels that Helm adds.
const OF_HELM: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

/// Documents by kind and name, without intended differences: Helm's labels and its test, how agents are restarted when
/// the configuration changes, and comments in the configuration.
fn comparable(documents: Vec<Value>) -> BTreeMap<String, Value> {
    let mut comparable = BTreeMap::new();
    for mut document in documents {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        let name = document["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        if document["metadata"]["annotations"]["helm.sh/hook"] == "test" {
            continue;
        }
        if let Some(labels) = document["metadata"]["labels"].as_object_mut() {
            labels.retain(|name, _| !OF_HELM.contains(&name.as_str()));
        }
        match kind.as_str() {
            // `helm install --create-namespace` makes the namespace.
            "Namespace" => continue,
            "ConfigMap" if name == "lastword-agent" => {
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

/// What the chart makes with these values (`--set`).
fn with(values: &[&str]) -> BTreeMap<String, Value> {
    let options: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    comparable(rendered(&options))
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_chart_has_the_components() {
    let chart = with(&[
        "podMonitor.enabled=true",
        "serviceMonitor.enabled=true",
        "prometheusRule.enabled=true",
        "dashboard.enabled=true",
        "networkPolicy.enabled=true",
        "securityContextConstraints.create=true",
    ]);
    for (file, name) in [
        ("prometheus/podmonitor", "PodMonitor lastword"),
        ("prometheus/servicemonitor", "ServiceMonitor lastword"),
        ("prometheus/prometheusrule", "PrometheusRule lastword"),
        ("networkpolicy", "NetworkPolicy lastword"),
        (
            "securitycontextconstraints",
            "SecurityContextConstraints lastword-agent",
        ),
    ] {
        let expected = read(&format!("deploy/components/{file}.yaml"));
        let expected: Value = serde_saphyr::from_str(&expected).unwrap();
        assert_eq!(chart[name], expected, "{name}");
    }
    let dashboard = chart["ConfigMap lastword-dashboard"]["data"]["lastword.json"].as_str();
    let dashboard: Value = serde_json::from_str(dashboard.expect("a dashboard")).unwrap();
    let expected: Value =
        serde_json::from_str(&read("deploy/components/grafana/lastword.json")).unwrap();
    assert_eq!(dashboard, expected);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn what_people_add_to_the_pod_is_there() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let image = format!("image.digest={digest}");
    let chart = with(&[
        "podLabels.team=shop",
        // What selectors choose cannot be changed.
        "podLabels.app\\.kubernetes\\.io/name=other",
        "podAnnotations.note=yes",
        "serviceAccount.annotations.role=lastword",
        "extraVolumes[0].name=ca",
        "extraVolumes[0].configMap.name=ca",
        "extraVolumeMounts[0].name=ca",
        "extraVolumeMounts[0].mountPath=/ca",
        "env[0].name=AWS_REGION",
        "env[0].value=eu",
        "appArmorProfile.type=Unconfined",
        "seLinuxOptions.type=spc_t",
        "networkPolicy.enabled=true",
        "networkPolicy.from[0].podSelector.matchLabels.app=prometheus",
        &image,
    ]);
    let template = &chart["DaemonSet lastword-agent"]["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "shop");
    assert_eq!(
        template["metadata"]["labels"]["app.kubernetes.io/name"],
        "lastword"
    );
    let account = &chart["ServiceAccount lastword-agent"]["metadata"];
    assert_eq!(account["annotations"]["role"], "lastword");
    let container = &template["spec"]["containers"][0];
    let last = |list: &Value| list.as_array().and_then(|list| list.last()).cloned();
    let ca = json!({ "name": "ca", "configMap": { "name": "ca" } });
    assert_eq!(last(&template["spec"]["volumes"]), Some(ca));
    let ca = json!({ "name": "ca", "mountPath": "/ca" });
    assert_eq!(last(&container["volumeMounts"]), Some(ca));
    assert_eq!(
        last(&container["env"]),
        Some(json!({ "name": "AWS_REGION", "value": "eu" }))
    );
    let context = &container["securityContext"];
    assert_eq!(context["appArmorProfile"]["type"], "Unconfined");
    assert_eq!(context["seLinuxOptions"]["type"], "spc_t");
    assert_eq!(container["image"], format!("localhost/lastword@{digest}"));
    let rule = &chart["NetworkPolicy lastword"]["spec"]["ingress"][0];
    let prometheus = json!({ "podSelector": { "matchLabels": { "app": "prometheus" } } });
    assert_eq!(rule["from"], json!([prometheus]));
    assert_eq!(
        rule["ports"],
        json!([{ "port": "http" }, { "port": "alerts" }])
    );
}

/// The agent's configuration in a chart, after a check that the volume of this name is mounted nowhere.
fn without_volume(chart: &BTreeMap<String, Value>, volume: &str) -> agent::config::Config {
    let pod = &chart["DaemonSet lastword-agent"]["spec"]["template"]["spec"];
    for list in [&pod["volumes"], &pod["containers"][0]["volumeMounts"]] {
        let names: Vec<&Value> = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert!(names.contains(&&json!("cgroup")), "{names:?}");
        assert!(!names.contains(&&json!(volume)), "{names:?}");
    }
    let config = &chart["ConfigMap lastword-agent"]["data"]["agent.yaml"];
    serde_json::from_value(config.clone()).unwrap()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn packs_that_are_values_are_a_config_map_and_a_change_restarts_the_agents() {
    let of = |text: &str| {
        let value = format!("knowledge.kafka\\.toml={text}");
        let documents = rendered(&["--set", &value]);
        let find = |kind: &str, name: &str| {
            let mut documents = documents.iter();
            let found = documents.find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
            found.cloned().unwrap_or_default()
        };
        let packs = find("ConfigMap", "lastword-knowledge");
        let agent = find("DaemonSet", "lastword-agent");
        let annotations = agent["spec"]["template"]["metadata"]["annotations"].clone();
        (packs["data"]["kafka.toml"].clone(), annotations)
    };
    let (packs, annotations) = of("one");
    assert_eq!(packs, "one");
    assert_ne!(annotations, of("two").1);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn without_the_runtimes_socket_nothing_of_it_is_mounted_and_the_agent_knows() {
    let config = without_volume(&with(&["paths.containerRuntime="]), "container-runtime");
    assert_eq!(
        config.container_runtime.endpoint,
        agent::config::RuntimeEndpoint::Off
    );
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn without_the_bpf_file_system_the_agent_pins_nothing() {
    let chart = with(&["paths.bpf=", "config.recorder.memory=64MiB"]);
    let config = without_volume(&chart, "bpf");
    assert_eq!(config.recorder.pin.folder(), None);
    assert_eq!(config.recorder.memory.as_u64(), 64 << 20);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn every_object_has_the_labels_that_helm_users_look_for() {
    for document in rendered(&["--set", "podMonitor.enabled=true"]) {
        if document["kind"] == "CustomResourceDefinition" {
            continue;
        }
        let labels = document["metadata"]["labels"].as_object().expect("labels");
        for name in OF_HELM
            .iter()
            .chain(&["app.kubernetes.io/name", "app.kubernetes.io/component"])
        {
            assert!(labels.contains_key(*name), "{document}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_chart_has_the_admission_policy_if_it_is_asked_for() {
    let file = read("deploy/components/admission/policy.yaml");
    let expected = file.replace("orValue('168h')", "orValue('3d')");
    let expected: Vec<Value> = serde_saphyr::from_multiple(&expected).unwrap();
    let chart = with(&["admission.enabled=true", "config.kubernetes.ttl=3d"]);
    for document in &expected {
        let kind = document["kind"].as_str().expect("a kind");
        assert_eq!(&chart[&format!("{kind} lastword-agent")], document);
    }
    assert!(!with(&[]).contains_key("ValidatingAdmissionPolicy lastword-agent"));
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
