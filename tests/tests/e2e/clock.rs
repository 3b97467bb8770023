//! An agent whose clock is days ahead or behind. Only the agent's clock is: libfaketime, which is in the image of the
//! scenarios, changes the time that the C library gives to a program. The kubelet's and the API server's are right.

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    Case, NotTried,
    cluster::{Cluster, text, wait},
    events::Watch,
    install::{self, Install},
    policy::foreign,
    requests::request_with,
    scenarios::{HEALTHY, complete, named, quick},
};

pub(crate) const CASES: &[(&str, Case)] = &[
    (
        "an agent whose clock is 8 days ahead deletes nothing too early",
        |cluster| skewed(cluster, "+8d"),
    ),
    (
        "an agent whose clock is 8 days behind deletes nothing too early",
        |cluster| skewed(cluster, "-8d"),
    ),
];

const SPACE: &str = "lastword-e2e-clock";
/// Longer than captures and Captures are kept by default.
const SKEW: SignedDuration = SignedDuration::from_hours(8 * 24);

fn skewed(cluster: &Cluster, offset: &str) -> Result<String> {
    let tried = with_offset(cluster, offset);
    Install::standard(cluster)?.complete(cluster)?;
    tried
}

/// An agent with another clock.
fn with_clock(cluster: &Cluster, offset: &str) -> Result<Install> {
    let mut install = Install::standard(cluster)?;
    install.mount(json!({ "emptyDir": {} }), "clock", "/clock")?;
    install.pod()?["initContainers"] = json!([{
        "name": "clock",
        "image": "localhost/lastword-scenarios:1",
        "command": ["sh", "-c", "cat /usr/lib/*/faketime/libfaketimeMT.so.1 > /clock/libfaketime.so.1"],
        "volumeMounts": [{ "name": "clock", "mountPath": "/clock" }],
    }]);
    // The other clocks of the system and the times of files stay.
    for (name, value) in [
        ("LD_PRELOAD", "/clock/libfaketime.so.1"),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ] {
        install.push("env", json!({ "name": name, "value": value }))?;
    }
    Ok(install)
}

/// How far the agent's clock is ahead of that of its node, by what it writes before its messages.
fn ahead(cluster: &Cluster) -> Result<SignedDuration> {
    let log = install::logs(cluster, &["--tail=-1", "--timestamps"])?;
    let found = log.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let mut time = || words.next()?.parse::<Timestamp>().ok();
        let (node, agent) = (time()?, time()?);
        Some(agent.duration_since(node))
    });
    found.with_context(|| format!("no message with two times:\n{log}"))
}

fn with_offset(cluster: &Cluster, offset: &str) -> Result<String> {
    let (before, during) = (quick()?, named("missing-config")?);
    Install::standard(cluster)?.complete(cluster)?;
    cluster.fresh_namespace(SPACE)?;
    cluster.apply(SPACE, before.file)?;
    cluster.apply(SPACE, HEALTHY.file)?;
    cluster.pods_ready(SPACE, &["pod/healthy"])?;
    let kept = complete(cluster, SPACE, before.name, 1)?;
    let kept = text(&kept, "/metadata/name");
    cluster.apply(SPACE, &request_with(HEALTHY.name, json!({ "ttl": "2m" })))?;
    complete(cluster, SPACE, HEALTHY.name, 1)?;
    foreign(cluster, SPACE, "foreign", true)?;
    foreign(cluster, SPACE, "foreign-without-label", false)?;

    with_clock(cluster, offset)?.complete(cluster)?;
    let skew = ahead(cluster)?;
    if skew.abs() < SignedDuration::from_hours(24) {
        bail!(NotTried(
            "the agent is linked statically, so that its clock alone cannot be changed".to_owned()
        ));
    }
    ensure!(
        (skew.abs() - SKEW).abs() < SignedDuration::from_hours(1),
        "the agent's clock is off by {skew:#}"
    );
    let is_ahead = skew.is_positive();

    // It goes on working.
    let watch = Watch::start(cluster, SPACE)?;
    cluster.apply(SPACE, during.file)?;
    let capture = complete(cluster, SPACE, during.name, 1)?;
    during.check(text(&capture, "/status/verdict"))?;
    let event = wait("Event", || {
        Ok(watch.of(during.name).pop().ok_or("none".to_owned()))
    })?;
    during.check(&event.message)?;

    let by_hand = format!("by-hand-{}", HEALTHY.name);
    let names = || -> Result<Vec<String>> {
        let captures = cluster.list(&["captures", "-n", SPACE])?;
        let names = captures.iter().map(|it| text(it, "/metadata/name"));
        Ok(names.map(str::to_owned).collect())
    };
    if is_ahead {
        // By the agent's clock all that were made before have expired. The one that really has shows that it looks.
        wait("end of the Capture whose time is over", || {
            let names = names()?;
            Ok(if names.contains(&by_hand) {
                Err(format!("{names:?}"))
            } else {
                Ok(())
            })
        })?;
    }
    let names = names()?;
    let during_name = text(&capture, "/metadata/name");
    let expected = [kept, during_name, "foreign", "foreign-without-label"];
    for name in &expected {
        ensure!(
            names.iter().any(|there| there == name),
            "{name} was deleted: {names:?}"
        );
    }
    // The files are there, too.
    let explained = cluster.plugin(&["explain", before.name, "-n", SPACE])?;
    before.check(&explained)?;
    let gone = if is_ahead {
        "; one with a time to live of two minutes went when that was over"
    } else {
        ""
    };
    Ok(format!("{} Captures stayed{gone}", expected.len()))
}
