//! The HTML report in a real browser: Debian's Chromium, driven by Playwright, both in the cache.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    apt::{Bundle, Suite, Unpacked},
    built, pip, place, step,
};

/// Chromium, and fonts for it.
const CHROMIUM: Bundle = Bundle {
    name: "chromium",
    suite: Suite::Bookworm,
    packages: &["chromium", "fonts-dejavu-core"],
    without: &[
        "*/share/doc/*",
        "*/share/man/*",
        "*/share/locale/*",
        "*/share/icons/*",
        "*/lib/*/dri/*",
    ],
};

/// The release of Playwright: its package on PyPI, which brings its own Node.js along.
const PLAYWRIGHT: &str = "1.65.2";

/// Gives Chromium, and the folder with Playwright, fetching them if they are not in the cache yet.
///
/// # Errors
/// They cannot be fetched.
pub(crate) fn fetch() -> Result<(Unpacked, PathBuf)> {
    Ok((CHROMIUM.get()?, playwright()?))
}

/// Opens reports in the browser.
///
/// # Errors
/// Packages cannot be fetched, or a test fails.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        step::say("not run: the report in a browser, which needs Linux");
        return Ok(());
    }
    let (chromium, playwright) = fetch()?;
    step::say("running the tests of the report in Chromium");
    step::shown(
        built::cargo("test")?
            .args(["--quiet", "--test", "browser", "--", "--ignored"])
            .args(filter)
            .env("LASTWORD_CHROMIUM", program(&chromium))
            .env("LASTWORD_CHROMIUM_LIBRARIES", libraries(&chromium))
            .env("LASTWORD_CHROMIUM_ROOT", &chromium.root)
            .env("PYTHONPATH", playwright),
        "see the failed tests above",
    )
}

fn program(chromium: &Unpacked) -> PathBuf {
    chromium.root.join("usr/lib/chromium/chromium")
}

/// PulseAudio has its library in a folder of its own.
fn libraries(chromium: &Unpacked) -> String {
    let libraries = chromium.libraries();
    let pulse = libraries
        .split(':')
        .map(|folder| format!("{folder}/pulseaudio"));
    format!("{libraries}:{}", pulse.collect::<Vec<_>>().join(":"))
}

/// The folder with Playwright for Python.
fn playwright() -> Result<PathBuf> {
    let version = step::quiet(
        Command::new("python3").args([
            "-c",
            "import sys; print('%d.%d' % sys.version_info[:2], end='')",
        ]),
        "the report's tests are written in Python: install python3",
    )?;
    let name = format!("playwright-{PLAYWRIGHT}-python{version}");
    let folder = place::cache()?.join(name);
    pip::fill(&folder, &[&format!("playwright=={PLAYWRIGHT}")])?;
    Ok(folder)
}
