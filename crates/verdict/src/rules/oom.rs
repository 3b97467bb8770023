//! The OOM killer ended the run.
//!
//! There are three ways to recognise this. First: the kernel reported that it chose a process of the chain, or one
//! below it whose end was handed on. The OOM killer always sends SIGKILL, so nothing else can have ended that process.
//! Second: the culprit got SIGKILL, no other sender is known, and the cgroup counted more OOM kills than were recorded;
//! where that count could not be read, the runtime's word `OOMKilled` counts. Third: the victim was a process that the
//! culprit had started, and the culprit gave up: it mentions that death, or it ended right after it without a word.
//!
//! The first way is wrong only if a parent exited with 137 for a reason of its own after its child had been killed. The
//! second is wrong if somebody sent SIGKILL and was not recorded, and the third if the culprit gave up over something
//! else.

use capture_format::{ExitStatus, OomScope, SignalOrigin};

use super::visit::specified;
use super::words::Words;
use super::{Case, Cause, Evidence, Finding};
use crate::entity::names;
use crate::facts::{OomKill, Process};
use crate::lexicon::lexicon;
use events::decode::Signal;
use events::decode::time::size;
use events::escape::escaped;

/// If a cgroup is killed as a whole (`memory.oom.group`), this is the longest time between the kills: 1 s, in
/// nanoseconds. The kernel prints a line for each kill, which a serial console makes slow.
const ONE_CHOICE: u64 = 1_000_000_000;
/// The longest time from a child's death to the end of a process that says nothing about it: 1 s, in nanoseconds.
const AT_ONCE: u64 = 1_000_000_000;

/// The highest score if nothing says where memory ran out: no verdict on that is certain.
const UNKNOWN_LIMIT: u8 = 94;

/// How an OOM kill ended the run.
struct Found<'a> {
    /// The victim that the kernel chose, if recorded.
    kill: Option<&'a OomKill>,
    /// Whether the culprit went on after the kill and then gave up.
    gave_up: bool,
    /// How sure it is that the kill ended the run, in percent.
    score: u8,
    why: String,
}

pub(super) fn rule(case: &Case<'_>) -> Option<Finding> {
    let found = killed(case).or_else(|| gave_up(case))?;
    let Limit {
        text,
        subject,
        next_step,
        is_known,
    } = Limit::of(case, found.kill);
    let pid = found.kill.map(|kill| kill.pid);
    let victim = pid.map(|pid| (pid, case.facts.processes.get(pid)));
    let culprit = case.culprit().map(|culprit| culprit.pid);
    let name = match (victim, found.kill) {
        (Some((pid, _)), _) if Some(pid) == culprit => case.name(),
        (Some((_, Some(victim))), _) => name(case, victim),
        (Some((pid, None)), Some(kill)) if kill.name.is_empty() => format!("process {pid}"),
        (_, Some(kill)) => escaped(&kill.name).to_string(),
        _ => case.name(),
    };
    let end = case.end_after_start();
    let others = found.kill.is_some_and(|kill| {
        let after = case.facts.oom_kills.iter();
        let mut after = after.filter(|other| other.event > kill.event && other.pid != kill.pid);
        !found.gave_up && after.any(|other| case.in_chain(other.pid))
    });
    let sentence = if found.gave_up {
        let words = case.words.headline();
        let said = words.map_or_else(String::new, |line| format!("; {}", line.cited()));
        format!(
            "{}, as {name} was killed by the OOM killer: {text}{said}",
            case.ended()
        )
    } else {
        let with_it = if others {
            ", and its container with it"
        } else {
            ""
        };
        format!("{name} was killed by the OOM killer{with_it}{end}: {text}")
    };
    let target = pid.or(culprit);
    let sent = target.and_then(|pid| case.facts.signals.last(pid, Signal::KILL));
    let mut evidence: Vec<Evidence> = found.kill.map(self::evidence).into_iter().collect();
    evidence.extend(sent.map(|sent| {
        Evidence::new(
            sent.event,
            sent.time,
            format!("SIGKILL to pid {}", sent.target),
        )
    }));
    if found.gave_up {
        evidence.extend(case.words.headline().map(Words::evidence));
    }
    Some(Finding {
        rests_on: None,
        sentence,
        cause: Cause::OomKilled,
        subject,
        score: match is_known {
            true => found.score,
            false => found.score.min(UNKNOWN_LIMIT),
        },
        why: found.why,
        evidence,
        next_step,
        weakened_by: if found.kill.is_some() {
            Vec::new()
        } else {
            case.missing_events()
        },
    })
}

/// `python3 (started by sh)`.
fn name(case: &Case<'_>, victim: &Process) -> String {
    match case.facts.init() {
        Some(init) if init.pid != victim.pid && init.name() != victim.name() => {
            format!("{} (started by {})", victim.name(), init.name())
        }
        _ => victim.name(),
    }
}

/// The culprit was killed, or its child was killed and the culprit handed on the child's end.
fn killed<'a>(case: &Case<'a>) -> Option<Found<'a>> {
    let killed = case.signal() == Some(Signal::KILL)
        || case.run.status
            == Some(ExitStatus::Signal {
                signal: Signal::KILL.0,
                core: false,
            });
    // A shell exits 137 in this case if the child's own end was not recorded.
    let told = case.run.terminated.as_ref();
    let told_code = told.and_then(|told| told.exit_code);
    let handed_on = case.run.status == Some(ExitStatus::Code(128 + Signal::KILL.0))
        || (case.run.status.is_none() && told_code == Some(128 + i32::from(Signal::KILL.0)));
    if !killed && !handed_on {
        return None;
    }
    let kills = &case.facts.oom_kills;
    let is_end =
        |kill: &&OomKill| case.in_chain(kill.pid) || (handed_on && case.below_chain(kill.pid));
    let victim = kills.iter().rev().find(is_end);
    let found = |kill, score, why: String| Found {
        kill,
        gave_up: false,
        score,
        why,
    };
    if let Some(victim) = victim {
        let why = "the kernel's OOM killer chose this process";
        return Some(found(Some(choice(case, victim)), 100, why.to_owned()));
    }
    let sent = case
        .culprit()
        .and_then(|culprit| case.facts.signals.last(culprit.pid, Signal::KILL));
    if sent.is_some_and(|sent| sent.origin != Some(SignalOrigin::Kernel)) {
        return None;
    }
    match case.run.oom_kills {
        // The recorded kills are all kills that there were.
        Some(count) if count > kills.iter().count() as u64 => killed.then(|| {
            found(None, 96, format!(
                "the cgroup counted {count} OOM kills, and nobody else was seen to send SIGKILL"
            ))
        }),
        Some(_) => None,
        None => told.is_some_and(|told| told.reason == "OOMKilled").then(|| {
            found(None, 79, "the runtime says OOMKilled, and nobody else was seen to send SIGKILL; the kernel's own count could not be read".to_owned())
        }),
    }
}

/// The victim that the kernel chose, among several that it killed at once.
fn choice<'a>(case: &Case<'a>, victim: &'a OomKill) -> &'a OomKill {
    let mut chosen = victim;
    let earlier = case.facts.oom_kills.iter().rev();
    for kill in earlier.filter(|kill| kill.event < victim.event) {
        if chosen.time.since(kill.time) >= ONE_CHOICE {
            break;
        }
        chosen = kill;
    }
    chosen
}

/// A process below the culprit was killed, and the culprit ended because of it: since then it began nothing new, and it
/// mentions the kill or says nothing.
fn gave_up<'a>(case: &Case<'a>) -> Option<Found<'a>> {
    let culprit = case.culprit()?;
    let end = culprit.exit?;
    if case.exit_code()? == 0 {
        return None;
    }
    let failed = case.facts.failed_last(culprit);
    let (child, kill) = failed.into_iter().rev().find_map(|child| {
        let mut kills = case.facts.oom_kills.iter().rev();
        Some((child, kills.find(|kill| kill.pid == child.pid)?))
    })?;
    let kill = choice(case, kill);
    let death = child.exit?;
    let after = end.time.since(death.time);
    if after >= super::case::CLOSE || culprit.last_work > Some(death.event) {
        return None;
    }
    let said: Vec<&Words> = case.words.between(death.event, u64::MAX).collect();
    let of_it = said.iter().any(|line| {
        let text = line.said().to_lowercase();
        lexicon()
            .of_deaths
            .words
            .iter()
            .any(|words| names(&text, words))
            || text.contains(&child.pid.to_string())
            || text.contains(&child.name().to_lowercase())
    });
    let (score, why) = match (of_it, said.is_empty()) {
        (true, _) => (
            95,
            "the kernel's OOM killer chose a process that it had started, and its last words are about that",
        ),
        (false, true) if after < AT_ONCE => (
            90,
            "the kernel's OOM killer chose a process that it had started, and it ended right after that without a word",
        ),
        _ => return None,
    };
    Some(Found {
        kill: Some(kill),
        gave_up: true,
        score,
        why: why.to_owned(),
    })
}

/// The cgroup that had no memory left, for people.
struct Limit {
    /// `its memory limit is 64 MiB`.
    text: String,
    /// `64 MiB`; empty if no limit was reached or the limit is not known.
    subject: String,
    next_step: String,
    /// Whether it is known where memory ran out.
    is_known: bool,
}

impl Limit {
    fn of(case: &Case<'_>, kill: Option<&OomKill>) -> Self {
        let specified =
            specified(case, &["resources", "limits", "memory"]).and_then(|it| it.as_str());
        let resources = case.header.container.resources.as_ref();
        let specified = specified
            .map(str::to_owned)
            .or_else(|| {
                resources
                    .and_then(|resources| resources.limits.get("memory"))
                    .cloned()
            })
            .map(|limit| escaped(limit.as_bytes()).to_string());
        let scope = kill.and_then(|kill| kill.scope);
        let reached = kill.and_then(|kill| kill.limit).map(size);
        let in_pod = case.header.pod.is_some();
        let scope = match scope {
            // With a limit of its own the container gives the pod the same one, if it is alone. What the pause
            // container needs makes the pod run out first.
            Some(OomScope::Parent)
                if limit_follows(case)
                    && kill.and_then(|kill| kill.limit) == case.run.memory_limit =>
            {
                Some(OomScope::Container)
            }
            scope => scope,
        };
        let (what, next_step) = match scope {
            Some(OomScope::Machine) => return Self::none_left(specified),
            Some(OomScope::Inside) => (
                "the memory limit of a cgroup inside the container",
                "Raise the limit of that cgroup, which a program in the container made, or find what the process keeps in memory.",
            ),
            Some(OomScope::Parent) if in_pod && limit_follows(case) => (
                "the memory limit of its pod, which follows from its containers' limits,",
                "Raise resources.limits.memory of its containers, or find which of them keeps what in memory: the container's own limit was not reached.",
            ),
            Some(OomScope::Parent) if in_pod => (
                "the memory limit of its pod",
                "Raise the pod's limit (spec.resources.limits.memory), or find which of its containers keeps what in memory: the container's own limit was not reached.",
            ),
            Some(OomScope::Parent | OomScope::Above) => (
                "the memory limit of a cgroup above its own",
                "Look for the cgroup above it with this limit (memory.max up from its own), and for what else uses memory below that: its own limit was not reached.",
            ),
            Some(OomScope::Container) | None => (
                "its memory limit",
                "Raise resources.limits.memory, or find what the process keeps in memory.",
            ),
        };
        let limit = match scope {
            Some(_) => reached,
            None => case.run.memory_limit.map(size).or(specified),
        };
        // The kernel chose a victim, and it could not be told for which cgroup.
        let unsure = match (kill, scope) {
            (Some(_), None) => "; which limit was reached was not recorded",
            _ => "",
        };
        match limit {
            Some(limit) => Self {
                text: format!("{what} is {limit}{unsure}"),
                subject: limit,
                next_step: next_step.to_owned(),
                is_known: true,
            },
            None => Self {
                text: "which memory limit was reached, or whether the node ran out of memory, was not recorded".to_owned(),
                subject: String::new(),
                next_step: "Look at the container's and the pod's memory limits, and at what the kernel says of the kill on the node (`dmesg | grep -i oom`).".to_owned(),
                is_known: false,
            },
        }
    }

    fn none_left(specified: Option<String>) -> Self {
        let own = match specified {
            Some(limit) => format!(", not its memory limit of {limit}"),
            None => String::new(),
        };
        Self {
            text: format!("the node itself ran out of memory{own}"),
            subject: String::new(),
            next_step: "Look for what used up the node's memory (`dmesg | grep -i oom`), and give containers memory requests and limits.".to_owned(),
            is_known: true,
        }
    }
}

/// Whether the pod's specification has no limit for the pod: then kubelet gives it the sum of its containers' limits, if
/// each has one.
fn limit_follows(case: &Case<'_>) -> bool {
    let known = case.header.kubernetes.as_ref();
    let spec = known.map(|it| &it.pod["spec"]);
    spec.is_some_and(|spec| spec.is_object() && spec["resources"]["limits"]["memory"].is_null())
}

/// The kernel's choice of a victim as evidence.
pub(super) fn evidence(kill: &OomKill) -> Evidence {
    Evidence::new(
        kill.event,
        kill.time,
        format!("OOM killer chose pid {}", kill.pid),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, header, verdict, verdict_with};
    use capture_format::{EventKind as K, Kubernetes, Pod, Resources, Terminated};
    use serde_json::json;

    fn killed(oom_event: bool, sender: SignalOrigin) -> Script {
        let mut s = Script::new(&["java", "-jar", "app.jar"]);
        s.run.memory_limit = Some(64 << 20);
        s.run.oom_kills = Some(1);
        s.write(INIT, 2, "Error: connection refused\n");
        if oom_event {
            s.call(INIT, K::OOM_KILL, 0, [0; 3], "java", "");
        }
        s.signal(INIT, 9, 0x80, (INIT, "java"), sender)
            .exit_status(INIT, 9);
        s
    }

    #[test]
    fn the_kernel_names_its_victim_and_the_limit_is_told() {
        let verdict = verdict(&killed(true, SignalOrigin::Kernel));
        assert_eq!(
            verdict.sentence,
            "java was killed by the OOM killer, 6 ms after start: its memory limit is 64 MiB; which limit was reached was not recorded"
        );
        assert_eq!((verdict.cause, verdict.score), (Cause::OomKilled, 100));
    }

    #[test]
    fn the_counter_alone_serves_unless_somebody_else_sent_the_signal() {
        assert_eq!(
            verdict(&killed(false, SignalOrigin::Kernel)).cause,
            Cause::OomKilled
        );
        assert_eq!(
            verdict(&killed(false, SignalOrigin::Outside)).cause,
            Cause::KilledFromOutside
        );
    }

    #[test]
    fn the_runtimes_word_serves_where_the_kernels_was_not_seen() {
        let mut s = killed(false, SignalOrigin::Kernel);
        (s.run.memory_limit, s.run.oom_kills) = (None, None);
        s.run.terminated = Some(Terminated {
            reason: "OOMKilled".into(),
            exit_code: Some(137),
            ..Terminated::default()
        });
        let mut header = header();
        header.container.resources = Some(Resources {
            limits: [("memory".to_owned(), "64Mi".to_owned())].into(),
            ..Resources::default()
        });
        let told = verdict_with(&header, &s);
        assert_eq!((told.cause, told.score), (Cause::OomKilled, 79));
        assert!(
            told.sentence.ends_with("its memory limit is 64Mi"),
            "{}",
            told.sentence
        );
        // The kernel counted no kill: then the runtime is wrong.
        s.run.oom_kills = Some(0);
        assert_eq!(verdict_with(&header, &s).cause, Cause::KilledBySignal);
        s.run.oom_kills = None;
        // Nobody waited for the process, and its end was overwritten.
        let mut gone = Script::empty();
        gone.run.terminated = s.run.terminated.clone();
        assert_eq!(verdict_with(&header, &gone).cause, Cause::OomKilled);
        gone.run.terminated = Some(Terminated {
            exit_code: Some(1),
            ..s.run.terminated.clone().unwrap()
        });
        assert_ne!(verdict_with(&header, &gone).cause, Cause::OomKilled);
    }

    #[test]
    fn a_child_below_a_shell_is_followed() {
        let mut s = Script::new(&["sh", "-c", "python3 app.py; exit $?"]);
        s.fork(INIT, 200).exec(200, &["python3", "app.py"]).call(
            200,
            K::OOM_KILL,
            0,
            [0; 3],
            "",
            "",
        );
        s.exit_status(200, 9)
            .write(INIT, 2, "Killed\n")
            .exit(INIT, 137);
        let verdict = verdict(&s);
        assert_eq!(verdict.cause, Cause::OomKilled);
        assert!(
            verdict
                .sentence
                .starts_with("python3 (started by sh) was killed"),
            "{}",
            verdict.sentence
        );
    }

    #[test]
    fn a_victim_elsewhere_in_the_container_is_not_the_end_of_this_process() {
        let mut s = Script::new(&["supervisor"]);
        s.fork(INIT, 200)
            .call(200, K::OOM_KILL, 0, [0; 3], "", "")
            .exit_status(200, 9);
        s.write(INIT, 2, "error: bad config\n").exit(INIT, 3);
        assert_eq!(verdict(&s).cause, Cause::ExitedNonZero);
    }

    /// The kernel chooses a victim; the event has the cgroup that had no memory left, and its limit.
    fn ran_out(s: &mut Script, pid: u32, scope: OomScope, limit: i64) {
        s.signal(pid, 9, 0x80, (0, ""), SignalOrigin::Kernel).call(
            pid,
            K::OOM_KILL,
            0,
            [scope as i64, limit, 77],
            "python3",
            "",
        );
    }

    #[test]
    fn the_cgroup_that_ran_out_is_named() {
        let of = |scope, limit, in_pod: bool| {
            let mut s = Script::new(&["python3"]);
            ran_out(&mut s, INIT, scope, limit);
            s.exit_status(INIT, 9);
            s.run.memory_limit = Some(64 << 20);
            let mut header = header();
            header.pod = in_pod.then(Pod::default);
            header.container.name = "main".into();
            header.kubernetes = Some(Kubernetes {
                pod: json!({"spec": {
                    "resources": {"limits": {"memory": "32Mi"}},
                    "containers": [{"name": "main", "resources": {"limits": {"memory": "64Mi"}}}],
                }}),
                ..Kubernetes::default()
            });
            verdict_with(&header, &s)
        };
        for (scope, limit, in_pod, text, subject, next_step) in [
            (
                OomScope::Container,
                64 << 20,
                true,
                "its memory limit is 64 MiB",
                "64 MiB",
                "Raise resources",
            ),
            (
                OomScope::Parent,
                32 << 20,
                true,
                "the memory limit of its pod is 32 MiB",
                "32 MiB",
                "Raise the pod's limit",
            ),
            (
                OomScope::Parent,
                32 << 20,
                false,
                "the memory limit of a cgroup above its own is 32 MiB",
                "32 MiB",
                "Look for the cgroup",
            ),
            (
                OomScope::Above,
                32 << 20,
                true,
                "the memory limit of a cgroup above its own is 32 MiB",
                "32 MiB",
                "Look for the cgroup",
            ),
            (
                OomScope::Inside,
                32 << 20,
                true,
                "the memory limit of a cgroup inside the container is 32 MiB",
                "32 MiB",
                "Raise the limit of that",
            ),
            (
                OomScope::Machine,
                0,
                true,
                "the node itself ran out of memory, not its memory limit of 64Mi",
                "",
                "Look for what used up",
            ),
        ] {
            let verdict = of(scope, limit, in_pod);
            assert!(verdict.sentence.ends_with(text), "{}", verdict.sentence);
            assert_eq!((verdict.subject.as_str(), verdict.score), (subject, 100));
            assert!(
                verdict.next_step.starts_with(next_step),
                "{}",
                verdict.next_step
            );
        }
    }

    #[test]
    fn a_pods_limit_that_nobody_set_follows_from_its_containers() {
        let of = |limit, spec| {
            let mut s = Script::new(&["python3"]);
            ran_out(&mut s, INIT, OomScope::Parent, limit);
            s.exit_status(INIT, 9);
            s.run.memory_limit = Some(64 << 20);
            let mut header = header();
            header.pod = Some(Pod::default());
            header.kubernetes = Some(Kubernetes {
                pod: json!({ "spec": spec }),
                ..Kubernetes::default()
            });
            verdict_with(&header, &s)
        };
        for (limit, spec, text, next_step) in [
            (
                64 << 20,
                json!({}),
                "its memory limit is 64 MiB",
                "Raise resources.limits.memory, or",
            ),
            (
                96 << 20,
                json!({}),
                "the memory limit of its pod, which follows from its containers' limits, is 96 MiB",
                "Raise resources.limits.memory of its containers",
            ),
            (
                64 << 20,
                json!({"resources": {"limits": {"memory": "64Mi"}}}),
                "the memory limit of its pod is 64 MiB",
                "Raise the pod's limit (spec.resources.limits.memory)",
            ),
        ] {
            let verdict = of(limit, spec);
            assert!(verdict.sentence.ends_with(text), "{}", verdict.sentence);
            assert!(
                verdict.next_step.starts_with(next_step),
                "{}",
                verdict.next_step
            );
        }
    }

    #[test]
    fn a_limit_that_is_not_known_is_not_called_none() {
        let mut s = killed(true, SignalOrigin::Kernel);
        s.run.memory_limit = None;
        let verdict = verdict(&s);
        assert_eq!((verdict.cause, verdict.score), (Cause::OomKilled, 94));
        assert!(
            verdict.sentence.ends_with("was not recorded"),
            "{}",
            verdict.sentence
        );
        assert!(verdict.subject.is_empty());
    }

    #[test]
    fn of_a_group_that_dies_the_kernels_choice_is_named() {
        let mut s = Script::new(&["sh", "-c", "python3 app.py; echo done"]);
        s.fork(INIT, 200)
            .exec(200, &["python3", "app.py"])
            .wait(900);
        ran_out(&mut s, 200, OomScope::Container, 64 << 20);
        ran_out(&mut s, INIT, OomScope::Container, 64 << 20);
        ran_out(&mut s, 200, OomScope::Container, 64 << 20);
        let verdict = verdict(s.exit_status(INIT, 9));
        assert_eq!(
            verdict.sentence,
            "python3 (started by sh) was killed by the OOM killer, and its container with it, 912 ms after start: its memory limit is 64 MiB"
        );
        assert!(
            verdict
                .evidence
                .iter()
                .any(|it| it.text == "OOM killer chose pid 200")
        );
    }

    #[test]
    fn a_count_of_others_kills_says_nothing_of_this_one() {
        let mut s = Script::new(&["app"]);
        s.run.oom_kills = Some(1);
        s.fork(INIT, 200);
        ran_out(&mut s, 200, OomScope::Container, 64 << 20);
        s.exit_status(200, 9)
            .wait(60_000)
            .signal(INIT, 9, 0x80, (0, ""), SignalOrigin::Kernel);
        assert_eq!(verdict(s.exit_status(INIT, 9)).cause, Cause::KilledBySignal);
    }

    /// `app` starts a worker that the OOM killer chooses.
    fn worker_killed() -> Script {
        let mut s = Script::new(&["app"]);
        s.fork(INIT, 200).exec(200, &["python3", "worker.py"]);
        ran_out(&mut s, 200, OomScope::Container, 64 << 20);
        s.exit_status(200, 9);
        s
    }

    #[test]
    fn a_childs_kill_is_the_cause_where_its_parent_gives_up_over_it() {
        for (said, wait, confidence) in [
            ("worker failed\n", 0, 95),
            (
                "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly\n",
                2_000,
                95,
            ),
            ("", 0, 90),
        ] {
            let mut s = worker_killed();
            s.wait(wait);
            if !said.is_empty() {
                s.write(INIT, 2, said);
            }
            let verdict = verdict(s.exit(INIT, 1));
            assert_eq!(
                (verdict.cause, verdict.score),
                (Cause::OomKilled, confidence),
                "{said}"
            );
            assert!(
                verdict.sentence.contains(", as python3 (started by app) was killed by the OOM killer: its memory limit is 64 MiB"),
                "{}",
                verdict.sentence
            );
        }
    }

    #[test]
    fn a_parent_that_went_on_ended_over_something_else() {
        // The culprit says something else; it began something new; the kill was long ago.
        let mut says = worker_killed();
        says.write(INIT, 2, "error: bad configuration\n");
        let mut goes_on = worker_killed();
        goes_on.open(INIT, "/srv/next", 3);
        let mut later = worker_killed();
        later.wait(3_000);
        for mut s in [says, goes_on, later] {
            assert_ne!(verdict(s.exit(INIT, 3)).cause, Cause::OomKilled);
        }
    }
}
