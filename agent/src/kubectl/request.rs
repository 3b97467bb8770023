//! `kubectl lastword capture`: creates a Capture object, which the agent of the pod's node takes.

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use events::escape::escaped;
use kubernetes::{
    Who,
    capture::{Capture, CaptureSpec, Phase, Trigger},
    capture_name, captures, fetch,
};

use super::Session;

/// How long the agent of the pod's node may take to write the capture.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The pod
    pod: String,
    /// The container of the pod [default: the one that crashed last, or else the first]
    #[arg(short, long)]
    container: Option<String>,
    /// Why, as the capture will say
    #[arg(long)]
    reason: Option<String>,
    /// Wait until it is written, and say the verdict
    #[arg(short, long)]
    wait: bool,
}

pub(super) async fn capture(
    session: &Session,
    args: Args,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let Args {
        pod,
        container,
        reason,
        wait,
    } = args;
    let (client, namespace) = (&session.cluster.client, &session.namespace);
    // Each request is a new one.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let name = capture_name(&pod, container.as_deref(), &[&now.to_string()]);
    let spec = CaptureSpec {
        pod_name: pod,
        container,
        trigger: Trigger {
            detail: reason,
            ..Trigger::default()
        },
        ..CaptureSpec::default()
    };
    let created = captures::create(client, Who::User, namespace, &name, spec).await?;
    anyhow::ensure!(
        created,
        "there is a capture {namespace}/{name} already; try again"
    );
    if !wait {
        writeln!(
            out,
            "capture {namespace}/{name} requested; `kubectl lastword explain {name} -n {namespace}` once it is there"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let capture = fetch::wait(client, namespace, &name, PATIENCE).await?;
    report(&capture, &format!("{namespace}/{name}"), out)
}

/// Reports what became of the request.
fn report(capture: &Capture, title: &str, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let status = capture.status.clone().unwrap_or_default();
    let clean = |text: Option<String>| escaped(text.unwrap_or_default().as_bytes()).to_string();
    match capture.phase() {
        Phase::Complete => {
            writeln!(out, "capture {title}: {}", clean(status.verdict))?;
            Ok(ExitCode::SUCCESS)
        }
        Phase::Failed => anyhow::bail!("capture {title} has failed: {}", clean(status.message)),
        phase @ (Phase::Pending | Phase::Capturing) => anyhow::bail!(
            "capture {title} is still {phase:?} after {} s; is there an agent on the pod's node? See `kubectl get pods -A -l app.kubernetes.io/name=lastword -o wide`",
            PATIENCE.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::choose::tests::capture, *};

    fn reported(phase: Phase) -> (Option<String>, String) {
        let mut out = Vec::new();
        let mut capture = capture("c", "web", phase);
        if let Some(status) = capture.status.as_mut() {
            status.verdict = Some("it runs".to_owned());
        }
        let error = report(&capture, "shop/c", &mut out).err();
        (
            error.map(|error| error.to_string()),
            String::from_utf8(out).unwrap(),
        )
    }

    #[test]
    fn what_became_of_a_request_is_told() {
        let (error, out) = reported(Phase::Complete);
        assert_eq!((error, &*out), (None, "capture shop/c: it runs\n"));
        let (error, _) = reported(Phase::Failed);
        assert!(error.is_some_and(|error| error.contains("has failed: no such pod")));
        let (error, _) = reported(Phase::Pending);
        assert!(
            error.is_some_and(|error| error.contains("still Pending") && error.contains("agent"))
        );
    }
}
