//! `lastword agent`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use super::config::ConfigFile;
use crate::{
    config::Config,
    logging,
    node::{self, Options},
    packs::Packs,
    recorder,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the node in Kubernetes [default: $NODE_NAME, or the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Where the node has what the agent sees at spool.directory [default: $NODE_SPOOL, or the same]
    #[arg(long, value_name = "DIRECTORY")]
    node_spool: Option<PathBuf>,
    /// A kubeconfig, for an agent that runs outside of its cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Read the configuration, say what is wrong in it, and end
    #[arg(long)]
    check: bool,
    /// Remove what agents have pinned on this node (recorder.pin): programs stop, and what they recorded is gone
    #[arg(long, conflicts_with = "check")]
    uninstall: bool,
}

/// Does what `lastword agent` was told. `packs` are those of --knowledge, which go before those of the configuration.
pub(super) fn agent(
    args: Args,
    packs: Option<Packs>,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let (config, file) = args.config.load()?;
    if args.check {
        match file {
            Some(file) => writeln!(out, "{} is valid", file.display())?,
            None => writeln!(out, "there is no configuration: every key has its default")?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.uninstall {
        return uninstall(&config, out);
    }
    logging::of_agent(&config.log)?;
    let variable = std::env::var("NODE_NAME").ok();
    let node = args.node_name.or(variable).filter(|name| !name.is_empty());
    let variable = std::env::var_os("NODE_SPOOL").map(PathBuf::from);
    let spool = args.node_spool.or(variable);
    let configured = config.knowledge.directory.as_deref();
    let packs = packs.or_else(|| configured.map(Packs::install));
    if let Some(packs) = &packs {
        packs.log();
    }
    let options = Options {
        config: file,
        packs,
        node,
        spool: spool.filter(|directory| directory.is_absolute()),
        kubeconfig: args.kubeconfig,
    };
    let ended = node::run(config, options);
    if let Err(error) = &ended {
        tracing::error!("{error:#}");
    }
    logging::finish();
    Ok(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn uninstall(config: &Config, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let Some(folder) = config.recorder.pin.folder() else {
        writeln!(out, "nothing is pinned: recorder.pin is off")?;
        return Ok(ExitCode::SUCCESS);
    };
    let shown = folder.display();
    let removed = recorder::uninstall(&folder)
        .with_context(|| format!("cannot remove {shown}; has the agent stopped?"))?;
    let said = if removed {
        "is removed"
    } else {
        "does not exist"
    };
    writeln!(out, "{shown} {said}")?;
    Ok(ExitCode::SUCCESS)
}
