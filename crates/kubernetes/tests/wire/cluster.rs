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
    patches: u64,
    writes: u64,
    trouble: Trouble,
}

/// What goes wrong, one time in so many; 0 for never.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// A write has its effect, and an error for an answer.
    pub(crate) loses: u64,
    /// Somebody else changes an object before it is patched.
    pub(crate) disturbs: u64,
}

impl Cluster {
    pub(crate) fn with(trouble: Trouble) -> Self {
        let cluster = Self::default();
        cluster.0.lock().unwrap().trouble = trouble;
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
                self.patches += 1;
                let disturbed = is_time(self.patches, self.trouble.disturbs);
                let Some(capture) = self.captures.get_mut(name) else {
                    return (
                        404,
                        status(404, "NotFound", "not found", json!({"name": name})),
                    );
                };
                if disturbed {
                    self.version += 1;
                    capture["metadata"]["resourceVersion"] = self.version.to_string().into();
                }
                let expected = &body["metadata"]["resourceVersion"];
                if !expected.is_null() && *expected != capture["metadata"]["resourceVersion"] {
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
        match is_time(self.writes, self.trouble.loses) {
            true => (
                500,
                status(500, "InternalError", "the answer is lost", Value::Null),
            ),
            false => (200, capture),
        }
    }
}

fn is_time(count: u64, one_in: u64) -> bool {
    one_in > 0 && count.is_multiple_of(one_in)
}
