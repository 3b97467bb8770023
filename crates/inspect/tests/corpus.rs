//! Every real capture of `tests/captures` through every reading command, as text and as JSON: a capture that is
//! dropped in there gets its cases by itself (`INSTA_UPDATE=always cargo test -p inspect` writes down what it says).
//!
//! What `explain` says of each is a snapshot. What the other commands say is one only for those captures in `CHOSEN`. For all of them
//! it has to agree with the events that `show --json` writes.
//!
//! Of `show` the snapshots have the events the verdict cites; the others have to be there, and to be JSON.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use capture_format::{Reader, RunIndex};
use inspect::diff::{Diff, Side, diff};
use inspect::info::Info;
use inspect::show::{Options, show};
use inspect::views::streams::{Format, Printer, streams};
use inspect::views::timeline::Kind;
use inspect::views::{self, Look, View};
use serde_json::Value;
use verdict::explain::explain;

/// Those of which the views are snapshots, each for what it shows.
const CHOSEN: [&str; 13] = [
    "cluster-liveness-kill", // several runs, executions beside the application, a pod's names
    "command-not-executable", // no process at all
    "config-malformed-redis", // a file that was read, and named without its line
    "differing-runs",        // runs that are told apart
    "disk-full-dd",          // writes that fail, and bytes that are not text
    "dns-silent-python",     // questions without an answer
    "errexit-file-missing",  // a shell and its children
    "killed-from-outside",   // a signal's sender
    "nginx-upstream",        // a search list, two runs alike
    "oom-killed",            // a child that is killed, a limit
    "port-in-use-nginx",     // addresses that are taken
    "refused-retries",       // connections that are tried again
    "segfault",              // an address of memory
];

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

fn name(capture: &Path) -> &str {
    capture.file_stem().unwrap().to_str().unwrap()
}

/// Compares what `command` says of a capture with the snapshot of both names: of each capture if it is `explain`, else of those chosen.
fn each(command: &str, says: impl Fn(&mut Reader<File>) -> String) {
    let mut captures = captures();
    captures.retain(|path| has_snapshot(name(path), command));
    assert!(captures.len() >= CHOSEN.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in captures {
            let said = says(&mut capture_format::open_file(&path).unwrap());
            insta::assert_snapshot!(format!("{}.{command}", name(&path)), said);
        }
    });
}

fn has_snapshot(capture: &str, command: &str) -> bool {
    command.starts_with("explain") || CHOSEN.contains(&capture)
}

#[test]
fn no_snapshot_is_left_over() {
    let captures = captures();
    for file in Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .read_dir()
        .unwrap()
    {
        let file = file.unwrap().file_name().into_string().unwrap();
        // Of the other tests: `filters__….snap`.
        if let [capture, command, "snap"] = file.split('.').collect::<Vec<_>>()[..] {
            let exists = captures.iter().any(|path| name(path) == capture);
            assert!(exists && has_snapshot(capture, command), "{file}");
        }
    }
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
        "../../tests/captures/programs",
        "../../tests/captures/programs-later",
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
fn each_view<V: View>(command: &str, of: fn(&mut Reader<File>, RunIndex) -> V) {
    let views = |reader: &mut Reader<File>| -> Vec<V> {
        let runs = reader.indexes();
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
fn printed(reader: &mut Reader<File>, format: Format) -> String {
    let mut out = Vec::new();
    let mut printer = Printer::new(format, Look::default(), &mut out);
    for index in reader.indexes() {
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
}

#[test]
fn streams_of_each() {
    each("streams", |reader| printed(reader, Format::Text));
    each("streams-hex", |reader| printed(reader, Format::Hex));
    each("streams-json", |reader| printed(reader, Format::Json));
}

/// The first run against the last one of the capture, which may be the same.
fn compared(reader: &mut Reader<File>) -> Diff {
    let first = Side::of("capture", reader, RunIndex(0));
    let last = reader.runs().len() - 1;
    diff(&first, &Side::of("capture", reader, RunIndex(last)))
}

#[test]
fn diff_of_each() {
    each("diff", |reader| text(&compared(reader)));
    each("diff-json", |reader| json(&compared(reader)));
}

/// The events of a run, as `show --json` writes them.
struct Shown {
    run: u64,
    start_ns: u64,
    events: HashMap<u64, Value>,
}

impl Shown {
    /// Those of each run.
    fn of(reader: &mut Reader<File>) -> Vec<Shown> {
        let text = shown(reader, true);
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let runs = reader.runs().iter();
        runs.map(|run| {
            let own = events.iter().filter(|event| event["run"] == run.number);
            Shown {
                run: run.number.into(),
                start_ns: run.start.0,
                events: own
                    .map(|event| (integer(&event["number"]), event.clone()))
                    .collect(),
            }
        })
        .collect()
    }

    fn count(&self, is_meant: impl Fn(&Value) -> bool) -> u64 {
        self.events.values().filter(|event| is_meant(event)).count() as u64
    }

    /// Every moment, number of a run and of an event that a view's JSON holds, at whatever depth.
    fn agrees(&self, at: &str, view: &Value) {
        match view {
            Value::Array(values) => values.iter().for_each(|value| self.agrees(at, value)),
            Value::Object(fields) => {
                if let Some(event) = fields.get("event").filter(|it| it.is_u64()) {
                    let event = self.events.get(&integer(event));
                    let event = event.unwrap_or_else(|| panic!("{at}: no such event: {view}"));
                    if let Some(time) = fields.get("time_ns") {
                        assert_eq!(time, &event["time_ns"], "{at}: {view}");
                        let after = i128::from(integer(time)) - i128::from(self.start_ns);
                        assert_eq!(
                            fields["after_start_ns"].as_i64().unwrap() as i128,
                            after,
                            "{at}: {view}"
                        );
                    }
                }
                if let Some(events) = fields.get("events") {
                    assert_eq!(integer(events), self.events.len() as u64, "{at}");
                    assert_eq!(integer(&fields["number"]), self.run, "{at}");
                }
                fields.values().for_each(|value| self.agrees(at, value));
            }
            _ => {}
        }
    }
}

fn integer(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn sum(values: &Value, field: &str) -> u64 {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|value| integer(&value[field]))
        .sum()
}

fn is_safe(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}

/// A view as JSON, whose text is there, and is as safe in a terminal as the JSON.
fn checked(at: &str, view: &impl View) -> Value {
    let (text, json) = (text(view), json(view));
    assert!(
        text.ends_with('\n') && is_safe(&text) && is_safe(&json),
        "{at}: {text}"
    );
    serde_json::from_str(&json).unwrap()
}

fn failed(event: &Value) -> bool {
    let is_in_progress = event["event"] == "connect" && event["errno"] == "EINPROGRESS";
    event["errno"].is_string() && !is_in_progress || event["args"]["so_error"].is_string()
}

#[test]
fn views_agree_with_the_events_of_every_capture() {
    for path in captures() {
        let reader = &mut capture_format::open_file(&path).unwrap();
        let at = name(&path);
        let explained: Value = serde_json::to_value(explain(reader)).unwrap();
        let shown = Shown::of(reader);
        for (index, events) in shown.iter().enumerate() {
            let errors = checked(at, &views::errors(reader, RunIndex(index)));
            let files = checked(at, &views::files(reader, RunIndex(index)));
            let dns = checked(at, &views::dns(reader, RunIndex(index)));
            let net = checked(at, &views::net(reader, RunIndex(index)));
            let ps = checked(at, &views::ps(reader, RunIndex(index)));
            let timeline = checked(at, &views::timeline(reader, RunIndex(index)));
            for view in [
                &errors,
                &files,
                &dns,
                &net,
                &ps,
                &timeline,
                &explained["runs"][index],
            ] {
                events.agrees(at, view);
            }

            let all_failed = events.count(failed);
            assert_eq!(integer(&errors["total"]), all_failed, "{at}");
            assert_eq!(sum(&errors["by_errno"], "count"), all_failed, "{at}");
            if errors["left_out"] == 0 {
                assert_eq!(sum(&errors["calls"], "count"), all_failed, "{at}");
            }
            let failures = sum(&files["files"], "failures");
            assert!(failures <= all_failed, "{at}");
            let written = |event: &Value| {
                event["event"] == "write" && event["fd"]["type"] == "file" && !failed(event)
            };
            assert!(
                sum(&files["files"], "writes") >= events.count(written),
                "{at}"
            );
            let connects = events.count(|event| event["event"] == "connect");
            assert!(sum(&net["connections"], "count") <= connects, "{at}");
            let pids: HashSet<u64> = events
                .events
                .values()
                .map(|event| integer(&event["pid"]))
                .collect();
            for process in ps["processes"].as_array().unwrap() {
                let parent = process["parent"].as_u64();
                let is_known = |pid| pids.contains(&pid);
                assert!(
                    is_known(integer(&process["pid"])) || parent.is_some_and(is_known),
                    "{at}: {process}"
                );
            }
            assert_eq!(
                timeline["sentence"], explained["runs"][index]["sentence"],
                "{at}"
            );
        }

        let info = serde_json::to_value(Info::of(reader)).unwrap();
        assert_eq!(
            sum(&info["runs"], "events"),
            shown.iter().map(|run| run.events.len() as u64).sum::<u64>(),
            "{at}"
        );
        let runs = checked(at, &views::runs(reader));
        for (index, (run, events)) in runs["runs"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&shown)
            .enumerate()
        {
            events.agrees(at, run);
            assert_eq!(run["cause"], explained["runs"][index]["cause"], "{at}");
        }
        assert_eq!(runs["runs"].as_array().unwrap().len(), shown.len(), "{at}");
        let differences = checked(at, &compared(reader));
        assert!(shown.len() > 1 || differences["alike"] == true, "{at}");

        let lines = printed(reader, Format::Json);
        let hex = printed(reader, Format::Hex);
        for piece in lines.lines() {
            let piece: Value = serde_json::from_str(piece).unwrap();
            let number = integer(&piece["event"]);
            let event = shown.iter().find_map(|run| run.events.get(&number));
            assert_eq!(piece["data"], event.unwrap()["data"], "{at}: {piece}");
        }
        assert_eq!(lines.is_empty(), hex.is_empty(), "{at}");
        assert!(is_safe(&lines) && is_safe(&hex), "{at}");
    }
}

/// What the story of a run says was printed by one event comes in the order in which the event wrote it.
#[test]
fn lines_of_one_write_are_told_in_their_order() {
    let mut several = 0;
    for folder in [
        "",
        "held-out",
        "held-out-later",
        "held-out-last",
        "programs",
        "programs-later",
    ] {
        for path in captures_in(&format!("../../tests/captures/{folder}")) {
            let mut reader = capture_format::open_file(&path).unwrap();
            let indexes: Vec<RunIndex> = reader.indexes().collect();
            for index in indexes {
                let story = views::timeline(&mut reader, index);
                let said = story.steps.iter().filter(|step| step.kind == Kind::Said);
                let said: Vec<_> = said.collect();
                let events = reader.events(index).flatten();
                let written: HashMap<u64, String> = events
                    .map(|it| {
                        (
                            it.number,
                            String::from_utf8_lossy(&it.event.data).into_owned(),
                        )
                    })
                    .collect();
                for lines in said.chunk_by(|a, b| a.moment.event == b.moment.event) {
                    several += usize::from(lines.len() > 1);
                    let data = &written[&lines[0].moment.event];
                    let mut from = 0;
                    for step in lines {
                        let line = step.text.split_once(": ").map_or("", |(_, line)| line);
                        // What is escaped or cut does not occur as it is.
                        if data.contains(line) {
                            let at = data[from..].find(line);
                            assert!(at.is_some(), "{}: {}", name(&path), step.text);
                            from += at.unwrap_or_default();
                        }
                    }
                }
            }
        }
    }
    assert!(several > 10, "{several}");
}
