//! Where a file is fetched to: memory, up to a limit.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// Largest capture in bytes: many times the size of what an agent writes.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// A file in memory.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: Vec<u8>,
    limit: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            limit: MAX_BYTES,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() > self.limit - self.bytes.len() {
            let why = format!("the file is larger than {} bytes", self.limit);
            return Poll::Ready(Err(io::Error::other(why)));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_file_without_end_is_refused() {
        let mut memory = Memory {
            limit: 10,
            ..Memory::new()
        };
        memory.write_all(b"0123456789").await.unwrap();
        let error = memory.write_all(b"x").await.unwrap_err();
        assert!(error.to_string().contains("larger than 10"), "{error}");
        assert_eq!(memory.into_bytes(), b"0123456789");
    }
}
