//! Where `lastword run` writes its capture.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use capture_format::{NewFile, WriteError, chain};

use super::caller::{Caller, act_as};

/// A path that was writable before the command ran.
pub(super) struct Output(PathBuf);

impl Output {
    /// Tries whether the path can be written by the user to whom the capture will belong. Leaves nothing there.
    ///
    /// # Errors
    /// If nothing can be written there: the command must not run in vain.
    pub(super) fn open(path: PathBuf, caller: Option<&Caller>) -> anyhow::Result<Self> {
        let advice = || match caller {
            Some(caller) => format!(
                "the capture would belong to {}, who called sudo, and cannot be written; choose another place with -o, or --as-root",
                caller.shown()
            ),
            None => "the capture cannot be written; choose another place with -o".to_owned(),
        };
        act_as(caller, || NewFile::create(&path).map(drop))?.with_context(advice)?;
        Ok(Self(path))
    }

    /// Writes the capture there, or else into the folder for temporary files. Returns where the file is.
    ///
    /// # Errors
    /// If the file is not where it should be. The error says why, and where it is instead.
    pub(super) fn write(&self, capture: &[u8], caller: Option<&Caller>) -> anyhow::Result<&Path> {
        let place = &*self.0;
        let Err(why) = act_as(caller, || write(place, capture))? else {
            return Ok(place);
        };
        let beside = instead_of(place);
        let now = match act_as(caller, || write(&beside, capture))? {
            Ok(()) => format!("the capture is in {} instead", beside.display()),
            Err(error) => format!(
                "the capture was not kept: nor could it be written to another place ({})",
                chain(&error)
            ),
        };
        Err(why).with_context(|| now)
    }
}

fn write(path: &Path, capture: &[u8]) -> Result<(), WriteError> {
    let mut file = NewFile::create(path)?;
    file.write_all(capture)
        .map_err(WriteError::at(path, "writing"))?;
    file.keep()
}

/// A unique name in the folder for temporary files.
fn instead_of(place: &Path) -> PathBuf {
    let stem = place.file_stem().unwrap_or_default().to_string_lossy();
    std::env::temp_dir().join(format!("{stem}-{}.lwcap", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_left_of_a_try() {
        let folder = tempfile::tempdir().unwrap();
        Output::open(folder.path().join("x.lwcap"), None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for bad in [folder.path().to_owned(), folder.path().join("no/x.lwcap")] {
            let error = format!("{:#}", Output::open(bad, None).err().unwrap());
            assert!(error.contains("-o"), "{error}");
        }
    }

    #[test]
    fn a_place_that_went_away_is_told_and_the_capture_is_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder
            .path()
            .join("gone")
            .join("lastword-test-of-output.lwcap");
        fs::create_dir(folder.path().join("gone")).unwrap();
        let output = Output::open(place.clone(), None).unwrap();
        assert_eq!(output.write(b"capture", None).unwrap(), place);
        fs::remove_dir_all(folder.path().join("gone")).unwrap();
        let error = format!("{:#}", output.write(b"capture", None).unwrap_err());
        let elsewhere = instead_of(&place);
        assert!(
            error.contains(&*place.to_string_lossy())
                && error.contains(&*elsewhere.to_string_lossy()),
            "{error}"
        );
        assert_eq!(fs::read(&elsewhere).unwrap(), b"capture");
        fs::remove_file(elsewhere).unwrap();
    }
}
