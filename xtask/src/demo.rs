//! `xtask demo`: an nginx that cannot resolve its upstream, recorded, captured and explained.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use lastword_tests::scene::{NGINX, Scene};
use signal_hook::consts::SIGINT;

use crate::{
    apt::{Bundle, Suite},
    place, step,
};

/// What the scene is made of.
pub(crate) const PACKAGES: Bundle = Bundle {
    name: "nginx",
    suite: Suite::Bookworm,
    packages: &["nginx", "busybox-static"],
    without: &["*/share/doc/*", "*/share/man/*"],
};

/// Where the capture goes, below the workspace.
const CAPTURE: &str = "target/demo/nginx.lwcap";

/// How many lines of events of the capture are shown.
const SHOWN: usize = 40;

/// What the verdict must name: the resolver's answer and the upstream.
const EXPECTED: [&str; 2] = ["NXDOMAIN", "flask"];

/// Builds lastword, runs nginx under it until it has crashed three times, and shows what there is to see.
///
/// # Errors
/// Something is missing or fails, or the verdict is not the one that is true.
pub(crate) fn run() -> Result<()> {
    let packages = PACKAGES.get()?.root;
    crate::build()?;
    let workspace = place::workspace();
    let capture = workspace.join(CAPTURE);
    clear(&capture)?;

    // Ctrl-C reaches lastword as well, which writes its capture; this process must outlive it.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))
        .context("cannot handle Ctrl-C")?;
    step::say("running nginx where its upstream `flask` does not resolve");
    let scene = Scene {
        packages,
        kept: workspace,
    };
    let options = [
        "run",
        "--restarts",
        "3",
        "--backoff",
        "1s",
        "-o",
        CAPTURE,
        "--",
    ];
    let command: Vec<&str> = options.into_iter().chain(NGINX).collect();
    // Its exit code is nginx's.
    let status = scene.play(|| {
        lastword(&command)
            .status()
            .context("cannot start target/release/lastword")
    })?;
    if !capture.exists() {
        bail!("lastword ({status}) wrote no {CAPTURE}; see its messages above");
    }
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted; the capture so far is {CAPTURE}");
    }

    let read = |subcommand| {
        step::quiet(
            &mut lastword(&[subcommand, CAPTURE]),
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
fn clear(capture: &Path) -> Result<()> {
    if let Some(folder) = capture.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if capture.exists() {
        fs::remove_file(capture).with_context(|| format!("cannot remove {}", capture.display()))?;
    }
    Ok(())
}

/// The lastword that was built, in the workspace; shows what is called.
fn lastword(arguments: &[&str]) -> Command {
    let workspace = place::workspace();
    let mut command = Command::new(workspace.join("target/release/lastword"));
    command.args(arguments).current_dir(workspace);
    let line = step::line(&command);
    let shown = line.split_once(' ').map_or("", |(_, arguments)| arguments);
    eprintln!("\n$ lastword {shown}");
    command
}
