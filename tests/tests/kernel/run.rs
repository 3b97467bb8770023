//! `lastword run` itself: where its capture goes, who the command runs as, and what is left when lastword is stopped.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use libtest_mimic::Failed;
use nix::{
    fcntl::{FcntlArg, fcntl},
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Case,
    support::{cgroup2, lastword, read},
};

pub(crate) const ALIKE: &[Case] = &[
    (
        "explains_although_the_capture_cannot_be_written",
        unwritable,
    ),
    (
        "explains_although_nobody_reads_what_it_says_meanwhile",
        unread,
    ),
    (
        "exits_as_the_command_did_although_nobody_reads_the_verdict",
        unprinted,
    ),
    ("a_hangup_ends_the_command_and_gives_a_capture", hangup),
    ("a_hangup_that_is_ignored_ends_nothing", nohup),
    ("removes_the_cgroups_of_a_lastword_that_was_killed", killed),
    ("under_sudo_command_and_capture_are_the_callers", sudo),
];

/// Any user id; the user need not exist.
const CALLER: u32 = 54321;

fn run(folder: &Path, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(lastword());
    command
        .args(["run", "--restarts", "1", "--backoff", "none"])
        .args(options)
        .args(["--", "/bin/sh", "-c", script])
        .current_dir(folder)
        .env_remove("SUDO_UID");
    command
}

fn text(output: &Output) -> (String, String) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (lossy(&output.stdout), lossy(&output.stderr))
}

/// The folder for the capture does not exist any more when the command ends.
fn unwritable() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let other = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("gone"))?;
    let output = run(
        folder.path(),
        &["-o", "gone/x.lwcap"],
        "echo 'cannot read the queue' >&2; rmdir gone; exit 3",
    )
    .env("TMPDIR", other.path())
    .output()?;
    let (said, told) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        said.contains("exited 3") && said.contains("evidence"),
        "{said}"
    );
    assert!(told.contains("gone/x.lwcap"), "{told}");
    let kept: Vec<PathBuf> = fs::read_dir(other.path())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let [kept] = &kept[..] else {
        return Err(format!("{kept:?} in the folder for temporary files; {told}").into());
    };
    assert!(told.contains(&*kept.to_string_lossy()), "{told}");
    assert_eq!(read(kept)?.1.len(), 1);

    // If there is no other place either, it says after the verdict that nothing was kept.
    fs::create_dir(folder.path().join("gone"))?;
    let output = run(
        folder.path(),
        &["-o", "gone/x.lwcap"],
        "echo 'cannot read the queue' >&2; rmdir gone; exit 3",
    )
    .env("TMPDIR", "/nonexistent")
    .output()?;
    let (said, told) = text(&output);
    assert!(said.contains("exited 3"), "{said}");
    assert!(told.contains("not kept"), "{told}");
    Ok(())
}

/// Standard error is a pipe whose reader is gone or stuck.
fn unread() -> Result<(), Failed> {
    for stuck in [false, true] {
        let folder = tempfile::tempdir()?;
        let (reader, mut writer) = io::pipe()?;
        let reader = stuck.then_some(reader);
        if stuck {
            fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096))?;
            writer.write_all(&[b'x'; 4096])?;
        }
        let output = run(folder.path(), &["-o", "x.lwcap"], "exit 3")
            .stderr(writer)
            .output()?;
        let (said, _) = text(&output);
        assert_eq!(output.status.code(), Some(3), "stuck: {stuck}; {said}");
        assert!(said.contains("exited 3"), "{said}");
        assert_eq!(read(&folder.path().join("x.lwcap"))?.1.len(), 1);
        drop(reader);
    }
    Ok(())
}

/// Standard output is a pipe whose reader is gone (like `head` when it has seen enough), a terminal that was closed, or
/// a full disk.
fn unprinted() -> Result<(), Failed> {
    let full = fs::File::options().write(true).open("/dev/full")?;
    let places: [(&str, Stdio, i32); 3] = [
        ("a pipe", io::pipe()?.1.into(), 3),
        ("a terminal", openpty(None, None)?.slave.into(), 3),
        // If a full disk loses the verdict, that is a failure of lastword.
        ("a full disk", full.into(), 1),
    ];
    for (place, stdout, code) in places {
        let folder = tempfile::tempdir()?;
        let output = run(folder.path(), &["-o", "x.lwcap"], "exit 3")
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()?;
        let (_, told) = text(&output);
        assert_eq!(output.status.code(), Some(code), "{place}: {told}");
        assert!(told.contains("lastword explain"), "{place}: {told}");
        assert_eq!(read(&folder.path().join("x.lwcap"))?.1.len(), 1);
    }
    Ok(())
}

/// Starts lastword, and waits until the command reports that it runs.
fn started(command: &mut Command) -> Result<(Child, BufReader<std::process::ChildStdout>), Failed> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    assert_eq!(line.trim(), "ready");
    Ok((child, stdout))
}

fn signal(child: &Child, signal: Signal) -> Result<(), Failed> {
    Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
}

/// A shell that ends at SIGTERM, but not at SIGHUP, which means something else to servers.
const SERVER: &str = "trap 'exit 7' TERM; trap '' HUP; echo ready; while :; do sleep 0.1; done";

fn hangup() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (mut child, _stdout) = started(&mut run(folder.path(), &["-o", "x.lwcap"], SERVER))?;
    signal(&child, Signal::SIGHUP)?;
    let status = child.wait()?;
    assert_eq!(status.code(), Some(7));
    let (header, runs) = read(&folder.path().join("x.lwcap"))?;
    assert_eq!((&*header.trigger.kind, runs.len()), ("interrupted", 1));
    assert_eq!(own_cgroups(child.id())?, Vec::<PathBuf>::new());
    Ok(())
}

fn nohup() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    // The shell ignores the signal, so what it executes ignores it, too.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(lastword())
        .args([
            "run",
            "--restarts",
            "1",
            "-o",
            "x.lwcap",
            "--",
            "/bin/sh",
            "-c",
            SERVER,
        ])
        .current_dir(folder.path())
        .env_remove("SUDO_UID");
    let (mut child, _stdout) = started(&mut shell)?;
    signal(&child, Signal::SIGHUP)?;
    signal(&child, Signal::SIGTERM)?;
    assert_eq!(child.wait()?.code(), Some(7));
    let (header, _) = read(&folder.path().join("x.lwcap"))?;
    assert_eq!(header.trigger.kind, "interrupted");
    Ok(())
}

/// The cgroups that the lastword with this process id made.
fn own_cgroups(pid: u32) -> Result<Vec<PathBuf>, Failed> {
    let prefix = format!("lastword-run-{pid}-");
    let (mut folders, mut found) = (vec![cgroup2()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    found.push(entry.path());
                }
            }
        }
    }
    Ok(found)
}

fn killed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (mut child, _stdout) = started(&mut run(folder.path(), &["-o", "x.lwcap"], SERVER))?;
    signal(&child, Signal::SIGKILL)?;
    child.wait()?;
    let cgroups = own_cgroups(child.id())?;
    let [cgroup] = &cgroups[..] else {
        return Err(format!("{cgroups:?} of a lastword that was killed").into());
    };
    // The command still runs: that is reported, and no process of others is killed.
    let output = run(folder.path(), &["-o", "y.lwcap"], "exit 0").output()?;
    let (_, told) = text(&output);
    assert!(told.contains(&*cgroup.to_string_lossy()), "{told}");
    assert!(cgroup.exists());
    // The cgroups of a lastword that runs stay, whether there are processes in them or not.
    let (mut other, _stdout) = started(&mut run(folder.path(), &["-o", "z.lwcap"], SERVER))?;
    fs::write(cgroup.join("cgroup.kill"), "1")?;
    while fs::read_to_string(cgroup.join("cgroup.events"))?.contains("populated 1") {
        std::thread::yield_now();
    }
    let output = run(folder.path(), &["-o", "y.lwcap"], "exit 0").output()?;
    assert!(!cgroup.exists(), "{}", text(&output).1);
    assert_eq!(own_cgroups(other.id())?.len(), 1);
    signal(&other, Signal::SIGTERM)?;
    assert_eq!(other.wait()?.code(), Some(7));
    Ok(())
}

fn sudo() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let home = folder.path().join("home");
    fs::create_dir(&home)?;
    chown(&home, Some(CALLER), Some(CALLER))?;
    let caller = CALLER.to_string();
    let sudo = |options: &[&str], script: &str| {
        let mut command = run(&home, options, script);
        let own = [
            ("SUDO_UID", &*caller),
            ("SUDO_GID", &caller),
            ("SUDO_USER", "alice"),
        ];
        command.envs(own).output()
    };
    let script = "id -u; id -g; id -G; echo \"$USER ${SUDO_UID-unset}\"; exit 4";
    let output = sudo(&["-o", "x.lwcap"], script)?;
    let (said, told) = text(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    let lines: Vec<&str> = said.lines().take(4).collect();
    assert_eq!(lines, [&caller, &caller, &caller, "alice unset"], "{told}");
    assert!(
        told.contains("alice") && told.contains("--as-root"),
        "{told}"
    );
    let made = fs::metadata(home.join("x.lwcap"))?;
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o777),
        (CALLER, CALLER, 0o600)
    );
    assert_eq!(read(&home.join("x.lwcap"))?.1[0].0.losses.lost, 0);

    // If the caller may not write there, the command is not run, not even if a link of the caller's leads there.
    let precious = folder.path().join("precious.lwcap");
    fs::write(&precious, "precious")?;
    std::os::unix::fs::symlink(&precious, home.join("link.lwcap"))?;
    for place in [folder.path().join("y.lwcap"), home.join("link.lwcap")] {
        let witness = home.join("ran");
        let place = place.to_str().ok_or("no UTF-8")?;
        let output = sudo(&["-o", place], "touch ran")?;
        let (_, told) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{place}: {told}");
        assert!(
            told.contains("alice") && told.contains("--as-root"),
            "{told}"
        );
        assert!(!witness.exists(), "{place}");
    }
    assert_eq!(fs::read(&precious)?, b"precious");

    let output = sudo(&["--as-root", "-o", "root.lwcap"], script)?;
    let (said, _) = text(&output);
    assert_eq!(said.lines().next(), Some("0"), "{said}");
    assert_eq!(fs::metadata(home.join("root.lwcap"))?.uid(), 0);
    Ok(())
}
