//! The CRD in deploy/ is the one the Rust type says. `cargo xtask crds` writes it.

use std::{env, fs, path::Path};

use kube::CustomResourceExt as _;
use kubernetes::capture::Capture;

#[test]
fn the_crd_in_deploy_is_current() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds/captures.lastword.dev.yaml");
    let yaml = serde_saphyr::to_string(&Capture::crd()).unwrap();
    let expected =
        format!("# Written by `cargo xtask crds` from kubernetes/src/capture.rs.\n{yaml}");
    if env::var_os("LASTWORD_WRITE_CRDS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "{} is not current; run `cargo xtask crds`",
        path.display()
    );
}
