//! A fake API server that answers according to a list.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::Value;

/// One expected request and its answer.
pub(crate) struct Answer {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) code: u16,
    pub(crate) body: String,
    pub(crate) date: Option<String>,
    /// What the query must contain.
    pub(crate) query: &'static str,
}

impl Answer {
    /// Only answers requests whose query contains this.
    pub(crate) fn to(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    /// Adds the header `Date` to the answer.
    pub(crate) fn at(self, date: String) -> Self {
        Self {
            date: Some(date),
            ..self
        }
    }
}

/// An answer to the next request with this method whose path begins with `path`.
pub(crate) fn answer(
    method: &'static str,
    path: &'static str,
    code: u16,
    body: impl ToString,
) -> Answer {
    Answer {
        method,
        path,
        code,
        body: body.to_string(),
        date: None,
        query: "",
    }
}

/// The body of a `Status` of the API server.
pub(crate) fn status(code: u16, reason: &str, message: &str, details: Value) -> Value {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message, "details": details,
    })
}

/// The requests that the server got: method and URI, and the body.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, String)>>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The body of the first request that begins with this: method and path, or the method alone.
    pub(crate) fn body(&self, begin: &str) -> String {
        let seen = self.0.lock().unwrap();
        let found = seen.iter().find(|(line, _)| line.starts_with(begin));
        found.map(|(_, body)| body.clone()).unwrap_or_default()
    }
}

/// A client of a server that gives these answers, each once, and no others. An unexpected request is never answered.
pub(crate) fn serve(answers: Vec<Answer>) -> (Client, Log) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let log = Log::default();
    let seen = log.clone();
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        let mut held = Vec::new();
        while let Some((request, respond)) = handle.next_request().await {
            let (request, body) = request.into_parts();
            let line = format!("{} {}", request.method, request.uri);
            let body = body.collect_bytes().await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            seen.0.lock().unwrap().push((line, body));
            let fits = |answer: &Answer| {
                request.method == answer.method
                    && request.uri.path().starts_with(answer.path)
                    && request.uri.query().unwrap_or("").contains(answer.query)
            };
            let Some(at) = answers.iter().position(fits) else {
                held.push(respond);
                continue;
            };
            let answer = answers.remove(at).unwrap();
            let mut response = Response::builder().status(answer.code);
            if let Some(date) = answer.date {
                response = response.header("date", date);
            }
            respond.send_response(response.body(Body::from(answer.body.into_bytes())).unwrap());
        }
    });
    (Client::new(service, "default"), log)
}
