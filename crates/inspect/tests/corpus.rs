//! Every real capture of `tests/captures` through every reading command, as text and as JSON: a capture that is
//! dropped in there gets its cases by itself (`INSTA_UPDATE=always cargo test -p inspect` writes down what it says).
//!
//! Of `show` the snapshots have the events the verdict cites; the others have to be there, and to be JSON.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use capture_format::Reader;
use inspect::diff::{Side, diff};
use inspect::info::Info;
use inspect::show::{Options, show};
use inspect::views::streams::{Format, Printer, streams};
use inspect::views::{self, Look, View};
use verdict::explain::explain;

/// The captures, in the order of their names.
fn captures() -> Vec<PathBuf> {
    captures_in("../../tests/captures")
}

fn captures_in(folder: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = directory
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut captures: Vec<PathBuf> = files
        .filter(|path| path.extension() == Some(OsStr::new("lwcap")))
        .collect();
    captures.sort();
    captures
}

/// Compares what `command` says of each capture with the snapshot of both names.
fn each(command: &str, says: impl Fn(&mut Reader<File>) -> String) {
    let captures = captures();
    assert!(!captures.is_empty());
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in captures {
            let said = says(&mut capture_format::open_file(&path).unwrap());
            let name = path.file_stem().unwrap().to_str().unwrap();
            insta::assert_snapshot!(format!("{name}.{command}"), said);
        }
    });
}

fn cited(reader: &mut Reader<File>) -> HashSet<u64> {
    let runs = explain(reader).runs.into_iter();
    runs.flat_map(|run| run.verdict.evidence)
        .map(|evidence| evidence.event)
        .collect()
}

fn shown(reader: &mut Reader<File>, json: bool) -> String {
    let mut out = Vec::new();
    show(
        reader,
        &mut out,
        &Options {
            json,
            ..Options::default()
        },
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

/// The lines of `text` whose number, as `number` reads it, is cited; numbers go up from 1.
fn only_cited(reader: &mut Reader<File>, text: &str, number: impl Fn(&str) -> u64) -> String {
    let cited = cited(reader);
    let numbered = (1..).zip(text.lines());
    let kept = numbered.filter(|&(expected, line)| {
        assert_eq!(number(line), expected, "{line}");
        cited.contains(&expected)
    });
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn explain_text() {
    each("explain", |reader| {
        let mut out = Vec::new();
        explain(reader).write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    });
}

#[test]
fn explain_json() {
    each("explain-json", |reader| {
        serde_json::to_string_pretty(&explain(reader)).unwrap()
    });
}

#[test]
fn info_text() {
    each("info", |reader| {
        let mut out = Vec::new();
        Info::of(reader).write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    });
}

#[test]
fn info_json() {
    each("info-json", |reader| {
        serde_json::to_string_pretty(&Info::of(reader)).unwrap()
    });
}

#[test]
fn show_text() {
    each("show", |reader| {
        let text = shown(reader, false);
        let lines = text.lines().filter(|line| !line.starts_with("run "));
        let events = lines.collect::<Vec<_>>().join("\n");
        only_cited(reader, &events, |line| {
            line.split_whitespace().next().unwrap().parse().unwrap()
        })
    });
}

#[test]
fn show_json() {
    each("show-json", |reader| {
        let text = shown(reader, true);
        only_cited(reader, &text, |line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["number"].as_u64().unwrap()
        })
    });
}

/// The crashes that rules were not written for: only that every command reads them, and escapes what they hold.
#[test]
fn what_is_held_out_is_read_and_escaped() {
    for folder in [
        "../../tests/captures/held-out",
        "../../tests/captures/held-out-later",
        "../../tests/captures/held-out-last",
    ] {
        let captures = captures_in(folder);
        assert!(!captures.is_empty());
        for path in captures {
            let mut reader = capture_format::open_file(&path).unwrap();
            let mut out = Vec::new();
            explain(&mut reader).write_text(&mut out).unwrap();
            Info::of(&mut reader).write_text(&mut out).unwrap();
            let text = String::from_utf8(out).unwrap()
                + &shown(&mut reader, false)
                + &shown(&mut reader, true);
            let is_safe = |c: char| c == '\n' || !c.is_control();
            assert!(text.chars().all(is_safe), "{}", path.display());
        }
    }
}

/// What a view says of each run of a capture, as text and as JSON.
fn each_view<V: View>(command: &str, of: fn(&mut Reader<File>, usize) -> V) {
    let views = |reader: &mut Reader<File>| -> Vec<V> {
        let runs = 0..reader.runs().len();
        runs.map(|index| of(reader, index)).collect()
    };
    each(command, |reader| {
        views(reader)
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join("\n")
    });
    each(&format!("{command}-json"), |reader| json(&views(reader)));
}

fn text(view: &impl View) -> String {
    let mut out = Vec::new();
    view.write_text(Look::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json(value: &impl serde::Serialize) -> String {
    let mut out = Vec::new();
    inspect::json::write_pretty(value, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn runs() {
    each("runs", |reader| text(&views::runs(reader)));
    each("runs-json", |reader| json(&views::runs(reader)));
}

#[test]
fn ps() {
    each_view("ps", views::ps);
}

#[test]
fn errors() {
    each_view("errors", views::errors);
}

#[test]
fn files() {
    each_view("files", views::files);
}

#[test]
fn dns() {
    each_view("dns", views::dns);
}

#[test]
fn net() {
    each_view("net", views::net);
}

#[test]
fn timeline() {
    each_view("timeline", views::timeline);
}

/// Standard error and resolv.conf: something written and something read.
#[test]
fn streams_of_each() {
    let printed = |reader: &mut Reader<File>, format| {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, Look::default(), &mut out);
        for index in 0..reader.runs().len() {
            for what in ["stderr", "resolv.conf", "error.log"] {
                let what = what.parse().unwrap();
                streams(reader, index, &what, None, &mut |piece| {
                    printer.piece(&piece)
                })
                .unwrap();
            }
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    };
    each("streams", |reader| printed(reader, Format::Text));
    each("streams-hex", |reader| printed(reader, Format::Hex));
    each("streams-json", |reader| printed(reader, Format::Json));
}

/// The first run against the last one of the capture, which may be the same.
#[test]
fn diff_of_each() {
    let compared = |reader: &mut Reader<File>| {
        let first = Side::of("capture", reader, 0);
        let last = reader.runs().len() - 1;
        diff(&first, &Side::of("capture", reader, last))
    };
    each("diff", |reader| text(&compared(reader)));
    each("diff-json", |reader| json(&compared(reader)));
}
