//! The failed calls of a run. Calls that failed alike are one line.

use maud::{Markup, html};

use super::bounded::newest;
use super::gather::Gathered;
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::views::errors::{FailedCall, NOISE};

/// Bytes of the subject of a call.
const MAX_SUBJECT: usize = 300;
/// How many errors are counted above the table.
const MAX_ERRORS: usize = 12;

pub(super) fn failures(run: &Gathered) -> Markup {
    let errors = &run.views.errors;
    if errors.calls.is_empty() {
        return none("No call failed, as far as was recorded.");
    }
    let told: Vec<&FailedCall> = errors.told().collect();
    let rows = newest(told.into_iter(), run.room.table, |call| row(run, call));
    html! {
        p.note {
            (errors.total) " in all: "
            @for (at, error) in errors.by_errno.iter().take(MAX_ERRORS).enumerate() {
                @if at > 0 { ", " } (error.count) " × " (error.errno) " (" (error.text) ")"
            }
        }
        (table("failures", &["Last", "Times", "Call", "On", "Error", "Process"], &html! { (rows) }))
        @if errors.noise() > 0 { p.note { "Not listed: " (errors.noise()) " calls " (NOISE) "." } }
        (left_out(rows.left_out + errors.left_out as usize, "kinds of failed calls", "errors"))
    }
}

fn row(run: &Gathered, call: &FailedCall) -> Markup {
    let FailedCall {
        call: name,
        errno,
        subject,
        count,
        processes,
        first,
        last,
        ..
    } = call;
    let processes = Shown::said(&processes.to_string(), MAX_SUBJECT);
    html! {
        tr.row.failed data-kind="failed" data-process=(processes) {
            td.number { (run.link(last.event)) }
            td.count { (count) @if *count > 1 { span.soft { " from " (run.link(first.event)) } } }
            td { code { (name) } }
            td.what { (Shown::said(&subject.to_string(), MAX_SUBJECT)) }
            td { code { (errno) } }
            td.who { (processes) }
        }
    }
}
