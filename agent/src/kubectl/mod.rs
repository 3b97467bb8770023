//! The kubectl plugin: this program under the name `kubectl-lastword`, which kubectl runs as `kubectl lastword`.
//!
//! The plugin finds the Capture of a pod, fetches its file with the person's own rights, and shows it with the same
//! views as a local file. It leaves nothing behind on the machine, except the file that `get` is asked for.

use std::{
    ffi::OsStr,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use capture_format::Reader;
use clap::{Parser, Subcommand};
use kubernetes::{
    Who,
    capture::{Capture, SimilarPod},
    connect::{self, Cluster},
    fetch,
    never_started::NeverStarted,
};

mod choose;
mod file;
mod interrupt;
mod list;
mod memory;
mod never_started;
mod request;

/// Says why containers of a cluster crashed.
#[derive(Parser)]
#[command(
    name = "kubectl-lastword",
    bin_name = "kubectl lastword",
    version,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

/// Which cluster, named as kubectl names it.
#[derive(Debug, clap::Args)]
struct Place {
    /// Namespace of the pod [default: that of the kubeconfig's context]
    #[arg(short, long, global = true)]
    namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the agents, for those who may not list the pods of all namespaces
    #[arg(long, global = true, value_name = "NAMESPACE")]
    agents: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Online(Online),
    #[command(flatten)]
    Offline(commands::Offline),
}

/// What needs a cluster.
#[derive(Subcommand)]
enum Online {
    /// List the captures, newest first
    List {
        /// In all namespaces
        #[arg(short = 'A', long, conflicts_with = "namespace")]
        all_namespaces: bool,
    },
    #[command(flatten)]
    Read(commands::Command<Names>),
    /// Fetch the capture's file
    Get {
        #[command(flatten)]
        which: Which,
        /// Where to write it, - for standard output [default: CAPTURE.lwcap in this directory]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Have a container captured now, without stopping it
    Capture(request::Args),
}

/// Which capture.
#[derive(Debug, clap::Args)]
struct Which {
    /// A pod, whose newest capture is taken, or a capture
    #[arg(value_name = "POD|CAPTURE")]
    name: String,
    /// Only captures of this container of the pod
    #[arg(short, long)]
    container: Option<String>,
}

/// Which captures.
#[derive(Debug, clap::Args)]
struct Names {
    /// Pods, whose newest captures are taken, or captures
    #[arg(value_name = "POD|CAPTURE", required = true)]
    names: Vec<String>,
    /// Only captures of this container of the pods
    #[arg(short, long)]
    container: Option<String>,
}

/// Whether a program of this path is the plugin.
pub(crate) fn is_name(program: &Path) -> bool {
    let name = program.file_stem().and_then(OsStr::to_str);
    name.is_some_and(|name| name.ends_with("kubectl-lastword"))
}

/// Runs the command.
///
/// # Errors
/// The cluster cannot be reached or forbids it, the capture does not exist, or `out` fails.
pub(crate) fn act(cli: Cli, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let command = match cli.command {
        Command::Offline(command) => return command.act(out),
        Command::Online(command) => command,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let session = runtime.block_on(Session::start(cli.place))?;
    match command {
        Online::List { all_namespaces } => {
            let namespace = (!all_namespaces).then_some(&*session.namespace);
            let listing = fetch::list(&session.cluster.client, namespace);
            let captures = runtime.block_on(listing)?;
            list::write(&captures, namespace, std::time::SystemTime::now(), out)?;
            Ok(ExitCode::SUCCESS)
        }
        Online::Read(command) => {
            let explains = command.as_explain().and_then(|(which, as_json)| {
                let [name] = &which.names[..] else {
                    return None;
                };
                Some((name.clone(), as_json))
            });
            let request = command.request();
            let Names { names, container } = &request.which;
            let mut captures = names.iter().map(|name| {
                let fetching = session.fetch(name, container.as_deref());
                let (capture, bytes) = runtime.block_on(fetching)?;
                let name = choose::name(&capture);
                let bytes: Box<dyn commands::Source> = Box::new(Cursor::new(bytes));
                let reader = Reader::open(bytes).with_context(|| name.clone())?;
                Ok(commands::Capture::new(name, reader))
            });
            match (request.show(&mut captures, out), explains) {
                (Err(error), Some((name, as_json))) if is_without_capture(&error) => {
                    let asking = session.never_started(&name);
                    let Some(found) = runtime.block_on(asking) else {
                        return Err(error);
                    };
                    never_started::write(&name, &found, as_json, out)?;
                    Ok(ExitCode::SUCCESS)
                }
                (shown, _) => shown,
            }
        }
        Online::Get { which, output } => {
            let fetching = session.fetch(&which.name, which.container.as_deref());
            let (capture, bytes) = runtime.block_on(fetching)?;
            file::write(&choose::name(&capture), &bytes, output.as_deref(), out)?;
            Ok(ExitCode::SUCCESS)
        }
        Online::Capture(args) => runtime.block_on(request::capture(&session, args, out)),
    }
}

/// Whether there is no capture, and be it because the cluster knows none.
fn is_without_capture(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<kubernetes::Error>();
    matches!(
        error,
        Some(kubernetes::Error::NotFound(_) | kubernetes::Error::CrdMissing)
    )
}

/// A cluster and a namespace in it.
struct Session {
    cluster: Cluster,
    namespace: String,
    agents: Option<String>,
    interrupt: interrupt::Interrupt,
}

impl Session {
    async fn start(place: Place) -> anyhow::Result<Self> {
        let Place {
            namespace,
            context,
            kubeconfig,
            agents,
        } = place;
        let options = connect::Options {
            kubeconfig,
            context,
        };
        let cluster = connect::connect(&options, Who::User).await?;
        let namespace = namespace.unwrap_or_else(|| cluster.namespace.clone());
        Ok(Self {
            cluster,
            namespace,
            agents,
            interrupt: interrupt::Interrupt::take()?,
        })
    }

    /// Why a pod was never started. `None` if there is no such pod, if all its containers have run, or if nobody says.
    async fn never_started(&self, pod: &str) -> Option<NeverStarted> {
        let asking = kubernetes::never_started::ask(&self.cluster.client, &self.namespace, pod);
        asking.await.ok().flatten()
    }

    /// Finds a capture and reads its file.
    async fn fetch(
        &self,
        name: &str,
        container: Option<&str>,
    ) -> anyhow::Result<(Capture, Vec<u8>)> {
        let client = &self.cluster.client;
        let found = fetch::find(client, &self.namespace, name).await?;
        let choice = choose::choose(found, name, container)?;
        choice.notes.iter().for_each(|note| say(note));
        let capture = choice.capture;
        let Some(similar) = choice.similar else {
            let bytes = self.read(&capture, None).await?;
            return Ok((capture, bytes));
        };
        say(&choose::same_fault(&capture, name));
        let bytes = match self.read(&capture, Some(&similar)).await {
            Ok(bytes) => bytes,
            Err(error @ kubernetes::Error::Fetch(_)) => {
                say(&format!(
                    "what follows is of pod {}, as the file of pod {name} on node {} cannot be read: {error}",
                    capture.spec.pod_name, similar.node
                ));
                self.read(&capture, None).await?
            }
            Err(error) => return Err(error.into()),
        };
        Ok((capture, bytes))
    }

    /// Reads the file of a capture, or that of a similar pod for which it stands.
    async fn read(
        &self,
        capture: &Capture,
        similar: Option<&SimilarPod>,
    ) -> Result<Vec<u8>, kubernetes::Error> {
        let mut file = memory::Memory::new();
        let (client, agents) = (&self.cluster.client, self.agents.as_deref());
        let stop = self.interrupt.first();
        let read = fetch::read(client, capture, similar, agents, &mut file, stop).await;
        if let Err(kubernetes::Error::Stopped) = read {
            interrupt::Interrupt::end();
        }
        read?;
        Ok(file.into_bytes())
    }
}

/// Tells the user something beside the output. The reader of standard error may be gone.
fn say(note: &str) {
    let _ = writeln!(std::io::stderr(), "lastword: {note}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_plugin_is_known_by_its_name() {
        for name in [
            "kubectl-lastword",
            "/usr/local/bin/kubectl-lastword",
            "kubectl-lastword.exe",
        ] {
            assert!(is_name(Path::new(name)), "{name}");
        }
        for name in ["lastword", "/opt/kubectl-lastword/lastword", "kubectl", ""] {
            assert!(!is_name(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn kubectls_flags_stand_before_or_after_the_command() {
        Cli::command().debug_assert();
        for line in [
            "x -n shop --context c explain web-1 --json",
            "x explain web-1 -n shop --kubeconfig /k -c web",
            "x list -A",
            "x show web-1 --time-of-day",
            "x show web-1 -n shop -c web --filter evt.failed=true --from -2s --run 3",
            "x fields dns --json",
            "x streams web-1 stdout -n shop --only written",
            "x diff web-1 web-2 --runs 1,2",
            "x get web-1 -o -",
            "x capture web-1 -c web --wait",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap();
        }
        assert!(Cli::try_parse_from(["x", "list", "-A", "-n", "shop"]).is_err());
    }
}
