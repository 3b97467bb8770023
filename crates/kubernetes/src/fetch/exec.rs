//! Running a command in a container, with its output as a stream.

use std::{fmt::Debug, io, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{AttachParams, AttachedProcess},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    Error,
    error::{USER_EXEC, call},
    name::hex,
};

/// If a command writes no byte for this long, it is given up.
const SILENCE: Duration = Duration::from_secs(60);
const BUFFER: usize = 64 * 1024;
/// How many bytes of a command's standard error are reported.
const COMPLAINT: u64 = 4096;

/// Computes size and checksum of the bytes that pass.
#[derive(Clone)]
pub(super) struct Sum {
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.hash.update(data);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Size in bytes, and SHA-256 in hexadecimal digits.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hash.finalize()))
    }
}

/// Runs `command` without input, and copies its output to `out`.
///
/// # Errors
/// If it cannot be started, falls silent, or exits with a code other than 0, or if `out` fails.
pub(super) async fn output(
    client: &Client,
    pod: &Pod,
    container: &str,
    command: &[&str],
    out: &mut (impl AsyncWrite + Unpin),
    sum: &mut Sum,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = AttachParams::default()
        .container(container)
        .stdin(false)
        .stderr(true)
        .max_stdout_buf_size(BUFFER);
    let name = pod.name_any();
    let started = call(USER_EXEC, api.exec(&name, command.iter().copied(), &params));
    let mut process = started.await?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let copied = copy(stdout, out, sum);
    let ((), complaint) = futures::try_join!(copied, complaint(stderr))?;
    let ended = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let status = timeout(SILENCE, ended).await.ok().flatten();
    match status {
        Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
        Some(status) if complaint.is_empty() => {
            Err(Error::Fetch(status.message.unwrap_or_default()))
        }
        Some(_) => Err(Error::Fetch(complaint)),
        None => Err(Error::Away(format!(
            "the connection ended before the command did{}",
            reason(process).await
        ))),
    }
}

/// Why the connection ended, if that is known.
async fn reason(process: AttachedProcess) -> String {
    match timeout(SILENCE, process.join()).await {
        Ok(Err(error)) => format!(": {}", crate::error::chain(&error)),
        Ok(Ok(())) | Err(_) => String::new(),
    }
}

async fn copy(
    from: Option<impl AsyncRead + Unpin>,
    out: &mut (impl AsyncWrite + Unpin),
    sum: &mut Sum,
) -> Result<(), Error> {
    let Some(mut from) = from else {
        return Ok(());
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = in_time(from.read(&mut buffer)).await?;
        if read == 0 {
            return out.flush().await.map_err(Error::Output);
        }
        sum.add(&buffer[..read]);
        out.write_all(&buffer[..read])
            .await
            .map_err(Error::Output)?;
    }
}

/// The beginning of the command's standard error. The rest is read and dropped.
async fn complaint(from: Option<impl AsyncRead + Unpin>) -> Result<String, Error> {
    let Some(mut from) = from else {
        return Ok(String::new());
    };
    let mut beginning = Vec::new();
    let mut first = (&mut from).take(COMPLAINT);
    first.read_to_end(&mut beginning).await.map_err(broken)?;
    tokio::io::copy(&mut from, &mut tokio::io::sink())
        .await
        .map_err(broken)?;
    Ok(String::from_utf8_lossy(&beginning).trim().to_owned())
}

async fn in_time(read: impl Future<Output = io::Result<usize>>) -> Result<usize, Error> {
    match timeout(SILENCE, read).await {
        Ok(read) => read.map_err(broken),
        Err(_) => Err(Error::Away(format!(
            "nothing came for {} s",
            SILENCE.as_secs()
        ))),
    }
}

fn broken(error: impl Debug) -> Error {
    Error::Away(format!("the connection broke: {error:?}"))
}
