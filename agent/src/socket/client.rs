//! The end of the socket that the commands use.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::{Answer, Ask, SocketError};
use crate::node::handle::{CaptureOutcome, Status, Target};

/// How long to wait for the agent; longer than the agent may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer in bytes: far more than the outcomes of every container of a node.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// The agent's state.
///
/// # Errors
/// [`SocketError::NoAgent`] if no agent runs; others if it does not answer.
pub(crate) fn status(path: &Path) -> Result<Status, SocketError> {
    match ask(path, &Ask::Status)? {
        Answer::Status(status) => Ok(*status),
        other => Err(unexpected(other)),
    }
}

/// Captures containers now; one outcome for each that matched.
///
/// # Errors
/// As [`status`].
pub(crate) fn capture(
    path: &Path,
    target: Target,
    reason: String,
) -> Result<Vec<CaptureOutcome>, SocketError> {
    match ask(path, &Ask::Capture { target, reason })? {
        Answer::Captured(outcomes) => Ok(outcomes),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: Answer) -> SocketError {
    match answer {
        Answer::Refused(why) => SocketError::Refused(why),
        Answer::Status(_) | Answer::Captured(_) => {
            SocketError::Garbled("the answer to another question".to_owned())
        }
    }
}

fn ask(path: &Path, ask: &Ask) -> Result<Answer, SocketError> {
    let named = || path.display().to_string();
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            SocketError::NoAgent { path: named() }
        }
        io::ErrorKind::PermissionDenied => SocketError::OnlyRoot { path: named() },
        _ => SocketError::io(path)(error),
    })?;
    let mut exchange = || {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = Vec::new();
        (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(SocketError::io(path))?;
    serde_json::from_slice(&answer).map_err(|error| SocketError::Garbled(error.to_string()))
}
