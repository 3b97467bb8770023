//! Leaves out one entry of the catalogue after the other, and shows which of them change a verdict on a capture. The list
//! is in docs/verdicts.md; `INSTA_UPDATE=always cargo test -p verdict --lib ablation -- --ignored` renews it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{read_dir, read_to_string, write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capture_format::open_file;

use super::{Catalogue, Sheet};
use crate::facts::Facts;
use crate::rules::{Case, judge};

const BEGIN: &str = "<!-- left out: cargo test -p verdict --lib ablation -- --ignored -->\n";
const END: &str = "<!-- left out so far -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn captures() -> Vec<PathBuf> {
    let folder = root().join("tests/captures");
    let folders = read_dir(&folder).unwrap().flatten();
    let folders = folders.map(|it| it.path()).filter(|it| it.is_dir());
    let files = folders.chain([folder]).flat_map(|it| read_dir(it).unwrap());
    let mut files: Vec<PathBuf> = files
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|end| end == "lwcap"))
        .collect();
    files.sort();
    files
}

impl Catalogue {
    /// This catalogue, with an entry that matches nothing in the place of one.
    fn without(&self, id: &str) -> Self {
        let sheets = self.sheets.iter().map(|sheet| {
            let Some(at) = sheet.entries.iter().position(|entry| entry.id() == id) else {
                return Arc::clone(sheet);
            };
            let mut entries = sheet.entries.clone();
            entries[at] = entries[at].mute();
            Arc::new(Sheet {
                set: sheet.set.clone(),
                ..Sheet::new(sheet.name.clone(), sheet.scope.clone(), entries)
            })
        });
        Self {
            sheets: sheets.collect(),
        }
    }

    /// The ids of the entries that know something that a process of the run said.
    fn known(&self, facts: &Facts) -> BTreeSet<&str> {
        let mut ids = BTreeSet::new();
        for process in facts.processes.iter() {
            let lines: Vec<_> = process.output.lines().collect();
            let raw: Vec<&str> = lines.iter().map(|line| &*line.text).collect();
            let said: Vec<&str> = lines.iter().map(|line| &*line.message().text).collect();
            for text in [raw.join("\n"), said.join("\n")] {
                let meanings = self.matches(process, &text);
                ids.extend(meanings.iter().map(|meaning| meaning.entry.id()));
            }
        }
        ids
    }
}

/// For each entry the captures whose last run gets another verdict without it.
fn changed() -> BTreeMap<&'static str, Vec<String>> {
    let catalogue = Catalogue::built_in();
    let mut changed = BTreeMap::new();
    let mut without = BTreeMap::new();
    for entry in catalogue.entries() {
        changed.insert(entry.id(), Vec::new());
    }
    for path in captures() {
        let mut reader = open_file(&path).unwrap();
        let header = reader.header().clone();
        let run = reader.runs().last().unwrap().clone();
        let index = reader.indexes().last().unwrap();
        let mut facts = Facts::new(&run);
        for event in reader.events(index).flatten() {
            facts.observe(event.number, &event.event);
        }
        let verdict = judge(&Case::with(&facts, &run, &header, catalogue));
        for id in catalogue.known(&facts) {
            let rest = without.entry(id).or_insert_with(|| catalogue.without(id));
            if judge(&Case::with(&facts, &run, &header, rest)) != verdict {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                changed.entry(id).or_default().push(name);
            }
        }
    }
    changed
}

#[test]
#[ignore = "takes half a minute"]
fn what_each_entry_changes_is_in_the_documentation() {
    let changed = changed();
    let catalogue = Catalogue::built_in();
    let unproven: Vec<_> = catalogue
        .entries()
        .filter(|entry| changed[entry.id()].is_empty())
        .collect();
    let mut text = format!(
        "Of {} entries, {} change the verdict on a capture: without them it has another cause, sentence, band or\nevidence. No capture shows anything of the other {}:\n\n",
        changed.len(),
        changed.len() - unproven.len(),
        unproven.len()
    );
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &unproven {
        let (file, name) = entry.id().split_once('.').unwrap();
        files.entry(file).or_default().push(name);
    }
    for (file, names) in files {
        let mut line = format!("- {file}:");
        for (at, name) in names.iter().enumerate() {
            let word = match at + 1 == names.len() {
                true => format!(" `{name}`"),
                false => format!(" `{name}`,"),
            };
            if line.len() + word.len() > 118 {
                writeln!(text, "{line}").unwrap();
                line = String::from(" ");
            }
            line.push_str(&word);
        }
        writeln!(text, "{line}").unwrap();
    }
    let path = root().join("docs/verdicts.md");
    let document = read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let renewed = format!("{before}{BEGIN}\n{text}\n{END}{after}");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        write(path, renewed).unwrap();
    } else {
        assert_eq!(document, renewed, "renew with INSTA_UPDATE=always");
    }
}
