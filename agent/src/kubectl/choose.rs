//! Which capture of a pod is meant: the newest that is complete.

use kubernetes::{
    capture::{Capture, Phase, SimilarPod},
    fetch,
};

/// A capture, and what the user should know about the choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) capture: Capture,
    /// The pod's own file, if the capture is another pod's, which had the same fault.
    pub(super) similar: Option<SimilarPod>,
    pub(super) notes: Vec<String>,
}

/// Name of a Capture object.
pub(super) fn name(capture: &Capture) -> String {
    capture.metadata.name.clone().unwrap_or_default()
}

/// The container that was captured or is to be captured.
pub(super) fn container(capture: &Capture) -> Option<&str> {
    let captured = capture.status.as_ref().and_then(|s| s.container.as_deref());
    captured.or(capture.spec.container.as_deref())
}

/// Chooses among captures of the pod or of the name `of`, newest first.
///
/// # Errors
/// If none is of the container, or none is complete.
pub(super) fn choose(
    mut captures: Vec<Capture>,
    of: &str,
    wanted: Option<&str>,
) -> anyhow::Result<Choice> {
    if let Some(wanted) = wanted {
        let mut others: Vec<_> = captures.iter().filter_map(container).collect();
        others.sort_unstable();
        others.dedup();
        let others = others.join(", ");
        captures.retain(|capture| container(capture) == Some(wanted));
        anyhow::ensure!(
            !captures.is_empty(),
            "no capture of container {wanted}; there are captures of: {others}"
        );
    }
    let complete = |capture: &Capture| capture.phase() == Phase::Complete;
    let Some(at) = captures.iter().position(complete) else {
        anyhow::bail!("there is no complete capture: {}", states(&captures));
    };
    let mut notes = Vec::new();
    if at > 0 {
        notes.push(format!(
            "newer, but not complete: {}",
            states(&captures[..at])
        ));
    }
    let older = captures[at + 1..].iter().filter(|c| complete(c)).count();
    let capture = captures.swap_remove(at);
    if older > 0 {
        let which = name(&capture);
        notes.push(format!(
            "this is the newest of {} captures, {which}; `kubectl lastword list` has the others",
            older + 1
        ));
    }
    let is_own = capture.spec.pod_name == of || name(&capture) == of;
    let similar = fetch::similar(&capture, of).filter(|_| !is_own).cloned();
    Ok(Choice {
        capture,
        similar,
        notes,
    })
}

/// Says why the capture of another pod is shown.
pub(super) fn same_fault(capture: &Capture, pod: &str) -> String {
    let count = capture.status.as_ref().and_then(|status| status.similar);
    format!(
        "pod {pod} had the same fault as pod {}, whose capture {} stands for {} more",
        capture.spec.pod_name,
        name(capture),
        count.unwrap_or_default()
    )
}

/// `a is Pending; b is Failed: no such pod`.
fn states(captures: &[Capture]) -> String {
    let state = |capture: &Capture| {
        let message = capture.status.as_ref().and_then(|s| s.message.as_deref());
        let why = message.map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} is {:?}{why}", name(capture), capture.phase())
    };
    captures.iter().map(state).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(super) mod tests {
    use kubernetes::capture::{CaptureSpec, CaptureStatus};

    use super::*;

    pub(in crate::kubectl) fn capture(name: &str, container: &str, phase: Phase) -> Capture {
        let mut capture = Capture::new(
            name,
            CaptureSpec {
                pod_name: "web-1".to_owned(),
                ..CaptureSpec::default()
            },
        );
        capture.metadata.namespace = Some("shop".to_owned());
        capture.status = Some(CaptureStatus {
            phase,
            container: Some(container.to_owned()),
            message: (phase == Phase::Failed).then(|| "no such pod".to_owned()),
            ..CaptureStatus::default()
        });
        capture
    }

    #[test]
    fn the_newest_complete_one_is_chosen_and_the_others_are_told() {
        let captures = vec![
            capture("d", "web", Phase::Capturing),
            capture("c", "web", Phase::Complete),
            capture("b", "web", Phase::Failed),
            capture("a", "web", Phase::Complete),
        ];
        let choice = choose(captures, "web-1", None).unwrap();
        assert_eq!(name(&choice.capture), "c");
        let notes = choice.notes.join("\n");
        assert!(notes.contains("d is Capturing"), "{notes}");
        assert!(notes.contains("newest of 2 captures, c"), "{notes}");
    }

    #[test]
    fn a_container_can_be_chosen() {
        let captures = || {
            vec![
                capture("b", "proxy", Phase::Complete),
                capture("a", "web", Phase::Complete),
            ]
        };
        let choice = choose(captures(), "web-1", Some("web")).unwrap();
        assert_eq!(name(&choice.capture), "a");
        assert!(choice.notes.is_empty(), "{:?}", choice.notes);
        let error = choose(captures(), "web-1", Some("db"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("proxy, web"), "{error}");
    }

    #[test]
    fn a_pod_that_another_stands_for_has_its_own_file() {
        let mut other = capture("web-main-1", "web", Phase::Complete);
        let status = other.status.as_mut().unwrap();
        status.similar = Some(197);
        status.similar_pods = vec![SimilarPod {
            pod_name: "web-9".to_owned(),
            file: "web-9-web-1a2b".to_owned(),
            ..SimilarPod::default()
        }];
        let choice = choose(vec![other.clone()], "web-9", None).unwrap();
        assert_eq!(choice.similar.unwrap().file, "web-9-web-1a2b");
        let said = same_fault(&choice.capture, "web-9");
        assert!(
            said.contains("web-9") && said.contains("pod web-1,") && said.contains("197"),
            "{said}"
        );
        for of in ["web-1", "web-main-1"] {
            assert_eq!(choose(vec![other.clone()], of, None).unwrap().similar, None);
        }
    }

    #[test]
    fn what_is_not_complete_says_why() {
        let error = choose(vec![capture("a", "web", Phase::Failed)], "web-1", None).unwrap_err();
        assert!(
            error.to_string().contains("a is Failed: no such pod"),
            "{error}"
        );
    }
}
