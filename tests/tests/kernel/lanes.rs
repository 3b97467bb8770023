//! Loud events do not displace precious ones.

use capture_format::{EventKind as K, lane};
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{dns_server, record_victim},
};

pub(crate) const CASES: &[Case] = &[("every_write_is_recorded_or_counted", every_write)];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("chatter_does_not_push_out_evidence", chatter),
    ("the_beginning_outlasts_hundreds_of_processes", beginning),
];

fn chatter() -> Result<(), Failed> {
    const LINES: u64 = 50_000;
    dns_server("127.0.0.2:53", Some(3));
    let recorded = record_victim(&["chatter", &LINES.to_string()]);
    let stderr: Vec<String> = recorded
        .of(K::WRITE)
        .iter()
        .filter(|event| event.args[0] == 2)
        .map(|event| String::from_utf8_lossy(&event.data).into_owned())
        .collect();
    let words = stderr.concat();
    assert!(words.contains("the last word"), "{words}");
    assert!(words.contains("the first word"), "{words}");
    recorded.one(K::EXEC, |_| true);
    recorded.one(K::OPENAT, |event| event.name == "/precious/missing");
    recorded.one(K::SIGNAL_GENERATE, |event| event.ret == 10);
    assert!(
        recorded
            .events()
            .iter()
            .any(|event| event.kind == K::RECVFROM && event.data.len() > 12),
        "the DNS answer is gone"
    );
    // The output was so much that it overwrote its own lane many times, and the displaced events were counted.
    let losses = recorded.run().losses;
    let kept = recorded
        .of(K::WRITE)
        .iter()
        .filter(|event| event.args[0] == 1)
        .count() as u64;
    assert!(
        losses.overwritten + kept >= LINES && kept > 500,
        "{losses:?}, {kept} of {LINES} kept"
    );
    Ok(())
}

/// As an hour of exec probes does: more short processes than fit into the lane Life.
fn beginning() -> Result<(), Failed> {
    const PROCESSES: u64 = 800;
    let recorded = record_victim(&["start", &PROCESSES.to_string()]);
    let program = recorded.one(K::EXEC, |event| {
        event.args[0] == 1 || event.pid == recorded.run().init_pid
    });
    assert!(program.data.starts_with(b"victim") || program.name.ends_with(b"victim"));
    recorded.one(K::STDIO, |event| event.pid == program.pid);
    let gap = recorded.one(K::GAP, |event| event.name == lane::LIFE);
    let losses = recorded.run().losses;
    let gaps: i64 = recorded.of(K::GAP).iter().map(|gap| gap.args[0]).sum();
    assert_eq!(gaps as u64, losses.overwritten, "{losses:?}");
    let events = recorded.events();
    let at = events.iter().position(|event| event.time == gap.time);
    let before = events[..at.ok_or("no gap")?].iter();
    let first = before.filter(|event| event.kind == K::FORK).count();
    let forks = recorded.of(K::FORK).len();
    assert!(first > 10 && forks > first + 200, "{first} of {forks}");
    // Of each process the lane has a fork, an exec, its standard streams and an exit.
    let ends = recorded.of(K::EXIT).len() as u64 + gap.args[0] as u64 / 4;
    assert!(ends.abs_diff(PROCESSES) < PROCESSES / 10, "{ends}");
    Ok(())
}

/// Four writers on all processors: the kernel must skip none of them, or count the skips.
fn every_write() -> Result<(), Failed> {
    const WRITES: u64 = 4 * 50_000;
    let recorded = record_victim(&["writers", "4", "50000"]);
    let losses = recorded.run().losses;
    let kept = recorded
        .events()
        .iter()
        .filter(|event| event.kind == K::WRITE && event.ret == 64)
        .count() as u64;
    let told = kept + losses.overwritten + losses.recursion_misses;
    assert!(
        told >= WRITES,
        "{told} of {WRITES}: {losses:?}, {kept} kept"
    );
    assert_eq!(losses.recursion_misses, 0, "{losses:?}");
    Ok(())
}
