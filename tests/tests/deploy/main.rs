//! The content of `deploy/` agrees with itself and with the code: permissions, versions, the chart and the kustomize
//! base.

mod base;
mod chart;
mod monitoring;
mod workflows;

use std::collections::BTreeSet;

use kubernetes::Access;
use serde_json::{Value, json};

use base::{base, document, read};

/// Everything that a role allows: verb, group and resource.
fn allowed(role: &Value) -> BTreeSet<(String, String, String)> {
    let texts = |rule: &Value, name: &str| -> Vec<String> {
        let texts = rule[name].as_array().expect("a list").iter();
        texts
            .map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    allowed.insert((verb, group.clone(), resource.clone()));
                }
            }
        }
    }
    allowed
}

fn needed(accesses: &[Access]) -> BTreeSet<(String, String, String)> {
    let owned = |access: &Access| {
        (
            access.verb.to_owned(),
            access.group.to_owned(),
            access.resource.to_owned(),
        )
    };
    accesses.iter().map(owned).collect()
}

#[test]
fn the_agent_may_do_what_it_does_and_no_more() {
    let documents = base();
    let role = document(&documents, "ClusterRole", "lastword-agent");
    assert_eq!(allowed(role), needed(kubernetes::AGENT));
}

#[test]
fn people_who_have_the_roles_for_them_can_use_the_plugin() {
    let documents = base();
    let mut roles = BTreeSet::new();
    for (kind, name) in [
        ("ClusterRole", "lastword-reader"),
        ("ClusterRole", "lastword-requester"),
        ("ClusterRole", "lastword-file-reader"),
        ("Role", "lastword-reader"),
    ] {
        roles.extend(allowed(document(&documents, kind, name)));
    }
    let missing: Vec<_> = needed(kubernetes::USER)
        .difference(&roles)
        .cloned()
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn the_agent_is_not_privileged() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["privileged"], Value::Null);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    for other in ["hostNetwork", "hostIPC"] {
        assert_eq!(pod[other], Value::Null);
    }
}

#[test]
fn the_memory_limit_is_that_of_the_budget() {
    let documents = base();
    let config = &document(&documents, "ConfigMap", "lastword-agent")["data"]["agent.yaml"];
    let config: agent::config::Config =
        serde_saphyr::from_str(config.as_str().expect("agent.yaml")).unwrap();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let limit = format!("{}Mi", config.recorder.memory_limit() >> 20);
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], limit);
}

#[test]
fn the_manual_has_every_capability_and_every_path_of_the_node() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let manual = read("docs/install.md");
    let capabilities = pod["containers"][0]["securityContext"]["capabilities"]["add"].as_array();
    let volumes = pod["volumes"].as_array().expect("volumes").iter();
    let paths = volumes
        .map(|volume| &volume["hostPath"]["path"])
        .filter(|path| path.is_string());
    for name in capabilities.expect("capabilities").iter().chain(paths) {
        let row = format!("| `{}` |", name.as_str().expect("a name"));
        assert!(manual.contains(&row), "docs/install.md has no row {row}");
    }
}

#[test]
fn the_agent_knows_where_the_node_has_its_spool() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let named = |list: &Value, name: &str| {
        let mut all = list.as_array().expect("a list").iter();
        all.find(|one| one["name"] == name).expect(name).clone()
    };
    let container = &pod["containers"][0];
    let told = &named(&container["env"], "NODE_SPOOL")["value"];
    assert_eq!(*told, named(&pod["volumes"], "spool")["hostPath"]["path"]);
    let mounted = &named(&container["volumeMounts"], "spool")["mountPath"];
    let configuration = read("docs/configuration.md");
    let line = format!("  directory: {}", mounted.as_str().expect("a path"));
    assert!(configuration.lines().any(|said| said == line), "{line}");
    let chart = read("deploy/helm/lastword/templates/daemonset.yaml");
    let told = "- name: NODE_SPOOL\n          value: {{ .Values.paths.spool }}";
    assert!(chart.contains(told), "{told}");
}

#[test]
fn who_reads_files_has_the_rights_for_it_and_no_others() {
    let documents = base();
    let rights = |kind, name| -> BTreeSet<String> {
        let allowed = allowed(document(&documents, kind, name));
        let line = |(verb, _, resource)| format!("{verb} {resource}");
        allowed.into_iter().map(line).collect()
    };
    let texts = |list: &[&str]| {
        list.iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    // Whoever may make CaptureReads reads the files of the namespace.
    assert_eq!(
        rights("ClusterRole", "lastword-file-reader"),
        texts(&[
            "create capturereads",
            "delete capturereads",
            "get captures",
            "list captures"
        ])
    );
    assert_eq!(
        rights("Role", "lastword-reader"),
        texts(&[
            "get pods",
            "list pods",
            "get pods/portforward",
            "create pods/portforward"
        ])
    );
}

#[test]
fn nobody_gets_the_right_to_read_files_or_to_exec_without_being_bound() {
    // The chart has the same files.
    let documents = base();
    let roles = documents
        .iter()
        .filter(|document| document["rules"].is_array());
    for role in roles {
        let name = &role["metadata"]["name"];
        let of = |resource: &str, verb: &str| {
            let mut allowed = allowed(role).into_iter();
            allowed.any(|(has, _, what)| what == resource && (verb == "*" || has == verb))
        };
        assert!(!of("pods/exec", "*"), "{name} is root on the nodes");
        let labels = role["metadata"]["labels"].as_object().expect("labels");
        let is_aggregated = labels.keys().any(|label| label.contains("aggregate-to"));
        assert!(!(is_aggregated && of("capturereads", "create")), "{name}");
    }
    let bindings = documents.iter().filter(|it| it["roleRef"].is_object());
    for binding in bindings {
        assert_eq!(binding["roleRef"]["name"], "lastword-agent");
    }
}

#[test]
fn the_pod_says_on_which_port_files_are_served() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let mut ports = pod["containers"][0]["ports"]
        .as_array()
        .expect("ports")
        .iter();
    let port = ports.find(|port| port["name"] == "files").expect("files");
    let config = agent::config::Config::default();
    assert_eq!(port["containerPort"], config.http.files_listen.port());
    assert!(config.http.files_listen.ip().is_loopback());
    // The Service must not lead there.
    let service = document(&documents, "Service", "lastword");
    for port in service["spec"]["ports"].as_array().expect("ports") {
        assert_ne!(port["targetPort"], "files");
        assert_ne!(port["targetPort"], config.http.files_listen.port());
    }
}

#[test]
fn image_chart_and_plugin_have_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let image = format!("localhost/lastword:{version}");
    assert_eq!(pod["containers"][0]["image"], image);
    let chart: Value = serde_saphyr::from_str(&read("deploy/helm/lastword/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
    assert!(read("deploy/Dockerfile").contains(&image));
    let plugin: Value = serde_saphyr::from_str(&read("deploy/krew.yaml")).unwrap();
    assert_eq!(plugin["spec"]["version"], format!("v{version}"));
    for platform in plugin["spec"]["platforms"].as_array().expect("platforms") {
        let arch = &platform["selector"]["matchLabels"]["arch"];
        let name = format!("lastword-{version}-linux-{}", arch.as_str().expect("arch"));
        let archive = format!("v{version}/{name}.tar.gz");
        assert!(platform["uri"].as_str().expect("a URI").ends_with(&archive));
        assert_eq!(platform["bin"], format!("{name}/lastword"));
    }
}

#[test]
fn selectors_choose_the_agents_alone_and_never_change() {
    let documents = base();
    let labels = json!({
        "app.kubernetes.io/name": "lastword",
        "app.kubernetes.io/component": "agent",
    });
    let agent = document(&documents, "DaemonSet", "lastword-agent");
    assert_eq!(agent["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(agent["spec"]["template"]["metadata"]["labels"], labels);
    let service = document(&documents, "Service", "lastword");
    assert_eq!(service["spec"]["selector"], labels);
    for file in ["podmonitor", "servicemonitor"] {
        let monitor = read(&format!("deploy/components/prometheus/{file}.yaml"));
        let monitor: Value = serde_saphyr::from_str(&monitor).unwrap();
        assert_eq!(monitor["spec"]["selector"]["matchLabels"], labels, "{file}");
    }
    let policy: Value =
        serde_saphyr::from_str(&read("deploy/components/networkpolicy.yaml")).unwrap();
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], labels);
}

#[test]
fn openshift_allows_what_the_pod_asks_for_and_no_more() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let context = &pod["containers"][0]["securityContext"];
    let file = read("deploy/components/securitycontextconstraints.yaml");
    let allowed: Value = serde_saphyr::from_str(&file).unwrap();
    assert_eq!(
        allowed["allowedCapabilities"],
        context["capabilities"]["add"]
    );
    assert_eq!(allowed["allowHostPID"], pod["hostPID"]);
    for no in [
        "allowPrivilegedContainer",
        "allowPrivilegeEscalation",
        "allowHostNetwork",
        "allowHostIPC",
        "allowHostPorts",
    ] {
        assert_eq!(allowed[no], false, "{no}");
    }
    let allowed: BTreeSet<_> = allowed["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    // The token of the service account.
    let mut used = BTreeSet::from(["projected"]);
    for volume in pod["volumes"].as_array().expect("volumes") {
        let keys = volume.as_object().expect("a volume").keys();
        used.extend(keys.map(String::as_str).filter(|key| *key != "name"));
    }
    assert_eq!(used, allowed);
}

#[test]
fn the_cleanup_removes_what_agents_leave_on_nodes() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    // What the pod makes there; the runtime's folder is the runtime's. What it pins is below the BPF file system.
    let pinned = "/sys/fs/bpf/lastword".to_owned();
    let left: BTreeSet<String> = pod["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .filter(|volume| {
            volume["hostPath"]["type"] == "DirectoryOrCreate"
                && volume["name"] != "container-runtime"
        })
        .map(|volume| {
            volume["hostPath"]["path"]
                .as_str()
                .expect("a path")
                .to_owned()
        })
        .chain([pinned])
        .collect();
    let cleanup: Value = serde_saphyr::from_str(&read("deploy/components/cleanup.yaml")).unwrap();
    let pod = &cleanup["spec"]["template"]["spec"];
    let container = &pod["initContainers"][0];
    let at = |volume: &Value| {
        let mut mounts = container["volumeMounts"].as_array().expect("mounts").iter();
        let mount = mounts.find(|mount| mount["name"] == volume["name"]);
        mount.expect("a mount")["mountPath"]
            .as_str()
            .expect("a path")
            .to_owned()
    };
    let mut command = container["command"].to_string();
    for volume in pod["volumes"].as_array().expect("volumes") {
        let path = volume["hostPath"]["path"].as_str().expect("a path");
        command = command.replace(&at(volume), path);
    }
    let command: Vec<String> = serde_json::from_str(&command).unwrap();
    assert_eq!(command[..2], ["rm", "-rf"]);
    assert_eq!(command[2..].iter().cloned().collect::<BTreeSet<_>>(), left);
}

/// The agent reads operators' packs where the pod has the ConfigMap, and a cluster without it is well.
#[test]
fn the_config_map_of_packs_is_mounted_where_the_agent_reads_them() {
    let documents = base();
    let pod = &document(&documents, "DaemonSet", "lastword-agent")["spec"]["template"]["spec"];
    let named = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        let mut found = list.filter(|it| it["name"] == "knowledge");
        found.next().cloned().expect("knowledge")
    };
    let mount = named(&pod["containers"][0]["volumeMounts"]);
    let config: agent::config::Config = serde_saphyr::from_str(&read("deploy/agent.yaml")).unwrap();
    let directory = config.knowledge.directory.expect("a directory");
    assert_eq!(mount["mountPath"].as_str(), directory.to_str());
    let volume = named(&pod["volumes"]);
    assert_eq!(
        volume["configMap"],
        json!({ "name": "lastword-knowledge", "optional": true })
    );
}
