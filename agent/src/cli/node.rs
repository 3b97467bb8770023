//! `lastword capture` and `lastword status`, which send a request to the agent of this node.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use commands::print_json;
use events::{decode::time::size, escape::escaped};

use crate::{
    logging,
    node::handle::{CaptureOutcome, Target, Written},
    socket::{self, SocketError, client},
    status,
};

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["pod", "container_id", "all"]))]
pub(super) struct CaptureArgs {
    /// A pod on this node
    pod: Option<String>,
    /// Namespace of the pod [default: default]
    #[arg(short, long, conflicts_with_all = ["container_id", "all"])]
    namespace: Option<String>,
    /// Only this container of the pod
    #[arg(short, long, conflicts_with_all = ["container_id", "all"])]
    container: Option<String>,
    /// The container with this id, or the only one whose id begins so
    #[arg(long, value_name = "ID")]
    container_id: Option<String>,
    /// Every container that is recorded
    #[arg(long)]
    all: bool,
    /// Copy the capture here; it stays in the spool as well
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Why, as the capture will say
    #[arg(long, default_value = "")]
    reason: String,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// One JSON document instead of text; of an agent only
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(clap::Args)]
struct Socket {
    /// The agent's socket
    #[arg(long = "socket", value_name = "FILE", default_value = socket::PATH)]
    path: PathBuf,
}

pub(super) fn status(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match client::status(&args.socket.path) {
        Ok(status) if args.json => print_json(&status, out)?,
        Ok(status) => status::of_agent(&status, crate::host::realtime(), out)?,
        Err(SocketError::NoAgent { .. }) if !args.json => {
            logging::say(format_args!(
                "no agent runs here; this is how the machine would be recorded"
            ));
            status::of_machine(out)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn capture(args: CaptureArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let target = match (args.pod, args.container_id) {
        (Some(name), _) => Target::Pod {
            namespace: args.namespace.unwrap_or_else(|| "default".to_owned()),
            name,
            container: args.container,
        },
        (None, Some(id)) => Target::ContainerId(id),
        (None, None) => Target::Everything,
    };
    let outcomes = client::capture(&args.socket.path, target, args.reason)?;
    if args.json {
        print_json(&outcomes, out)?;
    } else {
        for outcome in &outcomes {
            write_outcome(outcome, out)?;
        }
    }
    anyhow::ensure!(
        !outcomes.is_empty(),
        "the agent records no such container on this node; `lastword status` tells how many there are, `kubectl get pods -o wide` which node has the pod"
    );
    if let Some(to) = &args.output {
        copy_only(&outcomes, to)?;
    }
    Ok(if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_outcome(outcome: &CaptureOutcome, out: &mut impl Write) -> io::Result<()> {
    let CaptureOutcome {
        namespace,
        pod,
        container,
        container_id,
        result,
    } = outcome;
    let who = if pod.is_empty() {
        container_id.clone()
    } else {
        format!("{namespace}/{pod}/{container}")
    };
    match result {
        Ok(written) => {
            let Written {
                name: _,
                file,
                size: bytes,
                runs,
                sentence,
            } = written;
            let runs = if *runs == 1 {
                "1 run".to_owned()
            } else {
                format!("{runs} runs")
            };
            writeln!(out, "{}: {sentence}", escaped(who.as_bytes()))?;
            writeln!(out, "  {}, {runs}, {}", file.display(), size(*bytes))
        }
        Err(why) => writeln!(
            out,
            "{}: no capture: {}",
            escaped(who.as_bytes()),
            escaped(why.as_bytes())
        ),
    }
}

/// Copies the capture if there is exactly one.
fn copy_only(outcomes: &[CaptureOutcome], to: &Path) -> anyhow::Result<()> {
    let written: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().ok())
        .collect();
    let [written] = &written[..] else {
        anyhow::bail!(
            "{} captures were taken, and -o takes one: they stay where they are; -c chooses a container",
            written.len()
        );
    };
    copy(&written.file, to)
        .with_context(|| format!("cannot copy {} to {}", written.file.display(), to.display()))
}

/// Copies a file so that only its owner may read it, as is due for a capture.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    io::copy(&mut File::open(from)?, &mut options.open(to)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(file: PathBuf) -> CaptureOutcome {
        CaptureOutcome {
            namespace: "shop".to_owned(),
            pod: "web-1".to_owned(),
            container: "web".to_owned(),
            container_id: "abc".to_owned(),
            result: Ok(Written {
                name: "shop/web-1/web/x".to_owned(),
                file,
                size: 2048,
                runs: 3,
                sentence: "web exited 1".to_owned(),
            }),
        }
    }

    #[test]
    fn an_outcome_says_whose_what_and_where() {
        let mut out = Vec::new();
        write_outcome(&outcome("/spool/x.lwcap".into()), &mut out).unwrap();
        let mut failed = outcome(PathBuf::new());
        failed.pod.clear();
        failed.result = Err("it is gone\u{1b}[2J".to_owned());
        write_outcome(&failed, &mut out).unwrap();
        let expected = "shop/web-1/web: web exited 1\n  /spool/x.lwcap, 3 runs, 2 KiB\nabc: no capture: it is gone\\x1b[2J\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_copy_is_for_its_owner_and_of_one_capture() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&from, "capture").unwrap();
        let one = outcome(from);
        copy_only(std::slice::from_ref(&one), &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "capture");
        let mode = std::fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = copy_only(&[one.clone(), one], &to).unwrap_err();
        assert!(error.to_string().contains("2 captures"), "{error}");
    }
}
