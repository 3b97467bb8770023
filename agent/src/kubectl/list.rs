//! `kubectl lastword list`.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use events::{decode::time::duration, escape::escaped};
use kubernetes::capture::Capture;

use super::choose;

/// Writes a table; it has a column for the namespace if `namespace` is `None`.
pub(super) fn write(
    captures: &[Capture],
    namespace: Option<&str>,
    now: SystemTime,
    out: &mut impl Write,
) -> io::Result<()> {
    if captures.is_empty() {
        let place = namespace.map_or_else(
            || "in any namespace".to_owned(),
            |namespace| format!("in namespace {namespace}; -A looks in all"),
        );
        return writeln!(out, "no captures {place}");
    }
    let header = [
        "NAMESPACE",
        "POD",
        "CONTAINER",
        "TRIGGER",
        "PHASE",
        "RUNS",
        "SIMILAR",
        "AGE",
        "CAPTURE",
    ];
    let header = header.map(str::to_owned);
    let rows: Vec<_> = std::iter::once((header, "VERDICT".to_owned()))
        .chain(captures.iter().map(|capture| row(capture, now)))
        .collect();
    let skipped = usize::from(namespace.is_some());
    let width = |column: usize| {
        let widths = rows.iter().map(|(row, _)| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..9).map(width).collect();
    for (row, verdict) in &rows {
        for (cell, width) in row.iter().zip(&widths).skip(skipped) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}

fn row(capture: &Capture, now: SystemTime) -> ([String; 9], String) {
    let status = capture.status.clone().unwrap_or_default();
    let made = capture.metadata.creation_timestamp.as_ref();
    let age = made.map(|made| {
        let now = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let age = now as i128 - made.0.as_nanosecond();
        // Whole seconds are enough; the API server keeps nothing finer.
        let second = 1_000_000_000;
        duration(u64::try_from(age).unwrap_or_default() / second * second)
    });
    let clean = |text: &str| escaped(text.as_bytes()).to_string();
    let cells = [
        capture.metadata.namespace.clone().unwrap_or_default(),
        capture.spec.pod_name.clone(),
        choose::container(capture).unwrap_or_default().to_owned(),
        clean(&capture.spec.trigger.kind),
        format!("{:?}", status.phase),
        status.runs.map(|runs| runs.to_string()).unwrap_or_default(),
        status
            .similar
            .map(|count| count.to_string())
            .unwrap_or_default(),
        age.unwrap_or_default(),
        choose::name(capture),
    ];
    let said = status.verdict.or(status.message).unwrap_or_default();
    (cells, clean(&said))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kubernetes::capture::Phase;

    use super::{super::choose::tests::capture, *};

    #[test]
    fn a_table() {
        let mut complete = capture("web-1-web-1a2b", "web", Phase::Complete);
        complete.spec.trigger.kind = "restarts".to_owned();
        let status = complete.status.as_mut().unwrap();
        status.runs = Some(3);
        status.similar = Some(197);
        status.verdict = Some("web exited 1: host \u{1b}[2J not found".to_owned());
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        complete.metadata.creation_timestamp =
            Some(serde_json::from_str("\"2026-11-18T11:06:40Z\"").unwrap());
        let failed = capture("other", "proxy", Phase::Failed);
        let mut out = Vec::new();
        let now = made + Duration::from_secs(90);
        write(&[complete, failed], Some("shop"), now, &mut out).unwrap();
        let expected = "\
POD    CONTAINER  TRIGGER   PHASE     RUNS  SIMILAR  AGE   CAPTURE         VERDICT
web-1  web        restarts  Complete  3     197      90 s  web-1-web-1a2b  web exited 1: host \\x1b[2J not found
web-1  proxy      manual    Failed                         other           no such pod
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn nothing_is_told_with_where_else_to_look() {
        let mut out = Vec::new();
        write(&[], Some("shop"), SystemTime::UNIX_EPOCH, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "no captures in namespace shop; -A looks in all\n"
        );
    }
}
