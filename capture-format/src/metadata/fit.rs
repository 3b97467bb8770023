//! Shortens a header that is too large: what Kubernetes knows about a pod may be larger than a header's document.

use serde::Serialize;
use serde_json::Value;

use super::{Header, Kubernetes};
use crate::WriteError;
use crate::layout::MAX_DOCUMENT;

/// The header as a document of at most [`MAX_DOCUMENT`] bytes. If it is larger, the largest parts of what Kubernetes
/// said are left out, one after the other, and named in [`Header::omitted`].
///
/// # Errors
/// If it is too large even without them.
pub(crate) fn fitting(header: &Header) -> Result<Vec<u8>, WriteError> {
    let document = json(header)?;
    if document.len() <= MAX_DOCUMENT {
        return Ok(document);
    }
    let mut header = header.clone();
    let mut size = document.len();
    while let Some(part) = header.kubernetes.as_mut().and_then(leave_out_largest) {
        header.omitted.push(part);
        let document = json(&header)?;
        if document.len() <= MAX_DOCUMENT {
            return Ok(document);
        }
        size = document.len();
    }
    Err(WriteError::DocumentTooLarge {
        what: "header",
        size,
        limit: MAX_DOCUMENT,
    })
}

/// Empties the largest part. Returns its name and size; `None` if all parts are empty.
fn leave_out_largest(kubernetes: &mut Kubernetes) -> Option<String> {
    let Kubernetes { pod, events } = kubernetes;
    let size = |value: &Value| json(value).map_or(0, |document| document.len());
    let parts = pod.as_object().into_iter().flatten();
    let largest = parts
        .map(|(key, value)| (size(value), key.clone()))
        .max_by_key(|&(size, _)| size);
    let of_events = json(&*events).map_or(0, |document| document.len());
    match largest {
        Some((size, key)) if size >= of_events => {
            pod.as_object_mut()?.remove(&key);
            Some(format!("kubernetes.pod.{key}: {size} bytes"))
        }
        _ if !events.is_empty() => {
            events.clear();
            Some(format!("kubernetes.events: {of_events} bytes"))
        }
        _ => None,
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, WriteError> {
    Ok(serde_json::to_vec(value).map_err(std::io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::PodEvent;

    fn header(spec: usize, status: usize, message: usize) -> Header {
        Header {
            kubernetes: Some(Kubernetes {
                pod: json!({"metadata": {"name": "web-0"}, "spec": "s".repeat(spec), "status": "t".repeat(status)}),
                events: vec![PodEvent {
                    message: "m".repeat(message),
                    ..PodEvent::default()
                }],
            }),
            ..Header::default()
        }
    }

    fn written(header: &Header) -> Header {
        let document = fitting(header).unwrap();
        assert!(document.len() <= MAX_DOCUMENT);
        serde_json::from_slice(&document).unwrap()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let header = header(1000, 1000, 1000);
        assert_eq!(written(&header), header);
    }

    #[test]
    fn the_largest_part_goes_first_and_no_more_than_needed() {
        let found = written(&header(600_000, 700_000, 100));
        assert_eq!(found.omitted, ["kubernetes.pod.status: 700002 bytes"]);
        let kubernetes = found.kubernetes.unwrap();
        assert_eq!(kubernetes.pod["spec"].as_str().unwrap().len(), 600_000);
        assert_eq!(kubernetes.events.len(), 1);
    }

    #[test]
    fn events_may_be_the_largest_part() {
        let found = written(&header(1_100_000, 10, 1_200_000));
        assert_eq!(found.omitted.len(), 2, "{:?}", found.omitted);
        assert!(found.omitted[0].starts_with("kubernetes.events: "));
        assert_eq!(found.kubernetes.unwrap().pod["metadata"]["name"], "web-0");
    }

    #[test]
    fn a_command_too_large_is_refused() {
        let mut header = header(10, 10, 10);
        header.container.command = vec!["x".repeat(MAX_DOCUMENT)];
        assert!(matches!(
            fitting(&header),
            Err(WriteError::DocumentTooLarge { what: "header", .. })
        ));
    }
}
