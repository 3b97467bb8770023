//! deploy/ installs what this crate needs: the CRDs are those that the Rust types give (`cargo xtask crds` writes them),
//! and the roles allow the requests that are made.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use k8s_openapi::{
    api::rbac::v1::PolicyRule,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::CustomResourceExt as _;
use kubernetes::{AGENT, AGENT_AT_HOME, Access, USER, capture::Capture, capture_read::CaptureRead};
use serde::Deserialize as _;
use serde_json::Value;

fn deploy(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "deploy", file]
        .iter()
        .collect()
}

/// Compares a definition in deploy/crds with that of the Rust type in `source`.
fn is_current(definition: &CustomResourceDefinition, source: &str) {
    let name = definition.metadata.name.as_deref().unwrap();
    let path = deploy(&format!("crds/{name}.yaml"));
    let yaml = serde_saphyr::to_string(definition).unwrap();
    let expected =
        format!("# Written by `cargo xtask crds` from crates/kubernetes/src/{source}.\n{yaml}");
    if env::var_os("LASTWORD_WRITE_CRDS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "{} is not current; run `cargo xtask crds`",
        path.display()
    );
}

#[test]
fn the_crds_are_current() {
    is_current(&Capture::crd(), "capture.rs");
    is_current(&CaptureRead::crd(), "capture_read.rs");
}

/// Kubernetes 1.20 takes an empty default for null, and refuses the definition.
#[test]
fn no_default_of_the_crds_is_empty() {
    fn defaults<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("default").filter(|default| !default.is_object()));
                fields.values().for_each(|value| defaults(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| defaults(value, found)),
            _ => {}
        }
    }
    for definition in [Capture::crd(), CaptureRead::crd()] {
        let definition = serde_json::to_value(definition).unwrap();
        let mut found = Vec::new();
        defaults(&definition, &mut found);
        let is_empty = |default: &&Value| default.is_null() || default.as_str() == Some("");
        assert!(!found.iter().any(is_empty), "{found:?}");
    }
}

type Rule = (String, String, String);

/// (group, resource, verb) of every rule in a file's roles of these kinds.
fn granted(file: &str, kinds: &[&str]) -> BTreeSet<Rule> {
    let text = fs::read_to_string(deploy(file)).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut granted = BTreeSet::new();
    for rules in documents
        .iter()
        .filter(|document| kinds.iter().any(|kind| document["kind"] == *kind))
        .filter_map(|document| document.get("rules"))
    {
        for rule in Vec::<PolicyRule>::deserialize(rules).unwrap() {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let triple = |verb: &String| (group.clone(), resource.clone(), verb.clone());
                    granted.extend(rule.verbs.iter().map(triple));
                }
            }
        }
    }
    granted
}

fn needed(accesses: &[Access]) -> BTreeSet<Rule> {
    let triple = |access: &Access| {
        (
            access.group.into(),
            access.resource.into(),
            access.verb.into(),
        )
    };
    accesses.iter().map(triple).collect()
}

#[test]
fn the_agent_may_do_what_it_does_and_nothing_else() {
    assert_eq!(granted("rbac.yaml", &["ClusterRole"]), needed(AGENT));
    assert_eq!(granted("rbac.yaml", &["Role"]), needed(AGENT_AT_HOME));
}

#[test]
fn readers_and_requesters_together_may_do_what_the_plugin_does() {
    let granted = granted("reader.yaml", &["ClusterRole", "Role"]);
    let needed = needed(USER);
    assert!(
        granted.is_superset(&needed),
        "missing: {:?}",
        needed.difference(&granted)
    );
}
