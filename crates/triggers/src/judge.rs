//! Decides which triggers a container trips, from what is known about it.

use crate::{
    Ended, ExitStatus, Kind, RestartRule, Rules, Signal, Tripped, Why,
    captures::Worth,
    container::{Container, Look, Run},
};

/// A capture to take.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) trigger: Tripped,
    pub(crate) replaces: Option<String>,
    /// The cause of the run for which it is taken.
    pub(crate) cause: Option<String>,
    /// The number of that run; 0 if no run has ended.
    pub(crate) run: u32,
}

impl Run {
    fn is_crash(&self) -> bool {
        let bad_status = self.end.status.is_some_and(|status| status.code() != 0);
        bad_status || self.end.oom_killed || self.end.start_failed
    }

    /// How the run ended, for people.
    fn how(&self) -> String {
        match self.end.status {
            _ if self.end.start_failed => "its command could not be started".to_owned(),
            Some(ExitStatus::Signal(number)) => match Signal::from_number(number) {
                Some(signal) => format!("killed by {signal}"),
                None => format!("killed by signal {number}"),
            },
            Some(ExitStatus::Code(code)) => format!("exited with code {code}"),
            None => "ended".to_owned(),
        }
    }

    /// The triggers that this run trips by itself.
    fn trips(&self, rules: &Rules) -> Vec<Tripped> {
        let Ended {
            status, oom_killed, ..
        } = self.end;
        let mut triggers = Vec::new();
        let mut trip = |kind, detail| triggers.push(Tripped { kind, detail });
        let code = status.map(ExitStatus::code);
        if rules.first_crash && self.is_crash() {
            trip(Kind::FirstCrash, format!("first crash: {}", self.how()));
        }
        if code.is_some_and(|code| rules.exit_codes.contains(&code)) {
            trip(Kind::ExitCode, self.how());
        }
        let is_code = |signal: &&Signal| code == Some(signal.number().saturating_add(128));
        if let Some(signal) = rules.signals.iter().find(is_code) {
            trip(Kind::Signal, format!("killed by {signal}"));
        }
        let probe = match self.killed {
            Some(Why::LivenessProbe) => Some("liveness"),
            Some(Why::StartupProbe) => Some("startup"),
            Some(Why::Changed | Why::PodDone) | None => None,
        };
        if let (true, Some(probe)) = (rules.liveness, probe) {
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
}

impl Container {
    /// Judges what has happened since the last time. Of all triggers that trip and are worth a capture, it chooses the
    /// one with the highest rank, for the newest run.
    pub(crate) fn plan(&self, rules: &Rules, keep: usize) -> Option<Plan> {
        let look = self.look?;
        let full = self.ended.len() >= keep;
        let of_runs = self
            .ended
            .values()
            .filter(|run| run.end.run > self.judged_through.max(self.captured_through))
            .filter(|run| !run.was_meant(self.restarted))
            .flat_map(|run| {
                run.trips(rules)
                    .into_iter()
                    .map(move |trip| (trip, Some(run)))
            });
        let newest = self
            .ended
            .values()
            .next_back()
            .filter(|run| run.end.run > self.captured_through);
        let of_loop = newest.into_iter().flat_map(|run| {
            let trips = self.loop_trips(look, run, rules).into_iter();
            trips.map(move |trip| (trip, Some(run)))
        });
        let not_ready = look.not_ready && rules.readiness && self.captures.is_empty();
        let not_ready = not_ready.then(|| {
            let trigger = Tripped {
                kind: Kind::Readiness,
                detail: "its readiness probe failed".to_owned(),
            };
            (trigger, None)
        });
        of_runs
            .chain(of_loop)
            .chain(not_ready)
            .filter_map(|(trigger, run)| {
                let cause = run.and_then(|run| run.end.cause.clone());
                // A crash counts as a first one only if its cause is new.
                let fuller = full && trigger.kind != Kind::FirstCrash;
                let replaces = match self.captures.worth(cause.as_deref(), fuller) {
                    Worth::New => None,
                    Worth::Replaces(id) => Some(id),
                    Worth::Nothing => return None,
                };
                Some(Plan {
                    trigger,
                    replaces,
                    cause,
                    run: run.map_or(0, |run| run.end.run),
                })
            })
            .max_by_key(|plan| (plan.trigger.kind, plan.run))
    }

    /// The triggers that the loop trips; `newest` is its newest run.
    fn loop_trips(&self, look: Look, newest: &Run, rules: &Rules) -> Vec<Tripped> {
        let crash = newest.end.run > self.judged_through && newest.is_crash();
        let mut triggers = Vec::new();
        // Whenever one container of the pod fails, init containers run again and other containers are stopped.
        let with_pod = self.restarted.is_some() && !newest.is_crash();
        if with_pod || newest.was_meant(self.restarted) {
            return triggers;
        }
        if look.started || crash {
            triggers.extend(rules.restarts.iter().filter_map(|rule| {
                let RestartRule { more_than, within } = *rule;
                let restarts = self.history.restarts(look.at, within);
                let within = humantime::format_duration(within);
                (restarts > more_than).then(|| Tripped {
                    kind: Kind::Restarts,
                    detail: format!("{restarts} restarts within {within}, more than {more_than}"),
                })
            }));
        }
        let backed_off = look.backed_off || crash && self.backed_off.is_some();
        if rules.crash_loop_back_off && backed_off {
            triggers.push(Tripped {
                kind: Kind::CrashLoopBackOff,
                detail: "the kubelet delays its restarts (CrashLoopBackOff)".to_owned(),
            });
        }
        triggers
    }
}
