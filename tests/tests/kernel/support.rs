//! Recording a command and looking at its events.

use std::{
    env, fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use capture_format::{Event, EventKind, Header, Run, RunIndex};

/// Where cgroup v2 is mounted.
pub(crate) fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let point = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    });
    point.expect("cgroup v2 is mounted")
}

/// The program under test.
pub(crate) fn lastword() -> PathBuf {
    program("LASTWORD_BIN", "lastword")
}

/// The program that does one exact thing.
pub(crate) fn victim() -> PathBuf {
    program("LASTWORD_VICTIM", "victim")
}

/// The path from the environment; otherwise the place where cargo puts binaries, two folders above the test's own.
fn program(variable: &str, name: &str) -> PathBuf {
    env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        let own = env::current_exe().expect("the test's own path");
        let folder = own.ancestors().nth(2).expect("target folder");
        folder.join(name)
    })
}

/// A recorded command.
pub(crate) struct Recorded {
    pub(crate) output: Output,
    pub(crate) runs: Vec<(Run, Vec<Event>)>,
    pub(crate) capture: PathBuf,
    _folder: tempfile::TempDir,
}

impl Recorded {
    /// The events of its only run.
    pub(crate) fn events(&self) -> &[Event] {
        &self.runs[0].1
    }

    pub(crate) fn run(&self) -> &Run {
        &self.runs[0].0
    }

    /// Events of a kind.
    pub(crate) fn of(&self, kind: EventKind) -> Vec<&Event> {
        self.events()
            .iter()
            .filter(|event| event.kind == kind)
            .collect()
    }

    /// The only event of a kind for which `fits` is true.
    pub(crate) fn one(&self, kind: EventKind, fits: impl Fn(&Event) -> bool) -> &Event {
        let found: Vec<&Event> = self
            .of(kind)
            .into_iter()
            .filter(|event| fits(event))
            .collect();
        assert_eq!(
            found.len(),
            1,
            "{:?} events that fit; all of the kind: {:#?}",
            kind.name(),
            self.of(kind)
        );
        found[0]
    }

    /// The verdict: stable name of the cause, and the sentence.
    pub(crate) fn verdict(&self) -> (String, String) {
        let output = Command::new(lastword())
            .arg("explain")
            .arg("--json")
            .arg(&self.capture)
            .output()
            .expect("lastword explain");
        let document: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("JSON from explain");
        let run = &document["runs"][0];
        let text = |key: &str| {
            run[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key} in {document:#}"))
                .to_owned()
        };
        (text("cause"), text("sentence"))
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Records one run of a command, with options of `lastword run`.
pub(crate) fn record_with(options: &[&str], command: &[&str]) -> Recorded {
    record_by(Command::new(lastword()), options, command)
}

/// Records the victim while lastword is in a cgroup.
pub(crate) fn record_inside(cgroup: &Path, words: &[&str]) -> Recorded {
    record_inside_after(":", cgroup, words)
}

/// The same after a shell has executed `first`, which may fail.
pub(crate) fn record_inside_after(first: &str, cgroup: &Path, words: &[&str]) -> Recorded {
    let shell = inside_after(first, cgroup, &lastword(), &[]);
    let victim = victim();
    let mut command = vec![victim.to_str().expect("a path in UTF-8")];
    command.extend(words);
    record_by(shell, &[], &command)
}

/// A program that is started in a cgroup.
pub(crate) fn inside(cgroup: &Path, program: &Path, words: &[&str]) -> Command {
    inside_after(":", cgroup, program, words)
}

fn inside_after(first: &str, cgroup: &Path, program: &Path, words: &[&str]) -> Command {
    let mut shell = Command::new("/bin/sh");
    let script = format!("{first}; echo 0 > \"$0/cgroup.procs\" && exec \"$@\"");
    shell
        .args(["-c", &script])
        .args([cgroup.as_os_str(), program.as_os_str()])
        .args(words);
    shell
}

fn record_by(mut lastword: Command, options: &[&str], command: &[&str]) -> Recorded {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let capture = folder.path().join(format!("{number}.lwcap"));
    let output = lastword
        .arg("run")
        // Under sudo the command would otherwise run as the caller.
        .env_remove("SUDO_UID")
        .args(["--restarts", "1", "--backoff", "none"])
        .args(options)
        .arg("-o")
        .arg(&capture)
        .arg("--")
        .args(command)
        .output()
        .expect("lastword run");
    let (_, runs) = read(&capture).unwrap_or_else(|error| {
        panic!(
            "{error:#}; lastword said: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    Recorded {
        output,
        runs,
        capture,
        _folder: folder,
    }
}

/// Records one run of a command.
pub(crate) fn record(command: &[&str]) -> Recorded {
    record_with(&[], command)
}

/// Records the victim while it does something.
pub(crate) fn record_victim(words: &[&str]) -> Recorded {
    let victim = victim();
    let mut command = vec![victim.to_str().expect("a path in UTF-8")];
    command.extend(words);
    record(&command)
}

/// Runs, each with its events.
type Runs = Vec<(Run, Vec<Event>)>;

pub(crate) fn read(capture: &Path) -> anyhow::Result<(Header, Runs)> {
    let mut reader = capture_format::open_file(capture)?;
    let (header, runs) = (reader.header().clone(), reader.runs().to_vec());
    let mut all = Vec::new();
    for (index, run) in runs.into_iter().enumerate() {
        let events: Result<Vec<Event>, _> = reader
            .events(RunIndex(index))
            .map(|event| event.map(|event| event.event))
            .collect();
        all.push((run, events.map_err(|damage| anyhow::anyhow!("{damage}"))?));
    }
    Ok((header, all))
}

/// A DNS server for one question. It answers with a code of RFC 1035 section 4.1.1; with `None` it answers nothing.
pub(crate) fn dns_server(address: &str, code: Option<u8>) {
    let socket = UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut message) {
            if let Some(code) = code {
                message[2] |= 0x80;
                message[3] = 0x80 | code;
                let _ = socket.send_to(&message[..length], peer);
            }
        }
    });
}
