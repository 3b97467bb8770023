//! What the annotations of pods and namespaces say about captures.

use crate::{Labels, Rules, closest};

const PREFIX: &str = "lastword.dev/";
const NAMES: [&str; 3] = ["capture", "trigger", "payload"];

/// lastword's annotations on a pod and on its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pod: Labels,
    /// `None` as long as they are not known.
    namespace: Option<Labels>,
}

impl Annotations {
    /// Keeps lastword's own annotations only.
    pub(crate) fn of(pod: Labels, namespace: Option<Labels>) -> Self {
        let ours = |mut all: Labels| {
            all.retain(|key, _| key.starts_with(PREFIX));
            all
        };
        Self {
            pod: ours(pod),
            namespace: namespace.map(ours),
        }
    }

    /// Whether the annotations of the pod and of the namespace are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.namespace.is_some()
    }

    /// The first valid annotation with this name: first the one for the container, then the pod's, then the
    /// namespace's.
    fn find<T>(
        &self,
        container: &str,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let key = format!("{PREFIX}{name}");
        let own = format!("{key}.{container}");
        let of_namespace = |key| self.namespace.as_ref().and_then(|all| all.get(key));
        [
            self.pod.get(&own),
            of_namespace(&own),
            self.pod.get(&key),
            of_namespace(&key),
        ]
        .into_iter()
        .flatten()
        .find_map(|value| parse(value).ok())
    }

    /// Whether annotations switch the container on or off.
    pub(crate) fn capture(&self, container: &str) -> Option<bool> {
        self.find(container, "capture", capture)
    }

    /// Whether an annotation for this container alone switches it on.
    pub(crate) fn is_chosen(&self, container: &str) -> bool {
        let key = format!("{PREFIX}capture.{container}");
        let namespace = self.namespace.iter();
        let mut both = std::iter::once(&self.pod).chain(namespace);
        let said = both.find_map(|all| all.get(&key));
        said.is_some_and(|value| capture(value) == Ok(true))
    }

    /// The container's own rules.
    pub(crate) fn rules(&self, container: &str, configured: &Rules) -> Option<Rules> {
        self.find(container, "trigger", |value| {
            Rules::parse(value, configured)
        })
    }

    /// Whether the container's payloads are stored.
    pub(crate) fn payload(&self, container: &str) -> bool {
        self.find(container, "payload", payload).unwrap_or(true)
    }

    /// A sentence for each annotation that is ignored.
    pub(crate) fn warnings(&self, configured: &Rules) -> Vec<String> {
        let of = |annotations: &Labels, whose: &str| -> Vec<String> {
            annotations
                .iter()
                .filter_map(|(key, value)| {
                    let problem = check(key.strip_prefix(PREFIX)?, value, configured).err()?;
                    Some(format!(
                        "the annotation {key} of the {whose} is ignored: {problem}"
                    ))
                })
                .collect()
        };
        let mut all = of(&self.pod, "pod");
        all.extend(
            self.namespace
                .iter()
                .flat_map(|namespace| of(namespace, "namespace")),
        );
        all
    }
}

fn check(name: &str, value: &str, configured: &Rules) -> Result<(), String> {
    match name.split('.').next().unwrap_or(name) {
        "capture" => capture(value).map(drop),
        "trigger" => Rules::parse(value, configured).map(drop),
        "payload" => payload(value).map(drop),
        other => Err(match closest(other, NAMES) {
            Some(meant) => format!("there is none of this name; did you mean {PREFIX}{meant}?"),
            None => format!("there is none of this name; there are {}", NAMES.join(", ")),
        }),
    }
}

fn capture(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither `on` nor `off`")),
    }
}

fn payload(value: &str) -> Result<bool, String> {
    match value {
        "none" => Ok(false),
        "default" => Ok(true),
        _ => Err(format!("`{value}` is neither `none` nor `default`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pod: &[(&str, &str)], namespace: &[(&str, &str)]) -> Annotations {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        Annotations::of(labels(pod), Some(labels(namespace)))
    }

    #[test]
    fn the_closest_to_the_container_wins() {
        let both = annotations(
            &[
                ("lastword.dev/capture", "off"),
                ("lastword.dev/capture.app", "on"),
            ],
            &[
                ("lastword.dev/capture", "on"),
                ("lastword.dev/payload", "none"),
            ],
        );
        assert_eq!(both.capture("app"), Some(true));
        assert_eq!(both.capture("sidecar"), Some(false));
        assert!(!both.payload("app"));
        let none = annotations(&[("example.com/capture", "off")], &[]);
        assert_eq!(none, annotations(&[], &[]));
        assert_eq!(none.capture("app"), None);
        assert!(none.payload("app"));
    }

    #[test]
    fn what_says_nothing_is_ignored_and_told() {
        let wrong = annotations(
            &[
                ("lastword.dev/capture", "no"),
                ("lastword.dev/triggers", "default"),
                ("lastword.dev/trigger.app", "oomkilled"),
                ("lastword.dev/payload", "none"),
            ],
            &[
                ("lastword.dev/capture", "off"),
                ("lastword.dev/colour", "red"),
            ],
        );
        assert_eq!(wrong.capture("app"), Some(false));
        assert_eq!(wrong.rules("app", &Rules::default()), None);
        let warnings = wrong.warnings(&Rules::default()).join("\n");
        assert_eq!(
            warnings,
            "the annotation lastword.dev/capture of the pod is ignored: `no` is neither `on` nor `off`\n\
             the annotation lastword.dev/trigger.app of the pod is ignored: there is no rule `oomkilled`; did you mean `oom-killed`?\n\
             the annotation lastword.dev/triggers of the pod is ignored: there is none of this name; did you mean lastword.dev/trigger?\n\
             the annotation lastword.dev/colour of the namespace is ignored: there is none of this name; there are capture, trigger, payload"
        );
    }
}
