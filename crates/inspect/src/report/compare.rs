//! The part that compares the runs: what was alike in all of them, and what differed.

use capture_format::Losses;
use maud::{Markup, html};

use super::gather::Gathered;
use super::overview::{cause_in_words, ended};
use super::page::table;
use super::shown::Shown;
use crate::info::Info;
use events::decode::time::duration;
use verdict::entity::{alike, normal};
use verdict::explain::Explanation;
use verdict::facts::output::{Fate, Line};
use verdict::rules::Verdict;

/// How many characters a cell has.
const MAX_CELL: usize = 120;
/// How many names a cell has.
const MAX_NAMES: usize = 3;

/// What is compared of a run.
const COLUMNS: [&str; 9] = [
    "Ended",
    "Lived",
    "Cause",
    "About",
    "Confidence",
    "Names not resolved",
    "Last words",
    "Events",
    "Lost, overwritten",
];

/// The cells of one run, one for each column.
type Cells = [Shown; COLUMNS.len()];

/// Compares the runs that the report describes, the last one first.
pub(super) fn comparison(explanation: &Explanation, info: &Info, runs: &[Gathered]) -> Markup {
    let verdicts = explanation.runs.iter().rev().map(|run| &run.verdict);
    let rows: Vec<(u32, Cells)> = runs
        .iter()
        .zip(verdicts)
        .map(|(run, verdict)| (run.info.run.number, cells(run, verdict)))
        .collect();
    let (alike, different): (Vec<usize>, Vec<usize>) =
        (0..COLUMNS.len()).partition(|&column| is_alike(&rows, column));
    let told = |column: &&usize| !rows[0].1[**column].is_empty();
    html! {
        section id="compare" aria-labelledby="compare-heading" {
            h2 id="compare-heading" { (rows.len()) " runs side by side" }
            @if !alike.is_empty() {
                h3 { "Alike in all of them" }
                dl.facts { @for column in alike.iter().filter(told) { dt { (COLUMNS[*column]) } dd { (rows[0].1[*column]) } } }
            }
            h3 { "Different" }
            @if different.is_empty() { p { "Nothing of what is compared." } }
            @else { (differences(&rows, &different)) }
            @if info.runs.len() > rows.len() {
                p.note { (info.runs.len() - rows.len()) " earlier runs: " code { "lastword explain FILE" } "." }
            }
        }
    }
}

fn differences(rows: &[(u32, Cells)], columns: &[usize]) -> Markup {
    let names = columns.iter().map(|&column| COLUMNS[column]);
    let names: Vec<&str> = std::iter::once("Run").chain(names).collect();
    let body = html! {
        @for (run, cells) in rows {
            tr {
                td.number { a href={ "#run-" (run) } { (run) } }
                @for &column in columns { td { (cells[column]) } }
            }
        }
    };
    table("compare", &names, &body)
}

/// Whether all runs agree in a column, except for what is different each time.
fn is_alike(rows: &[(u32, Cells)], column: usize) -> bool {
    let same = |one: &Cells, other: &Cells| {
        let (one, other) = (one[column].as_str(), other[column].as_str());
        match COLUMNS[column] {
            "Last words" => normal(one) == normal(other),
            _ => alike(one, other),
        }
    };
    rows.windows(2).all(|pair| same(&pair[0].1, &pair[1].1))
}

fn cells(run: &Gathered, verdict: &Verdict) -> Cells {
    let meta = &run.info.run;
    let lived = meta.end.and_then(|end| end.checked_since(meta.start));
    let Losses {
        lost, overwritten, ..
    } = meta.losses;
    let words = last_words(run).map(|line| Shown::raw(&line.text, MAX_CELL));
    let said = |text: String| Shown::said(&text, MAX_CELL);
    [
        said(ended(meta)),
        said(lived.map(duration).unwrap_or_default()),
        said(cause_in_words(verdict)),
        said(verdict.subject.clone()),
        said(verdict.band.to_string()),
        said(not_resolved(run)),
        words.unwrap_or_default(),
        said(run.info.events.to_string()),
        said(format!("{lost}, {overwritten}")),
    ]
}

fn last_words(run: &Gathered) -> Option<&Line> {
    let lines = run
        .facts
        .processes
        .iter()
        .flat_map(|process| process.output.lines());
    lines
        .filter(|line| line.fate == Fate::Written)
        .max_by_key(|line| line.event)
}

/// `flask NXDOMAIN, db no answer`.
fn not_resolved(run: &Gathered) -> String {
    let mut names: Vec<String> = Vec::new();
    for lookup in run
        .views
        .dns
        .lookups
        .iter()
        .filter(|lookup| lookup.outcome != "resolved")
    {
        let name = format!("{} {}", lookup.host, lookup.said);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    names.extend((more > 0).then(|| format!("{more} more")));
    names.join(", ")
}
