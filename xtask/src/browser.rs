//! The HTML report in a real browser: Debian's Chromium, driven by Playwright, both in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    apt::{Bundle, Suite, Unpacked},
    cargo, place, step,
};

/// Chromium, fonts for it, and pip for machines whose Python has none.
const CHROMIUM: Bundle = Bundle {
    name: "chromium",
    suite: Suite::Bookworm,
    packages: &["chromium", "fonts-dejavu-core", "python3-pip-whl"],
    without: &[
        "*/share/doc/*",
        "*/share/man/*",
        "*/share/locale/*",
        "*/share/icons/*",
        "*/lib/*/dri/*",
    ],
};

/// Where Debian's package `python3-pip-whl` has pip.
const WHEELS: &str = "usr/share/python-wheels";

/// The release of Playwright: its package on PyPI, which brings its own Node.js along.
const PLAYWRIGHT: &str = "1.65.2";

/// Opens reports of all captures in the browser.
///
/// # Errors
/// Packages cannot be fetched, or a test fails.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        step::say("not run: the report in a browser, which needs Linux");
        return Ok(());
    }
    let chromium = CHROMIUM.get()?;
    let playwright = playwright(&chromium)?;
    step::say("running the tests of the report in Chromium");
    step::shown(
        cargo::command("test")
            .args(["--quiet", "--package", "inspect", "--test", "browser", "--"])
            .arg("--ignored")
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

/// The folder with Playwright for Python, filled by pip if it is missing.
fn playwright(chromium: &Unpacked) -> Result<PathBuf> {
    let version = step::quiet(
        Command::new("python3").args([
            "-c",
            "import sys; print('%d.%d' % sys.version_info[:2], end='')",
        ]),
        "the report's tests are written in Python: install python3",
    )?;
    let name = format!("playwright-{PLAYWRIGHT}-python{version}");
    let folder = place::cache()?.join(name);
    let done = folder.join("playwright/__init__.py");
    let _lock = place::locked(&folder)?;
    if done.exists() {
        return Ok(folder);
    }
    step::say(format_args!(
        "fetching Playwright {PLAYWRIGHT} into the cache"
    ));
    step::quiet(
        pip(chromium)?
            .args(["install", "--quiet", "--no-input", "--only-binary", ":all:"])
            .arg("--target")
            .arg(&folder)
            .arg(format!("playwright=={PLAYWRIGHT}")),
        "check that PyPI can be reached; or install python3-pip, if pip itself fails",
    )?;
    if !done.exists() {
        bail!("pip installed no Playwright in {}", folder.display());
    }
    Ok(folder)
}

/// The machine's pip, else Debian's: its wheel is a program as it is.
fn pip(chromium: &Unpacked) -> Result<Command> {
    let mut own = Command::new("python3");
    own.args(["-m", "pip"]);
    let mut version = Command::new("python3");
    version.args(["-m", "pip", "--version"]);
    if step::quiet(&mut version, "").is_err() {
        own.env("PYTHONPATH", wheel(&chromium.root.join(WHEELS))?);
    }
    Ok(own)
}

fn wheel(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("pip-") && name.ends_with(".whl") {
            return Ok(path);
        }
    }
    bail!("no pip in {}; install python3-pip", folder.display())
}
