//! What a run asked name servers, which addresses it tried to reach, and where it listened.

use maud::{Markup, html};

use super::bounded::newest;
use super::gather::Gathered;
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::views::Text;
use crate::views::dns::{Lookup, Question};
use crate::views::net::{Connections, Listener};
use events::decode::time::duration;

/// How many characters a name or address has, and the records of an answer.
const MAX_NAME: usize = 260;
const MAX_RECORDS: usize = 400;

/// Every question with the answer or error that it got, look-up by look-up.
pub(super) fn dns(run: &Gathered) -> Markup {
    let dns = &run.views.dns;
    if dns.lookups.is_empty() {
        return none("No name was asked for, as far as was recorded.");
    }
    let questions = dns.lookups.iter().flat_map(|lookup| {
        let questions = lookup.questions.iter().enumerate();
        questions.map(move |(at, question)| (lookup, at == 0, question))
    });
    let questions: Vec<(&Lookup, bool, &Question)> = questions.collect();
    let rows = newest(
        questions.iter(),
        run.room.table,
        |(lookup, is_first, question)| {
            html! {
                @if *is_first { (host(lookup)) }
                (self::question(run, lookup, question))
            }
        },
    );
    let servers = run
        .facts
        .resolv_conf
        .as_ref()
        .map(|conf| conf.nameservers().join(" "));
    html! {
        p.note {
            @if let Some(servers) = servers { "Name servers of resolv.conf: " code { (Shown::raw(servers, MAX_NAME)) } ". " }
            @if !dns.search.is_empty() { "Search list: " code { (Shown::said(&texts(&dns.search, " "), MAX_NAME)) } "." }
        }
        (table("dns", &["Asked", "Process", "Name", "Type", "Server", "Answer", "After", "Event"], &html! { (rows) }))
        (left_out(rows.left_out + dns.left_out as usize, "questions", "dns"))
    }
}

fn texts(texts: &[Text], between: &str) -> String {
    let texts: Vec<String> = texts.iter().map(Text::to_string).collect();
    texts.join(between)
}

/// The name as the program gave it, above the questions that the resolver made from it.
fn host(lookup: &Lookup) -> Markup {
    html! {
        tr.lookup { td colspan="8" {
            b { (Shown::said(&lookup.host.to_string(), MAX_NAME)) } ": "
            span.bad[lookup.outcome != "resolved"] { (Shown::said(&lookup.said, MAX_NAME)) }
            @if let Some(took) = lookup.took_ns { span.soft { " after " (duration(took)) } }
        } }
    }
}

fn question(run: &Gathered, lookup: &Lookup, question: &Question) -> Markup {
    let process = Shown::said(&lookup.process, MAX_NAME);
    let first = question.asked.first();
    let records = Shown::said(&texts(&question.records, ", "), MAX_RECORDS);
    html! {
        tr.row.failed[question.outcome != "resolved"] data-kind="dns" data-process=(process) {
            td.number { @if let Some(first) = first { (run.link(first.event)) }
                @if question.asked.len() > 1 { span.soft { " " (question.asked.len()) "×" } } }
            td.who { (process) " " span.pid { (lookup.pid) } }
            td.what { (Shown::said(&question.name.to_string(), MAX_NAME)) }
            td { code { (Shown::said(&question.qtype, MAX_NAME)) } }
            td { code { (question.server.as_deref().unwrap_or_default()) } }
            td.what {
                @match (&question.rcode, &question.error) {
                    (Some(rcode), _) => { b { (rcode) } " " (records) @if question.outcome == "no_records" { "no record of that type" } },
                    (None, Some(error)) => b { (error) },
                    (None, None) => { b { "no answer" } " was recorded" },
                }
            }
            td.count { @if let Some(latency) = question.latency_ns { (duration(latency)) } }
            td.number { @if let Some(answer) = question.answer { (run.link(answer.event)) } }
        }
    }
}

/// Attempts to connect, with how they ended, and the addresses at which the run listened.
pub(super) fn connections(run: &Gathered) -> Markup {
    let net = &run.views.net;
    if net.connections.is_empty() && net.listeners.is_empty() {
        return none("No connection was tried and no address taken, as far as was recorded.");
    }
    let tries = newest(net.connections.iter(), run.room.table / 2, |tries| {
        connection(run, tries)
    });
    let taken = newest(net.listeners.iter(), run.room.table / 2, |taken| {
        listener(run, taken)
    });
    html! {
        @if !net.connections.is_empty() {
            (table("connections", &["First", "Times", "Process", "To", "Outcome", "Known from"], &html! { (tries) }))
            (left_out(tries.left_out + net.left_out as usize, "tries", "net"))
        }
        @if !net.listeners.is_empty() {
            h4 { "Addresses taken" }
            (table("listeners", &["First", "Process", "At", "Outcome"], &html! { (taken) }))
            (left_out(taken.left_out, "addresses", "net"))
        }
    }
}

fn connection(run: &Gathered, tries: &Connections) -> Markup {
    let Connections {
        address,
        host,
        process,
        outcome,
        text,
        count,
        first,
        last: _,
        told_by,
        took_ns,
    } = tries;
    let process = Shown::said(process, MAX_NAME);
    html! {
        tr.row.failed[text.is_some()] data-kind="network" data-process=(process) {
            td.number { (run.link(first.event)) }
            td.count { (count) }
            td.who { (process) }
            td.what {
                (Shown::said(address, MAX_NAME))
                @if let Some(host) = host { span.soft { " " (Shown::said(&host.to_string(), MAX_NAME)) } }
            }
            td.outcome {
                b { (outcome) } @if let Some(text) = text { " " span.soft { (text) } }
                @if let Some(took) = took_ns { span.soft { " after " (duration(*took)) } }
            }
            td.number { @if let Some(event) = told_by { (run.link(*event)) } }
        }
    }
}

fn listener(run: &Gathered, listener: &Listener) -> Markup {
    let Listener {
        address,
        listens,
        accepted,
        error,
        processes,
        first,
        last: _,
    } = listener;
    let processes = Shown::said(&processes.to_string(), MAX_NAME);
    html! {
        tr.row.failed[error.is_some()] data-kind="network" data-process=(processes) {
            td.number { (run.link(first.event)) }
            td.who { (processes) }
            td.what { (Shown::said(address, MAX_NAME)) }
            td {
                @if let Some(error) = error { b { (error) } }
                @else if *listens { "listened, " (accepted) " accepted" }
                @else { "bound" }
            }
        }
    }
}
