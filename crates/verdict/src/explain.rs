//! The verdict on a capture: a verdict for each run, and one sentence for all of them.

use std::io::{self, Read, Seek, Write};

use capture_format::{Reader, Run};
use events::decode::time::since_start;
use serde::Serialize;

use crate::compare::{Comparison, Trait, compare};
use crate::entity;
use crate::facts::Facts;
use crate::fingerprint::Fingerprint;
use crate::knowledge::Catalogue;
use crate::leads::{self, Compared, Lead, troubles};
use crate::losses::missing_runs;
use crate::rules::{Case, Verdict, judge};

/// How many missing parts of a run are reported.
const MAX_DAMAGE: usize = 8;

/// Why the runs of a capture ended. As JSON it is stable in the way docs/json.md says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// One sentence for all runs, escaped.
    pub sentence: String,
    /// Whether all runs ended alike: the same cause with the same subject.
    pub alike: bool,
    /// What the runs had in common, and where they differed.
    pub comparison: Comparison,
    /// The runs, first one first.
    pub runs: Vec<RunVerdict>,
}

/// The verdict on one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunVerdict {
    /// Number of the run.
    pub run: u32,
    /// Identifies the fault.
    pub fingerprint: Fingerprint,
    /// What may be why it ended, the best one first, if the verdict leaves that open: three at most.
    pub leads: Vec<Lead>,
    /// What ended it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Explains a capture. Damage to the file weakens the verdicts of the runs that it concerns.
pub fn explain<R: Read + Seek>(reader: &mut Reader<R>) -> Explanation {
    explain_with(reader, Catalogue::current())
}

/// Explains a capture by what this catalogue says of programs' messages.
pub fn explain_with<R: Read + Seek>(reader: &mut Reader<R>, knowledge: &Catalogue) -> Explanation {
    let header = reader.header().clone();
    let runs = reader.runs().to_vec();
    let (mut verdicts, mut traits) = (Vec::new(), Vec::new());
    for (index, run) in reader.indexes().zip(&runs) {
        let mut facts = Facts::new(run);
        let mut damage = Vec::new();
        for item in reader.events(index) {
            match item {
                Ok(event) => facts.observe(event.number, &event.event),
                Err(missing) if damage.len() < MAX_DAMAGE => damage.push(missing.to_string()),
                Err(_) => {}
            }
        }
        let case = Case::with(&facts, run, &header, knowledge);
        let mut verdict = judge(&case);
        let fingerprint = Fingerprint::of(&case, &verdict);
        verdict.weakened_by.extend(damage);
        // Nothing else needs what went wrong.
        let is_needed = runs.len() > 1 || leads::are_wanted(&verdict);
        let troubles = match is_needed {
            true => troubles(&case),
            false => Vec::new(),
        };
        traits.push(Trait::of(run, troubles));
        verdicts.push(RunVerdict {
            run: run.number,
            fingerprint,
            leads: Vec::new(),
            verdict,
        });
    }
    let found = leads(&traits, &runs, &verdicts);
    for (run, leads) in verdicts.iter_mut().zip(found) {
        if let Some(step) = leads::next_step(&run.verdict, &leads) {
            run.verdict.next_step = step;
        }
        run.leads = leads;
    }
    let alike = verdicts.windows(2).all(|pair| is_alike(&pair[0], &pair[1]));
    Explanation {
        sentence: sentence(&verdicts, alike),
        alike,
        comparison: compare(&traits, verdicts.iter().map(|run| (run.run, &run.verdict))),
        runs: verdicts,
    }
}

/// The leads of each run.
fn leads(traits: &[Trait], runs: &[Run], verdicts: &[RunVerdict]) -> Vec<Vec<Lead>> {
    let all = traits.iter().zip(runs).zip(verdicts);
    let all = all.map(|((traits, run), verdict)| {
        let losses = &run.losses;
        Compared {
            number: run.number,
            start: run.start,
            lived: traits.lived,
            is_whole: (losses.lost, losses.overwritten, losses.torn) == (0, 0, 0),
            verdict: &verdict.verdict,
            troubles: &traits.troubles,
        }
    });
    let all: Vec<Compared<'_>> = all.collect();
    all.iter().map(|run| leads::leads(run, &all)).collect()
}

/// Whether two runs ended alike: the same cause with the same subject.
#[must_use]
pub fn is_alike(one: &RunVerdict, other: &RunVerdict) -> bool {
    one.verdict.cause == other.verdict.cause
        && entity::alike(&one.verdict.subject, &other.verdict.subject)
}

fn sentence(runs: &[RunVerdict], alike: bool) -> String {
    match runs {
        [] => "the capture holds no run".to_owned(),
        [.., last] if alike => last.verdict.sentence.clone(),
        [.., last] => format!(
            "{} runs ended in different ways; the last: {}",
            runs.len(),
            last.verdict.sentence
        ),
    }
}

impl Explanation {
    /// Writes the explanation for a person: the sentence, then the evidence with event numbers, then what to do next.
    /// Of successive runs that ended alike, only the last one is written out; of the others the event numbers are
    /// listed.
    ///
    /// # Errors
    /// If writing to `out` fails.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.sentence)?;
        for group in self.runs.chunk_by(is_alike) {
            let Some((last, earlier)) = group.split_last() else {
                continue;
            };
            if !self.alike {
                writeln!(out)?;
                writeln!(out, "run {}: {}", last.run, last.verdict.sentence)?;
            }
            details(last, out)?;
            for RunVerdict { run, verdict, .. } in earlier {
                let events = verdict.evidence.iter().map(|e| format!("#{}", e.event));
                let events = events.collect::<Vec<_>>().join(" ");
                writeln!(out, "  {:<12}run {run}: {events}", "alike")?;
            }
        }
        for line in missing_runs(self.runs.iter().map(|run| run.run)) {
            writeln!(out, "  {:<12}{line}", "missing")?;
        }
        let Comparison { common, differed } = &self.comparison;
        for (label, lines) in [("in common", common), ("differed", differed)] {
            let labels = std::iter::once(label).chain(std::iter::repeat(""));
            for (label, line) in labels.zip(lines) {
                writeln!(out, "  {label:<12}{line}")?;
            }
        }
        Ok(())
    }
}

fn details(run: &RunVerdict, out: &mut impl Write) -> io::Result<()> {
    let verdict = &run.verdict;
    let mut label = "evidence";
    for evidence in &verdict.evidence {
        let (event, time) = (evidence.event, since_start(evidence.after_start()));
        writeln!(out, "  {label:<12}#{event:<5} {time:<10} {}", evidence.text)?;
        label = "";
    }
    for (label, lead) in ["leads"]
        .into_iter()
        .chain(std::iter::repeat(""))
        .zip(&run.leads)
    {
        let events = lead.evidence.iter().map(|it| format!("#{}", it.event));
        let events = events.collect::<Vec<_>>().join(" ");
        writeln!(out, "  {label:<12}{} ({events}): {}", lead.what, lead.why)?;
    }
    writeln!(
        out,
        "  {:<12}{}: {}",
        "confidence",
        verdict.band.in_words(),
        verdict.why
    )?;
    for weakness in &verdict.weakened_by {
        writeln!(out, "  {:<12}{weakness}", "weakened by")?;
    }
    writeln!(out, "  {:<12}{}", "next step", verdict.next_step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{INIT, Script, capture, nginx};

    fn text(scripts: &[Script]) -> String {
        let mut out = Vec::new();
        explain(&mut capture(scripts)).write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn config_error() -> Script {
        let mut s = Script::new(&["nginx"]);
        s.write(
            INIT,
            2,
            "nginx: [emerg] unknown directive \"prox_pass\" in /etc/nginx/nginx.conf:5\n",
        )
        .exit(INIT, 1);
        s
    }

    #[test]
    fn runs_that_ended_alike() {
        insta::assert_snapshot!(text(&[nginx(), nginx()]));
    }

    #[test]
    fn runs_that_differ_are_told_apart() {
        let explanation = explain(&mut capture(&[nginx(), nginx(), config_error()]));
        assert!(!explanation.alike);
        insta::assert_snapshot!(explanation.sentence);
    }

    #[test]
    fn leads_are_listed_after_the_evidence() {
        let mut s = Script::new(&["slapd", "-f", "/etc/ldap/app.conf"]);
        s.stat(INIT, "/etc/ldap/app.conf", 2).exit(INIT, 1);
        insta::assert_snapshot!(text(&[s]));
    }

    #[test]
    fn as_json() {
        insta::assert_snapshot!(
            serde_json::to_string_pretty(&explain(&mut capture(&[config_error()]))).unwrap()
        );
    }

    #[test]
    fn a_capture_without_runs_says_so() {
        assert_eq!(text(&[]), "the capture holds no run\n");
    }
}
