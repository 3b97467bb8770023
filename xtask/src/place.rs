//! Folders: the workspace, and the cache that outlives clones of it.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The top of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
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
