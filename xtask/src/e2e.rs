//! `xtask e2e`: makes the images, brings them into a cluster, runs the end-to-end tests there, and writes docs/e2e.md.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{cargo, image, oci, place, step};

const DOCUMENT: &str = "docs/e2e.md";

const HEAD: &str = "\
# End-to-end tests

Written by `cargo xtask e2e`. It installs `deploy/` in the cluster that `$KUBECONFIG` names, crashes the containers of
`tests/scenarios`, and checks what people would look at. A run on the same kind of cluster replaces the section of the
earlier run.

A case that the cluster cannot try, because it lacks what the case is about, is *skipped*, and *found* says why.

A time in the column *found* is a latency: from the end of a run, in the kernel, until the API server has confirmed
the Event on the pod. The agent measures it by the clock of its node, and logs it.
";

/// Which cluster, and how images get there.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A shell command that takes an image archive on standard input and gives it to the cluster's nodes
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["image", "scenarios_image"])]
    load: Option<String>,
    /// Image of the agent that the cluster can pull, instead of making and loading one
    #[arg(long, value_name = "REF", requires = "scenarios_image")]
    image: Option<String>,
    /// Image of the scenarios (`cargo xtask image --scenarios`) that the cluster can pull
    #[arg(long, value_name = "REF", requires = "image")]
    scenarios_image: Option<String>,
    /// A lastword that is built already [default: build target/release/lastword]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// How often every scenario is run
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// How many crashing containers of a round run at a time; fewer for a slow node
    #[arg(long, value_name = "N", default_value_t = 7)]
    at_once: usize,
    /// The runtime below containerd, which Kubernetes doesn't say. The run gets a section of its own, with this in its
    /// title
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
    /// Go on with the last run, which was stopped or failed: what has passed is not run again. The binary and the
    /// kind of cluster must be the same
    #[arg(long, conflicts_with = "filter")]
    resume: bool,
    /// Leave lastword in the cluster
    #[arg(long)]
    keep: bool,
    /// Run only the tests whose names hold this text, and write no document
    filter: Option<String>,
}

/// Runs the end-to-end tests.
///
/// # Errors
/// A test fails, or something that they need is missing.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if env::var_os("KUBECONFIG").is_none() {
        bail!(
            "KUBECONFIG is not set; the tests install lastword and crash pods in the cluster it names"
        );
    }
    let binary = match &arguments.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => {
            crate::build()?;
            place::workspace().join("target/release/lastword")
        }
    };
    if arguments.image.is_none() {
        let archives = [
            image::lastword(Some(&binary), None)?,
            image::scenarios(None)?,
        ];
        match &arguments.load {
            Some(load) => archives
                .iter()
                .try_for_each(|archive| give(load, archive))?,
            None => bail!(
                "say how the nodes get the images, by --load or --image. kind: --load 'kind load image-archive /dev/stdin'; \
                 containerd: --load 'ssh NODE sudo ctr -n k8s.io images import -'; k3s: --load 'k3s ctr images import -'"
            ),
        }
    }
    if arguments.filter.is_some() {
        return test(arguments, &binary, None);
    }
    let report = place::workspace().join("target/e2e.jsonl");
    let subject = report.with_extension("subject");
    let runtime = arguments.runtime.as_deref();
    let tested = format!(
        "{} on {}",
        oci::digest(&fs::read(&binary)?),
        cluster(runtime)?.0
    );
    if !arguments.resume {
        fs::write(&subject, &tested)
            .with_context(|| format!("cannot write {}", subject.display()))?;
    } else if fs::read_to_string(&subject).is_ok_and(|former| former != tested) {
        bail!(
            "the last run was of another binary or kind of cluster; start anew, without --resume"
        );
    }
    if report.exists() && !arguments.resume {
        fs::remove_file(&report).with_context(|| format!("cannot remove {}", report.display()))?;
    }
    let outcome = test(arguments, &binary, Some(&report));
    document(&report, arguments)?;
    outcome
}

/// Gives an archive to the nodes.
fn give(load: &str, archive: &Path) -> Result<()> {
    step::say(format_args!("loading {}: {load}", archive.display()));
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let status = Command::new("sh")
        .args(["-c", load])
        .stdin(Stdio::from(file))
        .status()
        .context("cannot start sh")?;
    if !status.success() {
        bail!("`{load}`: {status}; it must take an OCI archive on standard input");
    }
    Ok(())
}

fn test(arguments: &Arguments, binary: &Path, report: Option<&Path>) -> Result<()> {
    let artifacts = cargo::artifacts(cargo::command("build").args([
        "--package",
        "lastword-tests",
        "--test",
        "e2e",
    ]))?;
    let test = artifacts
        .iter()
        .find(|artifact| artifact.name == "e2e" && artifact.is_test);
    let test = test.context("cargo built no test `e2e`")?;
    let mut command = Command::new(&test.executable);
    command
        .args(&arguments.filter)
        .env("LASTWORD_E2E", "1")
        .env("LASTWORD_E2E_ROUNDS", arguments.rounds.to_string())
        .env("LASTWORD_E2E_AT_ONCE", arguments.at_once.to_string())
        .env("LASTWORD_BIN", binary);
    if let Some(report) = report {
        command.env("LASTWORD_E2E_REPORT", report);
    }
    if let (Some(image), Some(scenarios)) = (&arguments.image, &arguments.scenarios_image) {
        command
            .env("LASTWORD_IMAGE", image)
            .env("LASTWORD_SCENARIOS_IMAGE", scenarios);
    }
    if arguments.keep {
        command.env("LASTWORD_E2E_KEEP", "1");
    }
    step::shown(&mut command, "see the failed tests above")
}

/// Writes what was found into the document.
fn document(report: &Path, arguments: &Arguments) -> Result<()> {
    let lines =
        fs::read_to_string(report).with_context(|| format!("cannot read {}", report.display()))?;
    let path = place::workspace().join(DOCUMENT);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let (title, about) = cluster(arguments.runtime.as_deref())?;
    let resumed = if arguments.resume {
        "\n\nThis run was continued after it had been stopped or had failed; cases that had passed were not run again. The date is\n\
         that of its end."
    } else {
        ""
    };
    let at_once = arguments.at_once;
    let about = format!("{about}, at most {at_once} crashing containers at a time.{resumed}");
    let text = replaced(&old, &title, &format!("{about}\n\n{}", table(&lines)?));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    step::say(format_args!("wrote {DOCUMENT}"));
    Ok(())
}

/// A table of the report's lines.
fn table(lines: &str) -> Result<String> {
    let mut table = String::from("| case | result | found |\n|---|---|---|\n");
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).context("the report is no JSON")?;
        let cell = |name: &str| {
            case[name]
                .as_str()
                .unwrap_or_default()
                .replace('|', "\\|")
                .replace('\n', " ")
        };
        let result = match (&case["passed"], &case["skipped"]) {
            (Value::Bool(true), _) => "passed",
            (_, Value::Bool(true)) => "skipped",
            _ => "**failed**",
        };
        table.push_str(&format!(
            "| {} | {result} | {} |\n",
            cell("case"),
            cell("found")
        ));
    }
    Ok(table)
}

/// What kind of cluster it is: a title, and what was tested when.
fn cluster(runtime: Option<&str>) -> Result<(String, String)> {
    let kubectl = env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let nodes = step::quiet(
        Command::new(kubectl).args(["get", "nodes", "-o", "json"]),
        "set KUBECTL or PATH",
    )?;
    let nodes: Value = serde_json::from_str(&nodes).context("kubectl prints no JSON")?;
    let info = &nodes["items"][0]["status"]["nodeInfo"];
    let field = |name: &str| info[name].as_str().unwrap_or("?").to_owned();
    let title = title(&field("kubeletVersion"), &field("kernelVersion"), runtime);
    let date = step::quiet(
        Command::new("date").args(["-u", "+%Y-%m-%d"]),
        "install coreutils",
    )?;
    let about = format!(
        "Run {}: {}, {}, {} node(s)",
        date.trim(),
        field("osImage"),
        field("containerRuntimeVersion"),
        nodes["items"].as_array().map_or(0, Vec::len)
    );
    Ok((title, about))
}

/// A section's title.
fn title(kubernetes: &str, kernel: &str, runtime: Option<&str>) -> String {
    let number: Vec<&str> = kernel.split(['.', '-']).take(2).collect();
    let mut title = format!("Kubernetes {kubernetes}, Linux {}", number.join("."));
    if let Some(runtime) = runtime {
        title.push_str(&format!(", {runtime}"));
    }
    title
}

/// The document with the section of this title replaced, or added at the end.
fn replaced(old: &str, title: &str, body: &str) -> String {
    let mut text = HEAD.to_owned();
    let mut is_new = true;
    for section in old.split("\n## ").skip(1) {
        let (name, former) = section.split_once('\n').unwrap_or((section, ""));
        let body = if name == title {
            is_new = false;
            body
        } else {
            former
        };
        text.push_str(&format!("\n## {name}\n\n{}\n", body.trim()));
    }
    if is_new {
        text.push_str(&format!("\n## {title}\n\n{}\n", body.trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_cluster_replaces_itself_and_nothing_else() {
        let first = replaced("", "A", "one");
        let both = replaced(&first, "B", "two");
        let again = replaced(&both, "A", "three");
        assert_eq!(again, format!("{HEAD}\n## A\n\nthree\n\n## B\n\ntwo\n"));
    }

    #[test]
    fn a_title_names_the_runtime_that_was_given() {
        let kernel = "6.1.0-50-cloud-amd64";
        assert_eq!(
            title("v1.20.2", kernel, None),
            "Kubernetes v1.20.2, Linux 6.1"
        );
        assert_eq!(
            title("v1.20.2", kernel, Some("crun 1.28")),
            "Kubernetes v1.20.2, Linux 6.1, crun 1.28"
        );
    }

    #[test]
    fn a_case_is_a_row_whatever_it_found() {
        let lines = "{\"case\":\"a\",\"passed\":true,\"found\":\"x | y\\nz\"}\n{\"case\":\"b\",\"passed\":false,\"found\":\"\"}\n\
             {\"case\":\"c\",\"passed\":false,\"skipped\":true,\"found\":\"too old\"}\n";
        assert_eq!(
            table(lines).unwrap(),
            "| case | result | found |\n|---|---|---|\n| a | passed | x \\| y z |\n| b | **failed** |  |\n\
             | c | skipped | too old |\n"
        );
        assert!(table("rubbish").is_err());
    }
}
