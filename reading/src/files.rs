//! Captures in files, or from standard input.

use std::io::{self, IsTerminal as _, Read, Seek as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use capture_format::Reader;

use crate::Capture;

/// Bytes taken from standard input: many times what a capture is large.
const MAX_INPUT: u64 = 4 << 30;

/// Captures in files.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Files {
    /// Captures (.lwcap); - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Files {
    /// Opens one after the other.
    pub fn captures(&self) -> impl ExactSizeIterator<Item = anyhow::Result<Capture>> {
        self.files.iter().map(|path| match path == Path::new("-") {
            true => standard_input(),
            false => Capture::file(path),
        })
    }
}

/// A capture has to be read from its end as well, so it goes into a file without a name first.
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
        inspect::decode::time::size(limit)
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
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/segfault.lwcap");
        std::fs::read(path).unwrap()
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
