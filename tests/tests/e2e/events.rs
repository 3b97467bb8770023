//! The Events on pods as they come: `kubectl get events --watch`.

use std::{
    io::BufReader,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::{Cluster, text};

/// An Event of lastword.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The pod it is on.
    pub(crate) pod: String,
    /// The message of the Event.
    pub(crate) message: String,
}

/// Watches the Events of a namespace until it is dropped.
pub(crate) struct Watch {
    child: Child,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Watch {
    /// Starts to watch.
    pub(crate) fn start(cluster: &Cluster, namespace: &str) -> Result<Watch> {
        let arguments = [
            "get",
            "events",
            "-n",
            namespace,
            "--field-selector",
            "reason=LastWords",
            "--watch",
            "-o",
            "json",
        ];
        let mut child = cluster
            .command(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            let documents = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
            for event in documents.map_while(Result::ok) {
                let event = Seen {
                    pod: text(&event, "/involvedObject/name").to_owned(),
                    message: text(&event, "/message").to_owned(),
                };
                if let Ok(mut kept) = kept.lock() {
                    kept.push(event);
                }
            }
        });
        Ok(Watch { child, seen })
    }

    /// The Events on a pod so far.
    pub(crate) fn of(&self, pod: &str) -> Vec<Seen> {
        let seen = self
            .seen
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default();
        seen.into_iter().filter(|event| event.pod == pod).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Otherwise it ends by itself together with the connection.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
