//! README and the documents for contributors name only files, and show only pictures, that exist.
//!
//! A word of code (in backticks or in a fenced block) is a path if its first component is a file or folder at the top of
//! the repository, as in `crates/verdict/src/lib.rs`. A name that ends with `.rs` has to be such a path, so that nobody
//! has to guess the folder. `{a,b}` stands for several names. The target of a link is a path relative to its document.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The documents, by their path from the top of the repository.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "tests/captures/README.md",
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The words of a text that are code, line by line.
fn words_of_code(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    let mut inside = false;
    let spans = text.lines().flat_map(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return Vec::new();
        }
        if fenced {
            return vec![line];
        }
        // A span of code may continue in the next line.
        let mut code = Vec::new();
        for (index, part) in line.split('`').enumerate() {
            inside ^= index > 0;
            if inside {
                code.push(part);
            }
        }
        code
    });
    let words = spans.flat_map(str::split_whitespace);
    words.map(|word| word.trim_end_matches([',', ';', ':', '.']))
}

/// The targets of links to files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let paths = targets.filter_map(|rest| rest.split([')', '#']).next());
    paths.filter(|path| !path.is_empty() && !path.contains("://"))
}

/// A name for each of the alternatives in its braces.
fn expanded(name: &str) -> Vec<String> {
    let braces = name.split_once('{').and_then(|(before, rest)| {
        let (alternatives, after) = rest.split_once('}')?;
        Some((before, alternatives, after))
    });
    let Some((before, alternatives, after)) = braces else {
        return vec![name.to_owned()];
    };
    let names = alternatives.split(',');
    names
        .flat_map(|name| expanded(&format!("{before}{name}{after}")))
        .collect()
}

/// What is wrong with the paths that a document names.
fn wrong(document: &str, text: &str) -> BTreeSet<String> {
    let top = top();
    let mut wrong = BTreeSet::new();
    for word in words_of_code(text) {
        for name in expanded(word) {
            let first = name.split('/').next().unwrap_or_default();
            // `target` exists only after a build.
            let is_path = name.contains('/')
                && !first.is_empty()
                && !first.starts_with('.')
                && first != "target"
                && top.join(first).exists();
            if is_path && !top.join(&name).exists() {
                wrong.insert(format!("{document}: `{name}` does not exist"));
            } else if !is_path && name.ends_with(".rs") {
                wrong.insert(format!(
                    "{document}: `{name}` has to be named from the top of the repository"
                ));
            }
        }
    }
    let folder = top.join(document);
    let folder = folder.parent().unwrap_or(&top);
    for link in links(text) {
        if !folder.join(link).exists() {
            wrong.insert(format!("{document}: the link to {link} leads nowhere"));
        }
    }
    wrong
}

#[test]
fn every_path_exists() {
    let mut all = BTreeSet::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(top().join(document)).expect("the document");
        all.extend(wrong(document, &text));
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn a_path_that_does_not_exist_is_found() {
    let found = |text: &str| wrong("docs/any.md", text).len();
    assert_eq!(found("`tests/tests/documents/main.rs`, `cargo test`"), 0);
    assert_eq!(found("`tests/{src,tests}/lib.rs`"), 1);
    assert_eq!(found("`tests/{src/lib,tests/documents/main}.rs`"), 0);
    assert_eq!(found("see `main.rs`"), 1);
    assert_eq!(found("tests/nowhere is no code"), 0);
    assert_eq!(found("```sh\ncd tests/nowhere\n```"), 1);
    assert_eq!(found("`a span\nthat ends in tests/nowhere`"), 1);
    assert_eq!(
        found("[one](../tests/Cargo.toml#top), [two](nowhere.md)"),
        1
    );
    assert_eq!(
        found("[elsewhere](https://lastword.dev/nowhere), [here](#here)"),
        0
    );
}
