//! The bodies of `POST /api/v1/alerts`: those of Alertmanager's webhook (version 4; Grafana sends the same shape), and
//! a plain form.
//!
//! The functions are pure: they turn bytes into alerts and a list of what was ignored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::handle::Alert;

/// How many captures one post may ask for. An alert on a whole cluster is no reason to capture all of it.
pub(super) const MAX_ALERTS: usize = 50;
/// Bytes of an alert's detail.
const MAX_DETAIL: usize = 256;
const EXPECTED: &str = "expected Alertmanager's webhook body, or {\"namespace\": …, \"pod\": …} with \"container\" and \"reason\" where wanted";

/// What a body asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) alerts: Vec<Alert>,
    pub(super) ignored: Vec<Ignored>,
}

impl Wanted {
    /// Without alerts on pods of other namespaces; without any namespace, all of them.
    pub(super) fn only(mut self, namespaces: &BTreeSet<String>) -> Self {
        let is_allowed =
            |alert: &Alert| namespaces.is_empty() || namespaces.contains(&alert.namespace);
        let (allowed, others) = self.alerts.into_iter().partition(is_allowed);
        self.alerts = allowed;
        let others: Vec<Alert> = others;
        self.ignored.extend(others.into_iter().map(|alert| Ignored {
            alert: alert.detail,
            reason: format!("{} is not in http.alerts_namespaces", alert.namespace),
        }));
        self
    }
}

/// An alert that asks for no capture.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ignored {
    /// Name of the alert.
    alert: String,
    /// Why it is ignored.
    reason: String,
}

/// A body that is not in either format; the message says what is expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadBody(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    namespace: String,
    pod: String,
    container: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    #[serde(default)]
    group_key: String,
    #[serde(default)]
    status: String,
    alerts: Vec<WebhookAlert>,
    #[serde(default)]
    truncated_alerts: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert {
    status: Option<String>,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: String,
}

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Wanted, BadBody> {
    let bad = |error: serde_json::Error| BadBody(format!("{EXPECTED}: {error}"));
    let body: Value = serde_json::from_slice(body).map_err(bad)?;
    if body.get("alerts").is_some() {
        Ok(webhook(serde_json::from_value(body).map_err(bad)?))
    } else {
        plain(serde_json::from_value(body).map_err(bad)?)
    }
}

fn plain(body: Plain) -> Result<Wanted, BadBody> {
    let Plain {
        namespace,
        pod,
        container,
        reason,
    } = body;
    check_names(&namespace, &pod, container.as_deref()).map_err(BadBody)?;
    if reason.len() > MAX_DETAIL {
        return Err(BadBody(format!("reason is longer than {MAX_DETAIL} bytes")));
    }
    let alert = Alert {
        namespace,
        pod,
        container,
        detail: one_line(&reason),
        key: None,
    };
    Ok(Wanted {
        alerts: vec![alert],
        ignored: Vec::new(),
    })
}

/// Names of an alert's container: namespace, pod, container.
type Names = (String, String, Option<String>);

fn webhook(body: Webhook) -> Wanted {
    let mut ignored = Vec::new();
    // The first alert of each container stands for all of them. The earliest start distinguishes this firing from later
    // ones.
    let mut firing: Vec<(Names, String, String)> = Vec::new();
    for alert in &body.alerts {
        let label = |name: &str| alert.labels.get(name).filter(|value| !value.is_empty());
        let mut ignore = |reason: String| {
            let alert = label("alertname").cloned().unwrap_or_default();
            ignored.push(Ignored { alert, reason });
        };
        let status = alert.status.as_ref().unwrap_or(&body.status);
        if status != "firing" {
            ignore(format!("its status is {status:?}, not \"firing\""));
            continue;
        }
        // If a metric is about another pod, Prometheus renames the metric's own labels, and the plain labels name the
        // exporter.
        let named = |name: &str| label(&format!("exported_{name}")).or_else(|| label(name));
        let (Some(namespace), Some(pod)) = (named("namespace"), named("pod")) else {
            ignore("it has no labels namespace and pod".to_owned());
            continue;
        };
        let container = named("container").cloned();
        if let Err(reason) = check_names(namespace, pod, container.as_deref()) {
            ignore(reason);
            continue;
        }
        let names = (namespace.clone(), pod.clone(), container);
        if let Some((_, _, start)) = firing.iter_mut().find(|(other, ..)| *other == names) {
            if alert.starts_at < *start {
                start.clone_from(&alert.starts_at);
            }
        } else if firing.len() == MAX_ALERTS {
            ignore(format!("one post captures {MAX_ALERTS} containers at most"));
        } else {
            firing.push((names, detail(alert), alert.starts_at.clone()));
        }
    }
    if body.truncated_alerts > 0 {
        ignored.push(Ignored {
            alert: String::new(),
            reason: format!(
                "{} alerts were left out by the sender (max_alerts)",
                body.truncated_alerts
            ),
        });
    }
    let alerts = firing.into_iter().map(|(names, detail, start)| {
        let key = format!("{} {start}", body.group_key);
        let (namespace, pod, container) = names;
        Alert {
            namespace,
            pod,
            container,
            detail,
            key: Some(key),
        }
    });
    Wanted {
        alerts: alerts.collect(),
        ignored,
    }
}

/// `NAME: SUMMARY`.
fn detail(alert: &WebhookAlert) -> String {
    let name = alert.labels.get("alertname").map_or("", String::as_str);
    let annotation = |name| alert.annotations.get(name);
    let text = match annotation("summary").or_else(|| annotation("description")) {
        Some(text) => format!("{name}: {text}"),
        None => name.to_owned(),
    };
    let mut text = one_line(&text);
    if text.len() > MAX_DETAIL {
        text.truncate(text.floor_char_boundary(MAX_DETAIL - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Without line breaks and other control characters.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn check_names(namespace: &str, pod: &str, container: Option<&str>) -> Result<(), String> {
    let wrong = |what, name| format!("{name:?} is not the name of a {what}");
    if !is_label(namespace) {
        return Err(wrong("namespace", namespace));
    }
    if pod.len() > 253 || !pod.split('.').all(is_label) {
        return Err(wrong("pod", pod));
    }
    match container {
        Some(name) if !is_label(name) => Err(wrong("container", name)),
        _ => Ok(()),
    }
}

/// Whether a text is a label of RFC 1123: lower case letters, digits and `-`, at most 63 characters.
fn is_label(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(body: Value) -> Wanted {
        parse(body.to_string().as_bytes()).unwrap()
    }

    fn refused(body: &str, part: &str) {
        let error = parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{body}: {error}");
    }

    fn alert(name: &str, pod: &str, start: &str) -> Value {
        json!({
            "status": "firing",
            "labels": {"alertname": name, "namespace": "shop", "pod": pod, "container": "web"},
            "annotations": {"summary": "Pod is\n crash looping"},
            "startsAt": start, "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "abc",
        })
    }

    fn group(alerts: Vec<Value>) -> Value {
        json!({
            "version": "4", "groupKey": "{}:{alertname=\"X\"}", "truncatedAlerts": 0, "status": "firing",
            "receiver": "lastword", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://alertmanager", "alerts": alerts,
        })
    }

    #[test]
    fn an_alert_of_alertmanager() {
        let wanted = wanted(group(vec![alert(
            "PodCrashLooping",
            "web-1",
            "2026-01-01T00:00:00Z",
        )]));
        assert_eq!(wanted.ignored, []);
        let [alert] = &wanted.alerts[..] else {
            panic!("{wanted:?}");
        };
        assert_eq!((&*alert.namespace, &*alert.pod), ("shop", "web-1"));
        assert_eq!(alert.container.as_deref(), Some("web"));
        assert_eq!(alert.detail, "PodCrashLooping: Pod is crash looping");
        let key = "{}:{alertname=\"X\"} 2026-01-01T00:00:00Z";
        assert_eq!(alert.key.as_deref(), Some(key));
    }

    #[test]
    fn a_repetition_has_the_same_key_and_a_later_firing_another() {
        let early = "2026-01-01T00:00:00Z";
        let key = |alerts| wanted(group(alerts)).alerts[0].key.clone().unwrap();
        let first = key(vec![alert("A", "web-1", early)]);
        assert_eq!(first, key(vec![alert("A", "web-1", early)]));
        let joined = vec![
            alert("B", "web-1", "2026-01-01T00:05:00Z"),
            alert("A", "web-1", early),
        ];
        assert_eq!(first, key(joined));
        assert_ne!(
            first,
            key(vec![alert("A", "web-1", "2026-01-02T00:00:00Z")])
        );
    }

    #[test]
    fn a_container_is_captured_once_a_post() {
        let alerts = vec![
            alert("A", "web-1", "1"),
            alert("B", "web-1", "1"),
            alert("A", "web-2", "1"),
        ];
        let wanted = wanted(group(alerts));
        let pods: Vec<_> = wanted.alerts.iter().map(|alert| &*alert.pod).collect();
        assert_eq!(pods, ["web-1", "web-2"]);
    }

    #[test]
    fn what_asks_for_no_capture_is_told() {
        let mut resolved = alert("A", "web-1", "1");
        resolved["status"] = "resolved".into();
        let node = json!({"labels": {"alertname": "NodeDown", "node": "n1"}});
        let strange = alert("C", "../../etc", "1");
        let wanted = wanted(group(vec![resolved, node, strange]));
        assert_eq!(wanted.alerts, []);
        let told: Vec<_> = wanted
            .ignored
            .iter()
            .map(|ignored| format!("{}: {}", ignored.alert, ignored.reason))
            .collect();
        assert_eq!(
            told,
            [
                "A: its status is \"resolved\", not \"firing\"",
                "NodeDown: it has no labels namespace and pod",
                "C: \"../../etc\" is not the name of a pod",
            ]
        );
    }

    #[test]
    fn the_pod_that_the_metric_speaks_of_is_meant_not_the_exporter() {
        let mut renamed = alert("A", "kube-state-metrics-0", "1");
        renamed["labels"]["exported_pod"] = "web-1".into();
        renamed["labels"]["exported_namespace"] = "prod".into();
        let wanted = wanted(group(vec![renamed]));
        assert_eq!(wanted.alerts[0].pod, "web-1");
        assert_eq!(wanted.alerts[0].namespace, "prod");
    }

    #[test]
    fn a_flood_is_cut_and_told() {
        let alerts = (0..MAX_ALERTS + 2).map(|n| alert("A", &format!("web-{n}"), "1"));
        let mut body = group(alerts.collect());
        body["truncatedAlerts"] = 3.into();
        let wanted = wanted(body);
        assert_eq!(wanted.alerts.len(), MAX_ALERTS);
        assert_eq!(wanted.ignored.len(), 3);
    }

    #[test]
    fn a_long_summary_is_cut_at_a_character() {
        let mut long = alert("A", "web-1", "1");
        long["annotations"]["summary"] = "ä".repeat(300).into();
        let detail = &wanted(group(vec![long])).alerts[0].detail;
        assert!(
            detail.len() <= MAX_DETAIL && detail.ends_with("ä…"),
            "{detail}"
        );
    }

    #[test]
    fn a_plain_body() {
        let wanted = wanted(json!({"namespace": "shop", "pod": "web.1-x", "reason": "look\nhere"}));
        let expected = Alert {
            namespace: "shop".to_owned(),
            pod: "web.1-x".to_owned(),
            container: None,
            detail: "look here".to_owned(),
            key: None,
        };
        assert_eq!(wanted.alerts, [expected]);
    }

    #[test]
    fn rubbish_is_refused_with_what_is_expected() {
        for body in [
            "",
            "hello",
            "[]",
            "{}",
            "7",
            "{\"alerts\": 3}",
            "{\"alerts\": [{}]}",
            "\u{0}",
        ] {
            refused(body, "expected Alertmanager's webhook body");
        }
        refused("{\"namespace\": \"a\"}", "missing field `pod`");
        refused(
            "{\"namespace\": \"a\", \"pod\": \"b\", \"contaner\": \"c\"}",
            "`contaner`",
        );
        refused(
            "{\"namespace\": \"A\", \"pod\": \"b\"}",
            "\"A\" is not the name of a namespace",
        );
        refused(
            "{\"namespace\": \"a\", \"pod\": \"-b\"}",
            "\"-b\" is not the name of a pod",
        );
        refused(
            "{\"namespace\": \"a\", \"pod\": \"b\", \"container\": \"\"}",
            "a container",
        );
        let long = json!({"namespace": "a", "pod": "b", "reason": "x".repeat(257)});
        refused(&long.to_string(), "longer than 256 bytes");
        refused(&"[".repeat(10_000), "recursion limit");
    }
}
