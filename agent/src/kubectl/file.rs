//! `kubectl lastword get`: writes a capture's file to this machine, readable by its owner only.

use std::{
    io::{IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use events::decode::time::size;

/// Writes the file to `output`: all of it or nothing.
///
/// # Errors
/// If it cannot be written there.
pub(super) fn write(
    capture: &str,
    bytes: &[u8],
    output: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if output == Some(Path::new("-")) {
        anyhow::ensure!(
            !std::io::stdout().is_terminal(),
            "a capture is no text for a terminal; name a file with -o, or see `kubectl lastword show`"
        );
        return Ok(out.write_all(bytes)?);
    }
    let path = match output {
        Some(path) => path.to_owned(),
        None => PathBuf::from(format!("{capture}.lwcap")),
    };
    place(bytes, &path)
        .with_context(|| format!("cannot write {}; -o names another place", path.display()))?;
    writeln!(out, "{}: {}", path.display(), size(bytes.len() as u64))?;
    Ok(())
}

fn place(bytes: &[u8], path: &Path) -> anyhow::Result<()> {
    let mut file = capture_format::NewFile::create(path)?;
    file.write_all(bytes)?;
    Ok(file.keep()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_its_owner_and_nothing_is_left_when_it_fails() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lwcap");
        let mut out = Vec::new();
        write("c", b"capture", Some(&path), &mut out).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"capture");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let taken = folder.path().join("folder");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("y"), "").unwrap();
        let error = write("c", b"capture", Some(&taken), &mut out).unwrap_err();
        assert!(error.to_string().contains("-o names another"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
