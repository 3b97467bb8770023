//! A client, for the cluster in which the program runs or for the one that the kubeconfig names.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Error, Who, error::chain};

/// Time limit for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// If the server sends no byte for this long, the agent gives the connection up. This is longer than a watch lasts.
const SILENCE: Duration = Duration::from_secs(150);

/// Says which cluster to use.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kubeconfig to use instead of `$KUBECONFIG` or `~/.kube/config`. If there is none at all, the cluster is used
    /// in which the program runs.
    pub kubeconfig: Option<PathBuf>,
    /// The context to use instead of the current one.
    pub context: Option<String>,
}

/// Access to a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client for the API server.
    pub client: Client,
    /// The namespace of the context; in a cluster, that of the program's own pod.
    pub namespace: String,
    /// The API server's address, for messages.
    pub server: String,
}

/// Reads the configuration and makes a client. It does not wait for an answer of the API server.
///
/// # Errors
/// [`Error::Config`]: there is no configuration, or it cannot be used.
pub async fn connect(options: &Options, who: Who) -> Result<Cluster, Error> {
    let config = |error: &dyn std::error::Error| Error::Config(chain(error));
    let chosen = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut read = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| config(&error))?;
            Config::from_custom_kubeconfig(kubeconfig, &chosen)
                .await
                .map_err(|error| config(&error))?
        }
        None if options.context.is_some() => Config::from_kubeconfig(&chosen)
            .await
            .map_err(|error| config(&error))?,
        None => Config::infer().await.map_err(|error| config(&error))?,
    };
    read.connect_timeout = Some(CONNECT_TIMEOUT);
    if who == Who::Agent {
        read.read_timeout = Some(SILENCE);
        read.reset_reader_on_write = true;
    }
    let server = read.cluster_url.to_string();
    let namespace = read.default_namespace.clone();
    let client = Client::try_from(read).map_err(|error| config(&error))?;
    Ok(Cluster {
        client,
        namespace,
        server,
    })
}
