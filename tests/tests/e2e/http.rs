//! The agent's HTTP ports, through `kubectl port-forward`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{cluster::Cluster, install::NAMESPACE};

/// Metrics, health, alerts.
pub(crate) const HTTP: u16 = 9440;
/// Files of captures.
pub(crate) const FILES: u16 = 9441;

/// A port of this machine that leads to an agent.
pub(crate) struct Forward {
    child: Child,
    port: u16,
    /// kubectl writes a line for each connection, and ends if nobody can read it.
    _stdout: BufReader<ChildStdout>,
}

impl Forward {
    /// Opens a port that leads to this port of the agent.
    pub(crate) fn open(cluster: &Cluster, port: u16) -> Result<Forward> {
        let mut child = cluster
            .command(&[
                "port-forward",
                "-n",
                NAMESPACE,
                "daemonset/lastword-agent",
                &format!(":{port}"),
                "--address",
                "127.0.0.1",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        stdout.read_line(&mut line)?;
        // Forwarding from 127.0.0.1:40123 -> 9440
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("kubectl port-forward says {line:?}"))?;
        Ok(Forward {
            child,
            port,
            _stdout: stdout,
        })
    }

    /// Sends a request and returns status and body of the answer.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Result<(u16, String)> {
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: lastword\r\nConnection: close\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.exchange(&head, [body])
    }

    /// Sends a body of unknown length, in chunks, until an answer comes.
    pub(crate) fn endless(&self, path: &str, token: &str) -> Result<(u16, String)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: lastword\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
        self.exchange(&head, [chunk.as_str(); 64])
    }

    /// Sends the parts of a body until an answer comes. If sending went on, the reset that follows the answer would
    /// destroy it.
    fn exchange<'a>(
        &self,
        head: &str,
        body: impl IntoIterator<Item = &'a str>,
    ) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(head.as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        for part in body {
            stream.write_all(part.as_bytes())?;
            if stream.peek(&mut [0]).is_ok() {
                break;
            }
        }
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answer = Vec::new();
        // Whatever came before a reset is the answer.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no HTTP answer: {answer:?}"))?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.to_owned()))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
