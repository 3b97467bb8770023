//! The end of the socket that the agent uses.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Answer, Ask, SocketError};
use crate::node::handle::Handle;

/// Connections at once; others wait.
const CONNECTIONS: usize = 16;
/// Largest request in bytes.
const MAX_ASK: u64 = 64 * 1024;
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens at `path`. A socket that an earlier agent left there is replaced. The directory is made if it is missing,
/// for root alone.
///
/// # Errors
/// If another agent listens there, if something else has the name, or if the socket cannot be made.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = || SocketError::io(path);
    let named = || path.display().to_string();
    if let Some(folder) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(failed())?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: named() });
        }
        Ok(_) if BlockingStream::connect(path).is_ok() => {
            return Err(SocketError::InUse { path: named() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed()(error)),
    }
    // The socket has another name until its mode is right: so nobody else could ever have connected.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let bind = || {
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        Ok(listener)
    };
    bind().map_err(failed())
}

/// Answers until the future is dropped.
pub(crate) async fn serve(listener: UnixListener, handle: Handle) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let handle = handle.clone();
                connections.spawn(async move {
                    if let Err(error) = answer(stream, &handle).await {
                        tracing::debug!("a connection of the local socket failed: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection of the local socket: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    let answer = if peer == nix::unistd::geteuid().as_raw() || peer == 0 {
        let mut line = Vec::new();
        let mut reader = BufReader::new(reader.take(MAX_ASK));
        match timeout(ASK_TIMEOUT, reader.read_until(b'\n', &mut line)).await {
            Ok(read) => read?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        act(&line, handle).await
    } else {
        Answer::Refused("only root may ask".to_owned())
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    match timeout(ANSWER_TIMEOUT, writer.write_all(&line)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn act(line: &[u8], handle: &Handle) -> Answer {
    let answer = match serde_json::from_slice(line) {
        Ok(Ask::Status) => handle
            .status()
            .await
            .map(|status| Answer::Status(Box::new(status))),
        Ok(Ask::Capture { target, reason }) => {
            handle.capture(target, reason).await.map(Answer::Captured)
        }
        Err(error) => return Answer::Refused(format!("cannot read the request: {error}")),
    };
    answer.unwrap_or_else(|unanswered| Answer::Refused(unanswered.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        node::handle::{CaptureOutcome, Request, Status, Target},
        socket::client,
    };

    /// An agent whose loop answers, and the path of its socket.
    struct Agent {
        path: PathBuf,
        _folder: tempfile::TempDir,
        _runtime: tokio::runtime::Runtime,
    }

    fn agent() -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        let (handle, mut requests) = Handle::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(async { listen(&path) }).unwrap();
        runtime.spawn(serve(listener, handle));
        runtime.spawn(async move {
            while let Some(request) = requests.recv().await {
                match request {
                    Request::Status(reply) => {
                        let node = "n1".to_owned();
                        let status = Status {
                            node,
                            ..Status::default()
                        };
                        reply.send(status).unwrap();
                    }
                    Request::Capture {
                        target,
                        reason,
                        reply,
                    } => reply.send(vec![outcome(&target, reason)]).unwrap(),
                    Request::Alert { .. } => panic!("not by the socket"),
                }
            }
        });
        Agent {
            path,
            _folder: folder,
            _runtime: runtime,
        }
    }

    fn outcome(target: &Target, reason: String) -> CaptureOutcome {
        CaptureOutcome {
            namespace: String::new(),
            pod: format!("{target:?}"),
            container: String::new(),
            container_id: "abc".to_owned(),
            result: Err(reason),
        }
    }

    /// Asks in another thread while the agent's runtime runs.
    fn asking<T: Send + 'static>(
        agent: &Agent,
        ask: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        let path = agent.path.clone();
        let asking = std::thread::spawn(move || ask(&path));
        agent._runtime.block_on(async {
            while !asking.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        asking.join().unwrap()
    }

    #[test]
    fn the_state_and_captures_are_answered() {
        let agent = agent();
        let status = asking(&agent, client::status).unwrap();
        assert_eq!(status.node, "n1");
        let outcomes = asking(&agent, |path| {
            client::capture(path, Target::Everything, "because".to_owned())
        });
        let expected = outcome(&Target::Everything, "because".to_owned());
        assert_eq!(outcomes.unwrap(), [expected]);
    }

    #[test]
    fn only_root_sees_it() {
        let agent = agent();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&agent.path), 0o600);
        assert_eq!(mode(agent.path.parent().unwrap()), 0o700);
    }

    #[test]
    fn rubbish_and_endless_requests_are_refused() {
        use std::io::{Read, Write};
        let agent = agent();
        for rubbish in [&b"hello\n"[..], b"{\"statu\": {}}\n", &[b'x'; 100_000]] {
            let rubbish = rubbish.to_vec();
            let answer = asking(&agent, move |path| {
                let mut stream = BlockingStream::connect(path).unwrap();
                // The agent closes the connection when it has read enough.
                let _ = stream.write_all(&rubbish);
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                String::from_utf8(answer).unwrap()
            });
            assert!(answer.contains("cannot read the request"), "{answer}");
        }
    }

    #[test]
    fn without_an_agent_it_says_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let error = client::status(&path).unwrap_err().to_string();
        assert!(
            error.contains("no agent runs here") && error.contains("lastword agent"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        drop(listen(&path).unwrap());
        let error = client::status(&path).unwrap_err();
        assert!(matches!(error, SocketError::NoAgent { .. }), "{error}");
        let _listening = listen(&path).unwrap();
        let error = listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        let error = listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
