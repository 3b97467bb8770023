//! `lastword tui` at a real terminal, which script(1) provides. Without script(1) the tests are skipped.

#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use capture_format::{BootTime, Tid};

/// The escape sequence that leaves the alternate screen.
const LEFT: &str = "\x1b[?1049l";
/// The escape sequence that shows the cursor.
const CURSOR: &str = "\x1b[?25h";

struct Session {
    child: Child,
    shown: String,
}

impl Session {
    /// Starts lastword on a terminal of 80 columns and 24 rows. The first thing shown is its process id.
    fn start() -> Option<Self> {
        Self::with(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/nginx-upstream.lwcap"),
        )
    }

    fn with(sample: &Path) -> Option<Self> {
        let lastword = env!("CARGO_BIN_EXE_lastword");
        let command = format!(
            "stty cols 80 rows 24; echo pid=$$; exec '{lastword}' tui '{}'",
            sample.display()
        );
        let child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let shown = String::new();
        child.ok().map(|child| Self { child, shown })
    }

    /// Reads the output until it contains this text.
    fn wait_for(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.shown.contains(text) {
            let read = self
                .child
                .stdout
                .as_mut()
                .unwrap()
                .read(&mut bytes)
                .unwrap();
            assert!(read > 0, "no {text:?} in {:?}", self.shown);
            self.shown
                .push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }

    fn keys(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until it has given the terminal back and ended.
    fn end(mut self) -> ExitStatus {
        self.wait_for(LEFT);
        self.wait_for(CURSOR);
        self.child.wait().unwrap()
    }
}

#[test]
fn keys_are_heard_and_the_terminal_is_given_back() {
    let Some(mut session) = Session::start() else {
        return;
    };
    // Later screens are written as differences to this one, so a word may not appear as a whole.
    session.wait_for("Verdict on run 2");
    session.keys("q");
    assert!(session.end().success());
}

#[test]
fn the_terminal_is_given_back_to_whoever_ends_it() {
    let Some(mut session) = Session::start() else {
        return;
    };
    session.wait_for("Verdict on run 2");
    let pid = session.shown.split("pid=").nth(1).unwrap();
    let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    assert!(session.end().success());
}

/// The progress bar would share the terminal with the UI; it appears when reading takes longer than a second.
#[test]
fn no_progress_bar_is_drawn_over_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.lwcap");
    write_large(&large);
    let Some(mut session) = Session::with(&large) else {
        return;
    };
    session.wait_for("Verdict on run 1");
    std::thread::sleep(std::time::Duration::from_millis(1200));
    // This takes a whole pass.
    session.keys("2");
    session.wait_for("200000 events");
    session.keys("q");
    session.wait_for(LEFT);
    assert!(!session.shown.contains("iB of "), "{:?}", session.shown);
    assert!(session.end().success());
}

/// A capture whose reading takes longer than a second in a build without optimisation.
fn write_large(path: &Path) {
    use capture_format::{Event, EventKind, Header, Run};
    let run = Run {
        number: 1,
        init_pid: 7,
        end: Some(BootTime(1 << 40)),
        ..Run::default()
    };
    capture_format::write_file(path, &Header::default(), |writer| {
        writer.begin_run(&run)?;
        for number in 0..200_000_u64 {
            writer.event(&Event {
                time: BootTime(number * 1000),
                pid: 7,
                tid: Tid(7),
                kind: EventKind::WRITE,
                ret: 8,
                args: [1, 0, 8],
                data: number.to_le_bytes().to_vec().into(),
                ..Event::default()
            })?;
        }
        writer.end_run()
    })
    .unwrap();
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_lastword"))
        .args(["tui", "/dev/null/x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sample =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/nginx-upstream.lwcap");
    let output = Command::new(env!("CARGO_BIN_EXE_lastword"))
        .arg("tui")
        .arg(&sample)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("needs a terminal"), "{said}");
    assert!(output.stdout.is_empty());
}
