//! The verdict, its evidence, and how the runs compare.

use capture_format::Run;
use maud::{Markup, html};

use super::bounded::first;
use super::gather::Gathered;
use super::shown::Shown;
use super::{compare, processes};
use crate::info::Info;
use events::decode::time::since_start;
use verdict::Lead;
use verdict::explain::{Explanation, RunVerdict, is_alike};
use verdict::rules::Verdict;

/// How many characters a sentence has, and a subject.
const MAX_SENTENCE: usize = 1_200;
const MAX_SUBJECT: usize = 160;
/// How many pieces of evidence, weaknesses and groups of runs are shown.
const MAX_EVIDENCE: usize = 64;
const MAX_GROUPS: usize = 12;
/// Bytes of markup of all groups.
const MAX_MARKUP: usize = 250_000;
/// A verdict that is longer than this is shown in two steps.
const LONG: usize = 90;

pub(super) fn overview(explanation: &Explanation, info: &Info, runs: &[Gathered]) -> Markup {
    let groups: Vec<&[RunVerdict]> = explanation.runs.chunk_by(is_alike).collect();
    let newest = groups.iter().rev().take(MAX_GROUPS).enumerate();
    let told = first(newest, MAX_MARKUP, |(at, group)| {
        self::group(at == 0, group, runs)
    });
    let told_groups = groups.len().min(MAX_GROUPS) - told.left_out;
    let last = explanation.runs.last().filter(|_| !explanation.alike);
    html! {
        section.verdict id="verdict" aria-labelledby="sentence" {
            @if last.is_some() { p.preface { (explanation.runs.len()) " runs ended in different ways. The last:" } }
            (sentence(last.map_or(&explanation.sentence, |last| &last.verdict.sentence)))
            (told)
            @if groups.len() > told_groups { p.note { (groups.len() - told_groups) " earlier ways of ending: " code { "lastword explain FILE" } } }
        }
        @if runs.len() > 1 { (compare::comparison(explanation, info, runs)) }
    }
}

/// Successive runs that ended alike: the verdict on the last one, and the evidence of the others.
fn group(is_last: bool, group: &[RunVerdict], runs: &[Gathered]) -> Markup {
    html! {
        @if let Some((last, earlier)) = group.split_last() {
            @if !is_last {
                h2.ended { "Run " (last.run) ": " (Shown::said(&last.verdict.sentence, MAX_SENTENCE)) }
            }
            (details(last, runs))
            (alike(earlier, runs))
        }
    }
}

/// The first clause in large letters, the rest in smaller ones.
fn sentence(text: &str) -> Markup {
    let text = Shown::said(text, MAX_SENTENCE);
    let text = text.as_str();
    let cut = (text.chars().count() > LONG)
        .then(|| text.find("; "))
        .flatten();
    let (lead, rest) = cut.map_or((text, ""), |at| (&text[..at], &text[at + 2..]));
    html! {
        h1 id="sentence" { (lead) @if !rest.is_empty() { span.rest { (rest) } } }
    }
}

fn details(run: &RunVerdict, runs: &[Gathered]) -> Markup {
    let Verdict {
        sentence: _,
        cause: _,
        subject,
        band,
        confidence,
        why,
        evidence,
        next_step,
        weakened_by,
    } = &run.verdict;
    html! {
        dl.facts {
            dt { "Next step" }
            dd.next { (Shown::said(next_step, MAX_SENTENCE)) }
            dt { "Cause" }
            dd { (cause_in_words(&run.verdict)) @if !subject.is_empty() { " " code { (Shown::said(subject, MAX_SUBJECT)) } } }
            dt { "Confidence" }
            dd { (meter(*confidence)) b { (band.in_words()) } " " span.soft { (Shown::said(why, MAX_SENTENCE)) } }
            @if !weakened_by.is_empty() {
                dt { "Weakened by" }
                dd { ul.plain { @for weakness in weakened_by.iter().take(MAX_EVIDENCE) { li { (Shown::said(weakness, MAX_SENTENCE)) } } } }
            }
        }
        h2 { "Evidence" }
        ol.evidence {
            @for evidence in evidence.iter().take(MAX_EVIDENCE) {
                li {
                    (link(evidence.event, runs)) " "
                    span.time title="seconds since the start of the run" { (since_start(evidence.after_start())) } " "
                    span { (Shown::said(&evidence.text, MAX_SENTENCE / 2)) }
                }
            }
        }
        @if evidence.len() > MAX_EVIDENCE { p.note { "… and " (evidence.len() - MAX_EVIDENCE) " more events." } }
        @if !run.leads.is_empty() { (leads(&run.leads, runs)) }
    }
}

/// What may be why the run ended.
fn leads(leads: &[Lead], runs: &[Gathered]) -> Markup {
    html! {
        h2 { "Leads" }
        ol.leads {
            @for lead in leads {
                li {
                    @for evidence in lead.evidence.iter().take(MAX_EVIDENCE) {
                        (link(evidence.event, runs)) " "
                        span.time title="seconds since the start of the run" { (since_start(evidence.after_start())) } " "
                    }
                    span { (Shown::said(&lead.what, MAX_SENTENCE / 2)) } " "
                    span.soft { (Shown::said(&lead.why, MAX_SENTENCE / 2)) }
                }
            }
        }
    }
}

/// `DNS no such host`, `OOM killed`.
pub(super) fn cause_in_words(verdict: &Verdict) -> String {
    let words = verdict.cause.name().replace('_', " ");
    let short = ["dns", "oom", "cpu"];
    match words.split_once(' ') {
        Some((first, rest)) if short.contains(&first) => format!("{} {rest}", first.to_uppercase()),
        _ => words,
    }
}

fn alike(earlier: &[RunVerdict], runs: &[Gathered]) -> Markup {
    html! {
        @for RunVerdict { run, verdict, .. } in earlier.iter().rev().take(MAX_GROUPS) {
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

/// A bar whose length and colour show the confidence.
fn meter(percent: u8) -> Markup {
    let percent = percent.min(100);
    let level = match percent {
        80.. => "level sure",
        50.. => "level likely",
        _ => "level doubtful",
    };
    html! {
        svg.meter viewBox="0 0 100 8" width="100" height="8" aria-hidden="true" {
            rect.rail width="100" height="8" rx="4" {}
            rect class=(level) width=(percent) height="8" rx="4" {}
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
