//! Reads the kustomize base without kustomize: it is a list of files and a generated ConfigMap.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

/// Reads a file of the workspace.
pub(crate) fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document that `kubectl apply -k deploy` applies, except that the ConfigMap's name has no hash.
pub(crate) fn base() -> Vec<Value> {
    let list: Value = serde_saphyr::from_str(&read("deploy/kustomization.yaml")).unwrap();
    let mut documents = Vec::new();
    for file in list["resources"].as_array().expect("resources") {
        let file = read(&format!("deploy/{}", file.as_str().expect("a file")));
        documents.extend(serde_saphyr::from_multiple::<Value>(&file).unwrap());
    }
    documents.push(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "lastword-agent", "namespace": "lastword" },
        "data": { "agent.yaml": read("deploy/agent.yaml") },
    }));
    documents
}

/// The document with this kind and name.
pub(crate) fn document<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut documents = documents.iter();
    documents
        .find(|document| document["kind"] == kind && document["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}
