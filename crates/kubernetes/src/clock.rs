//! The time according to the API server, because a node's own clock may be wrong.

use std::time::{Duration, Instant};

use http::{Request, header::DATE};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use kube::{Client, client::Body};

/// How long an answer is used, whatever it was.
const FRESH: Duration = Duration::from_secs(60);
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The API server's clock. It is asked when it is needed.
#[derive(Default)]
pub(crate) struct ServerClock(Option<(Instant, Option<Timestamp>)>);

impl ServerClock {
    /// The present time, to the second; `None` if the API server does not say.
    pub(crate) async fn now(&mut self, client: &Client) -> Option<Timestamp> {
        let (asked, said) = match self.0 {
            Some(answer) if answer.0.elapsed() < FRESH => answer,
            _ => *self.0.insert((Instant::now(), ask(client).await)),
        };
        said?
            .checked_add(SignedDuration::try_from(asked.elapsed()).ok()?)
            .ok()
    }
}

/// Reads the header `Date`. Every answer has it, even one that forbids the request (RFC 9110, section 6.6.1).
async fn ask(client: &Client) -> Option<Timestamp> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let answer = tokio::time::timeout(PATIENCE, client.send(request)).await;
    let answer = answer.ok()?.ok()?;
    let date = answer.headers().get(DATE)?;
    DateTimeParser::new().parse_timestamp(date.as_bytes()).ok()
}
