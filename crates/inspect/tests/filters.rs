//! The filter language on real captures, and its documentation.

use std::path::Path;

use capture_format::Reader;
use inspect::filter::{Filter, fields};
use inspect::select::Selection;
use inspect::show::{Options, show};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn capture(name: &str) -> Reader<std::fs::File> {
    capture_format::open_file(&root().join(format!("tests/captures/{name}.lwcap"))).unwrap()
}

fn selected(name: &str, select: Selection, json: bool) -> String {
    let mut out = Vec::new();
    let options = Options {
        json,
        select,
        ..Options::default()
    };
    let shown = show(&mut capture(name), &mut out, &options).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("run "));
    assert_eq!(lines.count() as u64, shown);
    text
}

fn filtered(name: &str, filter: &str) -> String {
    let select = Selection {
        filter: Some(Filter::parse(filter).unwrap()),
        run: Some(1),
        ..Selection::default()
    };
    selected(name, select, false)
}

#[test]
fn what_matches_in_real_captures() {
    let cases = [
        (
            "nginx-upstream",
            "proc.name=nginx and evt.type=openat and evt.failed=true",
        ),
        ("nginx-upstream", "fd.name contains error.log"),
        (
            "nginx-upstream",
            "fd.filename=resolv.conf and evt.is_io_read=true",
        ),
        (
            "nginx-upstream",
            "fd.stdio=stderr or evt.type in (signal, oom_kill, exit)",
        ),
        ("dns-nxdomain-curl", "dns.rcode = NXDOMAIN"),
        ("dns-nxdomain-curl", "fd.sport = 53 and evt.type = connect"),
        (
            "refused-node",
            "evt.res in (ECONNREFUSED, EINPROGRESS) and fd.sip exists",
        ),
        (
            "library-missing",
            "evt.res=ENOENT and fs.path.name regex '/(usr/)?lib/libneeded\\.so'",
        ),
        (
            "child-file-missing",
            "proc.pname exists and evt.failed=true",
        ),
        ("oom-killed", "evt.type=oom_kill or evt.arg.signal=SIGKILL"),
        ("killed-from-outside", "evt.arg.origin=outside"),
        ("segfault", "evt.arg[signal]=SIGSEGV"),
        (
            "command-not-executable",
            "evt.res = EACCES and evt.type startswith exec",
        ),
    ];
    let said =
        cases.map(|(name, filter)| format!("{name}: {filter}\n{}\n", filtered(name, filter)));
    insta::assert_snapshot!(said.concat());
}

#[test]
fn text_and_json_show_the_same_events() {
    let select = || Selection {
        filter: Some("evt.failed=true".parse().unwrap()),
        ..Selection::default()
    };
    let text = selected("nginx-upstream", select(), false);
    let numbers = text.lines().filter(|line| !line.starts_with("run "));
    let numbers = numbers.map(|line| {
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    });
    let json = selected("nginx-upstream", select(), true);
    let objects = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let objects: Vec<_> = objects
        .map(|object| object["number"].as_u64().unwrap())
        .collect();
    assert!(!objects.is_empty());
    assert_eq!(numbers.collect::<Vec<_>>(), objects);
}

/// A line for an event is the same whether those before it were shown or not: what they said is known.
#[test]
fn what_is_not_shown_is_remembered() {
    let all = selected("nginx-upstream", Selection::default(), false);
    for filter in ["evt.is_io = true", "proc.name = nginx", "evt.num > 20"] {
        let some = filtered("nginx-upstream", filter);
        assert!(some.lines().count() > 2, "{filter}");
        for line in some.lines() {
            assert!(all.lines().any(|other| other == line), "{filter}: {line}");
        }
    }
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/filters.md")).unwrap()
}

#[test]
fn the_document_has_the_table_of_fields() {
    let rows = fields().map(|field| {
        format!(
            "| `{}` | {} | {} | `{}` |\n",
            field.name, field.of, field.meaning, field.example
        )
    });
    let table = rows.collect::<String>();
    assert!(
        document().contains(&table),
        "docs/filters.md needs this table:\n{table}"
    );
}

#[test]
fn the_documents_examples_are_filters() {
    let document = document();
    let blocks = document.split("```filter\n").skip(1);
    let examples: Vec<&str> = blocks
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .collect();
    assert!(examples.len() > 10);
    for example in examples {
        if let Err(error) = Filter::parse(example) {
            panic!("{error}");
        }
    }
}
