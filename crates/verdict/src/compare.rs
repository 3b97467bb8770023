//! What the runs of a capture had in common, and where they differed. What is always there is near the cause; what
//! only one run met may have nothing to do with it.

use capture_format::Run;
use serde::Serialize;

use crate::entity::alike;
use crate::leads::{ENOUGH, Trouble};
use crate::rules::Verdict;
use crate::rules::how;
use events::decode::time::duration;
use events::escape::escaped_to;

/// Two lives are alike if the longer one is at most this many times as long as the shorter one.
const ALIKE: u64 = 3;

/// What the runs of a capture had in common and where they differed. The texts are escaped; both lists are empty for a
/// single run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What all runs had in common.
    pub common: Vec<String>,
    /// Where the runs differed, with the numbers of the runs.
    pub differed: Vec<String>,
}

/// What is kept of a run to compare it with the others.
#[derive(Debug)]
pub(crate) struct Trait {
    pub(crate) number: u32,
    ended: String,
    /// How long it lived, in nanoseconds, if known.
    pub(crate) lived: Option<u64>,
    /// What went wrong in it, in order.
    pub(crate) troubles: Vec<Trouble>,
}

impl Trait {
    pub(crate) fn of(run: &Run, troubles: Vec<Trouble>) -> Self {
        Self {
            number: run.number,
            ended: run.status.map_or_else(
                || {
                    run.start_error.as_ref().map_or_else(
                        || "ended, nobody saw how".to_owned(),
                        |error| {
                            format!(
                                "could not be started: {}",
                                escaped_to(error.as_bytes(), 200)
                            )
                        },
                    )
                },
                how,
            ),
            lived: run.end.and_then(|end| end.checked_since(run.start)),
            troubles,
        }
    }

    /// The troubles, without what only may have gone wrong.
    fn went_wrong(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().filter(|trouble| trouble.is_failure())
    }

    fn met(&self, trouble: &Trouble) -> bool {
        self.troubles.iter().any(|own| own.is_alike(trouble))
    }
}

/// Compares the runs of a capture, and the verdicts on them, each with the number of its run.
pub(crate) fn compare<'v>(
    traits: &[Trait],
    verdicts: impl Iterator<Item = (u32, &'v Verdict)>,
) -> Comparison {
    let mut comparison = Comparison::default();
    if traits.len() < 2 {
        return comparison;
    }
    let all = match traits.len() {
        2 => "both runs".to_owned(),
        runs => format!("all {runs} runs"),
    };
    comparison.of_values(
        &all,
        "",
        traits.iter().map(|run| (run.number, run.ended.clone())),
    );
    let verdicts: Vec<(u32, &Verdict)> = verdicts.collect();
    let causes = verdicts.iter().map(|&(run, verdict)| {
        let subject = match &*verdict.subject {
            "" => String::new(),
            subject => format!(" ({subject})"),
        };
        (run, format!("{}{subject}", verdict.cause.name()))
    });
    comparison.of_values(&all, "cause ", causes);
    comparison.of_lives(&all, traits);
    let last = verdicts.last().map(|(_, verdict)| *verdict);
    comparison.of_troubles(&all, traits, last);
    comparison
}

impl Comparison {
    fn of_values(&mut self, all: &str, what: &str, values: impl Iterator<Item = (u32, String)>) {
        let mut by_value: Vec<(String, Vec<u32>)> = Vec::new();
        for (run, value) in values {
            match by_value.iter_mut().find(|(other, _)| alike(other, &value)) {
                Some((_, runs)) => runs.push(run),
                None => by_value.push((value, vec![run])),
            }
        }
        match &by_value[..] {
            [(value, _)] => self.common.push(format!("{all}: {what}{value}")),
            values => {
                let each = values
                    .iter()
                    .map(|(value, runs)| format!("{}: {what}{value}", numbers(runs)));
                self.differed.push(each.collect::<Vec<_>>().join("; "));
            }
        }
    }

    fn of_lives(&mut self, all: &str, traits: &[Trait]) {
        let lives: Vec<u64> = traits.iter().filter_map(|run| run.lived).collect();
        let (Some(&shortest), Some(&longest)) = (lives.iter().min(), lives.iter().max()) else {
            return;
        };
        if lives.len() < traits.len() {
            return;
        }
        if longest <= shortest.saturating_mul(ALIKE) {
            let between = match (duration(shortest), duration(longest)) {
                (shortest, longest) if shortest == longest => shortest,
                (shortest, longest) => format!("{shortest} to {longest}"),
            };
            self.common.push(format!("{all}: lived {between}"));
        } else {
            let each = traits
                .iter()
                .zip(lives)
                .map(|(run, lived)| format!("run {}: lived {}", run.number, duration(lived)));
            self.differed.push(each.collect::<Vec<_>>().join("; "));
        }
    }

    /// Compares what went wrong: the trouble that all runs met, that the last verdict does not cite, and that most likely
    /// has to do with their ends; and of each run the first one that no other run met.
    fn of_troubles(&mut self, all: &str, traits: &[Trait], verdict: Option<&Verdict>) {
        let is_told = |trouble: &Trouble| verdict.is_some_and(|verdict| trouble.is_of(verdict));
        let by_all =
            |trouble: &&Trouble| !is_told(trouble) && traits.iter().all(|run| run.met(trouble));
        let shared = traits.last().and_then(|last| {
            let shared = last.went_wrong().filter(by_all);
            let shared = shared.filter(|trouble| trouble.weight() >= ENOUGH);
            shared.max_by_key(|trouble| (trouble.weight(), trouble.event()))
        });
        self.common
            .extend(shared.map(|trouble| {
                format!("{all}: {} (last at #{})", trouble.what(), trouble.event())
            }));
        for run in traits {
            let own = run.went_wrong().find(|trouble| {
                let mut others = traits.iter().filter(|other| other.number != run.number);
                !others.any(|other| other.met(trouble))
            });
            self.differed.extend(own.map(|trouble| {
                format!(
                    "only run {}: {} (#{})",
                    run.number,
                    trouble.what(),
                    trouble.event()
                )
            }));
        }
    }
}

/// `run 3`, `runs 1 and 2`, `runs 1, 2 and 5`.
fn numbers(runs: &[u32]) -> String {
    match runs {
        [run] => format!("run {run}"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(ToString::to_string).collect();
            format!("runs {} and {last}", most.join(", "))
        }
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::explain::explain;
    use crate::testing::{INIT, Script, capture};

    fn run(missing: &str, code: i32, wait: u64) -> Script {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/first.conf", -13)
            .write(INIT, 2, "error: open /etc/first.conf: permission denied\n")
            .open(INIT, missing, -2)
            .wait(wait);
        s.write(
            INIT,
            2,
            &format!("open {missing}: no such file or directory\n"),
        )
        .exit(INIT, code);
        s
    }

    #[test]
    fn what_all_runs_met_and_what_only_one_did() {
        let scripts = [
            run("/etc/app-1.conf", 1, 0),
            run("/etc/app-2.conf", 1, 0),
            run("/data/x", 3, 4000),
        ];
        let comparison = explain(&mut capture(&scripts)).comparison;
        assert_eq!(
            comparison.common,
            ["all 3 runs: openat /etc/first.conf: EACCES (Permission denied) (last at #17)"]
        );
        assert_eq!(
            comparison.differed,
            [
                "runs 1 and 2: exited 1; run 3: exited 3",
                "run 1: cause missing_file (/etc/app-1.conf); run 2: cause missing_file (/etc/app-2.conf); run 3: cause missing_file (/data/x)",
                "run 1: lived 7 ms; run 2: lived 7 ms; run 3: lived 4.0 s",
                "only run 3: openat /data/x: ENOENT (No such file or directory) (#19)",
            ]
        );
    }

    #[test]
    fn runs_that_are_alike_differ_in_nothing() {
        let scripts = [run("/data/x", 1, 0), run("/data/x", 1, 1)];
        let comparison = explain(&mut capture(&scripts)).comparison;
        assert!(comparison.differed.is_empty());
        assert_eq!(
            comparison.common[..2],
            [
                "both runs: exited 1",
                "both runs: cause missing_file (/data/x)"
            ]
        );
    }

    #[test]
    fn files_with_random_names_are_alike() {
        let scripts = [run("/tmp/tmpx8_2kq0a", 1, 0), run("/tmp/tmp1mm_w3ze", 1, 1)];
        let explanation = explain(&mut capture(&scripts));
        assert!(explanation.alike);
        assert_eq!(explanation.comparison.differed, [""; 0]);
    }

    #[test]
    fn a_single_run_is_not_compared() {
        assert!(
            explain(&mut capture(&[run("/data/x", 1, 0)]))
                .comparison
                .common
                .is_empty()
        );
    }
}
