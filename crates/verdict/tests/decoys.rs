//! Crashes that look like something they are not. A program met a failure and coped with it; then it gave up over
//! something else, in words that name the same thing. No such verdict may be surer than *plausible*.
//!
//! And the opposite: a verdict that is right loses its band if what it rests on is taken away.

use std::fs::read_dir;
use std::path::{Path, PathBuf};

use capture_format::{Class, Event, Run, open_file};
use fixtures::{INIT, Script, capture, inet};
use verdict::explain::explain;
use verdict::facts::Facts;
use verdict::rules::{Band, Case, Cause, Verdict, judge};

/// A failure that a program coped with, and how its words name what the failure was about.
struct Coped {
    name: &'static str,
    fails: fn(&mut Script),
    entity: &'static str,
}

const COPED: &[Coped] = &[
    Coped {
        name: "missing file",
        fails: |s| {
            s.open(INIT, "/etc/app/plugins.yaml", -2);
        },
        entity: "/etc/app/plugins.yaml",
    },
    Coped {
        name: "file that may not be read",
        fails: |s| {
            s.open(INIT, "/var/lib/app/cache.db", -13);
        },
        entity: "/var/lib/app/cache.db",
    },
    Coped {
        name: "read-only file system",
        fails: |s| {
            s.open(INIT, "/srv/state/app.pid", -30);
        },
        entity: "/srv/state/app.pid",
    },
    Coped {
        name: "refused connection",
        fails: |s| {
            s.connect(INIT, 7, &inet([10, 0, 0, 7], 8125), -111);
        },
        entity: "10.0.0.7:8125",
    },
    Coped {
        name: "unknown name",
        fails: |s| {
            s.resolver_socket(INIT, 5, [10, 96, 0, 10])
                .ask(INIT, 5, 7, "metrics")
                .replies(INIT, 5, [10, 96, 0, 10], 7, "metrics", 3);
        },
        entity: "metrics",
    },
];

/// What a program says when it gives up over something else. `{}` is what the failure was about.
const REASONS: &[&str] = &[
    "port 99999 is invalid (defaults from {})",
    "the licence for {} has expired",
    "7 rows differ from {}",
    "key 'users' is not known to {}",
    "schema version 3 is unsupported ({} declares it)",
    "{} lists 3 workers, 2 are allowed",
    "tenant 7 has used up its quota on {}",
    "user bob must not use {}",
    "rate 'fast' for {} is no number",
    "certificate has no key identifier; {} is not used",
    "ledger out of balance. Samples of {} are kept",
    "unexpected token in the rules, {} was read before",
    "cannot agree on a leader for {}: 1 of 3 votes",
];

/// The same without a word about it.
const OTHER_REASONS: &[&str] = &[
    "port 99999 is invalid",
    "the licence has expired",
    "key 'users' is not known",
    "schema version 3 is unsupported",
    "tenant 7 has used up its quota",
    "certificate has no key identifier",
    "ledger out of balance",
    "cannot agree on a leader: 1 of 3 votes",
];

/// How programs in several languages, and loggers in several formats, write a reason. `{}` is the reason.
const FORMS: &[&str] = &[
    "{}\n",
    "fatal: {}\n",
    "app[1]: error: {}\n",
    "2026-11-30 12:00:01,123 - app.main - ERROR - {}\n",
    "2026/11/30 12:00:01 [emerg] 1#1: {}\n",
    "{\"level\":\"fatal\",\"ts\":1.5,\"msg\":\"{}\"}\n",
    "time=\"2026-11-30T12:00:01Z\" level=fatal msg=\"{}\"\n",
    "F1130 12:00:01.000000       1 main.go:12] {}\n",
    "Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in <module>\n    start()\nValueError: {}\n",
    "/app/server.js:10\n    throw new Error(x)\n    ^\n\nError: {}\n    at start (/app/server.js:10:11)\n\nNode.js v20.20.2\n",
    "Exception in thread \"main\" java.lang.IllegalStateException: {}\n\tat com.example.Main.main(Main.java:3)\n",
    "panic: {}\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:9 +0x1d\nexit status 2\n",
    "thread 'main' panicked at src/main.rs:5:10:\n{}\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
    "terminate called after throwing an instance of 'std::runtime_error'\n  what():  {}\n",
    "app.rb:3:in `start': {} (RuntimeError)\n\tfrom app.rb:9:in `<main>'\n",
    "PHP Fatal error:  Uncaught RuntimeException: {} in /app/index.php:3\n",
];

/// What was said when the failure was coped with. `{}` is what it was about.
const BEFORE: &[&str] = &[
    "",
    "warn: {} cannot be used, going on without\n",
    "info: no {}, using defaults\n",
];

#[test]
fn no_decoy_is_believed() {
    let (mut wrong, mut all) = (Vec::new(), 0);
    let mut plausible = 0;
    for coped in COPED {
        for reason in REASONS {
            for form in FORMS {
                for before in BEFORE {
                    let mut s = Script::new(&["app"]);
                    (coped.fails)(&mut s);
                    if !before.is_empty() {
                        s.write(INIT, 2, &before.replace("{}", coped.entity));
                    }
                    let text = form.replacen("{}", &reason.replace("{}", coped.entity), 1);
                    s.write(INIT, 2, &text).exit(INIT, 1);
                    let explanation = explain(&mut capture(&[s]));
                    let verdict = &explanation.runs[0].verdict;
                    all += 1;
                    let names = !matches!(verdict.cause, Cause::ExitedNonZero | Cause::Unknown);
                    plausible += usize::from(names && verdict.band <= Band::Plausible);
                    if names && verdict.band > Band::Plausible {
                        wrong.push(format!("{}: {}", coped.name, verdict.sentence));
                    }
                }
            }
        }
    }
    println!(
        "{all} decoys: {plausible} plausible, {} likely",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {all}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // A plausible verdict on a decoy is wrong, too. It remains where hardly any program goes on after the failure.
    assert!(4 * plausible <= all, "{plausible} of {all} are plausible");
}

/// Of a verdict that names no cause, what the program coped with is no lead if it gave up over something else. A lead
/// that leads away costs more than none.
#[test]
fn what_a_program_coped_with_is_no_lead() {
    let (mut misleading, mut all) = (Vec::new(), 0);
    for coped in COPED {
        for reason in OTHER_REASONS {
            for form in FORMS {
                for before in BEFORE {
                    let mut s = Script::new(&["app"]);
                    (coped.fails)(&mut s);
                    if !before.is_empty() {
                        s.write(INIT, 2, &before.replace("{}", coped.entity));
                    }
                    s.write(INIT, 2, &form.replacen("{}", reason, 1))
                        .exit(INIT, 1);
                    let explanation = explain(&mut capture(&[s]));
                    let leads = &explanation.runs[0].leads;
                    all += 1;
                    misleading.extend(
                        leads
                            .iter()
                            .map(|lead| format!("{reason}: {form}: {before}: {lead}")),
                    );
                }
            }
        }
    }
    println!("{} of {all} decoys have a lead", misleading.len());
    assert!(misleading.is_empty(), "{}", misleading.join("\n"));
}

fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let folders = [
        "",
        "held-out",
        "held-out-later",
        "held-out-last",
        "programs",
        "programs-later",
    ];
    let files = folders.iter().flat_map(|folder| {
        let files = read_dir(root.join(folder)).unwrap().flatten();
        files.map(|file| file.path())
    });
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "lwcap"))
        .collect();
    files.sort();
    files
}

/// The last run of a capture and its events.
fn last_run(path: &Path) -> (capture_format::Header, Run, Vec<(u64, Event)>) {
    let mut reader = open_file(path).unwrap();
    let header = reader.header().clone();
    let run = reader.runs().last().unwrap().clone();
    let index = reader.indexes().last().unwrap();
    let events = reader.events(index).flatten();
    let events = events.map(|event| (event.number, event.event)).collect();
    (header, run, events)
}

fn judged(header: &capture_format::Header, run: &Run, events: &[(u64, Event)]) -> Verdict {
    let events = events.iter().map(|(number, event)| (*number, event));
    let facts = Facts::of(run, events);
    judge(&Case::new(&facts, run, header))
}

/// Causes that rest on something that failed, and on what was said about it.
fn is_tied(cause: Cause) -> bool {
    use Cause as C;
    matches!(
        cause,
        C::MissingFile
            | C::ReadOnlyFileSystem
            | C::PermissionDenied
            | C::DiskFull
            | C::TooManyOpenFiles
            | C::PortInUse
            | C::AddressNotAvailable
            | C::Locked
            | C::ProcessRefused
            | C::ConnectionRefused
            | C::ConnectionTimedOut
            | C::HostUnreachable
            | C::DnsNoSuchHost
            | C::DnsNoAddress
            | C::DnsServerFailed
            | C::DnsNoAnswer
            | C::CallFailed
    )
}

#[test]
fn what_a_verdict_rests_on_is_needed() {
    let (mut without_failure, mut without_words) = (0, 0);
    for path in captures() {
        let (header, run, events) = last_run(&path);
        let verdict = judged(&header, &run, &events);
        if verdict.band != Band::Likely || !is_tied(verdict.cause) {
            continue;
        }
        // Nothing failed, and nothing was asked.
        let succeeded: Vec<_> = events
            .iter()
            .filter(|(_, event)| event.ret >= 0 || !event.kind.is_syscall())
            .filter(|(_, event)| {
                !(event.kind.class().moves_bytes() && event.kind.class() != Class::Writes)
            })
            .cloned()
            .collect();
        let other = judged(&header, &run, &succeeded);
        assert!(
            other.band < verdict.band || other.cause != verdict.cause,
            "{}: without the failure it still is {}",
            path.display(),
            other.sentence
        );
        without_failure += 1;
        // The words are about something else.
        let silent: Vec<_> = events
            .iter()
            .map(|(number, event)| {
                let mut event = event.clone();
                if event.kind.class() == Class::Writes {
                    event.data = event
                        .data
                        .iter()
                        .map(|byte| about_something_else(*byte))
                        .collect();
                }
                (*number, event)
            })
            .collect();
        let other = judged(&header, &run, &silent);
        // abort(3) remains, which the kernel reports.
        assert!(
            other.band < verdict.band || other.cause != verdict.cause,
            "{}: in other words it still is {}",
            path.display(),
            other.sentence
        );
        without_words += 1;
    }
    println!("{without_failure} without the failure, {without_words} in other words");
    assert!(without_failure >= 50 && without_words >= 50);
}

/// Another letter for each letter.
fn about_something_else(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => b'a' + (byte - b'a' + 13) % 26,
        b'A'..=b'Z' => b'A' + (byte - b'A' + 13) % 26,
        other => other,
    }
}
