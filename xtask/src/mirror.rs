//! Where Debian's packages are: the mirror that this machine uses already, or the one that Debian's own installer
//! names.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::apt;

/// What to do when no mirror is known.
const NAME_ONE: &str =
    "set LASTWORD_DEBIAN_MIRROR to the address of a Debian mirror, without its last part `/debian`";

/// Addresses of Debian's archives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The main archive.
    pub(crate) archive: String,
    /// Security updates.
    pub(crate) security: String,
}

impl Mirror {
    /// `$LASTWORD_DEBIAN_MIRROR`; else what apt reads on a Debian machine; else the default of the package
    /// debootstrap, which Ubuntu has too.
    ///
    /// # Errors
    /// None of them names one.
    pub(crate) fn find(cache: &Path) -> Result<Self> {
        if let Ok(base) = env::var("LASTWORD_DEBIAN_MIRROR") {
            return Ok(Self::at(&format!("{}/debian", base.trim_end_matches('/'))));
        }
        let targets = Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI)"])
            .output()?;
        if let Some(mirror) = Self::among(&String::from_utf8_lossy(&targets.stdout)) {
            return Ok(mirror);
        }
        let folder = cache.join("debootstrap");
        let script = folder.join("usr/sbin/debootstrap");
        if !script.exists() {
            apt::download("debootstrap", &folder, NAME_ONE)?;
        }
        match default_mirror(&fs::read_to_string(&script).unwrap_or_default()) {
            Some(archive) => Ok(Self::at(archive)),
            None => bail!("{} names no mirror of Debian; {NAME_ONE}", script.display()),
        }
    }

    fn at(archive: &str) -> Self {
        Self {
            archive: archive.to_owned(),
            security: format!("{archive}-security"),
        }
    }

    /// The mirror among the addresses of apt's sources, a line each.
    fn among(addresses: &str) -> Option<Self> {
        let find = |end: &str| {
            let mut all = addresses
                .lines()
                .map(|line| line.trim().trim_end_matches('/'));
            all.find(|address| address.ends_with(end))
                .map(str::to_owned)
        };
        let mut mirror = Self::at(&find("/debian")?);
        if let Some(security) = find("/debian-security") {
            mirror.security = security;
        }
        Some(mirror)
    }
}

/// The mirror that the program debootstrap uses unless it is given another.
fn default_mirror(script: &str) -> Option<&str> {
    let values = script
        .lines()
        .filter_map(|line| line.strip_prefix("DEF_MIRROR="));
    let mut addresses = values.map(|value| value.trim_matches('"'));
    addresses.find(|address| address.ends_with("/debian"))
}

/// What to do when apt fails: nearly always the network.
pub(crate) fn hint() -> String {
    format!(
        "check that apt can reach Debian's mirror (its own proxy settings apply), or {NAME_ONE}; then run this again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_machine_knows_its_mirror() {
        let sources = "http://mirror.example/debian/\nhttp://mirror.example/debian/\n\
            http://security.example/debian-security/\nhttps://other.example/node\n";
        assert_eq!(
            Mirror::among(sources),
            Some(Mirror {
                archive: "http://mirror.example/debian".into(),
                security: "http://security.example/debian-security".into(),
            })
        );
        assert_eq!(Mirror::among("http://archive.example/ubuntu/\n"), None);
        let without = Mirror::among("http://mirror.example/debian").unwrap();
        assert_eq!(without.security, "http://mirror.example/debian-security");
    }

    #[test]
    fn debootstrap_names_a_mirror() {
        let script =
            "#!/bin/sh\nDEF_MIRROR=\"http://mirror.example/debian\"\nMIRRORS=\"$DEF_MIRROR\"\n";
        assert_eq!(default_mirror(script), Some("http://mirror.example/debian"));
        assert_eq!(default_mirror("DEF_MIRROR=\"$1\"\n"), None);
    }
}
