//! What `deploy/components` has for Prometheus, Grafana and kube-state-metrics agrees with what the agent exports, and
//! with the Capture's definition.

use std::{collections::BTreeSet, env, fs, process::Command};

use serde_json::Value;

use crate::base::read;

const RULES: &str = "deploy/components/prometheus/prometheusrule.yaml";

/// All texts below this key.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        _ => {}
    }
}

/// The metrics of the agent that an expression names.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(move |c| !is_name(c));
    words.filter(|word| word.starts_with("lastword_") || word.starts_with("process_"))
}

/// Fails if docs/metrics.md, which a test of the agent compares with what it exports, lacks a metric.
fn all_exist<'a>(expressions: impl IntoIterator<Item = &'a str>) {
    let known = read("docs/metrics.md");
    let used: BTreeSet<&str> = expressions.into_iter().flat_map(metrics).collect();
    assert!(used.len() > 3, "{used:?}");
    for name in used {
        let base = name.strip_suffix("_bucket").unwrap_or(name);
        let rows = [format!("`{base}`"), format!("`{base}{{")];
        assert!(
            rows.iter().any(|row| known.contains(row)),
            "docs/metrics.md has no {name}"
        );
    }
}

fn rules() -> Value {
    serde_saphyr::from_str(&read(RULES)).unwrap()
}

#[test]
fn alerts_use_metrics_that_the_agent_has() {
    let rules = rules();
    let mut expressions = Vec::new();
    texts(&rules, "expr", &mut expressions);
    all_exist(expressions);
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = rules();
    let alerts = &rules["spec"]["groups"][0]["rules"];
    for alert in alerts.as_array().expect("rules") {
        for text in ["summary", "description", "runbook"] {
            let text = alert["annotations"][text].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{}", alert["alert"]);
        }
    }
}

#[test]
fn the_dashboard_uses_metrics_that_the_agent_has() {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/components/grafana/lastword.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10);
    all_exist(expressions);
}

#[test]
#[ignore = "needs promtool: cargo xtask test"]
fn promtool_accepts_the_alerts_and_what_the_dashboard_asks() {
    let promtool = env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let folder = tempfile::tempdir().unwrap();
    let mut groups = rules()["spec"].clone();
    // Each of the dashboard's expressions as a rule.
    let dashboard: Value =
        serde_json::from_str(&read("deploy/components/grafana/lastword.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let asked: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            let expression = expression.replace("$__rate_interval", "5m");
            serde_json::json!({ "record": format!("panel:{number}"), "expr": expression })
        })
        .collect();
    let groups = groups["groups"].as_array_mut().expect("groups");
    groups.push(serde_json::json!({ "name": "dashboard", "rules": asked }));
    let file = folder.path().join("rules.json");
    let text = serde_json::json!({ "groups": groups }).to_string();
    fs::write(&file, text).unwrap();
    let output = Command::new(promtool)
        .args(["check", "rules"])
        .arg(&file)
        .output()
        .expect("promtool in PATH, or its path in PROMTOOL");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let all = expressions.len()
        + rules()["spec"]["groups"][0]["rules"]
            .as_array()
            .map_or(0, Vec::len);
    assert!(said.contains(&format!("{all} rules found")), "{said}");
}

#[test]
fn kube_state_metrics_reads_fields_that_a_capture_has() {
    let config: Value =
        serde_saphyr::from_str(&read("deploy/components/kube-state-metrics.yaml")).unwrap();
    let crd: Value =
        serde_saphyr::from_str(&read("deploy/crds/captures.lastword.dev.yaml")).unwrap();
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let resource = &config["spec"]["resources"][0];
    let of = &resource["groupVersionKind"];
    assert_eq!(of["group"], crd["spec"]["group"]);
    assert_eq!(of["version"], version["name"]);
    assert_eq!(of["kind"], crd["spec"]["names"]["kind"]);
    let mut paths = Vec::new();
    lists(&resource["metrics"], &mut paths);
    assert!(paths.len() > 5);
    for path in paths {
        if path[0] == "metadata" {
            continue;
        }
        let mut field = schema;
        for name in path {
            field = &field["properties"][name.as_str().expect("a name")];
        }
        assert!(field["type"].is_string(), "a Capture has no {path:?}");
    }
    let phases = &resource["metrics"][1]["each"]["stateSet"]["list"];
    assert_eq!(
        *phases,
        schema["properties"]["status"]["properties"]["phase"]["enum"]
    );
}

/// All lists of names below a value, except the values that a state can have.
fn lists<'a>(value: &'a Value, found: &mut Vec<&'a Vec<Value>>) {
    match value {
        Value::Array(values) if values.iter().all(Value::is_string) => found.push(values),
        Value::Array(values) => values.iter().for_each(|value| lists(value, found)),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| *name != "list")
            .for_each(|(_, value)| lists(value, found)),
        _ => {}
    }
}
