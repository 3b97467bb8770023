//! The page around the parts: head, content security policy, navigation, and what the parts have in common.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::gather::Group;
use super::shown::Shown;
use crate::info::Info;
use events::decode::time::epoch;
use verdict::explain::Explanation;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Characters of the window's title.
const MAX_TITLE: usize = 140;
/// How many runs the navigation names.
const MAX_RUNS: usize = 20;

/// The parts of the page.
pub(super) struct Parts {
    pub(super) overview: Markup,
    /// The runs, last one first.
    pub(super) runs: Vec<Markup>,
    pub(super) about: Markup,
}

pub(super) fn page(info: &Info, explanation: &Explanation, parts: &Parts) -> Markup {
    let title = Shown::said(&explanation.sentence, MAX_TITLE);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("lastword ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#verdict" { "To the verdict" }
                header.top {
                    p.kicker { (kicker(info)) }
                    nav aria-label="Parts of this page" { (navigation(info)) }
                }
                main {
                    (parts.overview)
                    (toolbar())
                    @for run in &parts.runs { (run) }
                    @if info.runs.len() > parts.runs.len() {
                        p.note { (info.runs.len() - parts.runs.len()) " earlier runs are in the comparison only. All of them: " code { "lastword show FILE" } "." }
                    }
                    (parts.about)
                }
                footer { p { "Written by lastword " (env!("CARGO_PKG_VERSION")) ". This page loads nothing and sends nothing." } }
                (help())
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The content security policy: nothing may be loaded, sent or run except the page's own style and script, identified
/// by their hashes.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// What the page is about: `shop/web-7d9c · container web · 3 runs · captured 2026-11-21 00:58:07 UTC`.
fn kicker(info: &Info) -> Markup {
    let header = &info.header;
    let created = epoch(header.created.0.into()).unwrap_or_default();
    let created = created
        .split('.')
        .next()
        .unwrap_or_default()
        .replace('T', " ");
    let pod = header
        .pod
        .as_ref()
        .map(|pod| format!("{}/{}", pod.namespace, pod.name));
    let runs = info.runs.len();
    html! {
        b { "lastword" }
        @if let Some(pod) = pod { span.name { (Shown::raw(pod, MAX_TITLE)) } }
        span.name { "container " (Shown::raw(&header.container.name, MAX_TITLE)) }
        span { (runs) @if runs == 1 { " run" } @else { " runs" } }
        span { "captured " (created) " UTC" }
    }
}

fn navigation(info: &Info) -> Markup {
    let last = info.runs.last().map(|info| info.run.number);
    html! {
        ul {
            li { a href="#verdict" { "Verdict" } }
            @if info.runs.len() > 1 { li { a href="#compare" { "Runs" } } }
            @if let Some(last) = last {
                @for (part, name) in PARTS { li { a href={ "#run-" (last) "-" (part) } { (name) } } }
            }
            @for info in info.runs.iter().rev().skip(1).take(MAX_RUNS - 1) {
                li.earlier { a href={ "#run-" (info.run.number) } { "Run " (info.run.number) } }
            }
            li { a href="#container" { "Container" } }
            @if info.header.kubernetes.is_some() { li { a href="#kubernetes" { "Kubernetes" } } }
            li { a href="#losses" { "Losses" } }
            li { a href="#masked" { "Masked" } }
            li { a href="#recorder" { "Recorder" } }
        }
    }
}

/// Parts of the last run that the navigation names.
const PARTS: [(&str, &str); 8] = [
    ("timeline", "Timeline"),
    ("output", "Last words"),
    ("processes", "Processes"),
    ("failures", "Failed calls"),
    ("dns", "DNS"),
    ("connections", "Connections"),
    ("files", "Files"),
    ("events", "Events"),
];

/// Filter and navigation. The script makes them visible.
fn toolbar() -> Markup {
    html! {
        search.tools id="tools" aria-label="Filter rows" hidden {
            label { span { "Filter" } input id="filter" type="search" placeholder="text in a row  ( / )" autocomplete="off" spellcheck="false"; }
            label { span { "Kind" }
                select id="kind" {
                    option value="" { "everything" }
                    option value="cited" { "evidence" }
                    option value="failed" { "failed" }
                    @for group in Group::ALL { option value=(group.name()) { (group.name()) } }
                }
            }
            label { span { "Process" } select id="process" { option value="" { "all" } } }
            button id="previous" type="button" title="Previous evidence or match (p)" { "Previous" }
            button id="next" type="button" title="Next evidence or match (n)" { "Next" }
            button id="keys" type="button" title="Keys (?)" aria-haspopup="dialog" { "Keys" }
            output id="count" role="status" {}
        }
    }
}

fn help() -> Markup {
    html! {
        dialog id="help" aria-labelledby="help-heading" {
            h2 id="help-heading" { "Keys" }
            dl {
                dt { kbd { "/" } } dd { "filter" }
                dt { kbd { "n" } } dd { "next evidence, or next row that matches the filter" }
                dt { kbd { "p" } } dd { "previous one" }
                dt { kbd { "Esc" } } dd { "clear the filter; close this" }
                dt { kbd { "?" } } dd { "this" }
            }
            button id="close" type="button" { "Close" }
        }
    }
}

/// A table that scrolls separately if it is wider than the page. On narrow screens, its class provides the names of its
/// columns.
pub(super) fn table(class: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(class.replace('-', " ")) {
            table class=(class) {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A sentence that says that there is nothing to show.
pub(super) fn none(why: &str) -> Markup {
    html! { p.none { (why) } }
}

/// How much was left out because of a limit, and the command that shows it.
pub(super) fn left_out(count: usize, what: &str, command: &str) -> Markup {
    html! { @if count > 0 { p.note { (count) " " (what) " are not in this page. All of it: " code { "lastword " (command) " FILE" } "." } } }
}
