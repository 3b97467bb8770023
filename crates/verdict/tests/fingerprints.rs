//! How well fingerprints tell faults apart, on all captures of crashes. The figures are in docs/verdicts.md.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use verdict::Fingerprint;
use verdict::explain::explain;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A run of a capture.
struct Judged {
    /// `capture#run`.
    name: String,
    fault: String,
    fingerprint: Fingerprint,
}

/// The name of the fault of each capture, and of each run that has another fault than its capture.
struct Faults(HashMap<String, String>);

impl Faults {
    fn read() -> Self {
        let list = read_to_string(root().join("tests/captures/same-faults.txt")).unwrap();
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        let groups = lines.flat_map(|line| {
            let of = move |name: &str| (name.to_owned(), line.to_owned());
            line.split(' ').map(of)
        });
        Self(groups.collect())
    }

    fn of(&self, capture: &str, run: &str) -> String {
        let named = self.0.get(run).or_else(|| self.0.get(capture));
        named.map_or_else(|| capture.to_owned(), String::clone)
    }
}

fn judged() -> Vec<Judged> {
    let faults = Faults::read();
    let mut judged = Vec::new();
    for folder in ["", "held-out", "held-out-later", "held-out-last"] {
        let folder = root().join("tests/captures").join(folder);
        for file in folder.read_dir().unwrap().flatten() {
            let path = file.path();
            if path.extension().is_none_or(|end| end != "lwcap") {
                continue;
            }
            let capture = path.file_stem().unwrap().to_str().unwrap();
            let explanation = explain(&mut capture_format::open_file(&path).unwrap());
            judged.extend(explanation.runs.iter().map(|run| {
                let name = format!("{capture}#{}", run.run);
                Judged {
                    fault: faults.of(capture, &name),
                    fingerprint: run.fingerprint,
                    name,
                }
            }));
        }
    }
    judged.sort_by(|one, other| one.name.cmp(&other.name));
    judged
}

#[test]
fn runs_of_a_fault_agree_and_others_differ() {
    let judged = judged();
    let (mut same, mut found, mut right, mut wrong) = (0, 0, 0, Vec::new());
    for (at, one) in judged.iter().enumerate() {
        for other in &judged[at + 1..] {
            let (faults, prints) = (
                one.fault == other.fault,
                one.fingerprint == other.fingerprint,
            );
            same += usize::from(faults);
            found += usize::from(prints);
            right += usize::from(faults && prints);
            if faults != prints {
                wrong.push(format!("{} {}", one.name, other.name));
            }
        }
    }
    let figures = format!(
        "Of {} runs, {same} pairs had the same fault; {found} pairs had the same fingerprint, and {right} both",
        judged.len()
    );
    let document = read_to_string(root().join("docs/verdicts.md")).unwrap();
    let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        document.contains(&figures),
        "docs/verdicts.md says: {figures}"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
