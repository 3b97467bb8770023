//! The cluster, through kubectl: people use kubectl too, and it knows every way to connect to a cluster.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

/// Shortest pause between two checks while something is awaited.
const PAUSE: Duration = Duration::from_millis(500);
/// How long something is awaited: longer than the slowest node takes. `--timeout` is the same for what kubectl awaits.
const LIMIT: Duration = Duration::from_secs(600);

/// The cluster that `$KUBECONFIG` names.
pub(crate) struct Cluster {
    kubectl: OsString,
    /// `lastword` for use outside of the cluster.
    pub(crate) binary: PathBuf,
    /// Image of the agent, if not the one that `deploy/` names.
    pub(crate) image: Option<String>,
    /// Image of the crashing containers, if not the one that `tests/scenarios` names.
    scenarios_image: Option<String>,
}

/// The image that the scenarios' files name.
const SCENARIOS_IMAGE: &str = "localhost/lastword-scenarios:1";

impl Cluster {
    /// The cluster. The first call asks for its version.
    pub(crate) fn get() -> Result<&'static Cluster> {
        static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let found = CLUSTER.get_or_init(|| Cluster::find().map_err(|error| format!("{error:#}")));
        found.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn find() -> Result<Cluster> {
        let binary = env::var_os("LASTWORD_BIN")
            .context("LASTWORD_BIN is not set; run `cargo xtask e2e`")?;
        let cluster = Cluster {
            kubectl: env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into()),
            binary: binary.into(),
            image: env::var("LASTWORD_IMAGE").ok(),
            scenarios_image: env::var("LASTWORD_SCENARIOS_IMAGE").ok(),
        };
        cluster
            .run(&["version", "-o", "json"])
            .context("the cluster does not answer; set KUBECONFIG")?;
        Ok(cluster)
    }

    /// Runs kubectl and returns what it prints. Tries again if the API server is overloaded.
    ///
    /// # Errors
    /// If kubectl fails; the error contains its message.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, "")
    }

    /// Like `run`, with standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        patiently("Error from server (Timeout)", || {
            output(self.command(arguments), input)
        })
    }

    /// The kubectl command, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(arguments);
        command
    }

    /// `kubectl get … -o json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl prints no JSON")
    }

    /// The items of a list.
    pub(crate) fn list(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        match self.json(arguments)?["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("`kubectl get {}` gives no list", arguments.join(" ")),
        }
    }

    /// `kubectl apply` of a text in YAML or JSON. It is not validated, because kubectl would fetch the whole schema
    /// each time, which is several megabytes.
    pub(crate) fn apply(&self, namespace: &str, documents: &str) -> Result<()> {
        let documents = match &self.scenarios_image {
            Some(image) => documents.replace(SCENARIOS_IMAGE, image),
            None => documents.to_owned(),
        };
        let apply = ["apply", "--validate=false", "-n", namespace, "-f", "-"];
        self.run_with(&apply, &documents)?;
        Ok(())
    }

    /// Replaces the object at a path of the API.
    pub(crate) fn put(&self, path: &str, object: &Value) -> Result<Value> {
        self.send("replace", path, object)
    }

    /// Posts an object to a path of the API.
    pub(crate) fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.send("create", path, object)
    }

    fn send(&self, verb: &str, path: &str, object: &Value) -> Result<Value> {
        let answer = self.run_with(&[verb, "--raw", path, "-f", "-"], &object.to_string())?;
        serde_json::from_str(&answer).context("the API server's answer is no JSON")
    }

    /// Validates a text in YAML or JSON without applying it.
    pub(crate) fn validate(&self, documents: &str) -> Result<String> {
        // Otherwise kubectl would wait only 32 s for the schema.
        let timeout = "--request-timeout=600s";
        let apply = ["apply", "--dry-run=server", "--validate=true", timeout];
        self.run_with(&[&apply[..], &["-f", "-"]].concat(), documents)
    }

    /// `kubectl delete` of a text in YAML or JSON. Objects that do not exist are ignored.
    pub(crate) fn delete(&self, documents: &str) -> Result<()> {
        let delete = ["delete", "--ignore-not-found", "--timeout=600s", "-f", "-"];
        self.run_with(&delete, documents)?;
        Ok(())
    }

    /// Deletes an object and waits until it is gone. The API server may already have done it when it reports that it is
    /// overloaded.
    pub(crate) fn remove(&self, namespace: &str, kind: &str, name: &str) -> Result<String> {
        let delete = ["delete", kind, name, "-n", namespace];
        self.run(&[&delete[..], &["--ignore-not-found", "--timeout=600s"]].concat())
    }

    /// Makes an empty namespace, even if one with this name exists.
    pub(crate) fn fresh_namespace(&self, name: &str) -> Result<()> {
        self.delete_namespace(name)?;
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.apply(name, &namespace.to_string())
    }

    /// Removes a namespace and what is in it, and waits until it is gone.
    pub(crate) fn delete_namespace(&self, name: &str) -> Result<()> {
        // Otherwise pods would use their whole grace period, which costs the cluster time.
        self.run(&[
            "delete",
            "pods",
            "--all",
            "-n",
            name,
            "--grace-period=1",
            "--wait=false",
        ])?;
        self.run(&[
            "delete",
            "namespace",
            name,
            "--ignore-not-found",
            "--timeout=600s",
        ])?;
        Ok(())
    }

    /// Waits until pods are ready: `pod/NAME`, or those that other arguments of `kubectl wait` choose.
    pub(crate) fn pods_ready(&self, namespace: &str, pods: &[&str]) -> Result<()> {
        let wait = ["wait", "-n", namespace, "--for=condition=Ready"];
        self.run(&[&wait, pods, &["--timeout=600s"]].concat())?;
        Ok(())
    }

    /// Runs the kubectl plugin as kubectl runs it. Tries again if the cluster is overloaded.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let plugin = folder.path().join("kubectl-lastword");
        std::os::unix::fs::symlink(&self.binary, &plugin)?;
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.path().to_owned()).chain(env::split_paths(&path));
        let path = env::join_paths(folders)?;
        patiently("the API server is away", || {
            let mut command = self.command(&["lastword"]);
            command.args(arguments).env("PATH", &path);
            output(command, "")
        })
    }
}

/// Runs a command, and repeats it as long as its error says that the cluster is `busy`, as a person at a terminal
/// would.
fn patiently(busy: &str, run: impl Fn() -> Result<String>) -> Result<String> {
    let end = Instant::now() + LIMIT;
    loop {
        match run() {
            Err(error) if error.to_string().contains(busy) && Instant::now() < end => {
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// Runs a command with standard input, and returns its standard output.
fn output(mut command: Command, input: &str) -> Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let stdin = child.stdin.take().context("no stdin")?;
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdin = stdin;
            // A command that does not read its input says why on standard error.
            let _ = stdin.write_all(input.as_bytes());
        });
        child.wait_with_output()
    })?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}`: {}: {}", output.status, errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks repeatedly until `look` succeeds. Otherwise the error says what `look` saw last.
///
/// # Errors
/// If the time is over, or if the last check fails.
pub(crate) fn wait<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let end = Instant::now() + LIMIT;
    loop {
        let asked = Instant::now();
        let seen = match look() {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!("no {what} within {} s; last seen: {seen}", LIMIT.as_secs());
        }
        // A cluster that answers slowly should not get more work.
        thread::sleep(PAUSE.max(4 * asked.elapsed()));
    }
}

/// A text in a JSON document, or an empty one.
pub(crate) fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
