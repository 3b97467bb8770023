//! The part about the capture itself: container, pod, trigger, losses, masked values, probes.

use std::collections::BTreeMap;

use capture_format::{Container, Header, Kubernetes, Losses, PodEvent, Resources, Terminated};
use maud::{Markup, Render, html};

use super::bounded::{first, newest};
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::info::{Info, RunInfo};
use events::decode::time::{epoch, size};
use verdict::losses::{Figure, figures, told};

/// Bytes of a value, of a message, and of the markup of the pod object.
const MAX_VALUE: usize = 600;
const MAX_MESSAGE: usize = 2_000;
const MAX_OBJECT: usize = 60_000;
/// Bytes of markup of a list in this section.
const MAX_LIST: usize = 30_000;

pub(super) fn about(info: &Info) -> Markup {
    let header = &info.header;
    html! {
        section.part id="container" aria-labelledby="container-heading" {
            h2 id="container-heading" { "Container" }
            (container(header))
        }
        @if let Some(kubernetes) = &header.kubernetes {
            section.part id="kubernetes" aria-labelledby="kubernetes-heading" {
                h2 id="kubernetes-heading" { "Kubernetes" }
                (self::kubernetes(kubernetes))
            }
        }
        section.part id="losses" aria-labelledby="losses-heading" {
            h2 id="losses-heading" { "What is missing" }
            (of_all(info))
            (gaps(info))
        }
        section.part id="masked" aria-labelledby="masked-heading" {
            h2 id="masked-heading" { "Masked values" }
            (masked(header))
        }
        section.part id="recorder" aria-labelledby="recorder-heading" {
            h2 id="recorder-heading" { "Recorder" }
            (recorder(info))
        }
    }
}

/// One pair of a list of facts; nothing if the value is empty.
fn fact(name: &str, value: impl Render) -> Markup {
    let value = value.render();
    html! { @if !value.0.is_empty() { dt { (name) } dd { (value) } } }
}

fn text(value: &str) -> Shown {
    Shown::raw(value.trim_end(), MAX_VALUE)
}

fn container(header: &Header) -> Markup {
    let Container {
        id,
        name,
        kind,
        image,
        image_id,
        command,
        resources,
    } = &header.container;
    let pod = header.pod.as_ref();
    let pod_name = pod.map(|pod| format!("{}/{}", pod.namespace, pod.name));
    let when = epoch(header.created.0.into()).unwrap_or_default();
    html! {
        dl.facts {
            (fact("Name", text(name)))
            (fact("Kind", text(kind)))
            (fact("Pod", text(&pod_name.unwrap_or_default())))
            (fact("Pod UID", text(pod.map(|pod| pod.uid.as_str()).unwrap_or_default())))
            (fact("Command", text(&command.join(" "))))
            (fact("Image", text(image)))
            (fact("Image with digest", text(image_id)))
            (fact("Container id", text(id)))
            @if let Some(Resources { limits, requests }) = resources {
                (fact("Limits", quantities(limits)))
                (fact("Requests", quantities(requests)))
            }
            (fact("Captured", text(&when)))
            (fact("Trigger", text([header.trigger.kind.as_str(), header.trigger.detail.as_str()].join(": ").trim_end_matches(": "))))
        }
    }
}

fn quantities(of: &BTreeMap<String, String>) -> Shown {
    let each = of
        .iter()
        .map(|(resource, quantity)| format!("{resource} {quantity}"));
    text(&each.collect::<Vec<_>>().join(", "))
}

fn kubernetes(kubernetes: &Kubernetes) -> Markup {
    let Kubernetes { pod, events } = kubernetes;
    let rows = newest(events.iter(), MAX_LIST, pod_event);
    let object = serde_json::to_string_pretty(pod).unwrap_or_default();
    let lines: Vec<&str> = object.lines().collect();
    let object = first(
        lines.iter(),
        MAX_OBJECT,
        |line| html! { (Shown::raw(line, MAX_VALUE)) "\n" },
    );
    html! {
        @if events.is_empty() { (none("No events about the pod were known.")) }
        @else {
            (left_out(rows.left_out, "earlier events about the pod", "info"))
            (table("pod-events", &["Last", "Type", "Reason", "About", "Message", "Times", "From"], &html! { (rows) }))
        }
        @if !pod.is_null() {
            details.object {
                summary { "The pod object" }
                pre tabindex="0" { (object) }
                (left_out(object.left_out, "lines of it", "info --json"))
            }
        }
    }
}

fn pod_event(event: &PodEvent) -> Markup {
    let PodEvent {
        kind,
        reason,
        message,
        count,
        first: _,
        last,
        source,
        field_path: _,
    } = event;
    let last = last
        .and_then(|last| epoch(last.0.into()))
        .unwrap_or_default();
    html! {
        tr.row.failed[kind == "Warning"] data-kind="kubernetes" data-process="" {
            td.time { (last.split('.').next().unwrap_or_default().replace('T', " ")) }
            td { (text(kind)) }
            td { b { (text(reason)) } }
            td { (text(event.container().unwrap_or("pod"))) }
            td.what { (Shown::raw(message.trim_end(), MAX_MESSAGE)) }
            td.count { (count) }
            td { (text(source)) }
        }
    }
}

fn losses(losses: &Losses) -> Markup {
    html! {
        dl.facts {
            @for Figure { count, head, meaning, .. } in told(losses) {
                dt { (head) }
                dd { b.bad[count > 0] { (count) } " " span.soft { (meaning) } }
            }
        }
    }
}

/// The sum over all runs, with the share of each run.
fn of_all(info: &Info) -> Markup {
    let sum: Losses = info.runs.iter().map(|run| run.run.losses).sum();
    let heads = figures(&sum).map(|figure| figure.head);
    let heads = [&["Run"][..], &heads].concat();
    let lossy = info
        .runs
        .iter()
        .filter(|run| run.run.losses != Losses::default());
    let lossy: Vec<&RunInfo> = lossy.collect();
    let rows = newest(lossy.iter(), MAX_LIST, |info| {
        html! {
            tr {
                td.number { (info.run.number) }
                @for figure in figures(&info.run.losses) { td.count { (figure.count) } }
            }
        }
    });
    html! {
        (losses(&sum))
        @if info.runs.len() > 1 && !lossy.is_empty() {
            (table("losses", &heads, &html! { (rows) }))
        }
    }
}

/// What is missing from the file, or was too large for it.
fn gaps(info: &Info) -> Markup {
    let damage = newest(info.damage.iter(), MAX_LIST, |damage| {
        html! { li.bad { (Shown::said(damage, MAX_VALUE)) } }
    });
    let omitted = newest(info.header.omitted.iter(), MAX_LIST, |omitted| {
        html! { li { "left out as too large: " (text(omitted)) } }
    });
    html! {
        @if info.damage.is_empty() { p { "The file is whole." } }
        ul.plain { (damage) (omitted) }
        (left_out(damage.left_out + omitted.left_out, "damaged places", "info"))
    }
}

fn masked(header: &Header) -> Markup {
    let masked = &header.redaction.masked;
    if masked.is_empty() {
        return none("Nothing was masked in this capture.");
    }
    let rows = newest(masked.iter(), MAX_LIST, |(rule, count)| {
        html! { tr.row data-kind="masked" data-process="" { td { (text(rule)) } td.count { (count) } } }
    });
    html! {
        p { "Before the capture was written, these were replaced. Events that held one say " code { "[redacted]" } "." }
        (table("masked", &["What", "Places"], &html! { (rows) }))
        (left_out(rows.left_out, "rules", "info"))
    }
}

fn recorder(info: &Info) -> Markup {
    let header = &info.header;
    let host = &header.host;
    let probes = newest(header.probes.iter(), MAX_LIST, |probe| {
        html! {
            tr.row data-kind="probe" data-process="" {
                td { code { (text(&probe.name)) } }
                td.bad[probe.attach == "off"] { code { (text(&probe.attach)) } }
                td { (text(&probe.reason)) }
            }
        }
    });
    html! {
        dl.facts {
            (fact("Written by", text(&header.program)))
            (fact("Format", text(&info.format)))
            (fact("Node", text(&host.name)))
            (fact("Kernel", text(&format!("Linux {}, {}", host.kernel, host.arch))))
        }
        (table("probes", &["Probe", "Attached as", "Why so"], &html! { (probes) }))
    }
}

/// What the runtime and the cgroup say about a run's end.
pub(super) fn end(info: &RunInfo) -> Markup {
    let run = &info.run;
    let terminated = run.terminated.as_ref().map(|end: &Terminated| {
        let code = end.exit_code.map(|code| format!(", exit code {code}"));
        let said = [&end.reason, code.as_deref().unwrap_or_default()].concat();
        [said.as_str(), end.message.trim_end()].join(": ")
    });
    let runtime = terminated.unwrap_or_default();
    let memory = [
        ("limit", run.memory_limit),
        ("peak", run.memory_peak),
        ("last", run.memory_current),
    ];
    let memory = memory
        .iter()
        .filter_map(|(name, bytes)| Some(format!("{name} {}", size((*bytes)?))));
    let memory = memory.collect::<Vec<_>>().join(", ");
    let kills = run.oom_kills.filter(|&kills| kills > 0);
    html! {
        dl.facts {
            (fact("Start error", text(run.start_error.as_deref().unwrap_or_default())))
            (fact("Runtime", Shown::raw(runtime.trim_end_matches(": "), MAX_MESSAGE)))
            (fact("Memory", text(&memory)))
            (fact("CPU", text(&run.cpu.map(crate::info::cpu_text).unwrap_or_default())))
            (fact("OOM kills", text(&kills.map(|kills| kills.to_string()).unwrap_or_default())))
        }
    }
}
