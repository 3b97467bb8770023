//! What a capture says about itself: header, runs, losses.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};

use capture_format::{
    Container, Cpu, ExitStatus, Header, Host, Kubernetes, PodEvent, Probe, Reader, Resources, Run,
    Terminated, Trigger,
};
use serde::Serialize;

use events::decode::Signal;
use events::decode::time::{duration, epoch, size, time_of_day};
use events::escape::escaped;
use verdict::losses::{losses_text, skipped_text};

/// What a capture says about itself. As JSON it is stable in the way docs/json.md says.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Version of the format, such as `1.0`.
    pub format: String,
    /// The header as it was written.
    pub header: Header,
    /// The runs, each with its number of events.
    pub runs: Vec<RunInfo>,
    /// What is missing from the file, in words.
    pub damage: Vec<String>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct RunInfo {
    /// The run as it was written.
    #[serde(flatten)]
    pub run: Run,
    /// How many of its events are in the file.
    pub events: u64,
    /// Number of its first event; `None` if it has no events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event: Option<u64>,
}

impl Info {
    /// Reads a whole capture, to count its events and to find all damage.
    pub fn of<R: Read + Seek>(reader: &mut Reader<R>) -> Self {
        let mut runs = Vec::new();
        for (index, run) in reader.indexes().zip(reader.runs().to_vec()) {
            let mut info = RunInfo {
                run,
                events: 0,
                first_event: None,
            };
            for event in reader.events(index).flatten() {
                info.events += 1;
                info.first_event.get_or_insert(event.number);
            }
            runs.push(info);
        }
        let version = reader.version();
        Self {
            format: format!("{}.{}", version.major, version.minor),
            header: reader.header().clone(),
            runs,
            damage: reader.damage().iter().map(ToString::to_string).collect(),
        }
    }

    /// Writes the information as text for people.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let Header {
            program,
            created,
            host,
            container,
            pod,
            kubernetes,
            trigger,
            redaction,
            probes,
            omitted,
        } = &self.header;
        let text = |bytes: &str| escaped(bytes.as_bytes()).to_string();
        field(
            out,
            "format",
            &format!("{}, written by {}", self.format, text(program)),
        )?;
        field(
            out,
            "created",
            &epoch(i128::from(created.0)).unwrap_or_default(),
        )?;
        let Host {
            name,
            kernel,
            arch,
            clock_offset: _,
        } = host;
        field(
            out,
            "node",
            &format!("{}, Linux {}, {}", text(name), text(kernel), text(arch)),
        )?;
        let Container {
            id,
            name,
            kind,
            image,
            image_id,
            command,
            resources,
        } = container;
        let purpose = match kind.as_str() {
            "" => String::new(),
            kind => format!(" ({})", text(kind)),
        };
        field(out, "container", &(text(name) + &purpose))?;
        field(out, "id", &text(id))?;
        let images = if image_id.is_empty() {
            text(image)
        } else {
            format!("{} ({})", text(image), text(image_id))
        };
        field(out, "image", &images)?;
        field(out, "command", &text(&command.join(" ")))?;
        if let Some(Resources { limits, requests }) = resources {
            field(out, "limits", &quantities(limits))?;
            field(out, "requests", &quantities(requests))?;
        }
        if let Some(pod) = pod {
            field(
                out,
                "pod",
                &format!(
                    "{}/{} ({})",
                    text(&pod.namespace),
                    text(&pod.name),
                    text(&pod.uid)
                ),
            )?;
        }
        let Trigger { kind, detail } = trigger;
        field(
            out,
            "trigger",
            [text(kind), text(detail)].join(": ").trim_end_matches(": "),
        )?;
        let masked: Vec<String> = redaction
            .masked
            .iter()
            .map(|(rule, count)| format!("{} ({count})", text(rule)))
            .collect();
        field(out, "redacted", &masked.join(", "))?;
        let mut ways: Vec<(&str, &str, Vec<String>)> = Vec::new();
        for Probe {
            name,
            attach,
            reason,
        } in probes
        {
            match ways
                .iter_mut()
                .find(|(a, r, _)| (*a, *r) == (attach, reason))
            {
                Some((.., names)) => names.push(text(name)),
                None => ways.push((attach, reason, vec![text(name)])),
            }
        }
        for (attach, reason, names) in ways {
            let (attach, reason, names) = (text(attach), text(reason), names.join(", "));
            field(out, "probes", &format!("{attach}: {names} ({reason})"))?;
        }
        if let Some(kubernetes) = kubernetes {
            kubernetes_text(out, kubernetes)?;
        }
        for omitted in omitted {
            field(out, "left out", &text(omitted))?;
        }
        for info in &self.runs {
            run_text(out, info, host)?;
        }
        for damage in &self.damage {
            field(out, "damage", damage)?;
        }
        Ok(())
    }
}

/// `cpu 500m, memory 64Mi`.
fn quantities(of: &BTreeMap<String, String>) -> String {
    let each = of.iter().map(|(resource, quantity)| {
        let (resource, quantity) = (resource.as_bytes(), quantity.as_bytes());
        format!("{} {}", escaped(resource), escaped(quantity))
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Writes the events, one a line. The pod object is written only by `--json`.
fn kubernetes_text(out: &mut impl Write, kubernetes: &Kubernetes) -> io::Result<()> {
    let Kubernetes { pod: _, events } = kubernetes;
    for event in events {
        let PodEvent {
            kind: _,
            reason,
            message,
            count,
            first: _,
            last,
            source,
            field_path: _,
        } = event;
        let text = |text: &str| escaped(text.trim_end().as_bytes()).to_string();
        let about = event
            .container()
            .map(|container| format!(" {}", text(container)))
            .unwrap_or_default();
        let last = last.and_then(|last| epoch(last.0.into()));
        let last = last
            .map(|last| format!(", last {last}"))
            .unwrap_or_default();
        let line = format!(
            "{}{about}: {} ({} times{last}, {})",
            text(reason),
            text(message),
            count,
            text(source)
        );
        field(out, "event", &line)?;
    }
    Ok(())
}

fn run_text(out: &mut impl Write, info: &RunInfo, host: &Host) -> io::Result<()> {
    let Run {
        number,
        cgroup: _,
        init_pid,
        start,
        end,
        status,
        start_error,
        memory_limit,
        oom_kills,
        memory_peak,
        memory_current,
        cpu,
        terminated,
        losses,
        skipped,
    } = &info.run;
    writeln!(out)?;
    writeln!(out, "run {number}")?;
    field(
        out,
        "  started",
        &time_of_day(*start, host).unwrap_or_default(),
    )?;
    let lived = end.and_then(|end| end.checked_since(*start)).map(duration);
    field(
        out,
        "  lived",
        &lived.unwrap_or_else(|| "still alive when the capture was taken".to_owned()),
    )?;
    field(
        out,
        "  pid",
        &if *init_pid == 0 {
            "unknown".to_owned()
        } else {
            init_pid.to_string()
        },
    )?;
    field(
        out,
        "  ended",
        &match (status, end) {
            (Some(ExitStatus::Code(code)), _) => format!("exited {code}"),
            (Some(ExitStatus::Signal { signal, core }), _) => {
                format!(
                    "killed by {}{}",
                    Signal(*signal),
                    if *core { ", core dumped" } else { "" }
                )
            }
            (None, Some(_)) => "nobody saw how".to_owned(),
            (None, None) => String::new(),
        },
    )?;
    field(
        out,
        "  error",
        &start_error
            .as_deref()
            .map(|error| escaped(error.as_bytes()).to_string())
            .unwrap_or_default(),
    )?;
    if let Some(Terminated {
        reason,
        message,
        exit_code,
        started_at: _,
        finished_at: _,
    }) = terminated
    {
        let code = exit_code.map(|code| format!(", exit code {code}"));
        let mut text = escaped(reason.as_bytes()).to_string() + &code.unwrap_or_default();
        if !message.is_empty() {
            text += &format!(": {}", escaped(message.trim_end().as_bytes()));
        }
        field(out, "  runtime", &text)?;
    }
    let figures = [
        ("limit", memory_limit),
        ("peak", memory_peak),
        ("last", memory_current),
    ];
    let figures = figures
        .into_iter()
        .filter_map(|(name, bytes)| Some(format!("{name} {}", size((*bytes)?))));
    field(out, "  memory", &figures.collect::<Vec<_>>().join(", "))?;
    field(out, "  CPU", &cpu.map(cpu_text).unwrap_or_default())?;
    field(
        out,
        "  OOM kills",
        &oom_kills
            .filter(|&kills| kills > 0)
            .map(|kills| kills.to_string())
            .unwrap_or_default(),
    )?;
    let from = info
        .first_event
        .map(|first| format!(", from #{first}"))
        .unwrap_or_default();
    field(out, "  events", &format!("{}{from}", info.events))?;
    field(out, "  losses", &losses_text(losses))?;
    field(out, "  skipped", &skipped_text(skipped))
}

/// `1.2 s used; limit 50 ms in 100 ms; held back in 90 of 100 periods, 4.2 s`.
pub(crate) fn cpu_text(cpu: Cpu) -> String {
    let Cpu {
        usage,
        quota,
        period,
        periods,
        throttled_periods,
        throttled_time,
    } = cpu;
    let mut text = format!("{} used", duration(usage));
    if let Some(quota) = quota {
        text += &format!("; limit {} in {}", duration(quota), duration(period));
        text += &format!(
            "; held back in {throttled_periods} of {periods} periods, {}",
            duration(throttled_time)
        );
    }
    text
}

/// Writes one line, unless the value is empty.
fn field(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() {
        Ok(())
    } else {
        writeln!(out, "{name:<12}{value}")
    }
}

#[cfg(test)]
mod tests {
    use capture_format::{Losses, Pod, Redaction, WallTime};

    use super::*;
    use fixtures::{Script, capture, capture_with, header, nginx};

    fn info() -> Info {
        let mut failed = Script::empty();
        failed.run.start_error = Some("exec: \x1b[31mno such file\n".into());
        let mut last = nginx();
        last.run.losses = Losses {
            lost: 2,
            overwritten: 345,
            torn: 1,
            ..Losses::default()
        };
        last.run
            .set_skipped(BTreeMap::from([("sched_process_exit".to_owned(), 3)]));
        (last.run.memory_limit, last.run.oom_kills) = (Some(64 << 20), Some(1));
        Info::of(&mut capture(&[nginx(), failed, last]))
    }

    #[test]
    fn as_text() {
        let mut out = Vec::new();
        info().write_text(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn as_json() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&info()).unwrap());
    }

    /// A capture as the agent of a node writes it.
    fn on_kubernetes() -> Info {
        let mut header = header();
        header.container = Container {
            id: "4cc470dd2b06".into(),
            kind: "app".into(),
            name: "app".into(),
            image: "registry.example/app:1".into(),
            image_id: "registry.example/app@sha256:df135dd6530430927f92c7fb1a59d0ad".into(),
            command: vec!["python3".into(), "app.py".into()],
            resources: Some(Resources {
                limits: BTreeMap::from([("memory".into(), "64Mi".into())]),
                requests: BTreeMap::from([
                    ("cpu".into(), "50m".into()),
                    ("memory".into(), "64Mi".into()),
                ]),
            }),
        };
        header.pod = Some(Pod {
            namespace: "shop".into(),
            name: "app-7d9c".into(),
            uid: "bb6c43df-7516-449f-9a1e-f81857d92757".into(),
        });
        header.kubernetes = Some(Kubernetes {
            pod: serde_json::json!({"metadata": {"name": "app-7d9c"}}),
            events: vec![PodEvent {
                kind: "Warning".into(),
                reason: "BackOff".into(),
                message: "Back-off restarting failed container\n".into(),
                count: 10,
                first: Some(WallTime(1_795_217_700_000_000_000)),
                last: Some(WallTime(1_795_217_760_000_000_000)),
                source: "kubelet".into(),
                field_path: "spec.containers{app}".into(),
            }],
        });
        header.trigger = Trigger {
            kind: "restarts".into(),
            detail: "5 restarts within 2 minutes".into(),
        };
        header.redaction = Redaction {
            masked: vec![("environment".into(), 3), ("authorization".into(), 1)],
        };
        header.omitted = vec!["kubernetes.pod.spec: 1310720 bytes".into()];
        let mut s = Script::new(&["python3", "app.py"]);
        s.exit_status(fixtures::INIT, 9);
        s.run.number = 5;
        (s.run.memory_limit, s.run.oom_kills) = (Some(64 << 20), Some(1));
        (s.run.memory_peak, s.run.memory_current) = (Some(64 << 20), Some(60 << 20));
        s.run.cpu = Some(Cpu {
            usage: 1_200_000_000,
            quota: Some(50_000_000),
            period: 100_000_000,
            periods: 100,
            throttled_periods: 90,
            throttled_time: 4_200_000_000,
        });
        s.run.terminated = Some(Terminated {
            reason: "OOMKilled".into(),
            exit_code: Some(137),
            ..Terminated::default()
        });
        Info::of(&mut capture_with(&header, &[s]))
    }

    #[test]
    fn a_capture_of_a_node_as_text() {
        let mut out = Vec::new();
        on_kubernetes().write_text(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
