//! What a capture says besides its events: the header with the Pod object, and the metadata of its runs.

use capture_format::{Container, Header, Kubernetes, PodEvent, Run, Terminated, Trigger};
use serde_json::Value;

use crate::arguments::arguments;
use crate::mask::MASK;
use crate::{Manifest, Redactor, into_text};

/// This annotation repeats the whole object, including the values of variables.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many levels of a JSON value are followed; the API server's objects have less than 20.
const MAX_DEPTH: usize = 64;

impl Redactor {
    /// Masks everything in a header, and sets [`Header::redaction`] to everything that was masked. Call it last, with
    /// the manifest of the runs.
    pub fn header(&self, header: &mut Header, manifest: &mut Manifest) {
        let Header {
            program: _,
            created: _,
            host: _,
            container,
            pod: _,
            kubernetes,
            trigger,
            redaction,
            probes: _,
            omitted: _,
        } = header;
        let Container {
            id: _,
            name: _,
            kind: _,
            image,
            image_id: _,
            command,
            resources: _,
        } = container;
        self.text(image, manifest);
        self.arguments(command, manifest);
        if let Some(Kubernetes { pod, events }) = kubernetes {
            self.pod(pod, manifest);
            for PodEvent { message, .. } in events {
                self.text(message, manifest);
            }
        }
        let Trigger { kind: _, detail } = trigger;
        self.text(detail, manifest);
        *redaction = manifest.redaction();
    }

    /// Masks the texts in a run's metadata.
    pub fn run_metadata(&self, run: &mut Run, manifest: &mut Manifest) {
        let Run {
            number: _,
            cgroup: _,
            init_pid: _,
            start: _,
            end: _,
            status: _,
            start_error,
            memory_limit: _,
            oom_kills: _,
            memory_peak: _,
            memory_current: _,
            cpu: _,
            terminated,
            losses: _,
            skipped: _,
        } = run;
        let message = terminated.as_mut().map(|terminated| {
            let Terminated {
                reason: _,
                message,
                exit_code: _,
                started_at: _,
                finished_at: _,
            } = terminated;
            message
        });
        for text in start_error.iter_mut().chain(message) {
            self.text(text, manifest);
        }
    }

    /// Masks a Pod object: values of variables, commands, annotations, messages. `managedFields` and the annotation
    /// that repeats the object are removed.
    pub fn pod(&self, pod: &mut Value, manifest: &mut Manifest) {
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            let annotations = metadata.get_mut("annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut)
                && annotations.remove(LAST_APPLIED).is_some()
            {
                manifest.count("annotation");
            }
        }
        self.value(pod, "", MAX_DEPTH, manifest);
    }

    fn value(&self, value: &mut Value, key: &str, depth: usize, manifest: &mut Manifest) {
        let Some(depth) = depth.checked_sub(1) else {
            *value = Value::Null;
            return;
        };
        match value {
            Value::String(text) => self.field(text, key, manifest),
            Value::Array(values) if matches!(key, "command" | "args") => {
                let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
                if let Some(mut texts) = texts.collect::<Option<Vec<String>>>() {
                    self.arguments(&mut texts, manifest);
                    *values = texts.into_iter().map(Value::String).collect();
                }
            }
            Value::Array(values) => {
                let secret = match key {
                    "env" => Some("environment"),
                    "httpHeaders" => Some("http_header"),
                    _ => None,
                };
                for value in values {
                    match (secret, value.get_mut("value")) {
                        (Some(rule), Some(Value::String(text))) => {
                            mask_all(text, rule, manifest);
                        }
                        _ => self.value(value, key, depth, manifest),
                    }
                }
            }
            Value::Object(members) => {
                for (key, value) in members.iter_mut() {
                    self.value(value, key, depth, manifest);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Masks a text; all of it if its key names a credential.
    fn field(&self, text: &mut String, key: &str, manifest: &mut Manifest) {
        // The name of an annotation comes after a domain.
        let name = key.rsplit('/').next().unwrap_or(key);
        let mut example = format!("{{\"{name}\":\"a1B2c3D4\"}}");
        self.text(&mut example, &mut Manifest::default());
        if example.contains("********") {
            mask_all(text, "credential", manifest);
        } else {
            self.text(text, manifest);
        }
    }

    fn arguments(&self, texts: &mut Vec<String>, manifest: &mut Manifest) {
        let mut joined: Vec<u8> = Vec::new();
        for text in texts.iter() {
            joined.extend_from_slice(text.as_bytes());
            joined.push(0);
        }
        if arguments(&self.scanner, &mut joined, manifest) {
            joined.pop();
            let parts = joined.split(|&byte| byte == 0);
            *texts = parts.map(|part| into_text(part.to_vec())).collect();
        }
    }
}

fn mask_all(text: &mut String, rule: &str, manifest: &mut Manifest) {
    if text.bytes().any(|byte| byte != MASK) {
        *text = "*".repeat(text.len());
        manifest.count(rule);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Config;

    fn redactor() -> Redactor {
        Redactor::new(&Config::default()).unwrap()
    }

    #[test]
    fn a_pod_keeps_what_explains_and_loses_what_is_secret() {
        let mut pod = json!({
            "metadata": {
                "name": "app",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    LAST_APPLIED: "{\"spec\":{\"env\":[{\"name\":\"A\",\"value\":\"hunter2\"}]}}",
                    "example/note": "see https://bob:hunter2@wiki/x",
                    "example/token": "hunter2",
                },
            },
            "spec": {
                "containers": [{
                    "name": "app",
                    "image": "registry/app:1",
                    "command": ["app", "--listen=:8080", "--db-password=hunter2", "--token", "hunter2"],
                    "args": ["sh", "-c", "exec curl -u admin:hunter2 http://api/"],
                    "env": [
                        {"name": "MODE", "value": "hunter2"},
                        {"name": "EMPTY", "value": ""},
                        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    ],
                    "livenessProbe": {
                        "httpGet": {"path": "/healthz", "httpHeaders": [{"name": "X-Probe", "value": "hunter2"}]},
                    },
                    "readinessProbe": {"exec": {"command": ["redis-cli", "-a", "hunter2", "ping"]}},
                }],
            },
            "status": {"containerStatuses": [{"lastState": {"terminated": {
                "message": "panic: dial postgres://app:hunter2@db:5432/shop: connection refused",
            }}}]},
        });
        let mut manifest = Manifest::default();
        redactor().pod(&mut pod, &mut manifest);
        let text = pod.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        for kept in [
            "--listen=:8080",
            "registry/app:1",
            "\"name\":\"MODE\"",
            "\"key\":\"password\"",
            "/healthz",
            "@db:5432/shop: connection refused",
            "http://api/",
            "\"value\":\"\"",
        ] {
            assert!(text.contains(kept), "{kept} is missing: {text}");
        }
        assert!(!text.contains("managedFields") && !text.contains("last-applied"));
        assert_eq!(
            (manifest.of("environment"), manifest.of("http_header")),
            (1, 1)
        );
        assert_eq!(manifest.of("annotation"), 1);
        let before = (pod.clone(), manifest.clone());
        redactor().pod(&mut pod, &mut manifest);
        assert_eq!((pod, manifest), before);
    }

    #[test]
    fn a_header_says_what_was_masked_in_all() {
        let mut header = Header::default();
        header.container.command = vec!["app".into(), "--password=hunter2".into()];
        header.kubernetes = Some(Kubernetes {
            pod: Value::Null,
            events: vec![PodEvent {
                message: "probe of http://a:hunter2@localhost/ failed".into(),
                ..PodEvent::default()
            }],
        });
        let mut manifest = Manifest::default();
        manifest.count("jwt");
        redactor().header(&mut header, &mut manifest);
        assert_eq!(header.container.command, ["app", "--password=*******"]);
        let expected = [("credential", 1), ("jwt", 1), ("url_password", 1)];
        let expected = expected.map(|(rule, count)| (rule.to_owned(), count));
        assert_eq!(header.redaction.masked, expected);
        assert!(!format!("{header:?}").contains("hunter2"));
    }
}
