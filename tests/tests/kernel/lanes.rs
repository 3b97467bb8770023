//! Loud events do not displace precious ones.

use capture_format::EventKind as K;
use libtest_mimic::Failed;

use crate::{
    Case,
    support::{dns_server, record_victim},
};

pub(crate) const CASES: &[Case] = &[("every_write_is_recorded_or_counted", every_write)];

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[("chatter_does_not_push_out_evidence", chatter)];

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
