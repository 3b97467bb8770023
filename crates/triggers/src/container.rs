//! What is known about one container, and whether it is worth a capture.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Attempt, Captured, Ended, Observation, Rules, Time, Why, captures::Captures, history::History,
    judge::Plan,
};

/// How long to wait before a run that has ended is judged, because its pod may turn out to be deleted.
const CRASH_DELAY: Duration = Duration::from_millis(500);
/// How long to wait before a failed capture is tried again; the delay doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// Times of Kubernetes' events are in whole seconds.
const SECOND: Duration = Duration::from_secs(1);
/// How long it takes to stop the containers of a pod, if only the end of that was reported: a grace period and some
/// seconds.
const STOPPING: Duration = Duration::from_secs(40);

#[derive(Debug, Default)]
pub(crate) struct Container {
    pub(crate) history: History,
    /// The newest recorded runs that have ended, at most as many as a capture holds.
    pub(crate) ended: BTreeMap<u32, Run>,
    /// What is known about the end of a run whose record has not come yet.
    explained: Option<Ended>,
    /// When the kubelet last delayed a restart in this loop.
    pub(crate) backed_off: Option<Time>,
    /// The kubelet killed a run whose end has not come yet.
    killed: Option<(Time, Why)>,
    /// The captures of this loop.
    pub(crate) captures: Captures,
    /// The newest run that is in a capture.
    pub(crate) captured_through: u32,
    /// When all containers of its pod were last restarted together.
    pub(crate) restarted: Option<Restarted>,
    /// The newest run that has been judged.
    pub(crate) judged_through: u32,
    pub(crate) look: Option<Look>,
    attempt: Option<InFlight>,
    failures: u32,
    /// No capture is tried before this time, because the last one failed.
    not_before: Time,
    pub(crate) touched: Time,
}

/// A recorded run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: Ended,
    at: Time,
    pub(crate) killed: Option<Why>,
}

/// Something has happened that may trip a trigger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    due: Time,
    /// When it happened. Windows of time end there.
    pub(crate) at: Time,
    pub(crate) started: bool,
    pub(crate) backed_off: bool,
    pub(crate) not_ready: bool,
}

#[derive(Debug)]
struct InFlight {
    attempt: Attempt,
    plan: Plan,
    look: Look,
    complete: bool,
    judged_before: u32,
}

/// When the kubelet restarted all containers of a pod, according to the pod's condition, whose times are in whole
/// seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarted {
    since: Time,
    until: Option<Time>,
}

impl Restarted {
    pub(crate) fn since(since: Time) -> Self {
        Self { since, until: None }
    }

    /// The restart was over at this time. Its beginning may not have been reported.
    pub(crate) fn until(before: Option<Self>, until: Time) -> Self {
        match before {
            Some(Self {
                since,
                until: known,
            }) if known.is_none_or(|known| known == until) => Self {
                since,
                until: Some(until),
            },
            _ => Self {
                since: Time(until.0.saturating_sub(STOPPING.as_nanos() as u64)),
                until: Some(until),
            },
        }
    }

    fn holds(self, at: Time) -> bool {
        at + SECOND >= self.since && self.until.is_none_or(|until| at <= until + SECOND * 2)
    }
}

impl Run {
    /// Whether the kubelet stopped the run to restart the whole pod, with changes that somebody made, or because its pod
    /// was done.
    pub(crate) fn was_meant(&self, restarted: Option<Restarted>) -> bool {
        let with_pod = restarted.is_some_and(|restarted| restarted.holds(self.at));
        let meant = match self.killed {
            Some(Why::Changed | Why::PodDone) => true,
            Some(Why::LivenessProbe | Why::StartupProbe) => false,
            None => with_pod,
        };
        meant && self.end.stopped && !self.end.oom_killed
    }

    /// Adds further knowledge about the end of the run. Returns whether anything is new.
    fn add(&mut self, end: Ended) -> bool {
        let Ended {
            run,
            status,
            oom_killed,
            start_failed,
            stopped,
            cause,
        } = end;
        let merged = Ended {
            run,
            status: self.end.status.or(status),
            oom_killed: self.end.oom_killed || oom_killed,
            start_failed: self.end.start_failed || start_failed,
            stopped: self.end.stopped || stopped,
            cause: self.end.cause.clone().or(cause),
        };
        let new = merged != self.end;
        self.end = merged;
        new
    }
}

impl Container {
    /// Takes in what happened. [`Self::plan`] says whether it trips something when it is [`Self::due`]. `keep` is
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
                } else {
                    self.explained = Some(end);
                }
            }
            Observation::BackedOff => {
                let oldest = self.ended.values().next();
                if oldest.is_none_or(|run| at + SECOND >= run.at) {
                    self.backed_off = self.backed_off.max(Some(at));
                    self.look(at, at).backed_off = true;
                }
            }
            Observation::Killed(why) => self.killed(at, why),
            Observation::NotReady => {
                if let Some(run) = self.history.newest() {
                    self.calm(at, run, rules);
                }
                self.look(at, at + CRASH_DELAY).not_ready = true;
            }
            Observation::CaptureFound(captured) => {
                self.captured_through = self.captured_through.max(captured.last_run);
                let complete = captured.runs >= keep;
                self.captures.add(captured, [], complete);
            }
            Observation::CaptureDeleted { id } => {
                self.captures.remove(&id);
            }
            // The machine itself handles these.
            Observation::Named { .. } | Observation::Gone => {}
        }
    }

    fn ended(&mut self, at: Time, end: Ended, rules: &Rules, keep: usize) {
        let number = end.run;
        let news = match self.ended.get_mut(&number) {
            Some(run) => run.add(end),
            None => {
                self.add_run(at, end, rules, keep);
                true
            }
        };
        if news {
            self.judge_again(at, number);
        }
    }

    fn add_run(&mut self, at: Time, end: Ended, rules: &Rules, keep: usize) {
        let number = end.run;
        self.history.reached(number, None, None);
        self.calm(at, number, rules);
        let start = self.history.start_of(number);
        let mut run = Run {
            end,
            at,
            killed: self
                .killed
                .take_if(|(killed, _)| start.is_none_or(|start| *killed + SECOND >= start))
                .map(|(_, why)| why),
        };
        if let Some(explained) = self.explained.take_if(|explained| explained.run == number) {
            run.add(explained);
        }
        if let Some(backed_off) = self.backed_off.filter(|backed_off| *backed_off >= at) {
            self.look(backed_off, at + CRASH_DELAY).backed_off = true;
        }
        self.ended.insert(number, run);
        self.trim(keep);
    }

    fn trim(&mut self, keep: usize) {
        while self.ended.len() > keep.max(1) {
            self.ended.pop_first();
        }
    }

    fn killed(&mut self, at: Time, why: Why) {
        let history = &self.history;
        let run = self.ended.iter_mut().rev().find(|(number, run)| {
            let start = history.start_of(**number);
            run.at + SECOND >= at && start.is_none_or(|start| at + SECOND >= start)
        });
        match run {
            Some((number, run)) => {
                let number = *number;
                run.killed = Some(why);
                self.judge_again(at, number);
            }
            None => {
                let newest_end = self.ended.values().map(|run| run.at).max();
                if newest_end.is_none_or(|end| at >= end) {
                    self.killed = Some((at, why));
                }
            }
        }
    }

    fn judge_again(&mut self, at: Time, run: u32) {
        self.judged_through = self.judged_through.min(run.saturating_sub(1));
        self.look(at, at + CRASH_DELAY);
    }

    /// Ends the loop if this run, which lives or has ended at `at`, has lasted long enough.
    fn calm(&mut self, at: Time, run: u32, rules: &Rules) {
        let Some(start) = self.history.start_of(run) else {
            return;
        };
        if at.since(start) >= rules.cool_down {
            self.backed_off = None;
            self.captures.forget(at, rules.cool_down);
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

    /// Drops everything that might have tripped something, because the container is switched off.
    pub(crate) fn ignore(&mut self) {
        self.look = None;
        self.judged_through = self.newest_ended();
    }

    fn newest_ended(&self) -> u32 {
        self.ended.last_key_value().map_or(0, |(run, _)| *run)
    }

    /// Notes that everything so far has been judged.
    pub(crate) fn judged(&mut self) {
        self.look = None;
        self.judged_through = self.newest_ended();
    }

    /// Notes that a capture is being taken.
    pub(crate) fn begin(&mut self, attempt: Attempt, plan: Plan, keep: usize) {
        self.attempt = self.look.map(|look| InFlight {
            attempt,
            plan,
            look,
            complete: self.ended.len() >= keep,
            judged_before: self.judged_through,
        });
        self.judged();
    }

    /// Whether this attempt is for this container.
    pub(crate) fn has(&self, attempt: Attempt) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|in_flight| in_flight.attempt == attempt)
    }

    /// Notes that the attempt led to this capture.
    pub(crate) fn captured(&mut self, captured: Captured, keep: usize) {
        let Some(InFlight { plan, complete, .. }) = self.attempt.take() else {
            return;
        };
        self.failures = 0;
        let mut causes = vec![plan.cause];
        causes.extend(plan.replaces.iter().flat_map(|id| self.captures.remove(id)));
        self.captured_through = self.captured_through.max(captured.last_run).max(plan.run);
        let complete = complete || captured.runs >= keep;
        self.captures.add(captured, causes, complete);
    }

    /// Notes that the attempt failed: it is repeated after a while.
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

    /// Takes over what was known under another subject, whose latest run has the number `run` here.
    pub(crate) fn merge(&mut self, other: Self, run: u32, keep: usize) {
        let Self {
            history,
            ended,
            explained,
            backed_off,
            killed,
            captures,
            captured_through,
            restarted: _,
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
        self.trim(keep);
        if let Some(mut explained) = explained {
            explained.run = explained.run.saturating_add(offset);
            self.explained = Some(explained);
        }
        self.backed_off = self.backed_off.max(backed_off);
        self.killed = killed.or(self.killed.take());
        self.captures.append(captures);
        if captured_through > 0 {
            self.captured_through = self
                .captured_through
                .max(captured_through.saturating_add(offset));
        }
        if let Some(look) = look {
            self.look_again(look);
        }
        if let Some(mut attempt) = attempt {
            if attempt.plan.run > 0 {
                attempt.plan.run = attempt.plan.run.saturating_add(offset);
            }
            attempt.judged_before = attempt.judged_before.saturating_add(offset);
            self.attempt = Some(attempt);
        }
        self.failures = self.failures.max(failures);
        self.not_before = self.not_before.max(not_before);
        self.touched = self.touched.max(touched);
    }
}
