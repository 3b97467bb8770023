//! Python packages, put into folders of the cache instead of installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    apt::{Bundle, Suite},
    place, step,
};

/// pip for machines whose Python has none.
const PIP: Bundle = Bundle {
    name: "pip",
    suite: Suite::Bookworm,
    packages: &["python3-pip-whl"],
    without: &["*/share/doc/*"],
};

/// Where Debian's package has pip.
const WHEELS: &str = "usr/share/python-wheels";

/// Fills a folder of the cache with packages and what they depend on, if it does not have them yet. `requirements`
/// are lines of a requirements file.
///
/// # Errors
/// The machine has no Python, a package cannot be fetched or is not the one that was meant, or the cache cannot be
/// written.
pub(crate) fn fill(folder: &Path, requirements: &[&str]) -> Result<()> {
    let _lock = place::locked(folder)?;
    let wanted = requirements.join("\n");
    let filled = folder.join("filled-with.txt");
    if fs::read_to_string(&filled).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    let request = folder.join("requirements.txt");
    let cannot = || format!("cannot write {}", request.display());
    fs::write(&request, &wanted).with_context(cannot)?;
    let names: Vec<&str> = requirements
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    step::say(format_args!("fetching {} into the cache", names.join(", ")));
    step::quiet(
        pip()?
            .args(["install", "--quiet", "--no-input", "--upgrade"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .arg("--target")
            .arg(folder)
            .arg("--requirement")
            .arg(&request),
        "check that PyPI can be reached; or install python3-pip, if pip itself fails",
    )?;
    fs::rename(&request, &filled).with_context(|| format!("cannot write {}", filled.display()))
}

/// The machine's pip, else Debian's: its wheel is a program as it is.
fn pip() -> Result<Command> {
    let own = || {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]);
        command
    };
    let hint = "some tools of the tests are Python packages: install python3";
    step::quiet(Command::new("python3").arg("--version"), hint)?;
    let mut pip = own();
    if step::quiet(own().arg("--version"), "").is_err() {
        pip.env("PYTHONPATH", wheel(&PIP.get()?.root.join(WHEELS))?);
    }
    Ok(pip)
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
