//! Two runs side by side: where they diverge, which files and names only one of them has, and how differently they
//! ended.
//!
//! Each run becomes a sequence of steps: what it executed, opened, failed at, asked for, connected to, wrote, and how
//! it ended. Whatever differs between any two runs (pids, times, descriptors, DNS ids, numbers in texts, names of
//! temporary files) is left out, and so are failed calls that nearly every program's life has. A step that the other run has nowhere is a divergence; two threads that took turns in
//! another order are not. So the runs are never held in memory: only the steps, as numbers, and one text for each step
//! that is unlike all others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{Read, Seek};

use capture_format::{Class, ExitStatus, Reader, Run, RunIndex};
use serde::Serialize;

use crate::views::dns::said;
use crate::views::errors::failed;
use crate::views::{Head, Moment, Text};
use events::context::Context;
use verdict::facts::Facts;
use verdict::facts::lookup::Outcome;
use verdict::facts::resolv_conf::ResolvConf;
use verdict::rules::{Case, Cause, Verdict, how, judge};

pub(crate) mod step;
mod text;

use step::{step_of, temporary};

/// How many steps of a run are kept; later steps are not compared.
const MAX_STEPS: usize = 1 << 20;
/// How many different steps of a run are kept.
const MAX_KINDS: usize = 1 << 16;
/// How many paths and names of a run are kept.
const MAX_PATHS: usize = 1 << 16;

/// What is kept of a run to compare it with another.
#[derive(Debug)]
pub struct Side {
    name: String,
    head: Head,
    run: Run,
    verdict: Verdict,
    steps: Vec<(u32, Moment)>,
    texts: Vec<Box<str>>,
    ids: HashMap<Box<str>, u32>,
    cut: bool,
    /// Paths in the form in which they are compared, each with the original form of its first use.
    opened: BTreeMap<Vec<u8>, (Text, u64)>,
    names: BTreeMap<String, (Outcome, u64)>,
}

impl Side {
    /// Reads a run, given by its position in [`Reader::runs`]; `name` says which capture it belongs to.
    pub fn of<R: Read + Seek>(name: &str, reader: &mut Reader<R>, run_index: RunIndex) -> Self {
        let header = reader.header().clone();
        let mut facts = reader.run(run_index).map(Facts::new);
        let mut context = Context::default();
        let mut steps = Steps::default();
        let mut opened = BTreeMap::new();
        let (head, run) = Head::pass(reader, run_index, |numbered, run| {
            let (number, event) = (numbered.number, &numbered.event);
            if let Some(facts) = &mut facts {
                facts.observe(number, event);
            }
            let seen = context.observe(number, event);
            if event.kind.class() == Class::Opens
                && failed(event).is_none()
                && opened.len() < MAX_PATHS
            {
                let path = || (Text::new(&seen.path), number);
                opened.entry(temporary(&seen.path)).or_insert_with(path);
            }
            if let Some(text) = step_of(&seen) {
                steps.push(text, Moment::of(number, event, run));
            }
        });
        let facts = facts.unwrap_or_else(|| Facts::new(&run));
        let noise: HashSet<u64> = facts.noise().collect();
        steps
            .steps
            .retain(|(_, moment)| !noise.contains(&moment.event));
        let lookups = facts.lookups();
        let search = facts.resolv_conf.as_ref().map(ResolvConf::search);
        let search = search.unwrap_or_default();
        let names = lookups.iter().take(MAX_PATHS).map(|lookup| {
            let name = without_search(&lookup.host, &search).to_ascii_lowercase();
            (name, (lookup.outcome(), lookup.last_event()))
        });
        Self {
            name: name.to_owned(),
            verdict: judge(&Case::new(&facts, &run, &header)),
            names: names.collect(),
            head,
            run,
            steps: steps.steps,
            texts: steps.texts,
            ids: steps.ids,
            cut: steps.cut,
            opened,
        }
    }

    fn has(&self, text: &str) -> bool {
        self.ids.contains_key(text)
    }

    /// Text of the step at this place.
    fn text(&self, at: usize) -> Option<(&str, Moment)> {
        let &(id, moment) = self.steps.get(at)?;
        Some((self.texts.get(id as usize)?, moment))
    }
}

/// Steps. Each distinct text is stored once.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<(u32, Moment)>,
    texts: Vec<Box<str>>,
    ids: HashMap<Box<str>, u32>,
    cut: bool,
}

impl Steps {
    fn push(&mut self, text: String, moment: Moment) {
        let known = self.ids.get(text.as_str()).copied();
        if self.steps.len() >= MAX_STEPS || known.is_none() && self.texts.len() >= MAX_KINDS {
            self.cut = true;
            return;
        }
        let id = known.unwrap_or_else(|| {
            let id = self.texts.len() as u32;
            self.texts.push(text.as_str().into());
            self.ids.insert(text.into(), id);
            id
        });
        self.steps.push((id, moment));
    }
}

/// A name without the domain of the search list that it ends with. If the first expansion resolves, no other question
/// shows which name the program asked for.
fn without_search<'n>(host: &'n str, search: &[String]) -> &'n str {
    let stripped = search.iter().find_map(|domain| {
        let start = host.len().checked_sub(domain.len() + 1)?;
        let (name, rest) = host.split_at_checked(start)?;
        let is_domain = rest.strip_prefix('.')?.eq_ignore_ascii_case(domain);
        (is_domain && !name.is_empty()).then_some(name)
    });
    stripped.unwrap_or(host)
}

/// Two runs compared.
#[derive(Clone, Debug, Serialize)]
pub struct Diff {
    /// The first run and the second run.
    pub runs: [Compared; 2],
    /// Whether they ended with the same cause and subject.
    pub alike: bool,
    /// Where the runs diverge; `None` if each run has every step of the other.
    pub divergence: Option<Divergence>,
    /// Files that only the first run opened, and files that only the second run opened.
    pub only_opened: [Vec<Opened>; 2],
    /// Names whose look-ups ended differently, or that only one run asked for.
    pub names: Vec<NameDiffers>,
    /// What makes the comparison doubtful.
    pub caveats: Vec<String>,
}

/// One of the runs.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The capture that the run belongs to.
    pub capture: String,
    /// The run.
    pub run: Head,
    /// How the first process ended, if seen.
    pub status: Option<ExitStatus>,
    /// `exited 1`, `alive`.
    pub ended: String,
    /// How long the run lived, in nanoseconds.
    pub lived_ns: Option<u64>,
    /// What ended the run, according to the verdict.
    pub cause: Cause,
    /// What the cause is about; escaped.
    pub subject: String,
    /// The verdict; escaped.
    pub sentence: String,
    /// How many steps were compared.
    pub steps: u64,
}

/// Where two runs diverge.
#[derive(Clone, Debug, Serialize)]
pub struct Divergence {
    /// The last step before the divergence that both runs have, from the run that diverges.
    pub after: Option<StepAt>,
    /// The first step of the first run that the second run does not have anywhere.
    pub first: Option<StepAt>,
    /// The first step of the second run that the first run does not have anywhere.
    pub second: Option<StepAt>,
}

/// A step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StepAt {
    /// When the step happened.
    #[serde(flatten)]
    pub moment: Moment,
    /// What happened, without what differs between any two runs; escaped.
    pub text: String,
}

/// A file that one run opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// Its path.
    pub path: Text,
    /// Number of the first event that opened it.
    pub event: u64,
}

/// A name whose look-ups ended differently.
#[derive(Clone, Debug, Serialize)]
pub struct NameDiffers {
    /// The name, without a domain of the search list.
    pub host: Text,
    /// How the look-up ended in each run: `resolved`, `NXDOMAIN`; `None` if the run did not ask for the name.
    pub outcomes: [Option<String>; 2],
    /// Number of the last event of the name's last look-up.
    pub events: [Option<u64>; 2],
}

/// Compares two runs.
#[must_use]
pub fn diff(first: &Side, second: &Side) -> Diff {
    let same = |a: &Verdict, b: &Verdict| (a.cause, &a.subject) == (b.cause, &b.subject);
    Diff {
        runs: [first.compared(), second.compared()],
        alike: same(&first.verdict, &second.verdict),
        divergence: divergence(first, second),
        only_opened: [only_opened(first, second), only_opened(second, first)],
        names: names(first, second),
        caveats: caveats([first, second]),
    }
}

impl Side {
    fn compared(&self) -> Compared {
        let run = &self.run;
        Compared {
            capture: self.name.clone(),
            run: self.head.clone(),
            status: run.status,
            ended: match (run.status, run.end) {
                (Some(status), _) => how(status),
                (None, Some(_)) => "nobody saw how it ended".to_owned(),
                (None, None) => "alive".to_owned(),
            },
            lived_ns: run.end.and_then(|end| end.checked_since(run.start)),
            cause: self.verdict.cause,
            subject: self.verdict.subject.clone(),
            sentence: self.verdict.sentence.clone(),
            steps: self.steps.len() as u64,
        }
    }

    /// Index of the first step that the other run does not have anywhere. If the beginning of the other run was
    /// displaced, all steps before the first common one are skipped: the other run may have had them, too.
    fn first_alone(&self, other: &Self) -> Option<usize> {
        let alone: Vec<bool> = self.texts.iter().map(|text| !other.has(text)).collect();
        let is_alone = |&(id, _): &(u32, Moment)| alone.get(id as usize) == Some(&true);
        let start = match other.head.losses.overwritten {
            0 => 0,
            _ => self
                .steps
                .iter()
                .position(|step| !is_alone(step))
                .unwrap_or_default(),
        };
        let found = self.steps.iter().skip(start).position(is_alone)?;
        Some(start + found)
    }

    fn step_at(&self, at: usize) -> Option<StepAt> {
        let (text, moment) = self.text(at)?;
        Some(StepAt {
            moment,
            text: text.to_owned(),
        })
    }
}

fn divergence(first: &Side, second: &Side) -> Option<Divergence> {
    let (one, two) = (first.first_alone(second), second.first_alone(first));
    let earliest = match (one, two) {
        (None, None) => return None,
        (Some(at), None) => (first, at),
        (None, Some(at)) => (second, at),
        (Some(a), Some(b)) if a <= b => (first, a),
        (Some(_), Some(b)) => (second, b),
    };
    let (side, at) = earliest;
    Some(Divergence {
        after: at.checked_sub(1).and_then(|before| side.step_at(before)),
        first: one.and_then(|at| first.step_at(at)),
        second: two.and_then(|at| second.step_at(at)),
    })
}

fn only_opened(one: &Side, other: &Side) -> Vec<Opened> {
    let only = one
        .opened
        .iter()
        .filter(|(path, _)| !other.opened.contains_key(*path));
    let mut only: Vec<_> = only
        .map(|(_, (path, event))| Opened {
            path: path.clone(),
            event: *event,
        })
        .collect();
    only.sort_by_key(|opened| opened.event);
    only
}

fn names(first: &Side, second: &Side) -> Vec<NameDiffers> {
    let all: BTreeSet<&String> = first.names.keys().chain(second.names.keys()).collect();
    let differs = all.into_iter().filter_map(|host| {
        let of = |side: &Side| side.names.get(host).copied();
        let found = [of(first), of(second)];
        let outcomes = found.map(|it| it.map(|(outcome, _)| outcome));
        (outcomes[0] != outcomes[1]).then(|| NameDiffers {
            host: Text::new(host.as_bytes()),
            outcomes: outcomes.map(|outcome| outcome.map(said)),
            events: found.map(|it| it.map(|(_, event)| event)),
        })
    });
    differs.collect()
}

fn caveats(sides: [&Side; 2]) -> Vec<String> {
    let mut caveats = Vec::new();
    for side in sides {
        let (name, number) = (&side.name, side.run.number);
        let losses = side.head.losses;
        if losses.overwritten > 0 {
            let count = losses.overwritten;
            caveats.push(format!(
                "{name}, run {number}: {count} events were overwritten by newer ones; what only the other run has may have been there"
            ));
        }
        if losses.lost > 0 || losses.torn > 0 {
            let count = losses.lost.saturating_add(losses.torn);
            caveats.push(format!("{name}, run {number}: {count} events were lost"));
        }
        if side.cut {
            caveats.push(format!(
                "{name}, run {number}: only its first {} steps are compared",
                side.steps.len()
            ));
        }
        caveats.extend(
            side.head
                .missing
                .iter()
                .map(|it| format!("{name}, run {number}: {it}")),
        );
    }
    caveats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use fixtures::{INIT, Script, capture, dns, nginx};

    fn compared(a: Script, b: Script) -> Diff {
        let mut reader = capture(&[a, b]);
        let sides = [0, 1].map(|index| Side::of("x.lwcap", &mut reader, RunIndex(index)));
        diff(&sides[0], &sides[1])
    }

    /// The same program, but its name resolves.
    fn healthy() -> Script {
        const SERVER: [u8; 4] = [10, 96, 0, 10];
        let mut s = Script::new(&["nginx", "-g", "daemon off;"]);
        s.wait(70);
        s.open(INIT, "/var/log/nginx/error.log", 7)
            .open(INIT, "/etc/nginx/nginx.conf", 8)
            .open(INIT, "/etc/resolv.conf", 9)
            .read(INIT, 9, "resolv.conf", "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
        let name = "flask.default.svc.cluster.local";
        s.resolver_socket(INIT, 5, SERVER).ask(INIT, 5, 77, name);
        s.reply(INIT, 5, SERVER, dns::answer(77, name, &[[10, 0, 0, 7]]));
        s.open(INIT, "/run/nginx\x1b[2J.pid", 5);
        s
    }

    #[test]
    fn a_crashed_run_against_a_healthy_one() {
        insta::assert_snapshot!(text_of(&compared(nginx(), healthy())));
    }

    #[test]
    fn runs_alike_do_not_diverge() {
        let diff = compared(nginx(), nginx());
        assert!(diff.alike && diff.divergence.is_none() && diff.names.is_empty());
        assert!(diff.only_opened.iter().all(Vec::is_empty));
    }

    #[test]
    fn pids_descriptors_ids_and_temporary_names_are_no_divergence() {
        let script = |pid: u32, fd: i64, tmp: &str| {
            let mut s = Script::new(&["app"]);
            s.fork(INIT, pid).exec(pid, &["worker", "--port", "80"]);
            s.open(pid, tmp, fd)
                .write(pid, 2, &format!("{pid}: started\n"));
            s.exit(pid, 0);
            s
        };
        let diff = compared(
            script(200, 5, "/tmp/x.aB3dE9"),
            script(3000, 7, "/tmp/x.zZ91qq"),
        );
        assert!(diff.divergence.is_none(), "{:?}", diff.divergence);
        assert!(diff.only_opened.iter().all(Vec::is_empty), "{diff:?}");
    }

    #[test]
    fn a_run_that_ends_early_parts_where_the_other_goes_on() {
        let mut short = Script::new(&["app"]);
        short.open(INIT, "/a", 3);
        let mut long = Script::new(&["app"]);
        long.open(INIT, "/a", 3).open(INIT, "/b", 4);
        let diff = compared(short, long).divergence.unwrap();
        assert!(diff.first.is_none());
        assert!(diff.second.unwrap().text.contains("/b"));
        assert!(diff.after.unwrap().text.contains("/a"));
    }

    #[test]
    fn what_may_have_been_overwritten_is_no_divergence_and_is_told() {
        let mut whole = Script::new(&["app"]);
        whole.open(INIT, "/early", 3).open(INIT, "/a", 3);
        let mut displaced = Script::empty();
        displaced.run.losses.overwritten = 3;
        displaced.open(INIT, "/a", 3);
        let diff = compared(whole, displaced);
        assert!(diff.divergence.is_none(), "{:?}", diff.divergence);
        assert!(diff.caveats[0].contains("overwritten"));
    }
}
