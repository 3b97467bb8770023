//! `POST /api/v1/alerts`: each alert becomes a Capture object, which the agent of the pod's node takes.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Endpoint,
    alert_body::{self, Ignored, Wanted},
    token::{self, Denied},
};
use crate::node::handle::AlertOutcome;

/// Largest body, in bytes.
pub(super) const MAX_BODY: usize = 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for all Captures of a post. Alertmanager itself gives up after 30 s.
const WORK_TIMEOUT: Duration = Duration::from_secs(20);
const NOT_ENABLED: &str = "alerts are not taken: http.alerts_token_file of the agent's configuration names no file with a bearer token\n";

const BY_TLS: &str = "this agent takes alerts by TLS alone: send them to https://, on the port of http.alerts_tls_listen (9443)\n";

/// What a post led to.
#[derive(Debug, Default, Serialize)]
struct Answer {
    captures: Vec<Capture>,
    ignored: Vec<Ignored>,
    /// Why the remaining alerts led to nothing. The sender may send them again: nothing is created twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Capture {
    namespace: String,
    pod: String,
    /// Name of the Capture object.
    capture: String,
    /// False if an earlier post of the same alert created it.
    created: bool,
}

/// Takes alerts without TLS, as long as there is no certificate.
pub(super) async fn post_in_the_clear(endpoint: State<Endpoint>, request: Request) -> Response {
    let certificate = endpoint.certificate.as_ref();
    if certificate.is_some_and(|certificate| certificate.is_there()) {
        return (StatusCode::FORBIDDEN, BY_TLS).into_response();
    }
    post(endpoint, request).await
}

pub(super) async fn post(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let Some(file) = &endpoint.token_file else {
        return (StatusCode::FORBIDDEN, NOT_ENABLED).into_response();
    };
    match token::check(request.headers(), file) {
        Ok(()) => {}
        Err(Denied::NotEnabled) => {
            let said = format!(
                "alerts are not taken: the agent has no {}; on Kubernetes, create the Secret lastword-alerts as docs/alerts.md says\n",
                file.display()
            );
            return (StatusCode::FORBIDDEN, said).into_response();
        }
        Err(Denied::Unusable(why)) => {
            tracing::error!("alerts are refused: {why}");
            let said = "the agent cannot read its token; see its log\n";
            return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
        }
        Err(Denied::Missing) => return unauthorized("a bearer token is needed\n", "Bearer"),
        Err(Denied::Wrong) => {
            return unauthorized("this is not the token\n", "Bearer error=\"invalid_token\"");
        }
    }
    let body = match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return rejection.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    match alert_body::parse(&body) {
        Ok(wanted) => create(&endpoint, wanted.only(&endpoint.namespaces)).await,
        Err(bad) => (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response(),
    }
}

/// The limit of [`post`]'s body.
pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MAX_BODY)
}

fn unauthorized(said: &'static str, challenge: &'static str) -> Response {
    let challenge = HeaderValue::from_static(challenge);
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, challenge)],
        said,
    )
        .into_response()
}

async fn create(endpoint: &Endpoint, wanted: Wanted) -> Response {
    let mut answer = Answer {
        ignored: wanted.ignored,
        ..Answer::default()
    };
    let creating = async {
        for alert in wanted.alerts {
            if !endpoint.allowance.take(Instant::now()) {
                return Err(format!(
                    "alerts have asked this agent for {} captures within a minute (http.alerts_per_minute); send the alert again later",
                    endpoint.allowance.per_minute()
                ));
            }
            let (namespace, pod) = (alert.namespace.clone(), alert.pod.clone());
            let outcome = endpoint.handle.alert(alert).await;
            let (capture, created) =
                match outcome.map_err(|unanswered| unanswered.to_string())?? {
                    AlertOutcome::Created(name) => (name, true),
                    AlertOutcome::Existed(name) => {
                        // Otherwise what is sent again after a refusal would never get further than before.
                        endpoint.allowance.give_back();
                        (name, false)
                    }
                };
            answer.captures.push(Capture {
                namespace,
                pod,
                capture,
                created,
            });
        }
        Ok(())
    };
    answer.error = match timeout(WORK_TIMEOUT, creating).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some("the API server is too slow".to_owned()),
    };
    let code = match answer {
        Answer { error: Some(_), .. } => StatusCode::SERVICE_UNAVAILABLE,
        Answer { ref captures, .. } if captures.is_empty() => StatusCode::OK,
        Answer { .. } => StatusCode::ACCEPTED,
    };
    (code, Json(answer)).into_response()
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Agent, PER_MINUTE, TOKEN, request},
        *,
    };

    const PLAIN: &str = "{\"namespace\": \"shop\", \"pod\": \"web-1\"}";

    #[tokio::test]
    async fn an_alert_creates_a_capture() {
        let agent = Agent::new().await;
        let answer = agent.post(PLAIN).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        let told =
            "{\"namespace\":\"shop\",\"pod\":\"web-1\",\"capture\":\"web-1-1\",\"created\":true}";
        assert!(answer.contains(told), "{answer}");
        assert_eq!(agent.alerts.lock().unwrap()[0].pod, "web-1");
    }

    #[tokio::test]
    async fn what_is_ignored_is_told() {
        let agent = Agent::new().await;
        let answer = agent
            .post("{\"alerts\": [{\"status\": \"firing\", \"labels\": {\"alertname\": \"Down\"}}]}")
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("\"alert\":\"Down\",\"reason\":\"it has no labels"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn pods_of_other_namespaces_are_not_captured() {
        let agent = Agent::for_namespaces(&["shop"]).await;
        let body = "{\"namespace\": \"kube-system\", \"pod\": \"etcd\"}";
        let answer = agent.post(body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("kube-system is not in http.alerts_namespaces"),
            "{answer}"
        );
        assert!(agent.alerts.lock().unwrap().is_empty());
        let answer = agent.post(PLAIN).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }

    #[tokio::test]
    async fn what_exists_already_takes_nothing_from_the_allowance() {
        let agent = Agent::answering(|alert| Ok(AlertOutcome::Existed(alert.pod.clone()))).await;
        for _ in 0..=PER_MINUTE {
            let answer = agent.post(PLAIN).await;
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
    }

    #[tokio::test]
    async fn more_captures_than_a_minute_allows_are_put_off() {
        let agent = Agent::new().await;
        for _ in 0..PER_MINUTE {
            let answer = agent.post(PLAIN).await;
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
        let answer = agent.post(PLAIN).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("http.alerts_per_minute"), "{answer}");
    }

    #[tokio::test]
    async fn nobody_gets_in_without_the_token() {
        let agent = Agent::new().await;
        for (headers, challenge) in [
            ("", "www-authenticate: Bearer\r\n"),
            (
                "Authorization: Basic eDp5\r\n",
                "www-authenticate: Bearer\r\n",
            ),
            (
                "Authorization: Bearer wrong\r\n",
                "www-authenticate: Bearer error=",
            ),
        ] {
            let request = request("POST", "/api/v1/alerts", headers, PLAIN);
            let answer = agent.send(&request).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert!(answer.contains(challenge), "{answer}");
            assert!(!answer.contains(TOKEN), "{answer}");
        }
        assert!(agent.alerts.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_agent_without_a_token_takes_no_alerts_and_says_how_to_change_that() {
        let agent = Agent::without_token().await;
        let answer = agent.post(PLAIN).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("configuration"), "{answer}");
    }

    #[tokio::test]
    async fn rubbish_is_refused_with_what_is_expected() {
        let agent = Agent::new().await;
        let answer = agent.post("{\"alerts\": \"\\u0000\"").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(
            answer.contains("expected Alertmanager's webhook body"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn an_endless_body_is_refused_whether_it_says_so_or_not() {
        let agent = Agent::new().await;
        let answer = agent.post(&" ".repeat(MAX_BODY + 1)).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

        let mut chunked = format!(
            "POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        for _ in 0..20 {
            chunked.push_str(&format!("10000\r\n{}\r\n", " ".repeat(0x10000)));
        }
        let answer = agent.send(chunked.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    #[tokio::test]
    async fn a_failure_asks_the_sender_to_repeat() {
        let agent = Agent::answering(|alert| match &*alert.pod {
            "web-1" => Ok(AlertOutcome::Existed("c1".to_owned())),
            _ => Err("the API server does not answer".to_owned()),
        })
        .await;
        let labels = |pod| {
            format!(
                "{{\"status\": \"firing\", \"labels\": {{\"namespace\": \"a\", \"pod\": \"{pod}\"}}}}"
            )
        };
        let body = format!("{{\"alerts\": [{}, {}]}}", labels("web-1"), labels("web-2"));
        let answer = agent.post(&body).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("\"capture\":\"c1\",\"created\":false"),
            "{answer}"
        );
        assert!(
            answer.contains("\"error\":\"the API server does not answer\""),
            "{answer}"
        );
    }
}
