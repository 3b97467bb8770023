//! Captures that come from files or from standard input.

use std::fs;
use std::io::{self, IsTerminal as _, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use capture_format::Reader;
use events::escape::escaped;

use crate::Capture;

/// How many bytes are read from standard input at most: many times the size of a capture.
const MAX_INPUT: u64 = 4 << 30;

/// Captures in files.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Files {
    /// Captures (.lwcap); - is standard input [default: the newest capture in this folder]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Files {
    /// Opens the captures one after the other. If none is named, the newest one of the working folder is taken, and
    /// standard error says which one that is.
    ///
    /// # Errors
    /// If none is named, and the working folder has none or cannot be read.
    pub fn captures(
        &self,
    ) -> anyhow::Result<impl ExactSizeIterator<Item = anyhow::Result<Capture>> + use<>> {
        let mut files = self.files.clone();
        if files.is_empty() {
            let path = newest(Path::new("."))?;
            let shown = path.as_os_str().as_encoded_bytes();
            crate::note(format_args!("{}, the newest capture here", escaped(shown)));
            files.push(path);
        }
        let open = |path: PathBuf| match path == Path::new("-") {
            true => standard_input(),
            false => Capture::file(&path),
        };
        Ok(files.into_iter().map(open))
    }
}

/// The capture of a folder that was written last.
fn newest(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(folder)
        .context("no FILE was named, and this folder cannot be read: name a capture")?;
    let captures = entries.flatten().filter_map(|entry| {
        let path = PathBuf::from(entry.file_name());
        // A pipe with the name of a capture is not a file; a link may lead to one.
        let found = fs::metadata(entry.path())
            .ok()
            .filter(fs::Metadata::is_file)?;
        let is_capture = path.extension().is_some_and(|it| it == "lwcap");
        let written = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        is_capture.then_some((written, path))
    });
    let newest = captures.max().context(
        "no FILE was named, and there is no capture (*.lwcap) in this folder: name one, or record one with `lastword run -- COMMAND`",
    )?;
    Ok(newest.1)
}

/// Standard input is copied into a file without a name first, because a capture must also be read from its end.
fn standard_input() -> anyhow::Result<Capture> {
    let input = io::stdin();
    ensure!(
        !input.is_terminal(),
        "standard input is a terminal: redirect a capture to it, or name a file"
    );
    spooled(input.lock(), MAX_INPUT).context("standard input")
}

fn spooled(input: impl Read, limit: u64) -> anyhow::Result<Capture> {
    let mut file = tempfile::tempfile()
        .context("no temporary file can be made; $TMPDIR names another place")?;
    let size = io::copy(&mut input.take(limit + 1), &mut file)
        .context("cannot be copied to a temporary file")?;
    ensure!(
        size <= limit,
        "it is larger than {}; save it to a file first",
        events::decode::time::size(limit)
    );
    file.rewind()?;
    let reader = Reader::open(file)?;
    let name = "standard input".to_owned();
    Ok(Capture::new(
        name,
        reader.map_source(|file| Box::new(file) as _),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures/segfault.lwcap");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn the_newest_capture_of_a_folder_is_the_one_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = newest(folder.path()).unwrap_err().to_string();
        assert!(nothing.contains("lastword run"), "{nothing}");
        for (name, seconds) in [("b.lwcap", 2), ("a.lwcap", 3), ("c.lwcap", 1), ("z.txt", 9)] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let written = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(written).unwrap();
        }
        fs::create_dir(folder.path().join("folder.lwcap")).unwrap();
        assert_eq!(newest(folder.path()).unwrap(), Path::new("a.lwcap"));
    }

    #[test]
    fn a_stream_is_read_as_the_file_would_be() {
        let capture = spooled(&sample()[..], MAX_INPUT).unwrap();
        assert_eq!(capture.reader.runs().len(), 1);
        assert!(capture.reader.damage().is_empty());
    }

    #[test]
    fn a_stream_without_end_is_refused() {
        let error = spooled(io::repeat(0), 1000).err().unwrap();
        assert!(
            format!("{error:#}").contains("larger than 1000 B"),
            "{error:#}"
        );
        let sample = sample();
        assert!(spooled(&sample[..], sample.len() as u64).is_ok());
    }

    #[test]
    fn a_stream_of_something_else_is_refused() {
        let error = spooled(&b"hello, this is no capture"[..], MAX_INPUT)
            .err()
            .unwrap();
        assert!(!error.to_string().is_empty());
    }
}
