//! A fake API server that keeps Captures, as far as agents use them: lists by label, creates, patches of the status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::server::status;

const CAPTURES: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures";

/// The Captures of the namespace `shop`.
#[derive(Clone, Default)]
pub(crate) struct Cluster(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    captures: BTreeMap<String, Value>,
    version: u64,
    requests: u64,
    conflicts: u64,
    writes: u64,
    /// Of so many writes one has its effect, and an error for an answer.
    loses: u64,
}

impl Cluster {
    /// One that loses the answer to every write of this number; 0 for none.
    pub(crate) fn losing(loses: u64) -> Self {
        let cluster = Self::default();
        cluster.0.lock().unwrap().loses = loses;
        cluster
    }

    pub(crate) fn client(&self) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let objects = self.0.clone();
        tokio::spawn(async move {
            while let Some((request, respond)) = handle.next_request().await {
                let (request, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let uri = &request.uri;
                let query = uri.query().unwrap_or_default();
                let (code, answer) =
                    objects
                        .lock()
                        .unwrap()
                        .answer(&request.method, uri.path(), query, body);
                let response = Response::builder().status(code);
                let answer = Body::from(answer.to_string().into_bytes());
                respond.send_response(response.body(answer).unwrap());
            }
        });
        Client::new(service, "default")
    }

    pub(crate) fn captures(&self) -> Vec<Value> {
        self.0.lock().unwrap().captures.values().cloned().collect()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.0.lock().unwrap().requests
    }

    pub(crate) fn conflicts(&self) -> u64 {
        self.0.lock().unwrap().conflicts
    }

    pub(crate) fn delete(&self, name: &str) {
        self.0.lock().unwrap().captures.remove(name);
    }
}

impl Objects {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        self.requests += 1;
        if path.contains("/events/") {
            return (200, json!({"metadata": {}, "involvedObject": {}}));
        }
        let name = path.strip_prefix(CAPTURES).expect("a path of Captures");
        let (name, part) = match name.trim_start_matches('/').split_once('/') {
            Some((name, part)) => (name, part),
            None => (name.trim_start_matches('/'), ""),
        };
        match *method {
            Method::GET if name.is_empty() => {
                let label = query.split("labelSelector=lastword.dev%2Ffault%3D").nth(1);
                let label = label.expect("a label selector").split('&').next();
                let fits = |capture: &&Value| {
                    capture["metadata"]["labels"]["lastword.dev/fault"].as_str() == label
                };
                let items: Vec<&Value> = self.captures.values().filter(fits).collect();
                let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
                (200, list)
            }
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if self.captures.contains_key(&name) {
                    return (
                        409,
                        status(409, "AlreadyExists", "it exists", json!({"name": name})),
                    );
                }
                self.write(name, body)
            }
            Method::PATCH if part == "status" => {
                let Some(capture) = self.captures.get(name) else {
                    return (
                        404,
                        status(404, "NotFound", "not found", json!({"name": name})),
                    );
                };
                let expected = &body["metadata"]["resourceVersion"];
                if !expected.is_null() && *expected != capture["metadata"]["resourceVersion"] {
                    self.conflicts += 1;
                    return (
                        409,
                        status(409, "Conflict", "changed", json!({"name": name})),
                    );
                }
                let mut capture = capture.clone();
                for (key, value) in body["status"].as_object().unwrap() {
                    capture["status"][key] = value.clone();
                }
                self.write(name.to_owned(), capture)
            }
            _ => panic!("{method} {path}"),
        }
    }

    fn write(&mut self, name: String, mut capture: Value) -> (u16, Value) {
        self.version += 1;
        self.writes += 1;
        capture["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.captures.insert(name.clone(), capture.clone());
        match self.loses > 0 && self.writes.is_multiple_of(self.loses) {
            true => (
                500,
                status(500, "InternalError", "the answer is lost", Value::Null),
            ),
            false => (200, capture),
        }
    }
}
