//! Measures how often the verdicts are right: on the corpus, for which the rules were written, and on crashes for
//! which they were not.
//!
//! The figures are in docs/verdicts.md. `INSTA_UPDATE=always cargo test -p verdict --test measure` renews them, and
//! `cargo test -p verdict --test measure -- --nocapture` prints them.

use std::fmt::Write;
use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};

use verdict::explain::explain;
use verdict::rules::Band;

const BEGIN: &str = "<!-- measured: cargo test -p verdict --test measure -->\n";
const END: &str = "<!-- measured so far -->";
/// In this band and above it, a verdict claims to know the cause: a wrong verdict misleads.
const SURE: Band = Band::Likely;
/// Bands that name a cause.
const BANDS: &[Band] = &[Band::Certain, Band::Likely, Band::Plausible];
/// Verdicts that name no cause: they only report what was recorded.
const HONEST: &[&str] = &["exited_non_zero", "unknown"];

/// A capture, what truly ended its last run, and what the verdict says.
struct Judged {
    capture: String,
    expected: String,
    said: String,
    right: bool,
    band: Band,
    /// Whether the verdict cites the words that say why; `None` if nobody wrote down which these are.
    cites: Option<bool>,
    /// The leads in words, and whether one of them names what the true cause is about.
    leads: Vec<String>,
    decisive: bool,
}

impl Judged {
    fn names_a_cause(&self) -> bool {
        !HONEST.contains(&&*self.said)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Judges every capture that `expected.txt` of a folder lists.
fn judge(folder: &str) -> Vec<Judged> {
    let folder = root().join(folder);
    let list = read_to_string(folder.join("expected.txt")).unwrap();
    let lines = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let judged: Vec<Judged> = lines
        .map(|line| {
            let (line, decisive) = match line.split_once(" | ") {
                Some((line, decisive)) => (line, Some(decisive)),
                None => (line, None),
            };
            let mut words = line.splitn(3, ' ');
            let (capture, expected) = (words.next().unwrap(), words.next().unwrap());
            let subject = words.next().unwrap_or_default();
            let path = folder.join(capture).with_extension("lwcap");
            let explanation = explain(&mut capture_format::open_file(&path).unwrap());
            let run = explanation.runs.last().unwrap();
            let verdict = &run.verdict;
            let leads: Vec<String> = run.leads.iter().map(|lead| lead.what.clone()).collect();
            let said = verdict.cause.name();
            let right = match expected {
                "unexplained" => HONEST.contains(&&*said),
                cause => said == cause && verdict.subject.contains(subject),
            };
            let evidence = verdict.evidence.iter().map(|evidence| &evidence.text);
            let texts: Vec<&String> = evidence.chain([&verdict.sentence]).chain(&leads).collect();
            let cites = decisive.map(|words| texts.iter().any(|text| text.contains(words)));
            Judged {
                decisive: !subject.is_empty() && leads.iter().any(|lead| lead.contains(subject)),
                capture: capture.into(),
                expected: expected.into(),
                said,
                right,
                band: verdict.band,
                cites,
                leads,
            }
        })
        .collect();
    let captures = folder.read_dir().unwrap().flatten();
    let captures =
        captures.filter(|file| file.path().extension().is_some_and(|end| end == "lwcap"));
    assert_eq!(
        captures.count(),
        judged.len(),
        "expected.txt of {} lists every capture",
        folder.display()
    );
    judged
}

fn percent(part: usize, whole: usize) -> String {
    match whole {
        0 => "–".into(),
        whole => format!(
            "{part}/{whole} ({:.0} %)",
            100.0 * part as f64 / whole as f64
        ),
    }
}

fn row(name: &str, judged: &[Judged]) -> String {
    let named = judged.iter().filter(|one| one.names_a_cause());
    let right = named.clone().filter(|one| one.right).count();
    let explicable = judged
        .iter()
        .filter(|one| one.expected != "unexplained")
        .count();
    let inexplicable = judged.iter().filter(|one| one.expected == "unexplained");
    let honest = inexplicable.clone().filter(|one| one.right).count();
    let sure = judged
        .iter()
        .filter(|one| one.names_a_cause() && one.band >= SURE);
    let sure_right = sure.clone().filter(|one| one.right).count();
    let cites = judged.iter().filter_map(|one| one.cites);
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} |\n",
        judged.len(),
        percent(right, named.count()),
        percent(sure_right, sure.count()),
        percent(right, explicable),
        percent(honest, inexplicable.count()),
        percent(cites.clone().filter(|cites| *cites).count(), cites.count()),
    )
}

fn wrong(text: &mut String, judged: &[Judged]) {
    for one in judged.iter().filter(|one| !one.right) {
        let Judged {
            capture,
            expected,
            said,
            band,
            cites,
            ..
        } = one;
        let cites = match cites {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        writeln!(
            text,
            "| {capture} | `{expected}` | `{said}` | {band} | {cites} |"
        )
        .unwrap();
    }
}

/// Of the crashes for which no cause was named: for how many a lead names what it was about, and all of them with their
/// leads.
fn leads(judged: &[(&str, Vec<Judged>)]) -> String {
    let mut text = String::from(
        "\n| set | cause recorded, not named | a lead names it | another lead | nothing tells | a lead all the same |\n|---|---|---|---|---|---|\n",
    );
    let mut each = String::from(
        "\nLeads where no cause is named:\n\n| capture | truly | leads |\n|---|---|---|\n",
    );
    for (name, judged) in judged
        .iter()
        .filter(|(name, _)| !name.contains("first sight"))
    {
        let open = || judged.iter().filter(|one| !one.names_a_cause());
        let (recorded, nothing): (Vec<_>, Vec<_>) =
            open().partition(|one| one.expected != "unexplained");
        let decisive = recorded.iter().filter(|one| one.decisive).count();
        let others = recorded
            .iter()
            .filter(|one| !one.decisive && !one.leads.is_empty());
        let all_the_same = nothing.iter().filter(|one| !one.leads.is_empty()).count();
        writeln!(
            text,
            "| {name} | {} | {decisive} | {} | {} | {all_the_same} |",
            recorded.len(),
            others.count(),
            nothing.len(),
        )
        .unwrap();
        for one in open().filter(|one| one.expected != "unexplained" || !one.leads.is_empty()) {
            let leads = one.leads.join("; ");
            writeln!(each, "| {} | `{}` | {leads} |", one.capture, one.expected).unwrap();
        }
    }
    text + &each
}

fn report() -> String {
    let sets = [
        ("corpus", judge("tests/captures")),
        (
            "held out, at first sight",
            at_first_sight("tests/captures/held-out"),
        ),
        (
            "held out later, at first sight",
            at_first_sight("tests/captures/held-out-later"),
        ),
        (
            "held out last, at first sight",
            at_first_sight("tests/captures/held-out-last"),
        ),
        (
            "programs, at first sight",
            at_first_sight("tests/captures/programs"),
        ),
        (
            "programs later, at first sight",
            at_first_sight("tests/captures/programs-later"),
        ),
        (
            "held out, rules as they are",
            judge("tests/captures/held-out"),
        ),
        (
            "held out later, rules as they are",
            judge("tests/captures/held-out-later"),
        ),
        (
            "held out last, rules as they are",
            judge("tests/captures/held-out-last"),
        ),
        (
            "programs, rules as they are",
            judge("tests/captures/programs"),
        ),
        (
            "programs later, rules as they are",
            judge("tests/captures/programs-later"),
        ),
    ];
    let mut text = String::from(
        "| set | captures | precision | precision of *likely* and *certain* | recall | honest where nothing tells | cites the words that say why |\n|---|---|---|---|---|---|---|\n",
    );
    sets.iter()
        .for_each(|(name, judged)| text.push_str(&row(name, judged)));
    text.push_str(&leads(&sets));
    text.push_str("\n| band | verdicts on all captures | right | stated |\n|---|---|---|---|\n");
    let all: Vec<&Judged> = sets
        .iter()
        .filter(|(name, _)| !name.ends_with("at first sight"))
        .flat_map(|(_, judged)| judged)
        .collect();
    for band in BANDS {
        let of_band = || {
            all.iter()
                .filter(|one| one.band == *band && one.names_a_cause())
        };
        let (right, whole) = (of_band().filter(|one| one.right).count(), of_band().count());
        let share = band.share();
        writeln!(
            text,
            "| {band} | {whole} | {} | {share} % |",
            percent(right, whole)
        )
        .unwrap();
        assert!(
            100 * right >= usize::from(share) * whole,
            "{band}: {right} of {whole} are right"
        );
    }
    for (name, judged) in &sets {
        if judged.iter().any(|one| !one.right) {
            writeln!(text, "\nWrong or not found ({name}):\n\n| capture | truly | said | band | cites why |\n|---|---|---|---|---|").unwrap();
            wrong(&mut text, judged);
        }
    }
    text
}

/// The name of a band in JSON.
fn name(band: Band) -> String {
    serde_json::to_value(band).unwrap().as_str().unwrap().into()
}

/// The band of its name, or of a confidence in percent, as verdicts had it before there were bands.
fn band(text: &str) -> Band {
    match text.parse() {
        Ok(95u8..) => Band::Certain,
        Ok(80..) => Band::Likely,
        Ok(50..) => Band::Plausible,
        Ok(10..) => Band::Lead,
        Ok(_) => Band::Unknown,
        Err(_) => {
            let mut bands = [Band::Unknown, Band::Lead].iter().chain(BANDS);
            *bands.find(|band| name(**band) == text).unwrap()
        }
    }
}

/// What the rules said about the held-out crashes before anybody looked at those; written down once.
fn at_first_sight(folder: &str) -> Vec<Judged> {
    let list = read_to_string(root().join(folder).join("first-sight.txt")).unwrap();
    let lines = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let &[capture, expected, said, confidence, right, ref cites @ ..] = &words[..] else {
                panic!("{line}")
            };
            Judged {
                capture: capture.into(),
                expected: expected.into(),
                said: said.into(),
                right: right == "right",
                band: band(confidence),
                cites: cites.first().map(|cites| *cites == "cites"),
                leads: Vec::new(),
                decisive: false,
            }
        })
        .collect()
}

#[test]
fn the_figures_are_those_of_the_documentation() {
    let path = root().join("docs/verdicts.md");
    let document = read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let report = report();
    println!("{report}");
    let renewed = format!("{before}{BEGIN}\n{report}\n{END}{after}");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        write(path, renewed).unwrap();
    } else {
        assert_eq!(document, renewed, "renew with INSTA_UPDATE=always");
    }
}

#[test]
fn nothing_is_said_surely_and_wrongly_of_the_corpus() {
    for one in judge("tests/captures") {
        let Judged {
            capture,
            expected,
            said,
            ..
        } = &one;
        assert!(
            one.right || one.band < SURE,
            "{capture}: {said}, but {expected}"
        );
    }
}

/// Writes the verdicts on a folder's captures into its `first-sight.txt`, if that file does not exist yet.
#[test]
#[ignore = "for crashes that nobody has judged yet"]
fn first_sight() {
    for folder in [
        "tests/captures/held-out",
        "tests/captures/held-out-later",
        "tests/captures/held-out-last",
        "tests/captures/programs",
        "tests/captures/programs-later",
    ] {
        let path = root().join(folder).join("first-sight.txt");
        if path.exists() {
            continue;
        }
        let mut text = String::from(
            "# What was said when these were seen first: capture, what truly ended it, what was said, in which band, whether that was right, and whether the words that say why were cited.\n",
        );
        for one in judge(folder) {
            let right = if one.right { "right" } else { "wrong" };
            let cites = match one.cites {
                Some(true) => " cites",
                Some(false) => " silent",
                None => "",
            };
            let Judged {
                capture,
                expected,
                said,
                band,
                ..
            } = &one;
            let band = name(*band);
            writeln!(text, "{capture} {expected} {said} {band} {right}{cites}").unwrap();
        }
        write(path, text).unwrap();
    }
}
