use kubernetes::{
    capture::{Capture, CaptureSpec, CaptureStatus, Phase},
    fetch,
};
use serde_json::Value;

use crate::server::{Answer, answer, serve, status};

const CAPTURE: &str = "/apis/lastword.dev/v1alpha1/namespaces/shop/captures/web-1";

fn capture(sha256: Option<&str>) -> Capture {
    let mut capture = Capture::new("web-1", CaptureSpec::default());
    capture.metadata.namespace = Some("shop".to_owned());
    capture.status = Some(CaptureStatus {
        phase: Phase::Complete,
        sha256: sha256.map(str::to_owned),
        ..CaptureStatus::default()
    });
    capture
}

fn told(sha256: &str) -> Answer {
    let capture = serde_json::to_string(&capture(Some(sha256))).unwrap();
    answer("GET", CAPTURE, 200, capture)
}

/// Whether a file with checksum `new` is verified, if its Capture had the checksum `before`; otherwise the error's
/// text.
async fn confirm(before: Option<&str>, answers: Vec<Answer>) -> Result<bool, String> {
    let (client, _) = serve(answers);
    let fetched = fetch::confirm(&client, &capture(before), 3, "new".to_owned()).await;
    fetched
        .map(|fetched| fetched.verified)
        .map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn the_checksum_of_a_file_that_was_replaced_may_follow() {
    assert_eq!(confirm(Some("new"), vec![]).await, Ok(true));
    assert_eq!(confirm(None, vec![]).await, Ok(false));
    let follows = vec![told("old"), told("old"), told("new")];
    assert_eq!(confirm(Some("old"), follows).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn another_checksum_is_an_error() {
    let never = (0..60).map(|_| told("old")).collect();
    let gone = status(404, "NotFound", "captures \"web-1\" not found", Value::Null);
    for answers in [never, vec![answer("GET", CAPTURE, 404, gone)]] {
        let error = confirm(Some("old"), answers).await.unwrap_err();
        assert!(
            error.contains("checksum new instead of old") && error.contains("try again"),
            "{error}"
        );
    }
}
