//! A fake API server: it has pods, namespaces and Captures, sends their changes to whoever watches them, and remembers
//! and counts the requests that it got. It serves as many agents as have connections.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use serde_json::{Value, json};

const CAPTURES: &str = "/apis/lastword.dev/v1alpha1/captures";

/// Simulates an API server until it is dropped. Connections end together with the agent.
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the server has served so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests, watches among them.
    pub requests: u64,
    /// Changes that were sent to watches.
    pub changes: u64,
    /// Bytes of HTTP that were received and sent, with headers.
    pub bytes: u64,
}

#[derive(Default)]
struct Shared {
    requests: AtomicU64,
    changes: AtomicU64,
    bytes: AtomicU64,
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
    /// The newest resource version of a Capture.
    version: u64,
    /// Watches that are open.
    watches: Vec<Watch>,
}

struct Watch {
    path: String,
    query: String,
    changes: mpsc::Sender<String>,
}

impl State {
    fn next_version(&mut self) -> String {
        self.version += 1;
        // The first list has version 1.
        (self.version + 1).to_string()
    }

    /// Sends a Capture that was `before` to the watches that select it now, or did so before.
    fn changed(&mut self, before: Option<&Value>, now: &Value) {
        self.watches.retain(|watch| {
            if watch.path != CAPTURES {
                return true;
            }
            let was = before.is_some_and(|before| is_selected(before, &watch.query));
            let kind = match (was, is_selected(now, &watch.query)) {
                (false, false) => return true,
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
            };
            let event = json!({"type": kind, "object": now});
            watch.changes.send(event.to_string()).is_ok()
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiServer {
    /// Starts a server that has nothing, and does not yet say which namespaces exist.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
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

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has served so far.
    #[must_use]
    pub fn served(&self) -> Served {
        let Shared {
            requests,
            changes,
            bytes,
            ..
        } = &*self.shared;
        let [requests, changes, bytes] =
            [requests, changes, bytes].map(|counter| counter.load(Ordering::Relaxed));
        Served {
            requests,
            changes,
            bytes,
        }
    }

    /// How many watches are open.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.shared.state().watches.len()
    }

    /// How many Captures have a status with this phase.
    #[must_use]
    pub fn in_phase(&self, phase: &str) -> usize {
        let state = self.shared.state();
        let captures = state.captures.values();
        captures
            .filter(|capture| capture["status"]["phase"] == phase)
            .count()
    }

    /// From now on the server says that these namespaces exist.
    pub fn tell_namespaces(&self, namespaces: Vec<Value>) {
        self.shared.state().namespaces = Some(namespaces);
    }

    /// Adds or changes a pod.
    pub fn has(&self, pod: &Value) {
        let mut state = self.shared.state();
        let name = &pod["metadata"]["name"];
        state.pods.retain(|old| old["metadata"]["name"] != *name);
        state.pods.push(pod.clone());
        let event = json!({"type": "MODIFIED", "object": pod}).to_string();
        state.watches.retain(|watch| {
            !watch.path.ends_with("/pods") || watch.changes.send(event.clone()).is_ok()
        });
    }

    /// Somebody asks for a capture of a pod in this namespace.
    pub fn is_asked(&self, namespace: &str, name: &str, pod: &str) {
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
        state.changed(None, &capture);
        state.captures.insert(path, capture);
    }

    /// The status of a Capture.
    #[must_use]
    pub fn status_of(&self, namespace: &str, name: &str) -> Value {
        let path = format!("/apis/lastword.dev/v1alpha1/namespaces/{namespace}/captures/{name}");
        let state = self.shared.state();
        let capture = state.captures.get(&path);
        capture.map_or(Value::Null, |capture| capture["status"].clone())
    }

    /// Path and body of everything that was written about a pod, in order.
    pub fn written_about(&self, pod: &str) -> Vec<(String, Value)> {
        let state = self.shared.state();
        let of_pod = |(path, body): &&(String, Value)| {
            body["involvedObject"]["name"] == pod
                || body["spec"]["podName"] == pod
                || path.contains(&format!("/captures/{pod}-"))
        };
        state.written.iter().filter(of_pod).cloned().collect()
    }

    /// Drops a pod's Captures without a watch event, as when etcd is restored, and everything that was written so far.
    pub fn lose_captures(&self, pod: &str) {
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
            let mut received = line.len();
            loop {
                let mut header = String::new();
                received += reader.read_line(&mut header)?;
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
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.count(received + length);
            if query.contains("watch=") {
                return self.watch(path, query, &mut out);
            }
            let (code, answer) = self.answer(&method, path, query, body);
            let answer = answer.to_string();
            let answer = format!(
                "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            self.count(answer.len());
            out.write_all(answer.as_bytes())?;
        }
    }

    /// Sends changes as long as the client reads them.
    fn watch(&self, path: &str, query: &str, out: &mut TcpStream) -> io::Result<()> {
        let (sender, changes) = mpsc::channel();
        self.state().watches.push(Watch {
            path: path.to_owned(),
            query: query.to_owned(),
            changes: sender,
        });
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for change in changes {
            let line = format!("{:x}\r\n{change}\n\r\n", change.len() + 1);
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.count(line.len());
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: Value) -> (u16, Value) {
        let mut state = self.state();
        let items = match path {
            "/api/v1/pods" => Some(state.pods.clone()),
            "/api/v1/namespaces" => match &state.namespaces {
                Some(namespaces) => Some(namespaces.clone()),
                None => return (503, failure(503, "ServiceUnavailable")),
            },
            CAPTURES => Some(selected(&state, query)),
            _ if path.ends_with("/events") && method == "GET" => Some(Vec::new()),
            _ if path.ends_with("/captures") && method == "GET" => Some(selected(&state, query)),
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
        let before = state.captures.get(of).cloned();
        let mut capture = before.clone().unwrap_or_else(|| {
            json!({
                "apiVersion": "lastword.dev/v1alpha1", "kind": "Capture",
                "metadata": {
                    "namespace": namespace, "name": name, "uid": of,
                    "creationTimestamp": jiff::Timestamp::now().to_string(),
                },
            })
        });
        let version = &body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != capture["metadata"]["resourceVersion"] {
            return (409, failure(409, "Conflict"));
        }
        capture["metadata"]["resourceVersion"] = state.next_version().into();
        merge(&mut capture[part], &body[part]);
        for part in ["labels", "annotations"] {
            merge(&mut capture["metadata"][part], &body["metadata"][part]);
        }
        state.changed(before.as_ref(), &capture);
        state.captures.insert(of.to_owned(), capture.clone());
        (200, capture)
    }
}

/// Writes the fields of one object into another. Apply and merge patches differ in what this server does not need.
fn merge(into: &mut Value, from: &Value) {
    match (into.as_object_mut(), from.as_object()) {
        (Some(into), Some(from)) => into.extend(from.clone()),
        (None, Some(_)) => *into = from.clone(),
        _ => {}
    }
}

/// The Captures that the label selector in `query` allows.
fn selected(state: &State, query: &str) -> Vec<Value> {
    let captures = state.captures.values();
    captures
        .filter(|capture| is_selected(capture, query))
        .cloned()
        .collect()
}

/// Whether the label selector in `query` allows an object: `KEY=VALUE`, or `!KEY`.
fn is_selected(object: &Value, query: &str) -> bool {
    let selector = query
        .split('&')
        .find_map(|part| part.strip_prefix("labelSelector="));
    let Some(selector) = selector else {
        return true;
    };
    let selector = selector
        .replace("%2F", "/")
        .replace("%3D", "=")
        .replace("%21", "!");
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    match (selector.strip_prefix('!'), selector.split_once('=')) {
        (Some(key), _) => label(key).is_none(),
        (None, Some((key, value))) => label(key) == Some(value),
        (None, None) => label(&selector).is_some(),
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

/// A pod with one container, `app`, whose runs had these ids, newest last.
#[must_use]
pub fn pod(name: &str, uid: &str, annotations: &Value, ids: &[&str]) -> Value {
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
#[must_use]
pub fn namespace(name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name, "annotations": annotations, "resourceVersion": "1"}})
}
