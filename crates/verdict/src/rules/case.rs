//! One run as the rules see it.
//!
//! A [`Case`] holds the facts of a run, and what every rule needs that follows from them: the chain of processes from
//! the first process down to the *culprit*, which is the process whose end became the end of the run; how the culprit
//! ended; and what was printed last. The culprit is chosen here, once, so that all rules judge the same process.
//!
//! The choice is wrong if the process that mattered was not recorded, or if a shell ended over something other than the
//! child that failed last. `doubt.rs` lowers the score in such cases.

use capture_format::{BootTime, ExitStatus, Header, Run, SignalOrigin};

use super::inside_signal::is_abort;
use super::phrase::says;
use super::words::{LastWords, Words, speaks_of_success};
use super::{Evidence, oom, outside_signal};
use crate::entity::names;
use crate::facts::output::{Fate, Line};
use crate::facts::process::Exit;
use crate::facts::{Facts, Process};
use crate::knowledge::Catalogue;
use crate::lexicon::lexicon;
use crate::losses::{Figure, figures, skipped_text};
use events::decode::Signal;
use events::decode::time::duration;

/// Whatever happens less than this time before the end, or before the last words, counts as right before it: 5 s, in
/// nanoseconds.
pub(super) const CLOSE: u64 = 5_000_000_000;

/// If SIGABRT is ignored, abort(3) goes on to a fault. This is the longest time between the two: 1 s, in nanoseconds; a
/// handler may run in between.
pub(super) const ABORTS: u64 = 1_000_000_000;

/// Fewer periods with a CPU limit than this say nothing.
const MIN_PERIODS: u64 = 20;

/// A run and what every rule needs to know about it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its facts.
    pub facts: &'a Facts,
    /// What the capture says about the container and its pod.
    pub header: &'a Header,
    /// What programs' messages mean.
    pub knowledge: &'a Catalogue,
    /// The first process, and so on down to the process whose end was handed on to it: see [`Facts::chain`].
    pub chain: Vec<&'a Process>,
    /// The last lines of the culprit, and of the processes that failed before it and after which nothing was started:
    /// these lines may say why the run ended.
    pub words: LastWords<'a>,
    /// The last lines of all processes.
    pub said: LastWords<'a>,
    /// How the end of the chain's last process became the end of the run.
    pub link: Link,
    /// For a run that ended well: the child that did the work and failed, if the run spoke of success after that.
    pub got_over: Option<&'a Process>,
}

/// The child that did the work and failed right before its parent ended as if nothing were wrong.
struct WorkedInVain<'a> {
    process: &'a Process,
    /// Whether the run spoke of success after that.
    got_over: bool,
}

/// How the end of a chain's last process became the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the first process itself, or its end was handed on from child to parent.
    Same,
    /// The run ended well although this process did not.
    Tolerated,
    /// Its parent ended with a code of its own, and mentioned the child's end.
    SpokenOf,
}

impl<'a> Case<'a> {
    /// Collects what the rules need to know about a run.
    #[must_use]
    pub fn new(facts: &'a Facts, run: &'a Run, header: &'a Header) -> Self {
        Self::with(facts, run, header, Catalogue::current())
    }

    /// Like [`Case::new`], with another catalogue than that of the process.
    #[must_use]
    pub(crate) fn with(
        facts: &'a Facts,
        run: &'a Run,
        header: &'a Header,
        knowledge: &'a Catalogue,
    ) -> Self {
        let mut chain = facts.chain();
        let ended_well = run.status == Some(ExitStatus::Code(0));
        let worked = ended_well.then(|| worked_in_vain(facts, &chain)).flatten();
        let tolerated = worked
            .as_ref()
            .filter(|worked| !worked.got_over)
            .map(|worked| worked.process);
        let spoken_of = spoken_of(facts, &chain);
        let link = match (tolerated, spoken_of) {
            (Some(_), _) => Link::Tolerated,
            (None, Some(_)) => Link::SpokenOf,
            (None, None) => Link::Same,
        };
        chain.extend(tolerated.or(spoken_of));
        let end = chain.last().and_then(|culprit| culprit.exit);
        let recent = |line: &&Line| end.is_none_or(|exit| exit.time.since(line.time) <= CLOSE);
        let lines = |process: &'a Process| {
            let lines = process.output.lines();
            lines.filter(|line| !facts.is_captured(line))
        };
        // What a process said before it became another program is not what that program said.
        let own = |process: &'a Process| {
            let executed = process.exec.as_ref().map_or(0, |exec| exec.event);
            lines(process).filter(move |line| line.event > executed)
        };
        let of_culprit = chain.last().copied().into_iter().flat_map(own);
        let failed = chain
            .last()
            .map(|culprit| facts.failed_last(culprit))
            .unwrap_or_default();
        let of_failed = failed.into_iter().flat_map(lines);
        // If a shell sent output where nobody can read it, that output did not matter to it.
        let of_failed = of_failed
            .filter(recent)
            .filter(|line| line.fate == Fate::Written);
        let mut words = LastWords::of(of_culprit.chain(of_failed));
        if words.is_empty() {
            words = LastWords::of(chain.iter().copied().flat_map(lines));
        }
        let in_chain = |process: &Process| chain.iter().any(|other| other.pid == process.pid);
        let of_application = facts
            .processes
            .iter()
            .filter(|process| !facts.is_visitor(process.pid));
        let said = of_application.flat_map(|process| {
            let in_chain = in_chain(process);
            lines(process).filter(move |line| in_chain || recent(line))
        });
        let said = LastWords::of(said);
        Self {
            run,
            facts,
            header,
            knowledge,
            chain,
            words,
            said,
            link,
            got_over: worked
                .filter(|worked| worked.got_over)
                .map(|worked| worked.process),
        }
    }

    /// Advice that fits the place: a container of a cluster or runtime, or a command that `lastword run` executes.
    #[must_use]
    pub(crate) fn advice(
        &self,
        container: impl Into<String>,
        command: impl Into<String>,
    ) -> String {
        match &*self.header.trigger.kind {
            "run" => command.into(),
            _ => container.into(),
        }
    }

    /// The process that ended the run: the last one of the chain.
    #[must_use]
    pub(crate) fn culprit(&self) -> Option<&'a Process> {
        self.chain.last().copied()
    }

    /// Whether a process belongs to the chain.
    #[must_use]
    pub fn in_chain(&self, pid: u32) -> bool {
        self.chain.iter().any(|process| process.pid == pid)
    }

    /// Whether a process belongs to the chain, or is a descendant of a process that does.
    #[must_use]
    pub(crate) fn below_chain(&self, pid: u32) -> bool {
        let Some(process) = self.facts.processes.get(pid) else {
            return false;
        };
        self.in_chain(pid)
            || self
                .facts
                .ancestors(process)
                .iter()
                .any(|other| self.in_chain(other.pid))
    }

    /// How the culprit ended. For the first process the status of the run is certain, because its parent waited for it.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        match self.chain[..] {
            [] => self.run.status,
            [init] => self.run.status.or(init.exit.map(|exit| exit.status)),
            [.., culprit] => culprit.exit.map(|exit| exit.status),
        }
    }

    /// The culprit's exit code, if it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.status()? {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal { .. } => None,
        }
    }

    /// `Some` if the culprit ended as programs do that give up: with a code other than 0, or by abort(3).
    #[must_use]
    pub(crate) fn gave_up(&self) -> Option<()> {
        let culprit = self.culprit().map(|culprit| culprit.pid);
        let aborted = |signal: Signal| {
            let sent = self.facts.signals.last(culprit?, Signal::ABRT)?;
            let close = self.end()?.since(sent.time) < ABORTS;
            (is_abort(sent) && (signal == Signal::ABRT || signal.is_fault() && close)).then_some(())
        };
        match self.signal() {
            Some(signal) => aborted(signal),
            None => self.exit_code().filter(|&code| code != 0).map(|_| ()),
        }
    }

    /// The signal that killed the culprit, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.status()? {
            ExitStatus::Signal { signal, .. } => Some(Signal(signal)),
            ExitStatus::Code(_) => None,
        }
    }

    /// When the culprit ended.
    #[must_use]
    pub fn end(&self) -> Option<BootTime> {
        self.exit().map(|exit| exit.time).or(self.run.end)
    }

    /// The culprit's exit, if recorded.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.culprit()?.exit
    }

    /// Why the command could not be started at all: the error that `lastword run` met, or what the runtime said
    /// according to Kubernetes.
    #[must_use]
    pub fn start_error(&self) -> Option<&'a str> {
        let told = self.run.terminated.as_ref().filter(|terminated| {
            matches!(&*terminated.reason, "StartError" | "ContainerCannotRun")
        });
        let error = self.run.start_error.as_ref();
        error.or(told.map(|told| &told.message)).map(String::as_str)
    }

    /// Whether the run is over, all of it was recorded, and its first process executed nothing: the runtime made that
    /// process and ended before the command was executed.
    #[must_use]
    pub fn never_executed(&self) -> bool {
        let losses = &self.run.losses;
        let is_whole = losses.lost == 0 && losses.overwritten == 0 && losses.torn == 0;
        let mut processes = self.facts.processes.iter();
        let executed = match self.facts.init() {
            Some(init) if self.run.init_pid != 0 => init.exec.is_some(),
            _ => processes.any(|process| process.exec.is_some()),
        };
        is_whole
            && self.facts.adopted.is_none()
            && self.run.end.is_some()
            && self.facts.events > 0
            && !executed
    }

    /// Name of the culprit: `nginx`, `python3 (started by sh)`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.chain[..] {
            [] => "the command".to_owned(),
            [init] => init.name(),
            // A child of a shell that has not executed anything.
            [init, .., culprit] if init.name() == culprit.name() && self.signal().is_none() => {
                culprit.name()
            }
            [init, .., culprit] => format!("{} (started by {})", culprit.name(), init.name()),
        }
    }

    /// `nginx exited 1, 41 ms after start`.
    #[must_use]
    pub fn ended(&self) -> String {
        let how = match self.status() {
            Some(status) => how(status),
            None if self.run.end.is_some() => "ended, nobody saw how".to_owned(),
            None => "was still running when the capture was taken".to_owned(),
        };
        let after = self.end_after_start();
        match self.chain[..] {
            [init, .., culprit] if self.link == Link::Tolerated => format!(
                "{} exited 0 although {} (pid {}) {how}{after}",
                init.name(),
                culprit.name(),
                culprit.pid
            ),
            _ => format!("{} {how}{after}", self.name()),
        }
    }

    /// The headline of the last words, if it was said right before the end: what was said long before does not explain
    /// a signal.
    #[must_use]
    pub(crate) fn recent_headline(&self) -> Option<&'a Line> {
        self.words
            .headline()
            .filter(|line| self.silent_after(line).is_none())
    }

    /// How long before the end nothing was said after this line, in nanoseconds, if that was long.
    #[must_use]
    pub(crate) fn silent_after(&self, line: &Line) -> Option<u64> {
        let silent = self.end()?.since(line.time);
        (silent > CLOSE).then_some(silent)
    }

    /// A line as the continuation of a sentence, with how long before the end it was said, if that was long: `; stderr:
    /// bad port`.
    #[must_use]
    pub fn cited(&self, line: &Line) -> String {
        match self.silent_after(line) {
            None => format!("; {}", line.cited()),
            Some(silent) => format!("; {} before that, {}", duration(silent), line.cited()),
        }
    }

    /// `, 41 ms after start`; empty if the end or the start is not known.
    #[must_use]
    pub(crate) fn end_after_start(&self) -> String {
        let after = self.end().and_then(|end| self.after_start(end));
        after.map_or_else(String::new, |after| format!(", {after}"))
    }

    /// A time as `41 ms after start`; `None` if the start is not known.
    #[must_use]
    pub(crate) fn after_start(&self, time: BootTime) -> Option<String> {
        let after = time.checked_since(self.started()?)?;
        Some(format!("{} after start", duration(after)))
    }

    /// When the run started. `None` if the recorder came later and nothing says when the run started: its start is then
    /// the time of the first recorded event.
    fn started(&self) -> Option<BootTime> {
        let start = self.run.start;
        let known = self.facts.adopted.is_none_or(|adopted| start < adopted);
        known.then_some(start)
    }

    /// The ends of the chain's processes, as evidence.
    #[must_use]
    pub(crate) fn exit_evidence(&self) -> Vec<Evidence> {
        let exit = |process: &&Process| {
            let exit = process.exit?;
            Some(Evidence::new(
                exit.event,
                exit.time,
                format!(
                    "{} (pid {}) {}",
                    process.name(),
                    process.pid,
                    how(exit.status)
                ),
            ))
        };
        self.chain.iter().filter_map(exit).collect()
    }

    /// A process that a signal killed right before the culprit ended: as the continuation of a sentence, and as
    /// evidence. The culprit may have ended because of that, or not.
    #[must_use]
    pub(crate) fn killed_before(&self) -> (String, Vec<Evidence>) {
        let failed = self
            .culprit()
            .map(|culprit| self.facts.failed_last(culprit));
        let killed = failed.into_iter().flatten().rev().find_map(|process| {
            let exit = process.exit?;
            match exit.status {
                ExitStatus::Signal { signal, .. } => Some((process, exit, Signal(signal))),
                ExitStatus::Code(_) => None,
            }
        });
        let Some((process, exit, signal)) = killed else {
            return (String::new(), Vec::new());
        };
        let (name, pid) = (process.name(), process.pid);
        let text = format!("{name} (pid {pid}) {}", how(exit.status));
        let mut evidence = vec![Evidence::new(exit.event, exit.time, text)];
        let sent = self.facts.signals.last(pid, signal);
        evidence.extend(sent.map(outside_signal::evidence));
        let victim = self
            .facts
            .oom_kills
            .iter()
            .rev()
            .find(|kill| kill.pid == pid);
        evidence.extend(victim.map(oom::evidence));
        let by = match (victim, sent) {
            (Some(_), _) => "was killed by the OOM killer".to_owned(),
            (None, Some(sent)) if sent.origin == Some(SignalOrigin::Outside) => format!(
                "was killed from outside the container, with {signal} from {}",
                sent.sender()
            ),
            _ => how(exit.status),
        };
        (format!("; before that {name} {by}"), evidence)
    }

    /// `its CPU limit held it back in 90 of 100 periods`, if it was held back in at least every other period.
    #[must_use]
    pub(crate) fn throttled(&self) -> Option<String> {
        let cpu = self.run.cpu.filter(|cpu| cpu.quota.is_some())?;
        let (periods, held) = (cpu.periods, cpu.throttled_periods);
        (periods >= MIN_PERIODS && held >= periods / 2)
            .then(|| format!("its CPU limit held it back in {held} of {periods} periods"))
    }

    /// The headline of the last words as evidence.
    #[must_use]
    pub(crate) fn words_evidence(&self) -> Vec<Evidence> {
        self.recent_headline()
            .map(Words::evidence)
            .into_iter()
            .collect()
    }

    /// What was never recorded, in words. It may have been anything, so it weakens every verdict.
    #[must_use]
    pub fn lost_events(&self) -> Option<String> {
        let lost = self.run.losses.lost;
        (lost > 0).then(|| {
            format!("{lost} events lost (never recorded): another failure may be among them")
        })
    }

    /// What is missing of the run's beginning, in words. Each lane of the ring keeps its newest events. So if an event
    /// is in the capture, all later events of its lane are, too. Only a verdict that would need older events is
    /// weakened.
    #[must_use]
    pub(crate) fn missing_beginning(&self) -> Vec<String> {
        let overwritten = self.run.losses.overwritten;
        let overwritten = (overwritten > 0).then(|| format!("{overwritten} older events overwritten by newer ones: what came before them is not known"));
        let unrecorded = self.facts.adopted.map(|adopted| {
            let from = self.after_start(adopted).map_or_else(
                || "recorded from when the agent came, some time after the start".to_owned(),
                |after| format!("recorded from {after} on, when the agent came"),
            );
            format!("{from}: what happened before is not known")
        });
        overwritten.into_iter().chain(unrecorded).collect()
    }

    /// If the container already ran when the recorder came: how long the recorded end of the run is, in nanoseconds.
    #[must_use]
    pub(crate) fn recorded_end(&self) -> Option<u64> {
        self.end()?.checked_since(self.facts.adopted?)
    }

    /// What else is missing according to the capture, in words. It weakens whatever depends on something *not* having
    /// happened.
    #[must_use]
    pub(crate) fn missing_events(&self) -> Vec<String> {
        let [_lost, _overwritten, others @ .., skipped] = figures(&self.run.losses);
        let told =
            |Figure { count, what, .. }: Figure| (count > 0).then(|| format!("{count} {what}"));
        let skipped = told(skipped).map(|text| match skipped_text(&self.run.skipped) {
            probes if probes.is_empty() => text,
            probes => format!("{text} ({probes})"),
        });
        others.into_iter().filter_map(told).chain(skipped).collect()
    }
}

/// Finds the child that did the work and failed: it lived longer than its siblings, and it said why it failed or was
/// stopped by a fault.
fn worked_in_vain<'a>(facts: &'a Facts, chain: &[&'a Process]) -> Option<WorkedInVain<'a>> {
    let [init] = chain else { return None };
    let end = init.exit?;
    let lived = |process: &Process| {
        let start = process
            .start
            .map_or(BootTime::default(), |start| start.time);
        process.exit.map_or(0, |exit| exit.time.since(start))
    };
    let failed = |process: &&Process| {
        let Some(exit) = process.exit else {
            return false;
        };
        let close = exit.event < end.event && end.time.since(exit.time) <= CLOSE;
        let said_why = || {
            let lines = process.output.lines();
            let words = LastWords::of(lines.filter(|line| !facts.is_captured(line)));
            words
                .complaint()
                .is_some_and(|line| exit.time.since(line.time) <= CLOSE)
        };
        close
            && match exit.status {
                ExitStatus::Code(0) => false,
                ExitStatus::Code(_) => said_why(),
                ExitStatus::Signal { signal, .. } => {
                    let signal = Signal(signal);
                    let oom = || facts.oom_kills.iter().any(|kill| kill.pid == process.pid);
                    signal.is_fault() || signal == Signal::ABRT || oom()
                }
            }
    };
    let below = |process: &&Process| {
        !facts.is_visitor(process.pid)
            && facts
                .ancestors(process)
                .iter()
                .any(|other| other.pid == init.pid)
    };
    let descendants: Vec<&Process> = facts.processes.iter().filter(below).collect();
    let culprit = descendants
        .iter()
        .copied()
        .filter(failed)
        .max_by_key(|process| process.exit.map(|exit| exit.event))?;
    let mut others = descendants.iter();
    // Processes that only wait for it live longer.
    let above = facts.ancestors(culprit);
    let longest = others.all(|other| {
        above.iter().any(|above| above.pid == other.pid) || lived(other) <= lived(culprit)
    });
    let end = culprit.exit?.event;
    let got_over = facts.processes.iter().any(|other| {
        let mut later = other.output.lines().filter(|line| line.event > end);
        later.any(|line| speaks_of_success(line.said()))
    });
    longest.then_some(WorkedInVain {
        process: culprit,
        got_over,
    })
}

/// The child that was stopped by a fault right before its parent gave up, and that its parent then mentioned.
fn spoken_of<'a>(facts: &'a Facts, chain: &[&'a Process]) -> Option<&'a Process> {
    let parent = chain.last()?;
    let end = parent
        .exit
        .filter(|exit| matches!(exit.status, ExitStatus::Code(1..)))?;
    let child = facts.failed_last(parent).pop()?;
    let exit = child.exit?;
    let ExitStatus::Signal { signal, .. } = exit.status else {
        return None;
    };
    let fault = Signal(signal).is_fault() || Signal(signal) == Signal::ABRT;
    let close = end.time.since(exit.time) <= CLOSE;
    let lines = parent.output.lines().filter(|line| line.event > exit.event);
    let words = LastWords::of(lines);
    let speaks = words.find(|text| {
        says(text, &lexicon().of_children.words)
            || names(text, &child.name())
            || names(text, &child.pid.to_string())
    });
    (fault && close && speaks.is_some()).then_some(child)
}

/// `exited 1`, `was killed by SIGSEGV (segmentation fault)`.
pub fn how(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited {code}"),
        ExitStatus::Signal { signal, .. } => {
            let signal = Signal(signal);
            match signal.meaning() {
                Some(meaning) => format!("was killed by {signal} ({meaning})"),
                None => format!("was killed by {signal}"),
            }
        }
    }
}
