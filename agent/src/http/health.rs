//! Health checks. `/healthz`: the loop answers. `/readyz`: containers are being recorded.
//!
//! If anything else is away, the answer says so but stays positive: that is no reason to restart or to avoid an agent
//! that goes on recording.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Endpoint;
use crate::node::handle::{Crowded, NO_RUNTIME, Status};
use crate::packs::Packs;

pub(super) async fn alive(State(endpoint): State<Endpoint>) -> Response {
    match endpoint.handle.status().await {
        Ok(_) => "ok\n".into_response(),
        Err(unanswered) => unavailable(&unanswered.to_string()),
    }
}

pub(super) async fn ready(State(endpoint): State<Endpoint>) -> Response {
    match endpoint.handle.status().await {
        Ok(status) => {
            let readiness = Readiness::of(&status);
            let code = if readiness.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (code, Json(readiness)).into_response()
        }
        Err(unanswered) => unavailable(&unanswered.to_string()),
    }
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// The body of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    /// Whether containers are recorded.
    ready: bool,
    /// What does not work now or was not recorded, in words.
    away: Vec<String>,
    /// What cannot be recorded on this machine, in words.
    limitations: Vec<String>,
}

impl Readiness {
    fn of(status: &Status) -> Self {
        let mut away = Vec::new();
        let mut say = |what: &str, why: Option<&String>| {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            away.push(format!("{what}{why}"));
        };
        if let Some(why) = &status.recorder_failed {
            say("nothing is recorded", Some(why));
        }
        if let Some(last) = &status.last_refused {
            let refused = status.refused;
            let what = format!("since the start {refused} containers were not recorded");
            say(&what, Some(&last.reason));
        }
        if status.turned_away > 0 {
            let count = status.turned_away;
            let what = format!(
                "since the start {count} cgroups inside containers were not recorded: a container has too many, or copies an id"
            );
            let who: Vec<String> = status.crowded.iter().map(Crowded::to_string).collect();
            let who = (!who.is_empty()).then(|| who.join(", "));
            say(&what, who.as_ref());
        }
        if status.messages_lost > 0 {
            let lost = status.messages_lost;
            let what = format!(
                "since the start the kernel side had no room for {lost} messages: containers may have come and gone unseen"
            );
            say(&what, None);
        }
        if status.spool.error.is_some() {
            say("captures cannot be written", status.spool.error.as_ref());
        }
        let connections = [
            ("the API server does not answer", &status.api_server),
            ("the container runtime does not answer", &status.cri),
        ];
        for (what, connection) in connections {
            if let Some(connection) = connection
                && !connection.up
            {
                say(what, connection.error.as_ref());
            }
        }
        if let Some(storage) = &status.storage
            && storage.error.is_some()
        {
            say("uploads fail", storage.error.as_ref());
        }
        if status.alerts_error.is_some() {
            say(
                "the certificate for alerts cannot be used",
                status.alerts_error.as_ref(),
            );
        }
        let trouble = status.knowledge.as_ref().and_then(Packs::trouble);
        if trouble.is_some() {
            say("operators' packs are left out in part", trouble.as_ref());
        }
        let mut limitations = status.limitations.clone();
        if status.cri.is_none() {
            limitations.push(format!("the container runtime is {NO_RUNTIME}"));
        }
        Self {
            ready: status.recorder_failed.is_none(),
            away,
            limitations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Agent, request},
        *,
    };
    use super::{Packs, Readiness, Status};
    use crate::node::handle::{Connection, Refused};

    #[tokio::test]
    async fn an_agent_whose_api_server_is_away_is_ready_and_says_so() {
        let status = Status {
            api_server: Some(Connection {
                error: Some("connection refused".to_owned()),
                ..Connection::default()
            }),
            ..Status::default()
        };
        let agent = Agent::with_status(status).await;
        let answer = agent.send(&request("GET", "/readyz", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\"ready\":true"), "{answer}");
        assert!(
            answer.contains("the API server does not answer: connection refused"),
            "{answer}"
        );
        let health = agent.send(&request("GET", "/healthz", "", "")).await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }

    #[test]
    fn what_is_wrong_with_packs_is_said_and_keeps_nobody_from_being_ready() {
        let packs = Packs {
            directory: "/etc/lastword-knowledge".into(),
            entries: 3,
            left_out: 2,
            faults: vec!["kafka.toml:10: kafka.x: pattern: unclosed group".into()],
        };
        let readiness = Readiness::of(&Status {
            knowledge: Some(packs),
            ..Status::default()
        });
        assert!(readiness.ready);
        assert_eq!(
            readiness.away,
            [
                "operators' packs are left out in part: kafka.toml:10: kafka.x: pattern: unclosed group (and 1 more)"
            ]
        );
    }

    #[tokio::test]
    async fn an_agent_that_records_nothing_is_alive_but_not_ready() {
        let status = Status {
            recorder_failed: Some("out of memory".to_owned()),
            ..Status::default()
        };
        let agent = Agent::with_status(status).await;
        let answer = agent.send(&request("GET", "/readyz", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("out of memory"), "{answer}");
        let health = agent.send(&request("GET", "/healthz", "", "")).await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }

    #[tokio::test]
    async fn what_was_not_recorded_and_a_spool_in_trouble_are_told() {
        let mut status = Status {
            refused: 770,
            last_refused: Some(Refused {
                reason: "no ring was free".to_owned(),
                ..Refused::default()
            }),
            turned_away: 19_936,
            crowded: vec![Crowded {
                namespace: "ci".to_owned(),
                pod: "runner-1".to_owned(),
                container: "dind".to_owned(),
                turned_away: 19_936,
            }],
            messages_lost: 9,
            ..Status::default()
        };
        status.spool.error = Some("Read-only file system".to_owned());
        status.alerts_error = Some("tls.key: no key".to_owned());
        let agent = Agent::with_status(status).await;
        let answer = agent.send(&request("GET", "/readyz", "", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for said in [
            "770 containers were not recorded: no ring was free",
            "no room for 9 messages",
            "19936 cgroups inside containers were not recorded: a container has too many, or copies an id: ci runner-1 dind (19936)",
            "captures cannot be written: Read-only file system",
            "the certificate for alerts cannot be used: tls.key: no key",
        ] {
            assert!(answer.contains(said), "{said}: {answer}");
        }
    }

    #[test]
    fn an_agent_without_the_runtimes_socket_says_so() {
        let mut status = Status::default();
        let said = Readiness::of(&status).limitations;
        assert!(said[0].contains("container_runtime.endpoint is off"));
        status.cri = Some(Connection::default());
        assert!(Readiness::of(&status).limitations.is_empty());
    }

    #[tokio::test]
    async fn a_loop_that_has_ended_is_neither() {
        let agent = Agent::without_loop().await;
        for path in ["/readyz", "/healthz"] {
            let answer = agent.send(&request("GET", path, "", "")).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        }
    }
}
