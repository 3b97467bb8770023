//! How fast captures are read: `show` and `explain` on the captures of `corpus`, and a million events, compared with
//! sysdig on the same events.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use capture_format::{RunIndex, open_file};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

use crate::{median, program, say, thousands};

/// How many passes there are; in each, lastword and sysdig are measured one after the other.
const PASSES: usize = 5;

/// What a command cost.
#[derive(Clone, Copy)]
struct Cost {
    /// CPU time, user and system.
    seconds: f64,
    /// Largest resident set, MiB.
    memory: f64,
}

/// Runs a command and prints what it cost. It does so in a process of its own, because the system reports the largest
/// memory of all children together.
pub(crate) fn measure(words: &[&str]) -> Result<()> {
    let (program, arguments) = words.split_first().context("measure what?")?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{}: {status}", words.join(" "));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    println!("{seconds} {}", usage.max_rss() as f64 / 1024.0);
    Ok(())
}

/// A command line.
type Words = Vec<OsString>;

fn words<const N: usize>(words: [&OsStr; N]) -> Words {
    words.map(OsStr::to_owned).to_vec()
}

fn cost(command: &Words) -> Result<Cost> {
    let output = Command::new(env::current_exe()?)
        .arg("measure")
        .args(command)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (seconds, memory) = text.trim().split_once(' ').context("no figures")?;
    Ok(Cost {
        seconds: seconds.parse()?,
        memory: memory.parse()?,
    })
}

fn lastword() -> Result<OsString> {
    program("LASTWORD_BIN")
}

pub(crate) fn run(folder: &Path) -> Result<()> {
    recorded(folder)?;
    say!("");
    beside_sysdig(&folder.join("../million"))
}

/// Measures the captures of `corpus`.
fn recorded(folder: &Path) -> Result<()> {
    say!("| capture | runs | events | show | show --json | explain |");
    say!("|---|--:|--:|--:|--:|--:|");
    for (name, times) in [
        ("nginx", 15),
        ("python", 15),
        ("chatty", 15),
        ("full-ring", 9),
        ("synthetic/big", 3),
    ] {
        let capture = folder.join(name).with_extension("lwcap");
        if !capture.exists() {
            continue;
        }
        let mut reader =
            open_file(&capture).with_context(|| format!("cannot read {name}.lwcap"))?;
        let runs = reader.runs().len();
        let events: usize = (0..runs)
            .map(|run| reader.events(RunIndex(run)).count())
            .sum();
        let column = |arguments: &[&str]| {
            let mut command = vec![lastword()?];
            command.extend(arguments.iter().map(OsString::from));
            command.push(capture.clone().into());
            let costs = (0..times).map(|_| Ok(cost(&command)?.seconds));
            let seconds = median(costs.collect::<Result<_>>()?);
            Ok::<_, anyhow::Error>(format!(
                "{:.1} ms, {} events/s",
                seconds * 1e3,
                thousands(events as f64 / seconds)
            ))
        };
        say!(
            "| {name} | {runs} | {events} | {} | {} | {} |",
            column(&["show"])?,
            column(&["show", "--json"])?,
            column(&["explain"])?
        );
    }
    Ok(())
}

/// What is compared: the arguments of lastword and of sysdig, and the target in events a second.
struct Row {
    what: &'static str,
    ours: fn(&Path) -> Result<Words>,
    theirs: fn(&OsStr, &Path) -> Words,
    target: f64,
}

const ROWS: [Row; 4] = [
    Row {
        what: "filter: connects",
        ours: |capture| filtered("evt.type=connect", capture),
        theirs: |sysdig, scap| {
            words([
                sysdig,
                "-r".as_ref(),
                scap.as_ref(),
                "evt.type=connect".as_ref(),
            ])
        },
        target: 20e6,
    },
    Row {
        what: "filter: opens that failed",
        ours: |capture| filtered("evt.type=openat and evt.failed=true", capture),
        theirs: |sysdig, scap| {
            let filter = "evt.type=openat and evt.failed=true";
            words([sysdig, "-r".as_ref(), scap.as_ref(), filter.as_ref()])
        },
        target: 20e6,
    },
    Row {
        what: "text",
        ours: |capture| Ok(words([&lastword()?, "show".as_ref(), capture.as_ref()])),
        theirs: |sysdig, scap| words([sysdig, "-r".as_ref(), scap.as_ref()]),
        target: 2e6,
    },
    Row {
        what: "JSON",
        ours: |capture| {
            Ok(words([
                &lastword()?,
                "show".as_ref(),
                "--json".as_ref(),
                capture.as_ref(),
            ]))
        },
        theirs: |sysdig, scap| words([sysdig, "-j".as_ref(), "-r".as_ref(), scap.as_ref()]),
        target: 1.5e6,
    },
];

fn filtered(expression: &str, capture: &Path) -> Result<Words> {
    let [show, filter, expression] = ["show", "--filter", expression].map(OsStr::new);
    Ok(words([
        &lastword()?,
        show,
        filter,
        expression,
        capture.as_ref(),
    ]))
}

/// Measures a million made-up events, as a capture and as the `.scap` file that lastword makes of it.
fn beside_sysdig(folder: &Path) -> Result<()> {
    let (one, five) = (folder.join("1.lwcap"), folder.join("5.lwcap"));
    let sysdig = sysdig(&one);
    match &sysdig {
        Ok((sysdig, _)) => say!("Beside {}:", version(sysdig)?),
        Err(why) => say!("sysdig: **not run**: {why:#}."),
    }
    say!("");
    say!(
        "| a million events | ours, events/s | target | sysdig, events/s | ratio | ours, MiB | of 5 million | sysdig, MiB |"
    );
    say!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for row in ROWS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..PASSES {
            ours.push(cost(&(row.ours)(&one)?)?);
            if let Ok((sysdig, scap)) = &sysdig {
                theirs.push(cost(&(row.theirs)(sysdig, scap))?);
            }
        }
        let speed = |costs: &[Cost]| 1e6 / median(costs.iter().map(|it| it.seconds).collect());
        let memory = |costs: &[Cost]| median(costs.iter().map(|it| it.memory).collect());
        let ratios = ours.iter().zip(&theirs).map(|(a, b)| b.seconds / a.seconds);
        let beside = if theirs.is_empty() {
            ["not run".to_owned(), String::new(), String::new()]
        } else {
            [
                thousands(speed(&theirs)),
                format!("{:.1}", median(ratios.collect())),
                format!("{:.1}", memory(&theirs)),
            ]
        };
        let target = match row.target {
            target if speed(&ours) >= target => format!("{} ok", thousands(target)),
            target => format!("{} **missed**", thousands(target)),
        };
        say!(
            "| {} | {} | {target} | {} | {} | {:.1} | {:.1} | {} |",
            row.what,
            thousands(speed(&ours)),
            beside[0],
            beside[1],
            memory(&ours),
            cost(&(row.ours)(&five)?)?.memory,
            beside[2]
        );
    }
    Ok(())
}

/// sysdig and the file that it reads; an error if it cannot be run.
fn sysdig(capture: &Path) -> Result<(OsString, PathBuf)> {
    let readers = env::var_os("LASTWORD_READERS").context("LASTWORD_READERS names no folder")?;
    let sysdig = Path::new(&readers).join("sysdig");
    ensure!(
        sysdig.exists(),
        "it is not in the folder of LASTWORD_READERS, where `cargo xtask readers` puts it"
    );
    let scap = capture.with_extension("scap");
    let status = Command::new(lastword()?)
        .args(["export", "--to", "scap", "-o"])
        .args([&scap, capture])
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "`lastword export --to scap`: {status}");
    ensure!(fs::metadata(&scap)?.len() > 0, "the exported file is empty");
    Ok((sysdig.into(), scap))
}

/// The version of sysdig, such as `sysdig version 0.41.4`.
fn version(sysdig: &OsStr) -> Result<String> {
    let output = Command::new(sysdig).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("sysdig").to_owned())
}
