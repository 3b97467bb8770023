//! What `kubectl lastword explain` says about a pod that was never started: Kubernetes' own reason.

use std::io::{self, Write};

use events::escape::escaped;
use kubernetes::never_started::NeverStarted;
use serde_json::json;

/// Writes the reason in the form of a verdict. All texts are Kubernetes', so they are escaped.
pub(super) fn write(
    pod: &str,
    found: &NeverStarted,
    as_json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let NeverStarted {
        container,
        why,
        evidence,
        next_step,
    } = found;
    let text = |text: &str| escaped(text.as_bytes()).to_string();
    let who = match container.as_deref().filter(|container| *container != pod) {
        Some(container) => format!("{container} of pod {pod}"),
        None => pod.to_owned(),
    };
    let sentence = text(&format!("{who} was never started: {why}"));
    let evidence: Vec<String> = evidence.iter().map(|line| text(line)).collect();
    if as_json {
        let document = json!({
            "sentence": sentence,
            "from": "kubernetes",
            "container": container.as_deref().map(text),
            "evidence": evidence,
            "next_step": text(next_step),
        });
        return writeln!(out, "{document:#}");
    }
    writeln!(out, "{sentence}")?;
    writeln!(
        out,
        "  {:<12}Kubernetes; nothing was recorded, as nothing ran",
        "from"
    )?;
    let mut label = "evidence";
    for line in evidence {
        writeln!(out, "  {label:<12}{line}")?;
        label = "";
    }
    writeln!(out, "  {:<12}{}", "next step", text(next_step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> NeverStarted {
        NeverStarted {
            container: Some("web".to_owned()),
            why: "the Secret \"db\" does not exist".to_owned(),
            evidence: vec![
                "container web waits: \u{1b}[2J".to_owned(),
                "Event Failed".to_owned(),
            ],
            next_step: "Create it.".to_owned(),
        }
    }

    #[test]
    fn it_reads_like_a_verdict_and_says_where_it_is_from() {
        let mut out = Vec::new();
        write("shop-1", &found(), false, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "web of pod shop-1 was never started: the Secret \"db\" does not exist\n\
             \x20 from        Kubernetes; nothing was recorded, as nothing ran\n\
             \x20 evidence    container web waits: \\x1b[2J\n\
             \x20             Event Failed\n\
             \x20 next step   Create it.\n"
        );
    }

    #[test]
    fn as_json_it_is_marked_too() {
        let mut out = Vec::new();
        write("web", &found(), true, &mut out).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["from"], "kubernetes");
        assert_eq!(
            document["sentence"],
            "web was never started: the Secret \"db\" does not exist"
        );
    }
}
