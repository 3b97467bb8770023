//! One source of bytes that is read at several places at once.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// A position in a shared source. A clone has its own position.
pub(crate) struct Shared<R> {
    source: Arc<Mutex<R>>,
    at: u64,
}

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            at: self.at,
        }
    }
}

impl<R> Shared<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            at: 0,
        }
    }
}

impl<R: Read + Seek> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.seek(SeekFrom::Start(self.at))?;
        let read = source.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for Shared<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        self.at = match to {
            SeekFrom::Current(by) => self
                .at
                .checked_add_signed(by)
                .ok_or(io::ErrorKind::InvalidInput)?,
            to => source.seek(to)?,
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_disturb_each_other() {
        let mut one = Shared::new(io::Cursor::new(b"abcdef".to_vec()));
        let mut other = one.clone();
        let mut two = [0; 2];
        one.read_exact(&mut two).unwrap();
        other.seek(SeekFrom::End(-2)).unwrap();
        other.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ef");
        one.seek(SeekFrom::Current(1)).unwrap();
        one.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"de");
    }
}
