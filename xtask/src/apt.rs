//! Debian packages, unpacked into the cache instead of installed.
//!
//! Everything that apt is given is in the cache: its settings, sources, lists and its idea of what is installed. The
//! machine's own sources, settings and package database are neither changed nor consulted, except its `Acquire`
//! settings (proxies, time-outs). So any Debian or Ubuntu of an age can read any suite, and the same packages arrive
//! everywhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    arch::Arch,
    mirror::{self, Mirror},
    place, step,
};

const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";
/// Packages that count as installed, so that they and what they need are not fetched: a linker and the C library are
/// there wherever Rust is, libstdc++ wherever apt is, and scripts that set a package up are never run.
const PRESENT: [&str; 24] = [
    "adduser",
    "binutils",
    "ca-certificates",
    "debconf",
    "dpkg",
    "gcc",
    "gcc-12-base",
    "init-system-helpers",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "libc-bin",
    "libc6",
    "libc6-dev",
    "libgcc-s1",
    "libstdc++6",
    "linux-base",
    "lsb-base",
    "perl",
    "python3",
    "python3-pygments",
    "python3-yaml",
    "sysvinit-utils",
    "udev",
];

/// A suite of Debian, with its security updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Debian 12: userland that runs on every Debian and Ubuntu with glibc 2.36 or newer, and Linux 6.1.
    Bookworm,
    /// Debian 13: Linux 6.12.
    Trixie,
    /// Debian unstable: the newest Linux.
    Sid,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
            Suite::Sid => "sid",
        }
    }

    /// The text of a `sources.list` that holds this suite alone.
    fn sources(self, keyring: &Path, mirror: &Mirror) -> String {
        let name = self.name();
        let keyring = keyring.display();
        let Mirror { archive, security } = mirror;
        let main = format!("deb [signed-by={keyring}] {archive} {name} main\n");
        match self {
            Suite::Bookworm | Suite::Trixie => {
                format!("{main}deb [signed-by={keyring}] {security} {name}-security main\n")
            }
            Suite::Sid => main,
        }
    }
}

/// Packages that are fetched and unpacked together.
pub(crate) struct Bundle {
    /// The name of its folder in the cache, and in progress lines.
    pub(crate) name: &'static str,
    /// Where the packages come from.
    pub(crate) suite: Suite,
    /// The packages asked for; what they depend on comes with them.
    pub(crate) packages: &'static [&'static str],
    /// Path patterns (as `tar --exclude` takes them) of large parts that are not unpacked.
    pub(crate) without: &'static [&'static str],
}

/// An unpacked [`Bundle`].
pub(crate) struct Unpacked {
    /// The folder that is the packages' `/`.
    pub(crate) root: PathBuf,
}

impl Unpacked {
    /// The folders with its shared libraries, for `LD_LIBRARY_PATH`.
    pub(crate) fn libraries(&self) -> String {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let usr = self.root.join("usr/lib").join(&triplet);
        let lib = self.root.join("lib").join(&triplet);
        format!("{}:{}", usr.display(), lib.display())
    }

    /// A command that runs one of its programs with its libraries.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(program));
        command.env("LD_LIBRARY_PATH", self.libraries());
        command
    }
}

impl Bundle {
    /// Gives the unpacked bundle, fetching it if it is not in the cache yet.
    ///
    /// # Errors
    /// The machine has no apt, the network or a signature fails, or the cache cannot be written.
    pub(crate) fn get(&self) -> Result<Unpacked> {
        self.get_for(Arch::HERE)
    }

    /// Gives the bundle with packages of an architecture.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn get_for(&self, arch: Arch) -> Result<Unpacked> {
        self.get_but(&PRESENT, arch)
    }

    /// Gives the bundle with all it depends on, the C library too: programs of a suite newer than the machine. Of
    /// what it depends on, `not_needed` is left out.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn get_whole(&self, not_needed: &[&str]) -> Result<Unpacked> {
        self.get_but(not_needed, Arch::HERE)
    }

    fn get_but(&self, present: &[&str], arch: Arch) -> Result<Unpacked> {
        let name = foreign(self.name, arch);
        let cache = place::cache()?.join("debian");
        let root = cache.join("unpacked").join(&name);
        let done = cache.join("unpacked").join(format!("{name}.done"));
        let _lock = place::locked(&cache)?;
        let wanted = format!(
            "{}: {} {:?}\n",
            self.suite.name(),
            self.packages.join(" "),
            self.without
        );
        if fs::read_to_string(&done).is_ok_and(|unpacked| unpacked == wanted) {
            return Ok(Unpacked { root });
        }
        step::say(format_args!(
            "fetching Debian {} packages into the cache: {}",
            self.suite.name(),
            self.packages.join(", ")
        ));
        let apt = Apt::set_up(&cache, self.suite, present, arch)?;
        let archives = apt.download(self.packages)?;
        remove(&root)?;
        fs::create_dir_all(&root)?;
        for archive in &archives {
            self.unpack(archive, &root)?;
        }
        fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
        remove(&apt.archives())?;
        Ok(Unpacked { root })
    }

    fn unpack(&self, archive: &Path, root: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--no-same-owner", "--directory"])
            .arg(root);
        tar.args(
            self.without
                .iter()
                .map(|pattern| format!("--exclude={pattern}")),
        );
        let mut unpack = Command::new("sh");
        unpack
            .args([
                "-c",
                "set -e; archive=$1; shift; dpkg-deb --fsys-tarfile \"$archive\" | \"$@\"",
                "sh",
            ])
            .arg(archive)
            .arg(tar.get_program())
            .args(tar.get_args());
        step::quiet(&mut unpack, "is the cache's disk full?")?;
        Ok(())
    }
}

/// The name of a folder for packages of an architecture: this machine's have the plain one.
fn foreign(name: &str, arch: Arch) -> String {
    if arch == Arch::HERE {
        name.to_owned()
    } else {
        format!("{name}-{}", arch.debian())
    }
}

/// apt, with everything it reads and writes in `folder`.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn set_up(cache: &Path, suite: Suite, present: &[&str], arch: Arch) -> Result<Apt> {
        let folder = cache.join("apt").join(foreign(suite.name(), arch));
        for sub in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(sub))
                .with_context(|| format!("cannot make folders in {}", folder.display()))?;
        }
        let machine = step::quiet(
            Command::new("apt-config").arg("dump"),
            "packages are read with apt, so this needs Debian or Ubuntu",
        )?;
        let keyring = keyring(cache)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(
            "sources.list",
            suite.sources(&keyring, &Mirror::find(cache)?),
        )?;
        write("status", status(present, arch.debian()))?;
        write("apt.conf", settings(&folder, arch.debian(), &machine))?;
        Ok(Apt { folder })
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("archives")
    }

    /// Downloads packages and what they depend on, and lists the files.
    fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        step::quiet(self.command().arg("update"), &mirror::hint())?;
        step::quiet(
            self.command()
                .args([
                    "install",
                    "--yes",
                    "--no-install-recommends",
                    "--download-only",
                ])
                .args(packages),
            &mirror::hint(),
        )?;
        let mut files = Vec::new();
        for entry in fs::read_dir(self.archives())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        if files.is_empty() {
            bail!(
                "apt-get downloaded nothing for {}; {}",
                packages.join(" "),
                mirror::hint()
            );
        }
        files.sort();
        Ok(files)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// apt's settings: all paths in `folder`, nothing of the machine's except its `Acquire` settings. Signatures are
/// checked, but not their age: from a mirror that lags behind come older packages, which do as well here.
fn settings(folder: &Path, architecture: &str, machine: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        "APT::Architecture \"{architecture}\";\n\
         APT::Architectures \"{architecture}\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Check-Valid-Until \"false\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Debug::NoLocking \"true\";\n\
         Dir::Cache \"{folder}\";\n\
         Dir::Cache::archives \"{folder}/archives\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State \"{folder}\";\n\
         Dir::State::lists \"{folder}/lists\";\n\
         Dir::State::status \"{folder}/status\";\n"
    );
    for line in machine.lines().filter(|line| is_transport(line)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Whether a line of `apt-config dump` says how files are fetched rather than which.
fn is_transport(line: &str) -> bool {
    let of_files = [
        "Acquire::IndexTargets",
        "Acquire::Languages",
        "Acquire::Retries",
    ];
    line.starts_with("Acquire::") && !of_files.iter().any(|name| line.starts_with(name))
}

/// A package database in which these packages are all that is installed.
fn status(present: &[&str], architecture: &str) -> String {
    present
        .iter()
        .map(|name| {
            let provides = match *name {
                "libc6-dev" => "Provides: libc-dev\n",
                "initramfs-tools" => "Provides: linux-initramfs-tool\n",
                _ => "",
            };
            format!(
                "Package: {name}\nStatus: install ok installed\nMulti-Arch: allowed\nMaintainer: xtask\n\
                 Architecture: {architecture}\nVersion: 999:1\n{provides}Description: counts as installed\n\n"
            )
        })
        .collect()
}

/// The keys Debian signs with: the machine's, or out of the package that Ubuntu has of them.
fn keyring(cache: &Path) -> Result<PathBuf> {
    let machine = Path::new("/").join(KEYRING);
    if machine.exists() {
        return Ok(machine);
    }
    let folder = cache.join("keyring");
    let own = folder.join(KEYRING);
    if own.exists() {
        return Ok(own);
    }
    const INSTALL: &str =
        "install the keys Debian signs with: apt-get install debian-archive-keyring";
    download("debian-archive-keyring", &folder, INSTALL)?;
    if !own.exists() {
        bail!("the package debian-archive-keyring holds no {KEYRING}; {INSTALL}");
    }
    Ok(own)
}

/// Unpacks a package of the machine's own archive into a folder; `hint` says what to do when that fails.
///
/// # Errors
/// apt or dpkg fails.
pub(crate) fn download(package: &str, folder: &Path, hint: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    step::quiet(
        Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(folder),
        hint,
    )?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            step::quiet(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&path)
                    .arg(folder),
                hint,
            )?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_suites_come_with_their_security_updates() {
        let keyring = Path::new("/keys.gpg");
        let mirror = Mirror {
            archive: "http://mirror.example/debian".into(),
            security: "http://security.example/debian-security".into(),
        };
        assert_eq!(
            Suite::Bookworm.sources(keyring, &mirror),
            "deb [signed-by=/keys.gpg] http://mirror.example/debian bookworm main\n\
             deb [signed-by=/keys.gpg] http://security.example/debian-security bookworm-security main\n"
        );
        assert_eq!(
            Suite::Sid.sources(keyring, &mirror),
            "deb [signed-by=/keys.gpg] http://mirror.example/debian sid main\n"
        );
    }

    #[test]
    fn of_the_machines_settings_only_transport_is_taken() {
        let machine = "APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/archives/*.deb\";\n\
                       Acquire::http::Proxy \"http://proxy:3128\";\n\
                       Acquire::IndexTargets::deb::DEP-11::MetaKey \"x\";\n\
                       Dir::State::status \"/var/lib/dpkg/status\";\n\
                       Acquire::Languages:: \"de\";\n";
        let text = settings(Path::new("/cache"), "amd64", machine);
        assert!(text.contains("Acquire::http::Proxy \"http://proxy:3128\";\n"));
        for foreign in ["Post-Invoke", "DEP-11", "/var/", "\"de\""] {
            assert!(!text.contains(foreign), "{foreign} in:\n{text}");
        }
        assert!(text.contains("Dir::State::status \"/cache/status\";\n"));
    }

    #[test]
    fn the_package_database_has_a_stanza_for_each_present_package() {
        let text = status(&PRESENT, "arm64");
        assert_eq!(
            text.matches("Status: install ok installed\n").count(),
            PRESENT.len()
        );
        assert_eq!(text.matches("Architecture: arm64\n").count(), PRESENT.len());
        assert!(text.contains("Provides: libc-dev\n"));
    }
}
