//! What a capture says about itself: header, runs, losses.

use std::io::{self, Read, Seek, Write};

use capture_format::{Container, ExitStatus, Header, Host, Losses, Probe, Reader, Run, Trigger};
use serde::Serialize;

use crate::decode::Signal;
use crate::decode::time::{duration, epoch, size, time_of_day};
use crate::escape::escaped;

/// What a capture says about itself. As JSON it is stable in the way docs/json.md says.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Version of the format, such as `1.0`.
    pub format: String,
    /// The header as it was written.
    pub header: Header,
    /// The runs, with the number of events each.
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
    /// Number of its events in the file.
    pub events: u64,
    /// Number of its first event; none if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event: Option<u64>,
}

impl Info {
    /// Reads a capture through, to count its events and to find all damage.
    pub fn of<R: Read + Seek>(reader: &mut Reader<R>) -> Self {
        let mut runs = Vec::new();
        for (index, run) in reader.runs().to_vec().into_iter().enumerate() {
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

    /// Writes it as a person reads it.
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
            trigger,
            redaction,
            probes,
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
            &epoch(i128::from(*created)).unwrap_or_default(),
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
            image,
            command,
        } = container;
        field(out, "container", &text(name))?;
        field(out, "id", &text(id))?;
        field(out, "image", &text(image))?;
        field(out, "command", &text(&command.join(" ")))?;
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
        for info in &self.runs {
            run_text(out, info, host)?;
        }
        for damage in &self.damage {
            field(out, "damage", damage)?;
        }
        Ok(())
    }
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
        losses,
    } = &info.run;
    writeln!(out)?;
    writeln!(out, "run {number}")?;
    field(
        out,
        "  started",
        &time_of_day(*start, host).unwrap_or_default(),
    )?;
    let lived = end.and_then(|end| end.checked_sub(*start)).map(duration);
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
    field(
        out,
        "  memory",
        &memory_limit
            .map(|limit| format!("limit {}", size(limit)))
            .unwrap_or_default(),
    )?;
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
    field(out, "  losses", &losses_text(losses))
}

/// Lost and overwritten always, the others where there are any.
#[must_use]
pub fn losses_text(losses: &Losses) -> String {
    let Losses {
        lost,
        overwritten,
        torn,
        compat,
        unreadable,
        recursion_misses,
    } = *losses;
    let others = [
        (torn, "damaged in the ring"),
        (compat, "calls in the 32-bit ABI not decoded"),
        (unreadable, "payloads unreadable"),
        (
            recursion_misses,
            "probe runs skipped by the kernel on this node",
        ),
    ];
    let others = others
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, what)| format!(", {count} {what}"));
    format!(
        "{lost} lost (never recorded), {overwritten} overwritten (displaced by newer events){}",
        others.collect::<String>()
    )
}

/// One line, unless there is nothing to say.
fn field(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() {
        Ok(())
    } else {
        writeln!(out, "{name:<12}{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, capture, nginx};

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

    #[test]
    fn lost_and_overwritten_are_always_told() {
        assert_eq!(
            losses_text(&Losses::default()),
            "0 lost (never recorded), 0 overwritten (displaced by newer events)"
        );
    }
}
