//! The two sides of redaction: planted credentials that must be masked, and ordinary error lines that must survive.

use std::fmt::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use capture_format::{Event, EventKind};
use redact::{Config, Manifest, Payload, Redactor};

#[path = "support/marked.rs"]
mod marked;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Config::default()).unwrap());

fn lines(file: &'static str) -> Vec<&'static str> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('e') => '\u{1b}',
                Some('0') => '\0',
                Some(other) => other,
                None => c,
            },
            _ => c,
        });
    }
    out
}

/// Payloads that one descriptor moves, after masking.
fn masked(kind: EventKind, pieces: &[String]) -> Vec<String> {
    let event = |data: &String| Event {
        pid: 7,
        kind,
        args: [1, 42, 0],
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Event::default()
    };
    let mut events: Vec<Event> = pieces.iter().map(event).collect();
    REDACTOR.run(&mut events, Payload::Default, &[], &mut Manifest::default());
    events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.data).into_owned())
        .collect()
}

#[test]
fn planted_credentials_are_masked() {
    let lines = lines(include_str!("secrets.txt"));
    let (mut wrong, mut secrets) = (String::new(), 0);
    for line in &lines {
        secrets += line.matches('§').count() / 2;
        for kind in [EventKind::WRITE, EventKind::READ] {
            let (given, expected): (Vec<_>, Vec<_>) = line
                .split('|')
                .map(|piece| if line.contains("list: ") { line } else { piece })
                .map(|piece| marked::parts(&unescaped(piece)))
                .take(if line.contains("list: ") {
                    1
                } else {
                    usize::MAX
                })
                .unzip();
            let masked = masked(kind, &given);
            // In files, everything up to the end of the line is masked.
            let leaks = || {
                masked
                    .concat()
                    .chars()
                    .zip(expected.concat().chars())
                    .any(|(left, right)| right == '*' && left != '*')
            };
            if if kind == EventKind::WRITE {
                masked != expected
            } else {
                leaks()
            } {
                writeln!(wrong, "{kind:?}\n    {masked:?}\nnot {expected:?}").unwrap();
            }
        }
    }
    println!("{} texts, {secrets} credentials", lines.len());
    assert!(wrong.is_empty(), "{wrong}");
    assert!(secrets >= 105);
}

#[test]
fn error_lines_survive() {
    let lines = lines(include_str!("prose.txt"));
    let mut wrong = String::new();
    let mut check = |given: String| {
        let left = masked(EventKind::WRITE, std::slice::from_ref(&given)).concat();
        for (left, given) in left
            .lines()
            .zip(given.lines())
            .filter(|(left, given)| left != given)
        {
            writeln!(wrong, "{left:?}\n    not {given:?}").unwrap();
        }
    };
    for line in &lines {
        check(format!("{line}\n"));
        check(format!("2026-11-30T09:00:00Z ERROR app: {line}\n"));
        check(format!("\u{1b}[31m{line}\u{1b}[0m\n"));
    }
    // All lines together, as a program writes them.
    check(lines.join("\n"));
    println!("{} lines", lines.len());
    assert!(wrong.is_empty(), "{wrong}");
    assert!(lines.len() >= 100);
}
