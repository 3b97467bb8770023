//! Advice fits the place: nothing of Kubernetes for a command that `lastword run` executed, nothing of a shell for a
//! container.

use std::fs::read_dir;
use std::path::Path;

use capture_format::open_file;
use verdict::explain::explain;

const OF_KUBERNETES: &[&str] = &[
    "kubectl",
    "ConfigMap",
    "securityContext",
    "emptyDir",
    "podPidsLimit",
    " pod",
];

#[test]
fn each_next_step_fits_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let mut seen = [0, 0];
    for folder in [
        "",
        "held-out",
        "held-out-later",
        "held-out-last",
        "programs",
        "programs-later",
    ] {
        for file in read_dir(root.join(folder)).unwrap().flatten() {
            let path = file.path();
            if path.extension().is_none_or(|end| end != "lwcap") {
                continue;
            }
            let mut reader = open_file(&path).unwrap();
            let by_command = reader.header().trigger.kind == "run";
            let explanation = explain(&mut reader);
            for run in &explanation.runs {
                let step = &run.verdict.next_step;
                // A name of a cluster's service needs the cluster's tools, wherever it was looked up.
                let of_cluster = run.verdict.sentence.contains(".svc.cluster.local");
                let wrong = match by_command {
                    true => !of_cluster && OF_KUBERNETES.iter().any(|word| step.contains(word)),
                    false => step.contains("ulimit"),
                };
                assert!(!wrong, "{}: {step}", path.display());
                seen[usize::from(by_command)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|seen| *seen > 5), "{seen:?}");
}
