//! `report`: writes a capture as an HTML page to a file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::output::Output;
use crate::{Capture, Captures, Screen, Shown, View};

/// One HTML page.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Report {
    /// Where to write the page [default: standard output, if that is no terminal]
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
}

impl View for Report {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        match &self.output {
            Some(path) => {
                check(path)?;
                let mut file = Output::create(path)?;
                inspect::report::write(&mut capture.reader, &mut file)?;
                file.keep()
            }
            None if out.is_terminal() => {
                bail!(
                    "a page of HTML is nothing for a terminal; say where to write it: -o crash.html"
                )
            }
            None => Ok(inspect::report::write(&mut capture.reader, out)?),
        }
    }

    fn print_all(
        &self,
        captures: &mut Captures<'_>,
        out: &mut Screen<'_>,
    ) -> anyhow::Result<Shown> {
        ensure!(
            captures.len() <= 1,
            "a page tells of one capture; run this once for each, with a page of its own"
        );
        self.print_only(&mut captures.next().context("no capture")??, out)
    }
}

/// Checks whether the page may be written to this path: a capture is not overwritten.
fn check(path: &Path) -> anyhow::Result<()> {
    if capture_format::open_file(path).is_ok() {
        bail!(
            "{} is a capture, which would be lost; give the page another name",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CAPTURE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/captures/silent.lwcap"
    );

    fn report(output: Option<PathBuf>) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut capture = Capture::file(Path::new(CAPTURE))?;
        Report { output }.print(&mut capture, &mut Screen::plain(&mut out))?;
        Ok(out)
    }

    #[test]
    fn the_page_goes_where_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crash.html");
        let out = report(Some(path.clone())).unwrap();
        assert!(out.is_empty());
        assert!(fs::read(&path).unwrap().starts_with(b"<!DOCTYPE html>"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn a_terminal_is_no_place_for_a_page() {
        let mut out = Vec::new();
        let mut capture = Capture::file(Path::new(CAPTURE)).unwrap();
        let view = Report { output: None };
        let error = view.print(&mut capture, &mut Screen::terminal(&mut out, 80));
        assert!(error.unwrap_err().to_string().contains("-o crash.html"));
        assert!(out.is_empty());
        assert!(report(None).unwrap().starts_with(b"<!DOCTYPE html>"));
    }

    #[test]
    fn a_capture_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("crash.html");
        fs::copy(CAPTURE, &copy).unwrap();
        let error = report(Some(copy.clone())).unwrap_err().to_string();
        assert!(error.contains("another name"), "{error}");
        assert_eq!(fs::read(copy).unwrap(), fs::read(CAPTURE).unwrap());
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let error = report(Some("/nonexistent/crash.html".into())).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot write /nonexistent/crash.html: creating /nonexistent/crash.html failed: No such file or directory (os error 2); check that its directory exists"
        );
    }
}
