//! `xtask demo`: an nginx that cannot resolve its upstream, recorded, captured and explained.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lastword_tests::scene::{NGINX, Scene};
use signal_hook::consts::SIGINT;

use crate::{
    apt::{Bundle, Suite},
    arch::Arch,
    built,
    cargo::Artifact,
    ebpf,
    initramfs::File,
    kernel::{KERNELS, Kernel},
    native, place, step,
    vm::{self, Guest, Machine},
};

/// What the scene is made of.
pub(crate) const PACKAGES: Bundle = Bundle {
    name: "nginx",
    suite: Suite::Bookworm,
    packages: &["nginx", "busybox-static"],
    without: &["*/share/doc/*", "*/share/man/*"],
};

/// Where the capture goes, below the workspace.
pub(crate) const CAPTURE: &str = "target/demo/nginx.lwcap";

/// How many lines of events of the capture are shown.
const SHOWN: usize = 40;

/// What the verdict must name: the resolver's answer and the upstream.
pub(crate) const EXPECTED: [&str; 2] = ["NXDOMAIN", "flask"];

/// Builds lastword, runs nginx under it until it has crashed three times, and shows what there is to see. Where this
/// machine cannot record, all of it happens in a guest.
///
/// # Errors
/// Something is missing or fails, or the verdict is not the one that is true.
pub(crate) fn run() -> Result<()> {
    let capture = place::workspace().join(CAPTURE);
    clear(&capture)?;
    let lastword = match native(&capture)? {
        Ok(lastword) => lastword,
        Err(why) => {
            step::say(format_args!(
                "this machine cannot record: {why}; playing the scene in a guest under QEMU"
            ));
            in_guest(&capture)?
        }
    };
    show(&lastword)
}

/// How `lastword run` is called.
pub(crate) const OPTIONS: [&str; 5] = ["run", "--restarts", "3", "--backoff", "1s"];

/// Where nginx dies on this machine, and the lastword that records it.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) lastword: PathBuf,
}

impl Stage {
    /// Fetches nginx, and builds lastword unless `LASTWORD_BIN` names one. Gives what is in the way if this machine cannot record.
    ///
    /// # Errors
    /// Something cannot be fetched or built.
    pub(crate) fn get() -> Result<Result<Stage, String>> {
        if let Some(why) = native::obstacle() {
            return Ok(Err(why));
        }
        let scene = Scene {
            packages: PACKAGES.get()?.root,
            kept: place::workspace(),
        };
        if let Err(error) = scene.play(|| Ok(())) {
            return Ok(Err(format!("{error:#}")));
        }
        let lastword = match env::var_os("LASTWORD_BIN") {
            Some(program) => PathBuf::from(program),
            None => build()?.1,
        };
        Ok(match native::refusal(&lastword) {
            Some(why) => Err(why),
            None => Ok(Stage { scene, lastword }),
        })
    }
}

/// Plays the scene on this machine. Gives the lastword that recorded it, or what is in the way.
fn native(capture: &Path) -> Result<Result<PathBuf, String>> {
    let Stage {
        scene,
        lastword: program,
    } = match Stage::get()? {
        Ok(stage) => stage,
        Err(why) => return Ok(Err(why)),
    };
    // Ctrl-C reaches lastword as well, which writes its capture; this process must outlive it.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))
        .context("cannot handle Ctrl-C")?;
    step::say("running nginx where its upstream `flask` does not resolve");
    let own = ["--as-root", "-o", CAPTURE, "--"];
    let command: Vec<&str> = OPTIONS.into_iter().chain(own).chain(NGINX).collect();
    // Its exit code is nginx's.
    let status = scene.play(|| {
        lastword(&program, &command)
            .status()
            .with_context(|| format!("cannot start {}", program.display()))
    })?;
    if !capture.exists() {
        bail!("lastword ({status}) wrote no {CAPTURE}; see its messages above");
    }
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted; the capture so far is {CAPTURE}");
    }
    Ok(Ok(program))
}

/// Plays the scene in a guest, and copies the capture out. Gives the lastword that recorded it, which reads captures
/// here, too.
fn in_guest(capture: &Path) -> Result<PathBuf> {
    if env::consts::ARCH != "x86_64" {
        bail!(
            "guests are x86_64, this is {}; run the demo as root on a Linux that can record",
            env::consts::ARCH
        );
    }
    let nginx = nginx()?;
    let (artifacts, lastword) = build()?;
    let machine = Machine::with(Arch::HERE, &artifacts, nginx)?;
    let kernel = Kernel::get(KERNELS[1], Arch::HERE)?;
    step::say(format_args!(
        "running nginx where its upstream `flask` does not resolve, on Linux {}",
        kernel.release
    ));
    let command: Vec<&str> = ["/bin/scene"].into_iter().chain(OPTIONS).collect();
    let guest = Guest {
        kernel: &kernel,
        command: &command,
        received: Some(capture),
        icount: false,
        silence: Duration::from_secs(300),
    };
    let outcome = machine.run(&guest, |line| eprintln!("  guest | {line}"))?;
    if outcome.code != 0 {
        bail!("the scene failed in the guest; see its messages above");
    }
    Ok(lastword)
}

/// Builds what the demo runs as the tests build it, which need not build it again then. Gives all programs, and which of
/// them is lastword.
fn build() -> Result<(Vec<Artifact>, PathBuf)> {
    ebpf::build(Arch::HERE, None)?;
    let mut artifacts = built::programs(Arch::HERE, built::PROFILE, &built::AS_FOR_TESTS)?;
    artifacts.retain(|artifact| !artifact.is_test);
    let lastword = artifacts.iter().find(|it| it.name == "lastword");
    let lastword = lastword
        .context("cargo built no `lastword`")?
        .executable
        .clone();
    Ok((artifacts, lastword))
}

/// Debian's nginx for a guest: the program, its settings, and the shared libraries it needs here.
fn nginx() -> Result<Vec<File>> {
    let packages = PACKAGES.get()?;
    let program = packages.root.join("usr/sbin/nginx");
    let mut files = vec![vm::file("usr/sbin/nginx".to_owned(), &program)?];
    add(&packages.root, Path::new("etc/nginx"), &mut files)?;
    // The loader lists where it finds them: in the packages, and what every Linux has on this machine.
    let mut list = Command::new(LOADER);
    list.arg("--list")
        .arg(&program)
        .env("LD_LIBRARY_PATH", packages.libraries());
    let listed = step::quiet(&mut list, "nginx needs a C library of 2.36 or newer")?;
    files.push(vm::file(
        LOADER.trim_start_matches('/').to_owned(),
        Path::new(LOADER),
    )?);
    for line in listed.lines() {
        let Some((name, rest)) = line.trim().split_once(" => ") else {
            continue;
        };
        let path = rest.split_once(" (").map_or(rest, |(path, _)| path);
        files.push(vm::file(
            format!("lib/x86_64-linux-gnu/{name}"),
            Path::new(path),
        )?);
    }
    Ok(files)
}

/// What the kernel starts for a program with shared libraries.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Adds the regular files of a folder below `root`, under the same paths.
fn add(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let place = root.join(folder);
    for entry in fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))? {
        let (entry, path) =
            entry.map(|entry| (entry.file_type(), folder.join(entry.file_name())))?;
        let kind = entry?;
        if kind.is_dir() {
            add(root, &path, files)?;
        } else if kind.is_file() {
            let name = path.to_string_lossy().into_owned();
            files.push(vm::file(name, &root.join(&path))?);
        }
    }
    Ok(())
}

/// Shows what there is to see of the capture.
fn show(program: &Path) -> Result<()> {
    let read = |subcommand| {
        step::quiet(
            &mut lastword(program, &[subcommand, CAPTURE]),
            "see the capture by hand",
        )
    };
    print!("{}", read("info")?);
    let events = read("show")?;
    let hidden = events.lines().count().saturating_sub(SHOWN);
    step::say(format_args!("{hidden} lines, then:"));
    for event in events.lines().skip(hidden) {
        println!("{event}");
    }
    let verdict = read("explain")?;
    print!("{verdict}");
    if let Some(missing) = EXPECTED.iter().find(|word| !verdict.contains(**word)) {
        bail!("the verdict is wrong: it does not name {missing}");
    }
    Ok(())
}

/// Makes room for a capture.
///
/// # Errors
/// The folder cannot be made, or the former capture cannot be removed.
pub(crate) fn clear(capture: &Path) -> Result<()> {
    if let Some(folder) = capture.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if capture.exists() {
        fs::remove_file(capture).with_context(|| format!("cannot remove {}", capture.display()))?;
    }
    Ok(())
}

/// The lastword that was built, in the workspace; shows what is called.
fn lastword(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(place::workspace());
    // With cargo's folders of libraries nginx would look for its own there.
    step::without_cargo_env(&mut command);
    let line = step::line(&command);
    let shown = line.split_once(' ').map_or("", |(_, arguments)| arguments);
    eprintln!("\n$ lastword {shown}");
    command
}
