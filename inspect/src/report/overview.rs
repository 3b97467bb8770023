//! The verdict, its evidence, and how the runs compare.

use capture_format::Run;
use maud::{Markup, html};

use super::gather::Gathered;
use super::page::table;
use super::processes;
use super::shown::Shown;
use crate::decode::time::duration;
use crate::explain::{Explanation, RunVerdict, is_alike};
use crate::info::{Info, RunInfo};
use crate::rules::Verdict;

/// Characters of a sentence, and of a cell of the comparison.
const MAX_SENTENCE: usize = 1_200;
const MAX_CELL: usize = 160;
/// Evidence, weaknesses and groups of runs that are told.
const MAX_EVIDENCE: usize = 64;
const MAX_GROUPS: usize = 12;
/// Runs that are compared: the newest.
const MAX_COMPARED: usize = 60;
/// A verdict longer than this is told in two steps.
const LONG: usize = 90;

pub(super) fn overview(explanation: &Explanation, info: &Info, runs: &[Gathered]) -> Markup {
    let groups: Vec<&[RunVerdict]> = explanation.runs.chunk_by(is_alike).collect();
    html! {
        section.verdict id="verdict" aria-labelledby="sentence" {
            (sentence(&explanation.sentence))
            @for group in groups.iter().rev().take(MAX_GROUPS) {
                @if let Some((last, earlier)) = group.split_last() {
                    @if groups.len() > 1 {
                        h2.ended { "Run " (last.run) ": " (Shown::said(&last.verdict.sentence, MAX_SENTENCE)) }
                    }
                    (details(&last.verdict, runs))
                    (alike(earlier, runs))
                }
            }
            @if groups.len() > MAX_GROUPS { p.note { (groups.len() - MAX_GROUPS) " earlier ways of ending are in the comparison below." } }
        }
        @if info.runs.len() > 1 { (comparison(explanation, info)) }
    }
}

/// The first clause large, what follows it smaller.
fn sentence(text: &str) -> Markup {
    let text = Shown::said(text, MAX_SENTENCE);
    let text = text.as_str();
    let cut = (text.chars().count() > LONG)
        .then(|| text.find("; "))
        .flatten();
    let (lead, rest) = text.split_at(cut.map_or(text.len(), |at| at + 1));
    html! {
        h1 id="sentence" { (lead) @if !rest.is_empty() { span.rest { (rest) } } }
    }
}

fn details(verdict: &Verdict, runs: &[Gathered]) -> Markup {
    let Verdict {
        sentence: _,
        cause,
        subject,
        confidence,
        why,
        evidence,
        next_step,
        weakened_by,
    } = verdict;
    html! {
        dl.facts {
            dt { "Next step" }
            dd.next { (Shown::said(next_step, MAX_SENTENCE)) }
            dt { "Cause" }
            dd { (cause.name().replace('_', " ")) @if !subject.is_empty() { " " code { (Shown::said(subject, MAX_CELL)) } } }
            dt { "Confidence" }
            dd { (meter(*confidence)) b { (confidence) " %" } " " span.soft { (Shown::said(why, MAX_SENTENCE)) } }
            @if !weakened_by.is_empty() {
                dt { "Weakened by" }
                dd { ul.plain { @for weakness in weakened_by.iter().take(MAX_EVIDENCE) { li { (Shown::said(weakness, MAX_SENTENCE)) } } } }
            }
        }
        h2 { "Evidence" }
        ol.evidence {
            @for evidence in evidence.iter().take(MAX_EVIDENCE) {
                li { (link(evidence.event, runs)) " " span { (Shown::said(&evidence.text, MAX_SENTENCE / 2)) } }
            }
        }
        @if evidence.len() > MAX_EVIDENCE { p.note { "… and " (evidence.len() - MAX_EVIDENCE) " more events." } }
    }
}

fn alike(earlier: &[RunVerdict], runs: &[Gathered]) -> Markup {
    html! {
        @for RunVerdict { run, verdict } in earlier.iter().rev().take(MAX_GROUPS) {
            p.alike {
                "Run " (run) " ended alike:"
                @for evidence in verdict.evidence.iter().take(MAX_EVIDENCE) { " " (link(evidence.event, runs)) }
            }
        }
        @if earlier.len() > MAX_GROUPS { p.alike { "So did " (earlier.len() - MAX_GROUPS) " runs before." } }
    }
}

fn link(event: u64, runs: &[Gathered]) -> Markup {
    match runs.iter().find(|run| run.events.contains_key(&event)) {
        Some(run) => run.link(event),
        None => html! { span.event { "#" (event) } },
    }
}

fn meter(percent: u8) -> Markup {
    let percent = percent.min(100);
    html! {
        svg.meter viewBox="0 0 100 8" width="100" height="8" aria-hidden="true" {
            rect.rail width="100" height="8" rx="4" {}
            rect.level width=(percent) height="8" rx="4" {}
        }
    }
}

/// `exited 1`, `killed by SIGKILL`, `nobody saw how it ended`, `still alive`.
pub(super) fn ended(run: &Run) -> String {
    match (run.status, run.end, &run.start_error) {
        (Some(status), ..) => processes::ended(status),
        (None, _, Some(_)) => "not started".to_owned(),
        (None, Some(_), None) => "nobody saw how it ended".to_owned(),
        (None, None, None) => "still alive when the capture was taken".to_owned(),
    }
}

/// What is compared of a run, cell by cell.
const COLUMNS: [&str; 7] = [
    "Ended",
    "Lived",
    "Cause",
    "About",
    "Sure",
    "Events",
    "Lost, overwritten",
];

fn cells(info: &RunInfo, verdict: &Verdict) -> [Shown; 7] {
    let run = &info.run;
    let lived = run.end.and_then(|end| end.checked_sub(run.start));
    let losses = &run.losses;
    let texts = [
        ended(run),
        lived.map(duration).unwrap_or_default(),
        verdict.cause.name().replace('_', " "),
        verdict.subject.clone(),
        format!("{} %", verdict.confidence),
        info.events.to_string(),
        format!("{}, {}", losses.lost, losses.overwritten),
    ];
    texts.map(|text| Shown::said(&text, MAX_CELL))
}

fn comparison(explanation: &Explanation, info: &Info) -> Markup {
    let runs = info.runs.iter().zip(&explanation.runs);
    let rows: Vec<(u32, [Shown; 7])> = runs
        .map(|(info, verdict)| (info.run.number, cells(info, &verdict.verdict)))
        .collect();
    let same = |column: &usize| {
        rows.iter()
            .all(|(_, cells)| cells[*column] == rows[0].1[*column])
    };
    let (common, different): (Vec<usize>, Vec<usize>) = (0..COLUMNS.len()).partition(same);
    html! {
        section id="compare" aria-labelledby="compare-heading" {
            h2 id="compare-heading" { (rows.len()) " runs side by side" }
            @if !common.is_empty() {
                p { b { "Alike in all runs: " }
                    @for (at, column) in common.iter().enumerate() {
                        @let value = &rows[0].1[*column];
                        @if at > 0 { "; " } (COLUMNS[*column].to_lowercase()) " "
                        @if value.is_empty() { "nothing" } @else { (value) }
                    }
                    "."
                }
            }
            @if different.is_empty() { p { "Nothing of this differs." } }
            @else {
                @let names: Vec<&str> = std::iter::once("Run").chain(different.iter().map(|&column| COLUMNS[column])).collect();
                p { b { "Different:" } }
                (table("compare", &names, &html! {
                    @for (run, cells) in rows.iter().rev().take(MAX_COMPARED) {
                        tr {
                            td.number { a href={ "#run-" (run) } { (run) } }
                            @for column in &different { td { (cells[*column]) } }
                        }
                    }
                }))
            }
            @if rows.len() > MAX_COMPARED { p.note { "The newest " (MAX_COMPARED) " of " (rows.len()) " runs are shown." } }
        }
    }
}
