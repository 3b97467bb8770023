//! `lastword status`: how the agent is doing, or how recording would work on this machine.

use std::io::{self, Write};

use capture_format::{Probe, WallTime};
use events::decode::time::{duration, epoch, size};
use verdict::losses::{losses_text, skipped_text};

use crate::{
    node::handle::{Connection, Crowded, NO_RUNTIME, Status},
    recorder::{Recorder, Settings},
};

/// Attaches the probes for a moment and reports the result.
pub(crate) fn of_machine(out: &mut impl Write) -> anyhow::Result<()> {
    let recorder = Recorder::start(&Settings::default())?;
    probes(recorder.probes(), recorder.limitations(), out)?;
    Ok(())
}

/// Reports the status of an agent.
pub(crate) fn of_agent(status: &Status, now: WallTime, out: &mut impl Write) -> io::Result<()> {
    let Status {
        version,
        node,
        started,
        config,
        knowledge,
        recorder_failed,
        probes: attached,
        limitations,
        containers,
        memory,
        losses,
        skipped,
        refused,
        last_refused,
        turned_away,
        crowded,
        messages_lost,
        spool,
        storage,
        api_server,
        cri,
        alerts_error,
        announce_pending,
        log_lines_lost,
    } = status;
    let mut field = |name: &str, value: String| writeln!(out, "{name:<14}{value}");
    let up = duration(now.since(*started));
    field(
        "agent",
        format!("lastword {version} on node {node}, up {up}"),
    )?;
    if let Some(config) = config {
        field("configuration", config.display().to_string())?;
    }
    if let Some(why) = recorder_failed {
        field("recording", format!("has stopped: {why}"))?;
    }
    let all = containers.named + containers.unnamed;
    let last = last_refused.as_ref().map(|last| {
        let ago = duration(now.since(last.time));
        format!(", the last {ago} ago: {}", last.reason)
    });
    field(
        "containers",
        format!(
            "{all} recorded, {} of them not named yet; {} waiting for a ring; {refused} not recorded so far{}",
            containers.unnamed,
            containers.waiting,
            last.unwrap_or_default()
        ),
    )?;
    field(
        "rings",
        format!("{} used, {} free", memory.rings_used, memory.rings_free),
    )?;
    let taken = memory.ring_bytes + memory.kept_run_bytes;
    field(
        "memory",
        format!(
            "{} of {}: {} for rings, {} for {} kept runs",
            size(taken),
            size(memory.budget_bytes),
            size(memory.ring_bytes),
            size(memory.kept_run_bytes),
            memory.kept_runs
        ),
    )?;
    field("losses", losses_text(losses))?;
    let skipped = skipped_text(skipped);
    if !skipped.is_empty() {
        field("", format!("skipped: {skipped}"))?;
    }
    if *turned_away > 0 {
        let who: Vec<String> = crowded.iter().map(Crowded::to_string).collect();
        let who = match who.is_empty() {
            true => String::new(),
            false => format!("; most of them, of what runs now, in {}", who.join(", ")),
        };
        field(
            "",
            format!("{turned_away} cgroups inside containers not recorded{who}"),
        )?;
    }
    if *messages_lost > 0 {
        let what = "messages of the kernel side; who came and went meanwhile was not seen";
        field("", format!("{messages_lost} {what}"))?;
    }
    field(
        "spool",
        format!(
            "{}: {} captures, {} of {}; {} dropped; {} lost",
            spool.directory.display(),
            spool.captures,
            size(spool.bytes),
            size(spool.quota_bytes),
            spool.dropped,
            spool.lost
        ),
    )?;
    if let Some(error) = &spool.error {
        field("", format!("captures cannot be written: {error}"))?;
    }
    field(
        "storage",
        match storage {
            None => "not configured".to_owned(),
            Some(storage) => {
                let error = storage
                    .error
                    .as_ref()
                    .map(|why| format!("; the last upload failed: {why}"));
                let error = error.unwrap_or_default();
                format!("{}: {} to upload{error}", storage.location, storage.pending)
            }
        },
    )?;
    field(
        "API server",
        connection(api_server.as_ref(), "not configured", now),
    )?;
    field("CRI", connection(cri.as_ref(), NO_RUNTIME, now))?;
    if let Some(error) = alerts_error {
        field("alerts", format!("the certificate cannot be used: {error}"))?;
    }
    if let Some(packs) = knowledge {
        let directory = packs.directory.display();
        let (entries, left_out) = (packs.entries, packs.left_out);
        field(
            "knowledge",
            format!("{directory}: {entries} entries; {left_out} left out"),
        )?;
        for fault in &packs.faults {
            field("", fault.clone())?;
        }
    }
    field("announcements", format!("{announce_pending} waiting"))?;
    if *log_lines_lost > 0 {
        field(
            "log",
            format!("{log_lines_lost} lines lost: its reader is gone, or too slow"),
        )?;
    }
    writeln!(out)?;
    probes(attached.iter(), limitations, out)
}

fn connection(connection: Option<&Connection>, none: &str, now: WallTime) -> String {
    let Some(Connection { up, since, error }) = connection else {
        return none.to_owned();
    };
    let state = if *up { "answers" } else { "does not answer" };
    let lasting = duration(now.since(*since));
    let at = epoch(i128::from(since.0)).unwrap_or_default();
    let at = at.split('.').next().unwrap_or_default();
    let why = error
        .as_ref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    format!("{state}, for {lasting} (since {at}Z){why}")
}

fn probes<'a>(
    probes: impl Iterator<Item = &'a Probe>,
    limitations: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{:<20} {:<8} WHY", "PROBE", "ATTACH")?;
    for probe in probes {
        writeln!(
            out,
            "{:<20} {:<8} {}",
            probe.name, probe.attach, probe.reason
        )?;
    }
    for limitation in limitations {
        writeln!(out, "limited: {limitation}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::handle::{Containers, Memory, Refused, Spool, Storage};
    use crate::packs::Packs;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_agent_tells_what_it_has_what_it_lost_and_what_is_away() {
        let started = 1_795_000_000 * SECOND;
        let status = Status {
            version: "0.1.0".to_owned(),
            node: "n1".to_owned(),
            started: WallTime(started),
            config: Some("/etc/lastword/agent.yaml".into()),
            knowledge: Some(Packs {
                directory: "/etc/lastword-knowledge".into(),
                entries: 12,
                left_out: 1,
                faults: vec!["kafka.toml:10: kafka.x: pattern: unclosed group".into()],
            }),
            recorder_failed: None,
            probes: vec![Probe {
                name: "sys_exit".to_owned(),
                attach: "tp_btf".to_owned(),
                reason: "the first that attaches".to_owned(),
            }],
            limitations: vec!["no OOM kills".to_owned()],
            containers: Containers {
                named: 29,
                unnamed: 1,
                waiting: 1,
            },
            memory: Memory {
                rings_used: 30,
                rings_free: 4,
                ring_bytes: 34 << 20,
                kept_runs: 3,
                kept_run_bytes: 1 << 20,
                budget_bytes: 256 << 20,
            },
            losses: capture_format::Losses {
                lost: 2,
                overwritten: 70,
                recursion_misses: 12,
                ..capture_format::Losses::default()
            },
            skipped: [
                ("sched_process_exit", 9),
                ("sys_exit", 3),
                ("mark_victim", 0),
            ]
            .map(|(probe, count)| (probe.to_owned(), count))
            .into(),
            refused: 2,
            last_refused: Some(Refused {
                time: WallTime(started + 90 * SECOND),
                reason: "no ring was free".to_owned(),
            }),
            turned_away: 9,
            crowded: vec![Crowded {
                container: "0123".to_owned(),
                turned_away: 8,
                ..Crowded::default()
            }],
            messages_lost: 4,
            spool: Spool {
                directory: "/var/lib/lastword".into(),
                captures: 5,
                bytes: 3 << 20,
                quota_bytes: 1 << 30,
                dropped: 7,
                lost: 6,
                error: Some("the disk is full".to_owned()),
            },
            storage: Some(Storage {
                location: "s3://bucket/a".to_owned(),
                pending: 1,
                error: Some("403".to_owned()),
            }),
            api_server: Some(Connection {
                up: false,
                since: WallTime(started + 60 * SECOND),
                error: Some("connection refused".to_owned()),
            }),
            cri: None,
            alerts_error: Some("/tls/tls.crt: it has no certificate in PEM".to_owned()),
            announce_pending: 1,
            log_lines_lost: 3,
        };
        let mut out = Vec::new();
        of_agent(&status, WallTime(started + 120 * SECOND), &mut out).unwrap();
        let expected = "\
agent         lastword 0.1.0 on node n1, up 2 min
configuration /etc/lastword/agent.yaml
containers    30 recorded, 1 of them not named yet; 1 waiting for a ring; 2 not recorded so far, the last 30 s ago: no ring was free
rings         30 used, 4 free
memory        35 MiB of 256 MiB: 34 MiB for rings, 1 MiB for 3 kept runs
losses        2 lost (never recorded), 70 overwritten (displaced by newer events), 12 probe runs the kernel skipped on this node
              skipped: sched_process_exit 9, sys_exit 3
              9 cgroups inside containers not recorded; most of them, of what runs now, in 0123 (8)
              4 messages of the kernel side; who came and went meanwhile was not seen
spool         /var/lib/lastword: 5 captures, 3 MiB of 1 GiB; 7 dropped; 6 lost
              captures cannot be written: the disk is full
storage       s3://bucket/a: 1 to upload; the last upload failed: 403
API server    does not answer, for 60 s (since 2026-11-18T11:07:40Z): connection refused
CRI           not asked (container_runtime.endpoint is off): names come from the API server alone, exit statuses from the kernel
alerts        the certificate cannot be used: /tls/tls.crt: it has no certificate in PEM
knowledge     /etc/lastword-knowledge: 12 entries; 1 left out
              kafka.toml:10: kafka.x: pattern: unclosed group
announcements 1 waiting
log           3 lines lost: its reader is gone, or too slow

PROBE                ATTACH   WHY
sys_exit             tp_btf   the first that attaches
limited: no OOM kills
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
