//! Folders: the workspace, and the cache that outlives clones of it.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

use crate::step;

static WORKSPACE: OnceLock<PathBuf> = OnceLock::new();

/// The top of the workspace that xtask was started for. It is found at run time: a copy of a checkout, `target/`
/// included, holds a program that was compiled in another folder.
pub(crate) fn workspace() -> PathBuf {
    WORKSPACE
        .get_or_init(|| {
            find(env::var_os("CARGO_MANIFEST_DIR").as_deref()).unwrap_or_else(|| {
                step::say("failed: no checkout of lastword in this folder or above it; go to one, and call `cargo xtask`");
                std::process::exit(1);
            })
        })
        .clone()
}

/// The checkout that `cargo run` names, else the one around the working directory.
fn find(manifest: Option<&OsStr>) -> Option<PathBuf> {
    let from = match manifest {
        Some(folder) => PathBuf::from(folder),
        None => env::current_dir().ok()?,
    };
    let is_ours = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    from.ancestors().find(is_ours).map(Path::to_owned)
}

/// The cache folder: `$LASTWORD_CACHE`, else `$XDG_CACHE_HOME/lastword`, else `~/.cache/lastword`.
///
/// # Errors
/// None of these variables is set, nor `$HOME`.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("LASTWORD_CACHE") {
        return std::path::absolute(folder).context("$LASTWORD_CACHE is not a path");
    }
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|path| Path::new(path).is_absolute())
    {
        return Ok(PathBuf::from(folder).join("lastword"));
    }
    env::home_dir()
        .map(|home| home.join(".cache/lastword"))
        .context(
            "no home directory; set LASTWORD_CACHE to a folder for toolchains and kernels (3 GB)",
        )
}

/// Makes `folder` and, while the returned file lives, keeps other runs of xtask from filling it at the same time.
///
/// # Errors
/// The folder cannot be made or written.
pub(crate) fn locked(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "cannot make {}; set LASTWORD_CACHE to a folder that can be written",
            folder.display()
        )
    })?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_checkout_is_its_own_workspace() {
        let copy = tempfile::tempdir().unwrap();
        let package = copy.path().join("xtask");
        fs::create_dir(&package).unwrap();
        fs::write(package.join("Cargo.toml"), "").unwrap();
        assert_eq!(
            find(Some(package.as_os_str())).as_deref(),
            Some(copy.path())
        );
        let inside = package.join("src");
        assert_eq!(find(Some(inside.as_os_str())).as_deref(), Some(copy.path()));
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(find(Some(elsewhere.path().as_os_str())), None);
    }
}
