//! The agent's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and `/api/v1/alerts`, which is the only path that
//! changes anything. If there is a certificate, alerts are taken by TLS on a port of their own ([`Certificate`]) and
//! nowhere else.
//!
//! This endpoint never serves a capture, whoever asks: another one does, on a port of its own ([`Files`]). A connection
//! carries one request and has a deadline, and the number of connections is limited. So a client that holds connections
//! open does not hurt the agent, nor its health checks for long.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;

use crate::{
    allowance::Allowance,
    metrics::{self, Metrics},
    node::handle::Handle,
};

mod alert_body;
mod alerts;
mod files;
mod health;
mod patient;
mod server;
#[cfg(test)]
mod testing;
mod tls;
mod token;

pub(crate) use files::Files;
pub(crate) use tls::Certificate;

const PATHS: &str = "there are GET /metrics, /healthz and /readyz, and POST /api/v1/alerts";

/// Everything that the endpoint needs for its answers.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The node's loop.
    pub(crate) handle: Handle,
    /// The agent's metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// File with the bearer token that senders of alerts must present. It is read again for each alert, so it may
    /// change. Without it, no alerts are accepted.
    pub(crate) token_file: Option<PathBuf>,
    /// Namespaces whose pods alerts may have captured; if there are none, all.
    pub(crate) namespaces: Arc<BTreeSet<String>>,
    /// How many captures alerts may still ask for.
    pub(crate) allowance: Arc<Allowance>,
    /// With which alerts are taken by TLS; none if the configuration names no directory for it.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Endpoint {
    /// Serves until the future is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        server::serve(listener, None, self.router(), server::Limits::default()).await;
    }

    /// Takes alerts by TLS until the future is dropped.
    pub(crate) async fn serve_tls(self, listener: TcpListener) {
        let certificate = self.certificate.clone();
        let app = alerts_only().with_state(self);
        server::serve(listener, certificate, app, server::Limits::default()).await;
    }

    fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route(
                "/api/v1/alerts",
                post(alerts::post_in_the_clear).layer(alerts::body_limit()),
            )
            .fallback(async || (StatusCode::NOT_FOUND, format!("no such path; {PATHS}\n")))
            .method_not_allowed_fallback(async || {
                let code = StatusCode::METHOD_NOT_ALLOWED;
                (code, format!("not with this method; {PATHS}\n"))
            })
            .with_state(self)
    }
}

/// What is served by TLS.
fn alerts_only() -> Router<Endpoint> {
    Router::new().route(
        "/api/v1/alerts",
        post(alerts::post).layer(alerts::body_limit()),
    )
}

async fn metrics(State(endpoint): State<Endpoint>) -> Response {
    let text = match endpoint.handle.status().await {
        Ok(status) => endpoint.metrics.encode(&status).map_err(|e| e.to_string()),
        Err(unanswered) => Err(unanswered.to_string()),
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Agent, request};
    use crate::node::handle::Status;

    #[tokio::test]
    async fn metrics_are_open_metrics_with_the_state_of_now() {
        let mut status = Status::default();
        status.containers.named = 3;
        let agent = Agent::with_status(status).await;
        let answer = agent.send(&request("GET", "/metrics", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("content-type: application/openmetrics-text"),
            "{answer}"
        );
        assert!(
            answer.contains("lastword_containers{named=\"true\"} 3"),
            "{answer}"
        );
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
    }

    #[tokio::test]
    async fn without_a_loop_there_are_no_stale_metrics() {
        let agent = Agent::without_loop().await;
        let answer = agent.send(&request("GET", "/metrics", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_say_what_there_is() {
        let agent = Agent::new().await;
        for (method, path, code) in [
            ("GET", "/", "404"),
            ("GET", "/captures/../../etc/passwd", "404"),
            ("GET", "/api/v1/alerts", "405"),
            ("DELETE", "/metrics", "405"),
        ] {
            let answer = agent.send(&request(method, path, "", "")).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code}")),
                "{path}: {answer}"
            );
            assert!(answer.contains("/api/v1/alerts"), "{path}: {answer}");
        }
    }
}
