//! Bad input: it gives a clear error that says what to do next, and an exit code other than 0. Needs no privileges.

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

/// Fails with a message that contains these parts, and prints nothing else.
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
    for command in READING {
        refuses(
            &reading(command, &["/no/such/file.lwcap"]),
            &[
                "lastword: cannot read /no/such/file.lwcap: No such file or directory (os error 2)\n",
            ],
        );
    }
}

#[test]
fn without_a_file_the_newest_capture_of_the_folder_is_read_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_lastword"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    for command in READING {
        let nothing = here(command);
        assert_eq!(nothing.status.code(), Some(1), "{command:?}");
        let said = stderr(&nothing);
        assert!(
            said.contains("no capture") && said.contains("lastword run"),
            "{said}"
        );
    }
    let capture = fs::read(sample()).unwrap();
    for (name, seconds) in [("newest.lwcap", 20), ("older.lwcap", 10)] {
        fs::write(folder.path().join(name), &capture).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(folder.path().join(name))
            .unwrap();
        let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(written).unwrap();
    }
    for command in READING {
        let (unnamed, named) = (here(command), here(&reading(command, &["newest.lwcap"])));
        assert!(
            unnamed.status.success(),
            "{command:?}: {}",
            stderr(&unnamed)
        );
        assert_eq!(unnamed.stdout, named.stdout, "{command:?}");
        let said = stderr(&unnamed);
        assert_eq!(said, "lastword: newest.lwcap, the newest capture here\n");
    }
    let page = here(&["report", "-o", "crash.html"]);
    assert!(page.status.success(), "{}", stderr(&page));
    assert!(folder.path().join("crash.html").exists());
}

/// A path that is not a file is refused at once, with advice. Opening a pipe would wait until somebody writes to it.
#[test]
#[cfg(unix)]
fn a_pipe_a_folder_or_a_device_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.lwcap");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, says) in [
        (pipe.as_path(), "< PIPE"),
        (folder.path(), "directory"),
        (Path::new("/dev/zero"), "regular file"),
    ] {
        for command in READING.iter().chain([&["report"][..]].iter()) {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lastword"))
                .args(reading(command, &[path.to_str().unwrap()]))
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut error = child.stderr.take().unwrap();
            let (to, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let mut said = String::new();
                std::io::Read::read_to_string(&mut error, &mut said).unwrap();
                to.send(said).unwrap();
            });
            let said = told.recv_timeout(std::time::Duration::from_secs(60));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            let said = said.unwrap_or_else(|_| panic!("{command:?} {path:?} hangs"));
            assert_eq!(status.code(), Some(1), "{command:?} {path:?}: {said}");
            assert!(said.contains(says), "{command:?} {path:?}: {said}");
        }
    }
}

/// In a folder where everybody may write, another user's link would make root write to a file of that user's choice.
#[test]
#[cfg(unix)]
fn a_foreign_link_in_a_sticky_folder_is_not_followed() {
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (sticky, precious) = (folder.path().join("tmp"), folder.path().join("precious"));
    fs::create_dir(&sticky).unwrap();
    fs::write(&precious, "precious").unwrap();
    fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777)).unwrap();
    let (file, inside) = (sticky.join("file"), sticky.join("folder"));
    symlink(&precious, &file).unwrap();
    symlink(folder.path(), &inside).unwrap();
    for link in [&file, &inside] {
        lchown(link, Some(65534), Some(65534)).unwrap();
    }
    let sample = sample();
    let sample = sample.to_str().unwrap();
    for place in [file.clone(), inside.join("precious")] {
        let place = place.to_str().unwrap();
        for command in [
            &["report", sample, "-o", place][..],
            &["export", sample, "--to", "json", "-o", place],
            #[cfg(target_os = "linux")]
            &["run", "-o", place, "--", "true"],
        ] {
            refuses(command, &["link", "another user"]);
            assert_eq!(fs::read(&precious).unwrap(), b"precious");
        }
    }
    // A link of one's own is followed, and stays.
    lchown(&file, Some(0), Some(0)).unwrap();
    let output = lastword(&["report", sample, "-o", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs::read(&precious).unwrap().starts_with(b"<!DOCTYPE html>"));
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

/// Every command that reads captures, with what it needs besides a file.
const READING: &[&[&str]] = &[
    &["explain"],
    &["show"],
    &["info"],
    &["runs"],
    &["ps"],
    &["errors"],
    &["files"],
    &["dns"],
    &["net"],
    &["timeline"],
    &["diff"],
    &["streams", "stderr"],
];

/// The command line for these files. The argument that `streams` needs comes last.
fn reading<'a>(command: &[&'a str], files: &[&'a str]) -> Vec<&'a str> {
    [&command[..1], files, &command[1..]].concat()
}

#[test]
fn every_view_of_a_file_a_pipe_or_several() {
    let sample = sample();
    let file = sample.to_str().unwrap();
    for command in READING {
        let once = lastword(&reading(command, &[file]));
        assert!(once.status.success(), "{command:?}: {}", stderr(&once));
        assert!(
            !once.stdout.is_empty() && once.stderr.is_empty(),
            "{command:?}"
        );
        let piped = Command::new(env!("CARGO_BIN_EXE_lastword"))
            .args(reading(command, &["-"]))
            .stdin(fs::File::open(&sample).unwrap())
            .output()
            .unwrap();
        let name = |output: &Output| {
            String::from_utf8_lossy(&output.stdout).replace(file, "standard input")
        };
        let width = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(width(name(&piped)), width(name(&once)), "{command:?}");
        if command == &["diff"] {
            continue;
        }
        let several = lastword(&reading(command, &[file, "/no/such.lwcap", file]));
        assert!(!several.status.success(), "{command:?}");
        let said = stderr(&several);
        let whole = "cannot read /no/such.lwcap: No such file or directory (os error 2)\n";
        assert!(said.contains(whole), "{command:?}: {said}");
        let text = String::from_utf8_lossy(&several.stdout).into_owned();
        let heading = format!("==> {file} <==\n");
        assert_eq!(text.matches(&heading).count(), 2, "{command:?}: {text}");
        let one = String::from_utf8_lossy(&once.stdout).into_owned();
        assert_eq!(
            text,
            format!("{heading}{one}\n{heading}{one}"),
            "{command:?}"
        );
    }
}

#[test]
fn json_of_several_captures_has_no_headings() {
    let sample = sample();
    let file = sample.to_str().unwrap();
    for command in READING.iter().filter(|command| command[0] != "diff") {
        let output = lastword(&[&reading(command, &[file, file])[..], &["--json"]].concat());
        assert!(output.status.success(), "{command:?}");
        let documents =
            serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
        let documents: Vec<_> = documents.map(Result::unwrap).collect();
        assert!(
            documents.len() >= 2 && documents.iter().all(|it| it.is_object()),
            "{command:?}"
        );
    }
}

#[test]
fn nobody_reading_is_no_error() {
    use std::{io::Read as _, process::Stdio};
    let sample = sample();
    let files = vec![sample.to_str().unwrap(); 200];
    let mut child = Command::new(env!("CARGO_BIN_EXE_lastword"))
        .arg("files")
        .args(files)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begin = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
}

/// A note that nobody can read is no error: about the chosen file, about damage, or about something that does not
/// exist.
#[test]
fn nobody_reading_the_notes_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = fs::read(sample()).unwrap();
    let middle = capture.len() / 2;
    capture[middle..middle + 16].fill(0xa5);
    file(folder.path(), "damaged.lwcap", &capture);
    let filtered: &[&str] = &["show", "--filter", "evt.res = EXDEV"];
    for (command, code) in [(&["info"][..], 1), (filtered, 1), (&["explain"], 1)] {
        let output = Command::new(env!("CARGO_BIN_EXE_lastword"))
            .args(command)
            .current_dir(folder.path())
            .stderr(std::io::pipe().unwrap().1)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}");
    }
}

#[test]
fn colours_only_if_they_are_asked_for() {
    let sample = sample();
    let colours = |arguments: &[&str]| {
        let output = lastword(&[&["ps", sample.to_str().unwrap()], arguments].concat());
        output.stdout.contains(&0x1b)
    };
    assert!(!colours(&[]) && !colours(&["--color", "never"]));
    assert!(colours(&["--color", "always"]));
}

#[test]
fn what_is_not_in_a_capture_is_told_with_what_is() {
    let sample = sample();
    let file = sample.to_str().unwrap();
    refuses(&["ps", file, "--run", "7"], &[file, "no run 7", "1, 2"]);
    refuses(
        &["streams", file, "access.log"],
        &["access.log", "error.log", "stderr"],
    );
    refuses(&["streams", file], &["WHAT"]);
    refuses(&["diff", file, "--runs", "1,x"], &["1,x", "1,2"]);
    refuses(&["diff", file, file, file], &["two captures"]);
    let single = sample.with_file_name("segfault.lwcap");
    refuses(
        &["diff", single.to_str().unwrap()],
        &["one run", "second capture"],
    );
}

#[test]
fn completions_and_man_pages_have_every_command() {
    let output = lastword(&["completions", "bash"]);
    assert!(output.status.success());
    let script = String::from_utf8(output.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(lastword(&["man", pages.to_str().unwrap()]).status.success());
    let others: [&[&str]; 2] = [&["report"], &["export"]];
    for command in READING.iter().copied().chain(others) {
        assert!(script.contains(command[0]), "{command:?}");
        assert!(
            pages.join(format!("lastword-{}.1", command[0])).is_file(),
            "{command:?}"
        );
    }
    refuses(&["man", "/proc/nowhere"], &["/proc/nowhere"]);
}

/// The arguments of an export of the sample.
fn export<'a>(options: &[&'a str]) -> Vec<&'a str> {
    const SAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/captures/nginx-upstream.lwcap"
    );
    [&["export", SAMPLE, "--to"][..], options].concat()
}

#[test]
fn an_export_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.scap");
    let out = out.to_str().unwrap();
    fs::write(out, "an earlier one").unwrap();
    refuses(
        &export(&["scap", "-o", out, "--run", "9"]),
        &["no run 9", "1 to 2"],
    );
    refuses(&export(&["json", "-o", out, "--classic"]), &["--to scap"]);
    refuses(
        &export(&["scap", "-o", "/no/such/folder/x"]),
        &["/no/such/folder/x"],
    );
    assert_eq!(fs::read(out).unwrap(), b"an earlier one");

    assert!(lastword(&export(&["scap", "-o", out])).status.success());
    let piped = lastword(&export(&["scap", "-o", "-"])).stdout;
    assert!(!piped.is_empty());
    assert_eq!(fs::read(out).unwrap(), piped);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let missing = export(&[
        "json",
        "-o",
        "-",
        "--filter",
        "evt.res = ENOENT",
        "--run",
        "2",
    ]);
    let missing = String::from_utf8(lastword(&missing).stdout).unwrap();
    assert!(!missing.is_empty());
    let is_asked = |line: &str| line.contains("ENOENT") && line.contains("\"run\":2");
    assert!(missing.lines().all(is_asked), "{missing}");
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
fn filters_that_are_wrong_are_pointed_at() {
    let sample = sample();
    let refuses = |filter: &str, parts: &[&str]| {
        let sample = sample.to_str().unwrap();
        refuses(&["show", sample, "--filter", filter], parts);
    };
    refuses(
        "proc.name=nginx and prc.name=x",
        &[
            "column 21",
            "\n                      ^^^^^^^^\n",
            "did you mean `proc.name`?",
        ],
    );
    refuses("evt.type=opennat", &["column 10", "openat"]);
    refuses("", &["the filter is empty"]);
    refuses(
        &"(".repeat(10_000),
        &["column 101", "nested deeper than 100"],
    );
    refuses(&"x".repeat(100_000), &["65536 are the most"]);
    refuses(
        "fd.name regex '(((a{100}){100}){100})'",
        &["bytes of memory"],
    );
}

#[test]
fn what_cannot_be_chosen_is_told() {
    let sample = sample();
    let sample = sample.to_str().unwrap();
    refuses(
        &["show", sample, "--from", "soon"],
        &["soon", "1.5s", "-2s"],
    );
    refuses(&["show", sample, "--run", "99"], &["no run 99", "1 to 2"]);
    refuses(&["show", sample, "--limit", "-1"], &["-1"]);
    refuses(&["fields", "no such field"], &["no such field"]);
    let output = lastword(&["show", sample, "--follow-process", "4294967295"]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(stderr(&output).contains("no event is what was asked for"));
}

#[test]
fn what_is_asked_for_is_shown() {
    let sample = sample();
    let sample = sample.to_str().unwrap();
    for more in [&["--json"][..], &[]] {
        let filter = [
            "show",
            sample,
            "-f",
            "evt.buffer contains \"host not found\"",
            "--from",
            "-1s",
        ];
        let output = lastword(&[&filter, more].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("upstream") && !said.contains("openat"),
            "{said}"
        );
        assert_eq!(stderr(&output), "");
    }
    let output = lastword(&["fields", "--json"]);
    let fields: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(fields[0]["example"].is_string());
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
    // As user nobody, which root can become. Another user already has no privileges.
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
    // A build without the programs reports that first.
    let built = !said.contains("built without its eBPF programs");
    assert!(
        !built || (said.contains("CAP_BPF") && said.contains("sudo")),
        "{said}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn without_an_agent_the_commands_that_need_one_say_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let socket = socket.to_str().unwrap();
    let hint = ["no agent runs here", "lastword agent", "kubectl"];
    refuses(&["capture", "web-1", "--socket", socket], &hint);
    refuses(&["capture", "--all", "--socket", socket], &hint);
    refuses(&["status", "--json", "--socket", socket], &hint);
}

#[test]
#[cfg(target_os = "linux")]
fn a_capture_needs_to_be_told_of_what() {
    refuses(&["capture"], &["<POD|--container-id <ID>|--all>"]);
    refuses(&["capture", "web-1", "--all"], &["cannot be used with"]);
    refuses(&["capture", "--all", "-c", "web"], &["-c"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_configuration_is_checked_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.yaml", b"log: {level: debug}\n");
    let output = lastword(&["agent", "--check", "--config", &good]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("good.yaml is valid"));
    let bad = file(folder.path(), "bad.yaml", b"log: {levle: debug}\n");
    for command in [&["agent", "--check"][..], &["agent"], &["spool", "ls"]] {
        let arguments = [command, &["--config", &bad]].concat();
        refuses(&arguments, &["bad.yaml", "levle", "level"]);
    }
    refuses(&["agent", "--config", "/no/such.yaml"], &["/no/such.yaml"]);
}

/// A spool with one capture, and a configuration that names it.
#[cfg(target_os = "linux")]
fn spool(folder: &Path) -> String {
    let captures = folder.join("spool/captures/shop");
    fs::create_dir_all(&captures).unwrap();
    fs::copy(sample(), captures.join("web-1-web-0a1b.lwcap")).unwrap();
    let config = format!("spool: {{directory: {}}}\n", folder.join("spool").display());
    file(folder, "agent.yaml", config.as_bytes())
}

#[test]
#[cfg(target_os = "linux")]
fn a_spool_is_read_without_an_agent() {
    let folder = tempfile::tempdir().unwrap();
    let config = spool(folder.path());
    let run = |command: &[&str]| {
        let output = lastword(&[&["spool", "--config", &config], command].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    };
    let listed = String::from_utf8(run(&["ls"])).unwrap();
    assert!(listed.contains("shop/web-1-web-0a1b"), "{listed}");
    let path = String::from_utf8(run(&["path", "shop/web-1-web-0a1b"])).unwrap();
    assert_eq!(
        fs::read(path.trim_end()).unwrap(),
        fs::read(sample()).unwrap()
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_capture_that_is_not_in_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let config = spool(folder.path());
    let refuses = |command: &[&str], parts: &[&str]| {
        refuses(&[&["spool", "--config", &config], command].concat(), parts);
    };
    refuses(
        &["path", "shop/web-2"],
        &["no capture shop/web-2", "spool ls"],
    );
    refuses(&["path", "../../etc/passwd"], &["NAMESPACE/NAME"]);
}

/// The program under the name of the kubectl plugin.
#[cfg(target_os = "linux")]
fn plugin(arguments: &[&str]) -> Output {
    use std::os::unix::process::CommandExt as _;
    Command::new(env!("CARGO_BIN_EXE_lastword"))
        .arg0("/usr/local/bin/kubectl-lastword")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn under_the_plugins_name_it_is_the_plugin() {
    let help = plugin(&["--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("kubectl lastword") && help.contains("list"),
        "{help}"
    );

    let output = plugin(&["list", "--kubeconfig", "/no/such/kubeconfig"]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("/no/such/kubeconfig"),
        "{}",
        stderr(&output)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_cluster_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens on a port that was free just now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], contexts: [{{name: c, context: {{cluster: k, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
    );
    let kubeconfig = file(folder.path(), "kubeconfig", kubeconfig.as_bytes());
    let output = plugin(&["explain", "web-1", "--kubeconfig", &kubeconfig]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("the API server"),
        "{}",
        stderr(&output)
    );
}
