//! A fake API server: it has pods, namespaces and Captures, and remembers the requests that it got.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use libtest_mimic::Failed;
use serde_json::{Value, json};

const CAPTURES: &str = "/apis/lastword.dev/v1alpha1/captures";

/// Simulates an API server until it is dropped. Connections end together with the agent.
pub(crate) struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: Vec<Value>,
    /// `None` as long as it does not say which namespaces exist.
    namespaces: Option<Vec<Value>>,
    /// Captures by path.
    captures: BTreeMap<String, Value>,
    /// What was written: path and body.
    written: Vec<(String, Value)>,
    /// Watches that are open, with path and query of each.
    watches: Vec<(String, mpsc::Sender<Value>)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiServer {
    /// Starts a server that has nothing, and does not yet say which namespaces exist.
    pub(super) fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let served = shared.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if served.over.load(Ordering::Relaxed) {
                    return;
                }
                let served = served.clone();
                // If the agent is gone, that is not an error.
                thread::spawn(move || drop(served.serve(connection)));
            }
        });
        Ok(Self { address, shared })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the server says that these namespaces exist.
    pub(super) fn tell_namespaces(&self, namespaces: Vec<Value>) {
        self.shared.state().namespaces = Some(namespaces);
    }

    /// Adds or changes a pod.
    pub(super) fn has(&self, pod: &Value) {
        let mut state = self.shared.state();
        let name = &pod["metadata"]["name"];
        state.pods.retain(|old| old["metadata"]["name"] != *name);
        state.pods.push(pod.clone());
        let event = json!({"type": "MODIFIED", "object": pod});
        state
            .watches
            .retain(|(of, watch)| !of.contains("/pods?") || watch.send(event.clone()).is_ok());
    }

    /// Somebody asks for a capture of a pod in this namespace.
    pub(super) fn is_asked(&self, namespace: &str, name: &str, pod: &str) {
        let path = format!("/apis/lastword.dev/v1alpha1/namespaces/{namespace}/captures/{name}");
        let capture = json!({
            "apiVersion": "lastword.dev/v1alpha1", "kind": "Capture",
            "metadata": {
                "namespace": namespace, "name": name, "uid": path, "resourceVersion": "1",
                "creationTimestamp": jiff::Timestamp::now().to_string(),
            },
            "spec": {"podName": pod, "trigger": {"kind": "manual"}},
        });
        let mut state = self.shared.state();
        state.captures.insert(path, capture.clone());
        let event = json!({"type": "ADDED", "object": capture});
        state.watches.retain(|(of, watch)| {
            !of.contains(CAPTURES) || !is_unassigned(of) || watch.send(event.clone()).is_ok()
        });
    }

    /// The status of a Capture.
    pub(super) fn status_of(&self, namespace: &str, name: &str) -> Value {
        let path = format!("/apis/lastword.dev/v1alpha1/namespaces/{namespace}/captures/{name}");
        let state = self.shared.state();
        let capture = state.captures.get(&path);
        capture.map_or(Value::Null, |capture| capture["status"].clone())
    }

    /// Path and body of everything that was written about a pod, in order.
    pub(super) fn written_about(&self, pod: &str) -> Vec<(String, Value)> {
        let state = self.shared.state();
        let of_pod = |(path, body): &&(String, Value)| {
            body["involvedObject"]["name"] == pod
                || body["spec"]["podName"] == pod
                || path.contains(&format!("/captures/{pod}-"))
        };
        state.written.iter().filter(of_pod).cloned().collect()
    }

    /// Drops a pod's Captures without a watch event, as when etcd is restored, and everything that was written so far.
    pub(super) fn lose_captures(&self, pod: &str) {
        let mut state = self.shared.state();
        state.written.clear();
        state
            .captures
            .retain(|_, capture| capture["spec"]["podName"] != pod);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // The server thread waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        let mut out = connection;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace();
            let (method, target) = (
                words.next().unwrap_or_default().to_owned(),
                words.next().unwrap_or_default().to_owned(),
            );
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
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            if query.contains("watch=") {
                return self.watch(&target, &mut out);
            }
            let (code, answer) = self.answer(&method, path, query, body);
            let answer = answer.to_string();
            write!(
                out,
                "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )?;
        }
    }

    /// Sends changes as long as the client reads them.
    fn watch(&self, target: &str, out: &mut TcpStream) -> io::Result<()> {
        let (sender, changes) = mpsc::channel();
        self.state().watches.push((target.to_owned(), sender));
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for change in changes {
            let line = format!("{change}\n");
            write!(out, "{:x}\r\n{line}\r\n", line.len())?;
        }
        Ok(())
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: Value) -> (u16, Value) {
        let mut state = self.state();
        let items = match path {
            "/api/v1/pods" => Some(state.pods.clone()),
            "/api/v1/namespaces" => match &state.namespaces {
                Some(namespaces) => Some(namespaces.clone()),
                None => return (503, failure(503, "ServiceUnavailable")),
            },
            CAPTURES => Some(selected(state.captures.values(), query)),
            _ if path.ends_with("/events") && method == "GET" => Some(Vec::new()),
            _ if path.ends_with("/captures") && method == "GET" => {
                Some(of_fault(state.captures.values(), query))
            }
            _ => None,
        };
        if let Some(items) = items {
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
            return (200, list);
        }
        if method == "GET" {
            let name = path.rsplit('/').next().unwrap_or_default();
            let pod = state
                .pods
                .iter()
                .find(|pod| pod["metadata"]["name"] == name);
            return pod.map_or((404, failure(404, "NotFound")), |pod| (200, pod.clone()));
        }
        if query.contains("dryRun=") {
            return (201, body);
        }
        let created = path.ends_with("/captures") && method == "POST";
        let path = &match body["metadata"]["name"].as_str() {
            Some(name) if created => format!("{path}/{name}"),
            _ => path.to_owned(),
        };
        if created && state.captures.contains_key(path) {
            return (409, failure(409, "AlreadyExists"));
        }
        state.written.push((path.clone(), body.clone()));
        if !path.contains("/captures/") {
            return (200, body);
        }
        let (of, part) = match path.strip_suffix("/status") {
            Some(of) => (of, "status"),
            None => (path.as_str(), "spec"),
        };
        if part == "status" && !state.captures.contains_key(of) {
            return (404, failure(404, "NotFound"));
        }
        let places: Vec<&str> = of.split('/').collect();
        let (namespace, name) = (places[places.len() - 3], places[places.len() - 1]);
        let capture = state.captures.entry(of.to_owned()).or_insert_with(|| {
            json!({
                "apiVersion": "lastword.dev/v1alpha1", "kind": "Capture",
                "metadata": {
                    "namespace": namespace, "name": name, "uid": of, "resourceVersion": "1",
                    "creationTimestamp": jiff::Timestamp::now().to_string(),
                },
            })
        });
        if !body[part].is_null() {
            capture[part] = body[part].clone();
        }
        for part in ["labels", "annotations"] {
            if !body["metadata"][part].is_null() {
                capture["metadata"][part] = body["metadata"][part].clone();
            }
        }
        (200, capture.clone())
    }
}

/// Whether a query is about Captures without a node.
fn is_unassigned(query: &str) -> bool {
    query.contains("labelSelector=%21")
}

/// Those that the label selector in `query` allows: this node's, or those without a node.
fn selected<'a>(captures: impl Iterator<Item = &'a Value>, query: &str) -> Vec<Value> {
    let unassigned = is_unassigned(query);
    let node = |capture: &Value| capture["metadata"]["labels"]["lastword.dev/node"].clone();
    captures
        .filter(|capture| node(capture).is_null() == unassigned)
        .cloned()
        .collect()
}

/// Those with the label of a fault that `query` selects.
fn of_fault<'a>(captures: impl Iterator<Item = &'a Value>, query: &str) -> Vec<Value> {
    let selected = query.split("lastword.dev%2Ffault%3D").nth(1);
    let selected = selected.and_then(|rest| rest.split('&').next());
    let fault =
        |capture: &&Value| capture["metadata"]["labels"]["lastword.dev/fault"].as_str() == selected;
    captures.filter(fault).cloned().collect()
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

/// A pod with one container, `app`, whose runs had these ids, newest last.
pub(super) fn pod(name: &str, uid: &str, annotations: &Value, ids: &[&str]) -> Value {
    let id = |id: &&str| format!("containerd://{id}");
    let (newest, before) = (ids.last(), ids.iter().rev().nth(1));
    let ended = |before| json!({"terminated": {"exitCode": 1, "containerID": id(before)}});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "annotations": annotations, "resourceVersion": "1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "image": "app:1", "imageID": "", "ready": true,
            "restartCount": ids.len().saturating_sub(1),
            "containerID": newest.map(id), "state": {"running": {}},
            "lastState": before.map(ended),
        }]},
    })
}

/// A namespace.
pub(super) fn namespace(name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name, "annotations": annotations, "resourceVersion": "1"}})
}
