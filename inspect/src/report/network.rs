//! What a run asked the name servers, and whom it tried to reach.

use maud::{Markup, html};

use super::bounded::newest;
use super::gather::Gathered;
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::decode::time::duration;
use crate::facts::connections::Connection;
use crate::facts::dns::Exchange;

/// Characters of a name, and of the records of an answer.
const MAX_NAME: usize = 260;
const MAX_RECORDS: usize = 400;

/// Every question with what came back.
pub(super) fn dns(run: &Gathered) -> Markup {
    let exchanges: Vec<&Exchange> = run.facts.dns.exchanges().collect();
    if exchanges.is_empty() {
        return none("No DNS question was recorded.");
    }
    let rows = newest(exchanges.iter(), run.room.table, |exchange| {
        question(run, exchange)
    });
    let not_kept = run.facts.dns.total() as usize - exchanges.len();
    html! {
        @if let Some(conf) = &run.facts.resolv_conf {
            @let (servers, search) = (conf.nameservers().join(" "), conf.search().join(" "));
            p.note {
                "resolv.conf: name servers " code { (Shown::raw(servers, MAX_NAME)) }
                @if !search.is_empty() { ", search list " code { (Shown::raw(search, MAX_NAME)) } }
            }
        }
        (table("dns", &["Asked", "Process", "Name", "Type", "Server", "Answer", "After", "Event"], &html! { (rows) }))
        (left_out(rows.left_out + not_kept, "questions", "show"))
    }
}

fn question(run: &Gathered, exchange: &Exchange) -> Markup {
    let process = run.process_name(exchange.pid);
    let first = exchange.attempts.first().map(|attempt| attempt.event);
    let answer = exchange.answer.as_ref();
    let server = exchange.server().map(|server| server.to_string());
    let ok = answer.is_some_and(|answer| answer.answered);
    html! {
        tr.row.failed[!ok] data-kind="dns" data-process=(process) {
            td.number { @if let Some(first) = first { (run.link(first)) }
                @if exchange.attempts.len() > 1 { span.soft { " " (exchange.attempts.len()) "×" } } }
            td.who { (process) " " span.pid { (exchange.pid) } }
            td.what { (Shown::raw(&exchange.name, MAX_NAME)) }
            td { code { (Shown::raw(&exchange.qtype, MAX_NAME)) } }
            td { code { (server.unwrap_or_default()) } }
            td.what {
                @if let Some(answer) = answer {
                    b { (answer.rcode.to_string()) } " " (Shown::raw(answer.records.join(", "), MAX_RECORDS))
                    @if !answer.answered && answer.rcode.to_string() == "NOERROR" { "no record of that type" }
                } @else if let Some((_, errno)) = exchange.error {
                    b { (errno.to_string()) } " " (errno.text())
                } @else { b { "no answer" } " was recorded" }
            }
            td.count { @if let Some(latency) = exchange.latency() { (duration(latency)) } }
            td.number { @if let Some(event) = answer.map(|answer| answer.event).or(exchange.error.map(|error| error.0)) { (run.link(event)) } }
        }
    }
}

/// Every try to connect with how it ended.
pub(super) fn connections(run: &Gathered) -> Markup {
    let tries: Vec<&Connection> = run.facts.connections.iter().collect();
    if tries.is_empty() {
        return none("No connection was tried, as far as was recorded.");
    }
    let rows = newest(tries.iter(), run.room.table, |connection| {
        attempt(run, connection)
    });
    let not_kept = run.facts.connections.total() as usize - tries.len();
    html! {
        (table("connections", &["Event", "Process", "To", "Outcome", "Known from"], &html! { (rows) }))
        (left_out(rows.left_out + not_kept, "tries", "show"))
    }
}

fn attempt(run: &Gathered, connection: &Connection) -> Markup {
    let process = run.process_name(connection.pid);
    let outcome = connection.outcome;
    let failed = outcome.is_some_and(|outcome| outcome.error.is_some());
    html! {
        tr.row.failed[failed] data-kind="network" data-process=(process) {
            td.number { (run.link(connection.event)) }
            td.who { (process) " " span.pid { (connection.pid) } }
            td.what { (Shown::said(&connection.address.to_string(), MAX_NAME)) }
            td {
                @match outcome.map(|outcome| outcome.error) {
                    Some(Some(errno)) => { b { (errno.to_string()) } " " span.soft { (errno.text()) } },
                    Some(None) => "connected",
                    None => span.soft { "not known" },
                }
            }
            td.number { @if let Some(outcome) = outcome { (run.link(outcome.event)) } }
        }
    }
}
