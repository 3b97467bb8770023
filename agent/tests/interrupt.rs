//! Ctrl-C while the kubectl plugin fetches a file, with an API server that never reaches an agent.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop";

/// The answer to a request; `None` if there never is one.
fn answer(method: &str, path: &str) -> Option<Value> {
    let list = |kind: &str, item: Value| json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": [item]});
    let capture = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u"},
        "spec": {"podName": "web"},
        "status": {"phase": "Complete", "node": "n1"},
    });
    let agent = json!({
        "metadata": {"namespace": "lastword", "name": "agent-1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "agent"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let read = json!({
        "apiVersion": "lastword.dev/v1alpha1", "kind": "CaptureRead", "metadata": {},
        "spec": {"captureName": "web-1", "secretSha256": "0".repeat(64)},
    });
    match (method, path) {
        ("GET", "/api/v1/pods") => Some(list("PodList", agent)),
        ("GET", path) if path == format!("{GROUP}/captures") => Some(list("CaptureList", capture)),
        ("POST", _) => Some(read),
        ("DELETE", _) => Some(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        _ => None,
    }
}

/// Answers the requests of a connection, and reports each.
fn serve(connection: TcpStream, seen: &mpsc::Sender<(String, String)>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut out = connection;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split([' ', '?']).map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let answer = answer(&method, &path).map(|it| it.to_string());
        let _ = seen.send((method, path));
        if let Some(body) = answer {
            let length = body.len();
            write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
        }
    }
}

#[test]
fn ctrl_c_deletes_what_was_made_in_the_cluster_and_ends_the_plugin() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let (seen, requests) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let seen = seen.clone();
            thread::spawn(move || serve(connection, &seen));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "shop"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_lastword"))
        .arg0("/usr/local/bin/kubectl-lastword")
        .args(["explain", "web", "--kubeconfig"])
        .arg(&kubeconfig)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let next = |wanted: &str| loop {
        let (method, path) = requests.recv_timeout(PATIENCE).expect(wanted);
        if format!("{method} {path}").contains(wanted) {
            return path;
        }
    };
    next(&format!("POST {GROUP}/capturereads"));
    next("/pods/agent-1/portforward");
    kill(Pid::from_raw(plugin.id() as i32), Signal::SIGINT).unwrap();
    next(&format!("DELETE {GROUP}/capturereads/read-"));
    let status = plugin.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status}");
}
