//! Who may read files: a person with rights in one namespace reads its captures, and nothing else.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Case,
    cluster::{Cluster, text, wait},
    http::{FILES, Forward},
    install::{self, Install, NAMESPACE},
    scenarios::{complete, quick},
};

pub(crate) const CASES: &[(&str, Case)] = &[(
    "a reader of one namespace reads its files and nothing else",
    reader,
)];

const OURS: &str = "lastword-e2e-reading-ours";
const THEIRS: &str = "lastword-e2e-reading-theirs";
/// The person's ServiceAccount, in [`OURS`].
const PERSON: &str = "on-call";
/// A Capture that does not exist.
const NOBODY: &str = "nobody-main-0000000000-1";
/// SHA-256 of a secret of 64 zeros.
const ZEROS_SHA256: &str = "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55";

fn reader(cluster: &Cluster) -> Result<String> {
    let scenario = quick()?;
    Install::standard(cluster)?.complete(cluster)?;
    for space in [OURS, THEIRS] {
        cluster.fresh_namespace(space)?;
        cluster.apply(space, scenario.file)?;
    }
    let of_crash = |space| -> Result<String> {
        let capture = complete(cluster, space, scenario.name, 3)?;
        Ok(text(&capture, "/metadata/name").to_owned())
    };
    let (ours, theirs) = (of_crash(OURS)?, of_crash(THEIRS)?);
    ensure!(ours == theirs, "{ours} and {theirs} are the same fault");
    let file = tempfile::NamedTempFile::new()?;
    write!(&file, "{}", person(cluster)?)?;
    let kubeconfig = file.path();

    let explained = plugin(cluster, kubeconfig, &["explain", scenario.name, "-n", OURS])?;
    scenario.check(&explained)?;
    let left = cluster.list(&["capturereads", "-n", OURS])?;
    ensure!(left.is_empty(), "a CaptureRead is left behind: {left:?}");

    let refused = plugin(
        cluster,
        kubeconfig,
        &["explain", scenario.name, "-n", THEIRS],
    );
    let refused = refusal(refused)?;
    let command = format!(
        "kubectl -n {THEIRS} create rolebinding lastword-file-reader-{PERSON} --clusterrole=lastword-file-reader --serviceaccount={OURS}:{PERSON}"
    );
    for words in ["not allowed to create capturereads", &command] {
        ensure!(refused.contains(words), "no {words:?} in {refused}");
    }

    let pods = install::pods(cluster)?;
    let agent = text(pods.first().context("no agent")?, "/metadata/name");
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let exec = [
        &*kubeconfig,
        "exec",
        "-n",
        NAMESPACE,
        agent,
        "--",
        "/usr/bin/lastword",
    ];
    let exec = refusal(cluster.run(&exec))?;
    ensure!(
        exec.contains("cannot create resource \"pods/exec\""),
        "{exec}"
    );

    foreign(cluster, &ours, &theirs)?;
    // Without the command line, which has paths of this machine.
    let said = refused.rsplit("lastword: ").next().unwrap_or_default();
    Ok(format!("{ours} read; the other one: {said}"))
}

/// Somebody who can make CaptureReads in one namespace tries to read a file of another.
fn foreign(cluster: &Cluster, ours: &str, theirs: &str) -> Result<()> {
    for (name, capture) in [("for-ours", ours), ("for-nobody", NOBODY)] {
        let read = json!({
            "apiVersion": "lastword.dev/v1alpha1",
            "kind": "CaptureRead",
            "metadata": { "name": name },
            "spec": { "captureName": capture, "secretSha256": ZEROS_SHA256 },
        });
        cluster.apply(OURS, &read.to_string())?;
    }
    let forward = Forward::open(cluster, FILES)?;
    let asked = |space: &str, capture: &str, read: &str| -> Result<(u16, String)> {
        let path = format!("/api/v1/namespaces/{space}/captures/{capture}/file");
        forward.request(
            "GET",
            &path,
            Some(&format!("{read}.{}", "0".repeat(64))),
            "",
        )
    };
    for (space, capture, read, code) in [
        (OURS, ours, "for-ours", 200),
        (OURS, ours, "for-nobody", 403),
        (OURS, NOBODY, "for-nobody", 404),
        // The same fault of a pod of the same name: the Capture is called the same there.
        (THEIRS, theirs, "for-ours", 401),
        (THEIRS, theirs, "for-nobody", 401),
    ] {
        let (answered, said) = asked(space, capture, read)?;
        ensure!(
            answered == code,
            "{read} for {space}/{capture}: {answered} {said}"
        );
    }
    Ok(())
}

/// The kubeconfig of a person who sees verdicts in both namespaces, and reads files in [`OURS`].
fn person(cluster: &Cluster) -> Result<Value> {
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": PERSON },
    });
    let token = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "on-call-token",
            "annotations": { "kubernetes.io/service-account.name": PERSON },
        },
    });
    cluster.apply(OURS, &account.to_string())?;
    cluster.apply(OURS, &token.to_string())?;
    for (space, kind, role) in [
        (OURS, "ClusterRole", "lastword-file-reader"),
        (THEIRS, "ClusterRole", "lastword-reader"),
        (NAMESPACE, "Role", "lastword-reader"),
    ] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "lastword-e2e-on-call" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": PERSON, "namespace": OURS }],
        });
        cluster.apply(space, &binding.to_string())?;
    }
    let template = "{{with .data}}{{with .token}}{{. | base64decode}}{{end}}{{end}}";
    let template = format!("go-template={template}");
    let token = wait("token", || {
        let get = [
            "get",
            "secret",
            "on-call-token",
            "-n",
            OURS,
            "-o",
            &template,
        ];
        let token = cluster.run(&get)?;
        Ok(if token.is_empty() {
            Err(token)
        } else {
            Ok(token)
        })
    })?;
    with_token(cluster, &token)
}

/// The kubeconfig of the tests, with another token as its credentials.
pub(crate) fn with_token(cluster: &Cluster, token: &str) -> Result<Value> {
    let view = [
        "config",
        "view",
        "--raw",
        "--minify",
        "--flatten",
        "-o",
        "json",
    ];
    let mut config: Value = serde_json::from_str(&cluster.run(&view)?)?;
    config["users"][0]["user"] = json!({ "token": token });
    Ok(config)
}

fn plugin(cluster: &Cluster, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let kubeconfig = kubeconfig.to_str().context("the path is not UTF-8")?;
    cluster.plugin(&[arguments, &["--kubeconfig", kubeconfig]].concat())
}

/// The error of something that must fail.
pub(crate) fn refusal(outcome: Result<String>) -> Result<String> {
    match outcome {
        Ok(said) => bail!("it was allowed: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}
