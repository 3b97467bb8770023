//! Leads: what may be why a run ended, where nothing that was recorded is sure to be.
//!
//! A *trouble* is something that went wrong in a run: a failed call, a name that does not resolve, a connection that
//! failed, a child that ended badly, the configuration that was read last. Most troubles end no program, and a wrong
//! lead costs a reader more than none. So a trouble needs *signs* that connect it with the end: what the last words,
//! the command line or a configuration name; what went wrong last; an error after which few programs carry on; what all
//! runs that ended alike share, and a run that lived longer does not. [`Sign::weight`] says how much each counts, and a
//! trouble is a lead if its signs together weigh [`ENOUGH`].
//!
//! Noise ([`is_noise`](crate::facts::is_noise)) is no trouble.

use std::fmt;

use capture_format::BootTime;
use serde::Serialize;

use crate::entity::{alike, normal};
use crate::rules::{Band, Case, Cause, Evidence, Verdict};

mod search;
mod sign;

use search::Search;
use sign::Sign;

/// How many leads a run has.
const MAX_LEADS: usize = 3;
/// How many troubles of a run are kept: the last ones. Each is compared with those of the other runs.
const MAX_TROUBLES: usize = 64;
/// How much the signs of a lead weigh at least.
pub(crate) const ENOUGH: i32 = 4;
/// A run lived longer than another one if it lived at least this many times as long.
const LONGER: u64 = 3;

/// The kind of trouble that a configuration may be.
const READ: &str = "read";
/// Something that may be why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lead {
    /// What went wrong, escaped: `openat /etc/ldap/app.conf: ENOENT (No such file or directory)`.
    pub what: String,
    /// What speaks for it: `it is on the command line; nothing else went wrong after it`.
    pub why: String,
    /// The events that show it, in order.
    pub evidence: Vec<Evidence>,
}

/// `openat /etc/ldap/app.conf: ENOENT (No such file or directory): it is on the command line`.
impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Something that went wrong in a run.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What kind of trouble it is: `OPENAT ENOENT`.
    kind: String,
    /// What it was about: a path, an address, a host, a process; escaped.
    about: String,
    /// The same without what is different each time.
    normal: String,
    /// The trouble in words, escaped.
    what: String,
    /// Number and time of the last event.
    event: u64,
    time: BootTime,
    evidence: Vec<Evidence>,
    signs: Vec<Sign>,
}

impl Trouble {
    fn new(kind: String, about: String, what: String, evidence: Vec<Evidence>) -> Option<Self> {
        let last = evidence.last()?;
        Some(Self {
            normal: normal(&about),
            kind,
            about,
            what,
            event: last.event,
            time: last.time(),
            evidence,
            signs: Vec::new(),
        })
    }

    /// Number of its last event.
    pub(crate) fn event(&self) -> u64 {
        self.event
    }

    /// The trouble in words, escaped.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Whether something failed; a configuration that was read only may have been wrong.
    pub(crate) fn is_failure(&self) -> bool {
        self.kind != READ
    }

    /// How much its signs weigh together.
    pub(crate) fn weight(&self) -> i32 {
        self.signs.iter().map(Sign::weight).sum()
    }

    /// Whether a verdict is about it, or cites it.
    pub(crate) fn is_of(&self, verdict: &Verdict) -> bool {
        let mut evidence = verdict.evidence.iter();
        !self.about.is_empty() && self.about == verdict.subject
            || evidence.any(|piece| piece.event == self.event)
    }

    /// Whether two runs met the same trouble, except for what is different each time.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let same = self.normal == other.normal || alike(&self.about, &other.about);
        self.kind == other.kind && same
    }

    fn lead(&self, run_start: BootTime) -> Lead {
        let clauses: Vec<String> = self.signs.iter().filter_map(Sign::clause).collect();
        let evidence = self.evidence.iter().cloned();
        Lead {
            what: self.what.clone(),
            why: clauses.join("; "),
            evidence: evidence.map(|it| it.since(run_start)).collect(),
        }
    }
}

/// The troubles of a run, in the order of their last events: at most 64.
pub(crate) fn troubles(case: &Case<'_>) -> Vec<Trouble> {
    let mut troubles = Search::of(case).troubles();
    troubles.drain(..troubles.len().saturating_sub(MAX_TROUBLES));
    troubles
}

/// Whether a verdict leaves open why the run ended.
#[must_use]
pub(crate) fn are_wanted(verdict: &Verdict) -> bool {
    verdict.band <= Band::Lead
}

/// What to do next where no cause is named and there are leads.
pub(crate) fn next_step(verdict: &Verdict, leads: &[Lead]) -> Option<String> {
    let names_none = matches!(verdict.cause, Cause::ExitedNonZero | Cause::Unknown);
    let first = leads.first().filter(|_| names_none)?;
    let what = &first.what;
    let event = first.evidence.last().map(|evidence| evidence.event)?;
    let then = match leads.len() {
        1 => "",
        _ => ", then the others",
    };
    Some(format!(
        "Check whether this is why: {what}{then}. `lastword show` has every call around #{event}."
    ))
}

/// One run among those of its capture.
pub(crate) struct Compared<'a> {
    pub(crate) number: u32,
    pub(crate) start: BootTime,
    /// How long it lived, in nanoseconds, if known.
    pub(crate) lived: Option<u64>,
    /// Whether all of it was recorded.
    pub(crate) is_whole: bool,
    pub(crate) verdict: &'a Verdict,
    pub(crate) troubles: &'a [Trouble],
}

/// The leads of a run, the best one first.
pub(crate) fn leads(run: &Compared<'_>, all: &[Compared<'_>]) -> Vec<Lead> {
    if !are_wanted(run.verdict) {
        return Vec::new();
    }
    let others = || all.iter().filter(|other| other.number != run.number);
    let same_end = |other: &&Compared<'_>| {
        (other.verdict.cause, &other.verdict.subject) == (run.verdict.cause, &run.verdict.subject)
    };
    let longer = others().filter(|other| {
        let lived = (other.lived, run.lived);
        other.is_whole
            && matches!(lived, (Some(other), Some(own)) if other >= own.saturating_mul(LONGER))
    });
    let longer: Vec<&Compared<'_>> = longer.collect();
    let mut weighed: Vec<Trouble> = run.troubles.to_vec();
    for trouble in &mut weighed {
        let meets = |other: &&Compared<'_>| other.troubles.iter().any(|it| it.is_alike(trouble));
        let alike = others().filter(same_end).count();
        let met = others().filter(same_end).filter(meets).count();
        let missed = others()
            .filter(same_end)
            .filter(|it| it.is_whole && !meets(it))
            .count();
        let sign = match (alike, met, missed) {
            (0, ..) => None,
            (alike, met, _) if alike == met => Some(Sign::InAllRuns(alike + 1)),
            (_, _, 1..) => Some(Sign::NotInAllRuns),
            _ => None,
        };
        let spared = longer.iter().find(|other| !meets(other));
        let spared =
            spared.map(|other| Sign::NotInLongerRun(other.number, other.lived.unwrap_or_default()));
        trouble.signs.extend(sign.into_iter().chain(spared));
    }
    weighed.retain(|trouble| trouble.weight() >= ENOUGH);
    weighed.sort_by_key(|trouble| std::cmp::Reverse((trouble.weight(), trouble.event)));
    let mut leads: Vec<&Trouble> = Vec::new();
    for trouble in &weighed {
        if leads.len() < MAX_LEADS && !leads.iter().any(|lead| lead.about == trouble.about) {
            leads.push(trouble);
        }
    }
    leads
        .into_iter()
        .map(|trouble| trouble.lead(run.start))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Explanation, explain};
    use crate::testing::{INIT, Script, capture, dns, inet};
    use capture_format::EventKind;

    const REFUSED: i64 = -111;

    /// What the leads of the last run say, and why.
    fn leads(runs: &[Script]) -> Vec<(String, String)> {
        let Explanation { mut runs, .. } = explain(&mut capture(runs));
        let leads = runs.pop().unwrap().leads.into_iter();
        leads.map(|lead| (lead.what, lead.why)).collect()
    }

    fn of(script: &Script) -> Vec<(String, String)> {
        leads(std::slice::from_ref(script))
    }

    fn lead(what: &str, why: &str) -> (String, String) {
        (what.to_owned(), why.to_owned())
    }

    #[test]
    fn of_a_silent_end_the_file_that_the_command_line_names_is_a_lead() {
        let mut s = Script::new(&["slapd", "-f", "/etc/ldap/app.conf"]);
        s.open(INIT, "/etc/ldap/ldap.conf", -2)
            .open(INIT, "/root/ldaprc", -2)
            .stat(INIT, "/etc/ldap/app.conf", 2)
            .exit(INIT, 1);
        let why = "it is on the command line; nothing else went wrong between it and the end";
        let what = "newfstatat /etc/ldap/app.conf: ENOENT (No such file or directory)";
        assert_eq!(of(&s), [lead(what, why)]);
    }

    #[test]
    fn a_file_that_the_configuration_names_is_a_lead() {
        let mut s = Script::new(&["broker", "-c", "/srv/m.conf"]);
        s.open(INIT, "/srv/m.conf", 3)
            .read(INIT, 3, "m.conf", "password_file /etc/broker/users\n")
            .open(INIT, "/etc/broker/users", -2)
            .write(INIT, 2, "initialization failed\n")
            .exit(INIT, 13);
        let what = "openat /etc/broker/users: ENOENT (No such file or directory)";
        let why = "/srv/m.conf names it; nothing else went wrong between it and the last words";
        let read = "no other configuration was read after it; it is on the command line";
        assert_eq!(
            of(&s),
            [lead(what, why), lead("/srv/m.conf was read", read)]
        );
    }

    #[test]
    fn what_was_tolerated_before_an_unrelated_complaint_is_no_lead() {
        for complaint in [
            "Error: Invalid tenant id\n",
            "metrics are off: 10.0.0.7:9091 is down, ignored\nError: Invalid tenant\n",
        ] {
            let mut s = Script::new(&["app"]);
            s.call(INIT, EventKind::SOCKET, 3, [2, 1, 0], "", "")
                .connect(INIT, 3, &inet([10, 0, 0, 7], 9091), REFUSED)
                .open(INIT, "/data/cache", -13)
                .write(INIT, 2, complaint)
                .exit(INIT, 1);
            assert_eq!(of(&s), []);
        }
    }

    #[test]
    fn a_connection_that_was_tried_again_and_again_is_a_lead() {
        let mut s = Script::new(&["app"]);
        for _ in 0..3 {
            s.call(INIT, EventKind::SOCKET, 3, [2, 1, 0], "", "")
                .connect(INIT, 3, &inet([10, 0, 0, 7], 5432), REFUSED)
                .close(INIT, 3);
        }
        s.write(INIT, 2, "database is not there\n").exit(INIT, 1);
        let what = "connect 10.0.0.7:5432: ECONNREFUSED (Connection refused) (3 times)";
        let why = "it never succeeded; it was tried again and again; nothing else went wrong between it and the last words";
        assert_eq!(of(&s), [lead(what, why)]);
    }

    #[test]
    fn what_went_wrong_last_is_a_lead_if_the_last_words_only_say_that_it_failed() {
        let script = |words: &str| {
            let mut s = Script::new(&["app"]);
            s.open(INIT, "/srv/state", -13)
                .write(INIT, 2, words)
                .exit(INIT, 4);
            of(&s).len()
        };
        assert_eq!(script("startup failed\n"), 1);
        assert_eq!(script("the licence has expired\n"), 0);
    }

    #[test]
    fn a_peer_that_closes_the_connection_before_it_answers_is_a_lead() {
        let script = |answer: i64, words: &str| {
            let mut s = Script::new(&["app"]);
            s.call(INIT, EventKind::SOCKET, 3, [2, 1, 0], "", "")
                .connect(INIT, 3, &inet([10, 0, 0, 7], 5432), 0)
                .call(INIT, EventKind::SENDTO, 8, [3, 0, 8], "", "")
                .call(INIT, EventKind::RECVFROM, answer, [3, 0, 100], "", "")
                .call(INIT, EventKind::RECVFROM, 0, [3, 0, 100], "", "");
            s.write(INIT, 2, words).exit(INIT, 1).clone()
        };
        let said = "fatal: 10.0.0.7:5432 is no primary\n";
        let what = "10.0.0.7:5432 closed the connection before it answered";
        for words in [said, "startup failed\n"] {
            let leads = of(&script(0, words));
            assert_eq!((leads.len(), &*leads[0].0), (1, what));
        }
        assert_eq!(of(&script(0, "fatal: licence expired\n")), []);
        assert_eq!(of(&script(5, said)), []);
    }

    #[test]
    fn a_name_that_does_not_resolve_is_a_lead_until_it_resolves() {
        const SERVER: [u8; 4] = [10, 96, 0, 10];
        let script = |resolves: bool| {
            let mut s = Script::new(&["app"]);
            s.resolver_socket(INIT, 5, SERVER)
                .ask(INIT, 5, 7, "queue.example")
                .replies(INIT, 5, SERVER, 7, "queue.example", 3);
            if resolves {
                let answer = dns::answer(77, "queue.example", &[[10, 0, 0, 7]]);
                s.ask(INIT, 5, 77, "queue.example")
                    .reply(INIT, 5, SERVER, answer);
            }
            s.write(INIT, 1, "bye\n").exit(INIT, 1).clone()
        };
        let what = "DNS look-up of queue.example: NXDOMAIN from 10.96.0.10";
        let why = "it never succeeded; nothing else went wrong between it and the last words";
        assert_eq!(of(&script(false)), [lead(what, why)]);
        assert_eq!(of(&script(true)), []);
    }

    #[test]
    fn a_child_that_failed_last_is_a_lead_with_what_it_said() {
        let mut s = Script::new(&["master"]);
        s.fork(INIT, 200)
            .exec(200, &["loader"])
            .write(200, 2, "FATAL: required directory \"wal\" is corrupt\n")
            .exit(200, 1)
            .write(INIT, 1, "shutting down\n")
            .exit(INIT, 3);
        let what = "loader exited 1; stderr: FATAL: required directory \"wal\" is corrupt";
        assert_eq!(of(&s)[0].0, what);
    }

    fn fails_at(paths: &[&str], wait: u64) -> Script {
        let mut s = Script::new(&["app"]);
        for path in paths {
            s.open(INIT, path, -13);
        }
        // What it did last did not fail, so no rule blames the failed call.
        s.open(INIT, "/srv/x", 5).wait(wait).exit(INIT, 7).clone()
    }

    #[test]
    fn what_a_run_that_ended_alike_did_not_meet_is_no_lead() {
        let both = [fails_at(&["/srv/a"], 0), fails_at(&["/srv/b"], 0)];
        assert_eq!(leads(&both), []);
        let both = [fails_at(&["/srv/a"], 0), fails_at(&["/srv/a"], 0)];
        let why = "few calls of the run failed with this error; nothing else went wrong between it and the end; both runs met it";
        assert_eq!(
            leads(&both),
            [lead("openat /srv/a: EACCES (Permission denied)", why)]
        );
        let random = [
            fails_at(&["/tmp/tmpx8_2kq0a"], 0),
            fails_at(&["/tmp/tmp1mm_w3ze"], 0),
        ];
        assert_eq!(leads(&random).len(), 1);
    }

    #[test]
    fn what_a_run_that_lived_longer_did_not_meet_is_told() {
        let runs = [fails_at(&[], 60_000), fails_at(&["/srv/a"], 0)];
        let mut runs = runs;
        // The other one was stopped: its end is no reason to expect what this one met.
        runs[0].run.status = Some(capture_format::ExitStatus::Code(0));
        let [(_, why)] = &leads(&runs)[..] else {
            panic!()
        };
        assert!(
            why.ends_with("run 1, which lived 60 s, did not meet it"),
            "{why}"
        );
    }

    #[test]
    fn the_next_step_is_to_check_the_first_lead() {
        let mut s = Script::new(&["slapd", "-f", "/etc/ldap/app.conf"]);
        s.stat(INIT, "/etc/ldap/app.conf", 2).exit(INIT, 1);
        let run = explain(&mut capture(&[s])).runs.remove(0);
        let event = run.leads[0].evidence.last().unwrap().event;
        assert_eq!(
            run.verdict.next_step,
            format!(
                "Check whether this is why: {}. `lastword show` has every call around #{event}.",
                run.leads[0].what
            )
        );
        let mut s = Script::new(&["app"]);
        s.write(INIT, 2, "fatal: PORT is not a number\n")
            .exit(INIT, 1);
        let run = explain(&mut capture(&[s])).runs.remove(0);
        assert!(run.verdict.next_step.starts_with("Read its last words"));
    }

    #[test]
    fn where_the_cause_is_named_there_are_no_leads() {
        let mut s = Script::new(&["app", "/etc/app.conf"]);
        s.open(INIT, "/etc/app.conf", -2)
            .write(INIT, 2, "/etc/app.conf: No such file or directory\n")
            .exit(INIT, 1);
        assert_eq!(of(&s), []);
    }

    #[test]
    fn there_are_few_leads_even_of_a_run_that_met_everything() {
        let mut s = Script::new(&["app"]);
        for number in 0..1000 {
            s.call(
                INIT,
                EventKind::OPENAT,
                -28,
                [-100, 0, 0],
                format!("/x/{number}"),
                "",
            );
        }
        s.open(INIT, "/srv/x", 5).exit(INIT, 1);
        assert!((1..=MAX_LEADS).contains(&of(&s).len()));
    }
}
