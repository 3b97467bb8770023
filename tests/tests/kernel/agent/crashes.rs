//! What is captured, and what is not.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::Path,
    process::Command,
};

use capture_format::{EventFlags, EventKind as K};
use libtest_mimic::Failed;
use nix::sys::{
    signal::Signal,
    wait::{WaitStatus, waitpid},
};

use super::{captures::mode, container::Container, node::Node};
use crate::{
    Case,
    made::Made,
    support::{lastword, victim},
};

pub(super) const CASES: &[Case] = &[
    ("agent_captures_a_crash_once", crash),
    ("agent_adopts_a_container_that_runs_already", adopts),
    (
        "agent_says_which_program_could_not_be_executed",
        never_executed,
    ),
];

/// What no kernel does differently.
pub(super) const ALIKE: &[Case] = &[
    (
        "agent_replaces_a_capture_when_there_are_more_runs",
        crash_loop,
    ),
    ("agent_captures_another_cause_apart", causes),
    (
        "agent_adopts_a_container_that_is_being_set_up",
        adopts_in_set_up,
    ),
    ("agent_lets_a_good_end_be", good_ends),
];

pub(super) const UNIFIED_MEMORY: &[Case] = &[
    ("agent_names_whom_the_oom_killer_chose_of_a_group", || {
        group_killed(SMALL, LARGE, "its memory limit is 96 MiB")
    }),
    ("agent_names_the_cgroup_above_that_killed_a_group", || {
        let text = "the memory limit of a cgroup above its own is 96 MiB";
        group_killed(LARGE, SMALL, text)
    }),
];

/// 96 and 192 MiB.
const SMALL: &str = "100663296";
const LARGE: &str = "201326592";

fn crash() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.crash("/etc/app/config.yaml")?;
    let capture = node.captured(&container, &[1])?;
    let sidecar = capture.sidecar()?;
    assert_eq!(sidecar["cause"], "missing_file", "{sidecar:#}");
    let verdict = sidecar["verdict"].as_str().unwrap_or_default();
    assert!(verdict.contains("/etc/app/config.yaml"), "{verdict}");
    assert_eq!(sidecar["container_id"], container.id.as_str());
    assert_eq!(capture.header.trigger.kind, "first-crash");
    for path in [capture.path.clone(), capture.sidecar_path()] {
        assert_eq!(mode(&path)?, 0o600, "{}", path.display());
    }
    // The same crash again gives no new capture.
    container.crash("/etc/app/config.yaml")?;
    node.judged()?;
    let still = node.captured(&container, &[1])?;
    assert_eq!(still.header.created, capture.header.created);
    Ok(())
}

fn crash_loop() -> Result<(), Failed> {
    let node = Node::with_agent("triggers: {restarts: [{more_than: 1, within: 1h}]}")?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    let first = node.captured(&container, &[1])?;
    container.crash("/missing/1")?;
    container.crash("/missing/1")?;
    let full = node.captured(&container, &[1, 2, 3])?;
    assert_eq!(full.path, first.path);
    assert_eq!(full.header.trigger.kind, "restarts");
    let opens = full.events().filter(|event| event.name == "/missing/1");
    assert_eq!(opens.count(), 3);
    container.crash("/missing/1")?;
    node.judged()?;
    let still = node.captured(&container, &[1, 2, 3])?;
    assert_eq!(still.header.created, full.header.created);
    Ok(())
}

fn causes() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let container = Container::on(&node);
    container.crash("/missing/1")?;
    node.captured(&container, &[1])?;
    container.run(&["segv"])?;
    node.judged()?;
    let captures = node.captures(&container)?;
    let causes: Result<Vec<_>, Failed> = captures
        .iter()
        .map(|capture| Ok(capture.sidecar()?["cause"].clone()))
        .collect();
    assert_eq!(causes?, ["missing_file", "segmentation_fault"]);
    Ok(())
}

fn adopts() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let held = node.file("held.log");
    let held = held.to_str().ok_or("path")?;
    let container = Container::on(&node);
    let running = container.start(&["hold", held, "wait", "open", "/missing/2"])?;
    running.settled("hold")?;
    let pid = running.pid().as_raw() as u32;
    node.start()?;
    running.go_on()?;
    assert_eq!(running.wait()?.code(), Some(1));
    let capture = node.captured(&container, &[1])?;
    assert_eq!(capture.sidecar()?["cause"], "missing_file");
    let run = &capture.runs[0].0;
    assert_eq!(run.init_pid, pid);
    let came = capture
        .events()
        .find(|event| event.flags.contains(EventFlags::ADOPTED));
    let came = came.ok_or("nothing was adopted")?.time;
    assert!(run.start < came, "{} is when the agent came", run.start.0);
    let adopted = |fits: &dyn Fn(&capture_format::Event) -> bool| {
        capture.has(|event| event.flags.contains(EventFlags::ADOPTED) && fits(event))
    };
    let arguments = |event: &capture_format::Event| {
        event.kind == K::EXEC && event.data.ends_with(b"\0wait\0open\0/missing/2\0")
    };
    assert!(adopted(&arguments), "{:#?}", capture.runs);
    assert!(adopted(&|event| event.name == held), "{:#?}", capture.runs);
    assert!(capture.has(|event| event.name == "/missing/2" && event.ret < 0));
    Ok(())
}

/// A process that ends while a container is set up belongs to the runtime, and is not the end of the container.
fn adopts_in_set_up() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let container = Container::on(&node);
    let mut running = container.set_up(&["open", "/missing/2"])?;
    running.settled("init")?;
    node.start()?;
    let pid = running.made()?;
    assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 1));
    running.wait()?;
    let capture = node.captured(&container, &[1])?;
    let run = &capture.runs[0].0;
    assert_eq!(run.init_pid, pid.as_raw() as u32, "{:#?}", capture.runs);
    assert_eq!(capture.sidecar()?["cause"], "missing_file");
    // Its program is recorded completely.
    let adopted = |event: &capture_format::Event| event.flags.contains(EventFlags::ADOPTED);
    assert!(!capture.has(adopted), "{:#?}", capture.runs);
    Ok(())
}

/// The runtime's own process ends instead of becoming the program, and nobody else says why. It is the same whether it
/// was recorded from the start or not.
fn never_executed() -> Result<(), Failed> {
    let mut node = Node::new("")?;
    let program = node.file("server");
    fs::write(&program, "#!/usr/bin/python9\r\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let (before, after) = (Container::on(&node), Container::on(&node));
    let there = before.set_up_for(&program, &[])?;
    there.settled("init")?;
    node.start()?;
    let recorded = after.set_up_for(&program, &[])?;
    recorded.settled("init")?;
    for (container, mut running) in [(before, there), (after, recorded)] {
        let pid = running.made()?;
        assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 1));
        running.wait()?;
        let capture = node.captured(&container, &[1])?;
        let run = &capture.runs[0].0;
        assert_eq!(run.init_pid, pid.as_raw() as u32, "{:#?}", capture.runs);
        let sidecar = capture.sidecar()?;
        assert_eq!(sidecar["cause"], "command_not_found", "{sidecar:#}");
        let verdict = sidecar["verdict"].as_str().unwrap_or_default();
        assert!(verdict.contains("server\""), "{verdict}");
        assert!(
            !capture.has(|event| !event.data.is_empty()),
            "{:#?}",
            capture.runs
        );
    }
    Ok(())
}

/// A container dies as a whole (the kubelet sets memory.oom.group) when a program that its shell started takes too much
/// memory. The limits are those of the container itself and of the cgroup above.
fn group_killed(own: &str, above: &str, ran_out: &str) -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let python = node.file("python3");
    symlink(victim(), &python)?;
    let let_limit = |cgroup: &Made| fs::write(cgroup.0.join("cgroup.subtree_control"), "+memory");
    let_limit(&node.cgroups)?;
    let pod = Made::below(&node.cgroups.0, "pod")?;
    let_limit(&pod)?;
    fs::write(pod.0.join("memory.max"), above)?;
    let container = Container::below(&pod);
    let script = format!("{} wait memory; exit 5", python.display());
    let running = container.start_program(Path::new("/bin/sh"), "nothing", &["-c", &script])?;
    running.set("memory.max", own)?;
    running.set("memory.oom.group", "1")?;
    running.go_on()?;
    let status = running.wait()?;
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
    let capture = node.captured(&container, &[1])?;
    let sidecar = capture.sidecar()?;
    assert_eq!(sidecar["cause"], "oom_killed", "{sidecar:#}");
    let verdict = sidecar["verdict"].as_str().unwrap_or_default();
    let chosen = "python3 (started by sh) was killed by the OOM killer, and its container with it,";
    assert!(verdict.starts_with(chosen), "{verdict}");
    assert!(verdict.ends_with(ran_out), "{verdict}");
    let ps = Command::new(lastword())
        .args(["ps", "--json"])
        .arg(&capture.path)
        .output()?;
    let ps: serde_json::Value = serde_json::from_slice(&ps.stdout)?;
    for name in ["sh", "python3"] {
        let processes = ps["processes"].as_array().ok_or("no processes")?;
        let of_name = processes.iter().find(|it| it["name"] == name);
        let killer = of_name.map(|it| &it["killed_by"]["by"]);
        assert_eq!(killer, Some(&"the OOM killer".into()), "{name}: {ps:#}");
    }
    Ok(())
}

fn good_ends() -> Result<(), Failed> {
    let node = Node::with_agent("")?;
    let (done, stopped) = (Container::on(&node), Container::on(&node));
    assert_eq!(done.run(&["print", "done"])?.code(), Some(0));
    let running = stopped.start(&["until-terminated"])?;
    running.settled("until-terminated")?;
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.wait()?.code(), Some(0));
    node.judged()?;
    for container in [done, stopped] {
        assert_eq!(node.captures(&container)?.len(), 0);
    }
    Ok(())
}
