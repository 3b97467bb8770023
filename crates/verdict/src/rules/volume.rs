//! Which volume a path should come from. This is no rule: it completes the next step of rules about paths.
//!
//! The pod's specification says where volumes are mounted, and what each volume is made from. That the mount existed in
//! the container as specified is assumed.

use serde_json::Value;

use super::Case;
use events::escape::escaped_to;

/// ` (below the mount /etc/app of volume "settings", ConfigMap app-settings)`; empty if the path is below no mount.
pub(super) fn below(case: &Case<'_>, path: &str) -> String {
    mount(case, path).unwrap_or_default()
}

fn mount(case: &Case<'_>, path: &str) -> Option<String> {
    let known = case.header.kubernetes.as_ref()?;
    let mount = known.container(&case.header.container.name)?.mount(path)?;
    let volume = mount["name"].as_str()?;
    let source = known.volume(volume).and_then(source);
    let source = source.map_or_else(String::new, |source| format!(", {source}"));
    let [at, volume] = [mount["mountPath"].as_str()?, volume]
        .map(|text| escaped_to(text.as_bytes(), 200).to_string());
    Some(format!(
        " (below the mount {at} of volume \"{volume}\"{source})"
    ))
}

/// Where a volume comes from: `ConfigMap app-settings`.
fn source(volume: &Value) -> Option<String> {
    let named = [
        ("configMap", "name", "ConfigMap"),
        ("secret", "secretName", "Secret"),
        (
            "persistentVolumeClaim",
            "claimName",
            "PersistentVolumeClaim",
        ),
        ("hostPath", "path", "host path"),
    ];
    let named = named.iter().find_map(|(key, field, what)| {
        let name = volume[key][field].as_str()?;
        Some(format!("{what} {}", escaped_to(name.as_bytes(), 200)))
    });
    named.or_else(|| {
        volume["emptyDir"]
            .is_object()
            .then(|| "an emptyDir".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use capture_format::{Header, Kubernetes};
    use serde_json::json;

    use crate::testing::{INIT, Script, header, verdict_with};

    fn mounted() -> Header {
        let mut header = header();
        header.trigger.kind = "restarts".into();
        let pod = json!({"spec": {
            "containers": [{"name": "nginx", "volumeMounts": [
                {"name": "root", "mountPath": "/"},
                {"name": "settings", "mountPath": "/etc/app"},
            ]}],
            "volumes": [{"name": "settings", "configMap": {"name": "app-settings"}}],
        }});
        header.kubernetes = Some(Kubernetes {
            pod,
            ..Kubernetes::default()
        });
        header
    }

    #[test]
    fn the_innermost_mount_of_a_missing_file_is_named() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/app/app.conf", -2)
            .write(
                INIT,
                2,
                "open /etc/app/app.conf: no such file or directory\n",
            )
            .exit(INIT, 1);
        let step = verdict_with(&mounted(), &s).next_step;
        assert!(
            step.contains(
                "(below the mount /etc/app of volume \"settings\", ConfigMap app-settings)"
            ),
            "{step}"
        );
    }
}
