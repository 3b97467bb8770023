//! A progress bar for reading a file: on standard error, if that is a terminal and reading takes long.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar is shown only if reading takes longer than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// A progress bar for one file.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub(crate) fn new(size: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
        let template = "reading {wide_bar} {binary_bytes} of {binary_total_bytes}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            started: Instant::now(),
        }
    }

    /// The same source; the bar shows how far it is read.
    pub(crate) fn watch<R>(&self, source: R) -> Watched<R> {
        Watched {
            source,
            at: 0,
            progress: self.clone(),
        }
    }

    fn at(&self, position: u64) {
        if self.bar.is_finished() {
            return;
        }
        // indicatif shows nothing if standard error is not a terminal.
        if self.bar.is_hidden() && self.started.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    /// Removes the bar for good.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A source that reports how far it is read.
pub(crate) struct Watched<R> {
    source: R,
    at: u64,
    progress: Progress,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.at += read as u64;
        self.progress.at(self.at);
        Ok(read)
    }
}

impl<R: Seek> Seek for Watched<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.source.seek(to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_where_the_reading_is_and_stays_away_once_it_ended() {
        let progress = Progress::new(10);
        let mut source = progress.watch(io::Cursor::new([7u8; 10]));
        source.seek(SeekFrom::Start(4)).unwrap();
        source.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(progress.bar.position(), 7);
        progress.end();
        source.read_exact(&mut [0; 3]).unwrap();
        assert!(progress.bar.is_finished());
    }
}
