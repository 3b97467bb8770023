//! Bad input: a clear error that says what to do next, and an exit code that is not 0. Needs no privileges.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn lastword(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastword"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with a message that has these parts, and prints nothing else.
fn refuses(arguments: &[&str], parts: &[&str]) {
    let output = lastword(arguments);
    let said = stderr(&output);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    for part in parts {
        assert!(
            said.contains(part),
            "{arguments:?}: no {part:?} in {said:?}"
        );
    }
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/nginx-upstream.lwcap")
}

fn file(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_that_is_not_there() {
    for command in ["show", "info", "explain"] {
        refuses(
            &[command, "/no/such/file.lwcap"],
            &["/no/such/file.lwcap", "No such file"],
        );
    }
}

#[test]
fn a_file_of_another_kind() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = file(folder.path(), "x.lwcap", b"\x1f\x8b\x08\0\0\0\0\0\0\0");
    refuses(&["explain", &gzip], &["x.lwcap", "gzip"]);
    let text = file(folder.path(), "y.lwcap", b"hello, this is not a capture");
    refuses(&["show", &text], &["y.lwcap", "not"]);
    let empty = file(folder.path(), "z.lwcap", b"");
    refuses(&["info", &empty], &["z.lwcap"]);
}

#[test]
fn a_truncated_capture_gives_what_is_there_and_says_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let capture = fs::read(sample()).unwrap();
    let cut = file(
        folder.path(),
        "cut.lwcap",
        &capture[..capture.len() * 2 / 3],
    );
    let output = lastword(&["show", &cut]);
    assert!(!output.status.success());
    assert!(output.stdout.len() > 1000, "nothing was shown");
    assert!(stderr(&output).contains("cut.lwcap"), "{}", stderr(&output));
}

#[test]
fn a_corrupt_capture_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = fs::read(sample()).unwrap();
    let middle = capture.len() / 2;
    capture[middle..middle + 16].fill(0xa5);
    let damaged = file(folder.path(), "damaged.lwcap", &capture);
    let output = lastword(&["info", &damaged]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nginx"));
}

#[test]
fn a_whole_capture_is_read_without_complaint() {
    let sample = sample();
    for command in ["show", "info", "explain"] {
        let output = lastword(&[command, sample.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn unknown_words_on_the_command_line() {
    refuses(&["explian", "x"], &["explian", "explain"]);
    refuses(&["show", "--jsn", "x"], &["--jsn", "--json"]);
    refuses(&["run"], &["COMMAND"]);
    refuses(
        &["run", "--backoff", "soon", "--", "true"],
        &["soon", "10s"],
    );
    refuses(&["run", "--restarts", "0", "--", "true"], &["0"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_that_cannot_be_written_is_told_before_the_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("ran");
    let touch = format!("touch {}", witness.display());
    refuses(
        &[
            "run",
            "-o",
            "/no/such/folder/x.lwcap",
            "--",
            "sh",
            "-c",
            &touch,
        ],
        &["/no/such/folder", "-o"],
    );
    assert!(!witness.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn without_privileges_it_says_which_capability_is_missing() {
    // As nobody, which root can become; as another user this is what the user has.
    let copy = tempfile::tempdir().unwrap();
    let program = copy.path().join("lastword");
    fs::copy(env!("CARGO_BIN_EXE_lastword"), &program).unwrap();
    let mut command = Command::new(&program);
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::{fs::PermissionsExt, process::CommandExt};
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(65534).gid(65534);
    }
    let output = command
        .args(["run", "-o", "/tmp/never.lwcap", "--", "true"])
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(!output.status.success());
    // A build without the programs says so first.
    let built = !said.contains("built without its eBPF programs");
    assert!(
        !built || (said.contains("CAP_BPF") && said.contains("sudo")),
        "{said}"
    );
}
