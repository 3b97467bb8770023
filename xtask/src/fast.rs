//! `xtask test --fast`, for the inner loop: formatting, lints, and the unprivileged tests of the crates that changed
//! since main and of those that depend on them. It builds as plain `cargo test --workspace` does, and shares its
//! folder.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{cargo, place, step};

/// Checks and tests.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    step::say("checking format and lints");
    step::shown(
        cargo::command("fmt").args(["--all", "--check"]),
        "run `cargo fmt --all`",
    )?;
    step::shown(
        cargo::command("clippy")
            .args(["--quiet", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
        "fix what clippy says",
    )?;
    let packages = packages()?;
    let changed = changed_files()?;
    let affected = affected(&packages, &changed);
    let names: Vec<&str> = affected.iter().map(|it| it.name.as_str()).collect();
    if names.is_empty() {
        step::say("no crate changed since main: no tests to run");
        return Ok(());
    }
    step::say(format_args!("building the tests of {}", names.join(", ")));
    // Those of all crates: only what depends on the change is compiled, whereas dependencies of a selection would have
    // other features, and be compiled again.
    let mut build = cargo::command("test");
    build.args(["--workspace", "--no-run"]);
    let mut tests = cargo::artifacts(&mut build)?;
    tests.retain(|test| test.is_test && affected.iter().any(|it| it.manifest == test.manifest));
    tests.sort_by(|a, b| (&a.manifest, &a.name).cmp(&(&b.manifest, &b.name)));
    step::say("running the unprivileged tests, without those in documentation");
    for test in &tests {
        let folder = test.manifest.parent().context("a manifest has a folder")?;
        step::shown(
            Command::new(&test.executable)
                .arg("--quiet")
                .env("CARGO_MANIFEST_DIR", folder)
                .current_dir(folder),
            "see the failed tests above",
        )?;
    }
    step::say(format_args!(
        "these tests passed, in {} s; `cargo xtask test` runs all",
        start.elapsed().as_secs()
    ));
    Ok(())
}

/// A crate of the workspace.
struct Package {
    name: String,
    manifest: PathBuf,
    /// Its folder, below the workspace.
    folder: PathBuf,
    /// Crates of the workspace that all of it needs.
    needs: Vec<String>,
    /// Crates of the workspace that only its tests need.
    tests_need: Vec<String>,
    /// All its Rust sources.
    sources: String,
}

fn packages() -> Result<Vec<Package>> {
    let mut command = cargo::command("metadata");
    command.args(["--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&step::quiet(&mut command, "fix Cargo.toml")?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages
        .iter()
        .map(|package| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let here = manifest.parent().context("a manifest has a folder")?;
            let mut sources = String::new();
            add_sources(here, &mut sources)
                .with_context(|| format!("cannot read the sources in {}", here.display()))?;
            let dependencies = package["dependencies"].as_array();
            let (tests_need, needs): (Vec<_>, Vec<_>) = dependencies
                .into_iter()
                .flatten()
                .filter(|it| it["path"].is_string())
                .partition(|it| it["kind"] == "dev");
            let names = |of: Vec<&Value>| of.iter().map(|it| text(&it["name"])).collect();
            Ok(Package {
                name: text(&package["name"]),
                folder: here
                    .strip_prefix(place::workspace())
                    .unwrap_or(here)
                    .to_owned(),
                needs: names(needs),
                tests_need: names(tests_need),
                manifest,
                sources,
            })
        })
        .collect()
}

fn add_sources(folder: &Path, sources: &mut String) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}

/// Files that differ from where this branch left main, below the workspace, committed or not.
fn changed_files() -> Result<Vec<PathBuf>> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(place::workspace());
        step::quiet(
            &mut command,
            "`--fast` compares with git's branch main, or origin/main",
        )
    };
    let base = git(&["merge-base", "HEAD", "main"])
        .or_else(|_| git(&["merge-base", "HEAD", "origin/main"]))?;
    let tracked = git(&["diff", "--name-only", "--no-renames", base.trim()])?;
    let others = git(&["ls-files", "--others", "--exclude-standard"])?;
    let lines = tracked.lines().chain(others.lines());
    Ok(lines.map(PathBuf::from).collect())
}

/// The crates whose tests may say something else because of these files.
fn affected<'a>(packages: &'a [Package], files: &[PathBuf]) -> Vec<&'a Package> {
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    for file in files {
        let is_everywhere = ["Cargo.toml", "Cargo.lock"]
            .iter()
            .any(|it| file == Path::new(it));
        let holding = packages.iter().filter(|it| file.starts_with(&it.folder));
        let owner = holding.max_by_key(|it| it.folder.as_os_str().len());
        let reading = packages
            .iter()
            .filter(|it| is_everywhere || names(&it.sources, file));
        changed.extend(reading.chain(owner).map(|it| it.name.as_str()));
    }
    loop {
        let before = changed.len();
        for package in packages {
            if package.needs.iter().any(|it| changed.contains(it.as_str())) {
                changed.insert(&package.name);
            }
        }
        if changed.len() == before {
            break;
        }
    }
    let needs_changed = |it: &&Package| {
        let mut all = it.tests_need.iter().chain([&it.name]);
        all.any(|name| changed.contains(name.as_str()))
    };
    packages.iter().filter(needs_changed).collect()
}

/// Whether sources name a file outside of their crate, or a folder that holds it: by the path from their own folder
/// (`../../docs/json.md`), or from the workspace's.
fn names(sources: &str, file: &Path) -> bool {
    file.ancestors()
        .filter(|it| !it.as_os_str().is_empty())
        .any(|path| {
            let path = path.display();
            let ways = [
                format!("../{path}\""),
                format!("../{path}/{{"),
                format!("\"{path}\""),
                format!("\"{path}/{{"),
            ];
            ways.iter().any(|way| sources.contains(way))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, needs: &[&str], tests_need: &[&str], sources: &str) -> Package {
        let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        Package {
            name: name.to_owned(),
            manifest: PathBuf::new(),
            folder: name.into(),
            needs: owned(needs),
            tests_need: owned(tests_need),
            sources: sources.to_owned(),
        }
    }

    #[test]
    fn a_change_reaches_what_depends_on_it_and_what_reads_it() {
        let packages = [
            package("format", &[], &["fixtures"], ""),
            package("fixtures", &["format"], &[], ""),
            package(
                "rules",
                &["format"],
                &[],
                r#"include_str!("../../../docs/rules.md")"#,
            ),
            package("program", &["rules"], &[], ""),
            package("tests", &[], &["program"], ""),
            package(
                "reader",
                &[],
                &[],
                r#"Path::new("../../tests/captures/{name}")"#,
            ),
        ];
        let of = |file: &str| {
            let affected = affected(&packages, &[PathBuf::from(file)]);
            affected
                .iter()
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of("program/src/main.rs"), "program tests");
        assert_eq!(
            of("fixtures/src/lib.rs"),
            "format fixtures",
            "but nothing that needs format"
        );
        assert_eq!(of("docs/rules.md"), "rules program tests");
        assert_eq!(of("docs/other.md"), "");
        assert_eq!(of("tests/captures/one.lwcap"), "tests reader");
        assert_eq!(
            of("Cargo.lock"),
            "format fixtures rules program tests reader"
        );
    }
}
