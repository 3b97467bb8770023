//! What is known of one container, and whether that is worth a capture.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Attempt, Captured, Ended, Kind, Observation, Probe, RestartRule, Rules, Signal, Time, Trigger,
    history::History,
};

/// How long a run that has ended waits to be judged, as its pod may turn out to be deleted.
const CRASH_DELAY: Duration = Duration::from_millis(500);
/// The delay before a capture that failed is tried again; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// Causes of one loop that are captured.
const MOST_CAUSES: usize = 8;
/// Kubernetes' event times have whole seconds.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Container {
    history: History,
    /// The newest recorded runs that have ended, as many as a capture holds.
    ended: BTreeMap<u32, Run>,
    /// The kubelet has delayed a restart in this loop.
    backed_off: bool,
    /// A probe killed a run whose end is not known yet.
    killed: Option<(Time, Probe)>,
    /// The captures of this loop.
    captures: Vec<Known>,
    /// The newest run that stands in a capture.
    captured_through: u32,
    /// The newest run that has been judged.
    judged_through: u32,
    look: Option<Look>,
    attempt: Option<InFlight>,
    failures: u32,
    /// Until then no capture is tried, since the last one failed.
    not_before: Time,
    pub(crate) touched: Time,
}

#[derive(Debug)]
struct Run {
    end: Ended,
    at: Time,
    killed_by: Option<Probe>,
}

#[derive(Debug)]
struct Known {
    id: String,
    at: Time,
    /// What it was decided for, what its verdict says, and what those said that it has replaced.
    causes: Vec<Option<String>>,
    /// Nothing better can be had: it holds as many runs as a capture can, or was taken when there were as many.
    complete: bool,
}

/// Something has happened that may trip a trigger.
#[derive(Clone, Copy, Debug)]
struct Look {
    due: Time,
    /// When it happened: where windows end.
    at: Time,
    started: bool,
    backed_off: bool,
    not_ready: bool,
}

#[derive(Debug)]
struct InFlight {
    attempt: Attempt,
    look: Look,
    cause: Option<String>,
    run: u32,
    complete: bool,
    replaces: Option<String>,
    judged_before: u32,
}

/// A capture to take.
pub(crate) struct Plan {
    pub(crate) trigger: Trigger,
    pub(crate) replaces: Option<String>,
    cause: Option<String>,
    run: u32,
}

impl Run {
    fn is_crash(&self) -> bool {
        let bad_status = self.end.status.is_some_and(|status| status.code() != 0);
        bad_status || self.end.oom_killed || self.end.start_failed
    }
}

impl Known {
    fn shows(&self, cause: Option<&str>) -> bool {
        self.causes.iter().any(|known| known.as_deref() == cause)
    }
}

impl Container {
    /// Takes in what happened; whether it trips something is said by [`Self::plan`] when it is [`Self::due`]. `keep` is
    /// [`Config::keep`](crate::Config::keep).
    pub(crate) fn observe(
        &mut self,
        at: Time,
        observation: Observation,
        rules: &Rules,
        keep: usize,
    ) {
        match observation {
            Observation::Started { run } => {
                let before = self.history.newest();
                if self.history.started(run, at) {
                    self.ended.clear();
                    (self.captured_through, self.judged_through) = (0, 0);
                }
                if self.history.newest() != before {
                    self.look(at, at).started = true;
                }
            }
            Observation::RestartCount { count, since, last } => {
                let before = self.history.newest();
                self.history.reached(count.saturating_add(1), since, last);
                if self.history.newest() != before {
                    self.look(at, at).started = true;
                }
            }
            Observation::Ended(end) => self.ended(at, end, rules, keep),
            Observation::EndExplained(end) => {
                if self.ended.contains_key(&end.run) {
                    self.ended(at, end, rules, keep);
                }
            }
            Observation::BackedOff => {
                let oldest = self.ended.values().next();
                if oldest.is_none_or(|run| at + SECOND >= run.at) {
                    self.backed_off = true;
                    self.look(at, at).backed_off = true;
                }
            }
            Observation::KilledByProbe(probe) => self.killed(at, probe),
            Observation::NotReady => {
                if let Some(run) = self.history.newest() {
                    self.calm(at, run, rules);
                }
                self.look(at, at + CRASH_DELAY).not_ready = true;
            }
            Observation::CaptureFound(captured) => {
                let complete = captured.runs >= keep;
                self.know(captured, Vec::new(), complete);
            }
            Observation::CaptureDeleted { id } => self.captures.retain(|known| known.id != id),
            // The machine's.
            Observation::Named { .. } | Observation::Gone => {}
        }
    }

    fn ended(&mut self, at: Time, end: Ended, rules: &Rules, keep: usize) {
        let number = end.run;
        if let Some(run) = self.ended.get_mut(&number) {
            let merged = Ended {
                run: number,
                status: run.end.status.or(end.status),
                oom_killed: run.end.oom_killed || end.oom_killed,
                start_failed: run.end.start_failed || end.start_failed,
                cause: run.end.cause.take().or(end.cause),
            };
            run.end = merged;
        } else {
            self.history.reached(number, None, None);
            self.calm(at, number, rules);
            let start = self.history.start_of(number);
            let killed_by = self
                .killed
                .take()
                .filter(|(killed, _)| start.is_none_or(|start| *killed + SECOND >= start))
                .map(|(_, probe)| probe);
            self.ended.insert(number, Run { end, at, killed_by });
            while self.ended.len() > keep.max(1) {
                self.ended.pop_first();
            }
        }
        self.judge_again(at, number);
    }

    fn killed(&mut self, at: Time, probe: Probe) {
        let history = &self.history;
        let run = self.ended.iter_mut().rev().find(|(number, run)| {
            let start = history.start_of(**number);
            run.at + SECOND >= at && start.is_none_or(|start| at + SECOND >= start)
        });
        match run {
            Some((number, run)) => {
                let number = *number;
                run.killed_by = Some(probe);
                self.judge_again(at, number);
            }
            None => {
                let newest_end = self.ended.values().map(|run| run.at).max();
                if newest_end.is_none_or(|end| at >= end) {
                    self.killed = Some((at, probe));
                }
            }
        }
    }

    fn judge_again(&mut self, at: Time, run: u32) {
        self.judged_through = self.judged_through.min(run.saturating_sub(1));
        self.look(at, at + CRASH_DELAY);
    }

    /// Ends the loop if this run, which lives or has ended at `at`, has lasted for so long.
    fn calm(&mut self, at: Time, run: u32, rules: &Rules) {
        let Some(start) = self.history.start_of(run) else {
            return;
        };
        if at.since(start) >= rules.cool_down {
            self.backed_off = false;
            self.captures
                .retain(|known| at.since(known.at) < rules.cool_down);
        }
    }

    fn look(&mut self, at: Time, due: Time) -> &mut Look {
        let look = self.look.get_or_insert(Look {
            due,
            at,
            started: false,
            backed_off: false,
            not_ready: false,
        });
        look.due = look.due.min(due);
        look.at = look.at.max(at);
        look
    }

    /// When [`Self::plan`] has something to judge.
    pub(crate) fn due(&self) -> Option<Time> {
        match self.attempt {
            None => self.look.map(|look| look.due.max(self.not_before)),
            Some(_) => None,
        }
    }

    /// Drops what might have tripped something: the container is off.
    pub(crate) fn ignore(&mut self) {
        self.look = None;
        self.judged_through = self.newest_ended();
    }

    fn newest_ended(&self) -> u32 {
        self.ended.last_key_value().map_or(0, |(run, _)| *run)
    }

    /// Judges what has happened since the last time.
    pub(crate) fn plan(&self, rules: &Rules, keep: usize) -> Option<Plan> {
        let look = self.look?;
        let of_runs = self
            .ended
            .iter()
            .filter(|(number, _)| **number > self.judged_through.max(self.captured_through))
            .flat_map(|(number, run)| {
                of_run(run, rules)
                    .into_iter()
                    .map(move |trigger| (trigger, *number, run.end.cause.clone()))
            });
        let newest = self
            .ended
            .last_key_value()
            .filter(|(number, _)| **number > self.captured_through);
        let of_loop = newest.into_iter().flat_map(|(number, run)| {
            self.of_loop(look, run, rules)
                .into_iter()
                .map(move |trigger| (trigger, *number, run.end.cause.clone()))
        });
        let not_ready =
            (look.not_ready && rules.readiness && self.captures.is_empty()).then(|| {
                let trigger = Trigger {
                    kind: Kind::Readiness,
                    detail: "its readiness probe failed".to_owned(),
                };
                (trigger, 0, None)
            });
        of_runs
            .chain(of_loop)
            .chain(not_ready)
            .filter_map(|(trigger, run, cause)| {
                let replaces = self.warrant(trigger.kind, cause.as_deref(), keep)?;
                Some(Plan {
                    trigger,
                    replaces,
                    cause,
                    run,
                })
            })
            .max_by_key(|plan| (plan.trigger.kind, plan.run))
    }

    /// Triggers that the loop trips, whose newest run is given.
    fn of_loop(&self, look: Look, newest: &Run, rules: &Rules) -> Vec<Trigger> {
        let crash = newest.end.run > self.judged_through && newest.is_crash();
        let mut triggers = Vec::new();
        if look.started || crash {
            triggers.extend(rules.restarts.iter().filter_map(|rule| {
                let RestartRule { more_than, within } = *rule;
                let restarts = self.history.restarts(look.at, within);
                let within = humantime::format_duration(within);
                (restarts > more_than).then(|| Trigger {
                    kind: Kind::Restarts,
                    detail: format!("{restarts} restarts within {within}, more than {more_than}"),
                })
            }));
        }
        if rules.crash_loop_back_off && (look.backed_off || crash && self.backed_off) {
            triggers.push(Trigger {
                kind: Kind::CrashLoopBackOff,
                detail: "the kubelet delays its restarts (CrashLoopBackOff)".to_owned(),
            });
        }
        triggers
    }

    /// Whether a capture for this cause is worth it: `Some(None)` for a new one, `Some(Some(id))` for one that replaces another.
    fn warrant(&self, kind: Kind, cause: Option<&str>, keep: usize) -> Option<Option<String>> {
        match self.captures.iter().rev().find(|known| known.shows(cause)) {
            // An unknown cause is no news, and is no reason to replace a capture that shows one.
            None => {
                let news = self.captures.is_empty()
                    || cause.is_some() && self.captures.len() < MOST_CAUSES;
                news.then_some(None)
            }
            Some(known) => {
                let better =
                    !known.complete && self.ended.len() >= keep && kind != Kind::FirstCrash;
                better.then(|| Some(known.id.clone()))
            }
        }
    }

    /// Everything there is has been judged.
    pub(crate) fn judged(&mut self) {
        self.look = None;
        self.judged_through = self.newest_ended();
    }

    /// A capture is being taken.
    pub(crate) fn begin(&mut self, attempt: Attempt, plan: &Plan, keep: usize) {
        let judged_before = self.judged_through;
        if let Some(look) = self.look {
            self.attempt = Some(InFlight {
                attempt,
                look,
                cause: plan.cause.clone(),
                run: plan.run,
                complete: self.ended.len() >= keep,
                replaces: plan.replaces.clone(),
                judged_before,
            });
        }
        self.judged();
    }

    /// Whether this attempt is for this container.
    pub(crate) fn has(&self, attempt: Attempt) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|in_flight| in_flight.attempt == attempt)
    }

    /// The attempt led to this capture.
    pub(crate) fn captured(&mut self, mut captured: Captured, keep: usize) {
        let Some(in_flight) = self.attempt.take() else {
            return;
        };
        self.failures = 0;
        let replaced = self
            .captures
            .extract_if(.., |known| Some(&known.id) == in_flight.replaces.as_ref());
        let mut causes: Vec<_> = replaced.flat_map(|known| known.causes).collect();
        causes.push(in_flight.cause);
        captured.last_run = captured.last_run.max(in_flight.run);
        let complete = in_flight.complete || captured.runs >= keep;
        self.know(captured, causes, complete);
    }

    fn know(&mut self, captured: Captured, mut causes: Vec<Option<String>>, complete: bool) {
        let Captured {
            id,
            at,
            cause,
            runs: _,
            last_run,
        } = captured;
        causes.push(cause);
        self.captured_through = self.captured_through.max(last_run);
        self.captures.retain(|known| known.id != id);
        self.captures.push(Known {
            id,
            at,
            causes,
            complete,
        });
    }

    /// The attempt failed: it is made again after a while.
    pub(crate) fn failed(&mut self, now: Time) {
        let Some(in_flight) = self.attempt.take() else {
            return;
        };
        let factor = 1 << self.failures.min(8);
        self.failures += 1;
        self.judged_through = self.judged_through.min(in_flight.judged_before);
        self.not_before = now + (FIRST_RETRY * factor).min(LONGEST_RETRY);
        self.look_again(in_flight.look);
    }

    fn look_again(&mut self, old: Look) {
        let look = self.look(old.at, old.due);
        look.started |= old.started;
        look.backed_off |= old.backed_off;
        look.not_ready |= old.not_ready;
    }

    /// Takes over what was known under another subject, whose latest run is number `run` of this one.
    pub(crate) fn merge(&mut self, other: Self, run: u32, keep: usize) {
        let Self {
            history,
            ended,
            backed_off,
            killed,
            captures,
            captured_through,
            judged_through,
            look,
            attempt,
            failures,
            not_before,
            touched,
        } = other;
        let latest = history.newest().unwrap_or(1);
        let offset = run.saturating_sub(latest);
        self.history.merge(&history, offset);
        self.history.reached(run, None, None);
        let unjudged = ended.keys().find(|number| **number > judged_through);
        if let Some(number) = unjudged {
            let number = number.saturating_add(offset);
            self.judged_through = self.judged_through.min(number.saturating_sub(1));
        }
        for (number, mut run) in ended {
            let number = number.saturating_add(offset);
            run.end.run = number;
            self.ended.entry(number).or_insert(run);
        }
        while self.ended.len() > keep.max(1) {
            self.ended.pop_first();
        }
        self.backed_off |= backed_off;
        self.killed = killed.or(self.killed.take());
        self.captures.extend(captures);
        if captured_through > 0 {
            self.captured_through = self
                .captured_through
                .max(captured_through.saturating_add(offset));
        }
        if let Some(look) = look {
            self.look_again(look);
        }
        if let Some(mut attempt) = attempt {
            attempt.run = attempt.run.saturating_add(offset);
            attempt.judged_before = attempt.judged_before.saturating_add(offset);
            self.attempt = Some(attempt);
        }
        self.failures = self.failures.max(failures);
        self.not_before = self.not_before.max(not_before);
        self.touched = self.touched.max(touched);
    }
}

/// Triggers that one ended run trips by itself.
fn of_run(run: &Run, rules: &Rules) -> Vec<Trigger> {
    let Ended {
        status,
        oom_killed,
        start_failed,
        ..
    } = run.end;
    let mut triggers = Vec::new();
    let mut trip = |kind, detail| triggers.push(Trigger { kind, detail });
    let code = status.map(|status| status.code());
    let how = || match status {
        _ if start_failed => "its command could not be started".to_owned(),
        Some(crate::ExitStatus::Signal(number)) => match Signal::from_number(number) {
            Some(signal) => format!("killed by {signal}"),
            None => format!("killed by signal {number}"),
        },
        Some(crate::ExitStatus::Code(code)) => format!("exited with code {code}"),
        None => "ended".to_owned(),
    };
    if rules.first_crash && run.is_crash() {
        trip(Kind::FirstCrash, format!("first crash: {}", how()));
    }
    if code.is_some_and(|code| rules.exit_codes.contains(&code)) {
        trip(Kind::ExitCode, how());
    }
    if let Some(signal) = rules
        .signals
        .iter()
        .find(|signal| code == Some(signal.number().saturating_add(128)))
    {
        trip(Kind::Signal, format!("killed by {signal}"));
    }
    if let (true, Some(probe)) = (rules.liveness, run.killed_by) {
        let probe = match probe {
            Probe::Liveness => "liveness",
            Probe::Startup => "startup",
        };
        trip(
            Kind::Liveness,
            format!("killed by the kubelet: its {probe} probe failed"),
        );
    }
    if rules.oom_killed && oom_killed {
        trip(Kind::OomKilled, "killed by the OOM killer".to_owned());
    }
    triggers
}
