//! Which pods are captured at all.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::{LabelSelector, Labels};

/// Which pods are captured. All conditions must hold; by default, everything is captured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selectors {
    /// Namespaces by name.
    pub namespaces: Namespaces,
    /// Labels of the pod.
    pub pod_labels: LabelSelector,
    /// Labels of its namespace.
    pub namespace_labels: LabelSelector,
}

/// Namespaces by name. `exclude` wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Namespaces {
    /// At least one of these must match.
    pub include: Vec<NamePattern>,
    /// None of these may match.
    pub exclude: Vec<NamePattern>,
}

/// A name in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct NamePattern(WildMatch);

impl From<String> for NamePattern {
    fn from(pattern: String) -> Self {
        Self(WildMatch::new(&pattern))
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0.to_string()
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            include: vec![NamePattern::from("*".to_owned())],
            exclude: Vec::new(),
        }
    }
}

impl Namespaces {
    /// Whether every namespace is selected, known or unknown.
    fn all(&self) -> bool {
        *self == Self::default()
    }

    fn matches(&self, name: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.0.matches(name));
        any(&self.include) && !any(&self.exclude)
    }
}

impl Selectors {
    /// Whether a pod is selected; `None` if that depends on something that is not yet known about it.
    pub(crate) fn select(
        &self,
        namespace: Option<&str>,
        pod_labels: Option<&Labels>,
        namespace_labels: Option<&Labels>,
    ) -> Option<bool> {
        let by_labels = |selector: &LabelSelector, labels: Option<&Labels>| {
            if selector.is_empty() {
                Some(true)
            } else {
                labels.map(|labels| selector.matches(labels))
            }
        };
        let by_name = if self.namespaces.all() {
            Some(true)
        } else {
            namespace.map(|name| self.namespaces.matches(name))
        };
        let answers = [
            by_name,
            by_labels(&self.pod_labels, pod_labels),
            by_labels(&self.namespace_labels, namespace_labels),
        ];
        if answers.contains(&Some(false)) {
            Some(false)
        } else if answers.contains(&None) {
            None
        } else {
            Some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(include: &[&str], exclude: &[&str]) -> Namespaces {
        let patterns = |names: &[&str]| {
            names
                .iter()
                .map(|name| NamePattern::from((*name).to_owned()))
                .collect()
        };
        Namespaces {
            include: patterns(include),
            exclude: patterns(exclude),
        }
    }

    #[test]
    fn names() {
        let some = namespaces(&["team-*", "web"], &["team-x"]);
        assert!(some.matches("team-a") && some.matches("web"));
        assert!(!some.matches("team-x") && !some.matches("website") && !some.matches("my-team-a"));
        assert!(!namespaces(&[], &[]).matches("web"));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(Selectors::default().select(None, None, None), Some(true));
        let selectors = Selectors {
            namespaces: namespaces(&["*"], &["kube-*"]),
            pod_labels: LabelSelector::default(),
            namespace_labels: "captured=yes".parse().unwrap(),
        };
        assert_eq!(selectors.select(None, None, None), None);
        assert_eq!(selectors.select(Some("web"), None, None), None);
        assert_eq!(
            selectors.select(Some("kube-system"), None, None),
            Some(false)
        );
        let labels = Labels::from([("captured".to_owned(), "yes".to_owned())]);
        assert_eq!(selectors.select(None, None, Some(&labels)), None);
        assert_eq!(
            selectors.select(Some("web"), None, Some(&labels)),
            Some(true)
        );
        assert_eq!(
            selectors.select(None, None, Some(&Labels::new())),
            Some(false)
        );
    }
}
