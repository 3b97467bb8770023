//! Label selectors in Kubernetes' own syntax.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Labels;

/// A label selector in the syntax of kubectl's `-l`: `app=web, tier in (front, back), !canary`. All its requirements
/// must be met; an empty selector selects everything. `!=` and `notin` are also met if the label is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelSelector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        if !text.trim().is_empty() {
            for part in split(text)? {
                let requirement = requirement(part.trim())
                    .map_err(|problem| format!("label selector `{text}`: {problem}"))?;
                requirements.push(requirement);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            requirements,
        })
    }
}

impl TryFrom<String> for LabelSelector {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LabelSelector> for String {
    fn from(selector: LabelSelector) -> Self {
        selector.text
    }
}

/// Splits at commas that are not inside parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => {
                return Err(format!(
                    "label selector `{text}`: `{character}` has no partner"
                ));
            }
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(format!("label selector `{text}`: `(` has no partner"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::Missing)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(vec![label_value(value)?]))
    } else if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        (key, Test::In(vec![label_value(value)?]))
    } else if let Some((left, values)) = part.split_once('(') {
        let values = values
            .strip_suffix(')')
            .ok_or_else(|| format!("something follows the `)` of `{part}`"))?
            .split(',')
            .map(label_value)
            .collect::<Result<_, _>>()?;
        match left.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => (key, Test::In(values)),
            [key, "notin"] => (key, Test::NotIn(values)),
            _ => return Err(format!("`{part}` needs `in` or `notin` before its values")),
        }
    } else {
        (part, Test::Exists)
    };
    Ok(Requirement {
        key: label_key(key.trim())?.to_owned(),
        test,
    })
}

fn is_label_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn label_key(key: &str) -> Result<&str, String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) if !prefix.is_empty() && prefix.chars().all(is_label_character) => {
            name
        }
        Some(_) => "",
        None => key,
    };
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_label_character) {
        return Err(format!(
            "`{key}` is no label key; write it as in `app=web`, `tier in (a, b)` or `!canary`"
        ));
    }
    Ok(key)
}

fn label_value(value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.len() > 63 || !value.chars().all(is_label_character) {
        return Err(format!(
            "`{value}` is no label value: letters, digits, `-`, `_` and `.`, 63 at most"
        ));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        selector.parse::<LabelSelector>().unwrap().matches(&labels)
    }

    #[test]
    fn equality() {
        for selector in ["app=web", "app==web", " app = web ", "app=web,tier!=back"] {
            assert!(selects(selector, &[("app", "web")]), "{selector}");
            assert!(!selects(selector, &[("app", "db")]), "{selector}");
        }
        assert!(!selects(
            "app=web,tier!=back",
            &[("app", "web"), ("tier", "back")]
        ));
        assert!(selects("app!=web", &[]));
        assert!(selects("app=", &[("app", "")]));
    }

    #[test]
    fn sets() {
        let selector = "tier in (front, back),!canary, example.com/team";
        let team = ("example.com/team", "a");
        assert!(selects(selector, &[("tier", "back"), team]));
        assert!(!selects(selector, &[("tier", "other"), team]));
        assert!(!selects(selector, &[team]));
        assert!(!selects(selector, &[("tier", "back")]));
        assert!(!selects(
            selector,
            &[("tier", "back"), team, ("canary", "")]
        ));
        assert!(selects("tier notin (front)", &[]));
        assert!(!selects("tier notin(front)", &[("tier", "front")]));
        assert!(selects("", &[]) && selects("  ", &[team]));
    }

    #[test]
    fn what_it_is_not() {
        for selector in [
            "=web",
            "app=web,",
            ",",
            "!",
            "a b",
            "a=b=c",
            "a>3",
            "a in b",
            "a in (b",
            "a in b)",
            "a (b)",
            "a in ((b))",
            "a in (b) c",
            "/a",
            "a/",
            "a in (b c)",
            "é=1",
        ] {
            assert!(selector.parse::<LabelSelector>().is_err(), "{selector}");
        }
    }
}
