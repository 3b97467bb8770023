//! The case by which lastword is measured: Debian's nginx, whose upstream `flask` does not exist.

use std::{env, fs, path::Path, process::Command};

use lastword_tests::scene::{NGINX, Scene};
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{lastword, read},
};

/// Needs nginx: `LASTWORD_NGINX` names the folder into which Debian's packages are unpacked. Not run in guests, which
/// have no C library.
pub(crate) const CASES: &[Case] = &[(
    "explains_an_nginx_that_cannot_resolve_its_upstream",
    upstream,
)];

fn upstream() -> Result<(), Failed> {
    let hosts = fs::read("/etc/hosts")?;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir_in(kept.join("target"))?;
    let capture = folder.path().join("nginx.lwcap");
    let scene = Scene {
        packages: env::var_os("LASTWORD_NGINX")
            .ok_or("no LASTWORD_NGINX")?
            .into(),
        kept,
    };
    let output = scene.play(|| {
        let mut command = Command::new(lastword());
        command
            .args(["run", "--as-root", "--backoff", "100ms", "-o"])
            .arg(&capture)
            .arg("--")
            .args(NGINX);
        Ok(command.output()?)
    })?;
    let verdict = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for part in [
        "nginx exited 1",
        "flask.default.svc.cluster.local",
        "NXDOMAIN",
        "127.0.0.1",
        "error.log",
        "host not found in upstream",
    ] {
        assert!(verdict.contains(part), "no {part:?} in: {verdict}");
    }
    let (_, runs) = read(&capture)?;
    assert_eq!(runs.len(), 3);
    for (run, events) in &runs {
        let losses = run.losses;
        assert_eq!(
            (
                losses.lost,
                losses.overwritten,
                losses.torn,
                losses.unreadable
            ),
            (0, 0, 0, 0),
            "{losses:?}"
        );
        assert!(
            events
                .iter()
                .any(|event| event.data.starts_with(b"search default.svc.cluster.local")),
            "no resolv.conf"
        );
    }
    assert_eq!(
        hosts,
        fs::read("/etc/hosts")?,
        "the machine's own files stay"
    );
    Ok(())
}
